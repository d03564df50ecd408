"""A box that follows a patch whose way is known, and keyframes that say the same with fewer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeptrace.geometry import Box, Keyframe, box_iou
from deeptrace.video import Frame
from deeptrace.video.tracking import follow_box, thinned

HIGH, WIDE, FPS = 180, 320, 25.0


def texture(seed: int, high: int, wide: int) -> np.ndarray:
    """Smooth noise, which points can be followed in."""
    rough = np.random.default_rng(seed).integers(0, 255, (high // 6 + 2, wide // 6 + 2)).astype(np.float32)
    rows, columns = np.arange(high) / 6, np.arange(wide) / 6
    top, left = rows.astype(int), columns.astype(int)
    down, right = (rows - top)[:, None], (columns - left)[None]
    upper = rough[top][:, left] * (1 - right) + rough[top][:, left + 1] * right
    lower = rough[top + 1][:, left] * (1 - right) + rough[top + 1][:, left + 1] * right
    return (upper * (1 - down) + lower * down).astype(np.uint8)


def going(count: int) -> list[tuple[Frame, Box]]:
    """A patch that goes to the right over a ground of its own, and where it is."""
    ground, patch = texture(1, HIGH, WIDE) // 2, texture(2, 40, 50)
    found = []
    for number in range(count):
        x, y = 30 + 5 * number, 40 + round(20 * np.sin(number / 8))
        image = ground.copy()
        image[y : y + 40, x : x + 50] = patch
        box = Box(x0=x / WIDE, y0=y / HIGH, x1=(x + 50) / WIDE, y1=(y + 40) / HIGH)
        found.append((Frame(number / FPS, image), box))
    return found


def test_the_box_stays_on_what_is_in_it() -> None:
    frames = going(40)
    keys = follow_box((frame for frame, _ in frames), frames[0][1])
    assert [key.time_s for key in keys] == [frame.time_s for frame, _ in frames]
    sides, truth = (
        np.array([box.as_tuple() for box in boxes]) for boxes in ([k.box for k in keys], [b for _, b in frames])
    )
    assert box_iou(sides, truth).min() > 0.85
    few = thinned(keys)
    assert len(few) < len(keys) / 2
    assert (few[0], few[-1]) == (keys[0], keys[-1])


def test_it_stops_where_what_is_in_it_is_lost() -> None:
    frames = going(20)
    cut = [Frame(at / FPS, texture(at, HIGH, WIDE)) for at in range(20, 30)]
    keys = follow_box([*(frame for frame, _ in frames), *cut], frames[0][1])
    assert len(keys) == 20
    empty = [Frame(at / FPS, np.full((HIGH, WIDE), 90, np.uint8)) for at in range(3)]
    assert len(follow_box([frames[0][0], *empty], frames[0][1])) <= 2
    assert follow_box([], frames[0][1]) == []


@given(st.lists(st.tuples(st.floats(0, 0.4), st.floats(0, 0.4)), min_size=1, max_size=40), st.floats(0.001, 0.2))
def test_fewer_keyframes_say_the_same_to_within_the_tolerance(corners: list[tuple[float, float]], most: float) -> None:
    keys = [
        Keyframe(time_s=float(at), box=Box(x0=x, y0=y, x1=x + 0.5, y1=y + 0.5)) for at, (x, y) in enumerate(corners)
    ]
    few = thinned(keys, tolerance=most)
    times = [key.time_s for key in few]
    assert times == sorted(set(times))
    for side in range(4):
        said = np.interp([key.time_s for key in keys], times, [key.box.as_tuple()[side] for key in few])
        assert said == pytest.approx([key.box.as_tuple()[side] for key in keys], abs=most + 1e-9)
