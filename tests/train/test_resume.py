"""A training that was broken off and goes on ends as if nothing had happened, for every architecture.

Published checkpoints name weights otherwise than the models do (`visual.` for `model.visual.`), so that going on with a
whole model is where weights can be lost without an error.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.needs import needs

torch = needs("torch")
needs("transformers", "accelerate", "peft")

from safetensors.torch import load_file, save_file  # noqa: E402
from tests.detectors.vlm.hf.tiny import KINDS as OWN  # noqa: E402
from tests.detectors.vlm.hf.tiny import save_tiny  # noqa: E402
from tests.detectors.vlm.hf.tiny_others import OTHERS, save_other  # noqa: E402
from tests.train.grpo.small import FORM, make_clips  # noqa: E402
from tests.train.sft.made import config_fields, write_clips  # noqa: E402

from deeptrace.errors import ModelError, SettingsError  # noqa: E402
from deeptrace.io.journal import read_lines  # noqa: E402
from deeptrace.train.grpo.config import GrpoConfig  # noqa: E402
from deeptrace.train.grpo.run import train_grpo  # noqa: E402
from deeptrace.train.grpo.trainer import STATE, load_state  # noqa: E402
from deeptrace.train.sft.config import SftConfig  # noqa: E402
from deeptrace.train.sft.run import train_sft  # noqa: E402
from deeptrace.train.sft.trainer import CHECKPOINTS, last_checkpoint  # noqa: E402

KINDS = (*OWN, *OTHERS)
BROKEN_AT = 3


class BrokenOffError(Exception):
    """What stands for a power cut in the middle of a training."""


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bases")
    made = {kind: save_tiny(kind, folder / kind) for kind in OWN}
    return made | {kind: save_other(kind, folder / kind) for kind in OTHERS}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clips(tmp_path_factory.mktemp("data"), fakes=1, reals=1)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clips(tmp_path_factory.mktemp("asked"))


def break_off(what: str, done: int, _total: int | None, **_figures: float | None) -> None:
    if what == "step" and done == BROKEN_AT:
        raise BrokenOffError


def model_of(base: Path, tuning: str) -> dict[str, Any]:
    lora = {"rank": 4, "dropout": 0.2} if tuning == "lora" else {}
    return {"base": str(base), "dtype": "float32", "tuning": tuning, "checkpointing": False, **lora}


def sft(base: Path, data: Path, out: Path, tuning: str) -> SftConfig:
    view = {
        "fps": 4.0,
        "max_frames": 8,
        "min_frame_pixels": 28 * 28,
        "max_frame_pixels": 112 * 84,
    }  # Video-LLaVA takes 8
    changes = {"batch": 1, "epochs": 2, "save_every": 2, "learning_rate": 1e-3, "view": view, "workers": 0}
    return SftConfig.model_validate(config_fields(base, data, out, model=model_of(base, tuning), **changes))


def weights(folder: Path) -> dict[str, Any]:
    files = sorted(folder.glob("*.safetensors"))
    assert files, folder
    return {name: value for file in files for name, value in load_file(file).items()}


@pytest.mark.slow
@pytest.mark.parametrize("tuning", ["full", "lora"])
@pytest.mark.parametrize("kind", KINDS)
def test_fine_tuning_goes_on_as_if_it_had_not_been_broken_off(
    kind: str, tuning: str, bases: dict[str, Path], data: Path, tmp_path: Path
) -> None:
    whole, broken = (sft(bases[kind], data, tmp_path / name, tuning) for name in ("whole", "broken"))
    train_sft(whole)
    with pytest.raises(BrokenOffError):
        train_sft(broken, break_off)
    assert not (broken.out / "model").exists()
    at = last_checkpoint(broken.out)
    assert at is not None
    assert at.name == "checkpoint-2"
    train_sft(broken)
    losses = [[row["loss"] for row in read_lines(one.out / "log.jsonl")] for one in (whole, broken)]
    assert len(losses[0]) == 4
    assert losses[1] == losses[0]
    ours, theirs = (weights(one.out / "model") for one in (broken, whole))
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


@pytest.fixture
def stopped(bases: dict[str, Path], data: Path, tmp_path: Path) -> tuple[SftConfig, Path]:
    """A fine-tuning of a whole model that was broken off, and its checkpoint's weights."""
    config = sft(bases["qwen2_5_vl"], data, tmp_path / "run", "full")
    with pytest.raises(BrokenOffError):
        train_sft(config, break_off)
    return config, config.out / CHECKPOINTS / "checkpoint-2" / "model.safetensors"


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["missing", "unknown", "of a shape other than the model's"])
def test_a_checkpoint_that_does_not_fit_to_the_last_weight_is_refused(
    fault: str, stopped: tuple[SftConfig, Path]
) -> None:
    config, file = stopped
    kept = load_file(file)
    name = next(name for name in sorted(kept) if "blocks.0" in name)
    taken = kept.pop(name)
    if fault == "unknown":
        kept |= {name: taken, "visual.nothing.like.it": taken.clone()}
    elif fault != "missing":
        kept[name] = taken[..., :1].clone()
    save_file(kept, file, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=f"1 weights {fault}") as caught:
        train_sft(config)
    assert "checkpoint-2" in str(caught.value)
    assert ("nothing.like.it" if fault == "unknown" else "blocks.0") in str(caught.value)
    assert "Remove it to go on from the checkpoint before it" in str(caught.value)


