"""What the study on footage prints and draws; intervals draw seeds and prompts, both anew."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from closing_the_loop.footage_study import MARKS
from closing_the_loop.tables import shown_gain
from closing_the_loop.unseen import frechet_of
from curves import Series, chart

__all__ = [
    "curves",
    "stop_at",
    "table_of_best",
    "table_of_gains",
    "table_of_quality",
    "table_of_stops",
    "table_of_ways",
]

Record = Mapping[str, Any]
Runs = Sequence[Record]
"""The same exam after trainings with different seeds."""

_DRAWN = 1000
_NAMES, _WIDTH = 14, 26


def table_of_quality(rows: Mapping[str, Runs], reference: np.ndarray) -> None:
    """Generators of rising quality, what training made, and footage: means over test prompts and seeds."""
    print("\nOne sample of each test prompt: the reward, and measures that it does not see\n")
    print(f"{'':14}" + "".join(f"{name:>10}" for name in MARKS) + f"{'Fréchet':>10}")
    for name, runs in rows.items():
        cells = "".join(f"{_table(runs, column).mean():10.3f}" for column in MARKS)
        apart = np.mean([frechet_of(features, reference) for features in _features(runs)])
        print(f"{name:14}{cells}{apart:10.3f}")


def table_of_best(many: Record, samples: int, reference: np.ndarray) -> dict[str, Any]:
    """Best of N by the reward against a random pick; the best by realness is the limit of what can be picked."""
    print(f"\nBest of {samples}, change from a random pick [95 %, drawing prompts]\n")
    values = {name: np.array(many["marks"][name]).reshape(-1, samples) for name in MARKS}
    features = np.array(many["features"]).reshape(*values["reward"].shape, -1)
    found: dict[str, Any] = {}
    for label, by in {"the reward": values["reward"], "realness": values["realness"]}.items():
        pick, rows = by.argmax(axis=1), np.arange(len(by))

        def changed(
            _: np.ndarray, prompts: np.ndarray, column: str, pick: np.ndarray = pick, rows: np.ndarray = rows
        ) -> float:
            if column == "Fréchet":
                others = [frechet_of(features[prompts, k], reference) for k in range(samples)]
                return frechet_of(features[rows, pick][prompts], reference) - float(np.mean(others))
            table = values[column][prompts]
            return float((values[column][rows, pick][prompts] - table.mean(axis=1)).mean())

        found[f"by {label}"] = _row(changed, 1, len(by))
    _print(found)
    return found


def table_of_ways(ways: Mapping[str, Sequence[Runs]], reference: np.ndarray) -> dict[str, Any]:
    """Each way's last generator against the first, on the same test prompts and noise.

    Args:
        ways: to each seed's exams in their order, the first before the training.
        reference: features of footage.
    """
    print("\nAfter training, change on the same test prompts and noise [95 %, drawing seeds and prompts]\n")
    found = {way: _change([run[0] for run in runs], [run[-1] for run in runs], reference) for way, runs in ways.items()}
    _print(found)
    return found


def table_of_gains(
    ways: Mapping[str, Sequence[Runs]], controls: Sequence[str], reference: np.ndarray
) -> dict[str, Any]:
    """The last generator of DPO against those of the controls, which had no reward, on the same prompts and noise."""
    print("\nWhat the reward adds: DPO less each control [95 %, drawing seeds and prompts]\n")
    ends = {way: [run[-1] for run in ways[way]] for way in ("dpo", *controls)}
    found = {f"less {control}": _change(ends[control], ends["dpo"], reference) for control in controls}
    _print(found)
    return found


def table_of_stops(ways: Mapping[str, Sequence[Runs]], reference: np.ndarray) -> dict[str, Any]:
    """The same where each training is stopped by the rule, see `stop_at`."""
    print("\nThe same, each run stopped by the rule on the validation prompts\n")
    found, steps = {}, {}
    for way, runs in ways.items():
        stops = [stop_at([np.array(record["validation"]) for record in run]) for run in runs]
        stopped = [run[at] for run, at in zip(runs, stops, strict=True)]
        found[way] = _change([run[0] for run in runs], stopped, reference)
        steps[way] = [record.get("step", 0) for record in stopped]
    _print(found)
    print("stopped after".ljust(_NAMES) + "".join(", ".join(map(str, at)).rjust(_WIDTH) for at in steps.values()))
    return {way: {**changes, "stops": steps[way]} for way, changes in found.items()}


def stop_at(validation: Sequence[np.ndarray]) -> int:
    """The rule: go on while nothing that is watched on validation prompts is worse than where it stands best.

    Args:
        validation: (P, 2) of the same prompts, at the start and at each exam: the unseen realness, and minus how far
            motion is from that of the footage. A training that stills its clips is realer and stops here all the same.

    Returns:
        The index of the exam with the best realness before the first at which either of the two is worse than there by
        more than the standard error of their difference.
    """
    best = 0
    for index in range(1, len(validation)):
        change = validation[index] - validation[best]
        mean = change.mean(axis=0)
        if (mean < -change.std(axis=0, ddof=1) / np.sqrt(len(change))).any():
            break
        if mean[0] > 0:
            best = index
    return best


def curves(ways: Mapping[str, Sequence[Runs]], out: Path) -> list[Path]:
    """Reward, and the unseen measures, over the share of a training that is done: one line a way, mean of seeds."""
    paths = []
    for column in MARKS:
        series = []
        for way, runs in ways.items():
            exams = list(zip(*runs, strict=True))
            steps = [float(exam[0].get("step", 0)) for exam in exams]
            means = [float(_table(exam, column).mean()) for exam in exams]
            series.append(Series(way, [step / steps[-1] for step in steps], means))
        paths.append(out / f"curve_{column}.svg")
        paths[-1].write_text(chart(f"{column}, test prompts", series, x="share of the training", y=column))
    return paths


def _change(bases: Runs, runs: Runs, reference: np.ndarray) -> dict[str, Any]:
    tables = {name: _table(runs, name) - _table(bases, name) for name in MARKS}
    before, after = _features(bases), _features(runs)

    def changed(seeds: np.ndarray, prompts: np.ndarray, column: str) -> float:
        if column == "Fréchet":
            apart = [
                frechet_of(after[s][prompts], reference) - frechet_of(before[s][prompts], reference) for s in seeds
            ]
            return float(np.mean(apart))
        return float(tables[column][np.ix_(seeds, prompts)].mean())

    return _row(changed, len(bases), before.shape[1])


def _row(changed: Callable[[np.ndarray, np.ndarray, str], float], seeds: int, prompts: int) -> dict[str, Any]:
    """The change of each measure, with its interval."""
    found: dict[str, Any] = {}
    for column in (*MARKS, "Fréchet"):
        rng = np.random.default_rng(0)
        draws = 200 if column == "Fréchet" else _DRAWN
        drawn = [
            changed(rng.integers(seeds, size=seeds), rng.integers(prompts, size=prompts), column) for _ in range(draws)
        ]
        low, high = np.percentile(drawn, (2.5, 97.5))
        found[column] = (changed(np.arange(seeds), np.arange(prompts), column), float(low), float(high))
    return found


def _print(found: Mapping[str, Mapping[str, tuple[float, float, float]]]) -> None:
    """A row for each measure, a column for each way."""
    print(" " * _NAMES + "".join(way.rjust(_WIDTH) for way in found))
    for column in (*MARKS, "Fréchet"):
        print(column.ljust(_NAMES) + "".join(shown_gain(changes[column]).rjust(_WIDTH) for changes in found.values()))


def _table(runs: Runs, column: str) -> np.ndarray:
    """(seeds, prompts)."""
    return np.array([run["marks"][column] for run in runs])


def _features(runs: Runs) -> np.ndarray:
    """(seeds, prompts, D)."""
    return np.array([run["features"] for run in runs])
