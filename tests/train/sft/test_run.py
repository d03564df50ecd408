"""Whole runs on tiny models: resumed, on two processes, with adapters, in every form."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.needs import needs

torch = needs("torch")
needs("transformers", "accelerate")

from tests.detectors.vlm.hf.tiny import save_tiny  # noqa: E402
from tests.train.sft.made import config_fields, write_clips  # noqa: E402

from deeptrace.detectors.vlm.hf.model_classes import load_model  # noqa: E402
from deeptrace.errors import DataError, MissingExtraError, SettingsError  # noqa: E402
from deeptrace.io.run_store import hold_folder  # noqa: E402
from deeptrace.train.sft.config import SftConfig  # noqa: E402
from deeptrace.train.sft.run import train_sft  # noqa: E402
from deeptrace.train.sft.trainer import last_checkpoint  # noqa: E402

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": os.pathsep.join(sys.path)}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clips(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bases")
    return {kind: save_tiny(kind, folder / kind) for kind in ("qwen2_5_vl", "video_llama_3")}


def train(base: Path, data: Path, out: Path, **changes: Any) -> list[float]:
    train_sft(SftConfig.model_validate(config_fields(base, data, out, **changes)))
    return losses(out)


def losses(out: Path) -> list[float]:
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, len(lines) + 1))
    return [line["loss"] for line in lines]


def command(file: Path, *before: str) -> list[str]:
    return [sys.executable, *before, "-m", "deeptrace.cli.main", "train", "sft", str(file)]


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "told to stop"])
def test_a_run_that_was_stopped_goes_on_with_the_same_losses(
    how: signal.Signals, bases: dict[str, Path], data: Path, tmp_path: Path
) -> None:
    changes = {
        "epochs": 14,
        "save_every": 2,
        "batch": 1,
        "pack_tokens": 700,
        "schedule": "cosine",
        "augment": {"chance": 1.0, "least_time": 0.6, "least_side": 0.8},
        "model": {"base": str(bases["video_llama_3"]), "dtype": "float32", "tuning": "lora", "dropout": 0.2},
    }
    whole = train(bases["video_llama_3"], data, tmp_path / "whole", **changes)
    out = tmp_path / "stopped"
    file = tmp_path / "config.json"
    file.write_text(json.dumps(config_fields(bases["video_llama_3"], data, out, **changes)))
    running = subprocess.Popen(command(file), env=ENVIRONMENT, stderr=subprocess.PIPE)
    while running.poll() is None and not list(out.glob("checkpoints/*/trainer_state.json")):  # old ones are deleted
        time.sleep(0.02)
    running.send_signal(how)
    _, said = running.communicate()
    if how is signal.SIGTERM:
        assert running.returncode == 130, said
        assert b"run the same command to go on" in said
    assert last_checkpoint(out) is not None
    done = len((out / "log.jsonl").read_text().splitlines())
    assert 2 <= done < len(whole)
    assert not (out / "model").exists()
    assert train(bases["video_llama_3"], data, out, **changes) == pytest.approx(whole, rel=1e-6)
    assert (out / "model" / "README.md").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("sharding", ["ddp", "fsdp"])
def test_two_processes_learn_as_one_with_twice_the_batch(
    sharding: str, bases: dict[str, Path], data: Path, tmp_path: Path
) -> None:
    base = bases["qwen2_5_vl"]
    one = train(base, data, tmp_path / "one", batch=2, sharding=sharding)
    file = tmp_path / "config.json"
    validation = {"path": str(data), "split": "train"}
    fields = config_fields(base, data, tmp_path / "two", batch=1, sharding=sharding, validation=validation)
    file.write_text(json.dumps(fields | {"answer_tokens": 4}))
    launch = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0", "--rdzv-backend", "c10d")
    launch += ("--rdzv-endpoint", "localhost:0", "--no-python")
    found = subprocess.run([sys.executable, *launch, *command(file)], env=ENVIRONMENT, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr[-3000:]
    assert losses(tmp_path / "two") == pytest.approx(one, rel=1e-4)
    measured = json.loads((tmp_path / "two" / "measurements.jsonl").read_text())
    assert measured["counts"]["videos"] == 6
    ours, theirs = (load_model(str(tmp_path / name / "model")).state_dict() for name in ("one", "two"))
    for name, value in ours.items():
        assert torch.allclose(value, theirs[name], atol=2e-4), name


def test_merged_adapters_say_what_unmerged_ones_do(bases: dict[str, Path], data: Path, tmp_path: Path) -> None:
    from peft import PeftModel

    base = bases["qwen2_5_vl"]
    model = {"base": str(base), "dtype": "float32", "tuning": "lora", "rank": 4}
    before = load_model(str(base))
    train(base, data, tmp_path, model=model, learning_rate=0.02, epochs=2)
    adapted = PeftModel.from_pretrained(load_model(str(base)), str(tmp_path / "adapter")).eval()
    merged = load_model(str(tmp_path / "model"))
    ids = torch.arange(5, 25)[None]
    with torch.no_grad():
        said, apart, untrained = (m(input_ids=ids).logits for m in (merged, adapted, before))
    assert torch.allclose(said, apart, atol=1e-4)
    assert not torch.allclose(said, untrained, atol=1e-2)


@pytest.mark.parametrize("dropped", range(8))
def test_every_ablation_trains_and_reports(dropped: int, bases: dict[str, Path], data: Path, tmp_path: Path) -> None:
    parts = ("box", "time", "explanation")
    form = {part: not dropped >> k & 1 for k, part in enumerate(parts)}
    losses_of = train(
        bases["qwen2_5_vl"],
        data,
        tmp_path,
        form=form,
        batch=6,
        validation={"path": str(data), "split": "train"},
        validation_videos=2,
        answer_tokens=4,
    )
    assert len(losses_of) == 1
    measured = json.loads((tmp_path / "measurements.jsonl").read_text())
    assert measured["counts"]["videos"] == 2
    kept = json.loads((tmp_path / "model" / "deeptrace_detector.json").read_text())
    assert kept["without"] == [part for part in parts if not form[part]]
    assert "2 validation videos" in (tmp_path / "model" / "README.md").read_text()


def test_a_folder_that_another_run_writes_into_is_refused(bases: dict[str, Path], data: Path, tmp_path: Path) -> None:
    with hold_folder(tmp_path), pytest.raises(SettingsError, match="another run is writing"):
        train(bases["qwen2_5_vl"], data, tmp_path)


def test_another_config_or_other_data_need_another_folder(bases: dict[str, Path], data: Path, tmp_path: Path) -> None:
    base = bases["qwen2_5_vl"]
    train(base, data, tmp_path, batch=6)
    with pytest.raises(SettingsError, match="holds a run with another learning_rate"):
        train(base, data, tmp_path, batch=6, learning_rate=1e-4)
    assert len(train(base, data, tmp_path, batch=6, workers=1)) == 1  # done already: nothing is done twice


def test_clips_that_do_not_decode_are_left_out_and_named(bases: dict[str, Path], tmp_path: Path) -> None:
    folder = write_clips(tmp_path / "data", fakes=1, reals=2)
    (folder / "videos" / "clip1.mp4").write_bytes(b"no video")
    base, out = bases["qwen2_5_vl"], tmp_path / "out"
    view = config_fields(base, folder, out)["view"] | {"cache": str(tmp_path / "cache")}
    config = SftConfig.model_validate(config_fields(base, folder, out, view=view))
    trained = train_sft(config)
    assert list(trained.unusable) == [str(folder / "videos" / "clip1.mp4")]
    facts = json.loads((out / "model" / "deeptrace_training.json").read_text())
    assert facts["data"]["videos"] == 2
    assert list(facts["unusable"]) == list(trained.unusable)
    for name in ("clip0", "clip2"):
        (folder / "videos" / f"{name}.mp4").write_bytes(b"no video")
    with pytest.raises(DataError, match="not one clip"):
        train_sft(config.model_copy(update={"out": tmp_path / "none"}))


def test_four_bits_need_bitsandbytes(bases: dict[str, Path], data: Path, tmp_path: Path) -> None:
    import importlib.util

    if importlib.util.find_spec("bitsandbytes") is not None:
        pytest.skip("it is here")
    model = {"base": str(bases["qwen2_5_vl"]), "tuning": "qlora"}
    with pytest.raises(MissingExtraError, match="tuning qlora"):
        train(bases["qwen2_5_vl"], data, tmp_path, model=model)
