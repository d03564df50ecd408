"""What reaches the model, and what comes back: times, boxes, frames, probabilities, cost."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from tests.detectors.vlm.openai.model_server import FAKE, Asked, Handler, ModelServer, completion, error, says, tokens

from deeptrace.detectors import load_detector, load_planner
from deeptrace.detectors.vlm.calibration import CALIBRATION_FILE, Calibration
from deeptrace.detectors.vlm.frame_sampling import fit_size
from deeptrace.detectors.vlm.openai.profiles import profile_of
from deeptrace.errors import MissingExtraError, RefusalError, ServiceError, SettingsError
from deeptrace.geometry import Box
from deeptrace.prompts import SPACES, View
from deeptrace.prompts.template import ZERO_SHOT, question
from deeptrace.schema import Label, Media, Outcome, Verdict
from deeptrace.video import Frame, open_video, video_from_array, write_video


def ask(server: ModelServer, clip: Path, model: str = "m", **settings: object) -> Verdict:
    settings = {"attempts": 1, "attempt_s": 20.0, **settings}
    with open_video(clip) as video:
        return load_detector(f"openai:{model}@{server.url}", **settings).detect(video)


# -- times ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fps", [1.0, 2.0, 3.0])
def test_times_in_the_prompt_are_those_of_the_frames_decoded(server: ModelServer, tmp_path: Path, fps: float) -> None:
    """A clip of uneven frame times, each frame's brightness its own: frame, time and brightness belong together."""
    times = np.cumsum([0.0, 0.04, 0.3, 0.11, 0.5, 0.07, 0.33, 0.21, 0.4, 0.02])
    level_at = {round(float(at), 3): 20 + 23 * index for index, at in enumerate(times)}
    frames = (Frame(float(at), np.full((56, 56, 3), level, np.uint8)) for at, level in level_at.items())
    write_video(tmp_path / "vfr.mp4", frames, fps=30.0)
    verdict = ask(server, tmp_path / "vfr.mp4", fps=fps)
    asked = server.asked[0]
    assert asked.times_s == [round(at, 3) for at in verdict.media.sampled_times_s]
    assert len(asked.times_s) >= 2
    for at, image in zip(asked.times_s, asked.images(), strict=True):
        nearest = min(level_at, key=lambda known: abs(known - at))
        assert abs(nearest - at) < 0.002
        assert abs(float(image.mean()) - level_at[nearest]) < 4


def test_short_clips_show_fewer_frames_and_say_so(server: ModelServer, clip) -> None:
    verdict = ask(server, clip(frames=3, fps=8.0), frames=8)
    assert len(server.asked[0].images()) == 3
    assert any("3 different frames for 8 moments" in line for line in verdict.warnings)
    assert verdict.usage.frames == 3


def test_long_clips_are_thinned_evenly(server: ModelServer, clip) -> None:
    ask(server, clip(frames=80, fps=8.0), max_frames=5)
    assert server.asked[0].times_s == [0.0, 2.0, 4.0, 6.0, 8.0]


@pytest.mark.parametrize(
    ("model", "count"),
    [("org/Video-LLaVA-7B-hf", 8), ("llava-onevision-qwen2-7b-ov-hf", 4), ("Qwen2.5-VL-7B-Instruct", 8)],
)
def test_the_papers_sampling_per_model(server: ModelServer, clip, model: str, count: int) -> None:
    ask(server, clip(frames=32, fps=8.0), model)
    assert len(server.asked[0].images()) == count


# -- boxes ------------------------------------------------------------------------------------------------------------


def spots_the_square(space: str):
    """A model that really looks: it finds the bright square in the last frame and says where, in its space."""

    def mood(handler: Handler, asked: Asked) -> None:
        image = asked.images()[-1].mean(axis=2)
        rows, columns = np.flatnonzero(image.max(axis=1) > 128), np.flatnonzero(image.max(axis=0) > 128)
        high, wide = image.shape
        box = Box(x0=columns[0] / wide, y0=rows[0] / high, x1=(columns[-1] + 1) / wide, y1=(rows[-1] + 1) / high)
        # The size of the frame as the model sees it; the size of the original is nothing it could know.
        numbers = SPACES[space].to_numbers(box, View(size=(640, 358), resized=(wide, high)))
        said = (
            f"FAKE <coordinates>{list(numbers)}</coordinates> <start_time>0</start_time> <explanation>x</explanation>"
        )
        handler.reply(200, completion(said))

    return mood


