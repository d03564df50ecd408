"""Questions with one right answer each, made of what is known of the traces: hallucination, counterfactuals, anomalies.

- *Pairs* (VideoHallucer: Wang et al., arXiv 2406.16338): a basic question is true of the video; its hallucinated twin
  says another kind, place or time of the same trace, and is false. Of real clips, the basic one says that nothing is
  wrong, and the hallucinated one names a trace. Who says yes to everything gets half of each pair, and no pair.
- *Counterfactual* (Feint6K: Ma et al., arXiv 2407.13094): the true explanation among altered ones: words turned into
  their opposites where it has any, explanations of other clips' traces of other kinds for the rest.
- *Features* (X2-DFD: Chen et al., arXiv 2410.06126): for each of our nine kinds, whether it can be seen, asked of
  clips in which it was marked and of as many real ones. Not among those that are asked where no kind is named.
- *Anomaly* (VANE-Bench: Gani et al., arXiv 2406.10326): which of its five kinds of inconsistency, or none.

Everything is drawn by the video's id, so that the same data gives the same questions.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence

import numpy as np

from deeptrace.geometry import Box
from deeptrace.prompts.choices import YES_NO, Question
from deeptrace.schema import Category, Label, Sample, Trace

__all__ = ["ANOMALIES", "FEATURES", "KINDS_ASKED", "questions_of"]

KINDS_ASKED = ("pairs", "counterfactual", "anomaly")
FEATURES = "features"
"""The questions of a feature assessment, which have a table of their own."""

ANOMALIES: dict[str, tuple[Category, ...]] = {
    "something changes its shape or its substance as nothing does": (
        Category.OBJECT_DISTORTION,
        Category.OBJECT_MERGING,
        Category.OBJECT_SPLITTING,
        Category.BACKGROUND_DISTORTION,
    ),
    "something looks unreal by itself, without sharpness or detail": (Category.SUDDEN_BLURRING,),
    "something passes through another thing, or along a way that it could not take": (Category.OBJECT_TRAJECTORY,),
    "something vanishes": (Category.OBJECT_DISAPPEARANCE,),
    "something appears that was not there, or is there once too often": (Category.REDUNDANT_OBJECT,),
}
"""VANE-Bench's unnatural transformation, unnatural appearance, pass-through, disappearance and sudden appearance, in
our words, and which of the nine kinds each covers. `unexpected_move` is none of the five, and is not asked about."""
_NOTHING = "none of these: nothing is wrong"

_ROWS, _COLUMNS = ("upper", "middle", "lower"), ("left", "centre", "right")
_OPPOSITES = (
    ("left", "right"), ("upper", "lower"), ("top", "bottom"), ("appears", "vanishes"), ("appear", "vanish"),
    ("merges", "splits"), ("merge", "split"), ("grows", "shrinks"), ("longer", "shorter"), ("first", "last"),
    ("foreground", "background"), ("front", "back"), ("man", "woman"), ("his", "her"),
    ("hand", "foot"), ("arm", "leg"), ("hands", "feet"), ("arms", "legs"), ("head", "tail"), ("fast", "slowly"),
    ("sharp", "blurred"), ("bend", "break"), ("dark", "bright"),
)  # fmt: skip
"""Only words whose opposite leaves a sentence that could be true: "ends down in" tells itself without the video."""
_OPTIONS = 4
_SHORTEST = 12
"""Characters of an explanation that says something."""


def questions_of(samples: Sequence[Sample], kinds: Sequence[str] = KINDS_ASKED) -> list[Question]:
    """The questions that samples give rise to; a sample without a label, or with too little known of it, gives none.

    Args:
        samples: with their traces.
        kinds: of `KINDS_ASKED`, and `FEATURES`.
    """
    texts = [
        (sample.video_id, set(trace.categories), _sentence(trace.explanation))
        for sample in samples
        for trace in sample.traces
        if len(trace.explanation) >= _SHORTEST
    ]
    found: list[Question] = []
    for sample in samples:
        if sample.label is None:
            continue
        rng = np.random.default_rng(int(hashlib.sha256(sample.video_id.encode()).hexdigest()[:8], 16))
        if "pairs" in kinds:
            found += _pairs(sample, rng)
        if "counterfactual" in kinds:
            found += _counterfactual(sample, texts, rng)
        if "anomaly" in kinds:
            found += _anomaly(sample, rng)
    return [*found, *_features(samples)] if FEATURES in kinds else found


def _features(samples: Sequence[Sample]) -> Iterator[Question]:
    """A question for each clip that is marked with a kind, and for as many real clips, whoever they are of."""
    real = [sample for sample in samples if sample.label is Label.REAL]
    for number, kind in enumerate(Category):
        marked = [
            sample
            for sample in samples
            if sample.label is Label.FAKE and any(kind in trace.categories for trace in sample.traces)
        ]
        order = np.random.default_rng(number).permutation(len(real))[: len(marked)]
        text = f"In this video, can you see that {kind.meaning}?"
        for answer, clips in (("yes", marked), ("no", [real[place] for place in sorted(order)])):
            for sample in clips:
                yield Question(
                    **_about(sample, "feature", kind.value), kind="feature", aspect=kind.value, text=text,
                    options=YES_NO, answer=answer,
                )  # fmt: skip


def _about(sample: Sample, kind: str, number: object) -> dict[str, str]:
    return {
        "id": f"{sample.video_id}/{kind}/{number}",
        "video_id": sample.video_id,
        "path": sample.path,
        "source": sample.source or "unknown",
    }


def _pair(sample: Sample, aspect: str, number: object, true: str, false: str) -> Iterator[Question]:
    for kind, text, answer in (("basic", true, "yes"), ("hallucinated", false, "no")):
        about = _about(sample, kind, f"{aspect}-{number}")
        yield Question(
            **about, kind=kind, pair=f"{sample.video_id}/{aspect}/{number}", aspect=aspect, text=text, options=YES_NO,
            answer=answer,
        )  # fmt: skip


def _pairs(sample: Sample, rng: np.random.Generator) -> Iterator[Question]:
    """A pair for each aspect of one trace; one pair of a real clip."""
    if sample.label is Label.REAL:
        kind = list(Category)[int(rng.integers(len(Category)))]
        true = "In this video, is everything as a camera would have recorded it?"
        yield from _pair(sample, "real", 0, true, f"In this video, does the following happen: {kind.meaning}?")
        return
    named = [trace for trace in sample.traces if trace.categories]
    if not named:
        return
    trace = named[int(rng.integers(len(named)))]
    kind = trace.categories[0]
    seen = {one for other in sample.traces for one in other.categories}
    begin = f"In this video, does the following happen: {kind.meaning}"
    others = [one for one in Category if one not in seen]
    if others:
        other = others[int(rng.integers(len(others)))]
        yield from _pair(sample, "kind", 0, f"{begin}?", f"In this video, does the following happen: {other.meaning}?")
    if trace.box is not None and (place := _elsewhere(trace.box, sample.traces, rng)) is not None:
        where = _place(trace.box)
        yield from _pair(
            sample, "place", 0, f"{begin}, in the {where} of the picture?", f"{begin}, in the {place} of the picture?"
        )
    times = _other_time(sample, trace)
    if times is not None:
        (onset, offset), (wrong, until) = times
        yield from _pair(
            sample, "time", 0, f"{begin}, between {onset:.1f} and {offset:.1f} seconds?",
            f"{begin}, between {wrong:.1f} and {until:.1f} seconds?",
        )  # fmt: skip


def _place(box: Box) -> str:
    """The ninth of the picture in which the middle of a box lies.

    Examples:
        >>> _place(Box(x0=0.0, y0=0.7, x1=0.2, y1=1.0)), _place(Box(x0=0.4, y0=0.4, x1=0.6, y1=0.6))
        ('lower left', 'centre')
    """
    row = _ROWS[min(int((box.y0 + box.y1) / 2 * 3), 2)]
    column = _COLUMNS[min(int((box.x0 + box.x1) / 2 * 3), 2)]
    if column == "centre":
        return "centre" if row == "middle" else f"{row} part"
    return f"{row} {column}" if row != "middle" else f"{column} part"


def _elsewhere(box: Box, traces: Sequence[Trace], rng: np.random.Generator) -> str | None:
    """A ninth that no true box touches; None where there is none."""
    boxes = [trace.box for trace in traces if trace.box is not None]
    free = []
    for row in range(3):
        for column in range(3):
            ninth = Box(x0=column / 3, y0=row / 3, x1=(column + 1) / 3, y1=(row + 1) / 3)
            if all(other.overlap(ninth) <= 0 for other in (box, *boxes)):
                free.append(_place(ninth))
    return free[int(rng.integers(len(free)))] if free else None


def _other_time(sample: Sample, trace: Trace) -> tuple[tuple[float, float], tuple[float, float]] | None:
    """When the trace is, and a time as long in which no trace is; None where it is not known, or there is none."""
    if trace.onset_s is None or trace.offset_s is None or sample.media is None:
        return None
    length = max(trace.offset_s - trace.onset_s, 0.2)
    spans = [(one.onset_s or 0.0, np.inf if one.offset_s is None else one.offset_s) for one in sample.traces]
    for start in (0.0, sample.media.duration_s - length):
        clear = all(start + length <= onset - 0.2 or start >= offset + 0.2 for onset, offset in spans)
        if start >= 0.0 and clear:
            return (trace.onset_s, trace.onset_s + length), (start, start + length)
    return None


def _counterfactual(
    sample: Sample, texts: Sequence[tuple[str, set[Category], str]], rng: np.random.Generator
) -> Iterator[Question]:
    """The true explanation of one trace among altered ones and others'."""
    told = [trace for trace in sample.traces if len(trace.explanation) >= _SHORTEST]
    if not told:
        return
    trace = told[int(rng.integers(len(told)))]
    true = _sentence(trace.explanation)
    own = {text for video_id, _, text in texts if video_id == sample.video_id}
    wrong = [text for text in _altered(true) if text not in own]
    others = [
        text
        for video_id, kinds, text in texts
        if video_id != sample.video_id and text not in own and not kinds & set(trace.categories)
    ]
    wrong = list(dict.fromkeys([*wrong[: _OPTIONS - 1], *(others[place] for place in rng.permutation(len(others)))]))
    options = [true, *wrong[: _OPTIONS - 1]]
    if len(options) < 2:
        return
    aspect = "altered" if _altered(true) else "others"
    text = "Something in this video is not as it would be in reality. Which description is of this video?"
    yield Question(
        **_about(sample, "counterfactual", 0), kind="counterfactual", aspect=aspect, text=text,
        options=tuple(options[place] for place in rng.permutation(len(options))), answer=true,
    )  # fmt: skip


