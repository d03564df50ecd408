"""`--dry-run`: what it says is what a training then takes, and it writes nothing and asks nobody."""

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

needs("torch", "transformers", "accelerate", "peft")

from deeptrace.io.journal import read_lines  # noqa: E402
from deeptrace.train.dry_run import dry_run  # noqa: E402
from deeptrace.train.grpo.config import GrpoConfig  # noqa: E402
from deeptrace.train.sft.batches import Batches, plan_batches  # noqa: E402
from deeptrace.train.sft.config import SftConfig  # noqa: E402
from deeptrace.train.sft.run import train_sft  # noqa: E402
from deeptrace.train.vlm.examples import read_examples  # noqa: E402
from deeptrace.train.vlm.frame_store import FrameStore  # noqa: E402
from deeptrace.train.vlm.models import load_trainable  # noqa: E402
from deeptrace.train.vlm.tiny import make_tiny_model  # noqa: E402

SHORT = {"epochs": 3, "validation": None}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("dry") / "base")


def config_of(base: Path, out: Path, **changes: Any) -> SftConfig:
    model = SftConfig.tiny(out).model.model_copy(update={"base": str(base), **changes.pop("model", {})})
    return SftConfig.tiny(out, **{"model": model, **SHORT, **changes})


def test_rows_tokens_and_steps_are_those_of_the_training(base: Path, tmp_path: Path) -> None:
    config = config_of(base, tmp_path / "out", batch=1)
    found = dry_run(config)
    assert not config.out.exists()
    (split,) = found.splits
    assert (split.clips, split.fake, split.real, split.rows, split.missing) == (2, 1, 1, 2, 0)
    from deeptrace.detectors.vlm.hf.processors import load_processor

    store = FrameStore(config.view, load_processor(base, request=config.view))
    examples = read_examples(config.data, per="video")
    batches = Batches(plan_batches(examples, [0, 0], config, 1), examples, store, config, None)
    taken = sorted({int(batches[k]["input_ids"].shape[1]) for k in range(2)})
    assert found.tokens is not None
    least, middle, most = found.tokens
    assert least <= middle <= most
    assert taken[-1] <= most <= taken[-1] * 1.5  # estimated, seldom too few
    train_sft(config)
    assert found.steps == len(list(read_lines(config.out / "log.jsonl"))) == 6


@pytest.mark.parametrize(
    "model", [{}, {"freeze_vision": True}, {"tuning": "lora", "rank": 4}, {"tuning": "lora", "targets": ["q_proj"]}]
)
def test_the_weights_that_learn_are_counted_as_they_will(base: Path, model: dict[str, Any], tmp_path: Path) -> None:
    config = config_of(base, tmp_path / "out", model=model)
    every = list(load_trainable(config.model).parameters())
    found = dry_run(config)
    assert found.weights == (
        sum(weight.numel() for weight in every),
        sum(weight.numel() for weight in every if weight.requires_grad),
    )
    gib = 2**30 / 4
    assert found.memory["weights"] == pytest.approx(found.weights[0] / gib)
    assert found.memory["gradients"] == pytest.approx(found.weights[1] / gib)
    assert found.memory["optimizer"] == pytest.approx(2 * found.weights[1] / gib)


def test_reinforcement_counts_the_longest_answer_and_the_reference(base: Path, tmp_path: Path) -> None:
    sft = dry_run(config_of(base, tmp_path / "out"))
    rl = GrpoConfig.tiny(base, tmp_path / "out", steps=7)
    found = dry_run(rl)
    assert found.steps == 7
    assert found.tokens is not None
    assert sft.tokens is not None
    assert found.tokens[2] > sft.tokens[2]
    assert found.memory["weights"] == pytest.approx(2 * sft.memory["weights"])
    without = dry_run(rl.model_copy(update={"learn": rl.learn.model_copy(update={"kl": 0.0})}))
    assert without.memory["weights"] == pytest.approx(sft.memory["weights"])


def test_the_command_says_it_in_80_columns_without_a_hub_and_writes_nothing(tmp_path: Path) -> None:
    fields = SftConfig.tiny(tmp_path / "out", pack_tokens=512, batch=1).model_dump(mode="json")
    fields["model"]["base"] = "someone/not-downloaded"
    (tmp_path / "config.json").write_text(json.dumps(fields))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "HF_ENDPOINT": "http://127.0.0.1:9"}
    command = [sys.executable, "-m", "deeptrace.cli.main", "train", "sft", str(tmp_path / "config.json"), "--dry-run"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert re.fullmatch(r"data +split +clips +fake +real +rows +missing", lines[0])
    assert [re.split(r" {2,}", line)[1:] for line in lines[1:3]] == [
        ["all", "2", "1", "1", "2", "0"],
        ["all (val)", "2", "1", "1", "2", "0"],
    ]
    assert "steps         not known" in lines  # packing needs to know the tokens
    assert "tokens and memory are not known: someone/not-downloaded: no such folder, not downloaded" in done.stdout
    assert lines[-1] == "Nothing was written or asked of a network. Tokens and memory are estimates."
    assert all(len(line) <= 80 for line in lines if "out" not in line and "tokens and memory" not in line)
    assert not (tmp_path / "out").exists()
