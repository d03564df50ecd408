from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.needs import needs

from deeptrace.errors import SettingsError
from deeptrace.reward.tensors import RANGES, Unusable, ValueRange, frames_of_batch, frames_of_clip

CLIPS = np.random.default_rng(0).integers(0, 256, (2, 5, 4, 6, 3), np.uint8)  # B T H W C


def as_layout(layout: str) -> np.ndarray:
    return CLIPS.transpose(["BTHWC".index(axis) for axis in layout.replace("F", "T")])


def in_range(values: np.ndarray, value_range: ValueRange | None) -> np.ndarray:
    """Of uint8, as a trainer has them."""
    if value_range is None or value_range[1] == 255:
        return values
    low, high = value_range
    return (values / 255 * (high - low) + low).astype(np.float32)


@given(st.permutations("BTCHW"), st.sampled_from([None, *RANGES]), st.booleans())
def test_every_layout_and_range_gives_the_same_frames(
    axes: list[str], value_range: ValueRange | None, frames_for_time: bool
) -> None:
    layout = "".join(axes).replace("T", "F" if frames_for_time else "T")
    given_values = in_range(as_layout(layout), value_range)
    found = frames_of_batch(given_values, layout=layout, value_range=value_range, caller="test")
    assert all(np.array_equal(clip, truth) for clip, truth in zip(found, CLIPS, strict=True))
    assert all(clip.flags.c_contiguous for clip in found)


@pytest.mark.parametrize("kind", ["float32", "float16", "bfloat16"])
def test_torch_tensors_of_every_float_type(kind: str) -> None:
    torch = needs("torch")
    tensor = torch.from_numpy(as_layout("BTCHW").astype(np.float32) / 255).to(getattr(torch, kind)).requires_grad_()
    found = frames_of_batch(tensor, layout="BTCHW", value_range=(0, 1), caller="test")
    slack = {"float32": 0, "float16": 0, "bfloat16": 1}[kind]  # bfloat16 keeps eight bits
    assert all(np.abs(c.astype(int) - t).max() <= slack for c, t in zip(found, CLIPS, strict=True))


def test_a_list_of_clips_may_have_different_sizes() -> None:
    clips = [np.zeros((3, 4, 8, 8), np.float32), np.ones((3, 9, 6, 10), np.float32)]
    found = frames_of_batch(clips, layout="BCTHW", value_range=(0, 1), caller="test")
    assert [clip.shape for clip in found] == [(4, 8, 8, 3), (9, 6, 10, 3)]
    assert found[1].min() == 255


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_clip_with_a_value_that_is_none_is_left_out_alone(bad: float) -> None:
    batch = as_layout("BTCHW").astype(np.float32) / 255
    batch[1, 2, 0, 1, 1] = bad
    good, broken = frames_of_batch(batch, layout="BTCHW", value_range=(0, 1), caller="test")
    assert np.array_equal(good, CLIPS[0])
    assert broken == Unusable("clip 1", "has NaN or infinite pixel values")


@pytest.mark.parametrize(
    ("batch", "value_range", "words"),
    [
        (in_range(as_layout("BCTHW"), (0, 1)), (0, 1), "5 there.*Permute"),
        (in_range(as_layout("BTCHW")[0], (0, 1)), (0, 1), "one clip or a batch of images"),
        (as_layout("BTCHW"), (0, 1), r"floats from 0 to 1 but got clip 0 of shape \(5, 3, 4, 6\) and dtype uint8"),
        (in_range(as_layout("BTCHW"), (-1, 1)), (0, 1), "0 to 1 but clip 0 has -"),
        (as_layout("BTCHW").astype(np.float32), (0, 1), "Rescale"),
        (in_range(as_layout("BTCHW"), (0, 1)), (0, 255), "uint8 values.*float32"),
        (as_layout("BTCHW").astype(np.int64), (0, 255), "uint8 values.*int64"),
        (in_range(as_layout("BTCHW"), (0, 1)) * 5, (-1, 1), "-1 to 1"),
        (in_range(as_layout("BTCHW"), (0, 1))[:, :0], (0, 1), "empty"),
        (in_range(as_layout("BTCHW"), (0, 1)), None, r"dtype float32, which do not say.*value_range=\(0, 1\)"),
        (as_layout("BTCHW"), (0, 100), r"\(0, 255\), \(0, 1\), \(-1, 1\) but got \(0, 100\)"),
        ("videos.mp4", (0, 1), "got str"),
    ],
)
def test_what_does_not_fit_is_said_and_not_guessed(batch, value_range: ValueRange | None, words: str) -> None:
    with pytest.raises(SettingsError, match=words) as caught:
        frames_of_batch(batch, layout="BTCHW", value_range=value_range, caller="the trainer")
    assert caught.value.subject == "the trainer"


@pytest.mark.parametrize("layout", ["BTCH", "TCHW", "BTCHH", "BTCHX", "", "BTCHWN"])
def test_what_is_no_layout_is_said_with_the_shape(layout: str) -> None:
    with pytest.raises(SettingsError, match=r"each of B, T, C, H, W once.*\(2, 5, 3, 4, 6\)"):
        frames_of_batch(as_layout("BTCHW"), layout=layout, value_range=None, caller="the trainer")


def test_a_clip_of_four_axes() -> None:
    assert np.array_equal(
        frames_of_clip(as_layout("BCTHW")[0], layout="CTHW", value_range=(0, 255), caller="t"), CLIPS[0]
    )
