"""What the importers share: their result, boxes as they come, loose texts told apart, names as paths."""

from __future__ import annotations

import inspect
import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Literal, NamedTuple, Protocol

from deeptrace.data.annotators import AnnotationRound
from deeptrace.data.frames import ROUNDING_PIXELS, Notes
from deeptrace.data.media_join import path_below
from deeptrace.errors import DataError, DeeptraceError, VideoError
from deeptrace.geometry import Box, Interval
from deeptrace.io.atomic import short_name
from deeptrace.schema import Category, Label, Media, Sample, Trace, categories_of_tags

__all__ = [
    "Annotated",
    "DatasetReader",
    "DatasetRoot",
    "Imported",
    "MediaOf",
    "Rows",
    "Words",
    "box_in_frame",
    "clip_media",
    "clip_path",
    "dataset_reader",
    "names_apart",
    "read_each",
    "rotated_hull",
    "samples_of",
    "set_aside",
    "switched",
    "text_of",
    "with_exact_times",
]

MediaOf = Callable[[str], Media]
"""Asked for the size, rate and length of a video, with its path below the dataset's root."""

_LABELS = {
    "real": Label.REAL,
    "real video": Label.REAL,
    "fake": Label.FAKE,
    "fake video": Label.FAKE,
    "generated": Label.FAKE,
    "ai-generated": Label.FAKE,
}
_SCORE_WORDS = ("confidence", "score")


@dataclass
class Imported:
    """What an import brought.

    Attributes:
        samples: one a video, with the traces of its first annotator who marked any.
        rounds: one an annotator and video, for agreement between annotators.
        warnings: what was left out or guessed, one line a kind.
        refused: videos that make no sense; the others are here all the same.
    """

    samples: list[Sample] = field(default_factory=list)
    rounds: list[AnnotationRound] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    refused: list[DeeptraceError] = field(default_factory=list)


@dataclass(frozen=True)
class Annotated:
    """What one annotator said of one video, as an importer reads it.

    Attributes:
        where: file and row, for messages.
        path: of the video, below the dataset's root.
        media: as the export states it; None where it does not.
        traces: what was marked.
        annotator: who did.
        incomplete: something was marked that could not be read, so that no trace does not mean that none was seen.
        video_id: where the export says it; by default made of the path.
        label: the truth, where the export says it.
        identity: what differs between two videos of one path, where the export says it.
        about: further fields of the `Sample`.
    """

    where: str
    path: str
    media: Media | None
    traces: tuple[Trace, ...]
    annotator: str
    incomplete: bool = False
    video_id: str | None = None
    label: Label | None = None
    identity: str | None = None
    about: dict[str, Any] = field(default_factory=dict)


@dataclass
class Words:
    """Checklist answers, texts and numbers of one annotation, told apart as they come in.

    A ticked answer is a tag; a free text is explanation; a number is a confidence or nothing of ours. "None of the
    above" and tags that map to no category are kept out of `categories` (the latter are `unknown`).
    """

    tags: dict[str, None] = field(default_factory=dict)
    texts: dict[str, None] = field(default_factory=dict)
    score: float | None = None
    numbers: dict[str, None] = field(default_factory=dict)

    def add_tag(self, tag: str) -> None:
        """Note a ticked answer; repeats (one a keyframe) count once."""
        if tag.strip():
            self.tags.setdefault(tag.strip())

    def add_text(self, text: str) -> None:
        """Note a free text; repeats (one a keyframe) count once."""
        if text.strip():
            self.texts.setdefault(text.strip())

    def add_number(self, name: str, value: float) -> None:
        """Note a number: the confidence where the name says so and it is one, else a name in `numbers`."""
        if any(word in name.lower() for word in _SCORE_WORDS) and 0.0 <= value <= 1.0:
            self.score = value if self.score is None else self.score
        else:
            self.numbers.setdefault(name)

    @property
    def categories(self) -> tuple[Category, ...]:
        """Categories of the tags."""
        return categories_of_tags(self.tags)[0]

    @property
    def label(self) -> Label | None:
        """REAL or FAKE, where one tag says so and none the other."""
        said = {_LABELS[tag.lower()] for tag in self.tags if tag.lower() in _LABELS}
        return said.pop() if len(said) == 1 else None

    @property
    def unknown(self) -> tuple[str, ...]:
        """Tags that map to no category."""
        return tuple(tag for tag in categories_of_tags(self.tags)[1] if tag.lower() not in _LABELS)

    @property
    def explanation(self) -> str:
        """The texts, joined."""
        return " ".join(self.texts)

    def note_unused(self, where: str, notes: Notes) -> None:
        """Say which tags and numbers have no place in a trace."""
        if self.unknown:
            notes.add(where, f"no category for {', '.join(self.unknown)}")
        if self.numbers:
            notes.add(where, f"the number {', '.join(self.numbers)} has no place in a trace and was left out")


