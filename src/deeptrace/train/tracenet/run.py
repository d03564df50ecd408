"""The whole training: measure, cross-fit, calibrate, fit on everything, export. Every part resumes where it stopped."""

from __future__ import annotations

import hashlib
import json
import platform
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch

from deeptrace.detectors.tracenet.model import Calibration
from deeptrace.errors import DataError
from deeptrace.folder_lock import FolderLock
from deeptrace.train.tracenet.calibrate import calibrate
from deeptrace.train.tracenet.clips import Clip, Kind, fold_numbers, read_clips
from deeptrace.train.tracenet.config import TraceNetConfig
from deeptrace.train.tracenet.crossfit import ScoredClip, Scores, score_clip
from deeptrace.train.tracenet.crossfit_planted import PlantedScores, score_planted
from deeptrace.train.tracenet.export import export_model
from deeptrace.train.tracenet.figures import figures_of
from deeptrace.train.tracenet.fit import fit_trace_net
from deeptrace.train.tracenet.kernel_fit import KernelMachine, Trait, fit_kernel_machine
from deeptrace.train.tracenet.lives import LifeExamples, fit_lives, marked_examples, planted_examples
from deeptrace.train.tracenet.measure import AS_IS, ONE_ENCODING, load_measured, measure_all
from deeptrace.train.tracenet.nets import TraceNet

__all__ = ["VERSION", "train_tracenet"]

VERSION = "2"
_ALL = -1
_SCORED_VARIANTS = (AS_IS, ONE_ENCODING)

Progress = Callable[[str, int, int], None]


def train_tracenet(config: TraceNetConfig, progress: Progress) -> Path:
    """Train TraceNet and export it.

    Args:
        config: everything.
        progress: called with what is being done, how much is done and how much there is.

    Returns:
        The folder with `tracenet.onnx` and `tracenet.json`; `deeptrace detect --detector tracenet:FOLDER` uses it.
        Beside it lie the models of the folds, each with the names of the clips it never saw (`held_out`).

    Raises:
        DataError, MissingExtraError, ModelError, SettingsError: as their parts; another run is in the folder.
    """
    with FolderLock(config.out):
        return _train(config, progress)


def _train(config: TraceNetConfig, progress: Progress) -> Path:
    _write(config.out / "config.json", config.model_dump_json(indent=1))
    clips = read_clips(config.data, config.edited)
    if len({clip.group for clip in clips if clip.kind is Kind.GENERATED}) < config.folds:
        raise DataError(str(config.data), f"fewer than {config.folds} generators", "Lower `folds`, or add data.")
    problems = measure_all(clips, config, progress)
    clips = [clip for clip in clips if load_measured(clip, AS_IS, config) is not None]
    folds = fold_numbers(clips, config.folds, config.seed)
    jobs = [(config, clips, folds, fold) for fold in [*range(config.folds), _ALL]]
    with ProcessPoolExecutor(config.workers, get_context("spawn")) as pool:
        running = [pool.submit(_fit_fold, *job) for job in jobs]
        for done, job in enumerate(running, start=1):
            job.result()
            progress("fitted", done, len(running))
    scored = {variant: load_scored(config, clips, variant) for variant in _SCORED_VARIANTS}
    calibration = calibrate([s for group in scored.values() for s in group], load_planted_scores(config))
    fold_of = {clip.name: int(number) for clip, number in zip(clips, folds, strict=True)}
    figures = {
        "as they are": figures_of(scored[AS_IS], calibration, fold_of),
        "in one encoding": figures_of(scored[ONE_ENCODING], calibration, fold_of),
    }
    card = _card(config, clips, figures, problems)
    for fold in range(config.folds):  # for benchmarks: models that never saw these clips' generators and sources
        held_out = [clip.name for clip, number in zip(clips, folds, strict=True) if number == fold]
        seen = {v: [s for s in group if fold_of[s.clip.name] != fold] for v, group in scored.items()}
        of_fold = _with_lives(calibration, seen, [k for k in range(config.folds) if k != fold], config)
        export_model(*_load_fit(config, fold), of_fold, card | {"held_out": held_out}, config.out / f"fold{fold}")
    calibration = _with_lives(calibration, scored, range(config.folds), config)
    export_model(*_load_fit(config, _ALL), calibration, card, config.out / "model")
    return config.out / "model"


