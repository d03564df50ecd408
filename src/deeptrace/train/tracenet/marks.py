"""Learn anew what traces marked by people teach, and keep everything else of another model.

Where annotators mark is learned by the heat-map heads, when and as which kind by regressions on what was measured in
the marked boxes. All of that is cross-fitted by generator; and by era, which is what a user's clips are to the model.
The presence net, the kernel machines, the clip's probability and its thresholds stay as they are, to the bit.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from deeptrace.detectors.tracenet.model import FLAWS_NAME, Calibration, TraceNetModel
from deeptrace.detectors.tracenet.trace_kinds import KIND_FEATURES, TraceKinds, kind_features
from deeptrace.detectors.tracenet.tubes import FoundTube, TubeSettings, find_tubes
from deeptrace.detectors.tracenet.windows import RATE_FPS, Window
from deeptrace.geometry import Box
from deeptrace.io.atomic import atomic_path
from deeptrace.io.processes import worker_pool
from deeptrace.metrics import evaluate_pairs
from deeptrace.metrics.trivial import boxed_fakes
from deeptrace.schema import Category, Label, Media, Outcome, Sample, Trace, Verdict
from deeptrace.train.tracenet.calibrate import (
    HIT_IOU,
    ExtentExamples,
    best_sharpening,
    fit_temporal_extent,
    marked_examples,
)
from deeptrace.train.tracenet.clip_probability import logistic
from deeptrace.train.tracenet.clips import Clip, Kind, fold_numbers
from deeptrace.train.tracenet.config import TraceNetConfig
from deeptrace.train.tracenet.crossfit import ScoredClip, Scores, windows_of
from deeptrace.train.tracenet.export import export_with_new_heads
from deeptrace.train.tracenet.feature_cache import AS_IS, ONE_ENCODING, Measured, collected, load_measured
from deeptrace.train.tracenet.fit import HeatExamples, fit_heat_map_head
from deeptrace.train.tracenet.nets import HeatMapHead, Places
from deeptrace.train.tracenet.refit import kept_folder

__all__ = ["fit_trace_kinds", "refit_marks"]

_ALL = "all"
_CENTRE = Box(x0=0.18, y0=0.18, x1=0.82, y1=0.82)
_NAMED_FROM = 0.35
_PENALTY = 100.0  # few traces, many features
_FEWEST = 6  # traces of a kind
_NAMED_BESIDE = 0.25
"""Chance from which a further kind is named: macro-F1 then beats the constant's, and most names are still right."""


def refit_marks(
    config: TraceNetConfig, clips: list[Clip], card: dict[str, Any], progress: Callable[[str, int, int], None]
) -> Path:
    """Fit, calibrate and export; clips are measured already.

    Args:
        config: of the training; `nets` names the model to keep all else of.
        clips: those that could be measured; the generated ones are used.
        card: what the model card says but for the figures.
        progress: called with what is being done, how much is done and how much there is.

    Returns:
        The folder of the new model.

    Raises:
        ModelError: the model to keep is missing or made for other evidence.
        MissingExtraError: scikit-learn or onnx is not installed.
    """
    kept = TraceNetModel.load(kept_folder(config))
    (config.out / "fits").mkdir(exist_ok=True)
    clips = [clip for clip in clips if clip.kind is Kind.GENERATED]
    held_out = _held_out(clips, config)
    with worker_pool(config.workers) as pool:
        jobs = [
            pool.submit(_fit_heads, config, [clip for clip in clips if clip.name not in names], part)
            for part, names in held_out.items()
        ]
        collected(jobs, "fitted", progress)
    by_fold = {part: names for part, names in held_out.items() if part.startswith("fold")}
    scored = _scored(kept, clips, by_fold, config)
    sharpen = best_sharpening([s for group in scored.values() for s in group])
    start = kept.card.calibration.model_copy(update={"sharpen": sharpen})
    lessons = [_lesson(s, variant, start, config) for variant, group in scored.items() for s in group]
    calibration = _calibrated(start, lessons)
    figures: dict[str, Any] = {"by_era": {}, "by_fold": []}
    for part, names in held_out.items():
        seen = _calibrated(start, [lesson for lesson in lessons if lesson.clip.name not in names])
        if part in by_fold:
            judged = [s for s in scored[AS_IS] if s.clip.name in names]
            figures["by_fold"].append(_figures(judged, seen, config))
        elif part != _ALL:
            judged = _scored(kept, clips, {part: names}, config, variants=(AS_IS,))[AS_IS]
            figures["by_era"][part.removeprefix("era_")] = _figures(judged, seen, config)
    about = kept.card.model_extra or {}
    rest = {"sha256": kept.card.sha256, "version": kept.card.version, "trained_on": about.get("trained_on")}
    told = {name: about[name] for name in ("protocol", "nets_kept_from") if name in about}
    folder = config.out / "model"
    export_with_new_heads(
        kept_folder(config), _load_heads(config, _ALL), calibration,
        card | told | {"all_but_marks_kept_from": rest, "marks": figures}, folder,
    )  # fmt: skip
    if (flaws := kept_folder(config) / FLAWS_NAME).is_file():
        shutil.copyfile(flaws, folder / FLAWS_NAME)
    return folder


