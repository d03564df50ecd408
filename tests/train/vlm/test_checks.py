"""What is wrong with a training is said before torch is loaded: all of it, a line each."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.needs import needs

from deeptrace.errors import ConfigError, DeeptraceError, SettingsError
from deeptrace.train.grpo.config import GrpoConfig
from deeptrace.train.sft.config import SftConfig

EXAMPLES = Path(__file__).parents[3] / "examples"


def base_in(folder: Path, **detector: Any) -> str:
    """The small files of a checkpoint, and an empty file where its weights would be."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "qwen2_5_vl"}')
    (folder / "model.safetensors").write_bytes(b"")
    if detector:
        (folder / "deeptrace_detector.json").write_text(json.dumps(detector))
    return str(folder)


def config_in(folder: Path, **changes: Any) -> Path:
    """A config in which nothing is wrong, but for `changes`."""
    fields: dict[str, Any] = {
        "model": {"base": base_in(folder / "base")},
        "data": [{"path": str(EXAMPLES), "split": "all"}],
        "out": str(folder / "out"),
    }
    (folder / "config.json").write_text(json.dumps(fields | changes))
    return folder / "config.json"


def faults_of(kind: type[SftConfig] | type[GrpoConfig], file: Path) -> list[str]:
    with pytest.raises(DeeptraceError) as caught:
        kind.checked(file, offline=True)
    error = caught.value
    return [str(fault) for fault in error.faults] if isinstance(error, ConfigError) else [str(error)]


@pytest.mark.parametrize("kind", [SftConfig, GrpoConfig])
def test_a_config_without_a_fault_is_read(kind: type[SftConfig], tmp_path: Path) -> None:
    config = kind.checked(config_in(tmp_path), offline=True)
    assert config.out == tmp_path / "out"
    assert not config.out.exists()


def test_all_faults_are_said_at_once_before_torch_is_imported(tmp_path: Path) -> None:
    needs("torch", "transformers")  # without them that is what is said, and nothing else
    validation = {"path": str(EXAMPLES), "split": "val"}
    model = {"base": str(tmp_path / "nothing"), "tuning": "half"}
    data = [{"path": str(EXAMPLES), "split": "trian"}, {"path": str(tmp_path / "gone")}]
    changes = {"form": {"space": "cubits"}, "learnig_rate": 1, "epochs": 0, "validation": validation}
    file = config_in(tmp_path, data=data, model=model, **changes)
    code = (
        "import sys; sys.argv = ['deeptrace', 'train', 'sft', sys.argv[1]]\n"
        "from deeptrace.cli.main import main\n"
        "try: main()\n"
        "finally: print(sorted({'torch', 'transformers'} & set(sys.modules)))"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", code, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 2
    assert done.stdout == "[]\n"
    said = [" ".join(line.split()) for line in re.split(r"(?m)^error:", done.stderr)[1:]]
    for words in (
        "model.tuning: Input should be 'full', 'lora' or 'qlora'",
        "learnig_rate: no such field. Is it learning_rate?",
        "epochs: Input should be greater than or equal to 1",
        "has no video in split 'trian'. Its rows name no split: take 'all' (2 videos).",
        "gone: no such file",
        "has no video in split 'val'",
        "form.space: there is none named 'cubits'. Known: ",
    ):
        assert sum(words in line for line in said) == 1, (words, done.stderr)
    assert len(said) == 7
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("kind", "fields", "said"),
    [
        (SftConfig, {"learnig_rate": 1}, "learnig_rate: no such field. Is it learning_rate?"),
        (SftConfig, {"group": 4}, "group: no such field. Is it one of "),
        (GrpoConfig, {"max_tokens": 4}, "max_tokens: no such field. Is it learn.max_tokens?"),
        (GrpoConfig, {"learn": {"groups": 4}}, "learn.groups: no such field. Is it learn.group?"),
        (SftConfig, {"data": [{"path": "x", "spilt": "all"}]}, "data.0.spilt: no such field. Is it data.split?"),
    ],
)
def test_an_unknown_field_is_named_with_the_nearest_known_one(
    kind: type[SftConfig], fields: dict[str, Any], said: str, tmp_path: Path
) -> None:
    assert any(said in fault for fault in faults_of(kind, config_in(tmp_path, **fields)))


