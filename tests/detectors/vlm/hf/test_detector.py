"""Every architecture as a detector: what reaches the model, and what comes back."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.needs import needs

torch = needs("torch")
needs("transformers")

from deeptrace.detectors import AskableDetector, BatchDetector, load_detector, load_planner  # noqa: E402
from deeptrace.detectors.vlm.hf.detector import LocalModel  # noqa: E402
from deeptrace.detectors.vlm.hf.processors import collate  # noqa: E402
from deeptrace.detectors.vlm.label_probability import begins_label  # noqa: E402
from deeptrace.errors import SettingsError  # noqa: E402
from deeptrace.geometry import Box  # noqa: E402
from deeptrace.inference import detect  # noqa: E402
from deeptrace.prompts import SPACES, View, verdict_of_text, write_answer  # noqa: E402
from deeptrace.schema import Label, Outcome, Trace  # noqa: E402
from deeptrace.video import open_video  # noqa: E402

KINDS = (
    *("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "video_llama_3"),
    *("llava_onevision", "video_llava", "phi4_multimodal", "llava"),
)
SMALL = {"max_frame_pixels": 70 * 70, "max_new_tokens": 56}


@pytest.fixture(scope="module")
def constrained(checkpoints: dict[str, Path]) -> dict[str, LocalModel]:
    """Each architecture, held to answers that can be read: random weights write nothing of the kind on their own."""
    asked = {"form": "fine-tuning", "without": ["box", "explanation"], "constrained": True, **SMALL}
    return {kind: load_detector(f"hf:{checkpoints[kind]}", batch_size=4, **asked) for kind in KINDS}


def prompt_of(detector: LocalModel, clip: Path) -> tuple[str, tuple[float, ...]]:
    """The text that the model reads, and the times of the frames decoded."""
    with open_video(clip) as video:
        prepared = detector.prepare(video)
    return detector._processor.tokenizer.decode(prepared.model_inputs.input_ids), prepared.media.sampled_times_s


@pytest.mark.parametrize("kind", KINDS)
def test_batched_and_alone_a_clip_gets_the_same_answer(
    kind: str, constrained: dict[str, LocalModel], clips: list[Path]
) -> None:
    detector = constrained[kind]
    assert isinstance(detector, BatchDetector)
    together = detect(clips, detector)
    assert [verdict.outcome for verdict in together] == [Outcome.SCORED] * len(clips)
    for clip, verdict in zip(clips, together, strict=True):
        alone = detect(clip, detector)
        assert verdict.raw == alone.raw
        assert verdict.p_fake == pytest.approx(alone.p_fake, abs=1e-4)
        kept = {"elapsed_s": None, "p_fake": None, "reward": None}
        assert verdict.model_copy(update=kept) == alone.model_copy(update=kept)
        assert 0.0 < verdict.p_fake < 1.0
        assert verdict.usage.frames == len(verdict.media.sampled_times_s)
        assert verdict.usage.prompt_tokens > verdict.usage.visual_tokens > 0


def test_clips_that_fit_no_common_tensor_are_still_one_batch(
    constrained: dict[str, LocalModel], clips: list[Path]
) -> None:
    detector = constrained["llava_onevision"]
    with open_video(clips[0]) as first, open_video(clips[2]) as second:
        prepared = [detector.prepare(first), detector.prepare(second), detector.prepare(first)]
    shapes = {one.model_inputs.tensors["pixel_values_videos"].shape for one in prepared}
    assert len(shapes) == 2
    verdicts = detector.detect_batch(prepared)
    assert [verdict.media.duration_s for verdict in verdicts] == [one.media.duration_s for one in prepared]
    assert verdicts[0] == verdicts[2]


@pytest.mark.parametrize("kind", ["qwen2_vl", "video_llava", "phi4_multimodal", "llava", "llava_onevision"])
def test_the_prompt_states_the_times_of_the_frames_decoded(
    kind: str, constrained: dict[str, LocalModel], clips: list[Path]
) -> None:
    text, times = prompt_of(constrained[kind], clips[-1])
    if kind in ("phi4_multimodal", "llava"):
        stated = re.findall(r"(\d+\.\d{3}) s: ", text)
    else:
        found = re.search(r"taken at ([\d., ]+) seconds", text)
        assert found is not None
        stated = found.group(1).split(", ")
    assert [float(time) for time in stated] == [round(time, 3) for time in times]
    assert len(times) >= 2
    with open_video(clips[-1]) as video:
        shown = {round(frame.time_s, 3) for frame in video.frames()}
    assert {round(time, 3) for time in times} <= shown, "times of frames that are there, not of the plan"


def test_architectures_with_a_way_of_their_own_get_the_times_that_way(
    constrained: dict[str, LocalModel], clips: list[Path]
) -> None:
    text, times = prompt_of(constrained["video_llama_3"], clips[-1])
    assert re.findall(r"Time (\d+\.\d)s:", text) == [f"{time:.1f}" for time in times]
    text, times = prompt_of(constrained["qwen3_vl"], clips[-1])
    filled = [*times, times[-1]][: len(times) + len(times) % 2]
    means = [(a + b) / 2 for a, b in zip(filled[::2], filled[1::2], strict=True)]
    assert re.findall(r"<(\d+\.\d) seconds>", text) == [f"{mean:.1f}" for mean in means]
    with open_video(clips[0]) as video:
        prepared = constrained["qwen2_5_vl"].prepare(video)
    times = prepared.media.sampled_times_s
    step = 2 * (times[-1] - times[0]) / (len(times) - 1)
    assert prepared.model_inputs.tensors["second_per_grid_ts"].item() == pytest.approx(step, abs=0.05)


def test_video_llava_gets_eight_frames_and_says_when_it_sees_some_twice(
    constrained: dict[str, LocalModel], clips: list[Path]
) -> None:
    short = detect(clips[3], constrained["video_llava"])
    assert short.usage.frames == 8
    assert any("4 different frames for 8 moments, shown more than once" in line for line in short.warnings)
    assert constrained["video_llava"].info.settings["frames"] == 8
    assert constrained["llava_onevision"].info.settings["fps"] == 1.0
    assert constrained["llava_onevision"].info.settings["max_frames"] == 20


@pytest.mark.parametrize("kind", KINDS)
def test_the_plan_says_beforehand_what_the_model_then_sees(
    kind: str, checkpoints: dict[str, Path], constrained: dict[str, LocalModel], clips: list[Path]
) -> None:
    planner = load_planner(f"hf:{checkpoints[kind]}", form="fine-tuning", without=["box", "explanation"], **SMALL)
    for clip in (clips[0], clips[2]):
        with open_video(clip) as video:
            estimate = planner.estimate(video.media)
        seen = detect(clip, constrained[kind]).usage
        assert (estimate.frames, estimate.size) == (seen.frames, seen.frame_size)
        assert estimate.visual_tokens == seen.visual_tokens
        assert estimate.memory_gib > 0
        assert estimate.seconds > 0
        assert estimate.prompt_tokens > estimate.visual_tokens


def test_a_wider_budget_takes_more_of_everything(checkpoints: dict[str, Path], clips: list[Path]) -> None:
    name = f"hf:{checkpoints['qwen2_5_vl']}"
    with open_video(clips[2]) as video:
        small = load_planner(name, max_frame_pixels=56 * 56).estimate(video.media)
        large = load_planner(name, max_frame_pixels=112 * 112, fps=4.0).estimate(video.media)
        quantized = load_planner(name, quantization=4).estimate(video.media)
    assert large.visual_tokens > small.visual_tokens
    assert large.memory_gib > small.memory_gib > quantized.memory_gib
    assert large.frames > small.frames


# -- probabilities ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["qwen2_5_vl", "video_llava"])
def test_p_fake_is_the_share_of_fake_in_the_models_own_scores_at_the_label(
    kind: str, constrained: dict[str, LocalModel], clips: list[Path]
) -> None:
    detector = constrained[kind]
    with open_video(clips[0]) as video:
        prepared = detector.prepare(video)
    verdict = detector.detect_batch([prepared])[0]
    said = detector._writer.write([prepared.model_inputs])[0]
    tokenizer, model = detector._processor.tokenizer, detector._writer._model
    before = next(k for k in range(9) if tokenizer.decode(said._ids[: k + 1]).strip())  # spaces that open the answer
    batch = collate([prepared.model_inputs], pad_id=detector._processor.pad_id)
    batch["input_ids"] = torch.cat([batch["input_ids"], torch.tensor([said._ids[:before]], dtype=torch.long)], dim=1)
    batch["attention_mask"] = torch.ones_like(batch["input_ids"])
    if "mm_token_type_ids" in batch:
        batch["mm_token_type_ids"] = torch.nn.functional.pad(batch["mm_token_type_ids"], (0, before))
    with torch.no_grad():
        shares = model(**batch).logits[0, -1].softmax(dim=-1)
    words = [tokenizer.decode([index]) for index in range(len(tokenizer))]
    special = set(tokenizer.all_special_ids)
    sides = {
        label: sum(float(shares[i]) for i, word in enumerate(words) if i not in special and begins_label(word, label))
        for label in Label
    }
    assert verdict.p_fake == pytest.approx(sides[Label.FAKE] / sum(sides.values()), abs=1e-4)


def test_the_likeliest_words_are_taken_and_chance_repeats_with_its_seed(
    checkpoints: dict[str, Path], clips: list[Path]
) -> None:
    name, asked = f"hf:{checkpoints['qwen2_5_vl']}", {"constrained": True, "form": "fine-tuning", **SMALL}
    greedy = load_detector(name, **asked)
    assert detect(clips[0], greedy).raw == detect(clips[0], load_detector(name, seed=7, **asked)).raw
    drawn = load_detector(name, temperature=3.0, seed=3, batch_size=4, **asked)
    assert drawn.batch_size == 1
    first = [verdict.raw for verdict in detect(clips, drawn)]
    assert first == [verdict.raw for verdict in detect(clips[::-1], drawn)][::-1]
    other = load_detector(name, temperature=3.0, seed=4, **asked)
    assert first != [verdict.raw for verdict in detect(clips, other)]


def test_an_answer_that_says_nothing_is_an_outcome_with_the_models_words(
    checkpoints: dict[str, Path], clips: list[Path]
) -> None:
    verdict = detect(clips[0], load_detector(f"hf:{checkpoints['qwen3_vl']}", **SMALL))
    assert verdict.outcome is Outcome.PARSE_FAILED
    assert verdict.raw
    assert "cut off at max_new_tokens=56" in verdict.error
    assert verdict.usage.completion_tokens == 56


def test_constrained_answers_need_room(checkpoints: dict[str, Path]) -> None:
    with pytest.raises(SettingsError, match="Allow it 52 or more"):
        load_detector(f"hf:{checkpoints['qwen2_vl']}", constrained=True, form="fine-tuning", max_new_tokens=20)


def test_a_batch_that_does_not_fit_is_halved(
    constrained: dict[str, LocalModel], clips: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = constrained["qwen2_vl"]
    whole = [verdict.raw for verdict in detect(clips, detector)]
    write, sizes = detector._writer.write, []

    def small(samples):
        sizes.append(len(samples))
        if len(samples) > 1:
            raise torch.cuda.OutOfMemoryError("as on a full GPU")
        return write(samples)

    monkeypatch.setattr(detector._writer, "write", small)
    assert [verdict.raw for verdict in detect(clips, detector)] == whole
    assert max(sizes) > 1


# -- boxes ------------------------------------------------------------------------------------------------------------

corner = st.floats(0.02, 0.9)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(corner, corner, st.floats(0.08, 0.9), st.floats(0.08, 0.9))
def test_known_boxes_come_back_within_a_pixel(
    kind: str, constrained: dict[str, LocalModel], views: dict[str, list[View]], x: float, y: float, w: float, h: float
) -> None:
    """From a box to the numbers that a model of the architecture writes, and back through the parser."""
    box = Box(x0=x, y0=y, x1=min(x + w, 1.0), y1=min(y + h, 1.0))
    form = constrained[kind].options.answer_form
    assert form.space == SPACES["pixels"], "the fine-tuned question is answered in pixels of the original"
    spaces = {"qwen2_vl": "permille", "qwen3_vl": "permille"}
    for space in (form.space, SPACES[spaces.get(kind, "resized_pixels")]):
        form = constrained[kind].options.model_copy(update={"without": ()}).answer_form.in_space(space)
        for view in views[kind]:
            part = view.shown or Box(x0=0, y0=0, x1=1, y1=1)
            inside = box if space.unit == "pixels" else box.placed_in(part)
            text = write_answer(Label.FAKE, [Trace(box=inside, onset_s=0.5)], form=form, view=view)
            found = verdict_of_text(text, video="v", form=form, view=view).traces[0].box
            wide, high = view.size if space.unit == "pixels" else view.resized
            steps = (1 / wide, 1 / high) if space.unit != "permille" else (max(1 / wide, 1e-3), max(1 / high, 1e-3))
            for place, step in zip(range(4), steps * 2, strict=True):
                scale = 1.0 if space.unit == "pixels" else (part.width, part.height)[place % 2]
                assert abs(found.as_tuple()[place] - inside.as_tuple()[place]) <= step * scale + 1e-9


@pytest.fixture(scope="module")
def views(constrained: dict[str, LocalModel], clips: list[Path]) -> dict[str, list[View]]:
    """What each architecture is shown of two clips of unlike shape."""
    found: dict[str, list[View]] = {}
    for kind, detector in constrained.items():
        for clip in clips[:2]:
            with open_video(clip) as video:
                found.setdefault(kind, []).append(detector.prepare(video).view)
    return found


def test_only_video_llava_sees_less_than_the_whole_frame(views: dict[str, list[View]]) -> None:
    assert [kind for kind, seen in views.items() if any(view.shown for view in seen)] == ["video_llava"]
    wide, tall = views["video_llava"]
    assert wide.shown.as_tuple() == pytest.approx((1 / 6, 0.0, 5 / 6, 1.0))
    assert tall.shown.as_tuple() == pytest.approx((0.0, 1 / 6, 1.0, 5 / 6))
    assert wide.resized == (56, 56)


def test_a_crop_shows_the_pixels_that_the_view_says(constrained: dict[str, LocalModel]) -> None:
    processor = constrained["video_llava"]._processor
    frame = np.zeros((60, 120, 3), np.uint8)
    frame[:, 30:90] = np.linspace(0, 240, 60, dtype=np.uint8)[None, :, None]
    model_inputs = processor.process(np.stack([frame] * 8), [0.1 * k for k in range(8)], "Is it?")
    how = processor.processing
    seen = model_inputs.tensors["pixel_values_videos"][0, 0, 0] * how.std[0] + how.mean[0]
    assert seen.shape == (56, 56)
    assert float(seen[28, 0]) == pytest.approx(0.0, abs=0.06)
    assert float(seen[28, -1]) == pytest.approx(240 / 255, abs=0.12)
    assert math.isclose(float(seen[28, 28]), 120 / 255, abs_tol=0.03)


# -- fusion -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["qwen2_5_vl", "qwen3_vl"])
def test_findings_reach_the_model_in_its_own_space(kind: str, checkpoints: dict[str, Path], clips: list[Path]) -> None:
    detector = load_detector(f"hf:{checkpoints[kind]}", findings=True, expert="baseline:center-box", **SMALL)
    text, _ = prompt_of(detector, clips[0])
    with open_video(clips[0]) as video:
        view = detector.prepare(video).view
    middle = Box(x0=0.25, y0=0.25, x1=0.75, y1=0.75)
    numbers = SPACES[detector.info.settings["space"]].to_numbers(middle, view)
    assert f'"box": [{", ".join(f"{number:g}" for number in numbers)}]' in text
    assert detector.info.settings["findings"] is True
    plain = load_detector(f"hf:{checkpoints[kind]}", **SMALL)
    assert "measuring program" not in prompt_of(plain, clips[0])[0]


def test_answers_are_verified_by_the_default_detector(checkpoints: dict[str, Path], clips: list[Path]) -> None:
    asked = {"form": "fine-tuning", "constrained": True, **SMALL}
    detector = load_detector(f"hf:{checkpoints['qwen2_5_vl']}", verify=True, expert_weight=1.0, **asked)
    verdict = detect(clips[0], detector)
    assert verdict.outcome is Outcome.SCORED
    assert any(line.startswith("verified by tracenet") for line in verdict.warnings)
    assert verdict.p_fake == pytest.approx(detect(clips[0], "tracenet").p_fake, abs=2e-4)


def test_a_model_can_be_asked_in_words_of_the_caller(constrained: dict[str, LocalModel], clips: list[Path]) -> None:
    """Also one whose verdicts are constrained: its answer is free, and other questions give other answers."""
    detector = constrained["qwen2_5_vl"]
    assert isinstance(detector, AskableDetector)
    with open_video(clips[0]) as video:
        first = detector.ask(video, "Does a cup melt? Answer yes or no, and nothing else.")
        assert detector.ask(video, "Does a cup melt? Answer yes or no, and nothing else.") == first
        other = detector.ask(video, "What is the capital of the country?")
    assert first.strip()
    assert other != first