def box_in_frame(
    corners: Sequence[float], media: Media, where: str, notes: Notes
) -> Box | Literal["no area", "off frame"]:
    """A box from its corners (x0, y0, x1, y1) in pixels; what of it sticks out of the frame is cut off and noted.

    Returns:
        The box, or why there is none, which is noted too.

    Raises:
        DataError: a corner is no finite number.
    """
    x0, y0, x1, y1 = corners
    if not all(math.isfinite(corner) for corner in corners):
        raise DataError(where, f"the box makes no sense: {list(corners)}")
    if x1 <= x0 or y1 <= y0:
        notes.add(where, "the box has no area and was left out")
        return "no area"
    if x1 <= 0 or y1 <= 0 or x0 >= media.width or y0 >= media.height:
        notes.add(where, f"the box lies outside the {media.width} x {media.height} frame and was left out")
        return "off frame"
    if min(x0, y0) < -ROUNDING_PIXELS or max(x1 - media.width, y1 - media.height) > ROUNDING_PIXELS:
        notes.add(where, "the box sticks out of the frame and was clipped to it")
    try:
        return Box.from_pixels_xyxy(x0, y0, x1, y1, width=media.width, height=media.height)
    except ValueError:  # too thin for a float once it is clipped
        notes.add(where, "the box has no area and was left out")
        return "no area"


def switched(value: Any, usual: bool, where: str) -> bool:
    """A switch as tools and people's scripts write it: true, 1, "1" or "true", and what says the opposite.

    Args:
        value: as it stands in the file; None where it does not.
        usual: what holds where nothing stands.
        where: file, row and field, for messages.

    Raises:
        DataError: it is neither.

    >>> switched("False", True, "a.json"), switched(1, False, "a.json"), switched(None, True, "a.json")
    (False, True, True)
    """
    if value is None:
        return usual
    said = str(value).strip().lower() if isinstance(value, (bool, int, str)) else ""
    if said not in ("true", "1", "false", "0"):
        raise DataError(where, f"expected true or false but got {value!r}")
    return said in ("true", "1")


