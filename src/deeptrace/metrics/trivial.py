"""What needs no model: trivial predictions that stand in every table, and annotators scored as if they were models."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from deeptrace.geometry import Box
from deeptrace.schema import DetectorInfo, Label, Outcome, Sample, Trace, Verdict

__all__ = ["BASELINES", "all_fake", "all_real", "annotator_verdicts", "boxed_fakes", "mean_box", "trivial_baselines"]

FULL_FRAME = Box(x0=0.0, y0=0.0, x1=1.0, y1=1.0)
CENTER = Box(x0=0.25, y0=0.25, x1=0.75, y1=0.75)

BASELINES = ("all_real", "all_fake", "full_frame_box", "center_box", "training_mean_box")
"""Names of `trivial_baselines`, in the table's order. (Metadata alone is a trained baseline: `deeptrace.data`.)"""


def all_real(samples: Iterable[Sample]) -> list[Verdict]:
    """REAL for every video."""
    return _same(samples, Label.REAL, "all_real", lambda _: ())


def all_fake(samples: Iterable[Sample]) -> list[Verdict]:
    """FAKE for every video, without a trace."""
    return _same(samples, Label.FAKE, "all_fake", lambda _: ())


def boxed_fakes(samples: Iterable[Sample], box: Box, *, name: str) -> list[Verdict]:
    """FAKE for every video, with `box` from 0 s to its end."""

    def trace(sample: Sample) -> tuple[Trace, ...]:
        end = sample.media.duration_s if sample.media is not None else None
        return (Trace(box=box, onset_s=0.0, offset_s=end),)

    return _same(samples, Label.FAKE, name, trace)


def mean_box(training: Iterable[Sample]) -> Box | None:
    """The mean of the true traces' corners in `training`; None when none has a box.

    Examples:
        >>> a, b = Trace(box=Box(x0=0.0, y0=0.0, x1=0.5, y1=0.5)), Trace(box=Box(x0=0.5, y0=0.5, x1=1.0, y1=1.0))
        >>> mean_box([Sample(video_id="v", path="v.mp4", traces=(a, b))]).as_tuple()
        (0.25, 0.25, 0.75, 0.75)
        >>> print(mean_box([]))
        None
    """
    corners = [trace.box.as_tuple() for sample in training for trace in sample.traces if trace.box is not None]
    return Box.from_fractions(*np.mean(corners, axis=0)) if corners else None


def trivial_baselines(
    samples: Sequence[Sample], *, training: Iterable[Sample] | None = None
) -> dict[str, list[Verdict]]:
    """All trivial predictions for `samples`, by name; `training_mean_box` only where `training` has boxes.

    Examples:
        >>> found = trivial_baselines([Sample(video_id="v", path="v.mp4")])
        >>> {name: str(verdicts[0].label) for name, verdicts in found.items()}
        {'all_real': 'REAL', 'all_fake': 'FAKE', 'full_frame_box': 'FAKE', 'center_box': 'FAKE'}
        >>> found["center_box"][0].traces[0].box.as_tuple()
        (0.25, 0.25, 0.75, 0.75)
    """
    out = {
        "all_real": all_real(samples),
        "all_fake": all_fake(samples),
        "full_frame_box": boxed_fakes(samples, FULL_FRAME, name="full_frame_box"),
        "center_box": boxed_fakes(samples, CENTER, name="center_box"),
    }
    if training is not None and (box := mean_box(training)) is not None:
        out["training_mean_box"] = boxed_fakes(samples, box, name="training_mean_box")
    return out


def annotator_verdicts(annotated: Iterable[Sample]) -> list[Verdict]:
    """One annotator's traces as a model's verdicts, to score against another's: the annotator ceiling.

    A video in which the annotator drew something is FAKE, else REAL; the traces keep their order and confidence.

    Examples:
        >>> seen = Sample(video_id="a", path="a.mp4", traces=(Trace(onset_s=1.0),))
        >>> [str(verdict.label) for verdict in annotator_verdicts([seen, Sample(video_id="b", path="b.mp4")])]
        ['FAKE', 'REAL']
    """
    info = DetectorInfo(name="annotator", version="1")
    return [
        Verdict(
            video=sample.path,
            outcome=Outcome.SCORED,
            label=Label.FAKE if sample.traces else Label.REAL,
            traces=sample.traces,
            detector=info,
        )
        for sample in annotated
    ]


def _same(
    samples: Iterable[Sample], label: Label, name: str, traces: Callable[[Sample], tuple[Trace, ...]]
) -> list[Verdict]:
    info = DetectorInfo(name=f"baseline:{name}", version="1")
    return [
        Verdict(video=s.path, outcome=Outcome.SCORED, label=label, traces=traces(s), detector=info) for s in samples
    ]
