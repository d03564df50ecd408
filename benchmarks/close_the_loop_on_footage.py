"""The closed loop on camera footage: a small video generator with flaws of its own, improved with deeptrace's reward.

    python benchmarks/close_the_loop_on_footage.py [--data ../shared/corpus ../shared/corpus2] [--out out/footage]
        [--judge shipped --judge adapted] [--seeds 3] [--quick]

The generator is the flow-matching net of `close_the_loop.py`, trained here on crops of 48 x 48 pixels of camera
footage: it goes on from a first frame and the motion at its start, 12 frames at 8 a second. It is improved by best of
N, DPO, and GRPO with the scalar and with the map, three seeds each, and judged by what the reward never sees (see
`closing_the_loop.unseen`). Controls without a reward: DPO on pairs judged by a coin, and "footage", more pretraining.
"adapted" is the shipped TraceNet with its flaw ranker fitted to this generator, without marks.
Every part is kept in --out and not done again.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from closing_the_loop.adapt import adapted_flaws
from closing_the_loop.blind import read_answers, write_sheets
from closing_the_loop.footage import Footage, read_footage
from closing_the_loop.footage_study import (
    CONTROLS,
    TRAINED,
    FootageExam,
    FootageSizes,
    improve_on_footage,
    key_of,
)
from closing_the_loop.footage_tables import (
    curves,
    table_of_best,
    table_of_gains,
    table_of_quality,
    table_of_stops,
    table_of_ways,
)
from closing_the_loop.generator import Generator, sample, to_clips
from closing_the_loop.improve import Dpo, Grpo
from closing_the_loop.pretrain import load_generator, pretrain, save_state
from closing_the_loop.unseen import Fitting, fit_unseen
from closing_the_loop.world import FRAMES, SIDE
from deeptrace.detectors import DEFAULT_DETECTOR
from deeptrace.io.journal import Journal
from deeptrace.reward import Reward

JUDGES = ("shipped", "adapted")
REAL, MANY = "the footage", "many samples"
QUICK = FootageSizes(
    pretraining=2, checkpoints=(1,), prompts=6, validation=3, reference=20, best_of=2, adapt_clips=3, seeds=2, exams=1,
    fitting=Fitting(steps=2, samples=4, traces=6), dpo=Dpo(prompts=2, samples=2, pairs=1, steps=1, batch=2),
    grpo=Grpo(prompts=2, samples=2, steps=1, walk=2, credited=1), footage=1,
)  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs=2, default=[Path("../shared/corpus"), Path("../shared/corpus2")])
    parser.add_argument("--out", type=Path, default=Path("out/footage"))
    parser.add_argument("--judge", action="append", choices=JUDGES, help="the rewards to use; default: adapted")
    parser.add_argument("--seeds", type=int, help="of each way of training; default: 3")
    parser.add_argument("--quick", action="store_true", help="everything at tiny size: shows that it runs, and no more")
    parser.add_argument("--tables", action="store_true", help="print what is measured so far, and stop")
    parser.add_argument("--pairs", type=int, default=0, metavar="N", help="write N pairs to be judged by eye, and stop")
    parser.add_argument("--answers", type=Path, help="what a rater said of the pairs: print the win rates, and stop")
    asked = parser.parse_args()
    if missing := [str(folder) for folder in asked.data if not (folder / "all_data.json").is_file()]:
        print(f"{', '.join(missing)}: no all_data.json there", file=sys.stderr)
        return 2
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    sizes, judges = QUICK if asked.quick else FootageSizes(), asked.judge or ["adapted"]
    if asked.seeds:
        sizes = replace(sizes, seeds=asked.seeds)
    if asked.answers:
        read_answers(asked.answers, asked.out / "pairs" / "key.json")
        return 0
    parts = read_footage(*asked.data, asked.out / "clips")
    if asked.pairs:
        pairs(parts["test"], sizes, asked.out, judges[0], asked.pairs)
        return 0
    study(parts, asked.out, sizes, judges, measure=not asked.tables)
    return 0


def study(
    parts: dict[str, Footage], out: Path, sizes: FootageSizes, judges: list[str], *, measure: bool = True
) -> dict[str, Any]:
    """Everything, from pretraining to curves, for each of the `JUDGES` named; the figures, which `out` gets as well.
    Without `measure` of what the journal has already, trainings that are not at their end left out."""
    draw = parts["train"].draw
    base = pretrain(out / "generator", sizes.pretraining, draw=draw, keep=sizes.checkpoints)
    checkpoints = [*(out / "generator" / f"step{step}.pt" for step in sizes.checkpoints), base]
    nets = {path.stem: load_generator(path) for path in checkpoints}
    known = dict(list(nets.items())[-2:])
    unseen = fit_unseen(parts["judges"], known, out / "unseen", sizes.fitting)
    figures: dict[str, Any] = {"sizes": asdict(sizes)}
    for judge in judges:
        detector = DEFAULT_DETECTOR
        if judge == "adapted":
            detector = adapted_flaws(nets[base.stem], draw, out / "adapted", sizes.adapt_clips)
        with Reward(detector, min_score=0.0, inline=True) as reward:
            exam = FootageExam(sizes, parts["test"], reward, unseen)
            print(f"\n== The {judge} reward: {reward.info.name}, weights {reward.info.settings['weights']}")
            with Journal(out / f"exams_{judge}.jsonl") as journal:
                if measure:
                    fill(exam, sizes, nets, parts["train"], journal, out / judge)
                figures[judge] = report(journal, list(nets), sizes, exam, out / judge)
    (out / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")
    return figures


def fill(
    exam: FootageExam, sizes: FootageSizes, nets: dict[str, Generator], train: Footage, journal: Journal, out: Path
) -> None:
    """Measure what is not in the journal yet."""
    out.mkdir(parents=True, exist_ok=True)
    *earlier, last = nets
    for name, net in {**{name: nets[name] for name in earlier}, REAL: None}.items():
        if name not in journal:
            journal.add(name, exam.sit(net, 0))
    for seed in range(sizes.seeds):
        if key_of(last, seed, 0) not in journal:
            journal.add(key_of(last, seed, 0), exam.sit(nets[last], seed))
    if MANY not in journal:
        marks, clips = exam.sit_many(nets[last], sizes.best_of)
        np.save(out / "many.npy", clips)
        journal.add(MANY, marks)
    for seed in range(sizes.seeds):
        for way in (*TRAINED, *CONTROLS):
            made = improve_on_footage(way, seed, nets[last], sizes, exam, train, journal)
            if made is not None:
                save_state(made.state_dict(), out / f"{way.replace(', ', '_')}_{seed}.pt")


def report(journal: Journal, stems: list[str], sizes: FootageSizes, exam: FootageExam, out: Path) -> dict[str, Any]:
    """Print the tables and write the curves."""
    base = [journal[key_of(stems[-1], seed, 0)] for seed in range(sizes.seeds)]
    done = {
        way: [seed for seed in range(sizes.seeds) if key_of(way, seed, sizes.updates(way)) in journal]
        for way in (*TRAINED, *CONTROLS)
    }
    ways = {
        way: [[base[s], *(journal[key] for key in journal if key.startswith(f"{way}|{s}|"))] for s in seeds]
        for way, seeds in done.items()
        if seeds
    }
    ends = {way: [course[-1] for course in courses] for way, courses in ways.items()}
    rows = {**{name: [journal[name]] for name in stems[:-1]}, stems[-1]: base, **ends, REAL: [journal[REAL]]}
    table_of_quality(rows, exam.reference)
    figures = {
        "best_of": table_of_best(journal[MANY], sizes.best_of, exam.reference),
        "ways": table_of_ways(ways, exam.reference),
        "stopped": table_of_stops(ways, exam.reference),
    }
    beside = [way for way in CONTROLS if done["dpo"] and done[way] == done["dpo"]]
    if beside:
        figures["gains"] = table_of_gains(ways, beside, exam.reference)
    for path in curves(ways, out) if ways else []:
        print(f"curves: {path}")
    return figures


def pairs(test: Footage, sizes: FootageSizes, out: Path, judge: str, count: int) -> None:
    """Clips of what is improved beside those of before, on prompts of the test, for a blind rater.

    Best of N: the best by the reward beside another sample of its prompt. A way of training: the same prompt and noise.
    """
    states = {way: out / judge / f"{way.replace(', ', '_')}_0.pt" for way in TRAINED}
    trained = {way: path for way, path in states.items() if path.is_file()}
    share = count // (1 + len(trained))
    with Journal(out / f"exams_{judge}.jsonl") as journal:
        rewards = np.array(journal[MANY]["marks"]["reward"]).reshape(-1, sizes.best_of)
    many = np.load(out / judge / "many.npy").reshape(*rewards.shape, FRAMES, SIDE, SIDE, 3)
    shown = {"best of N": [(many[i, other], many[i, best]) for i, best, other in _picks(rewards)[:share]]}
    base = load_generator(out / "generator" / f"step{sizes.pretraining}.pt")
    for number, (way, path) in enumerate(trained.items()):
        scenes = test.draw(np.random.default_rng(62 + number), share)
        nets = (base, load_generator(path))
        both = [to_clips(sample(net, scenes.condition, seed=63 + number), scenes.condition) for net in nets]
        shown[way] = list(zip(*both, strict=True))
    print(f"sheets: {write_sheets(shown, out / 'pairs', seed=64)}")


def _picks(rewards: np.ndarray) -> list[tuple[int, int, int]]:
    """Prompt, its best sample and another, at random: each prompt once before any comes again."""
    rng = np.random.default_rng(61)
    best = rewards.argmax(axis=1)
    others = [rng.permutation(np.delete(np.arange(rewards.shape[1]), best[i])) for i in range(len(rewards))]
    order = rng.permutation(len(rewards))
    return [(int(i), int(best[i]), int(others[i][k])) for k in range(rewards.shape[1] - 1) for i in order]


if __name__ == "__main__":
    sys.exit(main())
