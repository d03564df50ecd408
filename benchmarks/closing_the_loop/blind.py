"""Pairs to be judged by eye, blind: contact sheets, a sealed key, and what a rater's answers come to."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from scipy.stats import binomtest

__all__ = ["read_answers", "win_rates", "write_sheets"]

_A_SHEET = 5
_ENLARGED = 3
_SHOWN = 6  # of a clip's frames
_ANSWERS = ("A", "B", "same")

Clips = tuple[np.ndarray, np.ndarray]
"""Before and after: (T, H, W, 3) uint8 each."""


def write_sheets(pairs: Mapping[str, Sequence[Clips]], folder: Path, *, seed: int) -> Path:
    """Write sheets of pairs in a random order, sides by a coin, with an empty form and the key.

    The clips after are on either side equally often, so that a rater who prefers a side gains and loses nothing.

    Args:
        pairs: way to pairs of clips, the one before first.
        folder: gets `sheet_NN.png`, `answers.csv` with a row for each pair, and `key.json`, not to be opened before the
            answers are in.
        seed: of order and sides.

    Returns:
        The folder.
    """
    rng = np.random.default_rng(seed)
    every = [(way, pair) for way, some in pairs.items() for pair in some]
    order = [every[index] for index in rng.permutation(len(every))]
    coins = rng.permutation(np.arange(len(order)) % 2 == 0)
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, ((_, (before, after)), coin) in enumerate(zip(order, coins, strict=True), start=1):
        sides = (after, before) if coin else (before, after)
        rows.append(_labelled(f"{number:02d}", [_strip(clip) for clip in sides]))
    for start in range(0, len(rows), _A_SHEET):
        sheet = np.concatenate(rows[start : start + _A_SHEET])
        cv2.imwrite(str(folder / f"sheet_{start // _A_SHEET + 1:02d}.png"), sheet[..., ::-1])
    key = [
        {"pair": n, "way": way, "after": "A" if coin else "B"}
        for n, ((way, _), coin) in enumerate(zip(order, coins, strict=True), 1)
    ]
    (folder / "key.json").write_text(json.dumps(key, indent=1) + "\n")
    with (folder / "answers.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("pair", "better"), *((number, "") for number in range(1, len(rows) + 1))])
    return folder


def read_answers(answers: Path, key: Path) -> dict[str, tuple[float, float, float, int]]:
    """Print and return the win rates of answers in a CSV with the columns "pair" and "better": A, B or same.

    Raises:
        ValueError: a pair has no answer, or another one.
    """
    with answers.open(newline="") as file:
        said = {int(row["pair"]): row["better"].strip() for row in csv.DictReader(file)}
    rows = json.loads(key.read_text())
    if bad := [row["pair"] for row in rows if said.get(row["pair"]) not in _ANSWERS]:
        raise ValueError(f"{answers}: expected A, B or same for each pair, but not for {', '.join(map(str, bad))}")
    found = win_rates([(row["way"], said[row["pair"]], row["after"]) for row in rows])
    print("Pairs judged blind: how often the clip after is the better one, of the pairs that were told apart [95 %]\n")
    for way, (rate, low, high, same) in found.items():
        print(f"{way:14}{rate:6.2f} [{low:.2f}, {high:.2f}]   {same} the same")
    return found


def win_rates(judged: Sequence[tuple[str, str, str]]) -> dict[str, tuple[float, float, float, int]]:
    """For each way and for "all": the share of pairs won of those that were told apart, its exact binomial interval
    (Clopper and Pearson), and how many were the same.

    Args:
        judged: way, answer ("A", "B" or "same"), and the side of the clip after.
    """
    found = {}
    for way in (*dict.fromkeys(way for way, *_ in judged), "all"):
        some = [(answer, after) for name, answer, after in judged if way in (name, "all")]
        told = [answer == after for answer, after in some if answer != "same"]
        if told:
            interval = binomtest(sum(told), len(told)).proportion_ci()
            found[way] = (float(np.mean(told)), float(interval.low), float(interval.high), len(some) - len(told))
        else:
            found[way] = (float("nan"), 0.0, 1.0, len(some))
    return found


def _strip(clip: np.ndarray) -> np.ndarray:
    """Frames of a clip side by side, enlarged."""
    shown = clip[np.linspace(0, len(clip) - 1, _SHOWN).round().astype(int)]
    large = [cv2.resize(f, None, fx=_ENLARGED, fy=_ENLARGED, interpolation=cv2.INTER_CUBIC) for f in shown]
    return np.concatenate(large, axis=1)


def _labelled(name: str, strips: Sequence[np.ndarray]) -> np.ndarray:
    rows = []
    for side, strip in zip("AB", strips, strict=True):
        margin = np.full((len(strip), 70, 3), 255, np.uint8)
        cv2.putText(margin, f"{name}{side}", (4, 40), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (0, 0, 0), 2)
        rows.append(np.concatenate([margin, strip], axis=1))
    line = np.full((10, rows[0].shape[1], 3), 255, np.uint8)
    return np.concatenate([*rows, line])
