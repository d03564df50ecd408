"""Questions with one right answer each, asked of a language model about the user's clips: a table, and every answer."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from deeptrace.benchmark.ground_truth import read_ground_truth
from deeptrace.benchmark.result import Metric
from deeptrace.data import resolve_path
from deeptrace.data.exporters.questions import FEATURES, KINDS_ASKED, questions_of
from deeptrace.detectors import load_detector
from deeptrace.errors import DataError, SettingsError
from deeptrace.inference.asking import ask, askable
from deeptrace.inference.results import HOLDS, digest
from deeptrace.io.jsonl import write_json, write_lines
from deeptrace.io.run_store import RunStore, key_of
from deeptrace.metrics import percentile_interval
from deeptrace.metrics.intervals import clustered_weights, ratio
from deeptrace.prompts.choices import YES_NO, Question, asked_text, read_choice
from deeptrace.schema import Category, DetectorInfo, Outcome, Sample

__all__ = [
    "Answered",
    "FeatureRow",
    "QuestionRow",
    "QuestionTable",
    "ask_questions",
    "feature_rows",
    "make_questions",
    "question_rows",
]

QUESTIONS, ANSWERS, TABLE = "questions.jsonl", "answers.jsonl", "questions.json"

OnDone = Callable[[str, int, int], object]


class Answered(BaseModel):
    """One question and what became of it.

    Attributes:
        question: as it was asked.
        outcome: scored where the answer chooses an option; parse_failed where it chooses none; any other where there
            is no answer.
        chosen: the option.
        text: of the answer.
        error: one line, for any other outcome.
    """

    model_config = ConfigDict(frozen=True)

    question: Question
    outcome: Outcome
    chosen: str | None = None
    text: str | None = None
    error: str | None = None

    @property
    def right(self) -> bool:
        """Whether it is the right one; no choice is not."""
        return self.chosen == self.question.answer

    @property
    def is_answered(self) -> bool:
        """Whether the model said anything at all: where it could not be asked, nothing is known of it."""
        return self.outcome in (Outcome.SCORED, Outcome.PARSE_FAILED)


class QuestionRow(BaseModel):
    """The questions of one kind.

    Attributes:
        name: of the kind, and aspect; pairs as "pairs (both)".
        asked: number of questions, or of pairs.
        unanswered: of them that the model did not answer, or not both of a pair; no share counts them.
        unread: of those with an answer, the ones without a readable choice, which are wrong.
        right: share of those with an answer that is right, 0 to 100, with its interval from resamples that draw whole
            generators and sources, of which there have to be four; None where nothing was answered.
        chance: what a blind guess gets, 0 to 100.
        yes: share of yes among the answers that can be read, 0 to 100; None for other options.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    asked: int
    unanswered: int = 0
    unread: int
    right: Metric
    chance: float
    yes: float | None = None


class FeatureRow(BaseModel):
    """How well a model knows one kind of trace: its answers to "can you see it", on clips marked with it and real ones.

    Attributes:
        kind: the kind.
        marked, clean: numbers of clips that were answered about.
        unanswered: number of clips that were asked about in vain.
        found: share of the marked ones that get a yes, 0 to 100; no readable answer is none. None of no clip.
        quiet: share of the clean ones that get a no; None of no clip.
        balanced: mean of the two, 50 for a guess, with its interval from draws of generators and sources; None where
            one of them is.
        known: whether the interval lies above 50; None where clips or groups are too few for one.
    """

    model_config = ConfigDict(frozen=True)

    kind: Category
    marked: int
    clean: int
    unanswered: int = 0
    found: float | None
    quiet: float | None
    balanced: Metric
    known: bool | None


class QuestionTable(BaseModel):
    """What a model answers.

    Attributes:
        data, split: what was asked about.
        detector: who was asked.
        rows: a row a kind, pairs as a whole among them, then one an aspect.
        features: a row a kind, weakest first, where features were asked about.
        outcomes: how many questions ended how.
    """

    model_config = ConfigDict(frozen=True)

    data: str
    split: str
    detector: DetectorInfo
    rows: list[QuestionRow]
    features: list[FeatureRow] = []
    outcomes: dict[str, int]


@dataclass(frozen=True)
class Made:
    """Questions, and where their videos are.

    Attributes:
        name: of the data.
        questions: in order.
        root: folder that paths are relative to.
    """

    name: str
    questions: list[Question]
    root: str

    def path_of(self, question: Question) -> str:
        """The file that a question is about."""
        return resolve_path(Sample(video_id=question.video_id, path=question.path), self.root)


