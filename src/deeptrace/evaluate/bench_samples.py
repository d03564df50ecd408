"""Which videos of a run are worth a look: found well, missed, accused wrongly, called but in the wrong place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deeptrace.metrics import metric_sums
from deeptrace.metrics.intervals import ratio
from deeptrace.trace import Label, Sample, Verdict

__all__ = ["Shown", "worth_a_look"]

GROUPS = {
    "found": "Found, and in the right place",
    "misplaced": "Called FAKE, but in the wrong place",
    "missed": "Missed: generated, called REAL",
    "accused": "False alarms: real, called FAKE",
    "failed": "No answer",
}


@dataclass(frozen=True, slots=True)
class Shown:
    """One video to show.

    Attributes:
        group: key of `GROUPS`.
        sample: the truth.
        verdict: the answer; None when there is none.
        quality: of its traces, 0 to 1 (see `deeptrace.metrics.traces`); None where the truth has none.
    """

    group: str
    sample: Sample
    verdict: Verdict | None
    quality: float | None

    @property
    def title(self) -> str:
        """Of its group."""
        return GROUPS[self.group]


def worth_a_look(samples: Sequence[Sample], verdicts: Sequence[Verdict | None], *, each: int = 3) -> list[Shown]:
    """At most `each` videos a group, the clearest first: best quality, or most confidently wrong."""
    num, den = metric_sums(samples, verdicts)["grounded.trace_quality"]
    quality = ratio(num, den)
    groups: dict[str, list[tuple[float, Shown]]] = {name: [] for name in GROUPS}
    for sample, verdict, value in zip(samples, verdicts, quality.tolist(), strict=True):
        known = None if np.isnan(value) else value
        placed = _place(sample, verdict, known)
        if placed is not None:
            group, rank = placed
            groups[group].append((rank, Shown(group, sample, verdict, known)))
    return [
        shown
        for found in groups.values()
        for _, shown in sorted(found, key=lambda pair: (pair[0], pair[1].sample.video_id))[:each]
    ]


def _place(sample: Sample, verdict: Verdict | None, quality: float | None) -> tuple[str, float] | None:
    """Group of a video and its rank in it, lowest first; None where it belongs to none."""
    if verdict is None or verdict.label is None:
        return "failed", 0.0
    p_fake = verdict.p_fake if verdict.p_fake is not None else float(verdict.label is Label.FAKE)
    if sample.label is Label.REAL:
        return ("accused", -p_fake) if verdict.label is Label.FAKE else None
    if sample.label is not Label.FAKE:
        return None
    if verdict.label is Label.REAL:
        return "missed", p_fake
    if quality is None or not verdict.traces:
        return None
    return ("found", -quality) if quality > 0 else ("misplaced", -p_fake)
