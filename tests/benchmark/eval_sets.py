"""A small dataset in RewardData format, with clips, traces, two splits and annotation passes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from deeptrace.video import write_video

WIDTH, HEIGHT, FPS, COUNT = 64, 48, 8.0, 8


def make_set(folder: Path, *, each: int = 4) -> Path:
    """`each` generated and real clips a split; generated ones are brighter and have one or two traces."""
    rows, rounds = [], []
    for split in ("train", "test"):
        for at in range(each):
            for label in ("fake", "real"):
                video_id = f"{split}_{label}_{at}"
                path = f"{label}/{video_id}.mp4"
                (folder / label).mkdir(parents=True, exist_ok=True)
                _clip(folder / path, (160 if label == "fake" else 60) + 4 * at + (30 if split == "train" else 0))
                rows += _rows(video_id, path, split, label, at)
                if label == "fake":
                    rounds += _rounds(path, at)
    (folder / "all_data.json").write_text(json.dumps(rows))
    (folder / "passes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rounds))
    return folder


def _clip(path: Path, level: int) -> None:
    rng = np.random.default_rng(level)
    frames = [np.clip(rng.normal(level, 6, (HEIGHT, WIDTH, 3)), 0, 255).astype(np.uint8) for _ in range(COUNT)]
    write_video(path, frames, fps=FPS)


def _rows(video_id: str, path: str, split: str, label: str, at: int) -> list[dict]:
    row = {
        "video_id": video_id,
        "video_type": f"{label}_video",
        "video_path": path,
        "video_source": f"{label}-source-{at % 2}",
        "split": split,
        "video_width": WIDTH,
        "video_height": HEIGHT,
        "video_frame_rate": FPS,
        "video_frame_count": COUNT,
        "video_duration": COUNT / FPS,
    }
    if label == "real":
        return [row]
    traces = [
        {
            "faketrace_bbox": {"left": 16, "top": 12, "width": 32, "height": 24},
            "faketrace_first_frame": 0,
            "faketrace_duration": 0.75,
            "faketrace_explanations": f"The cup {at} melts into the table.",
            "faketrace_check_applies": ["merging"],
        },
        {
            "faketrace_bbox": {"left": 0, "top": 0, "width": 16, "height": 12},
            "faketrace_first_frame": 4,
            "faketrace_duration": 0.5,
            "faketrace_explanations": "",
            "faketrace_check_applies": ["Blurring"],
        },
    ]
    return [row | trace for trace in traces[: 1 + at % 2]]


def _rounds(path: str, at: int) -> list[dict]:
    trace = {"categories": ["object_merging"], "box": [0.25, 0.25, 0.75, 0.75], "onset_s": 0.0, "offset_s": 0.75}
    other = trace | {"box": [0.25, 0.25, 0.75, 0.5 + 0.05 * at]}
    return [
        {"file": path, "annotator": name, "traces": [shown | {"explanation": "It melts.", "confidence": 0.5}]}
        for name, shown in (("a", trace), ("b", other))
    ]
