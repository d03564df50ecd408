"""What metadata alone says of a clip, as columns a classifier can read, in groups that people have words for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deeptrace.data.audit.facts import FileFacts

__all__ = ["FEATURES", "Column", "Feature", "feature_matrix"]

Value = float | str | None
# A value that fewer clips have teaches a tree nothing but that clip.
MIN_CLIPS = 3
MAX_VALUES = 40


@dataclass(frozen=True)
class Column:
    """One fact: a number, or a word with few values.

    Attributes:
        name: for people.
        unit: of a number; "" for words.
        of: the value of one file; None when it has none.
    """

    name: str
    unit: str
    of: Callable[[FileFacts], Value]


@dataclass(frozen=True)
class Feature:
    """A group of columns that are one thing to people ("resolution")."""

    name: str
    columns: tuple[Column, ...]


def _per_pixel(facts: FileFacts) -> float | None:
    rate = _rate(facts)
    pixels = facts.width * facts.height * (facts.fps or 0)
    return rate / pixels if rate and pixels else None


def _rate(facts: FileFacts) -> float | None:
    if facts.bit_rate:
        return facts.bit_rate
    return facts.bytes * 8 / facts.duration_s if facts.duration_s else None


def _tag(*keys: str) -> Callable[[FileFacts], str]:
    return lambda facts: ", ".join(value for key in keys if (value := facts.tags.get(key)))


FEATURES: tuple[Feature, ...] = (
    Feature(
        "resolution",
        (
            Column("size", "", lambda f: f"{f.width}x{f.height}"),
            Column("short side", "px", lambda f: float(min(f.width, f.height))),
            Column("long side", "px", lambda f: float(max(f.width, f.height))),
        ),
    ),
    Feature("aspect ratio", (Column("width / height", "", lambda f: f.width / f.height if f.height else None),)),
    Feature("frame rate", (Column("frame rate", "frames/s", lambda f: f.fps),)),
    Feature("duration", (Column("duration", "s", lambda f: f.duration_s),)),
    Feature("frame count", (Column("frames", "", lambda f: None if f.frames is None else float(f.frames)),)),
    Feature(
        "bitrate",
        (Column("bitrate", "bit/s", _rate), Column("bits a pixel", "bit", _per_pixel)),
    ),
    Feature(
        "codec",
        (
            Column("codec", "", lambda f: f.codec),
            Column("profile", "", lambda f: f.profile),
            Column("out-of-order frames", "", lambda f: "yes" if f.b_frames else "no"),
        ),
    ),
    Feature(
        "pixel format",
        (
            Column("pixel format", "", lambda f: f.pixel_format),
            Column("colour range/space/primaries/transfer", "", lambda f: f.colour),
        ),
    ),
    Feature(
        "audio track",
        (
            Column("audio track", "", lambda f: "yes" if f.has_audio else "no"),
            Column("audio codec", "", lambda f: f.audio_codec or "none"),
            Column("audio rate", "Hz", lambda f: float(f.audio_rate)),
        ),
    ),
    Feature(
        "container",
        (
            Column("container", "", lambda f: f.container),
            Column("clock", "ticks/s", lambda f: f.time_base),
            Column("streams", "", lambda f: float(f.streams)),
        ),
    ),
    Feature(
        "container tags",
        (
            Column("brand", "", _tag("major_brand", "minor_version", "compatible_brands")),
            Column("writer", "", _tag("encoder", "video:encoder", "video:handler_name", "video:vendor_id")),
            Column("tags present", "", lambda f: " ".join(sorted(f.tags))),
        ),
    ),
    Feature("file extension", (Column("file extension", "", lambda f: f.extension or "none"),)),
)


def feature_matrix(facts: Sequence[FileFacts]) -> dict[str, NDArray[np.float64]]:
    """Columns (N, C) of each feature that is not the same in every clip.

    Numbers stand as they are, a missing one as -1 (no fact of a file is negative); words as one column a value, for
    the most frequent values that at least `MIN_CLIPS` clips have.
    """
    found = {}
    for feature in FEATURES:
        columns = [part for column in feature.columns for part in _encoded([column.of(item) for item in facts])]
        varying = [column for column in columns if np.unique(column).size > 1]
        if varying:
            found[feature.name] = np.stack(varying, axis=1)
    return found


def _encoded(values: Sequence[Value]) -> list[NDArray[np.float64]]:
    if any(isinstance(value, str) for value in values):
        counts = Counter(str(value) for value in values)
        kept = [value for value, count in counts.most_common(MAX_VALUES) if count >= MIN_CLIPS]
        return [np.array([float(str(value) == word) for value in values]) for word in kept]
    return [np.array([-1.0 if value is None else float(value) for value in values])]
