"""`deeptrace train`: train the detectors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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
