"""What a run is measured against: the samples of one split, with a hash that says which truth it was."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from deeptrace.data import AnnotationPass, annotations_path, match_passes, read_passes, read_reward_data
from deeptrace.errors import DataError
from deeptrace.trace import Sample

__all__ = ["ALL", "Truth", "data_digest", "read_truth", "sample_digest"]

ALL = "all"
TRAINING = "train"
PASSES = "passes.jsonl"


@dataclass(frozen=True)
class Truth:
    """The samples of a split and what belongs to them.

    Attributes:
        name: the dataset's name: its folder's, or that of the annotation file.
        root: folder (or URL) that media paths are relative to.
        split: name of the split, "all" for everything.
        samples: what is measured.
        training: samples of the training split, for baselines that learn; empty when there are none or they are
            measured themselves.
        passes: annotation passes by video id, for samples that have some.
    """

    name: str
    root: str
    split: str
    samples: tuple[Sample, ...]
    training: tuple[Sample, ...]
    passes: dict[str, list[AnnotationPass]]


def read_truth(
    data: str | os.PathLike[str], *, split: str = "test", passes: str | os.PathLike[str] | None = None
) -> Truth:
    """Read one split of a RewardData folder or annotation file.

    Args:
        data: folder or file.
        split: "test", "val", "train", any other that the rows name, or "all".
        passes: file of annotation passes; `passes.jsonl` beside the annotations by default, where there is one.

    Raises:
        DataError: nothing to read, rows that make no sense, or no video in the split; the message lists the splits.
    """
    file = annotations_path(data)
    everything = read_reward_data(file)
    samples = everything if split == ALL else [sample for sample in everything if sample.split == split]
    if not samples:
        counts = Counter(sample.split or "none" for sample in everything)
        listed = ", ".join(f"{name} ({count} videos)" for name, count in sorted(counts.items())) or "no video at all"
        raise DataError(str(data), f"has no video in split {split!r}", f"There are: {listed}; or take 'all'.")
    root = os.path.dirname(file) if "://" not in file else file.rsplit("/", 1)[0]
    beside = os.path.join(root, PASSES)
    found = passes if passes is not None else beside if os.path.isfile(beside) else None
    matched = {} if found is None else match_passes(samples, read_passes(found))[0]
    name = Path(file).stem if Path(file).stem != "all_data" else Path(file).resolve().parent.name
    training = () if split in (ALL, TRAINING) else tuple(s for s in everything if s.split == TRAINING)
    return Truth(name=name, root=root or ".", split=split, samples=tuple(samples), training=training, passes=matched)


def sample_digest(sample: Sample) -> str:
    """A hash of what is true of one video: label, source, frame, length and traces; where its file lies has no part."""
    stated = sample.model_dump(mode="json", include={"video_id", "label", "source", "media", "traces"})
    return hashlib.sha256(json.dumps(stated, sort_keys=True).encode()).hexdigest()


def data_digest(samples: Iterable[Sample]) -> str:
    """A hash of the truth of all samples, whatever their order."""
    return hashlib.sha256("\n".join(sorted(sample_digest(sample) for sample in samples)).encode()).hexdigest()
