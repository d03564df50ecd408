"""The example clips are what their annotations say."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from deeptrace.data import read_reward_data
from deeptrace.schema import Label
from deeptrace.video import open_video

FOLDER = Path(__file__).resolve().parents[2] / "examples"


def test_the_examples_differ_where_and_when_they_say() -> None:
    real, fake = read_reward_data(FOLDER)
    assert (real.label, fake.label) == (Label.REAL, Label.FAKE)
    pictures = []
    for sample in (real, fake):
        path = FOLDER / sample.path
        assert path.stat().st_size < 400_000
        with open_video(path) as video:
            assert (video.media.width, video.media.height, video.media.frames) == (640, 360, 96)
            pictures.append(np.stack([frame.image for frame in video.frames(size=(320, 180))]).astype(np.int16))
    gap = np.abs(pictures[0] - pictures[1]).mean(axis=-1)
    (trace,) = fake.traces
    assert trace.box is not None
    assert trace.onset_s is not None
    assert trace.offset_s is not None
    x0, y0, x1, y1 = (round(v) for v in trace.box.to_pixels_xyxy(width=320, height=180))
    first, last = round(trace.onset_s * 24), round(trace.offset_s * 24)
    inside = np.zeros(gap.shape, bool)
    inside[first:last, max(y0 - 6, 0) : y1 + 6, max(x0 - 6, 0) : x1 + 6] = True
    assert gap[inside].mean() > 3 * gap[~inside].mean()
    assert gap[: first - 1].mean() < gap[inside].mean() / 5  # what coding alone makes of the same pictures
