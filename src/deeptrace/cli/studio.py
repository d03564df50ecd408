"""`deeptrace studio`: the web application."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from deeptrace.cli.console import note, parse_settings
from deeptrace.cli.options import DetectorName, DetectorSettings, Workers

__all__ = ["studio"]


def studio(
    place: Annotated[
        Path | None,
        typer.Argument(
            metavar="DIR",
            help="A folder of videos, or of a run (`deeptrace detect --out`, `eval --out`); none for an empty page.",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR_OR_JSON", help="Annotated clips to explore: a RewardData folder, or its annotation file."
        ),
    ] = None,
    predictions: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE_OR_RUN",
            help="What a model said of them, as `deeptrace eval` reads and keeps it; may be repeated.",
        ),
    ] = None,
    answer_space: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Unit of the files' boxes: pixels, fractions, permille, ... [default: pixels]"
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen at, of this machine alone.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen at; 0 for a free one.")] = 7870,
    detector: DetectorName = "tracenet",
    settings: DetectorSettings = None,
    workers: Workers = None,
    store: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder for answers and annotations. [default: DIR/.deeptrace-studio]"),
    ] = None,
    database: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="A PostgreSQL database, instead of SQLite; docs/studio.md says how to write it."
        ),
    ] = None,
    root: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", help="A further folder whose files may be named; may be repeated."),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(metavar="HOST[:PORT]", help="A host, or *.DOMAIN, to fetch URLs from; may be repeated."),
    ] = None,
    allow_private: Annotated[
        bool, typer.Option("--allow-private", help="Let those hosts have local addresses.")
    ] = False,
    max_mb: Annotated[float, typer.Option(min=0.001, help="Largest upload, in MiB.")] = 1024,
    max_seconds: Annotated[float, typer.Option(min=0.001, help="Longest clip, in seconds.")] = 3600,
    browser: Annotated[bool, typer.Option("--browser", help="Open the page in a browser.")] = False,
) -> None:
    """Inspect, triage, explore and annotate clips in a browser on this machine; no account, and nothing leaves it."""
    from deeptrace.inference.executor import cores
    from deeptrace.studio import StudioSettings
    from deeptrace.studio.run import run_studio
    from deeptrace.studio.settings import studio_limits

    chosen = StudioSettings(
        place=None if place is None else place.absolute(),
        data=None if data is None else data.absolute(),
        predictions=tuple(predictions or ()),
        answer_space=answer_space,
        store=store,
        database=database,
        detector=detector,
        detector_settings=parse_settings(settings or []),
        workers=workers or cores(),
        roots=tuple(str(folder) for folder in root or ()),
        hosts=tuple(allow_host or ()),
        private_addresses=allow_private,
        author=_user(),
        limits=studio_limits(max_mb=max_mb, max_seconds=max_seconds),
    )

    def ready(url: str) -> None:
        note(f"the studio is at {url} (Ctrl-C ends it)")
        note("its work is kept in ", chosen.home)
        sys.stderr.flush()
        if browser:
            import webbrowser

            webbrowser.open(url)

    run_studio(chosen, host=host, port=port, on_ready=ready)


def _user() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user without a name, as in some containers
        return "me"
