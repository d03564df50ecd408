"""The one rule of each feature that tells most, in words: "at most 15 frames/s: 72 % of fake, 14 % of real"."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deeptrace.data.audit.facts import FileFacts
from deeptrace.data.audit.features import Column, Feature

__all__ = ["Exclusive", "Rule", "best_rule", "exclusive_sizes"]

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
        source: whose it is.
        clips: how many of its clips have it.
        of: how many clips it has in all.
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
