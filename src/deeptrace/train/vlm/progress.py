"""What a training says while it runs: to whoever watches it, and to TensorBoard or Weights & Biases where wanted."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, Self

from deeptrace.errors import MissingExtraError, SettingsError

__all__ = ["Progress", "Tracker", "Trackers", "silent"]

Tracker = Literal["tensorboard", "wandb"]
"""Where figures go beside the run's own log; also the names of packages and of extras."""


class Progress(Protocol):
    """Told what is being done, how much of it is done, and of how much; of a step its figures, too."""

    def __call__(self, what: str, done: int, total: int | None, /, **figures: float | None) -> object:
        """`total` is None where it is not known."""


def silent(_what: str, _done: int, _total: int | None, /, **_figures: float | None) -> None:
    """A `Progress` for those who do not watch."""


class Trackers:
    """The trackers of a run, open until the block ends; with no names, nothing.

    TensorBoard's files are in `OUT/tensorboard`, those of Weights & Biases in `OUT/wandb`. A run that goes on, goes on
    in them: steps that are taken again replace what was said of them (TensorBoard), or have a run of the same id (W&B).

    Args:
        names: of the trackers.
        out: folder of the run.
        config: of the run, as JSON values.

    Raises:
        MissingExtraError: one is not installed.
        SettingsError: one does not start; Weights & Biases wants a login, or WANDB_MODE=offline.
    """

    def __init__(self, names: Sequence[Tracker], out: Path, config: Mapping[str, Any]) -> None:
        self._out = out
        self._board: Any = None
        self._run: Any = None
        self._writes_board = "tensorboard" in names
        if self._writes_board:
            _tensorboard()
        if "wandb" in names:
            self._run = _wandb_run(out, config)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._board is not None:
            self._board.close()
        if self._run is not None:
            self._run.finish()

    def log(self, step: int, figures: Mapping[str, Any]) -> None:
        """Keep the numbers among the figures of a step; those of mappings in it have names as "check/traces/tiou"."""
        numbers = dict(_numbers(figures))
        if self._writes_board:
            if self._board is None:  # only now is it known from which step on
                self._board = _tensorboard()(str(self._out / "tensorboard"), purge_step=step)
            for name, value in numbers.items():
                self._board.add_scalar(name, value, step)
            self._board.flush()
        if self._run is not None:
            self._run.log(numbers, step=step)


def _numbers(figures: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for name, value in figures.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{prefix}{name}/")
        elif isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            yield prefix + name, float(value)


def _tensorboard() -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise MissingExtraError("log_to tensorboard", "tensorboard") from None
    return SummaryWriter


def _wandb_run(out: Path, config: Mapping[str, Any]) -> Any:
    try:
        import wandb
    except ImportError:
        raise MissingExtraError("log_to wandb", "wandb") from None
    name = hashlib.sha256(str(out.absolute()).encode()).hexdigest()[:16]
    quiet = wandb.Settings(silent=True, console="off", init_timeout=60)
    out.mkdir(parents=True, exist_ok=True)
    try:
        return wandb.init(
            project="deeptrace",
            name=out.name,
            id=name,
            resume="allow",
            dir=str(out),
            config=dict(config),
            settings=quiet,
        )
    except wandb.Error as error:
        mend = "Log in with `wandb login`, or set WANDB_MODE=offline."
        raise SettingsError("log_to wandb", f"does not start: {error}", mend) from error
