"""Learn the clip's probability anew, and keep the trace nets of another model.

The kernel machines are fitted on all clips. How much each weighs, the probability, and the thresholds come from the
era protocol where there are several data folders: from what each folder's clips were given by machines that learned
from the others. That is what a user's clips are to the model, too.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, get_args

import numpy as np

from deeptrace.detectors.tracenet.model import FLAWS_NAME, Calibration, TraceNetModel, shipped_folder
from deeptrace.detectors.tracenet.windows import Window
from deeptrace.io.processes import worker_pool
from deeptrace.metrics.binary import above_share
from deeptrace.train.tracenet.clip_probability import fit_weights, thresholds
from deeptrace.train.tracenet.clips import CAMERA, Clip, Kind
from deeptrace.train.tracenet.config import SHIPPED, TraceNetConfig
from deeptrace.train.tracenet.crossfit import windows_of
from deeptrace.train.tracenet.export import export_with_kept_nets
from deeptrace.train.tracenet.feature_cache import (
    AS_IS,
    ONE_ENCODING,
    Measured,
    collected,
    load_measured,
)
from deeptrace.train.tracenet.kernel_machine import KernelMachine, Statistics, Trait, fit_kernel_machine
from deeptrace.train.tracenet.protocol import (
    Judged,
    Table,
    by_fold,
    eras_of,
    figures_of_judged,
    of_era,
    read_statistics,
)

__all__ = ["kept_folder", "refit"]

_FOLD_SEEDS = 3
_MISSED = 0.05
"""Share of generated clips of other eras that may be said to look real."""
_UNFAMILIAR = 0.01
"""Share of camera clips of other eras that may be called unlike anything."""


def kept_folder(config: TraceNetConfig) -> Path:
    """Where the model lies whose nets are kept."""
    return shipped_folder() if config.nets == SHIPPED else Path(config.nets)


def refit(
    config: TraceNetConfig, clips: list[Clip], card: dict[str, Any], progress: Callable[[str, int, int], None]
) -> Path:
    """Fit, calibrate and export; clips are measured already.

    Args:
        config: of the training; `nets` names the model to keep the nets of.
        clips: those that could be measured.
        card: what the model card says but for the figures.
        progress: called with what is being done, how much is done and how much there is.

    Returns:
        The folder of the new model.

    Raises:
        ModelError: the model to keep is missing or made for other evidence.
        DataError, MissingExtraError: as `fit_kernel_machine`.
    """
    kept = TraceNetModel.load(kept_folder(config))
    (config.out / "fits").mkdir(exist_ok=True)
    eras = eras_of(clips)
    seeds = [config.seed + number for number in range(_FOLD_SEEDS)]
    with worker_pool(config.workers) as pool:
        jobs: dict[tuple[str, str | int], Future[Any]] = {
            **{("era", era): pool.submit(_judge_era, config, clips, era) for era in eras},
            **{("folds", seed): pool.submit(_judge_folds, config, clips, seed) for seed in seeds},
            **{("machine", trait): pool.submit(_machine, config, clips, trait) for trait in get_args(Trait)},
            ("pooled", 0): pool.submit(_pooled_logits, config, clips),
        }
        found = dict(zip(jobs, collected(list(jobs.values()), "fitted", progress), strict=True))
    judged = Judged.joined([found["era", era] for era in eras] or [found["folds", config.seed]])
    calibration = _calibration(kept.card.calibration, judged, found["pooled", 0])
    figures = {
        "by_era": {era: _both(found["era", era]) for era in eras},
        "by_fold": [_both(found["folds", seed]) for seed in seeds],
    }
    about = kept.card.model_extra or {}
    nets = {"sha256": kept.card.sha256, "version": kept.card.version, "trained_on": about.get("trained_on")}
    told = {name: about[name] for name in ("marks", "all_but_marks_kept_from") if name in about}
    export_with_kept_nets(
        kept_folder(config), found["machine", "texture"], found["machine", "appearance"], calibration,
        card | told | {"nets_kept_from": nets, "protocol": figures}, config.out / "model", config.encoder(),
    )  # fmt: skip
    if (flaws := kept_folder(config) / FLAWS_NAME).is_file():  # they are measured from the nets alone
        shutil.copyfile(flaws, config.out / "model" / FLAWS_NAME)
    return config.out / "model"


def _both(judged: Judged) -> dict[str, Any]:
    pairs = (("as they are", judged.as_they_are), ("in one encoding", judged.in_one_encoding))
    return {name: figures_of_judged(judged, chances).model_dump(mode="json") for name, chances in pairs}


def _calibration(kept: Calibration, judged: Judged, pooled: dict[str, tuple[float, float]]) -> Calibration:
    """The kept calibration with new weights, bias and thresholds of the clip's probability.

    Args:
        kept: of the model whose nets are kept.
        judged: clips with the scores of machines that never saw their era or group.
        pooled: what the presence net says of each clip by name, as it is and in one encoding.
    """
    camera = np.array([clip.kind is not Kind.REAL or clip.footage == CAMERA for clip in judged.clips])
    edits = np.array([pooled[clip.name] for clip in judged.clips])
    rows = np.concatenate([judged.scores_as_they_are, judged.scores_in_one_encoding])
    known = ~np.isnan(rows).any(axis=1) & np.tile(camera, 2)
    kinds = np.tile([int(clip.kind) for clip in judged.clips], 2)[known]
    groups = np.tile([clip.group for clip in judged.clips], 2)[known]
    partial = kept.model_copy(update=vars(fit_weights(rows[known], kinds, list(groups))))
    given = np.column_stack([rows, edits.T.ravel()])[known]
    p = np.array([partial.p_fake(texture, appearance, edit) for texture, appearance, edit in given])
    missed = 1.0 - above_share(1.0 - p[kinds == Kind.GENERATED], _MISSED)
    limits = thresholds(p, kinds)
    limits |= {"threshold_real": min(missed, limits["threshold_balanced"]), "familiar_from": _familiar_from(judged)}
    return partial.model_copy(update=limits)


def _familiar_from(judged: Judged) -> float:
    """See `Calibration`."""
    footage = np.array([clip.kind is Kind.REAL and clip.footage == CAMERA for clip in judged.clips])
    near = np.concatenate([judged.nearness_as_they_are[footage], judged.nearness_in_one_encoding[footage]])
    return float(np.nanquantile(near, _UNFAMILIAR))


# -- each in a process of its own, and kept ---------------------------------------------------------------------------


def _judge_era(config: TraceNetConfig, clips: list[Clip], era: str) -> Judged:
    return _kept(config, clips, f"era_{era}", lambda table: of_era(table, config, era))


def _judge_folds(config: TraceNetConfig, clips: list[Clip], seed: int) -> Judged:
    return _kept(config, clips, f"folds{seed}", lambda table: by_fold(table, config, seed))


def _kept(config: TraceNetConfig, clips: list[Clip], name: str, judge: Callable[[Table], Judged]) -> Judged:
    path = config.out / "fits" / f"judged.{name}.npz"
    if not path.is_file():
        judge(read_statistics(clips, config)).save(path)
    return Judged.load(path, clips)


def _machine(config: TraceNetConfig, clips: list[Clip], trait: Trait) -> KernelMachine:
    path = config.out / "fits" / f"all.{trait}.npz"
    if not path.is_file():
        fit_kernel_machine(Statistics.read(clips, config, trait), config, trait).save(path)
    return KernelMachine.load(path)


def _pooled_logits(config: TraceNetConfig, clips: list[Clip]) -> dict[str, tuple[float, float]]:
    """What the kept presence net says of each clip, as it is and in one encoding: highest of its windows."""
    model = TraceNetModel.load(kept_folder(config))
    found = {}
    for clip in clips:
        both = []
        for variant in (AS_IS, ONE_ENCODING):
            measured = load_measured(clip, variant, config)
            both.append(-60.0 if measured is None else max(_pooled(model, measured)))
        found[clip.name] = (both[0], both[1])
    return found


def _pooled(model: TraceNetModel, measured: Measured) -> list[float]:
    windows = [(measured.times_s[at], measured.evidence[at].astype(np.float32)) for at in windows_of(measured)]
    return [model.score(Window(times, evidence, None, None, 0)).clip for times, evidence in windows]
