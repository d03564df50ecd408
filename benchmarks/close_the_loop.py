"""A small video generator, trained here, improved with deeptrace's reward: best-of-N, DPO and GRPO.

    python benchmarks/close_the_loop.py [--out out/loop] [--judge shipped --judge adapted]

The generator is a flow-matching net of 1.4 M parameters that animates a first frame of 48 x 48 pixels along given
paths; every prompt has one right clip, its render. "shipped" is the default detector; "adapted" is a TraceNet that
`deeptrace train tracenet` makes of renders and samples. Tables: rewards and independent measures for generators of
rising quality; whether a reward orders clips rightly; best of N; each way of training; curves over the updates.
About 30 minutes of one core; every part is kept in --out and not done again.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from closing_the_loop.adapt import adapted_detector
from closing_the_loop.pretrain import load_generator, pretrain
from closing_the_loop.study import WAYS, Exam, Sizes, improve, sit, sit_many
from closing_the_loop.tables import curves_of, table_best, table_quality, table_signal, table_ways
from deeptrace.detectors import DEFAULT_DETECTOR
from deeptrace.io.journal import Journal
from deeptrace.reward import Reward

JUDGES = ("shipped", "adapted")
RENDERS, MANY = "the renders", "many samples"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/loop"))
    parser.add_argument("--judge", action="append", choices=JUDGES, help="the rewards to use; default: both")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    study(asked.out, Sizes(), asked.judge or list(JUDGES))
    return 0


def study(out: Path, sizes: Sizes, judges: list[str]) -> dict[str, Any]:
    """Everything, from pretraining to curves, for each of the `JUDGES` named; the figures, which `out` gets as well."""
    base = pretrain(out / "generator", sizes.pretraining, keep=sizes.checkpoints)
    checkpoints = [*(out / "generator" / f"step{step}.pt" for step in sizes.checkpoints), base]
    figures: dict[str, Any] = {"sizes": asdict(sizes)}
    for judge in judges:
        detector = DEFAULT_DETECTOR
        if judge == "adapted":
            detector = adapted_detector(checkpoints, out / judge, clips=sizes.adapt_clips, steps=sizes.adapt_steps)
        # min_score 0: weak traces count, too, so that the reward has fewer plateaus
        exam = Exam(sizes, Reward(detector, min_score=0.0))
        print(f"\n== The {judge} reward: {exam.reward.info.name}, weights {exam.reward.info.settings['weights']}")
        with Journal(out / f"exams_{judge}.jsonl") as journal:
            fill(exam, sizes, checkpoints, journal, out)
            figures[judge] = report(journal, [p.stem for p in checkpoints], sizes, out, judge)
    (out / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")
    return figures


def fill(exam: Exam, sizes: Sizes, checkpoints: list[Path], journal: Journal, out: Path) -> None:
    """Measure what is not in the journal yet."""
    for name, path in {**{p.stem: p for p in checkpoints}, RENDERS: None}.items():
        if name not in journal:
            journal.add(name, sit(exam, load_generator(path) if path else None))
    net = load_generator(checkpoints[-1])
    if MANY not in journal:
        marks, clips = sit_many(exam, net, sizes.best_of)
        cv2.imwrite(str(out / "samples.png"), sheet(exam, clips, sizes.best_of))
        journal.add(MANY, marks)
    for way in WAYS:
        improve(way, net, sizes, exam, journal)


def report(journal: Journal, stems: list[str], sizes: Sizes, out: Path, judge: str) -> dict[str, Any]:
    """Print the tables and write the curves."""
    rows = {name: journal[name] for name in (*stems, RENDERS)}
    base, many = journal[stems[-1]], journal[MANY]
    ends = {way: journal[f"{way}|{sizes.updates(way)}"] for way in WAYS}
    table_quality(rows | ends)
    figures = {
        "signal": table_signal(rows, many, sizes.best_of),
        "best_of": table_best(many, sizes.best_of),
        "ways": table_ways(base, ends),
    }
    for column in ("reward", "consistency", "error"):
        path = out / f"curve_{judge}_{column}.svg"
        path.write_text(curves_of(base, journal, column, f"trained with the {judge} reward"))
        print(f"curves: {path}")
    return figures


def sheet(exam: Exam, clips: np.ndarray, samples: int) -> np.ndarray:
    """Six prompts: every third frame of the render, and below it of the first sample; BGR, three times as large."""
    rows = []
    for index in range(min(6, len(exam.renders))):
        for clip in (exam.renders[index].frames, clips[index * samples]):
            rows.append(np.concatenate(list(clip[::3]), axis=1))
    half = len(rows) // 2
    both = np.concatenate([np.concatenate(rows[:half]), np.concatenate(rows[half : 2 * half])], axis=1)
    return cv2.resize(both[..., ::-1], None, fx=3, fy=3, interpolation=cv2.INTER_NEAREST)


if __name__ == "__main__":
    sys.exit(main())
