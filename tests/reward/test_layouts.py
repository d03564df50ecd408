from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeptrace.errors import SettingsError
from deeptrace.reward.layouts import Unusable, frames_of_batch, frames_of_clip

CLIPS = np.random.default_rng(0).integers(0, 256, (2, 5, 4, 6, 3), np.uint8)  # B F H W C


def as_layout(layout: str) -> np.ndarray:
    return CLIPS.transpose(["BFHWC".index(axis) for axis in layout])


@given(st.permutations("FCHW"), st.sampled_from(["bytes", "unit", "signed"]))
def test_every_layout_and_range_gives_the_same_frames(axes: list[str], values: str) -> None:
    layout = "B" + "".join(axes)
    given_values = as_layout(layout)
    if values == "unit":
        given_values = given_values.astype(np.float32) / 255
    elif values == "signed":
        given_values = given_values.astype(np.float64) / 127.5 - 1
    found = frames_of_batch(given_values, layout=layout, values=values, caller="test")
    assert all(np.array_equal(clip, truth) for clip, truth in zip(found, CLIPS, strict=True))
    assert all(clip.flags.c_contiguous for clip in found)


@pytest.mark.parametrize("kind", ["float32", "float16", "bfloat16"])
def test_torch_tensors_of_every_float_type(kind: str) -> None:
    torch = pytest.importorskip("torch")
    tensor = torch.from_numpy(as_layout("BFCHW").astype(np.float32) / 255).to(getattr(torch, kind)).requires_grad_()
    found = frames_of_batch(tensor, layout="BFCHW", values="unit", caller="test")
    slack = {"float32": 0, "float16": 0, "bfloat16": 1}[kind]  # bfloat16 keeps eight bits
    assert all(np.abs(c.astype(int) - t).max() <= slack for c, t in zip(found, CLIPS, strict=True))


def test_a_list_of_clips_may_have_different_sizes() -> None:
    clips = [np.zeros((3, 4, 8, 8), np.float32), np.ones((3, 9, 6, 10), np.float32)]
    found = frames_of_batch(clips, layout="BCFHW", values="unit", caller="test")
    assert [clip.shape for clip in found] == [(4, 8, 8, 3), (9, 6, 10, 3)]
    assert found[1].min() == 255


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_clip_with_a_value_that_is_none_is_left_out_alone(bad: float) -> None:
    batch = as_layout("BFCHW").astype(np.float32) / 255
    batch[1, 2, 0, 1, 1] = bad
    good, broken = frames_of_batch(batch, layout="BFCHW", values="unit", caller="test")
    assert np.array_equal(good, CLIPS[0])
    assert broken == Unusable("clip 1", "has NaN or infinite pixel values")


@pytest.mark.parametrize(
    ("batch", "values", "words"),
    [
        (as_layout("BCFHW").astype(np.float32) / 255, "unit", "5 there.*Permute"),
        (as_layout("BFCHW")[0].astype(np.float32), "unit", "one clip or a batch of images"),
        (as_layout("BFCHW"), "unit", "floats from 0 to 1 but got uint8"),
        (as_layout("BFCHW").astype(np.float32) / 127.5 - 1, "unit", "0 to 1 but clip 0 has -"),
        (as_layout("BFCHW").astype(np.float32), "unit", "Rescale"),
        (as_layout("BFCHW").astype(np.float32) / 255, "bytes", "uint8 values"),
        (as_layout("BFCHW").astype(np.float32) / 50, "signed", "-1 to 1"),
        (as_layout("BFCHW")[:, :0].astype(np.float32), "unit", "empty"),
        ("videos.mp4", "unit", "got str"),
    ],
)
def test_what_does_not_fit_is_said_and_not_guessed(batch, values: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words) as caught:
        frames_of_batch(batch, layout="BFCHW", values=values, caller="the trainer")
    assert caught.value.subject == "the trainer"


def test_a_clip_of_four_axes() -> None:
    assert np.array_equal(frames_of_clip(as_layout("BCFHW")[0], layout="CFHW", values="bytes", caller="t"), CLIPS[0])
