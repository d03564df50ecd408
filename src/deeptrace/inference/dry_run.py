"""What a run would take, clip by clip, before anything is loaded: `deeptrace detect --dry-run`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from deeptrace.detectors import Estimate, Planner
from deeptrace.errors import DeeptraceError
from deeptrace.inference.inputs import Input
from deeptrace.inference.one_clip import open_clip
from deeptrace.schema import Media
from deeptrace.urls import public_text, shown_name

__all__ = ["Planned", "dry_run"]


@dataclass(frozen=True, slots=True)
class Planned:
    """What one clip would take, or why it cannot be analysed.

    Attributes:
        path: as given.
        media: facts of the clip; None when it does not open.
        estimate: what it would take; None when it cannot be analysed.
        error: why not; None when it can.
    """

    path: str
    media: Media | None = None
    estimate: Estimate | None = None
    error: str | None = None


def dry_run(inputs: Iterable[Input], planner: Planner) -> Iterator[Planned]:
    """One `Planned` an input, in order; of each clip its first frame is decoded and no more."""
    for item in inputs:
        media, name = None, shown_name(item.path)
        try:
            if item.error is not None:
                raise item.error
            with open_clip(item.path) as video:
                media = video.media
            yield Planned(name, media, planner.estimate(media))
        except (DeeptraceError, OSError, MemoryError) as error:
            yield Planned(name, media, error=public_text(str(error)).removeprefix(f"{name}: "))
