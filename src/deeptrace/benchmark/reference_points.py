"""What stands beside every run: trivial predictions, a classifier that sees metadata alone, and the annotators."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from deeptrace.benchmark.ground_truth import GroundTruth
from deeptrace.data import resolve_path
from deeptrace.errors import MissingExtraError, install_command
from deeptrace.metrics import annotator_ceiling, evaluate_pairs, trivial_baselines
from deeptrace.schema import DetectorInfo, Label, Outcome, Sample, Verdict

if TYPE_CHECKING:
    from deeptrace.audit.file_facts import FileFacts

__all__ = ["BASELINE_TITLES", "baseline_results", "ceiling_result", "metadata_verdicts"]

BASELINE_TITLES = {
    "all_real": "all REAL",
    "all_fake": "all FAKE",
    "full_frame_box": "full-frame box from 0 s",
    "center_box": "centre box from 0 s",
    "training_mean_box": "training-mean box from 0 s",
    "metadata_only": "metadata only",
}
_BLOCKS = ("paper", "per_video", "grounded", "traces", "outcomes")
MOST_TRAINING = 2000
_DATASET_FACTS = ("width", "height", "fps", "frames", "duration_s")


def baseline_results(truth: GroundTruth, *, seed: int = 0, workers: int = 1) -> dict[str, dict[str, Any]]:
    """Every trivial baseline measured as a run is; one that cannot be had has `unavailable` with the reason.

    Explanations are not judged: nobody but a model has any.
    """
    samples = truth.samples
    answers: dict[str, list[Verdict] | str] = dict(trivial_baselines(samples, training=truth.training))
    answers.setdefault("training_mean_box", "no training split with boxes")
    try:
        answers["metadata_only"] = metadata_verdicts(truth, seed=seed, workers=workers)
    except MissingExtraError:
        answers["metadata_only"] = f"needs scikit-learn: {install_command('bench')}"
    return {name: _measured(samples, answers[name]) for name in BASELINE_TITLES}


def _measured(samples: Sequence[Sample], verdicts: list[Verdict] | str) -> dict[str, Any]:
    if isinstance(verdicts, str):
        return {"unavailable": verdicts}
    found = evaluate_pairs(samples, verdicts, text=False)
    return {block: found[block] for block in _BLOCKS}


def ceiling_result(truth: GroundTruth) -> dict[str, Any] | None:
    """Two annotators scored against each other over the samples that both looked at; None where there are none.

    Of more than two rounds for a clip the first two count. `videos` says over how many clips it was taken: they may be
    generated ones alone, and then what needs real videos is None.
    """
    both = [sample for sample in truth.samples if len(truth.rounds.get(sample.video_id, ())) >= 2]
    if not both:
        return None
    first, second = (
        [sample.model_copy(update={"traces": truth.rounds[sample.video_id][at].traces}) for sample in both]
        for at in (0, 1)
    )
    return {"videos": len(both), **annotator_ceiling(first, second)}


def metadata_verdicts(truth: GroundTruth, *, seed: int = 0, workers: int = 1) -> list[Verdict] | str:
    """A random forest on what the files say of themselves (size, rate, codec, tags ...), without looking at a picture.

    Trained on the training split where there is one, else cross-validated by clip, so that no clip is classified by
    a model that saw it. Headers of the files are read; where files are missing, the sizes and rates that the rows state
    are used.

    Returns:
        Verdicts in the samples' order, or the reason why there are none.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    known = [sample for sample in truth.samples if sample.label is not None]
    training = [sample for sample in truth.training if sample.label is not None]
    if len(training) > MOST_TRAINING:
        chosen = np.random.default_rng(seed).choice(len(training), MOST_TRAINING, replace=False)
        training = [training[i] for i in sorted(chosen.tolist())]
    facts = _facts([*known, *training], truth.root, workers)
    if facts is None:
        return "neither media nor stated sizes and rates"
    from deeptrace.audit.classify import fit_model, folds_by_clip  # scikit-learn and scipy.stats: a second
    from deeptrace.audit.features import feature_matrix

    columns = list(feature_matrix(facts).values())
    if not columns:
        return "the metadata of all videos is the same"
    matrix, fake = np.concatenate(columns, axis=1), np.array([s.label is Label.FAKE for s in (*known, *training)])
    inside = np.arange(len(known))
    folds = [(np.arange(len(known), len(facts)), inside)] if training else folds_by_clip(fake, seed=seed)
    if not folds or any(len(set(fake[train].tolist())) < 2 for train, _ in folds):
        return "too few videos of each class to learn from"
    p_fake = np.full(len(known), np.nan)
    for train, test in folds:
        p_fake[test] = fit_model(matrix[train], fake[train], "forest", seed).predict_proba(matrix[test])[:, 1]
    settings = {"seed": seed, "trained_on": "training split" if training else "cross-validation by clip"}
    info = DetectorInfo(name="baseline:metadata_only", version="1", settings=settings)
    by_id = dict(zip((sample.video_id for sample in known), p_fake.tolist(), strict=True))
    return [_verdict(sample, by_id.get(sample.video_id), info) for sample in truth.samples]


def _verdict(sample: Sample, p_fake: float | None, info: DetectorInfo) -> Verdict:
    if p_fake is None:
        return Verdict.failed(sample.path, Outcome.MODEL_FAILED, "no label", detector=info)
    label = Label.FAKE if p_fake >= 0.5 else Label.REAL
    return Verdict(video=sample.path, outcome=Outcome.SCORED, label=label, p_fake=p_fake, detector=info)


def _facts(samples: Sequence[Sample], root: str, workers: int) -> list[FileFacts] | None:
    """Of the files where all of them are at hand, else of the rows where all of them say something, else None."""
    paths = [resolve_path(sample, root) for sample in samples]
    at_hand = all("://" not in path and os.path.isfile(path) for path in paths)
    if not at_hand and any(sample.media is None for sample in samples):
        return None
    from deeptrace.audit.file_facts import FileFacts, gather

    if at_hand:
        return gather(paths, workers=workers, decode=False)
    return [
        FileFacts(path=sample.path, **{name: getattr(sample.media, name) for name in _DATASET_FACTS})
        for sample in samples
    ]