@pytest.mark.parametrize(
    "space", ["pixels", "resized_pixels", "fractions", "permille", "permille_yxyx", "1024ths_yxyx"]
)
@pytest.mark.parametrize("square", [(48, 64, 201, 151), (400, 10, 630, 350), (7, 300, 33, 333)])
def test_known_boxes_survive_the_round_trip_within_a_pixel(
    server: ModelServer, space: str, square: tuple[int, int, int, int]
) -> None:
    x0, y0, x1, y1 = square
    frames = np.full((4, 358, 640, 3), 16, np.uint8)
    frames[:, y0:y1, x0:x1] = 240
    server.mood = spots_the_square(space)
    detector = load_detector(f"openai:m@{server.url}", space=space, image="png", max_frame_pixels=120_000)
    verdict = detector.detect(video_from_array(frames, fps=4.0))
    (wide, high), found = verdict.usage.frame_size, verdict.traces[0].box
    assert (wide, high) != (640, 358)
    truth = Box.from_pixels_xyxy(x0, y0, x1, y1, width=640, height=358)
    for side, size in zip(range(4), (wide, high, wide, high), strict=True):
        # A pixel of the frame that was sent, and half a unit of what the answer is rounded to.
        unit = {"fractions": 10_000, "permille": 1000, "permille_yxyx": 1000, "1024ths_yxyx": 1024}.get(space, 1e9)
        assert abs(found.as_tuple()[side] - truth.as_tuple()[side]) <= 1.0 / size + 0.5 / unit


@pytest.mark.parametrize("size", [(64, 48), (1280, 720), (720, 1280), (28, 28), (3840, 2160), (1921, 33), (57, 1)])
@pytest.mark.parametrize("factor", [28, 32])
def test_frames_have_a_size_that_the_server_leaves_alone(size: tuple[int, int], factor: int) -> None:
    limits = {"multiple_of": factor, "min_pixels": 4 * factor**2, "max_pixels": 602_112}
    once = fit_size(size, **limits)
    assert [side % factor for side in once] == [0, 0]
    assert fit_size(once, **limits) == once or min(once) == factor  # a strip one patch high cannot shrink further
    if max(size) / min(size) < 5:
        assert 4 * factor**2 <= math.prod(once) <= 602_112
        assert abs(math.log((once[0] / once[1]) / (size[0] / size[1]))) < 0.4


def test_the_budget_shrinks_frames_and_is_recorded(server: ModelServer, clip) -> None:
    path = clip(frames=16, fps=8.0, size=(640, 360))
    model = "Qwen/Qwen2.5-VL-7B-Instruct"
    with open_video(path) as video:
        settings = {"fps": 4.0, "max_total_pixels": 400_000}
        budget = load_planner(f"openai:{model}@{server.url}", **settings).estimate(video.media)
        verdict = load_detector(f"openai:{model}@{server.url}", **settings).detect(video)
    assert server.asked[0].images()[0].shape[1::-1] == budget.size == verdict.usage.frame_size
    assert budget.size[0] * budget.size[1] * 8 <= 400_000
    assert verdict.usage.visual_tokens == budget.visual_tokens == 8 * budget.size[0] * budget.size[1] // 28**2


@pytest.mark.parametrize(
    ("model", "size", "tokens_"),
    [
        ("gpt-4.1", (1024, 1024), 765),  # OpenAI's own worked example: 170 * 4 + 85
        ("gpt-4o", (2048, 4096), 1105),  # and the other one: 170 * 6 + 85
        ("Qwen/Qwen2.5-VL-72B-Instruct", (1008, 560), 720),
        ("Qwen/Qwen3-VL-8B-Instruct", (1024, 576), 576),
    ],
)
def test_visual_tokens_by_the_published_rules(model: str, size: tuple[int, int], tokens_: int) -> None:
    assert profile_of(model).tokens(size) == tokens_


def test_what_is_not_published_is_not_made_up() -> None:
    assert profile_of("some-model").tokens is None
    assert profile_of("gemini-2.5-pro").tokens is None
    assert profile_of("gpt-4.1-mini").tokens is None


# -- the question -----------------------------------------------------------------------------------------------------


