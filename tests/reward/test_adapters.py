from __future__ import annotations

import asyncio
import base64
import importlib
import io
import json
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tests.needs import needs
from tests.reward import callers
from tests.reward.conftest import corner_clip, expected

from deeptrace.errors import ModelError, SettingsError
from deeptrace.reward import group_ranks, reward
from deeptrace.reward.adapters import flow_grpo, ms_swift, trl, unirl, verl, verl_omni, videoalign
from deeptrace.reward.inputs import path_of_bytes

LEVELS = [10, 200, 90]
NEAR = 0.03  # what a codec may move


@pytest.fixture
def torch() -> Any:
    return needs("torch")


def batch(layout: str, levels: list[int] = LEVELS) -> np.ndarray:
    clips = np.stack([corner_clip(level) for level in levels])  # B F H W C
    return np.ascontiguousarray(clips.transpose(["BFHWC".index(axis) for axis in layout]))


def wanted(levels: list[int] = LEVELS, near: float = 1e-6) -> Any:
    return pytest.approx([expected(level) for level in levels], abs=near)


# -- VideoAlign, DanceGRPO ----------


def test_videoalign_answers_dance_grpo_and_raises_what_it_turns_to_minus_one(corner, corner_file) -> None:
    inferencer = videoalign.VideoVLMRewardInference("./videoalign_ckpt", device="cuda:0", dtype=None, detector=corner)
    quality, motion = callers.dance_grpo_step(inferencer, str(corner_file(90)), "a cat")
    assert [quality, motion] == pytest.approx([expected(90)] * 2, abs=NEAR)
    assert callers.dance_grpo_step(inferencer, "gone.mp4", "a cat") == (-1.0, -1.0)


def test_videoalign_keys_order_and_checks(corner, corner_file) -> None:
    inferencer = videoalign.VideoVLMRewardInference("./videoalign_ckpt", -1, "cuda", None, failed=0.0, detector=corner)
    paths = [str(corner_file(level)) for level in LEVELS]
    rows = inferencer.reward([*paths, "gone.mp4"], ["a", "b", "c", "d"], fps=2.0, use_norm=False)
    assert [list(row) for row in rows] == [["VQ", "MQ", "TA", "Overall"]] * 4
    assert [row["VQ"] for row in rows[:3]] == wanted(near=NEAR)
    assert [row["Overall"] for row in rows] == [row["VQ"] + row["MQ"] + row["TA"] for row in rows]
    assert rows[3]["VQ"] == 0.0
    for call in (
        lambda: inferencer.reward(paths, ["a"]),
        lambda: inferencer.reward(paths[0], "a"),
        lambda: inferencer.reward(paths, ["a"] * 3, fps=2.0, num_frames=8),
    ):
        with pytest.raises(SettingsError):
            call()


def test_videoalign_takes_a_folder_of_our_weights(tmp_path: Path) -> None:
    (tmp_path / "tracenet.json").write_text("{}")
    with pytest.raises(ModelError, match=f"{tmp_path.name}"):
        videoalign.VideoVLMRewardInference(tmp_path)
    named = videoalign.VideoVLMRewardInference(tmp_path, detector="baseline:all-real")
    assert named._reward.info.name == "baseline:all-real"


