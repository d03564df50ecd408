"""`deeptrace leaderboard`: entries from finished runs, and the table built from all entries."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deeptrace.cli.console import note
from deeptrace.plural import plural

__all__ = ["leaderboard"]

MARKDOWN, TABLE = "README.md", "leaderboard.csv"

leaderboard = typer.Typer(
    help="A leaderboard in a repository: one JSON file a run, a table built from them.", no_args_is_help=True
)
_Folder = Annotated[
    Path,
    typer.Option("--dir", metavar="DIR", help="Folder of the entries; docs/leaderboard in a checkout of deeptrace."),
]


@leaderboard.command()
def add(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished evaluation.")],
    name: Annotated[str, typer.Option(help="Name of the method, as shown.")],
    by: Annotated[str, typer.Option(help="Who submits it.")],
    folder: _Folder,
    url: Annotated[str, typer.Option(help="Code, paper or model card.")] = "",
    notes: Annotated[str, typer.Option(help="A remark of one line.")] = "",
    data_name: Annotated[str, typer.Option(help="What the data is called here. [default: its folder's name]")] = "",
) -> None:
    """Make an entry of a finished evaluation; its numbers are taken from the run."""
    from deeptrace.benchmark.folder import read_run
    from deeptrace.benchmark.leaderboard import add_entry, entry_of_run

    entry = entry_of_run(read_run(run), name=name, submitted_by=by, url=url, notes=notes, data_name=data_name)
    note("wrote ", add_entry(entry, folder), "; now: deeptrace leaderboard build --dir ", folder)


@leaderboard.command()
def build(
    folder: _Folder,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit code 1 when the table is not up to date.")
    ] = False,
) -> None:
    """Check all entries and write README.md and leaderboard.csv beside them."""
    from deeptrace.benchmark.leaderboard import read_entries, render_csv, render_markdown
    from deeptrace.io.atomic import atomic_path

    entries = read_entries(folder)
    stale = []
    for file, text in ((MARKDOWN, render_markdown(entries)), (TABLE, render_csv(entries))):
        target = folder / file
        if target.exists() and target.read_text(encoding="utf-8") == text:
            continue
        stale.append(file)
        if not check:
            with atomic_path(target) as scratch:
                scratch.write_text(text, encoding="utf-8")
    known = plural(len(entries), "entry is", "entries are")
    if check and stale:
        late = f"{known} valid, but the table is out of date: {', '.join(stale)}. "
        note(late, "Run: deeptrace leaderboard build --dir ", folder)
        raise typer.Exit(1)
    note(f"{known} valid; {'written: ' + ', '.join(stale) if stale else 'the table is up to date'}")
