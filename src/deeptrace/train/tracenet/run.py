"""The whole training: measure, cross-fit, calibrate, fit on everything, export. Every part resumes where it stopped."""

from __future__ import annotations

import hashlib
import json
import platform
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch

from deeptrace.detectors.tracenet.model import HASH_DIGITS, Calibration, TraceNetModel
from deeptrace.errors import DataError, SettingsError
from deeptrace.io.atomic import atomic_path
from deeptrace.io.fingerprint import sha256_of
from deeptrace.io.processes import worker_pool
from deeptrace.io.run_store import ClaimedFolder
from deeptrace.train.tracenet.calibrate import (
    ExtentExamples,
    calibrate,
    fit_temporal_extent,
    marked_examples,
    synthetic_examples,
)
from deeptrace.train.tracenet.clip_probability import figures_of
from deeptrace.train.tracenet.clips import Clip, Kind, fold_numbers, read_clips
from deeptrace.train.tracenet.config import TRAIN, TraceNetConfig
from deeptrace.train.tracenet.crossfit import ScoredClip, Scores, SyntheticScores, score_clip, score_synthetic
from deeptrace.train.tracenet.export import export_model
from deeptrace.train.tracenet.feature_cache import (
    AS_IS,
    ONE_ENCODING,
    collected,
    load_measured,
    measure_all,
)
from deeptrace.train.tracenet.fit import fit_trace_net
from deeptrace.train.tracenet.flaws import write_flaws
from deeptrace.train.tracenet.kernel_machine import KernelMachine, Statistics, Trait, fit_kernel_machine
from deeptrace.train.tracenet.marks import refit_marks
from deeptrace.train.tracenet.nets import TraceNet
from deeptrace.train.tracenet.refit import kept_folder, refit

__all__ = ["VERSION", "train_tracenet"]

VERSION = "3.2"
_ALL = -1
_SCORED_VARIANTS = (AS_IS, ONE_ENCODING)

Progress = Callable[[str, int, int], None]


def train_tracenet(config: TraceNetConfig, progress: Progress) -> Path:
    """Train TraceNet and export it.

    Args:
        config: settings of the whole training.
        progress: called with what is being done, how much is done and how much there is.

    Returns:
        The folder with `tracenet.onnx` and `tracenet.json`; `deeptrace detect --detector tracenet:FOLDER` uses it.
        Beside it lie the models of the folds, each with the names of the clips it never saw (`held_out`).

    Raises:
        DataError, MissingExtraError, ModelError, SettingsError: as their parts; a folder that `ClaimedFolder` refuses.
    """
    stated = config.model_dump(mode="json")
    about = {name: stated.pop(name) for name in ("data", "out", "workers", "appearance")}
    files = ("measured", "fits", "scores", "flaws", "model")
    with ClaimedFolder(config.out, "train tracenet", stated, resume=True, about=about, files=files) as folder:
        return _train(config, folder, progress)


