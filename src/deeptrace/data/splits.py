"""Splits that do not leak: by unique video, by source, and leave-one-generator-out; and a check of any split.

A generated video has up to six rows. Splitting rows puts one clip on both sides; everything here splits samples, one
a video, or whole sources. Every split is a function of the seed and of the set of samples, not of their order.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from deeptrace.errors import SettingsError
from deeptrace.schema import Label, Sample

__all__ = [
    "DEFAULT_RATIOS",
    "Fold",
    "Leak",
    "apply_split",
    "find_leaks",
    "leave_one_generator_out",
    "split_by_source",
    "split_by_video",
]

DEFAULT_RATIOS: Mapping[str, float] = {"train": 8.0, "val": 1.0, "test": 1.0}
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Fold:
    """One fold of leave-one-generator-out.

    Attributes:
        held_out: the generator that only the test side has.
        split: "train" or "test" by video id.
    """

    held_out: str
    split: dict[str, str]


@dataclass(frozen=True)
class Leak:
    """Something that stands in more than one split.

    Attributes:
        kind: "video", "file", "group" or "source".
        value: the id, path, group or source.
        splits: the splits it stands in, sorted.
        videos: the videos concerned.
    """

    kind: str
    value: str
    splits: tuple[str, ...]
    videos: tuple[str, ...]


def split_by_video(
    samples: Iterable[Sample],
    *,
    ratios: Mapping[str, float] = DEFAULT_RATIOS,
    seed: int = 0,
    group_of: Callable[[Sample], str] | None = None,
) -> dict[str, str]:
    """Split by unique video, each class in the same ratio: split name by video id.

    Args:
        samples: one a video.
        ratios: share of each split, in any unit; 8:1:1 by default.
        seed: another seed, another split.
        group_of: videos with an equal group stay together (pairs of one source clip, near-duplicates); such a group
            counts by its size. By default each video is its own group.

    Raises:
        SettingsError: ratios that are invalid, or one video given twice.
    """
    shares = _shares(ratios)
    groups = _groups(samples, group_of or (lambda sample: sample.video_id))
    assignment: dict[str, str] = {}
    strata: dict[str, list[list[Sample]]] = defaultdict(list)
    for _, members in sorted(groups.items()):
        strata["+".join(sorted({_class(sample) for sample in members}))].append(members)
    for name, units in sorted(strata.items()):
        rng = np.random.default_rng([seed, *name.encode()])
        order = rng.permutation(len(units))
        _fill([units[i] for i in order], shares, assignment)
    return assignment


def split_by_source(
    samples: Iterable[Sample],
    *,
    ratios: Mapping[str, float] = DEFAULT_RATIOS,
    seed: int = 0,
    group_of: Callable[[Sample], str | None] | None = None,
) -> dict[str, str]:
    """Split whole generators and real sources, never clips of one: the test side's sources are all unseen.

    The largest sources are placed first, each where most is missing, separately for each class; ratios are met only
    as well as the sources' sizes allow, and every split gets a source of each class as long as there are enough.

    Args:
        samples: one a video.
        ratios: share of each split, in any unit; 8:1:1 by default.
        seed: another seed, another split.
        group_of: sources of which two videos have an equal group stay together (a clip and its edit); such sources
            are placed as one, beside those of their classes. None for a video without a group.

    Raises:
        SettingsError: ratios that are invalid, or one video given twice.
    """
    shares = _shares(ratios)
    assignment: dict[str, str] = {}
    unique = _unique(samples)
    unit_of = _joined_sources(unique, group_of)
    units = _groups(unique, lambda sample: unit_of[_class(sample), _source(sample)])
    strata: dict[str, list[Sample]] = defaultdict(list)
    for members in units.values():
        strata["+".join(sorted({_class(sample) for sample in members}))] += members
    for name, members in sorted(strata.items()):
        sources = _groups(members, lambda sample: unit_of[_class(sample), _source(sample)])
        rng = np.random.default_rng([seed, *name.encode()])
        # sizes are drawn a little apart, so that seeds differ even where all sizes are equal
        weight = {source: len(sources[source]) * rng.uniform(0.75, 1.25) for source in sorted(sources)}
        ranked = sorted(sources, key=lambda source, weight=weight: (-weight[source], source))  # type: ignore[misc]
        _fill([sources[source] for source in ranked], shares, assignment, spread=True)
    return assignment


def leave_one_generator_out(samples: Iterable[Sample], *, seed: int = 0) -> Iterator[Fold]:
    """One fold a generator: it is the test side's only one, and no clip of it is trained on.

    Real videos are dealt over the folds, whole sources where there are at least as many as generators, so that each
    is tested on once and never trained on in the same fold.

    Raises:
        SettingsError: fewer than two generators, or one video given twice.
    """
    unique = _unique(samples)
    fakes = [sample for sample in unique if sample.label is Label.FAKE]
    reals = [sample for sample in unique if sample.label is Label.REAL]
    generators = sorted({_source(sample) for sample in fakes})
    if len(generators) < 2:
        raise SettingsError("leave-one-generator-out", f"needs two generators or more but got {len(generators)}")
    units = _groups(reals, _source)
    if len(units) < len(generators):
        units = _groups(reals, lambda sample: sample.video_id)
    rng = np.random.default_rng(seed)
    names = sorted(units)
    rng.shuffle(names)
    names.sort(key=lambda name: -len(units[name]))  # stable: ties stay shuffled
    dealt: dict[str, list[Sample]] = {generator: [] for generator in generators}
    for name in names:
        least = min(generators, key=lambda generator: (len(dealt[generator]), generator))
        dealt[least].extend(units[name])
    for generator in generators:
        tested = {sample.video_id for sample in dealt[generator]}
        tested |= {sample.video_id for sample in fakes if _source(sample) == generator}
        yield Fold(generator, {s.video_id: "test" if s.video_id in tested else "train" for s in [*fakes, *reals]})


def apply_split(samples: Iterable[Sample], assignment: Mapping[str, str]) -> list[Sample]:
    """Samples with their `split` set; a sample without an assignment keeps its own."""
    return [sample.model_copy(update={"split": assignment.get(sample.video_id, sample.split)}) for sample in samples]


def find_leaks(
    samples: Iterable[Sample],
    *,
    group_of: Callable[[Sample], str | None] | None = None,
    sources: bool = False,
) -> list[Leak]:
    """What stands in more than one split: a video, a file, a group, and (where asked) a source.

    Args:
        samples: with their `split`; those without one are left out.
        group_of: videos that must stay together have an equal group; None for a video without one.
        sources: whether a source in two splits counts (it does for splits by source, not for splits by video).
    """
    keys: dict[str, Callable[[Sample], str | None]] = {
        "video": lambda sample: sample.video_id,
        "file": lambda sample: sample.path or None,
    }
    if group_of is not None:
        keys["group"] = group_of
    if sources:
        keys["source"] = lambda sample: sample.source
    seen: dict[tuple[str, str], list[Sample]] = defaultdict(list)
    for sample in samples:
        if sample.split is None:
            continue
        for kind, key in keys.items():
            if (value := key(sample)) is not None:
                seen[kind, value].append(sample)
    leaks = []
    for (kind, value), members in seen.items():
        splits = tuple(sorted({sample.split for sample in members if sample.split}))
        if len(splits) > 1:
            leaks.append(Leak(kind, value, splits, tuple(sorted({sample.video_id for sample in members}))))
    return leaks


def _fill(
    units: Sequence[Sequence[Sample]], shares: Mapping[str, float], assignment: dict[str, str], *, spread: bool = False
) -> None:
    """Give each unit, in order, to the split that is furthest below its share of the videos.

    With `spread`, an empty split comes before all others, so that each gets a unit as long as they last.
    """
    total = sum(len(unit) for unit in units)
    filled = dict.fromkeys(shares, 0)
    for unit in units:

        def need(name: str, unit: Sequence[Sample] = unit) -> tuple[bool, float]:
            empty = spread and filled[name] == 0 and any(filled.values())
            return empty, shares[name] * total - filled[name] - len(unit) / 2

        best = max(shares, key=need)
        filled[best] += len(unit)
        for sample in unit:
            assignment[sample.video_id] = best


def _shares(ratios: Mapping[str, float]) -> dict[str, float]:
    total = sum(ratios.values())
    if not ratios or any(not part >= 0 for part in ratios.values()) or not 0 < total < float("inf"):
        raise SettingsError("ratios", f"expected positive shares but got {dict(ratios)}")
    return {name: part / total for name, part in ratios.items() if part > 0}


def _unique(samples: Iterable[Sample]) -> list[Sample]:
    seen: dict[str, Sample] = {}
    for sample in samples:
        if sample.video_id in seen:
            raise SettingsError(f"video {sample.video_id}", "is listed twice among the samples to split")
        seen[sample.video_id] = sample
    return [seen[video_id] for video_id in sorted(seen)]


def _groups(samples: Iterable[Sample], key: Callable[[Sample], str]) -> dict[str, list[Sample]]:
    groups: dict[str, list[Sample]] = defaultdict(list)
    for sample in _unique(samples):
        groups[key(sample)].append(sample)
    return dict(groups)


def _class(sample: Sample) -> str:
    return UNKNOWN if sample.label is None else sample.label.value


def _source(sample: Sample) -> str:
    return sample.source or UNKNOWN


def _joined_sources(
    samples: Sequence[Sample], group_of: Callable[[Sample], str | None] | None
) -> dict[tuple[str, str], str]:
    """The unit that each (class, source) belongs to: named as the source, and as all that hang together by groups."""
    joined = {(_class(sample), _source(sample)): {(_class(sample), _source(sample))} for sample in samples}
    first: dict[str, tuple[str, str]] = {}
    for sample in samples:
        group = group_of(sample) if group_of is not None else None
        if group is None:
            continue
        mine = (_class(sample), _source(sample))
        whole = joined[mine] | joined[first.setdefault(group, mine)]
        joined.update(dict.fromkeys(whole, whole))
    return {one: " + ".join(sorted(map("/".join, whole))) for one, whole in joined.items()}
