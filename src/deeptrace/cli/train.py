"""`deeptrace train`: train the detectors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from deeptrace.cli.terminal import EXIT_INTERRUPTED, fail, note, progress_bar

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
    import importlib.util

    from deeptrace.errors import MissingExtraError
    from deeptrace.train.tracenet.config import TraceNetConfig

    if importlib.util.find_spec("torch") is None:
        raise MissingExtraError("train tracenet", "train")
    changes = {"data": data, "out": out, "workers": workers}
    settings = TraceNetConfig.read(config, **{name: value for name, value in changes.items() if value is not None})
    from deeptrace.train.tracenet.run import train_tracenet

    with progress_bar() as bar:
        tasks = {what: bar.add_task(what, total=None) for what in ("measured", "fitted")}
        try:
            folder = train_tracenet(
                settings, lambda what, done, total: bar.update(tasks[what], completed=done, total=total)
            )
        except KeyboardInterrupt:
            fail("stopped; run the same command to go on", EXIT_INTERRUPTED)
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
    import importlib.util
    import os

    from deeptrace.errors import MissingExtraError

    if any(importlib.util.find_spec(name) is None for name in ("torch", "transformers", "accelerate")):
        raise MissingExtraError("train sft", "mllm")
    from deeptrace.train.sft.config import SftConfig
    from deeptrace.train.sft.run import train_sft

    settings = SftConfig.read(config, **({} if out is None else {"out": out}))
    first = os.environ.get("RANK", "0") == "0"
    with progress_bar(quiet=not first) as bar:
        tasks: dict[str, Any] = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done, total=total)

        trained = train_sft(settings, show)
    if not first:
        return
    for path, why in trained.unusable.items():
        note(f"left out: {path}: {why}")
    if trained.folder is None:
        done, steps = trained.steps
        fail(f"stopped after step {done} of {steps}; run the same command to go on", EXIT_INTERRUPTED)
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
    import importlib.util
    import os

    from deeptrace.errors import MissingExtraError

    if any(importlib.util.find_spec(name) is None for name in ("torch", "transformers", "accelerate")):
        raise MissingExtraError("train grpo", "mllm")
    from deeptrace.train.grpo.config import GrpoConfig
    from deeptrace.train.grpo.run import train_grpo

    settings = GrpoConfig.read(config, **({} if out is None else {"out": out}))
    first = os.environ.get("RANK", "0") == "0"
    with progress_bar(quiet=not first) as bar:
        tasks: dict[str, Any] = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done, total=total)

        try:
            folder = train_grpo(settings, show)
        except KeyboardInterrupt:
            fail("stopped; run the same command to go on", EXIT_INTERRUPTED)
    if first:
        note(f"the model and its card are in {folder}; use it with: deeptrace detect --detector hf:{folder} CLIP")
