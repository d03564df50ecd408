"""Does the reward fall as a trace grows? Camera clips with one synthetic trace at rising severity, beside peers.

    deeptrace train tracenet examples/tracenet_nets.json   # once; leaves one model a fold
    python benchmarks/reward_ladder.py [--run out/tracenet_nets] [--clips 20] [--out out/ladder]

The trace of a ladder stays the same in place, time and manner (one seed); only its severity rises. For each kind:
Spearman's correlation of severity with the mean reward of a rung, and with the rewards of single clips; -1 is right.
Then what re-encoding, resizing and brightening the untouched clip do to each measure, in steps of its own ladder.
Intervals draw clips. About 15 s of one core a clip; values are kept in --out, so that a second run only prints.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from curves import Series, chart
from deeptrace.detectors import Detector
from deeptrace.errors import DeeptraceError
from deeptrace.io.journal import Journal
from deeptrace.schema import Category
from deeptrace.synth import Scene
from deeptrace.train.tracenet.clips import Clip, Kind
from deeptrace.train.tracenet.flaws import BENIGN_EDITS, LEVELS, benign_edits, ladder, short_segment
from deeptrace.video import video_from_array
from evidence import MEASURES, Judge, judge_and_clips, mean_of, parser_of, rank_rows, shown, values_of, with_interval


def main() -> int:
    parser = parser_of(__doc__, "out/ladder")
    parser.add_argument("--clips", type=int, default=20, help="camera clips that get a ladder of each kind")
    parser.add_argument("--kind", action="append", type=Category, help="only ladders of this kind; may be repeated")
    asked = parser.parse_args()
    found = judge_and_clips(asked)
    if found is None:
        return 2
    judge, clips = found
    real = [clip for clip in clips if clip.kind is Kind.REAL]
    chosen = [real[i] for i in np.random.default_rng(2).permutation(len(real))[: asked.clips]]
    with Journal(asked.out / "values.jsonl") as journal:
        fill(journal, chosen, judge, asked.kind or list(Category))
        figures = {"by_kind": table_kinds(journal), "measures": table_measures(journal)}
    (asked.out / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")
    (asked.out / "ladder.svg").write_text(picture(figures["by_kind"]))
    print(f"\ncurves: {asked.out / 'ladder.svg'}")
    return 0


# -- measuring --------------------------------------------------------------------------------------------------------


def fill(journal: Journal, clips: list[Clip], judge: Judge, kinds: list[Category]) -> None:
    """Judge what is not in the journal yet: a record a ladder, and one a benign edit."""
    for number, clip in enumerate(clips):
        if f"{clip.name}|done" in journal:
            continue
        try:
            pictures, times = short_segment(clip)
            scene = Scene.of(pictures, times)
        except DeeptraceError as error:
            print(f"left out: {error}", file=sys.stderr)
            continue
        detector = judge(clip)
        for name, values in benign(clip, detector):
            journal.add(f"{clip.name}|{name}", {"values": values})
        clean = values_of(detector, video_from_array(pictures, times_s=list(times), name=clip.name, as_is=True))
        for category in kinds:
            rungs = list(ladder(scene, category, seed=(9, number, list(Category).index(category))))
            if len(rungs) == len(LEVELS) - 1:
                videos = [video_from_array(r, times_s=list(times), name=clip.name, as_is=True) for r in rungs]
                journal.add(
                    f"{clip.name}|{category}", {"rungs": [clean, *(values_of(detector, video) for video in videos)]}
                )
        journal.add(f"{clip.name}|done", {})


def benign(clip: Clip, detector: Detector) -> Iterator[tuple[str, dict[str, float]]]:
    """The values of a clip at its own size, as "own size", and after each benign edit."""
    pictures, times = short_segment(clip, None)
    yield "own size", values_of(detector, video_from_array(pictures, times_s=list(times)))
    for name, edited in benign_edits(pictures, times):
        yield name, values_of(detector, edited)


# -- tables -----------------------------------------------------------------------------------------------------------


def ladders_of(journal: Journal, measure: str, category: str = "all") -> tuple[np.ndarray, list[str]]:
    """A measure's ladders (N, rungs) of one kind or all, and the clip of each."""
    found = [(key, r["rungs"]) for key, r in journal.items() if "rungs" in r]
    found = [(key, rungs) for key, rungs in found if category in ("all", key.rpartition("|")[2])]
    table = np.array([[rung[measure] for rung in rungs] for _, rungs in found]).reshape(-1, len(LEVELS))
    return table, [key.rpartition("|")[0] for key, _ in found]


