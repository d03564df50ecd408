"""`deeptrace detectors`: what is installed, what each needs, and the baselines of the paper with how to run them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from deeptrace.errors import install_command

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["detectors"]


def detectors(
    json_output: Annotated[bool, typer.Option("--json", help="One JSON list on stdout, and nothing else.")] = False,
) -> None:
    """List the detectors, with what each still needs to run here; then the models of the paper.

    A name of the first column goes after --detector, as in `deeptrace detect clip.mp4 --detector baseline:d3`.
    """
    import json

    from rich.console import Console

    rows = _detectors()
    baselines = _baselines()
    if json_output:
        typer.echo(json.dumps(rows + baselines))
        return
    console = Console()
    console.print(_table(rows))
    console.print(_paper_table(baselines))


def _detectors() -> list[dict[str, Any]]:
    from deeptrace.detectors import DEFAULT_DETECTOR, families

    rows = []
    for family in families().values():
        for name, summary in (family.names or {f"{family.prefix}:...": family.summary}).items():
            extra = install_command(family.extra) if family.missing and family.extra else None
            rows.append(
                {
                    "name": name,
                    "default": name == DEFAULT_DETECTOR,
                    "summary": summary,
                    "ready": not family.missing,
                    "needs": list(family.missing),
                    "install": extra,
                    "origin": family.origin,
                }
            )
    return rows


def _baselines() -> list[dict[str, Any]]:
    """The paper's baselines as rows of the same kind, each with what is known of it under "paper"."""
    from deeptrace.detectors import families
    from deeptrace.detectors.vlm.paper_models import PAPER_MODELS

    family = families()["openai"]
    rows = []
    for model in PAPER_MODELS:
        facts = {
            "model": model.name,
            "model_id": model.model_id,
            "served": model.served,
            "sampling": str(model.sampling),
            "space": model.space,
            "licence": model.licence,
            "weights_gib": model.weights_gib,
            "note": model.note,
        }
        rows.append(
            {
                "name": model.detector + ("" if model.served else "@URL"),
                "default": False,
                "summary": f"{model.name}, a baseline of the paper",
                "ready": not family.missing,
                "needs": list(family.missing),
                "install": install_command(family.extra) if family.missing and family.extra else None,
                "origin": family.origin,
                "paper": facts,
            }
        )
    return rows


def _table(rows: list[dict[str, Any]]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from deeptrace.cli.console import printable

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("detector", "what it is", "state"):
        table.add_column(name, no_wrap=name == "detector")
    for row in rows:
        state = "default" if row["default"] else "ready" if row["ready"] else f"needs: {row['install'] or row['needs']}"
        table.add_row(*(Text(printable(str(text))) for text in (row["name"], row["summary"], state)))
    return table


def _paper_table(rows: list[dict[str, Any]]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        title="The paper's baselines, run through a server (the open ones also here: hf:MODEL)",
        title_justify="left",
    )
    table.add_column("model", no_wrap=True)
    table.add_column("detector; frames, boxes, licence, weights in bf16", overflow="fold")
    table.caption = (
        "What is not known for sure is left out; --json names it. Cache and activations come on top of weights."
    )
    table.caption_justify = "left"
    for row in rows:
        paper = row["paper"]
        facts = [
            paper["sampling"],
            paper["space"] and f"boxes in {paper['space']}",
            paper["licence"],
            "the vendor's weights" if paper["served"] else f"{paper['weights_gib']:g} GiB",
        ]
        table.add_row(paper["model"], f"{row['name']}\n{', '.join(fact for fact in facts if fact)}")
    return table
