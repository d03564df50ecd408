"""What the exporters to annotation tools share: their result, and samples on frames with what is lost said aloud."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from deeptrace.data.frames import ANY_KIND, Notes, TraceFrames, frames_of_trace
from deeptrace.schema import Category, Label, Media, Sample

__all__ = ["Exported", "PortableNames", "kinds_of", "portable_name", "samples_on_frames"]

_FIELDS = ("label", "source", "split", "prompt")
_LONGEST, _LONGEST_PART, _KEPT = 800, 200, 16  # bytes of a path and of a part, characters beside a digest


@dataclass(frozen=True)
class Exported:
    """What an export wrote.

    Attributes:
        videos: how many.
        traces: how many of theirs.
        notes: what the format could not hold, one line a kind.
        left_out: how many videos are not in it at all; `notes` says which and why.
    """

    videos: int
    traces: int
    notes: tuple[str, ...]
    left_out: int


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
            notes.leave_out(sample.video_id, "states no frame size or no frame rate")
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


_ODD = re.compile(r'[%<>:"\\|?*\x00-\x1f]')
_DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE)


def portable_name(path: str) -> str:
    """A relative path that Windows can unpack, too: what it has no place for is written %XX; no two become one.

    >>> portable_name("set 1/a:b?.mp4.xml"), portable_name("aux.xml"), portable_name("end. /x")
    ('set 1/a%3Ab%3F.mp4.xml', '%61ux.xml', 'end.%20/x')
    """

    def part(name: str) -> str:
        name = _ODD.sub(lambda found: f"%{ord(found[0]):02X}", name)
        if _DEVICES.fullmatch(name):
            name = f"%{ord(name[0]):02X}{name[1:]}"
        return f"{name[:-1]}%{ord(name[-1]):02X}" if name.endswith((".", " ")) else name

    return "/".join(part(name) for name in path.split("/"))


class PortableNames:
    """Names of the files of one export: apart for systems that do not tell cases apart, and short enough for all."""

    def __init__(self) -> None:
        self._files: set[str] = set()
        self._folders: set[str] = set()

    def of(self, path: str, suffix: str) -> str:
        """`portable_name` of a file; a flat name with a digest where that one is taken, or too long for a file.

        >>> names = PortableNames()
        >>> names.of("b/a.mp4", ".xml"), names.of("B/a.mp4", ".xml")
        ('b/a.mp4.xml', 'a.mp4-fb2d4b9e3699.xml')
        """
        name = portable_name(f"{path}{suffix}")
        parts = name.casefold().split("/")
        folders = {"/".join(parts[:depth]) for depth in range(1, len(parts))}
        taken = name.casefold() in self._files | self._folders or folders & self._files
        if taken or len(name.encode()) > _LONGEST or max(len(part.encode()) for part in parts) > _LONGEST_PART:
            digest = hashlib.sha256(path.encode()).hexdigest()[:12]
            name, folders = portable_name(f"{path.rsplit('/', 1)[-1][:_KEPT]}-{digest}{suffix}"), set()
        self._files.add(name.casefold())
        self._folders |= folders
        return name


def kinds_of(item: TraceFrames) -> list[str]:
    """The names of a trace's categories, or `ANY_KIND`."""
    return [Category(kind).value for kind in item.trace.categories] or [ANY_KIND]
