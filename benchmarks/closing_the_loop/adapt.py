"""A reward for this generator: TraceNet trained on samples of its checkpoints, or the flaw ranker alone on its samples.

What a user of a new generator would do: `deeptrace train tracenet` on real clips of the domain (here renders, which
also get planted traces) and on generated ones. The checkpoints stand for several generators, so that folds can part
them. Prompts are training prompts; nothing of the independent measures is used.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import torch

from closing_the_loop.generator import Draw, Generator, condition_of, regenerated, sample, to_clips, to_data
from closing_the_loop.judge import READ_SIDE, enlarged
from closing_the_loop.pretrain import load_generator
from closing_the_loop.world import FPS, FRAMES, draw_prompt, render
from deeptrace.data import write_reward_data
from deeptrace.detectors.tracenet.model import FLAWS_NAME, TraceNetModel, shipped_folder
from deeptrace.schema import Label, Media, Sample
from deeptrace.train.tracenet.config import TraceNetConfig
from deeptrace.train.tracenet.flaws import FlawExamples, benign_edits, clip_statistics, fit_flaws
from deeptrace.train.tracenet.run import train_tracenet
from deeptrace.video import video_from_array, write_video

__all__ = ["adapted_detector", "adapted_flaws"]

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


_ALIKE = 4
"""Samples of a prompt that are held against each other."""

_REDONE = (3, 5, 8)
"""Of the generator's eight steps: how many it takes on footage that was made as noisy as it is before them."""


def adapted_flaws(net: Generator, draw: Draw, folder: Path, clips: int) -> str:
    """The shipped TraceNet with its flaw ranker fitted to this generator, where that is not there yet; its name.

    No mark and no judge is needed: footage is made noisy and finished by the generator, more and more of it. The clip
    stays, the generator's own flaws grow, and the ranker learns their order, as it does from synthetic traces. Samples
    of the same prompts show what goes with moving more: that is not to count.

    Args:
        net: the generator.
        draw: footage of its training.
        folder: for the adapted model.
        clips: how many.
    """
    name = f"tracenet:{folder}"
    if (folder / FLAWS_NAME).is_file():
        return name
    model = TraceNetModel.load()
    scenes = draw(np.random.default_rng(43), clips)
    data = to_data(torch.from_numpy(scenes.clips).permute(0, 1, 4, 2, 3).float() / 255)
    rungs = [to_clips(regenerated(net, data, scenes.condition, 44, redone), scenes.condition) for redone in _REDONE]
    times = np.arange(FRAMES) / FPS
    parts = []
    for index, clip in enumerate(scenes.clips):
        clean, *changed = (
            clip_statistics(model, video_from_array(enlarged(one), times_s=list(times)))
            for one in (clip, *(rung[index] for rung in rungs))
        )
        edits = [clip_statistics(model, edited) - clean for _, edited in benign_edits(enlarged(clip), times)]
        severity = np.array(_REDONE) / _REDONE[-1]
        parts.append(FlawExamples(severity, np.stack(changed) - clean, np.stack(edits), clean[None]))
    wide = scenes.condition.repeated(_ALIKE)
    made = to_clips(sample(net, wide, 45), wide)
    said = np.stack([clip_statistics(model, video_from_array(enlarged(one), times_s=list(times))) for one in made])
    apart = said.reshape(clips, _ALIKE, -1) - said.reshape(clips, _ALIKE, -1).mean(axis=1, keepdims=True)
    ranker = fit_flaws(FlawExamples.joined(parts), samples=apart.reshape(len(said), -1))
    shutil.copytree(Path(str(shipped_folder())), folder, dirs_exist_ok=True)
    (folder / FLAWS_NAME).write_text(ranker.model_dump_json(indent=1) + "\n")
    return name


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
