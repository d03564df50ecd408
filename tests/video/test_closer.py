from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deeptrace.errors import SettingsError
from deeptrace.video import open_video, video_from_array
from deeptrace.video.base import Closer

CLIP = Path(__file__).parents[2] / "examples" / "coffee.mp4"


def test_some_frames_of_a_file_carry_a_second_image() -> None:
    with open_video(CLIP) as video:
        plain = list(video.frames(max_fps=8, size=(64, 48)))
    with open_video(CLIP) as video:
        own = (video.media.width, video.media.height)
        frames = list(video.frames(max_fps=8, size=(64, 48), closer=Closer(own, first=1, every=3)))
    with open_video(CLIP) as video:
        large = {frame.time_s: frame.image for frame in video.frames(size=own)}
    assert [number for number, frame in enumerate(frames) if frame.closer is not None] == list(range(1, len(frames), 3))
    for frame, before in zip(frames, plain, strict=True):
        assert frame.time_s == before.time_s
        np.testing.assert_array_equal(frame.image, before.image)
        if frame.closer is not None:
            np.testing.assert_array_equal(frame.closer, large[frame.time_s])


def test_a_file_and_its_frames_in_memory_are_looked_at_alike() -> None:
    with open_video(CLIP) as video:
        own = (video.media.width, video.media.height)
        whole = list(video.frames())
        closer = Closer(own, first=0, every=2)
        of_file = [frame.closer for frame in video.frames(size=(64, 48), closer=closer)]
    array = video_from_array(np.stack([f.image for f in whole]), times_s=[f.time_s for f in whole])
    of_array = [frame.closer for frame in array.frames(size=(64, 48), closer=closer)]
    assert [one is None for one in of_array] == [one is None for one in of_file]
    for mine, theirs in zip(of_array, of_file, strict=True):
        if mine is not None and theirs is not None:
            assert np.abs(mine.astype(int) - theirs).mean() < 0.5


@pytest.mark.parametrize(("first", "every", "size"), [(-1, 1, (8, 8)), (0, 0, (8, 8)), (0, 1, (0, 8))])
def test_a_look_that_makes_no_sense_is_refused(first: int, every: int, size: tuple[int, int]) -> None:
    with pytest.raises(SettingsError):
        Closer(size, first, every)
