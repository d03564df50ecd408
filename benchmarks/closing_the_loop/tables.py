"""What the study prints and draws from its journal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from closing_the_loop.measures import CHECKS
from closing_the_loop.study import WAYS
from curves import Series, chart
from evidence import mean_of, rank_rows, shown, with_interval

__all__ = ["curves_of", "table_best", "table_quality", "table_signal", "table_ways"]

Record = Mapping[str, Any]


def table_quality(rows: Mapping[str, Record]) -> None:
    """Generators of rising quality, the renders, and what training made: means over test prompts."""
    print("\nSamples of the test prompts: the reward, and measures that it does not see\n")
    columns = ("reward", *CHECKS)
    print(f"{'':16}" + "".join(f"{name:>13}" for name in columns) + f"{'Fréchet':>13}")
    for name, row in rows.items():
        cells = "".join(f"{np.mean(row['marks'][column]):13.3f}" for column in columns)
        print(f"{name:16}{cells}{row['frechet']:13.2f}")


def table_signal(rows: Mapping[str, Record], many: Record, samples: int) -> dict[str, Any]:
    """Does the reward order clips as consistency does, across generators and within one? Peer: the error."""
    print("\nSpearman's correlation with consistency, mean over prompts [95 %, drawing prompts]; 1 is right\n")
    print(f"{'':28}{'across generators':>26}{'within the last one':>26}")
    found: dict[str, Any] = {}
    for name, sign in (("reward", 1), ("error", -1)):
        across = np.array([[row["marks"][key] for row in rows.values()] for key in (name, "consistency")])
        within = np.array([many["marks"][key] for key in (name, "consistency")]).reshape(2, -1, samples)
        both = {"across": _correlations(sign * across[0].T, across[1].T)}
        both["within"] = _correlations(sign * within[0], within[1])
        found[name] = {key: with_interval(rho[:, None], mean_of) for key, rho in both.items()}
        label = "minus the error (no reward)" if name == "error" else name
        print(f"{label:28}{shown(found[name]['across'], 26)}{shown(found[name]['within'], 26)}")
    return found


def _correlations(values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """(N,): of each row of `values` with the same row of `wanted`."""
    return np.array([rank_rows(row[None], order)[0] for row, order in zip(values, wanted, strict=True)])


def table_best(many: Record, samples: int) -> dict[str, Any]:
    """Best of N against a random pick and the best possible one."""
    print("\nBest of N: the pick's consistency, and its gain over a random pick [95 %, drawing prompts]\n")
    sizes = [n for n in (2, 4, 8) if n <= samples]
    print(f"{'picked by':26}" + "".join(f"{f'best of {n}':>34}" for n in sizes))
    consistency = np.array(many["marks"]["consistency"]).reshape(-1, samples)
    found: dict[str, Any] = {}
    for name in ("reward", "consistency"):
        values = np.array(many["marks"][name]).reshape(-1, samples)
        cells = []
        for n in sizes:
            pick = consistency[np.arange(len(values)), values[:, :n].argmax(axis=1)]
            gain = with_interval((pick - consistency[:, :n].mean(axis=1))[:, None], mean_of)
            found[f"{name}, {n}"] = {"pick": float(pick.mean()), "gain": gain}
            cells.append(f"{pick.mean():.3f} {shown_gain(gain)}".rjust(34))
        label = "consistency (the limit)" if name == "consistency" else name
        print(f"{label:26}" + "".join(cells))
    print(f"{'chance':26}" + "".join(f"{consistency[:, :n].mean():.3f}".rjust(34) for n in sizes))
    return found


def table_ways(base: Record, ends: Mapping[str, Record]) -> dict[str, Any]:
    """Each way's last generator against the first, on the same prompts and noise."""
    print("\nAfter training, change on the same test prompts and noise [95 %, drawing prompts]\n")
    columns = ("reward", "consistency", "error")
    print(f"{'':16}" + "".join(f"{name:>28}" for name in columns) + f"{'Fréchet':>18}")
    found: dict[str, Any] = {}
    for name, row in ends.items():
        found[name] = {"frechet": (base["frechet"], row["frechet"])}
        for column in columns:
            change = np.array(row["marks"][column]) - np.array(base["marks"][column])
            found[name][column] = with_interval(change[:, None], mean_of)
        cells = "".join(shown_gain(found[name][column]).rjust(28) for column in columns)
        print(f"{name:16}{cells}" + f"{base['frechet']:.2f} to {row['frechet']:.2f}".rjust(18))
    return found


def shown_gain(value: tuple[float, float, float]) -> str:
    return f"{value[0]:+.3f} [{value[1]:+.3f}, {value[2]:+.3f}]"


def curves_of(base: Record, journal: Mapping[str, Record], column: str, title: str) -> str:
    """A measure over updates, one line a way."""
    series = []
    for way in WAYS:
        rows = sorted((r for key, r in journal.items() if key.startswith(f"{way}|")), key=lambda r: r["step"])
        steps = [0.0, *(float(row["step"]) for row in rows)]
        series.append(Series(way, steps, [float(np.mean(row["marks"][column])) for row in (base, *rows)]))
    return chart(f"{column}, {title}", series, x="updates", y=column)
