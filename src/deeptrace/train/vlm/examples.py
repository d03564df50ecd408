"""Examples: which videos with which of their traces the model answers for, and in which order."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deeptrace.benchmark.ground_truth import read_ground_truth
from deeptrace.data import resolve_path
from deeptrace.data.exporters.conversations import Per
from deeptrace.errors import DataError
from deeptrace.schema import Label, Sample, Trace
from deeptrace.train.vlm.settings import DataPart

__all__ = ["Example", "epoch_order", "examples_of", "read_examples"]


@dataclass(frozen=True)
class Example:
    """One question with its answer, before anything is decoded.

    Attributes:
        sample: the video.
        label: its label, which it has.
        traces: those that the answer names: one, all, or none.
        path: of the file.
        part: which dataset of the mixture it comes from.
    """

    sample: Sample
    label: Label
    traces: tuple[Trace, ...]
    path: str
    part: int = 0


def examples_of(
    samples: Sequence[Sample], root: str | os.PathLike[str], *, per: Per = "row", part: int = 0
) -> list[Example]:
    """One example a trace ("row"; a video without traces gives one, too), or one a "video".

    Raises:
        DataError: a sample has no label, or its path leads out of `root`.
    """
    found = []
    for sample in samples:
        if sample.label is None:
            raise DataError(f"video {sample.video_id}", "has no label to train on")
        groups: list[tuple[Trace, ...]] = [sample.traces]
        if per == "row" and sample.traces:
            groups = [(trace,) for trace in sample.traces]
        path = resolve_path(sample, root)
        found += [Example(sample, sample.label, group, path, part) for group in groups]
    return found


def read_examples(parts: Sequence[DataPart], *, per: Per = "row") -> list[Example]:
    """The examples of all datasets of a mixture.

    Raises:
        DataError: a dataset cannot be read, has no video in the split, or a sample no label.
    """
    found: list[Example] = []
    for number, part in enumerate(parts):
        truth = read_ground_truth(part.path, split=part.split)
        found += examples_of(truth.samples, truth.root, per=per, part=number)
    return found


def epoch_order(
    examples: Sequence[Example], parts: Sequence[DataPart], *, seed: int, epoch: int, balance: bool
) -> list[int]:
    """Indices of the examples of one epoch, shuffled; a pure function of its arguments.

    Each dataset's examples come `repeat` times, a fraction of a time as a random share. With `balance` the rarer label
    is drawn again until both are as many, every example of it as often as any other, give or take one.

    Raises:
        DataError: `balance` with examples of one label only.
    """
    rng = np.random.default_rng([seed, epoch])
    chosen: list[int] = []
    for number, part in enumerate(parts):
        own = [index for index, example in enumerate(examples) if example.part == number]
        chosen += _repeated(own, round(part.repeat * len(own)), rng)
    if balance:
        by_label = {label: [i for i in chosen if examples[i].label is label] for label in Label}
        most = max(len(indices) for indices in by_label.values())
        if not all(by_label.values()):
            raise DataError("balance", "the examples are all of one label", "Add the other, or set balance to false.")
        chosen = [index for indices in by_label.values() for index in _repeated(indices, most, rng)]
    return [chosen[k] for k in rng.permutation(len(chosen))]


def _repeated(indices: list[int], count: int, rng: np.random.Generator) -> list[int]:
    """`count` of `indices`: each as often as any other, which come once more is random."""
    if not indices:
        return []
    whole, rest = divmod(count, len(indices))
    return indices * whole + [indices[k] for k in sorted(rng.permutation(len(indices))[:rest])]
