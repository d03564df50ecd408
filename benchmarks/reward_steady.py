"""Does the reward stay the same when only rate, size or length of a clip change?

    python benchmarks/reward_steady.py [--data ../shared/corpus] [--clips 40]

Half of the clips are generated, half camera footage, drawn by a seed; each is judged by the default detector as it is
and after each change, in memory, so that no codec comes between. About 1.5 s of one core a clip.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from scipy.stats import spearmanr

from deeptrace import Reward
from deeptrace.data import read_reward_data
from deeptrace.schema import Label
from deeptrace.video import Video, open_video, video_from_array

Clip = tuple[np.ndarray, np.ndarray]
"""Frames (T, H, W, 3) uint8 and their times (T,) in seconds."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/corpus"))
    parser.add_argument("--clips", type=int, default=40)
    asked = parser.parse_args()
    reward, rows = Reward(), []
    for path in chosen(asked.data, asked.clips):
        with open_video(path) as video:
            frames = list(video.frames())
        clip = np.stack([frame.image for frame in frames]), np.array([frame.time_s for frame in frames])
        rows.append(reward([as_video(clip), *(as_video(change(clip)) for change in CHANGES.values())]))
    table = np.array(rows)
    table = table[np.isfinite(table).all(axis=1)]
    before = table[:, 0]
    print(f"{len(table)} clips; their rewards have a standard deviation of {before.std():.2f}\n")
    print(f"{'change':24}{'median':>8}{'90th':>8}{'mean change':>13}{'rank correlation':>18}")
    for name, after in zip(CHANGES, table[:, 1:].T, strict=True):
        moved = np.abs(after - before)
        rank = spearmanr(before, after).statistic
        cells = f"{np.median(moved):8.3f}{np.percentile(moved, 90):8.3f}{(after - before).mean():+13.3f}{rank:18.2f}"
        print(f"{name:24}{cells}")
    return 0


def chosen(data: Path, count: int) -> list[Path]:
    """As many generated as camera clips, of whatever split, the same ones each time."""
    samples = {sample.path: sample.label for sample in read_reward_data(data)}
    rng = np.random.default_rng(0)
    found = []
    for label in Label:
        paths = sorted(path for path, said in samples.items() if said is label)
        found += [data / paths[index] for index in rng.permutation(len(paths))[: count // 2]]
    return found


def as_video(clip: Clip) -> Video:
    return video_from_array(clip[0], times_s=clip[1].tolist())


def halved(clip: Clip) -> Clip:
    return clip[0][::2], clip[1][::2]


def smaller(clip: Clip) -> Clip:
    height, width = (side * 3 // 4 for side in clip[0].shape[1:3])
    shrunk = [cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA) for frame in clip[0]]
    return np.stack(shrunk), clip[1]


def shorter(clip: Clip) -> Clip:
    keep = len(clip[0]) * 2 // 3
    return clip[0][:keep], clip[1][:keep]


CHANGES: dict[str, Callable[[Clip], Clip]] = {
    "every second frame": halved,
    "three quarters the size": smaller,
    "last third cut off": shorter,
}

if __name__ == "__main__":
    sys.exit(main())
