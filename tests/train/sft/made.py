"""A small dataset that can be learned by heart, and a config that does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from tests.synth.conftest import moving_disc

from deeptrace.data import read_reward_data, write_reward_data
from deeptrace.geometry import Box
from deeptrace.schema import Label, Media, Sample, Trace
from deeptrace.synth.dataset import Recipe, make_dataset
from deeptrace.video import write_video

WIDTH, HIGH, FPS, COUNT = 112, 84, 8.0, 16
REASONS = ("The cup bends.", "A hand melts.", "The face blurs.")


def write_clips(folder: Path, *, fakes: int = 3, reals: int = 3, split: str = "train") -> Path:
    """Clips of moving stripes, half of them with a flickering box, in RewardData's format."""
    samples = []
    for number in range(fakes + reals):
        rng = np.random.default_rng(number)
        colour = rng.integers(40, 216, 3)
        ramp = (np.arange(WIDTH) * (number + 1) * 2) % 256
        frames = np.stack(
            [
                np.broadcast_to((np.roll(ramp, 3 * k)[None, :, None] // 2 + colour // 2), (HIGH, WIDTH, 3))
                for k in range(COUNT)
            ]
        ).astype(np.uint8)
        traces: tuple[Trace, ...] = ()
        if number < fakes:
            x, y, first = (int(rng.integers(0, most)) for most in (60, 40, 8))
            frames[first : first + 6, y : y + 36, x : x + 44] = 255 - colour.astype(np.uint8)
            box = Box.from_pixels_ltwh(x, y, 44, 36, width=WIDTH, height=HIGH)
            traces = (
                Trace(
                    onset_s=first / FPS,
                    offset_s=(first + 6) / FPS,
                    box=box,
                    explanation=REASONS[number % len(REASONS)],
                ),
            )
        name = f"clip{number}"
        write_video(folder / "videos" / f"{name}.mp4", frames, fps=FPS, crf=10)
        samples.append(
            Sample(
                video_id=name,
                path=f"videos/{name}.mp4",
                label=Label.FAKE if number < fakes else Label.REAL,
                source="made" if number < fakes else "camera",
                media=Media(width=WIDTH, height=HIGH, duration_s=COUNT / FPS, fps=FPS, frames=COUNT),
                traces=traces,
                split=split,
            )
        )
    write_reward_data(samples, folder / "all_data.json")
    return folder


def config_fields(base: Path, data: Path, out: Path, *, split: str = "all", **changes: Any) -> dict[str, Any]:
    """A config as its JSON file holds it: tiny, on the CPU."""
    fields: dict[str, Any] = {
        "model": {"base": str(base), "dtype": "float32", "checkpointing": False},
        "view": {"fps": 2.0, "max_frames": 4, "min_frame_pixels": 28 * 28, "max_frame_pixels": WIDTH * HIGH},
        "data": [{"path": str(data), "split": split}],
        "validation": None,
        "out": str(out),
        "batch": 2,
        "learning_rate": 3e-3,
        "schedule": "constant",
        "warmup": 0.0,
        "optimizer": "adamw_torch",
        "device": "cpu",
        "save_every": 1000,
    }
    return fields | changes


def write_synthetic(folder: Path, *, clips: int = 6) -> Path:
    """What `deeptrace synth` makes of small clips of a textured thing that crosses a textured background.

    Of one half of the sources the clip with the trace is kept, of the other the clip without: a tiny model can learn
    clips by heart, but not in a minute how twins differ.
    """
    sources = []
    for number in range(clips):
        frames, _, _ = moving_disc(count=16, seed=2 * number, direction=(-1) ** number)
        write_video(folder / f"source{number}.mp4", frames, fps=FPS, crf=10)
        sources.append(folder / f"source{number}.mp4")
    out = folder / "planted"
    made = make_dataset(sources, out, Recipe(seed=1, traces=(1, 1), severity=(1.0, 1.0), crf=10))
    assert not [clip.problem for clip in made if clip.problem]
    samples = read_reward_data(out)
    chosen = [s for k, s in enumerate(samples) if (s.label is Label.FAKE) == (k // 2 < clips // 2)]
    write_reward_data(chosen, out / "all_data.json")
    return out