def test_the_question_is_the_papers_word_for_word(server: ModelServer, clip) -> None:
    path = clip()
    ask(server, path)
    assert server.asked[0].parts[-1]["text"] == question(ZERO_SHOT)
    ask(server, path, form="fine-tuning")
    assert f"<video> {server.asked[1].parts[-1]['text']}" == question()


def test_each_question_has_the_space_its_models_answer_in(server: ModelServer) -> None:
    def space(model: str = "m", **settings: object) -> str:
        return load_detector(f"openai:{model}@{server.url}", **settings).info.settings["space"]

    assert space() == "resized_pixels"
    assert space(form="fine-tuning") == "pixels"
    assert space(form="fine-tuning", space="permille") == "permille"
    assert space("gemini-2.5-pro") == "permille_yxyx"
    assert space("Qwen/Qwen3-VL-8B-Instruct", form="json") == "permille"


@pytest.mark.parametrize(
    ("model", "space"),
    [
        ("Qwen/Qwen2-VL-7B-Instruct", "permille"),
        ("Qwen/Qwen2.5-VL-7B-Instruct", "resized_pixels"),
        ("qwen2.5vl:7b", "resized_pixels"),
        ("Qwen/Qwen3-VL-8B-Instruct", "permille"),
        ("Qwen/Qwen3-Omni-30B-A3B-Instruct", "permille"),
        ("Qwen/Qwen3.5-35B-A3B", "permille"),
        ("qwen3.6-plus", "permille"),
        ("OpenGVLab/InternVL3-8B", "permille"),
        ("internvl3_5-8b", "permille"),
        ("THUDM/GLM-4.1V-9B-Thinking", "permille"),
        ("zai-org/GLM-4.5V", "permille"),
        ("deepseek-ai/deepseek-vl2-small", "permille"),
        ("moonshotai/Kimi-VL-A3B-Instruct", "fractions"),
        ("gemini-2.5-flash", "permille_yxyx"),
        ("google/paligemma2-3b-mix-448", "1024ths_yxyx"),
        ("gpt-4.1", "resized_pixels"),
    ],
)
def test_boxes_are_in_the_space_that_a_models_makers_document(model: str, space: str) -> None:
    assert profile_of(model).space == space
    assert load_planner(f"openai:{model}@http://127.0.0.1:9/v1").options.space == space


def test_a_dense_video_part_that_qwen2_5_cannot_tell_times_of_is_told(server: ModelServer, clip) -> None:
    dense = {"fps": 8, "part": "video"}
    said = ask(server, clip(), model="Qwen/Qwen2.5-VL-7B-Instruct", **dense).warnings
    assert any("cannot tell times apart above 4" in line for line in said)
    for settings in ({"fps": 8}, {"fps": 4, "part": "video"}):  # frames have their times in words
        assert not ask(server, clip(), model="Qwen/Qwen2.5-VL-7B-Instruct", **settings).warnings
    assert not ask(server, clip(), model="Qwen/Qwen3-VL-8B-Instruct", **dense).warnings


def test_a_json_answer_is_asked_for_with_its_schema(server: ModelServer, clip) -> None:
    server.mood = says('{"label": "FAKE", "fake_probability": 0.8, "traces": [{"box": [0, 0, 28, 28]}]}')
    verdict = ask(server, clip(), form="json")
    form = server.asked[0].body["response_format"]
    assert form["json_schema"]["schema"]["properties"]["label"]["enum"] == ["REAL", "FAKE"]
    assert (verdict.p_fake, len(verdict.traces)) == (0.8, 1)
    assert "response_format" not in (ask(server, clip(), form="json", schema=False), server.asked[-1].body)[1]


def test_a_video_part_tells_vllm_the_true_times(server: ModelServer, clip) -> None:
    verdict = ask(server, clip(frames=60, fps=8.0), part="video", fps=8.0)
    told = server.asked[0].body["media_io_kwargs"]["video"]
    assert told["num_frames"] == -1
    assert len(told["frames_indices"]) == len(server.asked[0].images()) == 60
    for place, time_s in zip(told["frames_indices"], verdict.media.sampled_times_s, strict=True):
        assert abs(place / told["fps"] - time_s) <= 0.0005
    assert told["total_num_frames"] / told["fps"] == pytest.approx(verdict.media.duration_s, abs=0.001)
    ask(server, clip(), part="frames")
    assert "media_io_kwargs" not in server.asked[1].body


