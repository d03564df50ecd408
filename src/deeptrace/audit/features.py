"""What metadata alone says of a clip, as columns a classifier can read, in groups that people have words for.

And the one rule of each feature that tells most, in words: "at most 15 frames/s: 72 % of fake, 14 % of real".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deeptrace.audit.file_facts import FileFacts

__all__ = ["FEATURES", "Column", "Exclusive", "Rule", "best_rule", "exclusive_sizes", "feature_matrix"]

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


MIN_EXCLUSIVE = 5


@dataclass(frozen=True)
class Rule:
    """One threshold or value.

    Attributes:
        column: name of the column it is about.
        text: "frame rate at most 15 frames/s".
        of_fake: share of the fake clips it holds for, in [0, 1].
        of_real: share of the real ones.
    """

    column: str
    text: str
    of_fake: float
    of_real: float

    @property
    def words(self) -> str:
        """The whole sentence."""
        return f"{self.text}: {self.of_fake:.0%} of fake, {self.of_real:.0%} of real"


@dataclass(frozen=True)
class Exclusive:
    """A picture size that only one source has.

    Attributes:
        size: "1296x720".
        source: the only source that has it.
        clips: number of its clips that have it.
        of: number of its clips in all.
        fake: whether the source is a generator.
    """

    size: str
    source: str
    clips: int
    of: int
    fake: bool


def best_rule(feature: Feature, facts: Sequence[FileFacts], fake: NDArray[np.bool_]) -> Rule | None:
    """The rule with the largest difference between the classes; None when no column varies."""
    rules = [rule for column in feature.columns for rule in _rules(column, facts, fake)]
    return max(rules, key=lambda rule: abs(rule.of_fake - rule.of_real), default=None)


def _rules(column: Column, facts: Sequence[FileFacts], fake: NDArray[np.bool_]) -> Iterator[Rule]:
    values = [column.of(item) for item in facts]
    if any(isinstance(value, str) for value in values):
        counts = Counter(str(value) for value in values)
        if len(counts) < 2:
            return
        for word, _ in counts.most_common(20):
            holds = np.array([str(value) == word for value in values])
            yield _rule(column.name, f"{column.name} {word[:80] or 'none'}", holds, fake)
        return
    numbers = np.array([np.nan if value is None else float(value) for value in values])
    levels = np.unique(numbers[~np.isnan(numbers)])
    if len(levels) < 2:
        return
    for level in levels[:-1] if len(levels) <= 200 else np.quantile(levels, np.linspace(0, 0.995, 200)):
        text = f"{column.name} at most {_number(level)} {column.unit}".strip()
        yield _rule(column.name, text, numbers <= level, fake)


def _rule(column: str, text: str, holds: NDArray[np.bool_], fake: NDArray[np.bool_]) -> Rule:
    return Rule(column, text, float(holds[fake].mean()), float(holds[~fake].mean()))


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def exclusive_sizes(
    facts: Sequence[FileFacts], fake: NDArray[np.bool_], sources: NDArray[np.str_]
) -> Iterator[Exclusive]:
    """Sizes that at least `MIN_EXCLUSIVE` clips of one source, most of it, and no other source have."""
    owners: dict[str, Counter[str]] = {}
    for item, source in zip(facts, sources.tolist(), strict=True):
        owners.setdefault(f"{item.width}x{item.height}", Counter())[source] += 1
    totals = Counter(sources.tolist())
    for size, counts in sorted(owners.items(), key=lambda pair: -sum(pair[1].values())):
        source, clips = counts.most_common(1)[0]
        if len(counts) == 1 and clips >= MIN_EXCLUSIVE and clips * 2 >= totals[source]:
            kind = bool(fake[sources == source].mean() > 0.5)
            yield Exclusive(size, source, clips, totals[source], kind)
