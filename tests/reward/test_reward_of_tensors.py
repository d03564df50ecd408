"""Torch tensors of every layout and range have the rewards of their frames."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from tests.needs import needs
from tests.reward.conftest import corner_clip, expected
from tests.reward.corner_detector import CornerDetector

from deeptrace.errors import SettingsError
from deeptrace.reward.reward import Reward

torch = needs("torch")
LEVELS = [10, 200, 90, 250, 0, 128]
RANGES = {(0, 255): "uint8", (0, 1): "float32", (-1, 1): "bfloat16"}


def tensor_of(clip: np.ndarray, layout: str, value_range: tuple[float, float]):  # torch, which a type would import
    axes = "BTHWC" if clip.ndim == 5 else "THWC"
    tensor = torch.from_numpy(clip).permute([axes.index(axis) for axis in layout])
    if value_range != (0, 255):
        tensor = tensor / 255 * (value_range[1] - value_range[0]) + value_range[0]
    return tensor.to(getattr(torch, RANGES[value_range]))


@pytest.mark.parametrize("value_range", list(RANGES))
@pytest.mark.parametrize("layout", ["TCHW", "THWC", "CTHW", "BTCHW", "BCTHW", "BTHWC", "TBCHW"])
def test_tensors_of_every_layout_and_range_have_the_rewards_of_their_frames(
    layout: str, value_range: tuple[float, float]
) -> None:
    clips = np.stack([corner_clip(level) for level in LEVELS])
    reward = Reward(CornerDetector())
    if "B" in layout:
        found = reward(tensor_of(clips, layout, value_range), fps=8.0, layout=layout, value_range=value_range)
    else:
        batch = [tensor_of(clip, layout, value_range) for clip in clips]
        found = reward(batch, fps=8.0, layout=layout, value_range=value_range)
        assert reward(batch, fps=8.0, layout="B" + layout, value_range=value_range) == found
    assert found == [pytest.approx(expected(level), abs=0.01) for level in LEVELS]


def test_a_batch_has_one_rate_for_each_clip_and_loses_only_the_clip_that_diverged() -> None:
    batch = tensor_of(np.stack([corner_clip(level) for level in LEVELS[:3]]), "BTCHW", (0, 1))
    batch[1, 0, 0, 0, 0] = math.nan
    results = Reward(CornerDetector()).score(batch, fps=[8.0, 4.0, 16.0], layout="BTCHW", value_range=(0, 1))
    assert [result.parts is None for result in results] == [False, True, False]
    assert results[1].error == "has NaN or infinite pixel values"
    assert [results[k].verdict.media.duration_s for k in (0, 2)] == [6 / 8, 6 / 16]


def test_paths_and_arrays_may_stand_beside_tensors(corner, corner_file) -> None:
    tensor = tensor_of(corner_clip(10), "CTHW", (-1, 1))
    found = Reward(corner)([tensor, str(corner_file(90))], fps=8.0, layout="CTHW", value_range=(-1, 1))
    assert found == [pytest.approx(expected(10), abs=0.01), pytest.approx(expected(90), abs=0.02)]


@pytest.mark.parametrize(
    ("given", "asked", "words"),
    [
        ("one", {}, r"clip 0: got a tensor of shape \(6, 3, 24, 32\) and dtype float32, which.*Give layout='?.*TCHW"),
        ("batch", {}, r"videos: got a tensor of shape \(2, 6, 3, 24, 32\).*BTCHW"),
        ("bare", {"layout": "TCHW"}, r"several clips but got a tensor of shape \(6, 3, 24, 32\).*list"),
        ("batch", {"layout": "TCHW"}, r"several clips but got a tensor of shape \(2, 6, 3, 24, 32\)"),
        (
            "one",
            {"layout": "TCHW"},
            r"clip 0: got values of shape \(6, 3, 24, 32\) and dtype float32, which do not",
        ),
        ("one", {"layout": "THWC", "value_range": (0, 1)}, r"3 channels but got \(6, 3, 24, 32\), which has 32 there"),
        ("one", {"layout": "TCXY", "value_range": (0, 1)}, r"each of T, C, H, W once.*'TCXY'.*\(6, 3, 24, 32\)"),
        ("one", {"layout": "TCHW", "value_range": (0, 255)}, "uint8 values from 0 to 255 but got values.*float32"),
        ("one", {"layout": "TCHW", "value_range": (0, 1), "fps": None}, "clip 0.*Give fps"),
        ("batch", {"layout": "BTCHW", "value_range": (0, 1), "fps": [8.0]}, "each of 2 clips, but got 1"),
    ],
)
def test_a_tensor_that_is_not_as_said_is_told_what_is_wanted(given: str, asked: dict, words: str) -> None:
    batch = tensor_of(np.stack([corner_clip(1), corner_clip(2)]), "BTCHW", (0, 1))
    clips = {"one": [batch[0]], "bare": batch[0], "batch": batch}[given]
    with pytest.raises(SettingsError) as caught:
        Reward(CornerDetector()).score(clips, **{"fps": 8.0, **asked})
    assert re.search(words, str(caught.value).replace("\n", " ")), str(caught.value)