def _held_out(clips: list[Clip], config: TraceNetConfig) -> dict[str, frozenset[str]]:
    """Names of the clips that the heads of each part do not learn from."""
    numbers = fold_numbers(clips, config.folds, config.seed)
    parts = {_ALL: frozenset[str]()}
    for fold in range(config.folds):
        parts[f"fold{fold}"] = frozenset(c.name for c, number in zip(clips, numbers, strict=True) if number == fold)
    for era in sorted({clip.era for clip in clips}):
        groups = {clip.group for clip in clips if clip.era == era}  # of the era's generators nothing, wherever it is
        if any(clip.is_marked and clip.group not in groups for clip in clips):
            parts[f"era_{era}"] = frozenset(clip.name for clip in clips if clip.group in groups)
    return parts


# -- heads, each part's in a process of its own, and kept -------------------------------------------------------------


def _fit_heads(config: TraceNetConfig, clips: list[Clip], part: str) -> None:
    import cv2

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    if (path := _heads_path(config, part)).is_file():
        return
    examples = HeatExamples(clips, config)
    heads = [
        fit_heat_map_head(examples, config, seed=config.seed + 1 + 100 * index, log=lambda _: None)
        for index in range(config.heads)
    ]
    with atomic_path(path) as scratch:
        torch.save(Places(heads).state_dict(), scratch)


def _load_heads(config: TraceNetConfig, part: str) -> list[HeatMapHead]:
    heads = [HeatMapHead() for _ in range(config.heads)]
    Places(heads).load_state_dict(torch.load(_heads_path(config, part), weights_only=True))
    return [head.eval() for head in heads]


def _heads_path(config: TraceNetConfig, part: str) -> Path:
    return config.out / "fits" / f"heads.{part}.pt"


# -- cross-fitted scores ----------------------------------------------------------------------------------------------


def _scored(
    kept: TraceNetModel,
    clips: list[Clip],
    held_out: dict[str, frozenset[str]],
    config: TraceNetConfig,
    variants: Sequence[int] = (AS_IS, ONE_ENCODING),
) -> dict[int, list[ScoredClip]]:
    """What is held out, by variant: the heat of heads that never saw it, and the kept presence."""
    found: dict[int, list[ScoredClip]] = {variant: [] for variant in variants}
    for part, names in held_out.items():
        places = Places(_load_heads(config, part)).eval()
        for clip in clips:
            for variant in variants if clip.name in names else ():
                measured = load_measured(clip, variant, config)
                if measured is not None and len(measured.times_s) > 1:
                    found[variant].append(ScoredClip(clip, _scores(kept, places, measured)))
    return found


def _scores(kept: TraceNetModel, places: Places, measured: Measured) -> Scores:
    parts, pooled, done = [], [], 0
    for frames in windows_of(measured):
        evidence = measured.evidence[frames].astype(np.float32)
        said = kept.score(Window(measured.times_s[frames], evidence, None, None, 0))
        with torch.no_grad():
            where = places(torch.from_numpy(evidence)).numpy()
        fresh = max(done - int(frames[0]), 0)
        done = int(frames[-1]) + 1
        pooled.append(said.clip)
        parts.append([maps[fresh:].astype(np.float16) for maps in (where, said.present, said.kinds)])
    where, present, kinds = (np.concatenate(maps) for maps in zip(*parts, strict=True))
    unknown = float("nan")  # the clip's probability is kept
    return Scores(unknown, unknown, max(pooled), where, present, kinds, measured.times_s)


