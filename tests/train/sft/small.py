"""Real trainings that a CPU does in minutes: a tiny model learns planted clips by heart, in each form of answer.

`python -m tests.train.sft.small OUT [--kind qwen2_5_vl] [--epochs 90] [--forms 8]` trains all eight ablations, measures
each by `deeptrace eval`'s own code on the clips that it learned, and prints a table, the curve of the whole form's loss
and what each model says of one clip.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tests.detectors.vlm.hf.tiny import save_tiny
from tests.train.sft.made import config_fields, write_synthetic

from deeptrace.benchmark.run import Evaluation, evaluate
from deeptrace.schema import Label
from deeptrace.train.sft.config import SftConfig
from deeptrace.train.sft.run import train_sft

PARTS = ("box", "time", "explanation")
LEARNED: dict[str, Any] = {"pack_tokens": 4000, "batch": 1, "learning_rate": 6e-3, "schedule": "linear"}
"""Settings under which a tiny model learns six clips by heart."""


def train(base: Path, data: Path, out: Path, *, epochs: int, without: Sequence[str] = ()) -> tuple[Path, list[float]]:
    """The trained model's folder, and the loss of every step."""
    form = {part: part not in without for part in PARTS}
    trained = train_sft(SftConfig.model_validate(config_fields(base, data, out, epochs=epochs, form=form, **LEARNED)))
    assert trained.folder is not None
    rows = (json.loads(line) for line in (out / "log.jsonl").read_text(encoding="utf-8").splitlines())
    return trained.folder, [row["loss"] for row in rows]


def row(without: Sequence[str], losses: Sequence[float], found: Evaluation) -> str:
    """A line of the table; a part that was not asked for has no figure."""
    paper, video = found.result.as_json()["paper"], found.result.as_json()["per_video"]
    text = found.result.as_json()["text"]
    shown = (
        ", ".join(without) or "nothing",
        f"{losses[0]:.2f}",
        f"{losses[-1]:.4f}",
        f"{video['accuracy']:.0f}",
        "" if "box" in without else f"{paper['bbox_iou']:.1f}",
        "" if "time" in without else f"{paper['time_distance']:.1f}",
        "" if "explanation" in without else f"{text['rouge_l']:.1f}",
    )
    return f"| {' | '.join(shown)} |"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--kind", default="qwen2_5_vl")
    parser.add_argument("--epochs", type=int, default=90)
    parser.add_argument("--forms", type=int, default=8, help="how many of the eight, the whole form first")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    base, data = save_tiny(chosen.kind, chosen.out / "base"), write_synthetic(chosen.out)
    lines, answers, curve = [], [], []
    for dropped in range(chosen.forms):
        without = [part for k, part in enumerate(PARTS) if dropped >> k & 1]
        model, losses = train(base, data, chosen.out / f"run-{dropped}", epochs=chosen.epochs, without=without)
        found = evaluate(data, split="all", detector=f"hf:{model}", bootstrap=0)
        lines.append(row(without, losses, found))
        answers += [v.raw for v in found.verdicts if v is not None and v.label is Label.FAKE][:1]
        curve = curve or [f"{losses[k]:.3f}" for k in range(0, len(losses), max(len(losses) // 9, 1))]
    print(
        "| without | loss, first | last | accuracy | box IoU | time distance | ROUGE-L |\n|---|---|---|---|---|---|---|"
    )
    print("\n".join(lines))
    print("\nloss of the whole form:", " ".join(curve))
    print("\n".join(("", *map(str, answers))))


if __name__ == "__main__":
    main()
