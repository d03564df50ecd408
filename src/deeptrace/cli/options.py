"""Options that several commands have, each written once: the same words, and the same defaults.

Where an option is not given, `deeptrace.inference` decides how many workers there are and how long a clip may take.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deeptrace.cli.console import duration, note
from deeptrace.errors import SettingsError
from deeptrace.plural import plural

if TYPE_CHECKING:
    from deeptrace.scale import RayMap, RayRunner

__all__ = [
    "DEFAULT_OUT",
    "Backbone",
    "DetectorName",
    "DetectorSettings",
    "Inputs",
    "JsonLines",
    "JsonObject",
    "Ray",
    "RayActors",
    "RayCpus",
    "RayGpus",
    "Resume",
    "Timeout",
    "Workers",
    "note_rate",
    "ray_map",
    "ray_runner",
]

DEFAULT_OUT = Path("deeptrace-out")
"""Where files go that were asked for without --out."""

Inputs = Annotated[
    list[str] | None,
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
Backbone = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Encoder of yours for baselines that have one: X-CLIP, VideoMAE, CLIP, DINOv2."),
]
JsonObject = Annotated[bool, typer.Option("--json", help="One JSON object on stdout, and nothing else.")]
Ray = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="WHERE",
        help="Work on a Ray cluster: auto for the running one, local for one of this machine alone, or its address.",
    ),
]
RayActors = Annotated[
    int | None,
    typer.Option("--ray-actors", min=1, metavar="N", help="Actors on it. [default: as many as it has room for]"),
]
RayCpus = Annotated[
    float | None,
    typer.Option("--ray-cpus", metavar="X", help="Cores for each actor, which works on as many clips. [default: 1]"),
]
RayGpus = Annotated[float | None, typer.Option("--ray-gpus", metavar="X", help="GPUs for each actor. [default: 0]")]


def ray_runner(
    where: str | None,
    actors: int | None,
    cpus: float | None,
    gpus: float | None,
    *,
    detector: str,
    settings: dict[str, Any],
    workers: int | None,
    timeout_s: float | None,
) -> RayRunner | None:
    """The runner that `--ray` and its kin ask for; None for work on this machine.

    Raises:
        SettingsError: the kin of `--ray` without it.
        DeeptraceError: see `RayRunner`.
    """
    if where is None:
        if (actors, cpus, gpus) != (None, None, None):
            raise SettingsError("--ray-actors, --ray-cpus, --ray-gpus", "are of a cluster", "Say which one: --ray.")
        return None
    from deeptrace.scale import Cluster, RayRunner

    cluster = Cluster(where, actors, 1.0 if cpus is None else cpus, gpus or 0.0)
    runner = RayRunner(detector, settings, cluster=cluster, workers=workers, timeout_s=timeout_s)
    gpu = f" and {cluster.gpus:g} GPUs" if cluster.gpus else ""
    note(f"ray {where}: {plural(runner.actors, 'actor')}, each with {cluster.cpus:g} cores{gpu}")
    return runner


def ray_map(
    where: str | None, actors: int | None, cpus: float | None, paths: Iterable[str | os.PathLike[str]]
) -> AbstractContextManager[RayMap | None]:
    """Where files are worked on without a detector, as `--ray` and its kin ask for; None for this machine.

    Args:
        where, actors, cpus: what was given.
        paths: what is read and written, as the user named it.

    Raises:
        SettingsError: the kin of `--ray` without it.
        DeeptraceError: see `RayMap`.
    """
    if where is None:
        if (actors, cpus) != (None, None):
            raise SettingsError("--ray-actors, --ray-cpus", "are of a cluster", "Say which one: --ray.")
        return nullcontext()
    from deeptrace.scale import Cluster, RayMap
    from deeptrace.scale.cluster import is_relative

    relative = any(is_relative(os.fspath(path)) for path in paths)
    found = RayMap(Cluster(where, actors, 1.0 if cpus is None else cpus), relative=relative)
    note(f"ray {where}: {plural(found.actors, 'actor')}, each with {found.cluster.cpus:g} cores")
    return found


def note_rate(runner: RayRunner | None) -> None:
    """Say how fast a cluster was, if there was one."""
    if runner is not None and runner.done:
        rate = runner.done / runner.took_s
        note(f"ray: {plural(runner.done, 'clip')} in {duration(runner.took_s)}, {rate:.3g} a second")
