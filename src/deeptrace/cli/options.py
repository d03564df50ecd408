"""Options that several commands have, each written once: the same words, and the same defaults.

Where an option is not given, `deeptrace.inference` decides how many workers there are and how long a clip may take.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "DEFAULT_OUT",
    "DetectorName",
    "DetectorSettings",
    "Inputs",
    "JsonLines",
    "JsonObject",
    "Resume",
    "Timeout",
    "Workers",
]

DEFAULT_OUT = Path("deeptrace-out")
"""Where files go that were asked for without --out."""

Inputs = Annotated[
    list[str],
    typer.Argument(
        metavar="PATH",
        show_default=False,
        help="Clips: files, folders (with all below them), patterns such as 'clips/*.mp4', or URLs.",
    ),
]
DetectorName = Annotated[
    str, typer.Option("--detector", metavar="NAME", help="Which detector; `deeptrace detectors` lists them.")
]
DetectorSettings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="A setting of the detector; may be repeated. For tracenet: `deeptrace detect --help`.",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=1,
        metavar="N",
        help="Clips at a time. [default: one a core; for a served model, as many as it takes]",
    ),
]
Timeout = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        min=0,
        metavar="SECONDS",
        help="Longest time for one clip; 0 for no limit. [default: 600; for a language model, no limit]",
    ),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on with what an earlier run has left in --out; nothing is done twice.")
]
JsonLines = Annotated[bool, typer.Option("--json", help="One JSON line a clip on stdout, and nothing else.")]
JsonObject = Annotated[bool, typer.Option("--json", help="One JSON object on stdout, and nothing else.")]