# -- calibration ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Lesson:
    """What one variant of one clip teaches.

    Attributes:
        clip: that clip.
        tubes: (K, 2) heat and presence of each tube that is found in it.
        hits: (K,) bool, whether a marked trace lies there.
        moments: see `marked_examples`.
        kinds: features (N, KIND_FEATURES), categories (N, 9) and weights (N,) of its marked traces.
    """

    clip: Clip
    tubes: np.ndarray
    hits: np.ndarray
    moments: ExtentExamples
    kinds: tuple[np.ndarray, np.ndarray, np.ndarray]


def _lesson(s: ScoredClip, variant: int, calibration: Calibration, config: TraceNetConfig) -> _Lesson:
    boxes = [trace.box for trace in s.clip.traces if trace.box is not None]
    found = _tubes(s, calibration)
    heat = [(tube.heat, float(s.scores.present[tube.mask].astype(np.float32).mean())) for tube in found]
    hits = [any(tube.tube.box.iou(box) >= HIT_IOU for box in boxes) for tube in found]
    return _Lesson(
        s.clip,
        np.array(heat).reshape(-1, 2),
        np.array(hits, bool),
        marked_examples([s], variant, config),
        _kind_examples(s, variant, config),
    )


def _calibrated(start: Calibration, lessons: Sequence[_Lesson]) -> Calibration:
    """`start` with what marks teach learned anew."""
    kinds = (np.concatenate(rows) for rows in zip(*(lesson.kinds for lesson in lessons), strict=True))
    update: dict[str, Any] = {
        "extent_marked": fit_temporal_extent(
            ExtentExamples.joined([lesson.moments for lesson in lessons]), moments=True
        ),
        "kinds_in_box": fit_trace_kinds(*kinds),
    }
    hits = np.concatenate([lesson.hits for lesson in lessons])
    if 0 < hits.sum() < len(hits):
        (heat, presence), bias = logistic(np.concatenate([lesson.tubes for lesson in lessons]), hits)
        update |= {"heat": float(heat), "presence": float(presence), "trace_bias": bias}
        update |= {"trace_generated": 0.0, "trace_of_generated": True}  # all of these clips are
    return start.model_copy(update=update)


def _tubes(s: ScoredClip, calibration: Calibration) -> list[FoundTube]:
    where = s.scores.where.astype(np.float64) ** calibration.sharpen
    return find_tubes(where, s.scores.times_s, _end_of(s.scores.times_s), TubeSettings())


def _end_of(times_s: np.ndarray) -> float:
    return float(times_s[-1]) + 1 / RATE_FPS


def _kind_examples(s: ScoredClip, variant: int, config: TraceNetConfig) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    known = [t for t in s.clip.traces if t.box is not None and t.interval is not None and t.categories]
    measured = load_measured(s.clip, variant, config) if known else None
    features, marks, weights = [], [], []
    for trace in known if measured is not None else ():
        assert measured is not None
        assert trace.box is not None
        assert trace.interval is not None
        given = (measured.evidence, s.scores.present, trace.box, s.scores.times_s)
        features.append(kind_features(*given, trace.interval, _end_of(s.scores.times_s)))
        marks.append([category in trace.categories for category in Category])
        weights.append(1.0 if trace.score is None else trace.score)
    count = len(Category)
    return (
        np.array(features).reshape(-1, KIND_FEATURES),
        np.array(marks, bool).reshape(-1, count),
        np.array(weights, float),
    )


