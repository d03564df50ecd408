"""Does the reward order the clips of one generator? Against what annotators marked in them, beside simple peers.

    python benchmarks/reward_within.py [--data ../shared/corpus2 ...] [--detector tracenet] [--out out/within]

For each generated clip: how much is wrong with it by the traces that annotators marked (their number, and the sum of
area times share of the clip), and what each measure says. Kendall's tau counts pairs of clips of one generator whose
marks differ: those that a measure orders as the marks do, less those that it orders the other way, over all of them.
Intervals draw generators. "second annotator" is the limit: the marks of one annotator against those of another.
About 1 s of one core a clip; values are kept in --out, so that a second run only prints.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from deeptrace.data import read_reward_data, resolve_path
from deeptrace.detectors import Detector, load_detector
from deeptrace.detectors.tracenet.flaw_measures import MEASURES
from deeptrace.errors import DeeptraceError
from deeptrace.io.journal import Journal, read_lines
from deeptrace.metrics.correlation import kendall
from deeptrace.reward import explain_reward
from deeptrace.reward.other_models import amount_of_marks
from deeptrace.schema import Label, Sample
from deeptrace.video import open_video
from evidence import values_of

MARKS = ("area x time", "number")
SHOWN = (
    "reward", "reward, every trace", "flaws", "flaws and traces", "trace factor", "authenticity", "baseline:d3",
    "baseline:npr", "sharpness", "stillness", *MEASURES,
)  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", default=[Path("../shared/corpus"), Path("../shared/corpus2")])
    parser.add_argument("--detector", default="tracenet")
    parser.add_argument("--out", type=Path, default=Path("out/within"))
    asked = parser.parse_args()
    if missing := [str(folder) for folder in asked.data if not (folder / "all_data.json").is_file()]:
        print(f"{', '.join(missing)}: no all_data.json there", file=sys.stderr)
        return 2
    detector = load_detector(asked.detector, min_score=0.0)
    figures = {}
    with Journal(asked.out / "values.jsonl") as journal:
        for folder in asked.data:
            samples = [s for s in read_reward_data(folder) if s.label is Label.FAKE and s.source]
            fill(journal, folder, samples, detector)
            figures[folder.name] = table(folder, samples, journal)
    (asked.out / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")
    return 0


def fill(journal: Journal, folder: Path, samples: Sequence[Sample], detector: Detector) -> None:
    """Measure what is not in the journal yet."""
    for sample in samples:
        if (key := f"{folder.name}/{sample.path}") in journal:
            continue
        try:
            with open_video(resolve_path(sample, folder)) as video:
                values = values_of(detector, video)
                parts = explain_reward(detector.detect(video))
        except DeeptraceError as error:
            print(f"left out: {error}", file=sys.stderr)
            continue
        if parts.flaw_severity is not None:
            values["flaws"] = parts.flaw_factor
            values["flaws and traces"] = parts.flaw_factor * parts.trace_factor
        values |= {name: -beyond for name, beyond in parts.measures.items()}
        journal.add(key, {"values": values})


def table(folder: Path, samples: Sequence[Sample], journal: Journal) -> dict[str, object]:
    """Print one corpus's table; returns its figures."""
    rows = [(s, journal[f"{folder.name}/{s.path}"]["values"]) for s in samples if f"{folder.name}/{s.path}" in journal]
    groups = [str(sample.source) for sample, _ in rows]
    marked = np.array([amount_of_marks(s.traces, s.media.duration_s if s.media else 1.0)[::-1] for s, _ in rows])
    print(f"\nWithin a generator, {folder.name}: {len(rows)} clips of {len(set(groups))} generators")
    print("Kendall's tau with the marks [95 %]\n")
    print(f"{'':24}" + "".join(f"{name:>24}" for name in MARKS))
    found: dict[str, object] = {}
    for name in SHOWN:
        if all(name in values for _, values in rows):
            said = np.array([values[name] for _, values in rows])
            found[name] = [tau_within(-said, marked[:, k], groups) for k in range(len(MARKS))]
    if (limit := second_annotator(folder, samples)) is not None:
        found["second annotator"] = limit
    for name, taus in found.items():
        cells = "".join(f"{tau:.2f} [{low:5.2f}, {high:5.2f}]".rjust(24) for tau, low, high in taus)  # type: ignore[attr-defined]
        print(f"{name:24}{cells}")
    return found


def tau_within(said: np.ndarray, marked: np.ndarray, groups: Sequence[str]) -> tuple[float, float, float]:
    """Kendall's tau over pairs of one group whose marks differ, with its 95 % interval from drawing groups."""
    found = kendall(said, marked, groups, within=True, ties="y")
    low, high = found.interval or (float("nan"), float("nan"))
    return float("nan") if found.value is None else found.value, low, high


def second_annotator(folder: Path, samples: Sequence[Sample]) -> list[tuple[float, float, float]] | None:
    """Tau of one annotator's marks with another's; None where the folder keeps no single annotations."""
    path = folder / "passes.jsonl"
    if not path.is_file():
        return None
    by_file: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for row in read_lines(path):
        boxes = [(trace["box"], trace["offset_s"] - trace["onset_s"]) for trace in row["traces"] if trace.get("box")]
        seen = sum((x1 - x0) * (y1 - y0) * max(lasting, 0.0) for (x0, y0, x1, y1), lasting in boxes)
        by_file[row["file"]].append((seen, float(len(row["traces"]))))
    twice = [sample for sample in samples if len(by_file[sample.path]) >= 2]
    if not twice:
        return None

    def column(who: int, what: int) -> np.ndarray:
        return np.array([by_file[s.path][who][what] for s in twice])

    groups = [str(sample.source) for sample in twice]
    lengths = np.array([sample.media.duration_s if sample.media else 1.0 for sample in twice])
    return [
        tau_within(column(0, 0) / lengths, column(1, 0) / lengths, groups),
        tau_within(column(0, 1), column(1, 1), groups),
    ]


if __name__ == "__main__":
    sys.exit(main())
