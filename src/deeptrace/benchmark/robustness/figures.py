"""Verdicts before and after a change -> figures with intervals, whole generators and sources being drawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict

from deeptrace.benchmark.robustness.changes import strongest_box
from deeptrace.benchmark.robustness.clips import Subject
from deeptrace.detectors.baselines import statistic_of
from deeptrace.geometry import Box
from deeptrace.metrics import auroc, percentile_interval
from deeptrace.metrics.intervals import clustered_weights, ratio
from deeptrace.schema import Decision, Verdict
from deeptrace.video.transforms.ops import Step

__all__ = ["FEWEST_GROUPS", "Asked", "Figure", "Row", "left_shares", "row_of", "score_of"]


class Figure(BaseModel):
    """One number with its 95 % interval; None where the clips cannot tell.

    Attributes:
        value: the number.
        interval: from resamples that draw whole generators and sources; None where there are fewer than four.
    """

    model_config = ConfigDict(frozen=True)

    value: float | None = None
    interval: tuple[float, float] | None = None


class Row(BaseModel):
    """What one change does. Shares are in [0, 1]; changes are after minus before, over the same clips.

    Attributes:
        name, part, meaning: of the change.
        real, generated: clips with an answer before and after.
        reference: whether it is what the rows after it are compared with.
        changed: clips in which there was something to change.
        failed: clips without an answer, by outcome.
        auroc, auroc_change: of `p_fake`, or of what the detector gives in its place.
        accused, accused_change: share of real clips that are called AI-generated.
        found, found_change: share of generated clips that are.
        turned: share of the real clips that were not called AI-generated before and are now.
        lost: share of the generated clips that were called AI-generated before and are not any more.
        box: IoU of the strongest trace's box with the nearest true one, 0 where none is named; generated clips with
            true boxes.
        box_change: against before.
        own_box: IoU of the strongest trace's box before and after, 0 where it is gone; clips that had one before.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    part: str
    meaning: str
    real: int
    generated: int
    reference: bool = False
    changed: int
    failed: dict[str, int] = {}
    auroc: Figure
    auroc_change: Figure = Figure()
    accused: Figure
    accused_change: Figure = Figure()
    found: Figure
    found_change: Figure = Figure()
    turned: Figure = Figure()
    lost: Figure = Figure()
    box: Figure = Figure()
    box_change: Figure = Figure()
    own_box: Figure = Figure()


@dataclass(frozen=True)
class Asked:
    """One clip, before and after.

    Attributes:
        subject: the clip.
        before, after: verdicts.
        changed: whether there was something to change.
        step: what was done, for what it does to true traces; None for nothing.
    """

    subject: Subject
    before: Verdict
    after: Verdict
    changed: bool = True
    step: Step | None = None


def score_of(verdict: Verdict) -> float:
    """What ranks a verdict: its probability, else the statistic it rests on, else its label."""
    if verdict.p_fake is not None:
        return verdict.p_fake
    statistic = statistic_of(verdict)
    return float(verdict.decision is Decision.GENERATED) if statistic is None else statistic


def row_of(
    name: str,
    part: str,
    meaning: str,
    asked: Sequence[Asked],
    *,
    reference: bool = False,
    resamples: int = 1000,
    seed: int = 0,
) -> Row:
    """The figures of one change, or of what others are compared with, of which before and after are the same."""
    both = [one for one in asked if one.before.label is not None and one.after.label is not None]
    failed = Counter(one.after.outcome.value for one in asked if one.before.label is None or one.after.label is None)
    drawn = _Drawn(both, resamples, seed)
    fake = drawn.fake
    called = [
        np.array([verdict.decision is Decision.GENERATED for verdict in verdicts])
        for verdicts in ([one.before for one in both], [one.after for one in both])
    ]
    before, after = (np.asarray(one, bool) for one in called)
    moved = not reference
    known: dict[str, Figure] = {
        "auroc": drawn.auroc([score_of(one.after) for one in both]),
        "accused": drawn.share(after, ~fake),
        "found": drawn.share(after, fake),
        **_boxes(drawn, both, moved=moved),
    }
    if moved:
        scores = [[score_of(one.before) for one in both], [score_of(one.after) for one in both]]
        known |= {
            "auroc_change": drawn.auroc(scores[1], scores[0]),
            "accused_change": drawn.share(after.astype(float) - before, ~fake),
            "found_change": drawn.share(after.astype(float) - before, fake),
            "turned": drawn.share(after, ~fake & ~before),
            "lost": drawn.share(~after, fake & before),
        }
    counts = {"real": int((~fake).sum()), "generated": int(fake.sum()), "changed": sum(one.changed for one in both)}
    return Row(name=name, part=part, meaning=meaning, reference=reference, failed=dict(failed), **counts, **known)


FEWEST_GROUPS = 4
"""Generators or sources from which there is an interval: resamples of fewer hardly differ, and would look sure."""