def _altered(text: str) -> list[str]:
    """The text with one word after another turned into its opposite.

    Examples:
        >>> _altered("The left hand merges into the cup.")[:2]
        ['The right hand merges into the cup.', 'The left hand splits into the cup.']
    """
    found = []
    for pair in _OPPOSITES:
        for word, opposite in (pair, pair[::-1]):
            if re.search(rf"\b{word}\b", text):
                found.append(re.sub(rf"\b{word}\b", opposite, text, count=1))
                break
    return found


def _anomaly(sample: Sample, rng: np.random.Generator) -> Iterator[Question]:
    """Which of the five it is; none of them for a real clip. Clips of several, or of the ninth kind, are left out."""
    names = {name for trace in sample.traces for name, kinds in ANOMALIES.items() if set(kinds) & set(trace.categories)}
    if sample.label is Label.REAL:
        answer = _NOTHING
    elif len(names) == 1 and all(trace.categories for trace in sample.traces):
        (answer,) = names
    else:
        return
    listed = list(ANOMALIES)
    options = (*(listed[place] for place in rng.permutation(len(listed))), _NOTHING)
    yield Question(
        **_about(sample, "anomaly", 0), kind="anomaly", aspect="real" if answer == _NOTHING else "generated",
        text="What is wrong in this video?", options=options, answer=answer,
    )  # fmt: skip


def _sentence(text: str) -> str:
    return " ".join(text.split())
