from __future__ import annotations

import numpy as np
from benchmarks.reward_steady import CHANGES


def test_each_change_is_the_one_it_is_called() -> None:
    frames = np.arange(9, dtype=np.uint8)[:, None, None, None] * np.ones((1, 40, 60, 3), np.uint8)
    times = np.arange(9) / 8
    changed = {name: change((frames, times)) for name, change in CHANGES.items()}
    shapes = {name: pictures.shape for name, (pictures, _) in changed.items()}
    assert shapes == {
        "every second frame": (5, 40, 60, 3),
        "three quarters the size": (9, 30, 45, 3),
        "last third cut off": (6, 40, 60, 3),
    }
    for pictures, at in changed.values():
        assert (pictures[:, 0, 0, 0] == at * 8).all(), "each picture keeps its own time"
