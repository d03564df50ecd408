"""The clips of a training, and folds that never part a generator or a source."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path

import numpy as np

from deeptrace.data import read_reward_data, resolve_path
from deeptrace.errors import DataError
from deeptrace.schema import Label, Sample, Trace

__all__ = ["CAMERA", "Clip", "Kind", "fold_numbers", "read_clips"]

_PARTS_OF_LARGE_SOURCES = 8
_LARGE_SOURCE_SHARE = 0.25
UNCONFIRMED = 0.5
CAMERA = "camera"


class Kind(IntEnum):
    """What a clip is to the training."""

    REAL = 0
    GENERATED = 1
    EDITED = 2


@dataclass(frozen=True)
class Clip:
    """One clip.

    Attributes:
        name: unique, usable as a file name; begins with its folder's name where a training has several.
        path: the file.
        kind: real, generated, or a generated edit of a real clip.
        group: generator, source or matched pair: never parted by a fold.
        split: what the dataset says.
        traces: seen by eye, `score` being their weight; only generated clips have any.
        footage: of real clips, what it is: "camera", or what the dataset's `kind` says ("game", "animation" ...).
        era: the name of the folder that it came from.
    """

    name: str
    path: Path
    kind: Kind
    group: str
    split: str
    traces: tuple[Trace, ...] = ()
    footage: str = CAMERA
    era: str = ""

    @property
    def whole_group(self) -> str:
        """The group that a part of a large source is a part of, class included; else its own."""
        return self.group.partition("/")[0]

    @property
    def is_marked(self) -> bool:
        """Whether it is a generated clip with traces seen by eye."""
        return self.kind is Kind.GENERATED and bool(self.traces)


def read_clips(folders: Path | Sequence[Path], edited: str = "") -> list[Clip]:
    """All clips of RewardData folders, and the edited versions of their matched pairs.

    Args:
        folders: one or several.
        edited: folder of matched pairs below each; "" for none.

    Raises:
        DataError: annotations are invalid, a file is missing, or two folders have one name.
    """
    roots = [folders] if isinstance(folders, Path) else list(folders)
    names = Counter(root.resolve().name for root in roots)
    if twice := [name for name, count in names.items() if count > 1]:
        raise DataError(str(roots[0]), f"two folders are called {twice[0]}", "Clips are told apart by it: rename one.")
    clips = [
        replace(clip, name=f"{clip.era}__{clip.name}") if len(roots) > 1 else clip
        for root in roots
        for clip in _clips_in(root, edited)
    ]
    return _with_large_sources_parted(sorted(clips, key=lambda clip: clip.name))


def _clips_in(root: Path, edited: str) -> list[Clip]:
    clips: list[Clip] = []
    pairs: dict[str, str] = {}
    era = root.resolve().name
    for sample in read_reward_data(root):
        if sample.label is None:
            continue
        path = Path(resolve_path(sample, root))
        if not path.is_file():
            raise DataError(str(path), "no such clip", "Training needs every clip that the annotations name.")
        source = sample.source or "unknown"
        if source.startswith("matched:"):
            pairs[source.removeprefix("matched:")] = sample.split or ""
        kind = Kind.GENERATED if sample.label is Label.FAKE else Kind.REAL
        group = f"{kind.name.lower()}:{source}" if not source.startswith("matched:") else source
        rest = (sample.split or "", _weighted(sample), _footage(sample), era)
        clips.append(Clip(_file_name(sample.path), path, kind, group, *rest))
    folder = root / edited
    for path in sorted(folder.glob("*__*")) if edited else []:
        pair, _, method = path.stem.rpartition("__")
        if method != "real" and pair in pairs:
            name = _file_name(f"{edited}/{path.name}")
            clips.append(Clip(name, path, Kind.EDITED, f"matched:{pair}", pairs[pair], era=era))
    return clips


def _footage(sample: Sample) -> str:
    return next((str(row["kind"]) for row in sample.extra.get("rows", ()) if row.get("kind")), CAMERA)


def fold_numbers(clips: list[Clip], folds: int, seed: int) -> np.ndarray:
    """A fold (N,) for each clip, balanced by class, one fold for all of a group."""
    rng = np.random.default_rng(seed)
    fold_of: dict[str, int] = {}
    for generated in (True, False):
        sizes = Counter(clip.group for clip in clips if (clip.kind is Kind.GENERATED) == generated)
        groups = sorted(sizes, key=lambda group: (-sizes[group] - 8 * rng.random(), group))
        load = np.zeros(folds)
        for group in groups:
            fold_of[group] = int(load.argmin())
            load[fold_of[group]] += sizes[group]
    return np.array([fold_of[clip.group] for clip in clips])


def _with_large_sources_parted(clips: list[Clip]) -> list[Clip]:
    """Part a source of many unrelated videos (a scraped dataset) into several groups, by a hash of the name."""
    real = Counter(clip.group for clip in clips if clip.kind is Kind.REAL)
    large = {group for group, size in real.items() if size > _LARGE_SOURCE_SHARE * real.total()}

    def parted(clip: Clip) -> Clip:
        if clip.group not in large:
            return clip
        part = int(hashlib.sha256(clip.name.encode()).hexdigest(), 16) % _PARTS_OF_LARGE_SOURCES
        return replace(clip, group=f"{clip.group}/{part}")

    return [parted(clip) for clip in clips]


def _weighted(sample: Sample) -> tuple[Trace, ...]:
    """The sample's traces; one that a single annotation pass saw (`votes` of 1) weighs half."""
    rows = [row for row in sample.extra.get("rows", ()) if row.get("faketrace_bbox")]
    votes = [row.get("votes", 2) for row in rows] if len(rows) == len(sample.traces) else [2] * len(sample.traces)
    return tuple(
        trace.model_copy(update={"score": 1.0 if seen >= 2 else UNCONFIRMED})
        for trace, seen in zip(sample.traces, votes, strict=True)
    )


def _file_name(path: str) -> str:
    return path.replace("/", "__").replace(":", "_")
