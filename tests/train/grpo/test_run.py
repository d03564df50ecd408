"""`deeptrace train grpo` on a CPU: the reward rises, a killed run goes on unchanged, two processes agree with one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.needs import needs
from typer.testing import CliRunner

torch = needs("torch")
needs("transformers", "accelerate")

from tests.train.grpo.small import prepare, small_config  # noqa: E402

from deeptrace.cli.main import app  # noqa: E402
from deeptrace.data import read_reward_data, write_reward_data  # noqa: E402
from deeptrace.detectors.vlm.calibration import read_calibration  # noqa: E402
from deeptrace.errors import DataError, SettingsError  # noqa: E402
from deeptrace.io.journal import read_lines  # noqa: E402
from deeptrace.io.run_store import hold_folder  # noqa: E402
from deeptrace.schema import Label, Verdict  # noqa: E402
from deeptrace.train.grpo.config import GrpoConfig  # noqa: E402
from deeptrace.train.grpo.run import train_grpo  # noqa: E402
from deeptrace.train.grpo.trainer import ANSWERS, LOG, STATE, question_order  # noqa: E402
from deeptrace.train.sft.config import SftConfig  # noqa: E402
from deeptrace.train.vlm.settings import detector_settings  # noqa: E402

SHORT = {"group": 4, "rows": 3, "max_tokens": 40, "kl": 0.02}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips, and a model that careless annotators have taught."""
    return prepare(tmp_path_factory.mktemp("grpo"))


