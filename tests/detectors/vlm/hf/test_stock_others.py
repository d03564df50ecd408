"""Our preprocessing for fixed frames and tiles equals transformers' own, to the last bit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.needs import needs, needs_torchvision

torch = needs("torch")
needs("transformers")

from tests.detectors.vlm.hf.stock_others import KINDS, REFERENCE, SIZES, TILES, digests, frames, stock_outputs  # noqa: E402

from deeptrace.detectors.vlm.hf.processors import ModelInputs, load_processor  # noqa: E402
from deeptrace.video.sampling import FrameRequest  # noqa: E402


def ours(checkpoints: dict[str, Path], kind: str, size: tuple[int, int]) -> ModelInputs:
    shown = frames(kind, size)
    processor = load_processor(
        checkpoints[kind],
        request=FrameRequest(min_frame_pixels=1, max_frame_pixels=TILES * 56 * 56, max_total_pixels=10**9),
    )
    return processor.process(shown, [0.5 * k for k in range(len(shown))], "Is it real?")


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_pixels_masks_and_tokens_are_those_that_the_stock_processor_gave(
    checkpoints: dict[str, Path], kind: str, size: tuple[int, int]
) -> None:
    wanted = json.loads(REFERENCE.read_text())[f"{kind}-{size[0]}x{size[1]}"]
    made = ours(checkpoints, kind, size)
    found = digests(made.tensors)
    if kind == "phi4_multimodal":
        # The stock processor counts 16 lines of 16 tokens for the whole frame, whatever the side; of 56 pixels it is 2.
        each = made.plan.visual_tokens // len(made.tensors["image_sizes"]) - (2 * 2 + 2) + (16 * 16 + 16)
        found |= digests({"num_img_tokens": torch.full((len(made.tensors["image_sizes"]),), each)})
    assert found == wanted


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_the_stock_processor_still_gives_them(checkpoints: dict[str, Path], kind: str, size: tuple[int, int]) -> None:
    needs_torchvision()
    wanted = stock_outputs(kind, size)
    for name, values in ours(checkpoints, kind, size).tensors.items():
        assert torch.equal(values.float(), wanted[name].float()), name


def test_any_other_model_gets_the_video_with_its_times_through_its_own_processor(
    checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    """Qwen2.5-VL taken for a model without an encoder of ours: what its processor makes is what ours makes."""
    needs_torchvision()
    import transformers
    from transformers import AutoTokenizer

    from deeptrace.detectors.vlm.hf.processors.base import Manner
    from deeptrace.detectors.vlm.hf.processors.checkpoint import Checkpoint, read_config
    from deeptrace.detectors.vlm.hf.processors.stock import StockProcessor

    size = {"shortest_edge": 56 * 56, "longest_edge": 10_000}
    transformers.Qwen2_5_VLProcessor(
        image_processor=transformers.Qwen2VLImageProcessor(),
        tokenizer=AutoTokenizer.from_pretrained(checkpoints["qwen2_5_vl"]),
        video_processor=transformers.Qwen2VLVideoProcessor(size=size),
    ).save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text((checkpoints["qwen2_5_vl"] / "config.json").read_text())
    request = FrameRequest(min_frame_pixels=56 * 56, max_frame_pixels=10_000, max_total_pixels=10**9)
    stock = StockProcessor(Checkpoint(str(tmp_path), read_config(str(tmp_path))), Manner(request))
    assert stock.takes_video
    shown, times = frames("video_llava", (84, 112)), [0.5 * k for k in range(8)]
    made = stock.process(shown, times, "Is it real?")
    wanted = load_processor(checkpoints["qwen2_5_vl"], request=request).process(shown, times, "Is it real?")
    assert torch.equal(made.input_ids, wanted.input_ids)
    for name, values in wanted.tensors.items():
        assert torch.allclose(made.tensors[name].float(), values.float()), name
    assert made.plan.visual_tokens == wanted.plan.visual_tokens
