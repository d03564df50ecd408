"""What the study prints and draws from its journal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from closing_the_loop.measures import CHECKS
from closing_the_loop.study import WAYS
from curves import Series, chart
from evidence import mean_of, rank_rows, shown, with_interval

__all__ = ["curves_of", "table_best", "table_quality", "table_signal", "table_ways"]

Record = Mapping[str, Any]
_BETTER_LOW = ("error", "off path")


def table_quality(rows: Mapping[str, Record], judges: Sequence[str]) -> None:
    """Generators of rising quality and the renders: rewards and checks, means over test prompts."""
    print("\nSamples of the test prompts: rewards, and measures that no reward sees\n")
    columns = [*(f"reward: {name}" for name in judges), *CHECKS]
    print(f"{'':28}" + "".join(f"{name.removeprefix('reward: ')[:12]:>13}" for name in columns) + f"{'Fréchet':>13}")
    for name, row in rows.items():
        cells = "".join(f"{np.mean(row['marks'][column]):13.3f}" for column in columns)
        print(f"{name:28}{cells}{row['frechet']:13.2f}")


def table_signal(rows: Mapping[str, Record], many: Record, judges: Sequence[str], samples: int) -> dict[str, Any]:
    """Does a reward order clips as the independent measure does? Across generators, and within one."""
    print("\nSpearman's correlation with consistency, mean over prompts [95 %, drawing prompts]; 1 is right\n")
    print(f"{'':28}{'across generators':>26}{'within one generator':>26}")
    found: dict[str, Any] = {}
    peers = [*(f"reward: {name}" for name in judges), "error"]
    for name in peers:
        sign = -1 if name in _BETTER_LOW else 1
        across = np.array([row["marks"][name] for row in rows.values()]).T * sign
        right = np.array([row["marks"]["consistency"] for row in rows.values()]).T
        within, wanted = (np.array(many["marks"][key]).reshape(-1, samples) for key in (name, "consistency"))
        both = {"across": _correlations(across, right), "within": _correlations(within * sign, wanted)}
        found[name] = {key: with_interval(rho[:, None], mean_of) for key, rho in both.items()}
        label = "minus error (not a reward)" if name == "error" else name
        print(f"{label:28}{shown(found[name]['across'], 26)}{shown(found[name]['within'], 26)}")
    return found


def _correlations(values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """(N,): of each row of `values` with the same row of `wanted`."""
    return np.array([rank_rows(row[None], order)[0] for row, order in zip(values, wanted, strict=True)])


def table_best(many: Record, judges: Sequence[str], samples: int) -> dict[str, Any]:
    """Best of N by each judge against a random pick and the best possible one."""
    print("\nBest of N of one generator: the pick's consistency, and its gain over a random pick [95 %]\n")
    sizes = [n for n in (2, 4, 8, 16) if n <= samples]
    print(f"{'picked by':28}" + "".join(f"{f'best of {n}':>32}" for n in sizes))
    consistency = np.array(many["marks"]["consistency"]).reshape(-1, samples)
    found: dict[str, Any] = {}
    for name in (*(f"reward: {name}" for name in judges), "consistency"):
        values = np.array(many["marks"][name]).reshape(-1, samples)
        cells = []
        for n in sizes:
            pick = consistency[np.arange(len(values)), values[:, :n].argmax(axis=1)]
            gain = with_interval((pick - consistency[:, :n].mean(axis=1))[:, None], mean_of)
            found[f"{name}, {n}"] = {"pick": float(pick.mean()), "gain": gain}
            cells.append(f"{pick.mean():.3f}{shown_gain(gain)}".rjust(32))
        label = "consistency (the limit)" if name == "consistency" else name
        print(f"{label:28}" + "".join(cells))
    print(f"{'a random pick':28}" + "".join(f"{consistency[:, :n].mean():.3f}".rjust(32) for n in sizes))
    return found


def table_ways(base: Record, ends: Mapping[str, Record], judges: Sequence[str]) -> dict[str, Any]:
    """Each way's last generator against the first, on the same prompts and noise."""
    print("\nAfter training, change on the same test prompts and noise [95 %, drawing prompts]\n")
    columns = [*(f"reward: {name}" for name in judges), "consistency", "error"]
    print(f"{'':28}" + "".join(f"{name:>28}" for name in columns) + f"{'Fréchet':>16}")
    found: dict[str, Any] = {}
    for name, row in ends.items():
        found[name] = {"frechet": (base["frechet"], row["frechet"])}
        cells = []
        for column in columns:
            change = np.array(row["marks"][column]) - np.array(base["marks"][column])
            found[name][column] = value = with_interval(change[:, None], mean_of)
            cells.append(shown_gain(value).rjust(28))
        print(f"{name:28}" + "".join(cells) + f"{base['frechet']:.2f} to {row['frechet']:.2f}".rjust(16))
    return found


def shown_gain(value: tuple[float, float, float]) -> str:
    return f" {value[0]:+.3f} [{value[1]:+.3f}, {value[2]:+.3f}]"


def curves_of(base: Record, journal: Mapping[str, Record], judge: str, column: str) -> str:
    """A measure over updates, one line a way, all with the same judge as the reward."""
    series = []
    for way in WAYS:
        rows = sorted((r for key, r in journal.items() if key.startswith(f"{judge}: {way}|")), key=lambda r: r["step"])
        if rows:
            steps = [0.0, *(float(row["step"]) for row in rows)]
            series.append(Series(way, steps, [float(np.mean(row["marks"][column])) for row in (base, *rows)]))
    return chart(f"{column}, trained with the {judge} reward", series, x="updates", y=column)
