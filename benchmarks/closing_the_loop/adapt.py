"""A reward for this generator: TraceNet trained on renders and on samples of the generator's checkpoints.

What a user of a new generator would do: `deeptrace train tracenet` on real clips of the domain (here renders, which
also get planted traces) and on generated ones. The checkpoints stand for several generators, so that folds can part
them. Prompts are training prompts; nothing of the independent measures is used.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from closing_the_loop.generator import condition_of, sample, to_clips
from closing_the_loop.judge import READ_SIDE, enlarged
from closing_the_loop.pretrain import load_generator
from closing_the_loop.world import FPS, FRAMES, draw_prompt, render
from deeptrace.data import write_reward_data
from deeptrace.schema import Label, Media, Sample
from deeptrace.train.tracenet.config import TraceNetConfig
from deeptrace.train.tracenet.run import train_tracenet
from deeptrace.video import write_video

__all__ = ["adapted_detector"]

_MEDIA = Media(width=READ_SIDE, height=READ_SIDE, duration_s=FRAMES / FPS, fps=FPS, frames=FRAMES)


def adapted_detector(checkpoints: list[Path], folder: Path, *, clips: int, steps: int) -> str:
    """Train it, where it is not there yet; its name, as `load_detector` takes it.

    Args:
        checkpoints: of the generator, at least two.
        folder: for the clips and the training.
        clips: renders, and as many samples in all.
        steps: of the trace net.
    """
    data = folder / "data"
    if not (data / "all_data.json").is_file():
        _write_clips(checkpoints, data, clips)
    return f"tracenet:{train_tracenet(training_of(data, folder / 'tracenet', steps), lambda *_: None)}"


def training_of(data: Path, out: Path, steps: int) -> TraceNetConfig:
    """The training: smaller than the shipped one's."""
    return TraceNetConfig(
        data=data, edited="", out=out, variants=2, injections=3, synthetic_variants=(0,), folds=2,
        steps=steps, generated=4, real=3, synthetic=3, frames=8, texture_dimensions=40,
    )  # fmt: skip


def _write_clips(checkpoints: list[Path], data: Path, clips: int) -> None:
    rng = np.random.default_rng(41)
    rows: list[Sample] = []
    for index in range(clips):
        prompt = draw_prompt(rng, "train")
        rows.append(_written(data, f"render_{index}", render(prompt).frames, Label.REAL, prompt.photo))
    share = clips // len(checkpoints)
    for checkpoint in checkpoints:
        prompts = [draw_prompt(rng, "train") for _ in range(share)]
        condition = condition_of(prompts, [render(prompt) for prompt in prompts])
        made = to_clips(sample(load_generator(checkpoint), condition, seed=42), condition)
        for index, frames in enumerate(made):
            rows.append(_written(data, f"{checkpoint.stem}_{index}", frames, Label.FAKE, checkpoint.stem))
    write_reward_data(rows, data / "all_data.json")


def _written(data: Path, name: str, frames: np.ndarray, label: Label, source: str) -> Sample:
    write_video(data / f"{name}.mp4", enlarged(frames), fps=FPS, crf=14)
    return Sample(video_id=name, path=f"{name}.mp4", label=label, source=source, media=_MEDIA)
