"""The table of fresh synthetic traces in held-out camera footage, a part of detect_quality.py."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from deeptrace.detectors import Detector
from deeptrace.errors import DeeptraceError
from deeptrace.geometry import Box
from deeptrace.io.journal import read_lines
from deeptrace.io.jsonl import write_lines
from deeptrace.metrics import auroc
from deeptrace.schema import Category, Trace, Verdict
from deeptrace.synth import inject
from deeptrace.train.tracenet.clips import Clip, Kind
from deeptrace.train.tracenet.flaws import short_segment
from deeptrace.video import video_from_array

__all__ = ["CENTRE", "cell", "table_synthetic"]

CENTRE = Box(x0=0.18, y0=0.18, x1=0.82, y1=0.82)
_SYNTHETIC_COLUMNS = (
    ("iou", 9), ("iou_centre", 8), ("tiou", 7), ("tiou_whole", 7), ("onset_error_s", 9), ("kind", 6), ("auroc", 7)
)  # fmt: skip


def cell(value: float | None, width: int, digits: int) -> str:
    return f"{'-':>{width}}" if value is None else f"{value:{width}.{digits}f}"


def table_synthetic(
    clips: list[Clip], detector_of: Callable[[Clip], Detector], journal: Path, count: int
) -> dict[str, object]:
    """Plant one trace of each kind in turn, judge before and after, print and return the figures."""
    real = [clip for clip in clips if clip.kind is Kind.REAL]
    chosen = [real[i] for i in np.random.default_rng(1).permutation(len(real))[:count]]
    if not journal.is_file():
        write_lines(plant(chosen, detector_of), journal)
    rows = list(read_lines(journal))
    print(f"\nFresh synthetic traces in held-out camera footage: {len(rows)} clips\n")
    print(f"{'':24}{'n':>4}{'box IoU':>9}{'centre':>8}{'tIoU':>7}{'whole':>7}{'onset s':>9}{'kind':>6}{'AUC':>7}")
    table: dict[str, object] = {}
    for name in ("all", *(category.value for category in Category)):
        some = [row for row in rows if name in ("all", row["category"])]
        if not some:
            continue
        located = [row for row in some if row["iou"] is not None]
        labels = np.array([1] * len(some) + [0] * len(some))
        values = np.array([row["score"] for row in some] + [row["score_before"] for row in some])
        figures = {
            "n": len(some),
            **{
                key: mean(row[key] for row in located)
                for key in ("iou", "iou_centre", "tiou", "tiou_whole", "onset_error_s")
            },
            "kind": mean(float(row["category"] in row["named"]) for row in located),
            "auroc": float(auroc(labels, values)),
        }
        table[name] = figures
        cells = [cell(figures[key], width, 3) for key, width in _SYNTHETIC_COLUMNS]
        print(f"{name:24}{len(some):4d}" + "".join(cells))
    return table


def plant(clips: list[Clip], detector_of: Callable[[Clip], Detector]) -> Iterable[dict[str, object]]:
    for number, clip in enumerate(clips):
        rng = np.random.default_rng([7, number])
        category = list(Category)[number % len(Category)]
        pictures, times = short_segment(clip)
        try:
            synthetic = inject(pictures, times, category, severity=float(rng.uniform(0.4, 1.0)), rng=rng)
        except DeeptraceError:
            continue
        detector = detector_of(clip)
        before = detector.detect(video_from_array(pictures, times_s=list(times), name=clip.name, as_is=True))
        after = detector.detect(video_from_array(synthetic.frames, times_s=list(times), name=clip.name, as_is=True))
        yield synthetic_row(clip, category, synthetic.trace, before, after, float(times[-1]))


def synthetic_row(
    clip: Clip, category: Category, truth: Trace, before: Verdict, after: Verdict, end_s: float
) -> dict[str, object]:
    best = after.traces[0] if after.traces else None
    assert truth.box is not None
    assert truth.interval is not None
    whole = truth.interval.duration_s / max(end_s, truth.interval.offset_s)
    return {
        "clip": clip.name,
        "category": category.value,
        "score": (best.score or 0.0) if best else 0.0,
        "score_before": (before.traces[0].score or 0.0) if before.traces else 0.0,
        "iou": best.box.iou(truth.box) if best and best.box else None,
        "iou_centre": CENTRE.iou(truth.box),
        "tiou": best.interval.tiou(truth.interval) if best and best.interval else None,
        "tiou_whole": whole,
        "onset_error_s": abs(best.interval.onset_s - truth.interval.onset_s) if best and best.interval else None,
        "named": [c.value for c in best.categories] if best else [],
    }


def mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
