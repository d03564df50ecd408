"""evaluate: a detector or a file of predictions against RewardData, from the rows to the numbers."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from deeptrace.benchmark.folder import EvaluationFolder
from deeptrace.benchmark.ground_truth import GroundTruth, read_ground_truth, with_media
from deeptrace.benchmark.groups import Groups, group_figures, read_groups
from deeptrace.benchmark.judge import Judgements, judge_explanations
from deeptrace.benchmark.judge_client import JudgeModel, judge_endpoint, parse_judge
from deeptrace.benchmark.manifest import build_manifest, with_observed
from deeptrace.benchmark.predict import DetectorRunner
from deeptrace.benchmark.predictions import Joined, join_predictions, read_predictions, views_of
from deeptrace.benchmark.reference_points import baseline_results, ceiling_result
from deeptrace.benchmark.result import EvaluationResult, Manifest
from deeptrace.data import resolve_path
from deeptrace.detectors import DEFAULT_DETECTOR, Detector
from deeptrace.errors import DataError, SettingsError
from deeptrace.inference.executor import Runner, cores
from deeptrace.io.fingerprint import sha256_of
from deeptrace.metrics import evaluate_pairs, judge_rows, metric_sums
from deeptrace.prompts import FINE_TUNING, coordinate_space
from deeptrace.schema import DetectorInfo, Outcome, Sample, Verdict

__all__ = ["Evaluation", "evaluate", "measured_blocks", "read_answers", "seen_in_training"]

PathLike = str | os.PathLike[str]
OnDone = Callable[[str, int, int], object]


@dataclass(frozen=True)
class Evaluation:
    """A finished evaluation.

    Attributes:
        result: what was found.
        truth: ground truth that was measured against.
        verdicts: one a sample, None where there is no prediction.
        kept: number of results from an earlier run.
        unmatched: ids of predictions that no sample has.
        repeated: ids of samples with several predictions, of which the last counts.
    """

    result: EvaluationResult
    truth: GroundTruth
    verdicts: tuple[Verdict | None, ...]
    kept: int = 0
    unmatched: tuple[str, ...] = ()
    repeated: tuple[str, ...] = ()


def evaluate(
    data: PathLike,
    *,
    split: str = "test",
    detector: str | Detector | None = None,
    settings: dict[str, Any] | None = None,
    predictions: PathLike | None = None,
    answer_space: str | None = None,
    judge: str | JudgeModel | None = None,
    judge_cache: PathLike | None = None,
    rounds: PathLike | None = None,
    groups: PathLike | None = None,
    out: PathLike | None = None,
    resume: bool = False,
    workers: int | None = None,
    timeout_s: float | None = None,
    bootstrap: int = 2000,
    seed: int = 0,
    runner: Runner | None = None,
    on_done: OnDone = lambda _stage, _done, _total: None,
) -> Evaluation:
    """Measure a detector, or a file of predictions, against one split of a RewardData folder or file.

    Args:
        data: folder or annotation file; media lie beside it.
        split: "test", "val", "train", any other that the rows name, or "all".
        detector: a name or a loaded detector; the default detector when neither it nor `predictions` is given.
        settings: of the detector, when it is given by name.
        predictions: a file of answers, instead of a detector (see `read_predictions`).
        answer_space: coordinate space of the boxes in `predictions` (`deeptrace.prompts.SPACES`); pixels of the
            original video by default.
        judge: `openai:MODEL[@BASE_URL]`, for the paper's explanation score; without one it is None.
        judge_cache: file of the judge's answers; one for all runs of the user by default.
        rounds: file of annotators' rounds for the annotator ceiling; `passes.jsonl` beside the annotations by default.
        groups: CSV of what group each video belongs to, for figures by group (see `deeptrace.benchmark.groups`).
        out: folder that keeps the run; None to keep nothing.
        resume: go on with what `out` holds.
        workers: worker processes for a detector given by name.
        timeout_s: longest time for one video; None for no limit.
        bootstrap: resamples of videos for the 95 % intervals; 0 for none.
        seed: of the bootstrap and of the metadata baseline.
        runner: see `deeptrace.inference.DetectRun`.
        on_done: called with a stage ("detecting", "judging"), how many are done, and how many there are.

    Raises:
        SettingsError: both a detector and predictions, a space without predictions or that does not exist, or a folder
            that holds another run.
        DataError: data or predictions that are invalid.
        UnknownDetectorError, MissingExtraError, ModelError: the detector or the judge cannot be loaded.
    """
    if resume and out is None:
        raise SettingsError("resume", "needs the folder of the earlier run", "Add --out DIR.")
    model, file = _reachable(judge), _existing(predictions, detector)
    _check_space(answer_space, file)
    truth = read_ground_truth(data, split=split, rounds=rounds)
    parted = None if groups is None else read_groups(groups, truth.samples)
    with ExitStack() as stack:
        over = None
        if file is None:
            loaded = DetectorRunner(detector or DEFAULT_DETECTOR, settings or {}, workers, timeout_s, runner)
            over = stack.enter_context(loaded)
        info = None if over is None else over.info
        manifest = build_manifest(
            truth, detector=info, predictions=file, space=answer_space, judge=model, resamples=bootstrap, seed=seed
        )
        folder = None if out is None else stack.enter_context(EvaluationFolder(out, manifest, resume=resume))
        joined = _joined(truth, over, file, answer_space, folder, on_done)
        verdicts, judgements = _judged(truth, joined.verdicts, model, judge_cache, on_done)
        result = measure(
            truth, verdicts, judgements, manifest, bootstrap=bootstrap, seed=seed, workers=workers,
            unmatched=len(joined.unmatched), repeated=len(joined.repeated), groups=parted,
        )  # fmt: skip
        kept = 0 if over is None else over.kept
        found = Evaluation(result, truth, tuple(verdicts), kept, tuple(joined.unmatched), tuple(joined.repeated))
        return _kept(found, judgements, folder)


def measure(
    truth: GroundTruth,
    verdicts: Sequence[Verdict | None],
    judgements: Judgements | None,
    manifest: Manifest,
    *,
    bootstrap: int,
    seed: int,
    workers: int | None = None,
    unmatched: int = 0,
    repeated: int = 0,
    groups: Groups | None = None,
) -> EvaluationResult:
    """The result for verdicts that are there already."""
    scores = {} if judgements is None else judgements.scores
    return EvaluationResult.model_validate(
        measured_blocks(truth.samples, verdicts, scores, bootstrap=bootstrap, seed=seed)
        | {
            "baselines": baseline_results(truth, seed=seed, workers=workers or cores()),
            "annotator_ceiling": ceiling_result(truth),
            "judge": None if judgements is None else judgements.as_json(),
            "latency": _latency(verdicts),
            "usage": _usage(verdicts),
            "manifest": with_observed(manifest, verdicts),
            "seen_in_training": _seen_in_training(truth, verdicts),
            "unmatched_predictions": unmatched,
            "repeated_predictions": repeated,
        }
        | (
            {}
            if groups is None
            else {"by_group": group_figures(truth.samples, verdicts, groups, resamples=bootstrap, seed=seed)}
        )
    )


def measured_blocks(
    samples: Sequence[Sample],
    verdicts: Sequence[Verdict | None],
    scores: Mapping[tuple[str, int], float | None],
    *,
    text: bool = True,
    bootstrap: int,
    seed: int = 0,
) -> dict[str, Any]:
    """The fields of `Measured`: every metric of verdicts that are there already, and what each rests on.

    Args:
        samples: the ground truth.
        verdicts: one a sample, None where there is none; that counts as wrong.
        scores: the judge's, by row; empty without a judge.
        text: whether explanations are compared.
        bootstrap: resamples of videos for the 95 % intervals; 0 for none.
        seed: of the bootstrap.
    """
    found = evaluate_pairs(samples, verdicts, explanation_scores=scores, text=text, resamples=bootstrap, seed=seed)
    sums = metric_sums(samples, verdicts, explanation_scores=scores)
    counts = found["counts"]
    ranked = ("auroc", "average_precision", "tpr_at_fpr_1pct", "tpr_at_fpr_01pct", "ece", "brier")
    support = {name: round(float(den.sum()), 6) for name, (_, den) in sums.items()}
    support |= {f"per_video.{name}": counts["with_probability"] for name in ranked}
    if framed := sum(bool(verdict is not None and verdict.segment_scores) for verdict in verdicts):
        support["per_video.frame_auroc"] = framed
    support |= {"grounded.trace_quality": counts["true_traces"]}
    support |= {f"traces.map_viou_{t}": counts["true_traces"] for t in (30, 50)}
    support |= {f"text.{name}": counts["explanation_rows"] for name in found["text"]}
    return found | {"support": support}


def _seen_in_training(truth: GroundTruth, verdicts: Sequence[Verdict | None]) -> int | None:
    """How many videos the weights behind the verdicts have learned from; None where that is not known."""
    infos = [verdict.detector for verdict in verdicts if verdict is not None and verdict.detector is not None]
    return seen_in_training(infos[0], [resolve_path(s, truth.root) for s in truth.samples]) if infos else None


def seen_in_training(info: DetectorInfo, paths: Iterable[str]) -> int | None:
    """How many of the clips the weights behind a detector have learned from; None where that is not known."""
    from deeptrace.detectors.tracenet import HASH_DIGITS, shipped_learned_from  # with the runtime of the nets

    learned_from = shipped_learned_from(info)
    if not learned_from:
        return None
    with contextlib.suppress(OSError):
        return sum(sha256_of(path)[:HASH_DIGITS] in learned_from for path in set(paths) if Path(path).is_file())
    return None


def _reachable(judge: str | JudgeModel | None) -> JudgeModel | None:
    """The judge; one without its key is an error before hours of detection, not after."""
    model = parse_judge(judge) if isinstance(judge, str) else judge
    if model is not None:
        judge_endpoint(model)
    return model


def read_answers(samples: Sequence[Sample], predictions: PathLike, *, answer_space: str | None = None) -> Joined:
    """The answers of a file beside their samples, each with the size and length of its video.

    Measures of time need both where the rows state neither: give the samples as `with_media` has them.

    Args:
        samples: the ground truth.
        predictions: the file (see `read_predictions`).
        answer_space: coordinate space of its boxes; pixels of the original video by default.

    Raises:
        SettingsError: there is no such space.
        DataError: the file cannot be read.
    """
    form = FINE_TUNING if answer_space is None else FINE_TUNING.in_space(coordinate_space(answer_space))
    joined = join_predictions(samples, read_predictions(str(predictions), views=views_of(samples), form=form))
    return replace(joined, verdicts=[_with_media_of(*pair) for pair in zip(joined.verdicts, samples, strict=True)])


def _with_media_of(verdict: Verdict | None, sample: Sample) -> Verdict | None:
    """An answer with the size and length of its video."""
    if verdict is None or verdict.media is not None or sample.media is None:
        return verdict
    return verdict.model_copy(update={"media": sample.media})


def _joined(
    truth: GroundTruth,
    runner: DetectorRunner | None,
    predictions: str | None,
    answer_space: str | None,
    folder: EvaluationFolder | None,
    on_done: OnDone,
) -> Joined:
    if runner is None:
        if predictions is None:
            raise AssertionError("neither a detector nor predictions")
        return read_answers(list(with_media(truth)), predictions, answer_space=answer_space)
    store = None if folder is None else folder.store

    def stage(done: int, total: int) -> None:
        on_done("detecting", done, total)

    return Joined(list(runner.run(truth.samples, truth.root, store, stage)), [], [])


def _judged(
    truth: GroundTruth,
    verdicts: list[Verdict | None],
    judge: JudgeModel | None,
    cache: PathLike | None,
    on_done: OnDone,
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
    folder.write_ground_truth(found.truth.samples)
    folder.write_predictions(found.truth.samples, found.verdicts)
    if judgements is not None:
        folder.write_judgements(judgements.rows)
    folder.write_evaluation(found.result)
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


def _check_space(answer_space: str | None, predictions: str | None) -> None:
    """A space without predictions, or one that does not exist, is an error before any detection."""
    if answer_space is None:
        return
    if predictions is None:
        raise SettingsError(
            "--answer-space", "says what the boxes of --predictions mean", "A detector's: --set space=NAME."
        )
    coordinate_space(answer_space)