def _with_lives(
    calibration: Calibration, scored: dict[int, list[ScoredClip]], folds: Iterable[int], config: TraceNetConfig
) -> Calibration:
    """The calibration with what clips, by variant, and the planted traces of `folds` teach of lives."""
    marked = LifeExamples.joined([marked_examples(group, variant, config) for variant, group in scored.items()])
    planted = LifeExamples.joined([LifeExamples.load(_planted_lives_path(config, fold)) for fold in folds])
    lives = {"lives_marked": fit_lives(marked, moments=True), "lives_edited": fit_lives(planted, moments=False)}
    return calibration.model_copy(update=lives)


def load_scored(config: TraceNetConfig, clips: list[Clip], variant: int) -> list[ScoredClip]:
    """The cross-fitted scores of a variant; clips without any are left out."""
    paths = {clip.name: _scores_path(config, clip, variant) for clip in clips}
    return [ScoredClip(clip, Scores.load(paths[clip.name])) for clip in clips if paths[clip.name].is_file()]


def load_planted_scores(config: TraceNetConfig) -> PlantedScores | None:
    """The cross-fitted scores of planted traces; None where there are none."""
    paths = [_planted_scores_path(config, fold) for fold in range(config.folds)]
    parts = [PlantedScores.load(path) for path in paths if path.is_file()]
    return PlantedScores.joined(parts) if parts else None


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
            fit_kernel_machine(kept, config, trait).save(path)
    if not net_path.is_file():
        with open(net_path.with_suffix(".log.jsonl"), "w", buffering=1) as log:
            net = fit_trace_net(
                kept, config, seed=config.seed + fold + 1, log=lambda record: print(json.dumps(record), file=log)
            )
        part = net_path.with_suffix(".part")
        torch.save(net.state_dict(), part)
        part.replace(net_path)
    models = _load_fit(config, fold)
    for clip, number in zip(clips, folds, strict=True):
        for variant in _SCORED_VARIANTS if number == fold else ():
            measured = load_measured(clip, variant, config)
            target = _scores_path(config, clip, variant)
            if measured is not None and not target.is_file():
                target.parent.mkdir(exist_ok=True)
                score_clip(*models, measured).save(target)
    mine = [clip for clip, number in zip(clips, folds, strict=True) if number == fold and clip.kind is Kind.REAL]
    if not (path := _planted_scores_path(config, fold)).is_file() and (
        planted := score_planted(models[0].presence, mine, config)
    ):
        planted.save(path)
    if fold != _ALL and not (path := _planted_lives_path(config, fold)).is_file():
        path.parent.mkdir(exist_ok=True)
        planted_examples(models[0].presence, mine, config).save(path)


def _load_fit(config: TraceNetConfig, fold: int) -> tuple[TraceNet, KernelMachine, KernelMachine]:
    net = TraceNet(config.spots)
    net.load_state_dict(torch.load(_fit_path(config, fold, "pt"), weights_only=True))
    texture, appearance = (KernelMachine.load(_fit_path(config, fold, f"{trait}.npz")) for trait in get_args(Trait))
    return net.eval(), texture, appearance


def _fit_path(config: TraceNetConfig, fold: int, suffix: str) -> Path:
    return config.out / "fits" / f"fold{'_all' if fold == _ALL else fold}.{suffix}"


def _card(config: TraceNetConfig, clips: list[Clip], figures: dict[str, Any], problems: list[str]) -> dict[str, Any]:
    """What a reader must know of the model."""
    listed = "\n".join(sorted(clip.name for clip in clips))
    return {
        "version": VERSION,
        "trained_on": {
            "generated": dict(sorted(Counter(c.group for c in clips if c.kind is Kind.GENERATED).items())),
            "real": dict(sorted(Counter(c.group for c in clips if c.kind is Kind.REAL).items())),
            "edited_clips": sum(c.kind is Kind.EDITED for c in clips),
            "clips": len(clips),
            "clip_list_sha256": hashlib.sha256(listed.encode()).hexdigest(),
            "traces_seen_by_eye": sum(len(c.traces) for c in clips),
            "unusable": problems,
        },
        "config": json.loads(config.model_dump_json(exclude={"data", "out", "workers"})),
        "made_with": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__},
        "cross_fitted_figures": figures,
    }


def _scores_path(config: TraceNetConfig, clip: Clip, variant: int) -> Path:
    return config.out / "scores" / f"{clip.name}.v{variant}.npz"


def _planted_scores_path(config: TraceNetConfig, fold: int) -> Path:
    return config.out / "scores" / f"fold{fold}.planted.npz"


def _planted_lives_path(config: TraceNetConfig, fold: int) -> Path:
    return config.out / "scores" / f"fold{fold}.lives.npz"


def _write(path: Path, text: str) -> None:
    part = path.with_suffix(path.suffix + ".part")
    part.write_text(text + "\n")
    part.replace(path)