def rotated_hull(
    corners: Sequence[float], degrees: float, *, about: Literal["centre", "corner"]
) -> tuple[float, float, float, float]:
    """The upright box around a box turned about its centre or its upper left corner.

    Args:
        corners: (x0, y0, x1, y1) of the box before it is turned, in pixels.
        degrees: clockwise as seen, as annotation tools count.
        about: the point that stays.

    Returns:
        (x0, y0, x1, y1) in pixels; parts may lie outside the frame.
    """
    x0, y0, x1, y1 = corners
    if not degrees % 360:
        return x0, y0, x1, y1
    turn = math.radians(degrees)
    cos, sin = math.cos(turn), math.sin(turn)
    across, down = ((x0 + x1) / 2, (y0 + y1) / 2) if about == "centre" else (x0, y0)
    points = [
        (across + (x - across) * cos - (y - down) * sin, down + (x - across) * sin + (y - down) * cos)
        for x in (x0, x1)
        for y in (y0, y1)
    ]
    xs, ys = zip(*points, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def names_apart(paths: Sequence[str], folder: str = "") -> list[str]:
    """An id for each of several different paths: the file's name without its ending where that is its own.

    >>> names_apart(["videos/a/clip.mp4", "videos/b/clip.mp4", "videos/b/dog.mp4"], "videos")
    ['a/clip', 'b/clip', 'dog']
    """
    inner = [path.removeprefix(f"{folder}/") if folder else path for path in paths]
    forms = [
        [PurePosixPath(path).stem for path in inner],
        [str(PurePosixPath(path).with_suffix("")) for path in inner],
        list(paths),
    ]
    counts = [Counter(form) for form in forms]
    names = [
        next((form[at] for form, count in zip(forms, counts, strict=True) if count[form[at]] == 1), path)
        for at, path in enumerate(paths)
    ]
    return names if len(set(names)) == len(names) else list(paths)


def clip_media(path: str, ask: MediaOf | None) -> Media | None:
    """What `ask` says of a clip, without the times that were sampled; None without it."""
    return None if ask is None else ask(path).model_copy(update={"sampled_times_s": ()})


def clip_path(name: Any, folder: str, where: str) -> str:
    """A file's name of a clip as a path below the dataset's root, as `path_below`.

    Raises:
        DataError: it is no text, or nothing of a name is left.
    """
    path = path_below(name, folder) if isinstance(name, str) else None
    if path is None:
        raise DataError(where, f"expected the path of a clip but got {name!r}")
    return path


def text_of(value: Any) -> str:
    """A field's text without blanks around it; "" where it is no text."""
    return value.strip() if isinstance(value, str) else ""


class DatasetReader(Protocol):
    """A reader of a public dataset's files."""

    def __call__(
        self,
        path: str | os.PathLike[str],
        /,
        *,
        media: MediaOf | None = None,
        folder: str = ...,
        label: Label | None = None,
        source: str | None = None,
    ) -> Imported:
        """Read what `path` names.

        Args:
            path: the file, or the folder.
            media: asked for a clip's size and rate, with its path below the dataset's root; None to leave them out.
            folder: where the clips lie, below the dataset's root: put before the paths of the file.
            label: the truth of all clips, instead of what the dataset says.
            source: generator or origin of all clips, instead of what the dataset says.

        Raises:
            DataError: no such file or folder, or nothing in it makes sense.
        """
        ...


@dataclass(frozen=True)
class DatasetRoot:
    """Where a dataset's clips are, as the caller of a reader says.

    Attributes:
        ask: for a clip's size and rate; None to leave them out.
        folder: where the clips lie, below the dataset's root.
    """

    ask: MediaOf | None
    folder: str

    def path(self, name: Any, where: str) -> str:
        """A file's name of a clip as a path below the root; see `clip_path`."""
        return clip_path(name, self.folder, where)

    def media(self, path: str) -> Media | None:
        """Facts of a clip; see `clip_media`."""
        return clip_media(path, self.ask)


class Rows(NamedTuple):
    """What a reader makes of a dataset's files, as `read_each` takes it."""

    rows: Iterable[tuple[int | str, Mapping[str, Any]]]
    read: Callable[[Mapping[str, Any], str], Iterable[Annotated]]
    notes: Notes


def dataset_reader(*, folder: str) -> Callable[[Callable[[str, DatasetRoot], Rows]], DatasetReader]:
    """Make a reader with the arguments that all have, of a function that knows the rows of one dataset.

    Args:
        folder: where its clips lie, unless the caller says otherwise.
    """
    usual = folder

    def made(rows_of: Callable[[str, DatasetRoot], Rows]) -> DatasetReader:
        def reader(
            path: str | os.PathLike[str],
            /,
            *,
            media: MediaOf | None = None,
            folder: str = usual,
            label: Label | None = None,
            source: str | None = None,
        ) -> Imported:
            found = rows_of(os.fspath(path), DatasetRoot(media, folder))
            return read_each(path, *found, folder=folder, label=label, source=source)

        reader.__name__ = reader.__qualname__ = rows_of.__name__
        reader.__module__ = rows_of.__module__
        reader.__doc__ = f"{inspect.cleandoc(rows_of.__doc__ or '')}\n\nArgs and errors: as `DatasetReader`."
        return reader

    return made


def read_each(
    path: str | os.PathLike[str],
    rows: Iterable[tuple[int | str, Mapping[str, Any]]],
    read: Callable[[Mapping[str, Any], str], Iterable[Annotated]],
    notes: Notes,
    *,
    folder: str,
    label: Label | None,
    source: str | None,
) -> Imported:
    """A file of rows, each read by itself: one that makes no sense is set aside, the others are kept.

    Args:
        path: of the file, for messages.
        rows: each with its number, or its name.
        read: what a row says of a clip, or of several; given the row, and file and row for messages.
        notes: what has to be said of it, as `read` fills it.
        folder, label, source: as for `samples_of`.

    Raises:
        DataError: there is no row, or none that makes sense.
    """
    name = short_name(path)
    found: list[Annotated] = []
    refused: list[DeeptraceError] = []
    for number, row in rows:
        where = f"{name}, row {number}" if isinstance(number, int) else f"{name}, {number}"
        with set_aside(refused, where):
            found += read(row, where)
    if not found and not refused:
        raise DataError(name, "has no rows")
    return samples_of(found, notes, refused, folder=folder, label=label, source=source)


@contextmanager
def set_aside(refused: list[DeeptraceError], where: str) -> Iterator[None]:
    """What is read inside makes no sense, of whatever shape it is: why goes to `refused`, and the others are read.

    Args:
        refused: what is left out.
        where: file and row, for messages.
    """
    try:
        yield
    except (DataError, VideoError) as error:
        refused.append(error)
    except (TypeError, AttributeError, LookupError, ArithmeticError, ValueError) as error:
        why = (str(error).splitlines() or [type(error).__name__])[0][:100]
        refused.append(DataError(where, f"is not what this format has there ({why})"))


def samples_of(
    found: Iterable[Annotated],
    notes: Notes,
    refused: list[DeeptraceError],
    *,
    folder: str = "",
    label: Label | None = None,
    source: str | None = None,
) -> Imported:
    """Everything that was read as one result: a Sample a video, a round an annotator and video.

    Args:
        found: what each annotator said of each video.
        notes: what has to be said of it; more may be added.
        refused: what could not be read.
        folder: where the videos lie; has no part in their ids.
        label: the truth of all videos; None for what the export says, FAKE for those with a trace, else unknown.
        source: generator or origin of all videos.

    Raises:
        DataError: nothing could be read; the first reason.
    """
    by_path: dict[str, list[Annotated]] = {}
    for item in found:
        first = by_path.setdefault(item.path, [item])[0]
        if first is item:
            continue
        if first.identity != item.identity or first.media != item.media:
            problem = f"names {item.path!r}, as {first.where} does, but is another video"
            refused.append(DataError(item.where, problem, "Give each video a name of its own."))
        elif label is None and first.annotator == item.annotator and {first.label, item.label} == set(Label):
            problem = f"calls {item.path!r} {item.label}, and {first.where} calls it {first.label}"
            refused.append(DataError(item.where, problem))
        else:
            by_path[item.path].append(item)
    if not by_path and refused:
        raise refused[0]
    result = Imported(refused=refused)
    for made, (path, group) in zip(names_apart(list(by_path), folder), by_path.items(), strict=True):
        result.rounds += _rounds(group)
        chosen = next((item for item in group if item.traces), group[0])
        if chosen is not group[0]:
            notes.add(group[0].where, f"{group[0].annotator} marked nothing; another annotator's traces were taken")
        about = chosen.about if source is None else chosen.about | {"source": source}
        truth = label or chosen.label or (Label.FAKE if chosen.traces else None)
        result.samples.append(
            Sample(
                video_id=chosen.video_id or made,
                path=path,
                label=truth,
                media=chosen.media,
                traces=chosen.traces,
                **about,
            )
        )
    result.warnings = notes.lines()
    return result


def _rounds(group: Sequence[Annotated]) -> list[AnnotationRound]:
    """A round an annotator; a second one of the same annotator gets a number."""
    rounds: list[AnnotationRound] = []
    for number, item in enumerate(group, 1):
        name = item.annotator
        if any(other.annotator == name for other in rounds):
            name = f"{name} ({number})"
        cannot_tell = not item.traces and not item.incomplete
        rounds.append(AnnotationRound(file=item.path, annotator=name, cannot_tell=cannot_tell, traces=item.traces))
    return rounds


def with_exact_times(trace: Trace, stated: Mapping[str, Any], fps: float) -> Trace:
    """A trace with the times that our own exports state beside its frames, as long as the frames still say the same.

    Args:
        trace: as its frames say it.
        stated: `onset_s` and `offset_s`, None where they are not known; without them the frames count; and `gaps_s`, of
            each gap its two times.
        fps: frames per second.
    """
    if "onset_s" not in stated or trace.onset_s is None or trace.offset_s is None:
        return trace
    times: dict[str, Any] = {}
    for name, from_frames in (("onset_s", trace.onset_s), ("offset_s", trace.offset_s)):
        value = stated.get(name)
        if value is None:
            times[name] = None
        elif isinstance(value, (int, float)) and abs(value - from_frames) * fps <= 1.0:
            times[name] = float(value)
        else:
            return trace
    try:
        exact = [Interval(onset_s=float(low), offset_s=float(high)) for low, high in stated.get("gaps_s") or ()]
        ends = [(one, gap) for one, gap in zip(exact, trace.gaps, strict=False)]
        apart = [abs(getattr(one, end) - getattr(gap, end)) for one, gap in ends for end in ("onset_s", "offset_s")]
        if len(exact) == len(trace.gaps) and all(seconds * fps <= 1.0 for seconds in apart):
            times["gaps"] = exact
        return Trace.model_validate(trace.model_dump() | times)
    except ValueError:
        return trace
