"""The overlay: boxes on the right frames at the right place, a strip that tells the time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deeptrace.geometry import Box, Keyframe, Tube
from deeptrace.trace import Category, DetectorInfo, Label, Media, Outcome, Trace, Verdict
from deeptrace.video import Frame, open_video, video_from_array
from deeptrace.video.overlay import Overlay, box_at, draw_overlay, tick_step
from deeptrace.video.overlay_style import CATEGORY_COLORS, color_of, tag

MOVING = Trace.from_tube(
    Tube(
        onset_s=1.0,
        offset_s=2.0,
        keyframes=(
            Keyframe(time_s=1.0, box=Box(x0=0.1, y0=0.3, x1=0.3, y1=0.5)),
            Keyframe(time_s=2.0, box=Box(x0=0.7, y0=0.3, x1=0.9, y1=0.5)),
        ),
    ),
    categories=[Category.SUDDEN_BLURRING],
    score=0.8,
)
FAKE = Verdict(
    video="a.mp4",
    outcome=Outcome.SCORED,
    label=Label.FAKE,
    p_fake=0.9,
    traces=(MOVING,),
    detector=DetectorInfo(name="tracenet", version="1"),
)
MEDIA = Media(width=640, height=360, duration_s=4.0, fps=10.0)


def _blank(width: int = 640, height: int = 360) -> np.ndarray:
    return np.full((height, width, 3), 128, np.uint8)


def _columns_of(picture: np.ndarray, trace: Trace, rows: slice) -> np.ndarray:
    return np.flatnonzero((picture[rows] == color_of(trace)).all(axis=2).any(axis=0))


@pytest.mark.parametrize("time_s", [1.0, 1.25, 1.5, 1.9])
def test_the_box_is_where_the_tube_is(time_s: float) -> None:
    drawn = Overlay(FAKE, MEDIA).draw(Frame(time_s, _blank()))
    columns = _columns_of(drawn, MOVING, slice(140, 170))  # between the box's upper and lower side
    x0, _, x1, _ = MOVING.tube.corners_at([time_s])[0]  # type: ignore[union-attr]
    assert columns.min() == pytest.approx(x0 * 639, abs=2)
    assert columns.max() == pytest.approx(x1 * 639, abs=2)


@pytest.mark.parametrize("time_s", [0.0, 0.99, 2.0, 3.9])
def test_no_box_while_the_trace_does_not_live(time_s: float) -> None:
    drawn = Overlay(FAKE, MEDIA).draw(Frame(time_s, _blank()))
    np.testing.assert_array_equal(drawn[:360], _blank())


def test_the_strip_shows_life_and_time() -> None:
    overlay = Overlay(FAKE, MEDIA)
    strips = [overlay.draw(Frame(t, _blank()))[360:] for t in (0.0, 2.0, 4.0)]
    bar = _columns_of(strips[0], MOVING, slice(None))
    assert bar.min() == pytest.approx(640 * 0.25, abs=12)
    assert bar.max() == pytest.approx(640 * 0.5, abs=12)
    heads = [np.flatnonzero((strip[40] >= 240).all(axis=1)).mean() for strip in strips]
    assert heads[0] < 20
    assert heads[1] == pytest.approx(320, abs=4)
    assert heads[2] > 620


@pytest.mark.parametrize("size", [(64, 48), (160, 284), (256, 256), (641, 361), (1920, 1080)])
def test_every_size_gives_a_canvas_that_can_be_read_and_encoded(size: tuple[int, int]) -> None:
    media = MEDIA.model_copy(update={"width": size[0], "height": size[1]})
    overlay = Overlay(FAKE, media)
    drawn = overlay.draw(Frame(1.5, _blank(*size)))
    assert drawn.shape == (overlay.size[1], overlay.size[0], 3)
    assert drawn.shape[0] % 2 == drawn.shape[1] % 2 == 0
    assert drawn.shape[1] >= 480
    assert len(_columns_of(drawn, MOVING, slice(None))) > 0


@pytest.mark.parametrize(
    "verdict",
    [
        Verdict.failed("a.mp4", Outcome.MODEL_FAILED, "out of memory"),
        Verdict(video="a.mp4", outcome=Outcome.SCORED, label=Label.REAL, p_fake=0.1),
        FAKE.model_copy(update={"traces": tuple(MOVING.model_copy(update={"score": k / 10}) for k in range(9))}),
        FAKE.model_copy(update={"traces": (Trace(explanation="somewhere"), Trace(onset_s=3.99))}),
    ],
)
def test_every_verdict_can_be_drawn(verdict: Verdict) -> None:
    for media in (MEDIA, MEDIA.model_copy(update={"duration_s": 0.0})):
        drawn = Overlay(verdict, media).draw(Frame(1.5, _blank()))
        assert drawn[360:].std() > 0


def test_a_file_with_its_times(tmp_path: Path) -> None:
    times = [0.0, 0.1, 0.5, 1.2, 1.5, 2.5]
    video = video_from_array(np.stack([_blank(320, 180)] * 6), times_s=times)
    draw_overlay(video, FAKE, tmp_path / "o.mp4")
    with open_video(tmp_path / "o.mp4") as drawn:
        frames = list(drawn.frames())
    assert [frame.time_s for frame in frames] == pytest.approx(times, abs=1e-4)
    touched = [bool((np.abs(frame.image[:340].astype(int) - 128) > 40).any()) for frame in frames]
    assert touched == [False, False, False, True, True, False]


def test_what_is_not_known_is_not_invented() -> None:
    box = Box(x0=0.1, y0=0.1, x1=0.2, y1=0.2)
    assert box_at(Trace(box=box), 3.0) == box
    assert box_at(Trace(box=box, onset_s=2.0), 1.0) is None
    assert box_at(Trace(box=box, onset_s=2.0), 9.0) == box
    assert box_at(Trace(onset_s=0.0, offset_s=9.0), 1.0) is None


def test_labels_fit() -> None:
    wide = tag("1 Background distortion 0.93", 12, (0, 0, 0), (255, 255, 255), 1000)
    narrow = tag("1 Background distortion 0.93", 12, (0, 0, 0), (255, 255, 255), 60)
    assert narrow.shape[1] <= 60 < wide.shape[1]
    assert len(set(CATEGORY_COLORS.values())) == len(Category)
    assert tick_step(0.001, 5) == 0.1
    assert 3600 / tick_step(3600.0, 8.0) <= 8