@pytest.fixture(scope="module")
def untaught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips, and a model that has hardly learned."""
    return prepare(tmp_path_factory.mktemp("untaught"), steps=1)


def list_of(path: Path) -> list[dict[str, Any]]:
    return list(read_lines(path))


def rows_of(out: Path) -> list[dict[str, Any]]:
    """The log without how long things took."""
    return [{name: value for name, value in row.items() if name != "seconds"} for row in list_of(out / LOG)]


def mean(rows: list[dict[str, Any]], name: str) -> float:
    return sum(row[name] for row in rows) / len(rows)


@pytest.mark.slow
def test_a_few_steps_raise_the_grounded_reward(folder: Path) -> None:
    config = small_config(folder, out="rise", steps=16, validation={"path": str(many_times(folder, 5)), "split": "val"})
    model = train_grpo(config)
    rows = rows_of(config.out)
    assert [row["step"] for row in rows] == list(range(16))
    assert mean(rows[-4:], "reward") > mean(rows[:4], "reward") + 0.05
    assert mean(rows[-4:], "label_accuracy") > mean(rows[:4], "label_accuracy")
    assert all(row["kl"] is not None and row["gradient"] > 0 for row in rows)
    answers = list_of(config.out / ANSWERS)
    assert len(answers) == 16 * 4
    assert all(len(row["answers"]) == 16 for row in answers)
    check = rows[-1]["check"]
    assert check["counts"]["videos"] == 20
    assert (model / "README.md").is_file()
    facts = json.loads((model / "deeptrace_training.json").read_text())
    assert facts["validation"] == check
    assert facts["curve"][0]["reward"] == rows[0]["reward"]
    assert (config.out / "best" / "model.safetensors").is_file()
    assert_calibrated(model, config, facts["calibration"])
    assert_calibrated(config.out / "best", config, facts["calibration"])


def many_times(folder: Path, count: int) -> Path:
    """The clips as `count` times as many validation videos: fewer than 20 would calibrate nothing."""
    samples = read_reward_data(folder / "clips")
    again = [
        sample.model_copy(update={"video_id": f"{sample.video_id}-{k}", "split": "val"})
        for k in range(count)
        for sample in samples
    ]
    write_reward_data(again, folder / "clips" / "validation.json")
    return folder / "clips" / "validation.json"


def assert_calibrated(model: Path, config: GrpoConfig, stated: dict[str, Any]) -> None:
    """`hf:` of a trained model reads what was fitted on its own last answers, and decides by it where asked."""
    kept = read_calibration(model)
    assert kept.model_dump(mode="json") == stated
    assert (kept.videos, kept.form, kept.fitted_on) == (20, "fine-tuning", "validation, split val")
    rows = {row["video_id"]: row for row in list_of(config.out / "validation" / "step-16.jsonl")}
    assert {row["detector"]["settings"]["calibration"] for row in rows.values()} == {None}
    clips = [str(path) for path in sorted((config.out.parent / "clips").glob("*.mp4"))]
    # As long as those answers might be: a model so small does not always come to an end by itself.
    as_then = ("--set", f"max_new_tokens={config.learn.max_tokens}")
    asked = ["detect", *clips, "--detector", f"hf:{model}", "--set", "threshold=balanced", *as_then, "--json"]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.output
    for verdict in map(Verdict.model_validate_json, done.stdout.splitlines()):
        said = rows[f"v{Path(verdict.video).stem}-0"]
        assert verdict.p_fake == pytest.approx(kept.apply(said["p_fake"]), abs=1e-4)
        assert verdict.raw == said["raw"]
        assert verdict.detector.settings["threshold"] == kept.thresholds["balanced"]
        assert (verdict.label is Label.FAKE) == (verdict.p_fake >= kept.thresholds["balanced"])


@pytest.mark.slow
@pytest.mark.parametrize("tuning", ["full", "lora"])
def test_a_run_that_was_killed_goes_on_with_the_same_rewards_and_losses(folder: Path, tuning: str) -> None:
    def config(out: str) -> GrpoConfig:
        model = {"base": str(folder / "warm"), "dtype": "float32", "attention": "sdpa", "tuning": tuning}
        return small_config(folder, out=out, model=model, learn=SHORT, steps=6, save_every=2, validation=None)

    whole, broken = config(f"whole-{tuning}"), config(f"broken-{tuning}")
    train_grpo(whole)
    (folder / f"{tuning}.json").write_text(broken.model_dump_json())
    command = [sys.executable, "-m", "deeptrace.cli.main", "train", "grpo", str(folder / f"{tuning}.json")]
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    while len(list_of(broken.out / LOG)) < 3:
        assert process.poll() is None
        time.sleep(0.005)
    process.kill()
    process.wait()
    assert (broken.out / STATE).is_file()
    assert not (broken.out / "model").exists()
    for name in (LOG, ANSWERS):
        with open(broken.out / name, "a", encoding="utf-8") as file:
            file.write('{"step": 3, "rew')  # the line that was being written
    with pytest.raises(SettingsError, match="holds a run with another learning_rate"):
        train_grpo(broken.model_copy(update={"learning_rate": 1e-6}))
    train_grpo(broken)
    assert rows_of(broken.out) == rows_of(whole.out)
    assert (broken.out / ANSWERS).read_text() == (whole.out / ANSWERS).read_text()
    states = [torch.load(one.out / STATE, weights_only=True)["weights"] for one in (whole, broken)]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert ("lora" in " ".join(states[0])) == (tuning == "lora")
    assert (broken.out / "model" / "model.safetensors").is_file()


@pytest.mark.slow
def test_two_processes_do_what_one_does(folder: Path) -> None:
    outs = []
    for processes in (1, 2):
        config = small_config(folder, out=f"by-{processes}", learn=SHORT, steps=2)
        (folder / f"{processes}.json").write_text(config.model_dump_json())
        started = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes), "--standalone"]
        command = [*started, "-m", "deeptrace.cli.main", "train", "grpo", str(folder / f"{processes}.json")]
        done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
        outs.append(config.out)
    one, two = (rows_of(out) for out in outs)
    for a, b in zip(one, two, strict=True):
        assert a.keys() == b.keys()
        for name in ("reward", "loss", "kl", "gradient", "answer_tokens"):
            assert a[name] == pytest.approx(b[name], abs=2e-4), name
    assert one[-1]["check"]["per_video"] == pytest.approx(two[-1]["check"]["per_video"], abs=1e-4)
    assert [row["video"] for row in list_of(outs[0] / ANSWERS)] == [row["video"] for row in list_of(outs[1] / ANSWERS)]


def test_a_folder_that_another_run_writes_into_is_refused(untaught: Path) -> None:
    config = small_config(untaught, out="held", learn=SHORT, steps=1, validation=None)
    with hold_folder(config.out), pytest.raises(SettingsError, match="another run is writing"):
        train_grpo(config)


def test_a_folder_of_another_run_is_refused(untaught: Path) -> None:
    config = small_config(untaught, out="claimed", learn=SHORT, steps=1, validation=None)
    train_grpo(config)
    with pytest.raises(SettingsError, match="holds a run with another learning_rate"):
        train_grpo(config.model_copy(update={"learning_rate": 1e-5}))


def test_another_question_than_the_base_was_taught_is_refused(untaught: Path) -> None:
    config = small_config(untaught, out="other", form={"per": "video", "space": "permille"})
    with pytest.raises(SettingsError, match=r"was taught without \['explanation'\] and not \[\], space pixels and not"):
        train_grpo(config)
    assert not config.out.exists()


def test_a_clip_that_does_not_decode_is_left_out_and_named(untaught: Path, tmp_path: Path) -> None:
    rows = json.loads((untaught / "clips" / "all_data.json").read_text())
    broken = {**rows[0], "video_id": "broken", "video_path": "broken.mp4"}
    for row in rows:
        row["video_path"] = str(untaught / "clips" / row["video_path"])
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    (tmp_path / "all_data.json").write_text(json.dumps([*rows, broken]))
    changes: dict[str, Any] = {"learn": SHORT, "steps": 1, "validation": None, "out": tmp_path / "run"}
    train_grpo(small_config(untaught, data=[{"path": str(tmp_path)}], **changes))
    (left,) = list_of(tmp_path / "run" / "unusable.jsonl")
    assert left["video"] == "broken"
    (tmp_path / "all_data.json").write_text(json.dumps([broken]))
    with pytest.raises(DataError, match="none of 1 video decodes"):
        train_grpo(small_config(untaught, data=[{"path": str(tmp_path)}], **changes | {"out": tmp_path / "none"}))


def test_every_epoch_asks_every_question_once() -> None:
    asked = [k for step in range(5) for k in question_order(10, step, 4, seed=3)]
    assert sorted(asked[:10]) == sorted(asked[10:]) == list(range(10))
    assert asked[:10] != asked[10:]
    assert asked != [k for step in range(5) for k in question_order(10, step, 4, seed=4)]


# -- the command ------------------------------------------------------------------------------------------------


def test_the_command_trains_and_says_where_the_model_is(untaught: Path) -> None:
    config = small_config(untaught, out="cli", learn=SHORT, steps=1, validation=None)
    (untaught / "cli.json").write_text(config.model_dump_json())
    done = CliRunner().invoke(app, ["train", "grpo", str(untaught / "cli.json"), "--out", str(untaught / "elsewhere")])
    assert done.exit_code == 0, done.output
    assert f"--detector hf:{untaught / 'elsewhere' / 'model'}" in " ".join(done.stderr.split())
    assert len(list_of(untaught / "elsewhere" / LOG)) == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not JSON"),
        ("[]", "not a JSON object"),
        ('{"model": {"base": "x"}, "data": []}', "data: List should have at least 1 item"),
        ('{"model": {"base": "x"}, "data": [{"path": "y"}], "weights": {"miss": 2}}', "weights.miss: "),
    ],
)
def test_a_config_that_makes_no_sense_is_one_clear_line(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "grpo.json").write_text(text)
    with pytest.raises(SettingsError, match=words):
        GrpoConfig.read(tmp_path / "grpo.json")


def test_the_recipes_go_on_where_those_of_fine_tuning_end() -> None:
    recipes = sorted(Path("examples").glob("grpo_*.json"))
    assert recipes
    for recipe in recipes:
        config = GrpoConfig.read(recipe)
        assert config.questions % 2 == 0
        taught = SftConfig.read(recipe.with_name(recipe.name.replace("grpo_", "sft_")))
        assert config.model.base == str(taught.out / "model")
        assert detector_settings(config.view, config.form) == detector_settings(taught.view, taught.form)
