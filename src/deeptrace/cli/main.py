"""`deeptrace`: the commands, put together.

Exit codes: 0 all went well; 1 the work was done but some inputs failed (each is recorded); 2 the command, a setting or
a detector is invalid, and nothing was done, or the disk refused and what was done is kept; 130 stopped by Ctrl-C,
what was done is kept.

A command's module is imported only for its own run and for help, and imports heavy things only inside its function, so
that `deeptrace --help` answers at once.
"""

from __future__ import annotations

import errno
import logging
import os
import sys
from typing import Annotated

import typer

from deeptrace.cli.audit import audit
from deeptrace.cli.calibrate import calibrate
from deeptrace.cli.collect import collect
from deeptrace.cli.compare import compare
from deeptrace.cli.compare_detectors import compare_detectors
from deeptrace.cli.compare_rewards import compare_rewards
from deeptrace.cli.console import fail, wrapped
from deeptrace.cli.data import data
from deeptrace.cli.detect import detect
from deeptrace.cli.detectors import detectors
from deeptrace.cli.doctor import doctor
from deeptrace.cli.eval import evaluate
from deeptrace.cli.leaderboard import leaderboard
from deeptrace.cli.questions import questions
from deeptrace.cli.robustness import robustness
from deeptrace.cli.score import score
from deeptrace.cli.serve import serve
from deeptrace.cli.studio import studio
from deeptrace.cli.synth import synth
from deeptrace.cli.train import train
from deeptrace.errors import ConfigError, DeeptraceError
from deeptrace.urls import public_text

__all__ = ["app", "main"]

app = typer.Typer(
    name="deeptrace",
    help="Is this video AI-generated, and where, when, which kind and why? A score is evidence, not proof.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(detect)
app.command()(detectors)
app.command()(doctor)
app.command()(synth)
app.command()(collect)
app.command()(audit)
app.command("eval")(evaluate)
app.command()(compare)
app.command("compare-detectors")(compare_detectors)
app.command("compare-rewards")(compare_rewards)
app.command()(robustness)
app.command()(questions)
app.command()(calibrate)
app.command()(score)
app.command()(serve)
app.command()(studio)
app.add_typer(data, name="data")
app.add_typer(leaderboard, name="leaderboard")
app.add_typer(train, name="train")


def _version(wanted: bool) -> None:
    if wanted:
        import deeptrace

        typer.echo(f"deeptrace {deeptrace.__version__}")
        raise typer.Exit


class _PublicFormatter(logging.Formatter):
    """Log lines, those of other packages among them, without the secrets of URLs."""

    def format(self, record: logging.LogRecord) -> str:
        """The line; of a warning of ours, the lines that fit the terminal."""
        shown = public_text(super().format(record))
        ours = record.name.partition(".")[0] == "deeptrace" and record.levelno >= logging.WARNING
        return wrapped(shown) if ours and "\n" not in shown else shown


@app.callback()
def _common(
    _version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log details to stderr.")] = False,
) -> None:
    logging.basicConfig(level=logging.DEBUG if verbose else logging.WARNING)
    for handler in logging.getLogger().handlers:
        handler.setFormatter(_PublicFormatter("%(name)s: %(message)s"))
    logging.getLogger("huggingface_hub").propagate = False  # it writes its lines itself


def main() -> None:
    """Run the command line; a fault that deeptrace or the disk finds is said on stderr, from a line of its own; exit
    code 2.
    """
    try:
        app()
    except ConfigError as error:
        fail(*error.faults)
    except DeeptraceError as error:
        fail(error)
    except BrokenPipeError:
        # The reader of our output (`| head`) has gone; closing stderr keeps Python from complaining at exit.
        sys.stderr.close()
        sys.exit(141)
    except OSError as error:
        # The edge to the machine: a full disk, a folder that turned read-only. What is on the disk by now is kept.
        name = "the output" if error.filename is None else os.fsdecode(error.filename)
        fail(DeeptraceError(name, error.strerror or str(error), _MENDS.get(error.errno or 0, "")))


_MENDS = dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "Free some space there, and run the command again.") | {
    errno.EFBIG: "A limit on the size of files ends it (ulimit -f), or the file system's own.",
    errno.EROFS: "Name a folder that may be written to.",
}


if __name__ == "__main__":
    main()