def make_questions(
    data: str | os.PathLike[str],
    *,
    split: str = "test",
    kinds: Sequence[str] = (),
    most: int | None = None,
    seed: int = 0,
) -> Made:
    """The questions that annotated clips give rise to.

    Args:
        data: RewardData folder or annotation file.
        split: of it; "all" for everything.
        kinds: of `KINDS_ASKED`, all where there are none; or `FEATURES`.
        most: videos that are drawn; None for all.
        seed: of the drawing.

    Raises:
        SettingsError: there is no such kind.
        DataError: the data cannot be read, or gives rise to no question.
    """
    if unknown := [kind for kind in kinds if kind not in (*KINDS_ASKED, FEATURES)]:
        listed = ", ".join((*KINDS_ASKED, FEATURES))
        raise SettingsError(", ".join(unknown), "is no kind of question", f"There are: {listed}.")
    truth = read_ground_truth(data, split=split)
    order = np.random.default_rng(seed).permutation(len(truth.samples))[: most or len(truth.samples)]
    drawn = {truth.samples[place].video_id for place in order}
    made = questions_of(truth.samples, kinds or KINDS_ASKED)
    questions = [question for question in made if question.video_id in drawn]
    if not questions:
        raise DataError(str(data), "gives rise to no question", "Traces need kinds, boxes, times or explanations.")
    return Made(truth.name, questions, truth.root)


def ask_questions(
    data: str | os.PathLike[str],
    detector: str,
    settings: dict[str, Any] | None = None,
    *,
    out: str | os.PathLike[str],
    split: str = "test",
    kinds: Sequence[str] = (),
    most: int | None = None,
    resume: bool = False,
    workers: int | None = None,
    resamples: int = 1000,
    seed: int = 0,
    on_done: OnDone = lambda _stage, _done, _total: None,
) -> QuestionTable:
    """Ask a language model, and count.

    Args:
        data, split, kinds, most: see `make_questions`.
        detector, settings: of a language model.
        out: folder that keeps questions, answers and the table.
        resume: go on with what `out` holds.
        workers: questions at a time of a served model; None for as many as it takes.
        resamples: for the 95 % intervals.
        seed: draws videos and resamples.
        on_done: called with a stage, how many are done, and how many there are.

    Raises:
        SettingsError: the detector is no language model, no such kind, or the folder cannot be used.
        DataError: see `make_questions`.
        UnknownDetectorError, MissingExtraError, ModelError: the detector cannot be loaded.
    """
    made = make_questions(data, split=split, kinds=kinds, most=most, seed=seed)
    model = askable(load_detector(detector, **(settings or {})))
    stated = {"detector": model.info.model_dump(mode="json")}
    about = {"data": made.name, "split": split}
    with RunStore(out, "questions", stated, resume=resume, about=about, files=(QUESTIONS, ANSWERS, TABLE)) as store:
        write_lines((question.model_dump(mode="json") for question in made.questions), store.path / QUESTIONS)
        who = digest(model.info)
        contents = {path: store.content(path) for path in {made.path_of(one) for one in made.questions}}
        keys = [key_of(contents[made.path_of(one)], who, asked_text(one)) for one in made.questions]
        found: dict[int, Answered] = {}
        for place, (key, question) in enumerate(zip(keys, made.questions, strict=True)):
            record = store.find(key)
            if record is not None and Outcome(record["outcome"]) in HOLDS:
                found[place] = _answered(question, Outcome(record["outcome"]), record["text"], record["error"])
        todo = [place for place in range(len(keys)) if place not in found]
        on_done("questions", len(found), len(keys))
        pairs = ((made.path_of(made.questions[place]), asked_text(made.questions[place])) for place in todo)
        for reply in ask(model, pairs, workers=workers):
            place = todo[reply.index]
            store.add(keys[place], {"outcome": reply.outcome.value, "text": reply.text, "error": reply.error})
            found[place] = _answered(made.questions[place], reply.outcome, reply.text, reply.error)
            on_done("questions", len(found), len(keys))
        answered = [found[place] for place in range(len(keys))]
        write_lines((one.model_dump(mode="json") for one in answered), store.path / ANSWERS)
        table = QuestionTable(
            data=made.name,
            split=split,
            detector=model.info,
            rows=list(question_rows(answered, resamples=resamples, seed=seed)),
            features=feature_rows(answered, resamples=resamples, seed=seed),
            outcomes=dict(Counter(one.outcome.value for one in answered)),
        )
        write_json(table.model_dump(mode="json"), store.path / TABLE)
        return table


def _answered(question: Question, outcome: Outcome, text: str | None, error: str | None) -> Answered:
    chosen = None if text is None else read_choice(text, question)
    if outcome is Outcome.SCORED and chosen is None:
        outcome, error = Outcome.PARSE_FAILED, "the answer chooses none of the options"
    return Answered(question=question, outcome=outcome, chosen=chosen, text=text, error=error)


