"""What the exporters to annotation tools share: their result, and samples on frames with what is lost said aloud."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from deeptrace.data.frames import ANY_KIND, Notes, TraceFrames, frames_of_trace
from deeptrace.schema import Category, Label, Media, Sample

__all__ = ["Exported", "kinds_of", "samples_on_frames"]

_FIELDS = ("label", "source", "split", "prompt")


@dataclass(frozen=True)
class Exported:
    """What an export wrote.

    Attributes:
        videos: how many.
        traces: how many of theirs.
        notes: what the format could not hold, one line a kind.
    """

    videos: int
    traces: int
    notes: tuple[str, ...]


def samples_on_frames(
    samples: Iterable[Sample],
    notes: Notes,
    *,
    holds: Collection[str] = _FIELDS,
    boxes_only: bool = False,
    exact_times: bool = False,
) -> Iterator[tuple[Sample, Media, list[TraceFrames]]]:
    """Each sample with its media and its traces on frames; what has no place in the format is noted.

    Args:
        samples: those without a stated size and rate are left out.
        notes: takes what is lost.
        holds: which of "label", "source", "split" and "prompt" the format holds.
        boxes_only: whether traces without a box are left out.
        exact_times: whether the format states a trace's times beside its frames.
    """
    for sample in samples:
        where, media = f"video {sample.video_id}", sample.media
        if media is None or media.fps is None:
            notes.add(where, "states no frame size or no frame rate and was left out")
            continue
        implied = Label.FAKE if sample.traces else None
        for name in _FIELDS:
            value = getattr(sample, name)
            if name not in holds and value is not None and (name != "label" or value is not implied):
                notes.add(where, f"the {name} has no place in this format and was left out")
        traces = []
        for number, trace in enumerate(sample.traces, 1):
            if boxes_only and trace.box is None and not trace.keyframes:
                notes.add(f"{where}, trace {number}", "has no box and was left out")
                continue
            traces.append(frames_of_trace(trace, sample, number, notes, exact_times=exact_times))
        yield sample, media, traces


def kinds_of(item: TraceFrames) -> list[str]:
    """The names of a trace's categories, or `ANY_KIND`."""
    return [Category(kind).value for kind in item.trace.categories] or [ANY_KIND]