def _train(config: TraceNetConfig, folder: ClaimedFolder, progress: Progress) -> Path:
    clips = read_clips(config.data, config.edited)
    if config.marks:
        clips = _marking(clips, config)
    if len({clip.group for clip in clips if clip.kind is Kind.GENERATED}) < config.folds:
        raise DataError(_named(config), f"fewer than {config.folds} generators", "Lower `folds`, or add data.")
    encoder = config.encoder()
    folder.pin(data=_names_digest(clips), appearance="" if encoder is None else encoder.stated.sha256)
    if config.nets != TRAIN:
        TraceNetModel.load(kept_folder(config))  # rather now than after an hour of measuring
    problems = measure_all(clips, config, progress)
    clips = [clip for clip in clips if load_measured(clip, AS_IS, config) is not None]
    if config.marks:
        return refit_marks(config, clips, _card(config, clips, problems), progress)
    if config.nets != TRAIN:
        return refit(config, clips, _card(config, clips, problems), progress)
    folds = fold_numbers(clips, config.folds, config.seed)
    jobs = [(config, clips, folds, fold) for fold in [*range(config.folds), _ALL]]
    with worker_pool(config.workers) as pool:
        collected([pool.submit(_fit_fold, *job) for job in jobs], "fitted", progress)
    scored = {variant: load_scored(config, clips, variant) for variant in _SCORED_VARIANTS}
    calibration = calibrate([s for group in scored.values() for s in group], load_synthetic_scores(config))
    fold_of = {clip.name: int(number) for clip, number in zip(clips, folds, strict=True)}
    figures = {
        "as they are": figures_of(scored[AS_IS], calibration, fold_of),
        "in one encoding": figures_of(scored[ONE_ENCODING], calibration, fold_of),
    }
    card = _card(config, clips, problems) | {"cross_fitted_figures": figures}
    for fold in range(config.folds):  # for benchmarks: models that never saw these clips' generators and sources
        held_out = [clip.name for clip, number in zip(clips, folds, strict=True) if number == fold]
        seen = {v: [s for s in group if fold_of[s.clip.name] != fold] for v, group in scored.items()}
        of_fold = _with_extent(calibration, seen, [k for k in range(config.folds) if k != fold], config)
        export_model(
            *_load_fit(config, fold), of_fold, card | {"held_out": held_out}, config.out / f"fold{fold}", encoder
        )
    calibration = _with_extent(calibration, scored, range(config.folds), config)
    export_model(*_load_fit(config, _ALL), calibration, card, config.out / "model", encoder)
    if config.flaw_clips:
        write_flaws(
            config.out / "model",
            [clip for clip in clips if clip.kind is Kind.REAL],
            config.out / "flaws",
            laddered=config.flaw_clips,
            seed=config.seed,
            workers=config.workers,
            progress=progress,
        )
    return config.out / "model"


def _marking(clips: list[Clip], config: TraceNetConfig) -> list[Clip]:
    """Those clips that marks are learned from: the generated ones, some of which are marked."""
    if config.nets == TRAIN:
        raise SettingsError("marks", "there is no model to keep all else of", "Name it in `nets`, or drop `marks`.")
    if not any(clip.is_marked for clip in clips):
        raise DataError(_named(config), "no generated clip has a marked trace", "`marks` learns from nothing else.")
    return [clip for clip in clips if clip.kind is Kind.GENERATED]


def _with_extent(
    calibration: Calibration, scored: dict[int, list[ScoredClip]], folds: Iterable[int], config: TraceNetConfig
) -> Calibration:
    """The calibration with what clips, by variant, and the synthetic traces of `folds` teach about temporal extents."""
    marked = ExtentExamples.joined([marked_examples(group, variant, config) for variant, group in scored.items()])
    synthetic = ExtentExamples.joined([ExtentExamples.load(_synthetic_extents_path(config, fold)) for fold in folds])
    extent = {
        "extent_marked": fit_temporal_extent(marked, moments=True),
        "extent_edited": fit_temporal_extent(synthetic, moments=False),
    }
    return calibration.model_copy(update=extent)


def load_scored(config: TraceNetConfig, clips: list[Clip], variant: int) -> list[ScoredClip]:
    """The cross-fitted scores of a variant; clips without any are left out."""
    paths = {clip.name: _scores_path(config, clip, variant) for clip in clips}
    return [ScoredClip(clip, Scores.load(paths[clip.name])) for clip in clips if paths[clip.name].is_file()]


def load_synthetic_scores(config: TraceNetConfig) -> SyntheticScores | None:
    """The cross-fitted scores of synthetic traces; None where there are none."""
    paths = [_synthetic_scores_path(config, fold) for fold in range(config.folds)]
    parts = [SyntheticScores.load(path) for path in paths if path.is_file()]
    return SyntheticScores.joined(parts) if parts else None