def test_a_video_part_holds_the_same_frames(server: ModelServer, clip) -> None:
    ask(server, clip(), part="video")
    (part,) = (part for part in server.asked[0].parts if part["type"] == "video_url")
    assert part["video_url"]["url"].startswith("data:video/jpeg;base64,")
    assert len(server.asked[0].images()) == 2
    assert "at 0.000 s, 0.500 s:" in server.asked[0].text


def test_settings_reach_the_request_and_the_manifest(server: ModelServer, clip) -> None:
    verdict = ask(
        server, clip(), image="png", detail="low", max_tokens=77, temperature=0.5, seed=None, extra={"top_k": 1}
    )
    body = server.asked[0].body
    assert (body["max_tokens"], body["temperature"], body["top_k"]) == (77, 0.5, 1)
    assert "seed" not in body
    image = next(part["image_url"] for part in server.asked[0].parts if part["type"] == "image_url")
    assert (image["detail"], image["url"][:22]) == ("low", "data:image/png;base64,")
    recorded = verdict.detector.settings
    assert (recorded["max_tokens"], recorded["extra"], recorded["space"]) == (77, {"top_k": 1}, "resized_pixels")
    assert not {"key_env", "price_in", "deadline_s"} & set(recorded)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"form": "poem"}, "form"),
        ({"space": "parsecs"}, "parsecs"),
        ({"fps": 0}, "fps"),
        ({"api_key": "sk-oops-0123456789"}, r"these settings: api_key\. It takes: .*, key_env,"),
        ({"temperature": float("nan")}, "temperature"),
        ({"threshold": "fpr_1"}, "no thresholds are kept"),
        ({"threshold": 0.5, "verify": True}, "cannot be combined with verify"),
    ],
)
def test_settings_that_make_no_sense(server: ModelServer, settings: dict[str, object], words: str) -> None:
    with pytest.raises(SettingsError, match=words) as caught:
        load_detector(f"openai:m@{server.url}", **settings)
    assert "sk-oops" not in str(caught.value)


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"deeptrace-video\[api\]"):
        load_detector("openai:m@http://localhost/v1")


# -- servers that take less --------------------------------------------------------------------------------------------


def refuses(*names: str):
    """A server that takes none of these fields, and says so of one at a time."""

    def mood(handler: Handler, asked: Asked) -> None:
        for name in names:
            if name in asked.body:
                message = f"Unsupported parameter: '{name}' is not supported with this model."
                if name == "max_tokens":
                    message += " Use 'max_completion_tokens' instead."
                return error(400, message, param=name)(handler, asked)
        return says(FAKE)(handler, asked)

    return mood


def test_fields_that_a_server_does_not_take_are_left_out_and_told(server: ModelServer, clip) -> None:
    server.mood = refuses("max_tokens", "temperature", "logprobs", "seed")
    path = clip()
    with open_video(path) as video:
        detector = load_detector(f"openai:m@{server.url}", max_tokens=50)
        verdict = detector.detect(video)
        assert verdict.label is Label.FAKE
        assert len(server.asked) == 5
        assert server.asked[-1].body["max_completion_tokens"] == 50
        assert "top_logprobs" not in server.asked[-1].body
        assert sum("does not take" in line for line in verdict.warnings) == 4
        detector.detect(video)
    assert len(server.asked) == 6  # what was learnt holds


def test_a_request_at_fault_otherwise_fails_as_what_it_is(server: ModelServer, clip) -> None:
    server.mood = error(400, "At most 2 image(s) may be provided in one prompt.")
    with pytest.raises(ServiceError, match="At most 2 image"):
        ask(server, clip())
    server.mood = error(400, "'max_tokens' or 'max_completion_tokens' is too large: 1024. The limit is 512.")
    with pytest.raises(ServiceError, match="too large"):
        ask(server, clip())
    assert "max_completion_tokens" not in server.asked[-1].body
    server.mood = error(403, "Your input was flagged by moderation")
    with pytest.raises(RefusalError, match="flagged"):
        ask(server, clip())
    server.mood = error(403, "this key may not use this model")
    with pytest.raises(ServiceError, match="may not use"):
        ask(server, clip())