def correlations(table: np.ndarray, names: list[str]) -> dict[str, tuple[float, float, float]]:
    """Spearman with severity of the mean rung, and of single ladders in the mean."""
    return {
        "rho_mean": with_interval(table, lambda means: rank_rows(means, LEVELS), names),
        "rho_clip": with_interval(rank_rows(table, LEVELS)[:, None], mean_of, names),
    }


def table_kinds(journal: Journal) -> dict[str, dict[str, Any]]:
    print("\nReward by severity of one planted trace (0: the clip as it was); rho: Spearman with severity [95 %]\n")
    levels = "".join(f"{level:7.1f}" for level in LEVELS)
    print(f"{'':24}{'n':>4}  {levels}{'rho of the mean':>24}{'rho of a clip':>24}")
    figures: dict[str, dict[str, Any]] = {}
    for category in ("all", *(c.value for c in Category)):
        table, names = ladders_of(journal, "reward", category)
        if not len(table):
            continue
        means = table.mean(axis=0)
        figures[category] = row = {"n": len(table), "means": means.tolist(), **correlations(table, names)}
        cells = "".join(f"{value:7.3f}" for value in means)
        print(f"{category:24}{len(table):4d}  {cells}{shown(row['rho_mean'])}{shown(row['rho_clip'])}")
    return figures


def table_measures(journal: Journal) -> dict[str, dict[str, Any]]:
    print("\nThe same of every measure; and its median change under benign edits, in steps of its own mean ladder\n")
    edits = "".join(f"{name:>12}" for name in BENIGN_EDITS)
    print(f"{'':22}{'rho of the mean':>24}{'kinds <= -0.9':>15}{'rho of a clip':>24}{edits}")
    figures: dict[str, dict[str, Any]] = {}
    for measure in MEASURES:
        table, names = ladders_of(journal, measure)
        kinds = [ladders_of(journal, measure, category)[0] for category in Category]
        rhos = [float(rank_rows(rows.mean(axis=0)[None], LEVELS)[0]) for rows in kinds if len(rows)]
        step = abs(float(table[:, -1].mean() - table[:, 0].mean())) / (len(LEVELS) - 1)
        changes = {name: benign_change(journal, measure, name) for name in BENIGN_EDITS}
        figures[measure] = row = {"step": step, "rho_kinds": rhos, "change": changes, **correlations(table, names)}
        right = f"{sum(rho <= -0.9 for rho in rhos)} of {len(rhos)}"
        cells = "".join(f"{change / step:12.2f}" if step > 0 else f"{'-':>12}" for change in changes.values())
        print(f"{measure:22}{shown(row['rho_mean'])}{right:>15}{shown(row['rho_clip'])}{cells}")
    reward = figures["reward"]
    said = ", ".join(f"{name} {change:.4f}" for name, change in reward["change"].items())
    print(f"one step of the reward: {reward['step']:.4f}; its median change: {said}")
    return figures


def benign_change(journal: Journal, measure: str, name: str) -> float:
    """Median size of a measure's change under an edit."""
    clips = [key.rpartition("|")[0] for key in journal if key.endswith("|own size")]
    pairs = [(journal[f"{clip}|own size"]["values"], journal[f"{clip}|{name}"]["values"]) for clip in clips]
    return float(np.median([abs(after[measure] - before[measure]) for before, after in pairs]))


def picture(kinds: dict[str, dict[str, Any]]) -> str:
    """The mean ladders as a chart."""
    series = [Series(name, LEVELS, figures["means"]) for name, figures in kinds.items()]
    return chart("Mean reward by severity of one planted trace", series, x="severity", y="mean reward")


if __name__ == "__main__":
    sys.exit(main())
