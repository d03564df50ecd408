"""What a run is measured against: the samples of one split, with a hash of the ground truth."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from deeptrace.data import AnnotationRound, annotations_path, match_rounds, read_reward_data, read_rounds, resolve_path
from deeptrace.errors import DataError, DeeptraceError
from deeptrace.plural import plural
from deeptrace.schema import Sample
from deeptrace.urls import public_url
from deeptrace.video import probe

__all__ = ["ALL", "GroundTruth", "data_digest", "read_ground_truth", "sample_digest", "with_media"]

ALL = "all"
TRAINING = "train"
ROUNDS_FILE = "passes.jsonl"


@dataclass(frozen=True)
class GroundTruth:
    """The samples of a split and what belongs to them.

    Attributes:
        name: the dataset's name: its folder's, or that of the annotation file.
        root: folder (or URL) that media paths are relative to.
        split: name of the split, "all" for everything.
        samples: what is measured.
        training: samples of the training split, for baselines that learn; empty when there are none or they are
            measured themselves.
        rounds: annotators' rounds by video id, for samples that have some.
    """

    name: str
    root: str
    split: str
    samples: tuple[Sample, ...]
    training: tuple[Sample, ...]
    rounds: dict[str, list[AnnotationRound]]


def read_ground_truth(
    data: str | os.PathLike[str], *, split: str = "test", rounds: str | os.PathLike[str] | None = None
) -> GroundTruth:
    """Read one split of a RewardData folder or annotation file.

    Args:
        data: folder or file.
        split: "test", "val", "train", any other that the rows name, or "all".
        rounds: file of annotators' rounds; `passes.jsonl` beside the annotations by default, where there is one.

    Raises:
        DataError: nothing to read, rows that are invalid, or no video in the split; the message lists the splits.
    """
    file = annotations_path(data)
    everything = read_reward_data(file)
    samples = everything if split == ALL else [sample for sample in everything if sample.split == split]
    if not samples:
        counts = Counter(sample.split or "none" for sample in everything)
        listed = (
            ", ".join(f"{name} ({plural(count, 'video')})" for name, count in sorted(counts.items()))
            or "no video at all"
        )
        hint = f"There are: {listed}; or take 'all'."
        if counts and all(sample.split is None for sample in everything):
            hint = f"Its rows name no split: take 'all' ({plural(len(everything), 'video')})."
        raise DataError(str(data), f"has no video in split {split!r}", hint)
    root = os.path.dirname(file) if "://" not in file else file.rsplit("/", 1)[0]
    beside = os.path.join(root, ROUNDS_FILE)
    found = rounds if rounds is not None else beside if os.path.isfile(beside) else None
    matched = {} if found is None else match_rounds(samples, read_rounds(found))[0]
    shown = Path(public_url(file))
    name = shown.stem if shown.stem != "all_data" else shown.resolve().parent.name
    training = () if split in (ALL, TRAINING) else tuple(s for s in everything if s.split == TRAINING)
    return GroundTruth(
        name=name, root=root or ".", split=split, samples=tuple(samples), training=training, rounds=matched
    )


def with_media(truth: GroundTruth) -> Iterator[Sample]:
    """The samples; of those whose rows do not state size and length, as their files have it where these are at hand."""
    for sample in truth.samples:
        path = resolve_path(sample, truth.root)
        if sample.media is not None or not os.path.isfile(path):
            yield sample
            continue
        try:
            yield sample.model_copy(update={"media": probe(path)})
        except DeeptraceError:
            yield sample


def sample_digest(sample: Sample) -> str:
    """A hash of what is true of one video: label, source, frame, length and traces; where its file lies has no part."""
    stated = sample.model_dump(mode="json", include={"video_id", "label", "source", "media", "traces"})
    return hashlib.sha256(json.dumps(stated, sort_keys=True).encode()).hexdigest()


def data_digest(samples: Iterable[Sample]) -> str:
    """A hash of the ground truth of all samples, whatever their order."""
    return hashlib.sha256("\n".join(sorted(sample_digest(sample) for sample in samples)).encode()).hexdigest()
