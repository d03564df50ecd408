"""`deeptrace calibrate`: temperature and thresholds of a language model's probabilities, from a validation run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deeptrace.plural import plural

__all__ = ["calibrate"]


def calibrate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of `deeptrace eval --split val --out RUN`.")],
    to: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Folder of the checkpoint or adapter, which then uses it.")
    ],
) -> None:
    """Make a language model's p_fake as sure as it is right: fit temperature and thresholds on a validation run.

    They are kept beside the model. Labels stay the model's own, unless a detector is run with
    --set threshold=balanced (fpr_1, fpr_5). Detectors hf: read the file from their folder, openai: with --set
    calibration=FOLDER.
    """
    from deeptrace.benchmark.calibrate import calibrate_run, keep_calibration

    found = calibrate_run(run)
    path = keep_calibration(found, to)
    typer.echo(f"temperature {found.temperature:.3f}, fitted on {plural(found.videos, 'video')} of {found.fitted_on}")
    typer.echo(f"negative log-likelihood {found.nll_before:.4f} before, {found.nll_after:.4f} after (nats a video)")
    typer.echo("thresholds " + ", ".join(f"{name} {limit:.4f}" for name, limit in found.thresholds.items()))
    typer.echo(f"kept in {path}")