def grpo(base: Path, asked: Path, out: Path, tuning: str) -> GrpoConfig:
    return GrpoConfig.model_validate(
        {
            "model": model_of(base, tuning) | {"attention": "sdpa" if "qwen" in base.name else "eager"},
            "data": [{"path": str(asked)}],
            "validation": None,
            "out": out,
            "view": {"cache": asked / "frames", "fps": 4.0, "max_frames": 8},
            "form": FORM,
            "learn": {"group": 3, "rows": 3, "max_tokens": 6, "kl": 0.02},
            "steps": 4,
            "questions": 1,
            "learning_rate": 5e-4,
            "warmup": 0,
            "check_every": 0,
            "save_every": 2,
        }
    )


@pytest.mark.slow
@pytest.mark.parametrize("tuning", ["full", "lora"])
@pytest.mark.parametrize("kind", KINDS)
def test_grpo_goes_on_as_if_it_had_not_been_broken_off(
    kind: str, tuning: str, bases: dict[str, Path], asked: Path, tmp_path: Path
) -> None:
    whole, broken = (grpo(bases[kind], asked, tmp_path / name, tuning) for name in ("whole", "broken"))
    train_grpo(whole)
    with pytest.raises(BrokenOffError):
        train_grpo(broken, break_off)
    assert not (broken.out / "model").exists()
    train_grpo(broken)
    rows = [[{**row, "seconds": None} for row in read_lines(one.out / "log.jsonl")] for one in (whole, broken)]
    assert len(rows[0]) == 4
    assert rows[1] == rows[0]
    ours, theirs = (weights(one.out / "model") for one in (broken, whole))
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


@pytest.mark.parametrize("fault", ["missing", "unknown", "of a shape other than the model's"])
def test_a_state_of_other_weights_is_refused_and_changes_nothing(fault: str, tmp_path: Path) -> None:
    model = torch.nn.ModuleDict({"a": torch.nn.Linear(2, 3), "b": torch.nn.Linear(3, 2)})
    optimizer = torch.optim.AdamW(model.parameters())
    kept = {name: torch.zeros_like(weight) for name, weight in model.named_parameters()}
    if fault == "missing":
        del kept["b.bias"]
    elif fault == "unknown":
        kept["c.weight"] = torch.zeros(1)
    else:
        kept["b.bias"] = torch.zeros(5)
    torch.save({"weights": kept, "optimizer": optimizer.state_dict(), "facts": {}}, tmp_path / STATE)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    with pytest.raises(ModelError, match=f"1 weights {fault}: {'c.weight' if fault == 'unknown' else 'b.bias'}"):
        load_state(tmp_path / STATE, model, optimizer)
    assert all(torch.equal(before[name], weight) for name, weight in model.state_dict().items())


@pytest.mark.parametrize("damage", [b"", b"not a state", b"PK\x03\x04 cut off"])
def test_a_damaged_state_is_one_clear_line(damage: bytes, tmp_path: Path) -> None:
    model = torch.nn.Linear(2, 2)
    (tmp_path / STATE).write_bytes(damage)
    with pytest.raises(SettingsError, match=r"cannot be read: .*Remove it to begin anew") as caught:
        load_state(tmp_path / STATE, model, torch.optim.AdamW(model.parameters()))
    assert "\n" not in str(caught.value)
