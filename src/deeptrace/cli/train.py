"""`deeptrace train`: train the detectors."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from deeptrace.cli.terminal import interrupted, note, stage_bars
from deeptrace.errors import MissingExtraError

__all__ = ["train"]

train = typer.Typer(help="Train detectors.", no_args_is_help=True)


@train.callback()
def _group() -> None:
    """Train detectors."""


@train.command()
def tracenet(
    config: Annotated[
        Path, typer.Argument(metavar="CONFIG", help="JSON file; examples/tracenet.json is the shipped one's.")
    ],
    data: Annotated[Path | None, typer.Option(metavar="DIR", help="Use this data instead of the config's.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Write here instead.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes, instead of the config's.")] = None,
) -> None:
    """Train TraceNet: measure the clips, cross-fit, calibrate, fit on everything, export.

    Run it again after an interruption: what is done is not done twice.
    """
    from deeptrace.train.tracenet.config import TraceNetConfig

    _check_installed("train tracenet", "train", "torch")
    settings = TraceNetConfig.read(config, **_given(data=data, out=out, workers=workers))
    from deeptrace.train.tracenet.run import train_tracenet

    with _training() as show:
        folder = train_tracenet(settings, show)
    note(f"the model and its card are in {folder}; use it with: deeptrace detect --detector tracenet:{folder} CLIP")


@train.command()
def sft(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="JSON file; examples/sft_*.json are recipes.")],
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Write here instead of the config's folder.")] = None,
) -> None:
    """Fine-tune a video language model on RewardData: train, measure, choose the best, calibrate, export.

    Run it again after an interruption: it goes on from its last checkpoint. Several GPUs or machines:
    `torchrun --nproc-per-node 8 -m deeptrace.cli.main train sft CONFIG`.
    """
    _check_installed("train sft", "mllm", "torch", "transformers", "accelerate")
    from deeptrace.train.sft.config import SftConfig
    from deeptrace.train.sft.run import train_sft

    settings = SftConfig.read(config, **_given(out=out))
    with _training() as show:
        trained = train_sft(settings, show)
    if not _first():
        return
    for path, why in trained.unusable.items():
        note(f"left out: {path}: {why}")
    if trained.folder is None:
        done, steps = trained.steps
        interrupted(f"{done} of {steps} steps are kept; run the same command to go on")
    note(f"the model and its card are in {trained.folder}")
    note(f"use it with: deeptrace detect --detector hf:{trained.folder} CLIP")


@train.command()
def grpo(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="JSON file; examples/grpo_*.json are recipes.")],
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Write here instead of the config's folder.")] = None,
) -> None:
    """Train a video language model further, with rewards that compare its answers with annotated traces.

    Run it again after an interruption: it goes on from its last state. Several GPUs or machines:
    `torchrun --nproc-per-node 8 -m deeptrace.cli.main train grpo CONFIG`.
    """
    _check_installed("train grpo", "mllm", "torch", "transformers", "accelerate")
    from deeptrace.train.grpo.config import GrpoConfig
    from deeptrace.train.grpo.run import train_grpo

    settings = GrpoConfig.read(config, **_given(out=out))
    with _training() as show:
        folder = train_grpo(settings, show)
    if _first():
        note(f"the model and its card are in {folder}; use it with: deeptrace detect --detector hf:{folder} CLIP")


def _check_installed(feature: str, extra: str, *modules: str) -> None:
    if any(importlib.util.find_spec(name) is None for name in modules):
        raise MissingExtraError(feature, extra)


def _given(**options: Any) -> dict[str, Any]:
    """The options that were given; they stand above the config's."""
    return {name: value for name, value in options.items() if value is not None}


def _first() -> bool:
    """Whether this process is the one that speaks, of those that torchrun has started."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def _training() -> Iterator[Callable[[str, int, int | None], None]]:
    """Progress bars for a training, and its last word when Ctrl-C ends it."""
    with stage_bars(quiet=not _first()) as show:
        try:
            yield show
        except KeyboardInterrupt:
            interrupted("run the same command to go on")
