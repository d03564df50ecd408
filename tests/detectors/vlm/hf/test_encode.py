"""Encoders: what reaches the model is what was decoded, for one sample and for a batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.needs import needs

torch = needs("torch")
transformers = needs("transformers")

from tests.detectors.vlm.hf.tiny import KINDS, save_tiny  # noqa: E402

from deeptrace.detectors.vlm.hf.processors import IGNORED, collate, labels, load_processor  # noqa: E402
from deeptrace.errors import ModelError  # noqa: E402
from deeptrace.prompts import FINE_TUNING, question  # noqa: E402
from deeptrace.video.sampling import FrameRequest  # noqa: E402

ANSWER = "FAKE. The video is AI-generated. The unnatural part is at [1, 2, 3, 4] starting 0.50 seconds."


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {kind: save_tiny(kind, tmp_path_factory.mktemp(kind)) for kind in KINDS}


def some_frames(count: int, height: int = 60, width: int = 90) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 255, (count, height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("kind", KINDS)
def test_the_model_takes_what_the_encoder_gives_and_a_batch_agrees_with_single_samples(kind, folders):
    processor = load_processor(folders[kind])
    model = transformers.AutoModelForImageTextToText.from_pretrained(folders[kind]).eval()
    samples = [
        processor.process(some_frames(5), [0.0, 0.5, 1.0, 1.5, 2.0], question(FINE_TUNING), ANSWER),
        processor.process(some_frames(3, 120, 40), [0.0, 0.4, 0.8], "Is it?", "REAL."),
    ]
    for sample in samples:
        planned = sample.plan
        video = int((sample.input_ids == processor.checkpoint.config["video_token_id"]).sum())
        assert video == planned.visual_tokens
        assert sample.tensors["pixel_values_videos"].shape[0] == planned.patches
    with torch.no_grad():
        for side in ("left", "right"):
            together = model(**collate(samples, pad_id=processor.pad_id, side=side)).logits
            for row, sample in zip(together, samples, strict=True):
                alone = model(**collate([sample], pad_id=processor.pad_id)).logits[0]
                part = row[-len(alone) :] if side == "left" else row[: len(alone)]
                assert torch.allclose(part, alone, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_labels_are_the_answer_and_its_end(kind, folders):
    processor = load_processor(folders[kind])
    frames, times = some_frames(2), [0.0, 0.5]
    asked = processor.process(frames, times, question(FINE_TUNING))
    answered = processor.process(frames, times, question(FINE_TUNING), ANSWER)
    assert asked.answer_start == len(asked.input_ids) == answered.answer_start
    assert torch.equal(answered.input_ids[: answered.answer_start], asked.input_ids)
    assert "<video>" not in processor.tokenizer.decode(asked.input_ids)
    for side in ("left", "right"):
        row = labels([answered, asked], side=side)
        assert processor.tokenizer.decode(row[0][row[0] != IGNORED]) == ANSWER + "<|im_end|>"
        assert bool((row[1] == IGNORED).all())
        ids = collate([answered, asked], pad_id=processor.pad_id, side=side)["input_ids"]
        assert torch.equal(ids[0][row[0] != IGNORED], row[0][row[0] != IGNORED])


def test_true_times_stand_in_the_prompt(folders):
    uneven = [0.04, 0.5, 1.21, 2.0]
    said = {
        kind: load_processor(folders[kind], times=times)
        for kind, times in zip(KINDS, ("auto", "text", "auto", "auto"), strict=True)
    }
    text = {
        kind: processor.tokenizer.decode(processor.process(some_frames(4), uneven, "q").input_ids)
        for kind, processor in said.items()
    }
    for kind in ("qwen2_vl", "qwen2_5_vl"):
        assert "taken at 0.040, 0.500, 1.210, 2.000 seconds." in text[kind]
    assert text["qwen3_vl"].count("seconds><|vision_start|>") == 2
    assert "<0.3 seconds>" in text["qwen3_vl"]
    assert "<1.6 seconds>" in text["qwen3_vl"]
    for stated in ("Time 0.0s:", ",Time 0.5s:", ",Time 1.2s:", ",Time 2.0s:"):
        assert stated in text["video_llama_3"]


def test_positions_of_qwen2_5_follow_the_true_times(folders):
    processor = load_processor(folders["qwen2_5_vl"])
    model = transformers.AutoModelForImageTextToText.from_pretrained(folders["qwen2_5_vl"])
    # Frames nearest to every half second of a 29.97 fps clip: never quite 0.5 s apart.
    times = [round(k * 0.5 * 29.97) / 29.97 for k in range(10)]
    batch = collate([processor.process(some_frames(10), times, "q")], pad_id=processor.pad_id)
    positions, _ = model.model.get_rope_index(**batch)
    temporal = positions[0, 0][batch["mm_token_type_ids"][0] == 2]
    stated = (temporal - temporal[0]).unique() / 2  # tokens_per_second of the config
    pairs = [(times[k] + times[k + 1]) / 2 for k in range(0, 10, 2)]
    assert np.allclose(stated.numpy(), np.array(pairs) - pairs[0], atol=0.25)
    assert stated.tolist() == [0, 1, 2, 3, 4]


def test_uneven_times_that_positions_cannot_say_are_told(folders):
    processor = load_processor(folders["qwen2_5_vl"])
    assert not processor.process(some_frames(4), [0, 0.5, 1.0, 1.5], "q").warnings
    assert "unevenly" in processor.process(some_frames(4), [0, 0.1, 0.2, 3.0], "q").warnings[0]


def test_frames_too_dense_for_qwen2_5_to_tell_their_times_are_told(folders):
    processor = load_processor(folders["qwen2_5_vl"])
    dense, sparse = [k / 8 for k in range(8)], [k / 4 for k in range(8)]
    (warning,) = processor.process(some_frames(8), dense, "q").warnings
    assert "8 frames a second: the model cannot tell times apart above 4" in warning
    assert not processor.process(some_frames(8), sparse, "q").warnings
    # It is so: the positions of neighbouring pairs are the same ones.
    model = transformers.AutoModelForImageTextToText.from_pretrained(folders["qwen2_5_vl"])
    for times, distinct in ((dense, 2), (sparse, 4)):
        batch = collate([processor.process(some_frames(8), times, "q")], pad_id=processor.pad_id)
        positions, _ = model.model.get_rope_index(**batch)
        assert len(positions[0, 0][batch["mm_token_type_ids"][0] == 2].unique()) == distinct
    for kind in ("qwen3_vl", "qwen2_vl"):
        assert not load_processor(folders[kind]).process(some_frames(8), dense, "q").warnings
    assert not load_processor(folders["qwen2_5_vl"], times="text").process(some_frames(8), dense, "q").warnings


def test_tokens_that_hardly_change_are_dropped(folders):
    still = np.repeat(some_frames(1), 4, axis=0)
    sample = load_processor(folders["video_llama_3"]).process(still, [0, 0.5, 1.0, 1.5], "q")
    kept = sample.tensors["video_compression_mask"].view(4, -1).sum(1)
    assert kept.tolist() == [sample.plan.visual_tokens // 4, 1, 1, 1]
    full = load_processor(folders["video_llama_3"], compress=False).process(still, [0, 0.5, 1.0, 1.5], "q")
    assert bool(full.tensors["video_compression_mask"].all())


@pytest.mark.parametrize("kind", KINDS)
def test_the_budget_bounds_frames_and_clip(kind, folders):
    request = FrameRequest(min_frame_pixels=4 * 32 * 32, max_frame_pixels=100_000, max_total_pixels=1_000_000)
    processor = load_processor(folders[kind], request=request)
    for frames, size in ((1, (2000, 1500)), (64, (640, 480)), (7, (30, 20))):
        plan = processor.plan(frames, *size)
        assert plan.width * plan.height * plan.frames <= 1_000_000 or plan.width * plan.height <= 8 * 32 * 32
        assert 4 * 32 * 32 <= plan.width * plan.height <= 100_000
        assert plan.frames >= frames


@pytest.mark.parametrize(
    ("frames", "times", "says"),
    [
        (np.zeros((2, 4, 4), np.uint8), [0, 1], "shape"),
        (np.zeros((2, 8, 8, 3), np.float32), [0, 1], "float32"),
        (some_frames(2), [0], "a time for each"),
        (some_frames(2), [1, 1], "rise"),
        (some_frames(2, 2, 900), [0, 1], "200 times"),
    ],
)
def test_frames_that_no_model_takes_are_refused(frames, times, says, folders):
    with pytest.raises(ModelError, match=says):
        load_processor(folders["qwen2_5_vl"]).process(frames, times, "q")


def test_no_checkpoint_and_unknown_architectures_are_said(tmp_path):
    with pytest.raises(ModelError, match=r"no config\.json"):
        load_processor(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(ModelError, match="no processor for models of type 'gpt2'"):
        load_processor(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ModelError, match="not JSON"):
        load_processor(tmp_path)
