"""What a run would take, clip by clip, before anything is loaded: `deeptrace detect --dry-run`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from deeptrace.detectors import Estimate, Planner
from deeptrace.errors import DeeptraceError
from deeptrace.evaluate.detect import opened
from deeptrace.evaluate.detect_inputs import Input
from deeptrace.trace import Media

__all__ = ["Planned", "dry_run"]


@dataclass(frozen=True, slots=True)
class Planned:
    """What one clip would take, or why it cannot be judged.

    Attributes:
        path: as given.
        media: facts of the clip; None when it does not open.
        estimate: what it would take; None when it cannot be judged.
        error: why not; None when it can.
    """

    path: str
    media: Media | None = None
    estimate: Estimate | None = None
    error: str | None = None


def dry_run(inputs: Iterable[Input], planner: Planner) -> Iterator[Planned]:
    """One `Planned` an input, in order; of each clip its first frame is decoded and no more."""
    for item in inputs:
        media = None
        try:
            if item.error is not None:
                raise item.error
            with opened(item.path) as video:
                media = video.media
            yield Planned(item.path, media, planner.estimate(media))
        except (DeeptraceError, OSError, MemoryError) as error:
            yield Planned(item.path, media, error=str(error).removeprefix(f"{item.path}: "))
