"""What the importers share: their result, boxes by frame index to traces, and loose texts to categories."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from deeptrace.data.passes import AnnotationPass
from deeptrace.errors import DataError
from deeptrace.geometry import Box, Keyframe, Tube
from deeptrace.trace import Category, Label, Media, Sample, Trace, categories_of_tags

__all__ = ["Imported", "Words", "sample_of", "trace_of_stretch"]


@dataclass
class Imported:
    """What an import brought.

    Attributes:
        samples: one a video, with the traces of its first annotator.
        passes: one an annotator and video, for agreement between annotators.
        warnings: what was left out or guessed, one line each.
    """

    samples: list[Sample] = field(default_factory=list)
    passes: list[AnnotationPass] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass
class Words:
    """Checklist answers and free texts of one annotation, told apart as they come in.

    A ticked answer is a tag; of a text's lines, all are explanation. "None of the above" and tags that map to no
    category are kept out of `categories` (the latter are `unknown`).
    """

    tags: dict[str, None] = field(default_factory=dict)
    texts: dict[str, None] = field(default_factory=dict)

    def add_tag(self, tag: str) -> None:
        """Note a ticked answer; repeats (one a keyframe) count once."""
        if tag.strip():
            self.tags.setdefault(tag.strip())

    def add_text(self, text: str) -> None:
        """Note a free text; repeats (one a keyframe) count once."""
        if text.strip():
            self.texts.setdefault(text.strip())

    @property
    def categories(self) -> tuple[Category, ...]:
        """Categories of the tags."""
        return categories_of_tags(self.tags)[0]

    @property
    def unknown(self) -> tuple[str, ...]:
        """Tags that map to no category."""
        return categories_of_tags(self.tags)[1]

    @property
    def explanation(self) -> str:
        """The texts, joined."""
        return " ".join(self.texts)


def trace_of_stretch(
    boxes: Sequence[tuple[int, Box]], first: int, end: int, fps: float, words: Words, *, where: str
) -> Trace:
    """The trace of one unbroken stretch of frames.

    Args:
        boxes: (frame index from 0, box), the keyframes in the stretch; between them the box moves linearly.
        first: index of the stretch's first frame.
        end: index of the frame after its last.
        fps: frames per second.
        words: what was said of it.
        where: for messages.

    Raises:
        DataError: no box in the stretch, or a stretch that ends before it begins.
    """
    if not boxes:
        raise DataError(where, f"frames {first} to {end} have no box")
    if not 0 <= first < end:
        raise DataError(where, f"expected a stretch of frames but got {first} to {end}")
    tube = Tube(
        onset_s=first / fps,
        offset_s=end / fps,
        keyframes=tuple(Keyframe(time_s=index / fps, box=box) for index, box in sorted(dict(boxes).items())),
    )
    return Trace.from_tube(tube, categories=words.categories, explanation=words.explanation)


def sample_of(
    video_id: str,
    path: str,
    media: Media,
    traces: Iterable[Trace],
    *,
    label: Label | None,
    source: str | None,
    extra: dict[str, Any],
) -> Sample:
    """A Sample; FAKE when it has a trace and no label was stated."""
    found = tuple(traces)
    truth = label if label is not None else (Label.FAKE if found else None)
    return Sample(video_id=video_id, path=path, label=truth, source=source, media=media, traces=found, extra=extra)
