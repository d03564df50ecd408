"""evaluate: a detector or a file of predictions against RewardData, from the rows to the numbers."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np

from deeptrace.detectors import DEFAULT_DETECTOR, Detector
from deeptrace.errors import DataError, SettingsError
from deeptrace.evaluate.judge_server import JudgeModel, judge_endpoint, parse_judge
from deeptrace.evaluate.judging import Judgements, judge_explanations
from deeptrace.evaluate.manifest import build_manifest, with_observed
from deeptrace.evaluate.references import baseline_results, ceiling_result
from deeptrace.evaluate.run_detect import DetectorRunner
from deeptrace.evaluate.run_folder import EVALUATION, MANIFEST, EvaluationFolder
from deeptrace.evaluate.truth import Truth, read_truth
from deeptrace.metrics import evaluate_pairs, judge_rows, metric_sums
from deeptrace.protocol import join_predictions, read_predictions, views_of
from deeptrace.trace import Outcome, Sample, Verdict

__all__ = ["Evaluation", "evaluate"]

PathLike = str | os.PathLike[str]
OnDone = Callable[[str, int, int], object]


@dataclass(frozen=True)
class Evaluation:
    """A finished evaluation.

    Attributes:
        result: the evaluation JSON: plain values, None where the data cannot tell.
        truth: what was measured against.
        verdicts: one a sample, None where there is no prediction.
        kept: how many results an earlier run had.
        unmatched: ids of predictions that no sample has.
    """

    result: dict[str, Any]
    truth: Truth
    verdicts: tuple[Verdict | None, ...]
    kept: int = 0
    unmatched: tuple[str, ...] = ()


def evaluate(
    data: PathLike,
    *,
    split: str = "test",
    detector: str | Detector | None = None,
    settings: dict[str, Any] | None = None,
    predictions: PathLike | None = None,
    judge: str | JudgeModel | None = None,
    judge_cache: PathLike | None = None,
    passes: PathLike | None = None,
    out: PathLike | None = None,
    resume: bool = False,
    workers: int = 1,
    timeout_s: float | None = None,
    bootstrap: int = 2000,
    seed: int = 0,
    on_done: OnDone = lambda _stage, _done, _total: None,
) -> Evaluation:
    """Measure a detector, or a file of predictions, against one split of a RewardData folder or file.

    Args:
        data: folder or annotation file; media lie beside it.
        split: "test", "val", "train", any other that the rows name, or "all".
        detector: a name or a loaded detector; the default detector when neither it nor `predictions` is given.
        settings: of the detector, when it is given by name.
        predictions: a file of answers, instead of a detector (see `protocol.read_predictions`).
        judge: `openai:MODEL[@BASE_URL]`, for the paper's explanation score; without one it is None.
        judge_cache: file of the judge's answers; one for all runs of the user by default.
        passes: annotation passes for the annotator ceiling; `passes.jsonl` beside the annotations by default.
        out: folder that keeps the run; None to keep nothing.
        resume: go on with what `out` holds.
        workers: worker processes for a detector given by name.
        timeout_s: longest time for one video; None for no limit.
        bootstrap: resamples of videos for the 95 % intervals; 0 for none.
        seed: of the bootstrap and of the metadata baseline.
        on_done: called with a stage ("detecting", "judging"), how many are done, and how many there are.

    Raises:
        SettingsError: both a detector and predictions, or a folder that holds another run.
        DataError: data or predictions that make no sense.
        UnknownDetectorError, MissingExtraError, ModelError: the detector or the judge cannot be had.
    """
    if resume and out is None:
        raise SettingsError("resume", "needs the folder of the earlier run", "Add --out DIR.")
    model, file = _reachable(judge), _existing(predictions, detector)
    truth = read_truth(data, split=split, passes=passes)
    with ExitStack() as stack:
        runner = None
        if file is None:
            loaded = DetectorRunner(detector or DEFAULT_DETECTOR, settings or {}, workers, timeout_s)
            runner = stack.enter_context(loaded)
        info = None if runner is None else runner.info
        manifest = build_manifest(truth, detector=info, predictions=file, judge=model, resamples=bootstrap, seed=seed)
        folder = None if out is None else stack.enter_context(EvaluationFolder(out, manifest, resume=resume))
        verdicts, unmatched = _verdicts(truth, runner, file, folder, on_done)
        verdicts, judgements = _judged(truth, verdicts, model, judge_cache, on_done)
        result = measure(truth, verdicts, judgements, manifest, bootstrap=bootstrap, seed=seed, workers=workers)
        result["unmatched_predictions"] = len(unmatched)
        kept = 0 if runner is None else runner.kept
        return _kept(Evaluation(result, truth, tuple(verdicts), kept, tuple(unmatched)), judgements, folder)


def measure(
    truth: Truth,
    verdicts: Sequence[Verdict | None],
    judgements: Judgements | None,
    manifest: dict[str, Any],
    *,
    bootstrap: int,
    seed: int,
    workers: int = 1,
) -> dict[str, Any]:
    """The evaluation JSON of verdicts that are there already."""
    scores: Mapping[tuple[str, int], float | None] = {} if judgements is None else judgements.scores
    samples = truth.samples
    found = evaluate_pairs(samples, verdicts, explanation_scores=scores, resamples=bootstrap, seed=seed)
    sums = metric_sums(samples, verdicts, explanation_scores=scores)
    counts = found["counts"]
    ranked = ("auroc", "average_precision", "tpr_at_fpr_1pct", "tpr_at_fpr_01pct", "ece", "brier")
    return found | {
        "support": {name: round(float(den.sum()), 6) for name, (_, den) in sums.items()}
        | {f"per_video.{name}": counts["with_probability"] for name in ranked}
        | {"grounded.trace_quality": counts["true_traces"]}
        | {f"traces.map_viou_{t}": counts["true_traces"] for t in (30, 50)}
        | {f"text.{name}": counts["explanation_rows"] for name in found["text"]},
        "baselines": baseline_results(truth, seed=seed, workers=workers),
        "annotator_ceiling": ceiling_result(truth),
        "judge": None if judgements is None else judgements.as_json(),
        "latency": _latency(verdicts),
        "usage": _usage(verdicts),
        "manifest": with_observed(manifest, verdicts),
    }


def _reachable(judge: str | JudgeModel | None) -> JudgeModel | None:
    """The judge; one without its key is an error before hours of detection, not after."""
    model = parse_judge(judge) if isinstance(judge, str) else judge
    if model is not None:
        judge_endpoint(model)
    return model


def _verdicts(
    truth: Truth,
    runner: DetectorRunner | None,
    predictions: str | None,
    folder: EvaluationFolder | None,
    on_done: OnDone,
) -> tuple[list[Verdict | None], list[str]]:
    if runner is None:
        if predictions is None:
            raise AssertionError("neither a detector nor predictions")
        return join_predictions(truth.samples, read_predictions(predictions, views=views_of(truth.samples)))
    journal = None if folder is None else folder.journal

    def stage(done: int, total: int) -> None:
        on_done("detecting", done, total)

    return list(runner.run(truth.samples, truth.root, journal, stage)), []


def _judged(
    truth: Truth, verdicts: list[Verdict | None], judge: JudgeModel | None, cache: PathLike | None, on_done: OnDone
) -> tuple[list[Verdict | None], Judgements | None]:
    """The verdicts after the judge has read their explanations, and what it said; without a judge, as they are."""
    if judge is None:
        return verdicts, None

    def stage(done: int, total: int) -> None:
        on_done("judging", done, total)

    found = judge_explanations(judge_rows(truth.samples, verdicts), judge, cache=cache, on_done=stage)
    return _with_failed_judge(truth.samples, verdicts, found.failed_videos), found


def _with_failed_judge(
    samples: Sequence[Sample], verdicts: Sequence[Verdict | None], failed: set[str]
) -> list[Verdict | None]:
    """The verdicts, those whose explanation could not be judged with that outcome; label and traces still count."""
    return [
        verdict.model_copy(update={"outcome": Outcome.JUDGE_FAILED})
        if verdict is not None and sample.video_id in failed
        else verdict
        for sample, verdict in zip(samples, verdicts, strict=True)
    ]


def _latency(verdicts: Sequence[Verdict | None]) -> dict[str, float] | None:
    """Seconds a video where the verdicts say so; None where none does."""
    times = np.array([v.elapsed_s for v in verdicts if v is not None and v.elapsed_s is not None])
    if not len(times):
        return None
    return {
        "videos": len(times),
        "mean_s": float(times.mean()),
        "median_s": float(np.median(times)),
        "p95_s": float(np.quantile(times, 0.95)),
        "total_s": float(times.sum()),
    }


def _usage(verdicts: Sequence[Verdict | None]) -> dict[str, Any] | None:
    """What asking a language model took, over the videos that say so; sums, None where no answer has the count."""
    found = [verdict.usage for verdict in verdicts if verdict is not None and verdict.usage is not None]
    if not found:
        return None

    def total(name: str) -> float | None:
        known = [value for usage in found if (value := getattr(usage, name)) is not None]
        return sum(known) if known else None

    counts = ("requests", "frames", "visual_tokens", "prompt_tokens", "completion_tokens", "cost")
    served = sorted({usage.served_model for usage in found if usage.served_model})
    return {"videos": len(found), **{name: total(name) for name in counts}, "served_models": served}


def _kept(found: Evaluation, judgements: Judgements | None, folder: EvaluationFolder | None) -> Evaluation:
    """The evaluation itself, once it lies in its folder, where there is one."""
    if folder is None:
        return found
    folder.write_truth(found.truth.samples)
    folder.write_predictions(found.truth.samples, found.verdicts)
    if judgements is not None:
        folder.write_judgements(judgements.rows)
    folder.write_json(MANIFEST, found.result["manifest"])
    folder.write_json(EVALUATION, found.result)
    return found


def _existing(predictions: PathLike | None, detector: str | Detector | None) -> str | None:
    """The file of predictions that stands in for a detector; None where there is none."""
    if predictions is None:
        return None
    if detector is not None:
        raise SettingsError("--detector, --predictions", "name one of them, not both")
    if not os.path.isfile(predictions):
        raise DataError(str(predictions), "no such file of predictions")
    return str(predictions)
