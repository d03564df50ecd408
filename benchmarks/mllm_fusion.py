"""What verification by the default detector does to a language model's labels, and what its findings add to a question.

    deeptrace train tracenet examples/tracenet_nets.json   # once; leaves one model a fold
    python benchmarks/mllm_fusion.py [--run out/tracenet_nets] [--data ../shared/corpus] [--out out/fusion]

The expert's verdicts are real: each clip is judged by the fold's model that never saw its generator, source or matched
pair. The language models' labels are **simulated**: drawn with the error rates that the paper published for each
baseline, as no such model runs here. Two extremes are drawn, between which a real model lies: its errors fall on clips
by chance, or first of all on the clips that the expert gets most wrong. What a model makes of findings in its question
cannot be simulated: of that, only the length is measured.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from deeptrace.benchmark.tables import published_rows
from deeptrace.detectors.vlm.fusion import verified, with_findings
from deeptrace.prompts import ZERO_SHOT, View, question
from deeptrace.schema import Label, Outcome, Verdict
from deeptrace.train.tracenet.clips import Kind, read_clips
from deeptrace.train.tracenet.feature_cache import AS_IS
from detect_quality import Folds, judge

WEIGHTS = (0.25, 0.5, 0.75)
DRAWS = 50


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("out/tracenet_nets"))
    parser.add_argument("--data", type=Path, default=Path("../shared/corpus"))
    parser.add_argument("--out", type=Path, default=Path("out/fusion"))
    asked = parser.parse_args()
    if not (asked.data / "all_data.json").is_file() or not list(asked.run.glob("fold[0-9]*")):
        print(f"needs {asked.data}/all_data.json and the folds of a training in {asked.run}", file=sys.stderr)
        return 2
    asked.out.mkdir(parents=True, exist_ok=True)
    folds = Folds(asked.run)
    clips = [
        clip for clip in read_clips(asked.data) if clip.name in folds.of and clip.kind in (Kind.REAL, Kind.GENERATED)
    ]
    found = judge(clips, folds, asked.out / "as_is.jsonl", AS_IS)
    pairs = [(found[clip.name], clip.kind is Kind.GENERATED) for clip in clips if found[clip.name].p_fake is not None]
    measured, fake = [verdict for verdict, _ in pairs], np.array([truth for _, truth in pairs])
    print_labels(measured, fake)
    print_findings(measured)
    return 0


def print_labels(measured: Sequence[Verdict], fake: np.ndarray) -> None:
    p = np.array([verdict.p_fake for verdict in measured])
    alone = balanced(p >= 0.5, fake)
    print(f"{fake.sum()} generated clips, {(~fake).sum()} of camera footage; balanced accuracy, in %")
    print(f"the expert alone, at 0.5: {alone:.1f}\n")
    print(
        f"{'simulated by published rates':<32}{'alone':>7}   errors by chance     {'':>4}errors where the expert errs"
    )
    print(f"{'weight of the expert':<32}{'':>7}" + "".join(f"{weight:7.2f}" for weight in WEIGHTS) * 2)
    table = {said: [outcomes(measured, said, weight) for weight in WEIGHTS] for said in Label}
    for row in (row for row in published_rows("test") if row.group != "ablation"):
        right = row.paper["fake_accuracy"] / 100, row.paper["real_accuracy"] / 100
        cells = [
            np.mean([answered(draw, table, fake) for draw in labels(right, fake, p, worst=w)], axis=0) for w in (0, 1)
        ]
        shown = "".join(f"{cell:7.1f}" for cell in np.concatenate(cells))
        print(f"{row.model:<32}{50 * sum(right):7.1f}{shown}")


def outcomes(measured: Sequence[Verdict], said: Label, weight: float) -> np.ndarray:
    """Which clips end as FAKE when the model says `said` of every clip, (N,) bool; through `verified` itself."""
    answer = Verdict(video="", outcome=Outcome.SCORED, label=said)
    return np.array([verified(answer, verdict, weight=weight).label is Label.FAKE for verdict in measured])


def labels(right: tuple[float, float], fake: np.ndarray, p: np.ndarray, *, worst: int) -> list[np.ndarray]:
    """Draws of a model's labels, (N,) bool, right as often as said of generated and of camera clips.

    With `worst`, its errors are the clips of which the expert is least sure in the right direction, or most wrong.
    """
    if worst:
        drawn = fake.copy()
        for truth, rate in ((True, right[0]), (False, right[1])):
            mine = np.flatnonzero(fake == truth)
            wrongest = mine[np.argsort(p[mine] if truth else -p[mine])]
            drawn[wrongest[: round((1 - rate) * len(mine))]] ^= True
        return [drawn]
    chance = np.random.default_rng(0)
    rates = np.where(fake, right[0], right[1])
    return [fake ^ (chance.random(len(fake)) >= rates) for _ in range(DRAWS)]


def answered(said: np.ndarray, table: dict[Label, list[np.ndarray]], fake: np.ndarray) -> list[float]:
    """Balanced accuracy of one draw once verified, for each weight."""
    return [
        balanced(np.where(said, if_fake, if_real), fake)
        for if_fake, if_real in zip(table[Label.FAKE], table[Label.REAL], strict=True)
    ]


def balanced(called: np.ndarray, fake: np.ndarray) -> float:
    return 50.0 * float(called[fake].mean() + (~called[~fake]).mean())


def print_findings(measured: Sequence[Verdict]) -> None:
    plain = question(ZERO_SHOT)
    longer = []
    for verdict in measured:
        media = verdict.media
        view = View() if media is None else View.of(media, resized=(media.width, media.height))
        longer.append(len(with_findings(plain, verdict, form=ZERO_SHOT, view=view)) - len(plain))
    print(
        f"\nfindings in the question: {np.median(longer):.0f} characters more (median), at most {max(longer)}; "
        f"the question alone has {len(plain)}"
    )


if __name__ == "__main__":
    sys.exit(main())