def test_a_base_that_is_no_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")
    base_in(tmp_path / "bare")
    (tmp_path / "bare" / "model.safetensors").unlink()
    for name, words in (
        ("empty", "no model there: it has no config.json"),
        ("adapter", "holds an adapter, no whole model. Name the folder of the merged model."),
        ("bare", "has no weights"),
        ("gone", "no such folder, and not a name on the hub (OWNER/MODEL)"),
    ):
        folder = tmp_path / f"of-{name}"
        folder.mkdir()
        (said,) = faults_of(SftConfig, config_in(folder, model={"base": str(tmp_path / name)}))
        assert said.startswith(f"{tmp_path / name}: {words}")


def test_reinforcement_asks_what_the_base_was_taught_and_fine_tuning_what_it_likes(tmp_path: Path) -> None:
    base = base_in(tmp_path / "taught", form="json", without=["box"])
    changes = {"model": {"base": base}}
    (said,) = faults_of(GrpoConfig, config_in(tmp_path, **changes))
    assert said.startswith(f"form: {base} was taught form json and not fine-tuning, without ['box'] and not []")
    assert SftConfig.checked(tmp_path / "config.json", offline=True).model.base == base


def test_rows_and_clips_that_cannot_be_trained_on_are_counted(tmp_path: Path) -> None:
    rows = json.loads((EXAMPLES / "all_data.json").read_text())
    (tmp_path / "away").mkdir()
    (tmp_path / "away" / "all_data.json").write_text(json.dumps(rows))
    (said,) = faults_of(SftConfig, config_in(tmp_path, data=[{"path": str(tmp_path / "away"), "split": "all"}]))
    assert "not one of the 2 clips of split 'all' is there, as " in said
    bad = [{**rows[1], "video_id": f"v{k}", "video_width": "wide"} for k in range(8)]
    (tmp_path / "away" / "all_data.json").write_text(json.dumps(bad))
    said = faults_of(SftConfig, tmp_path / "config.json")
    assert len(said) == 6
    assert "row 1" in said[0]
    assert said[-1].endswith("3 more rows are invalid")


def test_balance_wants_both_labels(tmp_path: Path) -> None:
    rows = json.loads((EXAMPLES / "all_data.json").read_text())
    rows[0]["video_path"] = str(EXAMPLES / "coffee.mp4")
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "all_data.json").write_text(json.dumps(rows[:1]))
    file = config_in(tmp_path, data=[{"path": str(tmp_path / "one"), "split": "all"}], balance=True)
    assert faults_of(SftConfig, file) == [
        "balance: the examples are all of one label. Add the other, or set balance to false."
    ]


def test_a_folder_that_cannot_be_made_and_questions_that_cannot_be_shared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("WORLD_SIZE", "3")
    said = faults_of(GrpoConfig, config_in(tmp_path, out=str(tmp_path / "file" / "out"), questions=4))
    assert said == [
        f"{tmp_path / 'file' / 'out'}: cannot be a folder: {tmp_path / 'file'} is a file. Name another with --out.",
        "questions: 4 a step cannot be shared by 3 processes",
    ]


def test_a_missing_package_is_one_of_the_faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    file = config_in(tmp_path, model={"base": str(tmp_path / "base"), "tuning": "qlora"}, data=[])
    said = faults_of(SftConfig, file)
    assert any("deeptrace-video[mllm]" in line for line in said)
    assert any("deeptrace-video[qlora]" in line for line in said)
    assert any("data: List should have at least 1 item" in line for line in said)


def test_one_fault_is_itself(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        SftConfig.checked(config_in(tmp_path, epochs=0), offline=True)
    assert type(caught.value) is SettingsError
