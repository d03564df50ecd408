"""A training that a CPU does in a minute: four clips, a tiny model that has learned from careless annotators, GRPO.

`python -m tests.train.grpo.small OUT [--steps 60] [--svg FILE]` runs the whole and prints its curve.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tests.detectors.vlm.hf.tiny import save_tiny

from deeptrace.data import write_reward_data
from deeptrace.detectors.vlm.hf.processors import collate, labels, load_processor
from deeptrace.geometry import Box
from deeptrace.prompts import question, write_answer
from deeptrace.schema import Label, Media, Sample, Trace
from deeptrace.train.grpo.config import GrpoConfig
from deeptrace.train.grpo.ground_truth import GroundTruth
from deeptrace.train.grpo.run import train_grpo
from deeptrace.train.vlm.examples import read_examples
from deeptrace.train.vlm.frame_store import FrameStore
from deeptrace.train.vlm.models import load_trainable, save_trained
from deeptrace.train.vlm.settings import detector_settings
from deeptrace.video import write_video

SIDE, PATCH, SECONDS, FPS = 112, 14, 2.0, 4
COLOURS = ((200, 40, 40), (40, 160, 40), (40, 40, 220), (180, 180, 40))
FORM = {"explanation": False, "per": "video"}


def make_clips(folder: Path) -> Path:
    """A RewardData folder: each second clip gets a white square at a place and time of its own."""
    rng = np.random.default_rng(0)
    samples = []
    for number in range(len(COLOURS)):
        frames = np.empty((int(SECONDS * FPS), SIDE, SIDE, 3), np.uint8)
        frames[:] = COLOURS[number]
        traces: tuple[Trace, ...] = ()
        if number % 2 == 0:
            left, top = (int(k) * PATCH for k in rng.integers(0, 5, 2))
            wide, high = (int(k) * PATCH for k in rng.integers(2, 4, 2))
            onset_s = float(rng.integers(0, 3)) * 0.5
            frames[int(onset_s * FPS) :, top : top + high, left : left + wide] = 255
            box = Box.from_pixels_xyxy(left, top, left + wide, top + high, width=SIDE, height=SIDE)
            traces = (Trace(box=box, onset_s=onset_s, offset_s=SECONDS),)
        write_video(folder / f"{number}.mp4", list(frames), fps=FPS, crf=10)
        label = Label.FAKE if traces else Label.REAL
        media = Media(width=SIDE, height=SIDE, duration_s=SECONDS, fps=FPS, frames=len(frames))
        sample = Sample(video_id=f"v{number}", path=f"{number}.mp4", label=label, source="made", split="train")
        samples.append(sample.model_copy(update={"media": media, "traces": traces}))
    write_reward_data(samples, folder / "all_data.json")
    return folder


def careless(truth: GroundTruth, rng: random.Random) -> str:
    """The answer of an annotator who is wrong about one video in five, and places boxes a patch off."""
    label = truth.sample.label if rng.random() < 0.8 else Label.FAKE if not truth.is_fake else Label.REAL
    if label is Label.REAL:
        return write_answer(label, form=truth.form, view=truth.view)
    corners = (14.0, 14.0, 56.0, 56.0)
    if truth.is_fake:
        corners = truth.traces[0].box.to_pixels_xyxy(width=SIDE, height=SIDE)  # type: ignore[union-attr]
    x0, y0, x1, y1 = (min(max(c + rng.choice([-PATCH, 0, PATCH]), 0), SIDE) for c in corners)
    if x1 <= x0 or y1 <= y0:
        x0, y0, x1, y1 = corners
    box = Box.from_pixels_xyxy(x0, y0, x1, y1, width=SIDE, height=SIDE)
    named = Trace(box=box, onset_s=rng.choice([0.0, 0.5, 1.0]))
    return write_answer(label, (named,), form=truth.form, view=truth.view)


def warm_up(config: GrpoConfig, base: Path, folder: Path, *, steps: int = 200) -> None:
    """Teach `base` what careless annotators say of the config's clips, and write it to `folder`."""
    processor = load_processor(base, request=config.view)
    store = FrameStore(config.view, processor)
    shown = []
    for video in read_examples(config.data, per="video"):
        clip = store.clip(video.path)
        shown.append((clip, GroundTruth.of(video.sample, form=config.form.form, view=clip.view())))
    model = load_trainable(config.model.model_copy(update={"base": str(base)})).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    rng = random.Random(0)
    asked = question(config.form.form)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 3e-3 * (1 - step / steps)
        batch = [processor.process(clip.frames, clip.times_s, asked, careless(truth, rng)) for clip, truth in shown]
        tensors = collate(batch, pad_id=processor.pad_id, side="right")
        loss = model(**tensors, labels=labels(batch, side="right")).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    save_trained(model, str(base), processor, detector_settings(config.view, config.form), folder)


def small_config(folder: Path, *, out: str = "run", kind: str = "qwen2_5_vl", **changes: Any) -> GrpoConfig:
    """The config of a small training in `folder`."""
    fields: dict[str, Any] = {
        "model": {"base": str(folder / "warm"), "dtype": "float32", "attention": "sdpa", "checkpointing": False},
        "data": [{"path": str(folder / "clips")}],
        "validation": {"path": str(folder / "clips"), "split": "train"},
        "out": folder / out,
        "view": {"cache": folder / "frames"},
        "form": FORM,
        "learn": {"group": 16, "rows": 16, "max_tokens": 48, "kl": 0.02},
        "steps": 20,
        "questions": 4,
        "learning_rate": 5e-4,
        "warmup": 0,
        "check_every": 0,
    }
    return GrpoConfig.model_validate(fields | changes)


def prepare(folder: Path, *, kind: str = "qwen2_5_vl", steps: int = 200) -> Path:
    """Clips in `folder`/clips, and a model that has seen careless answers in `folder`/warm."""
    torch.manual_seed(0)
    make_clips(folder / "clips")
    base = save_tiny(kind, folder / "base")
    warm_up(small_config(folder), base, folder / "warm", steps=steps)
    return folder


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--kind", default="qwen2_5_vl")
    chosen = parser.parse_args(arguments)
    prepare(chosen.out, kind=chosen.kind)
    train_grpo(small_config(chosen.out, steps=chosen.steps))


if __name__ == "__main__":
    main()
