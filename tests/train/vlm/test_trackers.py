"""Figures in TensorBoard and Weights & Biases, written by the real ones and read back."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from tests.needs import needs

needs("torch")

from deeptrace.train.vlm.progress import Trackers  # noqa: E402

ROW = {"step": 1, "loss": 0.5, "kl": None, "signs": ["odd"], "check": {"traces": {"tiou": 0.25}, "none": None}}


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    reader = needs("tensorboard.backend.event_processing.event_accumulator").EventAccumulator(str(folder))
    reader.Reload()
    return {name: [(one.step, one.value) for one in reader.Scalars(name)] for name in reader.Tags()["scalars"]}


def test_tensorboard_gets_the_numbers_and_a_run_that_goes_on_replaces_steps(tmp_path: Path) -> None:
    needs("tensorboard")
    with Trackers(("tensorboard",), tmp_path, {}) as trackers:
        for step in (1, 2, 3):
            trackers.log(step, ROW | {"loss": step / 4})
    with Trackers(("tensorboard",), tmp_path, {}) as trackers:  # it was killed after step 3, its state is of step 2
        trackers.log(3, ROW | {"loss": 9.0})
    found = scalars(tmp_path / "tensorboard")
    assert found["loss"] == [(1, 0.25), (2, 0.5), (3, 9.0)]
    assert found["check/traces/tiou"] == [(1, 0.25), (2, 0.25), (3, 0.25)]
    assert found.keys() == {"step", "loss", "check/traces/tiou"}


def test_wandb_gets_the_numbers_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    with Trackers(("wandb",), tmp_path / "run", {"seed": 3}) as trackers:
        trackers.log(1, ROW)
        trackers.log(2, ROW | {"loss": 0.125})
    (kept,) = (tmp_path / "run" / "wandb").glob("offline-run-*/run-*.wandb")
    deadline = time.monotonic() + 20  # W&B's own process may still be writing
    while len(found := history(kept)) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert found == [{"loss": 0.5, "tiou": 0.25}, {"loss": 0.125, "tiou": 0.25}]


def history(file: Path) -> list[dict[str, float]]:
    """The rows of a run in W&B's file: 7 bytes, then its messages in LevelDB's log format."""
    from wandb.proto import wandb_internal_pb2

    data, at, rows = file.read_bytes(), 7, []
    assert data.startswith(b":W&B")
    assert len(data) < 32_768  # one block: no record is parted
    while at < len(data):
        length = int.from_bytes(data[at + 4 : at + 6], "little")  # after a checksum; the kind of the part follows
        if at + 7 + length > len(data):
            break
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data[at + 7 : at + 7 + length])
        at += 7 + length
        items = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
        if "loss" in items:
            rows.append({"loss": items["loss"], "tiou": items["check/traces/tiou"]})
    return rows


def test_without_names_nothing_is_made(tmp_path: Path) -> None:
    with Trackers((), tmp_path / "run", {}) as trackers:
        trackers.log(1, ROW)
    assert not (tmp_path / "run").exists()