def test_an_unchanged_training_script_gets_our_class(tmp_path: Path) -> None:
    """As DanceGRPO's: the import is hard-coded, the package around it is the trainer's own."""
    package = tmp_path / "fastvideo" / "models" / "videoalign"
    package.mkdir(parents=True)
    for folder in (package, package.parent, package.parent.parent):
        (folder / "__init__.py").write_text("")
    (package / "inference.py").write_text("raise ImportError('needs flash-attn')")
    script = tmp_path / "train.py"
    script.write_text(
        "import sys\nfrom fastvideo.models.videoalign.inference import VideoVLMRewardInference\n"
        "print(__name__, sys.argv[1:], VideoVLMRewardInference.__module__)\n"
    )
    command = [sys.executable, "-m", "deeptrace.reward.adapters.videoalign", str(script), "--use_videoalign"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.split("\n")[0] == "__main__ ['--use_videoalign'] deeptrace.reward.adapters.videoalign"


# -- flow_grpo ----------


def test_flow_grpo_through_multi_score_and_eight_threads(corner, torch) -> None:
    factory = flow_grpo.score_factory(fps=16, detector=corner, pause_s=0.002)
    reward_fn = callers.flow_grpo_multi_score("cuda", {"deeptrace": factory}, {"deeptrace": 0.5})
    levels = [[(17 * i + 5 * j) % 256 for j in range(3)] for i in range(10)]
    batches = [(torch.from_numpy(batch("BFCHW", row)).float() / 255, ["a", "b", "c"], [{}, {}, {}]) for row in levels]
    answers = callers.flow_grpo_epoch(reward_fn, batches)
    assert [answer["deeptrace"] for answer in answers] == [wanted(row) for row in levels]
    assert answers[3]["avg"] == pytest.approx([0.5 * expected(level) for level in levels[3]])


def test_flow_grpo_says_what_is_wrong(corner, torch) -> None:
    score = flow_grpo.score_factory(fps=16, detector=corner)("cpu")
    for videos, words in (
        (torch.from_numpy(batch("BCFHW")).float() / 255, "3 channels"),
        (torch.from_numpy(batch("BFCHW")).float() / 127.5 - 1, "from 0 to 1"),
        (torch.rand(3, 3, 8, 8), r"\(B, T, C, H, W\)"),
    ):
        with pytest.raises(SettingsError, match=words):
            score(videos, ["a"] * 3, [{}] * 3)
    with pytest.raises(SettingsError, match="Give fps"):
        flow_grpo.score_factory(detector=corner)("cpu")(batch("BFCHW") / 255.0, ["a"] * 3, [{}] * 3)
    assert (
        flow_grpo.score_factory(detector=corner)("cpu")(batch("BFCHW") / 255.0, ["a"] * 3, [{"fps": 8}] * 3)[0]
        == wanted()
    )


def test_flow_grpo_never_hands_out_a_nan(corner, torch) -> None:
    videos = torch.from_numpy(batch("BFCHW")).float() / 255
    videos[1, 0, 0, 0, 0] = math.nan
    with pytest.raises(ModelError, match="1 of 3 clips could not be scored; clip 1: has NaN"):
        flow_grpo.score_factory(fps=16, detector=corner)("cpu")(videos, ["a"] * 3, [{}] * 3)
    scores, _ = flow_grpo.score_factory(fps=16, failed=-0.5, detector=corner)("cpu")(videos, ["a"] * 3, [{}] * 3)
    assert scores == pytest.approx([expected(10), -0.5, expected(90)])
    with pytest.raises(SettingsError, match="finite"):
        flow_grpo.score_factory(failed=math.nan)


# -- cosmos-rl ----------


@pytest.fixture
def cosmos(corner, monkeypatch: pytest.MonkeyPatch) -> Any:
    callers.install(monkeypatch, "cosmos_rl_reward.handler.registry", RewardRegistry=callers.CosmosRegistry)
    callers.install(monkeypatch, "cosmos_rl_reward.handler.reward_base", BaseRewardHandler=callers.CosmosHandler)
    monkeypatch.delitem(sys.modules, "deeptrace.reward.adapters.cosmos_rl", raising=False)
    importlib.import_module("deeptrace.reward.adapters.cosmos_rl")
    yield callers.CosmosRegistry.known["deeptrace"]
    sys.modules.pop("deeptrace.reward.adapters.cosmos_rl", None)


def test_cosmos_rl_as_its_service_starts_and_calls_it(cosmos, corner, torch) -> None:
    arguments = {"model_path": "", "device": "cuda:0", "dtype": "float16", "download_path": "", "detector": corner}
    cosmos.initialize(**arguments, endpoint_url="", endpoint_api_key="")
    handler = cosmos.get_instance()
    metadata = {
        "prompts": ["a", "b", "c"],
        "video_infos": [{"video_fps": 16}] * 3,
        "input_info": {"shape": "(3, 16, 2, 3, 4)"},
        "decode_duration": "0.12",
        "uuid": "1",
    }
    answer = handler.calculate_reward(torch.from_numpy(batch("BCFHW")).detach().clone(), metadata)
    assert set(answer) == {"scores", "input_info", "duration", "decoded_duration", "type"}
    assert answer["scores"]["reward"] == wanted()
    assert answer["scores"]["scored"] == [1.0, 1.0, 1.0]
    assert (answer["type"], answer["decoded_duration"]) == ("deeptrace", "0.12")
    assert answer["input_info"]["shape"] == "(3, 16, 2, 3, 4)"
    json.dumps(answer, allow_nan=False)  # what its FastAPI answer does
    few = handler.calculate_reward(batch("BCFHW")[:, :, :2], metadata)
    assert few["scores"]["reward"] == [0.0] * 3
    assert few["scores"]["scored"] == [0.0] * 3
    assert "only 2 frames" in few["input_info"]["deeptrace_errors"][0]
    for images, words in ((batch("BFCHW"), "3 channels"), (batch("BCFHW") / 255.0, "uint8")):
        with pytest.raises(SettingsError, match=words):
            handler.calculate_reward(images, metadata)
    with pytest.raises(SettingsError, match="fps"):
        handler.calculate_reward(batch("BCFHW"), {"prompts": ["a", "b", "c"]})


# -- UniRL ----------


def test_unirl_scores_bytes_and_paths_and_marks_failures_with_nan(corner, corner_file, tmp_path: Path) -> None:
    scorer = unirl.DeeptraceScorer(corner, workers=2)
    assert scorer.score([]) == []
    paths = [corner_file(level) for level in LEVELS]
    handles = set(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else set()
    files = set(os.listdir(tempfile.gettempdir()))
    items = [
        callers.ScoreItem([("a", None)], (paths[0].read_bytes(),)),
        callers.ScoreItem([("b", None)], (b"not a video",)),
        callers.ScoreItem([("c", None), ("c", None)], (None, str(paths[1]))),
        callers.ScoreItem([("d", object())]),
        callers.ScoreItem([("e", None)], (paths[2].read_bytes(),), {"k": 1}),
    ]
    rows = scorer.score(items)
    assert [tuple(row) for row in rows] == [scorer.sub_metric_names] * 5
    assert scorer.sub_metric_names[0] == "reward"
    assert [rows[i]["reward"] for i in (0, 2, 4)] == wanted(near=NEAR)
    assert all(math.isnan(value) for i in (1, 3) for value in rows[i].values())
    assert len(os.listdir("/proc/self/fd")) <= len(handles) + 2 if handles else True
    assert {name for name in os.listdir(tempfile.gettempdir()) if name.startswith("deeptrace-")} <= files
    scorer.close()


def test_unirl_bytes_where_the_system_has_no_memory_files(corner, corner_file, monkeypatch) -> None:
    monkeypatch.delattr(os, "memfd_create", raising=False)
    data = corner_file(90).read_bytes()
    with path_of_bytes(data) as path:
        assert Path(path).read_bytes() == data
    assert not Path(path).parent.exists()


def test_unirl_tensors(corner, torch) -> None:
    scorer = unirl.DeeptraceTensorScorer(fps=16, detector=corner)
    videos = list(torch.from_numpy(batch("BCFHW")).float() / 255)
    videos[1][0, 0, 0, 0] = math.inf
    rows = scorer.score(videos)
    assert [rows[0]["reward"], rows[2]["reward"]] == wanted([10, 90])
    assert math.isnan(rows[1]["reward"])
    with pytest.raises(SettingsError, match=r"\(C, T, H, W\)"):
        scorer.score([torch.rand(4, 8, 8)])


def test_unirl_registers_under_its_name(corner, monkeypatch) -> None:
    known: dict[str, type] = {}
    callers.install(monkeypatch, "reward_service.scorers.registry", register=known.__setitem__)
    monkeypatch.delitem(sys.modules, "deeptrace.reward.adapters.unirl_service", raising=False)
    importlib.import_module("deeptrace.reward.adapters.unirl_service")
    sys.modules.pop("deeptrace.reward.adapters.unirl_service")
    assert known == {"deeptrace": unirl.DeeptraceScorer}


# -- Flow-Factory ----------


@pytest.fixture
def flow_factory(corner, monkeypatch: pytest.MonkeyPatch) -> Any:
    callers.install(
        monkeypatch,
        "flow_factory.rewards.abc",
        GroupwiseRewardModel=callers.FlowFactoryGroupwise,
        PointwiseRewardModel=callers.FlowFactoryPointwise,
        RewardModelOutput=callers.FlowFactoryOutput,
    )
    monkeypatch.delitem(sys.modules, "deeptrace.reward.adapters.flow_factory", raising=False)
    identifier = "deeptrace.reward.adapters.flow_factory.DeeptraceRewardModel"
    module, name = identifier.rsplit(".", 1)  # as its registry takes a class path apart
    yield getattr(importlib.import_module(module), name)
    sys.modules.pop("deeptrace.reward.adapters.flow_factory", None)


def test_flow_factory_as_its_processor_calls_it(flow_factory, corner, torch) -> None:
    from PIL import Image

    accelerator = SimpleNamespace(device=torch.device("cpu"))
    model = flow_factory(config=callers.FlowFactoryArguments({"fps": 16, "detector": corner}), accelerator=accelerator)
    assert isinstance(model, callers.FlowFactoryPointwise)
    assert model.required_fields == ("prompt", "video")
    samples = [
        {"prompt": "a", "video": [Image.fromarray(frame) for frame in corner_clip(level)], "image": None, "latents": 1}
        for level in LEVELS
    ]
    rewards = callers.flow_factory_batch(model, samples)
    assert rewards.tolist() == wanted()
    with pytest.raises(SettingsError, match="PIL images"):
        model(prompt=["a"], video=[torch.rand(4, 3, 8, 8)])
    with pytest.raises(SettingsError, match="2 prompts but got none"):
        model(prompt=["a", "b"])
    with pytest.raises(ModelError, match="only 2 frames"):
        model(prompt=["a"], video=[samples[0]["video"][:2]])
    for extra, words in (({}, "Give fps"), ({"fps": 16, "detectr": "x"}, "knows no setting 'detectr'")):
        with pytest.raises(SettingsError, match=words):
            flow_factory(callers.FlowFactoryArguments(extra), accelerator)


def test_flow_factory_compares_the_samples_of_a_group(flow_factory, corner, torch) -> None:
    from PIL import Image

    model_class = sys.modules[flow_factory.__module__].DeeptraceGroupRewardModel
    accelerator = SimpleNamespace(device=torch.device("cpu"))
    samples = [{"prompt": "a", "video": [Image.fromarray(frame) for frame in corner_clip(level)]} for level in LEVELS]
    given = {"fps": 16, "detector": corner, "form": "rank"}
    model = model_class(config=callers.FlowFactoryArguments(given), accelerator=accelerator)
    assert isinstance(model, callers.FlowFactoryGroupwise)
    assert callers.flow_factory_batch(model, samples).tolist() == [1.0, 0.0, 0.5]  # least red is best
    two = [s | {"unique_id": k % 2, "prompt": "the same"} for k, s in enumerate([*samples, samples[1]])]
    assert callers.flow_factory_groups(model, two).tolist() == [1.0, 0.5, 0.0, 0.5]  # 10 and 90; two of 200
    broken = {"prompt": "a", "video": samples[0]["video"][:2]}
    assert callers.flow_factory_batch(model, [*samples, broken]).tolist() == [1.0, 0.0, 0.5, 0.0]
    with pytest.raises(ModelError, match="only 2 frames"):
        callers.flow_factory_batch(model, [broken])
    for extra, words in (({"form": "best"}, "relative, rank, centred"), ({"forms": 1}, "knows no setting 'forms'")):
        with pytest.raises(SettingsError, match=words):
            model_class(callers.FlowFactoryArguments({"fps": 16, "detector": corner} | extra), accelerator)


def test_whole_groups_in_a_batch_of_flow_grpo(corner, torch) -> None:
    videos = torch.from_numpy(batch("BFCHW", [10, 200, 90, 40])).float() / 255
    score = flow_grpo.score_factory(fps=16, group="rank", group_size=2, detector=corner)("cpu")
    found, more = score(videos, ["a", "a", "b", "b"], [{}] * 4)
    assert found == [1.0, 0.0, 0.0, 1.0]
    assert more["alone"] == wanted([10, 200, 90, 40])
    with pytest.raises(SettingsError, match="1 samples of 'a', not 2"):
        score(videos, ["a", "b", "c", "d"], [{}] * 4)
    for options, says in (({}, "Give group_size"), ({"group_size": 1}, "at least 2 but got 1")):
        with pytest.raises(SettingsError, match=says):
            flow_grpo.score_factory(fps=16, group="rank", detector=corner, **options)


def test_groups_that_flow_grpo_deals_out_over_cards_are_ranked_where_it_gathers_them(corner, torch) -> None:
    cards = callers.flow_grpo_cards(prompts=5, k=4, cards=4, batch_size=2, seed=1)
    levels = iter([10, 200, 90, 40, 120, 30, 160, 70])
    dealt = [[(f"prompt {prompt}", next(levels)) for prompt in card] for card in cards]
    score = callers.flow_grpo_multi_score(
        "cpu", {"deeptrace": flow_grpo.score_factory(fps=16, detector=corner)}, {"deeptrace": 1.0}
    )
    batches = [
        (
            torch.from_numpy(batch("BFCHW", [level for _, level in card])).float() / 255,
            [name for name, _ in card],
            [{}] * 2,
        )
        for card in dealt
    ]
    own = np.concatenate([answer["avg"] for answer in callers.flow_grpo_epoch(score, batches)])
    prompts, given = (list(column) for column in zip(*(pair for card in dealt for pair in card), strict=True))
    gathered = {"ori_avg": own, "avg": own[:, None] - 0.0 * np.zeros((8, 3))}  # a column for each step, no KL
    gathered["avg"] += (group_ranks(gathered["ori_avg"], prompts) - gathered["ori_avg"])[:, None]
    advantages = callers.flow_grpo_advantages(prompts, gathered["avg"])
    for prompt in set(prompts):
        mine = [k for k, name in enumerate(prompts) if name == prompt]
        by_level = sorted(mine, key=lambda k: -given[k])  # least red is best
        steps = np.diff(advantages[by_level], axis=0)
        assert steps.shape == (3, 3)
        assert steps == pytest.approx(np.full((3, 3), steps[0, 0])), "even steps, whatever the distances"
        assert steps[0, 0] > 0.8


def test_groups_of_a_prompt_in_trl(corner, corner_file, torch) -> None:
    paths = [*(str(corner_file(level)) for level in LEVELS), "gone.mp4"]
    inputs = [{"prompt": "p", "video": path} for path in paths]
    for form in ("relative", "rank", "centred"):
        fn = trl.reward_function(group=form, group_size=4, detector=corner)
        rewards = callers.trl_rewards(fn, ["p"] * 4, ["c"] * 4, inputs).tolist()
        assert math.isnan(rewards[3])
        assert sum(rewards[:3]) == pytest.approx(1.5 if form == "rank" else 0, abs=1e-6)
        assert sorted(rewards[:3], reverse=True) == [rewards[0], rewards[2], rewards[1]]
    with pytest.raises(SettingsError, match="2 samples of"):
        callers.trl_rewards(fn, ["p", "p", "q", "q"], ["c"] * 4, inputs)
    with pytest.raises(SettingsError, match="Give group_size"):
        trl.reward_function(group="rank", detector=corner)


def test_an_adapter_without_its_trainer_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("cosmos_rl", "flow_factory"):
        # another test may have imported it beside a double of its trainer
        monkeypatch.delitem(sys.modules, f"deeptrace.reward.adapters.{name}", raising=False)
        if importlib.util.find_spec({"cosmos_rl": "cosmos_rl_reward"}.get(name, name)) is None:
            with pytest.raises(SettingsError, match="needs"):
                importlib.import_module(f"deeptrace.reward.adapters.{name}")


# -- text trainers ----------


def test_trl_by_column_and_rendered(corner, corner_file, torch) -> None:
    paths = [str(corner_file(level)) for level in LEVELS]
    inputs = [{"prompt": "p", "video": path, "seed": 1} for path in [*paths, "gone.mp4"]]
    rewards = callers.trl_rewards(trl.reward_function(detector=corner), ["p"] * 4, ["c"] * 4, inputs)
    assert rewards[:3].tolist() == wanted(near=NEAR)
    assert math.isnan(rewards[3])

    def render(completions: list[str], *, prompts: list[str], seed: list[int], **columns: Any) -> list[np.ndarray]:
        assert (prompts, seed) == (["p"] * 3, [1] * 3)
        return [corner_clip(int(text)) for text in completions]

    rendered = trl.reward_function(render=render, fps=8.0, detector=corner)
    assert callers.trl_rewards(rendered, ["p"] * 3, [str(n) for n in LEVELS], inputs[:3]).tolist() == wanted()
    assert rendered.__name__ == "deeptrace_reward"
    with pytest.raises(SettingsError, match="no column 'clip' among"):
        callers.trl_rewards(trl.reward_function(column="clip", detector=corner), ["p"], ["c"], inputs[:1])
    with pytest.raises(SettingsError, match="each of 1"):
        trl.reward_function(render=lambda completions, **_: [], detector=corner)(["p"], ["c"])


def test_trl_takes_torch_frames_and_datasets_videos(corner, corner_file, torch) -> None:
    column = [
        torch.from_numpy(corner_clip(10)),
        {"path": str(corner_file(200)), "bytes": None},
        [str(corner_file(90))],
        3,
    ]
    rewards = trl.reward_function(fps=8.0, detector=corner)(["p"] * 4, ["c"] * 4, video=column)
    assert rewards[:3] == wanted(near=NEAR)
    assert rewards[3] is None


@pytest.mark.parametrize("trainer", ["TRL", "ms-swift"])
def test_bytes_of_videos_are_scored_and_a_clip_without_a_reward_is_logged_with_its_reason(
    corner, corner_file, torch, caplog: pytest.LogCaptureFixture, trainer: str
) -> None:
    files = [corner_file(level).read_bytes() for level in LEVELS]
    column = [
        {"path": None, "bytes": files[0]},
        [{"path": "name-only.mp4", "bytes": files[1]}],
        files[2],
        io.BytesIO(files[0]),
        f"data:video/mp4;base64,{base64.b64encode(files[1]).decode()}",
        {"path": None, "bytes": files[2][:99]},
        {"path": None, "bytes": None},
        b"",
        "data:video/mp4;base64,!",
    ]
    completions = ["c"] * len(column)
    if trainer == "TRL":
        rewards = trl.reward_function(column="video", detector=corner)(completions, completions, video=column)
    else:
        known = type("Known", (ms_swift.DeeptraceORM,), {"detector": corner})
        rewards = known()(completions, videos=column)
    assert rewards[:5] == wanted([*LEVELS, *LEVELS[:2]], near=NEAR)
    assert rewards[5:] == [None] * 4
    logged = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    for line, (index, reason) in zip(
        logged, [(5, "no video"), (6, "got none"), (7, "0 bytes"), (8, "base64")], strict=True
    ):
        assert line.startswith(f"{trainer}: clip {index} of 9 has no reward: ")
        assert reason in line
    held = [link for n in os.listdir("/proc/self/fd") if os.path.lexists(link := f"/proc/self/fd/{n}")]
    assert not [link for link in held if "memfd:deeptrace" in os.readlink(link)], "every file in memory is given back"


def test_a_column_as_the_datasets_library_decodes_it(corner, corner_file, torch) -> None:
    datasets = needs("datasets")
    files = [corner_file(level).read_bytes() for level in LEVELS]
    rows = datasets.Dataset.from_dict({"video": [{"bytes": data, "path": None} for data in files]})
    encoded = rows.cast_column("video", datasets.Video(decode=False))
    score = trl.reward_function(detector=corner)
    assert score(["p"] * 3, ["c"] * 3, video=encoded["video"][:]) == wanted(near=NEAR)
    if importlib.util.find_spec("torchcodec") is not None:
        decoded = rows.cast_column("video", datasets.Video())
        assert score(["p"] * 3, ["c"] * 3, video=decoded["video"][:]) == wanted(near=NEAR)


def test_verl_merged_kwargs_and_its_loop(corner, corner_file) -> None:
    compute = callers.verl_custom_reward(verl.compute_score, {"video_key": "clip", "failed": 0.0, "detector": corner})

    async def all_of_them() -> list[dict[str, Any]]:
        samples = [
            {
                "data_source": "t2v",
                "response": "a prompt",
                "reward_model": {"ground_truth": None},
                "extra_info": {"clip": str(corner_file(level)), "index": index},
            }
            for index, level in enumerate(LEVELS)
        ]
        samples.append(samples[0] | {"extra_info": {"clip": "gone.mp4"}})
        return await asyncio.gather(*(callers.verl_run_single(compute, sample) for sample in samples))

    answers = asyncio.run(all_of_them())
    assert [answer["reward_score"] for answer in answers[:3]] == wanted(near=NEAR)
    assert [answer["reward_extra_info"]["scored"] for answer in answers] == [1.0, 1.0, 1.0, 0.0]
    assert len({tuple(answer["reward_extra_info"]) for answer in answers}) == 1
    assert len(reward._shared) == 1, "one detector for all calls"
    with pytest.raises(ModelError, match="no such file"):
        verl.compute_score("t2v", "a", None, {"video": "gone.mp4"}, detector=corner)
    with pytest.raises(SettingsError, match="no column 'video'"):
        verl.compute_score("t2v", "a", None, detector=corner)


def test_verl_omni_as_its_visual_manager_calls_it(corner, torch) -> None:
    async def all_of_them() -> list[dict[str, Any]]:
        samples = [
            {
                "data_source": "t2v",
                "responses": torch.from_numpy(corner_clip(level)).permute(0, 3, 1, 2).contiguous(),
                "reward_model": {"ground_truth": None},
                "extra_info": {"index": index, "fps": 16},
            }
            for index, level in enumerate(LEVELS)
        ]
        samples.append(samples[0] | {"responses": samples[0]["responses"][:2]})
        calls = (callers.verl_omni_run_single(verl_omni.compute_score, s, detector=corner, failed=0.0) for s in samples)
        return await asyncio.gather(*calls)

    answers = asyncio.run(all_of_them())
    assert [answer["reward_score"] for answer in answers] == [*wanted().expected, 0.0]
    assert [answer["reward_extra_info"]["scored"] for answer in answers] == [1.0, 1.0, 1.0, 0.0]
    assert len({tuple(answer["reward_extra_info"]) for answer in answers}) == 1


def test_verl_omni_takes_whole_videos_only(corner, torch) -> None:
    clip = corner_clip(90)
    last = verl_omni.compute_score("t2v", clip, None, {}, fps=16, layout="THWC", detector=corner)
    assert last["score"] == pytest.approx(expected(90))
    frame = torch.from_numpy(clip[0]).permute(2, 0, 1)
    for pixels, words in (
        (frame, r"one frame of shape \(3, 24, 32\).*sends frame 0 as a JPEG"),
        (frame[None], r"one frame of shape \(1, 3, 24, 32\)"),
        (b"\xff\xd8 a JPEG", "got bytes"),
        (torch.from_numpy(clip), "3 channels"),
        (torch.from_numpy(clip).permute(0, 3, 1, 2) / 255, "uint8"),
    ):
        with pytest.raises(SettingsError, match=words):
            verl_omni.compute_score("t2v", pixels, None, {}, fps=16, detector=corner)
    with pytest.raises(SettingsError, match="Give fps"):
        verl_omni.compute_score("t2v", torch.from_numpy(clip).permute(0, 3, 1, 2), None, {}, detector=corner)


def test_ms_swift_registered_made_and_called(corner, corner_file, torch) -> None:
    class Known(ms_swift.DeeptraceORM):
        detector = corner

    orms = {"deeptrace": Known}
    rows = [{"videos": [str(corner_file(level))], "messages": []} for level in LEVELS] + [
        {"videos": ["gone.mp4"], "messages": []}
    ]
    rewards = callers.swift_rewards(orms, "deeptrace", ["c"] * 4, rows)
    assert rewards[:3].tolist() == wanted(near=NEAR)
    assert math.isnan(rewards[3])

    class Rendered(Known):
        fps = 8.0

        @staticmethod
        def render(completions: list[str], **columns: Any) -> list[np.ndarray]:
            return [corner_clip(int(text)) for text in completions]

    assert Rendered(args=None)([str(level) for level in LEVELS], videos=None) == wanted()


def test_no_adapter_imports_torch_or_a_trainer() -> None:
    adapters = (videoalign, flow_grpo, unirl, trl, verl, verl_omni, ms_swift)
    names = ", ".join(adapter.__name__ for adapter in adapters)
    code = (
        f"import sys, {names}; print([m for m in ('torch', 'trl', 'verl', 'swift', 'PIL.Image') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[]"
