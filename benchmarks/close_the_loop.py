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
from deeptrace.evaluate.journal import Journal
from deeptrace.reward import Reward

JUDGES = ("shipped", "adapted")


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
    """Everything, from pretraining to curves, with the `JUDGES` named; the figures, which `out` gets as well."""
    base_path = pretrain(out / "generator", sizes.pretraining, keep=sizes.checkpoints)
    checkpoints = [*(out / "generator" / f"step{step}.pt" for step in sizes.checkpoints), base_path]
    detectors = {"shipped": DEFAULT_DETECTOR}
    if "adapted" in judges:
        detectors["adapted"] = adapted_detector(
            checkpoints, out / "adapted", clips=sizes.adapt_clips, steps=sizes.adapt_steps
        )
    # min_score 0: weak traces count, too, so that the reward has fewer plateaus
    exam = Exam(sizes, {name: Reward(detectors[name], min_score=0.0) for name in judges})
    net = load_generator(base_path)
    with Journal(out / "exams.jsonl") as journal:
        for name, path in {**{f"{p.stem}": p for p in checkpoints}, "the renders": None}.items():
            if name not in journal:
                journal.add(name, sit(exam, load_generator(path) if path else None))
        if "many" not in journal:
            marks, clips = sit_many(exam, net, sizes.best_of)
            cv2.imwrite(str(out / "samples.png"), sheet(exam, clips, sizes.best_of))
            journal.add("many", marks)
        for judge, reward in exam.judges.items():
            for way in WAYS:
                improve(way, net, reward, sizes, exam, journal, f"{judge}: {way}")
        figures = report(journal, [p.stem for p in checkpoints], sizes, out, judges)
    text = json.dumps({"sizes": asdict(sizes), **figures}, indent=1)
    (out / "figures.json").write_text(text + "\n")
    return figures


def report(journal: Journal, stems: list[str], sizes: Sizes, out: Path, judges: list[str]) -> dict[str, Any]:
    """Print the tables and write the curves."""
    rows = {name: journal[name] for name in (*stems, "the renders")}
    base = journal[stems[-1]]
    last = {way: sizes.dpo.steps if way == "dpo" else sizes.grpo.steps for way in WAYS}
    ends = {f"{j}: {way}": journal[f"{j}: {way}|{last[way]}"] for j in judges for way in WAYS}
    table_quality(rows | ends, judges)
    figures = {
        "signal": table_signal(rows, journal["many"], judges, sizes.best_of),
        "best_of": table_best(journal["many"], judges, sizes.best_of),
        "ways": table_ways(base, ends, judges),
    }
    for judge in judges:
        for column in (f"reward: {judge}", "consistency", "error"):
            name = f"curve_{judge}_{column.split(':')[0]}.svg"
            (out / name).write_text(curves_of(base, journal, judge, column))
            print(f"curves: {out / name}")
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