def _fit_fold(config: TraceNetConfig, clips: list[Clip], folds: np.ndarray, fold: int) -> None:
    """Fit all models without `fold` and score that fold; with `_ALL`, fit on everything."""
    import cv2

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    kept = [clip for clip, number in zip(clips, folds, strict=True) if number != fold]
    net_path = _fit_path(config, fold, "pt")
    net_path.parent.mkdir(exist_ok=True)
    for trait in get_args(Trait):
        if not (path := _fit_path(config, fold, f"{trait}.npz")).is_file():
            fit_kernel_machine(Statistics.read(kept, config, trait), config, trait).save(path)
    if not net_path.is_file():
        with open(net_path.with_suffix(".log.jsonl"), "w", buffering=1) as log:
            net = fit_trace_net(
                kept, config, seed=config.seed + fold + 1, log=lambda record: print(json.dumps(record), file=log)
            )
        with atomic_path(net_path) as scratch:
            torch.save(net.state_dict(), scratch)
    models = _load_fit(config, fold)
    for clip, number in zip(clips, folds, strict=True):
        for variant in _SCORED_VARIANTS if number == fold else ():
            measured = load_measured(clip, variant, config)
            target = _scores_path(config, clip, variant)
            if measured is not None and not target.is_file():
                target.parent.mkdir(exist_ok=True)
                score_clip(*models, measured).save(target)
    mine = [clip for clip, number in zip(clips, folds, strict=True) if number == fold and clip.kind is Kind.REAL]
    if not (path := _synthetic_scores_path(config, fold)).is_file() and (
        synthetic := score_synthetic(models[0].presence, mine, config)
    ):
        synthetic.save(path)
    if fold != _ALL and not (path := _synthetic_extents_path(config, fold)).is_file():
        path.parent.mkdir(exist_ok=True)
        synthetic_examples(models[0].presence, mine, config).save(path)


def _load_fit(config: TraceNetConfig, fold: int) -> tuple[TraceNet, KernelMachine, KernelMachine]:
    net = TraceNet(config.heads)
    net.load_state_dict(torch.load(_fit_path(config, fold, "pt"), weights_only=True))
    texture, appearance = (KernelMachine.load(_fit_path(config, fold, f"{trait}.npz")) for trait in get_args(Trait))
    return net.eval(), texture, appearance


def _fit_path(config: TraceNetConfig, fold: int, suffix: str) -> Path:
    return config.out / "fits" / f"fold{'_all' if fold == _ALL else fold}.{suffix}"


def _card(config: TraceNetConfig, clips: list[Clip], problems: list[str]) -> dict[str, Any]:
    """What a reader must know of the model."""
    return {
        "version": VERSION,
        "trained_on": {
            "generated": dict(sorted(Counter(c.group for c in clips if c.kind is Kind.GENERATED).items())),
            "real": dict(sorted(Counter(c.group for c in clips if c.kind is Kind.REAL).items())),
            "edited_clips": sum(c.kind is Kind.EDITED for c in clips),
            "clips": len(clips),
            "clip_list_sha256": _names_digest(clips),
            "clips_sha256": sorted(sha256_of(clip.path)[:HASH_DIGITS] for clip in clips),
            "traces_seen_by_eye": sum(len(c.traces) for c in clips),
            "unusable": problems,
        },
        "config": json.loads(config.model_dump_json(exclude={"data", "out", "workers"})),
        "made_with": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__},
    }


def _scores_path(config: TraceNetConfig, clip: Clip, variant: int) -> Path:
    return config.out / "scores" / f"{clip.name}.v{variant}.npz"


def _synthetic_scores_path(config: TraceNetConfig, fold: int) -> Path:
    return config.out / "scores" / f"fold{fold}.planted.npz"


def _synthetic_extents_path(config: TraceNetConfig, fold: int) -> Path:
    return config.out / "scores" / f"fold{fold}.lives.npz"


def _named(config: TraceNetConfig) -> str:
    return ", ".join(map(str, [config.data] if isinstance(config.data, Path) else config.data))


def _names_digest(clips: list[Clip]) -> str:
    """A hash of what the clips are called."""
    return hashlib.sha256("\n".join(sorted(clip.name for clip in clips)).encode()).hexdigest()