class _Drawn:
    """The clips with their resamples."""

    def __init__(self, both: Sequence[Asked], resamples: int, seed: int) -> None:
        self.fake = np.array([one.subject.fake for one in both], bool)
        self._groups = [one.subject.group for one in both]
        self._resamples, self._seed = resamples, seed
        self.weights = clustered_weights(self.fake, self._groups, resamples=resamples, seed=seed)

    def auroc(self, scores: Sequence[float], less: Sequence[float] | None = None) -> Figure:
        """Of scores, less that of others."""
        if not self.fake.any() or self.fake.all():
            return Figure()
        labels = self.fake.astype(int)
        value, resampled = (auroc(labels, scores, weights=w) for w in (None, self.weights))
        if less is not None:
            value, resampled = value - auroc(labels, less), resampled - auroc(labels, less, weights=self.weights)
        return self.figure(float(value), resampled, self.fake, ~self.fake)

    def figure(self, value: float, resampled: np.ndarray, *parts: np.ndarray) -> Figure:
        """A figure of those parts (N,) of the clips; without an interval where one of them is of too few groups."""
        groups = np.array(self._groups, dtype=object)
        enough = all(len(set(groups[part])) >= FEWEST_GROUPS for part in parts)
        return _figure(value, resampled) if enough else Figure(value=round(value, 4))

    def share(self, values: np.ndarray, of: np.ndarray) -> Figure:
        """Mean of values (N,) over the clips `of` (N,)."""
        if not of.any():
            return Figure()
        weights = self.weights
        if not np.isfinite(values[of]).all():
            raise AssertionError("values must be known where they count")
        resampled = ratio((weights * np.where(of, values, 0.0)).sum(axis=1), (weights * of).sum(axis=1))
        return self.figure(float(values[of].mean()), resampled[np.isfinite(resampled)], of)


def _figure(value: float, resampled: np.ndarray) -> Figure:
    limits = percentile_interval(resampled)
    return Figure(
        value=round(value, 4), interval=None if limits is None else (round(limits[0], 4), round(limits[1], 4))
    )


def _boxes(drawn: _Drawn, both: Sequence[Asked], *, moved: bool) -> dict[str, Figure]:
    truth = [_true_boxes(one) for one in both]
    with_truth = np.array([bool(boxes) for boxes in truth], bool)
    said_before, said_after = ([strongest_box(v) for v in (getattr(one, when) for one in both)] for when in _WHEN)
    if not any(said_before) and not any(said_after):
        return {}
    now = np.array([_nearest(box, boxes) for box, boxes in zip(said_after, truth, strict=True)])
    found = {"box": drawn.share(now, with_truth)}
    if moved:
        was = np.array(
            [_nearest(box, _true_boxes(one, moved=False)) for box, one in zip(said_before, both, strict=True)]
        )
        own = np.array([_nearest(b, [a] if a else []) for a, b in zip(said_before, said_after, strict=True)])
        found |= {
            "box_change": drawn.share(now - was, with_truth),
            "own_box": drawn.share(own, np.array([box is not None for box in said_before], bool)),
        }
    return found


_WHEN = ("before", "after")


def _true_boxes(one: Asked, *, moved: bool = True) -> list[Box]:
    if not one.subject.fake:
        return []
    traces = one.subject.sample.traces
    left = [trace if one.step is None or not moved else one.step.on_trace(trace) for trace in traces]
    return [trace.box for trace in left if trace is not None and trace.box is not None]


def _nearest(box: Box | None, boxes: Sequence[Box]) -> float:
    return 0.0 if box is None or not boxes else max(box.iou(other) for other in boxes)


def left_shares(
    asked: Mapping[str, Sequence[Asked]], names: Sequence[str], *, resamples: int = 1000, seed: int = 0
) -> dict[str, Figure]:
    """How much of what a detector's AUROC has above chance is left after each change, in [0, 1] but for chance.

    After `still` it is what appearance alone carries; what is missing then is owed to motion and change (the question
    that TWLV-I, arXiv 2408.11318, asks of video models). None where the detector is no better than chance before.
    """
    found: dict[str, Figure] = {}
    for name in names:
        both = [one for one in asked.get(name, ()) if one.before.label is not None and one.after.label is not None]
        fake = np.array([one.subject.fake for one in both], bool)
        if not both or fake.all() or not fake.any():
            continue
        drawn = _Drawn(both, resamples, seed)
        before, after = ([score_of(getattr(one, when)) for one in both] for when in _WHEN)
        labels = fake.astype(int)
        above = [auroc(labels, before, weights=w) - 0.5 for w in (None, drawn.weights)]
        left = [auroc(labels, after, weights=w) - 0.5 for w in (None, drawn.weights)]
        if float(above[0]) <= 0:
            continue
        resampled = np.asarray(left[1] / np.where(above[1] > 0, above[1], np.nan))
        found[name] = drawn.figure(float(left[0] / above[0]), resampled, fake, ~fake)
    return found
