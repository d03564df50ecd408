"""The clips of a robustness measurement, what is known of them, and how each is brought into the form of all."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deeptrace.data import resolve_path
from deeptrace.errors import DataError
from deeptrace.schema import Label, Sample
from deeptrace.video import Video
from deeptrace.video.transforms.ops import Chain, Cut, FpsCap, Step
from deeptrace.video.transforms.presets import degrade_file

__all__ = ["Form", "Subject", "choose"]


@dataclass(frozen=True)
class Subject:
    """One clip that is asked about.

    Attributes:
        sample: what is known of it; its label is.
        path: of its file.
    """

    sample: Sample
    path: str

    @property
    def name(self) -> str:
        """Unique among the clips."""
        return self.sample.video_id

    @property
    def fake(self) -> bool:
        """Whether it is generated."""
        return self.sample.label is Label.FAKE

    @property
    def group(self) -> str:
        """Its generator or source: clips of one are alike."""
        return self.sample.source or "unknown"

    @property
    def seed(self) -> int:
        """A number that is its own, wherever the file lies."""
        return int(hashlib.sha256(self.name.encode()).hexdigest()[:8], 16)


def choose(samples: Sequence[Sample], root: str, *, most: int, seed: int = 0) -> list[Subject]:
    """At most `most` clips of each class, from as many generators and sources as there are; the same seed, the same.

    More clips hold all that fewer hold.

    Raises:
        DataError: a class has no clip.
    """
    rng = np.random.default_rng(seed)
    chosen: list[Subject] = []
    for label in (Label.REAL, Label.FAKE):
        by_source: dict[str, list[Sample]] = defaultdict(list)
        for sample in samples:
            if sample.label is label:
                by_source[sample.source or "unknown"].append(sample)
        if not by_source:
            raise DataError(root, f"has no clip with the label {label}", "Both classes are needed.")
        columns = []
        for source in sorted(by_source):
            ordered = sorted(by_source[source], key=lambda one: one.video_id)
            columns.append([ordered[place] for place in rng.permutation(len(ordered))])
        order = rng.permutation(len(columns))
        deepest = max(len(column) for column in columns)
        turns = [columns[place][depth] for depth in range(deepest) for place in order if depth < len(columns[place])]
        chosen += [Subject(sample, resolve_path(sample, root)) for sample in turns[:most]]
    return chosen


@dataclass(frozen=True)
class Form:
    """What every clip is brought to before anything happens to it, so that only what happens differs.

    Attributes:
        seconds: from the start; the rest is left away.
        max_fps: frames a second, at most.
    """

    seconds: float = 4.0
    max_fps: float = 8.0

    def write(self, video: Video, path: Path, step: Step | None, *, seed: int = 0) -> None:
        """The clip in this form with `step` done to it, encoded nearly without loss.

        Raises:
            VideoError: it cannot be read or written.
        """
        steps = () if step is None else step.steps if isinstance(step, Chain) else (step,)
        degrade_file(video, path, Chain((Cut(0.0, self.seconds), FpsCap(self.max_fps), *steps)), seed=seed)
