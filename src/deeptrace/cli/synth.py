"""`deeptrace synth`: labelled traces put into real footage, in RewardData format."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deeptrace.cli.console import EXIT_FAILED_INPUTS, Whole, fail, interrupted, note, progress_bar
from deeptrace.cli.options import Ray, RayActors, RayCpus, Resume, ray_map
from deeptrace.plural import plural

if TYPE_CHECKING:
    from deeptrace.schema import Category

__all__ = ["synth"]


def synth(
    paths: Annotated[
        list[str],
        typer.Argument(metavar="REAL", show_default=False, help="Real clips: files, folders, patterns or URLs."),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to write the dataset to.")],
    clips: Annotated[int | None, typer.Option(min=1, help="How many to make. [default: one per real clip]")] = None,
    traces: Annotated[str, typer.Option(metavar="N..M", help="How many traces a clip gets, fewest..most.")] = "1..3",
    severity: Annotated[
        str, typer.Option(metavar="A..B", help="How bad they are, from 0 (hardly visible) to 1 (gross).")
    ] = "0.4..1",
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same clips.")] = 0,
    categories: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND", help="Only this kind of trace, such as object_merging; may be repeated. [default: all nine]"
        ),
    ] = None,
    hard_negatives: Annotated[
        bool,
        typer.Option(
            "--hard-negatives",
            help="Also compress, cut or caption clips, with and without traces, so that this is no cue.",
        ),
    ] = False,
    max_seconds: Annotated[float, typer.Option(min=0.5, max=3600, help="Use the first seconds of each clip.")] = 6.0,
    max_side: Annotated[int, typer.Option(min=64, help="Longer side of what is written, in pixels.")] = 854,
    resume: Resume = False,
    workers: Annotated[int, typer.Option(min=1, help="Clips at a time.")] = 1,
    ray: Ray = None,
    ray_actors: RayActors = None,
    ray_cpus: RayCpus = None,
) -> None:
    """Put known traces into real clips, for training and for tests.

    Writes the clips with traces, the same clips without, and all_data.json with where and when each trace is. Example:
    `deeptrace synth footage/ --out made --hard-negatives`.

    Exit code 0: all were made; 1: some clips could not be used, each is named; 130: stopped, what was done is kept.
    """
    from deeptrace.inference import expand_inputs
    from deeptrace.io.folders import refuse_within
    from deeptrace.synth.dataset import ROWS, Made, Recipe, make_dataset

    fewest, most = _range("--traces", traces)
    if not (fewest.is_integer() and most.is_integer()):
        fail(f"--traces {traces}: expected whole numbers")
    recipe = Recipe(
        seed=seed,
        categories=_categories(categories),
        traces=(int(fewest), int(most)),
        severity=_range("--severity", severity),
        hard_negatives=hard_negatives,
        max_s=max_seconds,
        max_side=max_side,
    )
    refuse_within(out, paths)
    inputs = expand_inputs(paths)
    for item in inputs:
        if item.error:
            note(Whole(item.path), f": {item.error}")
    sources = [item.path for item in inputs if not item.error]
    if not sources:
        fail("there is no real clip to start from")
    made: list[Made] = []
    with progress_bar() as bar:
        task = bar.add_task("making", total=clips or len(sources))

        def after(one: Made) -> None:
            made.append(one)
            bar.advance(task)
            if one.problem:
                note(f"left out: {one.problem}")

        try:
            with ray_map(ray, ray_actors, ray_cpus, [*sources, out]) as spread:
                make_dataset(
                    sources, out, recipe, clips=clips, resume=resume, workers=workers, spread=spread, on_clip=after
                )
        except KeyboardInterrupt:
            interrupted(f"{len(made)} done, kept in ", out, "; go on with --resume")
    good = [one for one in made if one.problem is None]
    kept = sum(one.kept for one in good)
    print(
        f"{plural(len(good), 'clip')} with {plural(sum(one.traces for one in good), 'trace')}"
        + (f", {kept} of them from before" if kept else "")
    )
    if (out / ROWS).exists():
        print(f"annotations: {out / ROWS}")
    if len(good) < len(made) or len(sources) < len(inputs):
        raise typer.Exit(EXIT_FAILED_INPUTS)


def _range(option: str, text: str) -> tuple[float, float]:
    """ "0.4..1" or "0.7" as two numbers."""
    low, dots, high = text.partition("..")
    try:
        first = float(low)
        return first, float(high) if dots else first
    except ValueError:
        fail(f"{option} {text}: expected a number, or two joined by ..")


def _categories(names: list[str] | None) -> tuple[Category, ...]:
    """The kinds called `names`; all when none are named."""
    from deeptrace.schema import Category

    unknown = sorted(set(names or ()) - {kind.value for kind in Category})
    if unknown:
        fail(f"--categories {unknown[0]}: expected one of {', '.join(kind.value for kind in Category)}")
    return tuple(Category(name) for name in names) if names else tuple(Category)