def question_rows(answered: Sequence[Answered], *, resamples: int = 1000, seed: int = 0) -> Iterator[QuestionRow]:
    """The rows of the table; an answer without a readable choice is wrong, a question without an answer is nothing."""
    by_kind: dict[str, list[Answered]] = defaultdict(list)
    by_pair: dict[str, list[Answered]] = defaultdict(list)
    for one in answered:
        by_kind[one.question.kind].append(one)
        if one.question.pair:
            by_pair[one.question.pair].append(one)
    how: dict[str, Any] = {"resamples": resamples, "seed": seed}
    for kind in ("basic", "hallucinated"):
        if by_kind.get(kind):
            yield _row(kind, [[one] for one in by_kind[kind]], **how)
    whole = [pair for pair in by_pair.values() if len(pair) == 2]
    if whole:
        yield _row("pairs (both)", whole, **how)
    for aspect in dict.fromkeys(pair[0].question.aspect for pair in whole):
        yield _row(f"  {aspect}", [pair for pair in whole if pair[0].question.aspect == aspect], **how)
    for kind in ("counterfactual", "anomaly"):
        if not (mine := by_kind.get(kind)):
            continue
        yield _row(kind, [[one] for one in mine], **how)
        aspects = list(dict.fromkeys(one.question.aspect for one in mine))
        for aspect in aspects if len(aspects) > 1 else ():
            yield _row(f"  {aspect}", [[one] for one in mine if one.question.aspect == aspect], **how)


_FEWEST_GROUPS = 4
"""Generators and sources from which there is an interval, as in `deeptrace robustness`."""


def _row(name: str, units: Sequence[Sequence[Answered]], *, resamples: int, seed: int) -> QuestionRow:
    """One row; a unit, a question or a pair, is right where all of it is."""
    known = [unit for unit in units if all(one.is_answered for one in unit)]
    right = np.array([all(one.right for one in unit) for unit in known], float)
    groups = [unit[0].question.source for unit in known]
    limits = None
    if len(set(groups)) >= _FEWEST_GROUPS:
        weights = clustered_weights(np.zeros(len(known)), groups, resamples=resamples, seed=seed)
        limits = percentile_interval(100 * ratio(weights @ right, weights.sum(axis=1)))
    every = [one for unit in known for one in unit]
    read = [one for one in every if one.chosen is not None]
    yes_no = all(one.question.options == YES_NO for unit in units for one in unit)
    return QuestionRow(
        name=name,
        asked=len(units),
        unanswered=len(units) - len(known),
        unread=sum(any(one.chosen is None for one in unit) for unit in known),
        right=Metric(value=round(100 * float(right.mean()), 2) if known else None, interval=limits, support=len(known)),
        chance=round(
            100 * float(np.mean([np.prod([1 / len(one.question.options) for one in unit]) for unit in units])), 1
        ),
        yes=round(100 * float(np.mean([one.chosen == "yes" for one in read])), 1) if yes_no and read else None,
    )


_FEWEST_MARKED = 5


def feature_rows(answered: Sequence[Answered], *, resamples: int = 1000, seed: int = 0) -> list[FeatureRow]:
    """Each kind that was asked about, weakest first: what an expert should be fused for stands on top.

    X2-DFD's assessment (Chen et al., arXiv 2410.06126, "model feature assessment") orders features by balanced accuracy
    on real and fake pictures; here each kind has its own marked clips, and counts as known only where the
    interval lies above a guess.
    """
    rows = []
    for kind in Category:
        every = [one for one in answered if one.question.kind == "feature" and one.question.aspect == kind.value]
        if len({one.question.answer for one in every}) < 2:
            continue
        mine = [one for one in every if one.is_answered]
        marked = np.array([one.question.answer == "yes" for one in mine], bool)
        right = np.array([one.right for one in mine], float)
        groups = [one.question.source for one in mine]

        def balanced(weights: np.ndarray, right: np.ndarray = right, marked: np.ndarray = marked) -> np.ndarray:
            """(R,) mean of both shares, of weights (R, N)."""
            parts = [(weights[:, side] @ right[side]) / weights[:, side].sum(axis=1) for side in (marked, ~marked)]
            return np.asarray(50 * (parts[0] + parts[1]))

        many = all(len({g for g, at in zip(groups, side, strict=True) if at}) > 1 for side in (marked, ~marked))
        limits = None
        if many and int(marked.sum()) >= _FEWEST_MARKED:
            limits = percentile_interval(balanced(clustered_weights(marked, groups, resamples=resamples, seed=seed)))
        found, quiet = (float(right[side].mean()) if side.any() else None for side in (marked, ~marked))
        both = None if found is None or quiet is None else round(50 * (found + quiet), 2)
        rows.append(
            FeatureRow(
                kind=kind,
                marked=int(marked.sum()),
                clean=int((~marked).sum()),
                unanswered=len(every) - len(mine),
                found=None if found is None else round(100 * found, 1),
                quiet=None if quiet is None else round(100 * quiet, 1),
                balanced=Metric(value=both, interval=limits, support=len(right)),
                known=None if limits is None else limits[0] > 50,
            )
        )
    return sorted(rows, key=lambda row: (row.balanced.value is None, row.balanced.value or 0.0))