# -- what comes back --------------------------------------------------------------------------------------------------


def test_probability_of_fake_from_the_first_token_of_the_label(server: ModelServer, clip) -> None:
    top = {"FA": math.log(0.6), "REAL": math.log(0.2), "F": math.log(0.1), "The": math.log(0.05)}
    server.mood = says(FAKE, logprobs=tokens(("FA", math.log(0.6), top), ("KE", -0.01), (" <", -0.01)))
    verdict = ask(server, clip())
    assert verdict.p_fake == pytest.approx(0.7 / 0.9)
    assert server.asked[0].body["top_logprobs"] == 20


def test_a_threshold_kept_with_the_temperature_decides(server: ModelServer, clip, tmp_path: Path) -> None:
    top = {"FA": math.log(0.6), "REAL": math.log(0.3)}
    server.mood = says(FAKE, logprobs=tokens(("FA", math.log(0.6), top), ("KE", -0.01), (" <", -0.01)))
    kept = Calibration(temperature=2.0, form="zero-shot", thresholds={"fpr_1": 0.7})
    (tmp_path / CALIBRATION_FILE).write_text(kept.text())
    verdict = ask(server, clip(), calibration=str(tmp_path), threshold="fpr_1")
    assert verdict.p_fake == pytest.approx(kept.apply(2 / 3))
    assert (verdict.label, verdict.traces) == (Label.REAL, ())
    assert verdict.detector.settings["threshold"] == 0.7
    assert verdict.detector.settings["threshold_name"] == "fpr_1"
    assert ask(server, clip(), calibration=str(tmp_path), threshold=0.5).label is Label.FAKE


def test_usage_and_cost(server: ModelServer, clip) -> None:
    verdict = ask(server, clip(), price_in=2.0, price_out=8.0)
    usage = verdict.usage
    assert (usage.requests, usage.prompt_tokens, usage.completion_tokens) == (1, 1200, 30)
    assert usage.served_model == "tiny-vlm"
    assert usage.cost == pytest.approx((1200 * 2.0 + 30 * 8.0) / 1e6)
    assert ask(server, clip()).usage.cost is None
    assert Verdict.model_validate_json(verdict.model_dump_json()) == verdict


def test_a_failed_answer_keeps_words_and_usage(server: ModelServer, clip) -> None:
    server.mood = says("REAL or FAKE")
    verdict = ask(server, clip())
    assert (verdict.outcome, verdict.raw) == (Outcome.PARSE_FAILED, "REAL or FAKE")
    assert verdict.usage.prompt_tokens == 1200
    assert isinstance(verdict.media, Media)


def test_many_clips_are_in_flight_at_once_and_come_in_order(server: ModelServer, clip) -> None:
    from tests.detectors.vlm.openai.model_server import pause

    from deeptrace.inference import DetectRun, expand_inputs

    server.mood = pause(0.2, says(FAKE))
    paths = [str(clip(f"{n:02}.mp4", frames=4)) for n in range(12)]
    run = DetectRun(expand_inputs(paths), detector=f"openai:m@{server.url}", settings={"concurrency": 4})
    with run:
        assert [judged.verdict.video for judged in run.results()] == paths
    assert 3 <= server.most_at_once <= 4


# -- fusion -----------------------------------------------------------------------------------------------------------


def test_the_experts_findings_reach_the_model_in_its_own_space_and_are_recorded(server: ModelServer, clip) -> None:
    path = clip(frames=16)
    settings = {"expert": "baseline:center-box", "space": "permille"}
    verdict = ask(server, path, findings=True, **settings)
    assert '"box": [250, 250, 750, 750]' in server.asked[0].text
    assert "baseline:center-box" in server.asked[0].text
    assert verdict.detector.settings["findings"] is True
    assert verdict.detector.settings["expert"] == "baseline:center-box"
    plain = ask(server, path, **settings)
    assert "measuring program" not in server.asked[1].text
    assert plain.detector.settings["findings"] is False


def test_answers_are_verified_by_the_default_detector(server: ModelServer, clip) -> None:
    server.mood = says("REAL")
    verdict = ask(server, clip(frames=16), verify=True)
    assert any(line.startswith("verified by tracenet") for line in verdict.warnings)
    assert verdict.raw == "REAL"
    assert verdict.detector.settings["verify"] is True
