"""What the benchmarks of the reward share: who judges a clip, the reward beside simple peers, intervals."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from scipy.stats import rankdata

from deeptrace.detectors import Detector, load_detector
from deeptrace.detectors.baselines import statistic_of
from deeptrace.metrics.intervals import bootstrap_weights, percentile_interval
from deeptrace.reward import explain_reward
from deeptrace.train.tracenet.clips import Clip, read_clips
from deeptrace.video import Video
from detect_quality import Folds, as_called

__all__ = [
    "MEASURES",
    "Judge",
    "judge_and_clips",
    "mean_of",
    "parser_of",
    "rank_rows",
    "shown",
    "values_of",
    "with_interval",
]

MEASURES = {
    "reward": "the reward as it is",
    "reward, every trace": "with min_score=0: weak traces count, too",
    "authenticity": "its first factor alone",
    "trace factor": "its second factor alone, every trace",
    "baseline:d3": "peer: unevenness of motion",
    "baseline:npr": "peer: neighbouring-pixel relation",
    "sharpness": "peer: mean size of the Laplacian",
    "stillness": "peer: minus the mean change from frame to frame",
    "constant": "peer: one number for every clip",
}
"""What is compared; of each, higher is to mean better."""

Judge = Callable[[Clip], Detector]
_SETTINGS = {"min_score": 0.0}


def parser_of(doc: str | None, out: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/corpus"))
    parser.add_argument(
        "--run", type=Path, default=Path("out/tracenet_nets"), help="a training of TraceNet, for its folds"
    )
    parser.add_argument("--detector", help="judge every clip by this TraceNet instead, whatever it was trained on")
    parser.add_argument("--out", type=Path, default=Path(out))
    return parser


def judge_and_clips(asked: argparse.Namespace) -> tuple[Judge, list[Clip]] | None:
    """Who judges which clip, and the clips; None, with a line that says why, when something is missing."""
    if not (asked.data / "all_data.json").is_file():
        print(f"{asked.data}: no all_data.json there", file=sys.stderr)
        return None
    clips = read_clips(asked.data, "matched")
    if asked.detector is not None:
        one = load_detector(asked.detector, **_SETTINGS)
        print(f"Judge: {asked.detector} for every clip, those that it was trained on too.")
        return (lambda _: one), clips
    if not (asked.run / "fold0" / "tracenet.json").is_file():
        print(f"{asked.run}: no folds of a training there; give --run or --detector", file=sys.stderr)
        return None
    folds = Folds(asked.run, threshold="fpr_5", **_SETTINGS)
    print("Judge: for each clip the fold's model that never saw its generator, source or matched pair.")
    return folds.detector, [clip for clip in clips if clip.name in folds.of]


def values_of(detector: Detector, video: Video) -> dict[str, float]:
    """Every one of `MEASURES` for a clip."""
    verdict = detector.detect(video)
    every, named = explain_reward(verdict), explain_reward(as_called(verdict))
    values = {
        "reward": named.reward,
        "reward, every trace": every.reward,
        "authenticity": every.authenticity,
        "trace factor": every.trace_factor,
        "constant": 1.0,
    }
    for name in ("baseline:d3", "baseline:npr"):
        statistic = statistic_of(load_detector(name).detect(video))
        assert statistic is not None
        values[name] = -statistic
    frames = [frame.image for frame in video.frames(max_fps=8, format="gray")]
    values["sharpness"] = float(np.mean([np.abs(cv2.Laplacian(f, cv2.CV_32F)).mean() for f in frames]))
    steps = [np.abs(np.subtract(b, a, dtype=np.float32)).mean() for a, b in pairwise(frames)]
    values["stillness"] = -float(np.mean(steps))
    return values


def rank_rows(table: np.ndarray, order: Sequence[float]) -> np.ndarray:
    """Spearman's correlation of each row of `table` (N, L) with `order` (L,); 0 for a row of equal values."""
    ranks = rankdata(table, axis=1)
    ranks -= ranks.mean(axis=1, keepdims=True)
    wanted = rankdata(order) - (len(order) + 1) / 2
    length = np.sqrt((ranks**2).sum(axis=1) * (wanted**2).sum())
    return np.divide(ranks @ wanted, length, out=np.zeros(len(table)), where=length > 0)


def with_interval(
    table: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray], groups: Sequence[str] | None = None
) -> tuple[float, float, float]:
    """A statistic of the mean row of `table`, with its 95 % interval from drawing rows, or groups of rows, anew.

    Args:
        table: (N, L).
        statistic: mean rows (R, L) to values (R,).
        groups: (N,) names; rows of one are drawn together. None: each row by itself.
    """
    names, member = np.unique(np.arange(len(table)) if groups is None else np.asarray(groups), return_inverse=True)
    sums = np.zeros((len(names), table.shape[1]))
    np.add.at(sums, member, table)
    sizes = np.bincount(member).astype(float)
    drawn = np.concatenate(
        [statistic(weights @ sums / (weights @ sizes)[:, None]) for weights in bootstrap_weights(len(names))]
    )
    low, high = percentile_interval(drawn) or (float("nan"), float("nan"))
    return float(statistic(table.mean(axis=0)[None])[0]), low, high


def mean_of(means: np.ndarray) -> np.ndarray:
    """For `with_interval`: the mean of a table's one column."""
    return np.asarray(means[:, 0])


def shown(value: tuple[float, float, float], width: int = 24) -> str:
    """A value with its interval, as a cell of a table."""
    return f"{value[0]:.2f} [{value[1]:5.2f}, {value[2]:5.2f}]".rjust(width)
