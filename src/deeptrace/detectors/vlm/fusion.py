"""A language model and a measuring detector together: its findings in the question, the answer verified against them.

A language model names objects and reasons about them; what it is weak at (noise, sharpness, exact times, small places)
an expert measures. Feeding the expert's result to the model, and trusting the expert where the model is weak, is what
X2-DFD calls weak feature supplementing. Both are off by default and recorded with every answer.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable
from dataclasses import replace

from pydantic import BaseModel, ConfigDict, Field

from deeptrace.detectors.registry import DEFAULT_DETECTOR, load_detector
from deeptrace.metrics.logistic import expit, logit
from deeptrace.prompts import AnswerForm, Style, View, write_answer
from deeptrace.schema import Label, Outcome, Trace, Verdict
from deeptrace.video import Video

__all__ = ["Expert", "FusionOptions", "expert_of", "verified", "with_findings"]

_MOST_FINDINGS = 6
_SAID = 0.8
"""Probability that a label stands for where the model gives none: about as often as good models are right."""
_SAME_PLACE = 0.1
"""Box IoU from which two traces are of one place: people's own boxes of one trace often share no more."""
_SAME_TIME_S = 1.0
"""Seconds between two traces that can still be one: models state onsets roughly."""


class FusionOptions(BaseModel):
    """Settings of fusion, shared by all detectors that ask a language model.

    Attributes:
        findings: give the model the expert's findings in the question.
        verify: verify the model's answer against the expert's findings.
        expert: the detector that measures.
        expert_weight: of the expert's probability in a verified answer; 0 leaves the model's, 1 takes the expert's.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    findings: bool = False
    verify: bool = False
    expert: str = DEFAULT_DETECTOR
    expert_weight: float = Field(default=0.5, ge=0, le=1)


class Expert:
    """The detector that measures; loaded once, asked by one thread at a time.

    Args:
        name: of the detector.
    """

    def __init__(self, name: str) -> None:
        self._detector = load_detector(name)
        self._turn = threading.Lock()

    def examine(self, video: Video) -> Verdict:
        """Its verdict on a clip.

        Raises:
            What the detector raises: see `Detector.detect`.
        """
        with self._turn:
            return self._detector.detect(video)


def expert_of(options: FusionOptions) -> Expert | None:
    """The expert that the settings ask for, loaded; None with fusion off.

    Raises:
        UnknownDetectorError, ModelError: there is no such detector, or it does not load.
    """
    return Expert(options.expert) if options.findings or options.verify else None


def with_findings(question: str, measured: Verdict, *, form: AnswerForm, view: View) -> str:
    """The question with the expert's findings before it: boxes in the model's own space, times as it states them.

    Args:
        question: what would be asked; a "<video> " mark stays in front.
        measured: the expert's verdict; one without a label adds nothing.
        form: of the answer asked for; parts it does not ask for are left out.
        view: what the model is shown.
    """
    if measured.label is None or measured.detector is None:
        return question
    mark = "<video> " if question.startswith("<video> ") else ""
    told = write_answer(
        measured.label,
        measured.traces[:_MOST_FINDINGS],
        form=replace(form, style=Style.JSON),
        view=view,
        p_fake=None if measured.p_fake is None else round(measured.p_fake, 2),
    )
    boxes = f", boxes in {form.space.wording}" if form.box else ""
    return (
        f"{mark}A measuring program, {measured.detector.name}, looked at every part of this video. It sees no objects "
        f"and can be wrong. It found (times in seconds{boxes}): {told} Check each finding against what you see. "
        + question.removeprefix(mark)
    )


def verified(said: Verdict, measured: Verdict, *, weight: float) -> Verdict:
    """The model's verdict, verified against the expert's.

    The two probabilities are averaged in log odds; FAKE from one half. A model that gives no probability counts as
    0.8 sure of its label. Traces of a FAKE answer stay the model's, and get from the expert what they lack: the box
    and times of the measured trace they overlap most. Where the expert turns REAL into FAKE, the traces are its own;
    where it turns FAKE into REAL, none are left.

    Args:
        said: the model's verdict; one without a label comes back as it is.
        measured: the expert's; without a probability it verifies nothing, and a warning says so.
        weight: of the expert, in [0, 1].

    Returns:
        The verdict, with both probabilities in its warnings.
    """
    if said.outcome is not Outcome.SCORED or said.label is None:
        return said
    name = "the expert" if measured.detector is None else measured.detector.name
    if measured.p_fake is None:
        why = measured.error or "it gives no probability"
        return said.model_copy(update={"warnings": (*said.warnings, f"not verified by {name}: {why}")})
    stated = said.p_fake if said.p_fake is not None else _SAID if said.label is Label.FAKE else 1 - _SAID
    odds = (1 - weight) * _log_odds(stated) + weight * _log_odds(measured.p_fake)
    p_fake = float(expit(odds))
    # At no weight the model's own label stands, also where its own probability contradicts it.
    label = said.label if weight == 0 else Label.FAKE if p_fake >= 0.5 else Label.REAL
    note = f"verified by {name}: p_fake {stated:.2f} said, {measured.p_fake:.2f} measured, {p_fake:.2f} together"
    if label is not said.label:
        note += f"; {said.label} turned into {label}"
    traces, warnings = _verified_traces(said, measured, label)
    return said.model_copy(
        update={
            "label": label,
            "p_fake": p_fake,
            "traces": traces,
            "warnings": (*said.warnings, note, *warnings),
        }
    )


def _verified_traces(said: Verdict, measured: Verdict, label: Label) -> tuple[tuple[Trace, ...], list[str]]:
    if label is Label.REAL:
        return (said.traces if said.label is Label.REAL else ()), []
    if said.label is Label.REAL:
        return measured.traces, []
    warnings, kept = [], []
    for number, trace in enumerate(said.traces, 1):
        found = _nearest(trace, measured.traces)
        if found is None and measured.traces:
            warnings.append(f"trace {number}: nothing was measured there")
        kept.append(trace if found is None else _completed(trace, found))
    return tuple(kept) or measured.traces, warnings


def _nearest(trace: Trace, measured: Iterable[Trace]) -> Trace | None:
    """The measured trace of the same place and time that overlaps most; a part that one of the two lacks is no bar."""
    best, least = None, (0.0, math.inf)
    for found in measured:
        place = 1.0 if trace.box is None or found.box is None else trace.box.iou(found.box)
        apart_s = _apart_s(trace, found)
        if place >= _SAME_PLACE and apart_s <= _SAME_TIME_S and (-place, apart_s) < least:
            best, least = found, (-place, apart_s)
    return best


def _apart_s(trace: Trace, found: Trace) -> float:
    """Seconds between the two, 0 where they overlap; a trace without an end is the moment of its onset."""
    if trace.onset_s is None or found.onset_s is None:
        return 0.0
    ends = (one.onset_s if one.offset_s is None else one.offset_s for one in (trace, found))
    trace_end, found_end = (end or 0.0 for end in ends)
    return max(found.onset_s - trace_end, trace.onset_s - found_end, 0.0)


def _completed(trace: Trace, found: Trace) -> Trace:
    """The trace with what it lacks."""
    lacking: dict[str, object] = {}
    if trace.box is None:
        lacking |= {"box": found.box, "keyframes": found.keyframes}
    if trace.onset_s is None:
        lacking["onset_s"] = found.onset_s
    if trace.offset_s is None and found.offset_s is not None and found.offset_s >= (trace.onset_s or 0.0):
        lacking["offset_s"] = found.offset_s
    if not trace.categories:
        lacking["categories"] = found.categories
    return trace.model_copy(update=lacking)


def _log_odds(p: float) -> float:
    sure = min(max(p, 1e-4), 1 - 1e-4)
    return float(logit(sure))
