"""What `sft_speed.py` measures of batches, not of the model: decoded frames, batches prepared ahead, padding."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.detectors.vlm.hf.tiny import save_tiny
from tests.train.sft.made import config_fields

from deeptrace.data import write_reward_data
from deeptrace.detectors.vlm.hf.processors import Plan
from deeptrace.io.journal import read_lines
from deeptrace.schema import Label, Sample
from deeptrace.train.sft.batches import plan_batches
from deeptrace.train.sft.config import SftConfig
from deeptrace.train.sft.run import train_sft
from deeptrace.train.vlm.examples import Example
from deeptrace.train.vlm.frame_store import FrameStore
from deeptrace.train.vlm.settings import ViewSettings
from video_decode import make_clip

__all__ = ["clip_ms", "padding_shares", "step_ms"]

CLIP = (1280, 720)
"""Clips of 5 s, of which 10 frames are shown."""


class _Sizes:
    """The size of frame of the issue's shapes; nothing else of an encoder is needed to decode."""

    def plan(self, frames: int, _width: int, _height: int) -> Plan:
        return Plan(frames, 1288, 728, (frames, 52, 92), frames * 1196)


def clip_ms(repeats: int) -> dict[str, float]:
    """Milliseconds to have one clip's frames in the size of the issue's shapes: decoded, and from the cache."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        clip = make_clip(Path(folder), *CLIP)
        for name, quality in (("decoded each time", None), ("frame cache, JPEG 95", 95), ("frame cache, PNG", 101)):
            cache = None if quality is None else Path(folder) / name
            store = FrameStore(ViewSettings(fps=2.0, cache=cache, cache_quality=quality or 95), _Sizes())  # type: ignore[arg-type]
            store.clip(str(clip))
            times = []
            for _ in range(repeats):
                started = time.perf_counter()
                store.clip(str(clip))
                times.append(time.perf_counter() - started)
            found[name] = 1000 * min(times)
            if cache is not None:
                found[f"{name}: MB a clip"] = sum(file.stat().st_size for file in cache.rglob("*.npz")) / 1e6
    return found


def step_ms(steps: int) -> dict[str, float]:
    """Milliseconds a step of a real `train_sft` with a tiny model on the CPU, by who prepares the batches."""
    found = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        base, data = save_tiny("qwen2_5_vl", folder / "base"), folder / "data"
        data.mkdir()
        clip = make_clip(data, *CLIP)
        samples = [Sample(video_id=f"v{k}", path=clip.name, label=Label.REAL, split="train") for k in range(steps)]
        write_reward_data(samples, data / "all_data.json")
        for cached in (False, True):
            for workers in (0, 1):
                out = folder / f"out-{cached}-{workers}"
                fields = config_fields(base, data, out, batch=1, workers=workers, evaluate=False)
                fields["view"] |= {"max_frames": 10, "max_frame_pixels": 640 * 360}
                fields["view"] |= {"cache": str(folder / "cache")} if cached else {}
                train_sft(SftConfig.model_validate(fields))
                rows = list(read_lines(out / "log.jsonl"))
                label = f"{'frame cache' if cached else 'decoded each time'}, {'a worker' if workers else 'none'} ahead"
                found[label] = 1000 * statistics.median(row["seconds"] for row in rows[2:])
    return found


def padding_shares(examples: int = 2048) -> dict[str, float]:
    """Share of a batch's tokens that are padding: clips of 2 to 10 s, shown to Qwen2.5-VL one frame a second."""
    dice = np.random.default_rng(0)
    frames = dice.integers(2, 11, examples)
    lengths = [int((count + 1) // 2 * 1196 + 160) for count in frames]
    sample = Sample(video_id="v", path="v.mp4", label=Label.REAL)
    asked = [Example(sample, Label.REAL, (), "v.mp4") for _ in range(examples)]
    ways = {
        "batches of 4 as they come": {"batch": 4},
        "batches of 4 of like length (group_lengths)": {"batch": 4, "group_lengths": True},
        "packed rows (pack_tokens)": {"pack_tokens": 24_000},
    }
    found = {}
    for name, changes in ways.items():
        fields = {"model": {"base": "random"}, "data": [{"path": "random"}], "out": "unused"}
        config = SftConfig.model_validate(fields | changes)
        whole = learned = 0
        for batch in plan_batches(asked, lengths, config, 1):
            own = [lengths[draw.example] for draw in batch]
            learned += sum(own)
            whole += sum(own) if config.pack_tokens else max(own) * len(own)
        found[name] = 1 - learned / whole
    return found