def fit_trace_kinds(features: np.ndarray, marks: np.ndarray, weights: np.ndarray) -> TraceKinds | None:
    """Fit a `TraceKinds`; None with too few traces. A kind with too few is as likely everywhere.

    Args:
        features: (N, KIND_FEATURES).
        marks: (N, 9) bool, the categories that annotators named.
        weights: (N,) how much each trace counts.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    counts = marks.sum(axis=0)
    usable = (counts >= _FEWEST) & (counts < len(marks))
    if not usable.any():
        return None
    mean, spread = features.mean(axis=0), features.std(axis=0) + 1e-6
    share = (counts + 1) / (len(marks) + len(Category))
    empty = TraceKinds(
        mean=_short(mean), spread=_short(spread), weights=((0.0,) * features.shape[1],) * len(Category),
        bias=_short(np.log(share / (1 - share))), limit=_NAMED_BESIDE,
    )  # fmt: skip
    known = empty.standardised(features)
    fitted = {
        index: logistic(known, marks[:, index], weights, penalty=_PENALTY) for index in np.flatnonzero(usable).tolist()
    }
    rows = [_short(fitted[k][0]) if k in fitted else empty.weights[k] for k in range(len(Category))]
    bias = [round(fitted[k][1], 6) if k in fitted else empty.bias[k] for k in range(len(Category))]
    return empty.model_copy(update={"weights": tuple(rows), "bias": tuple(bias)})


def _short(numbers: np.ndarray) -> tuple[float, ...]:
    """What a card can show."""
    return tuple(round(float(number), 6) for number in numbers)


# -- figures ----------------------------------------------------------------------------------------------------------


def _figures(scored: list[ScoredClip], calibration: Calibration, config: TraceNetConfig) -> dict[str, Any]:
    """What the traces are worth that are named of a clip that is known to be generated, beside a box in its middle."""
    samples = [_sample(s) for s in scored]
    told = [_told_fake(s, calibration, config) for s in scored]
    return {
        "clips": len(samples),
        "traces": sum(len(sample.traces) for sample in samples),
        "told_fake": _row(samples, told),
        "centre_box": _row(samples, boxed_fakes(samples, _CENTRE, name="centre-box")),
    }


def _row(samples: list[Sample], verdicts: list[Verdict]) -> dict[str, float | None]:
    found = evaluate_pairs(samples, verdicts, text=False)
    of_traces = ("matched_box_iou", "matched_tiou", "matched_viou", "recall_viou_30", "map_viou_30", "category_jaccard")
    by_paper = {name: found["paper"][name] for name in ("bbox_iou", "time_distance")}
    f1 = _macro_f1(samples, verdicts)
    return by_paper | {name: found["traces"].get(name) for name in of_traces} | {"macro_f1_of_kinds": f1}


def _macro_f1(samples: list[Sample], verdicts: list[Verdict]) -> float | None:
    """Mean F1 of the nine kinds over traces whose box the best named one hits; None without a hit."""
    told, true = [], []
    for sample, verdict in zip(samples, verdicts, strict=True):
        best = next((trace for trace in verdict.traces if trace.box is not None), None)
        marked = [trace for trace in sample.traces if trace.box is not None]
        if best is None or best.box is None or not marked:
            continue
        overlaps = [best.box.iou(trace.box) for trace in marked if trace.box is not None]
        nearest = int(np.argmax(overlaps))
        if overlaps[nearest] >= HIT_IOU:
            named = best.categories or (Category.OBJECT_DISTORTION,)
            told.append([category in named for category in Category])
            true.append([category in marked[nearest].categories for category in Category])
    if not told:
        return None
    a, b = np.array(told), np.array(true)
    return float(np.mean(2 * (a & b).sum(axis=0) / np.maximum(a.sum(axis=0) + b.sum(axis=0), 1)))


def _sample(s: ScoredClip) -> Sample:
    media = Media(width=1, height=1, duration_s=_end_of(s.scores.times_s))
    return Sample(video_id=s.clip.name, path=s.clip.name, label=Label.FAKE, media=media, traces=s.clip.traces)


def _told_fake(s: ScoredClip, calibration: Calibration, config: TraceNetConfig) -> Verdict:
    """What the detector names by its heat where it is sure that the clip is generated."""
    measured = load_measured(s.clip, AS_IS, config)
    assert measured is not None
    times, end_s, present = s.scores.times_s, _end_of(s.scores.times_s), s.scores.present.astype(np.float32)
    traces = []
    for tube in _tubes(s, calibration):
        presence = float(present[tube.mask].mean())
        score = calibration.trace_score(tube.heat, presence, 1.0)
        lived, named = tube, [Category.OBJECT_DISTORTION]
        if calibration.extent_marked is not None:
            lived = calibration.extent_marked.over_extent(tube, measured.evidence, present, times, end_s)
        if calibration.kinds_in_box is not None:
            place = (measured.evidence, present, lived.tube.box, times, lived.tube.interval, end_s)
            named = calibration.kinds_in_box.named(kind_features(*place))
        traces.append(Trace.from_tube(lived.tube, categories=named, score=score, explanation=""))
    traces.sort(key=lambda trace: -(trace.score or 0.0))
    strong = tuple(trace for trace in traces if (trace.score or 0.0) >= _NAMED_FROM) or tuple(traces[:1])
    media = Media(width=1, height=1, duration_s=end_s)
    return Verdict(video=s.clip.name, outcome=Outcome.SCORED, label=Label.FAKE, p_fake=1.0, traces=strong, media=media)
