"""Preference pairs: of two clips of one prompt, which is better and by how much.

Written as JSON lines with TRL's columns of a preference dataset (`prompt`, `chosen`, `rejected`), which DPO trainers
for video read as well, and as the CSV that VideoAlign trains its reward model on.
"""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal, get_args

import numpy as np

from deeptrace.audit.near_duplicates import ClipHasher, near_duplicates
from deeptrace.errors import DataError, ServiceError, SettingsError, VideoError
from deeptrace.io.atomic import atomic_path
from deeptrace.io.csv_cells import FORMULA_STARTS
from deeptrace.io.jsonl import write_lines
from deeptrace.reward.clips import ScoredClip, by_prompt
from deeptrace.reward.dimensions import appearance_and_motion
from deeptrace.schema import Media
from deeptrace.urls import shown_name
from deeptrace.video import open_video

__all__ = [
    "CSV_COLUMNS",
    "NOISE",
    "SMALLEST_MARGINS",
    "MarginKind",
    "Pair",
    "PairSet",
    "make_pairs",
    "write_pairs_csv",
    "write_pairs_jsonl",
]

CSV_COLUMNS = ("path_A", "path_B", "prompt", "VQ", "MQ", "TA", "fps_A", "num_frames_A", "fps_B", "num_frames_B")
MarginKind = Literal["relative", "absolute"]
SMALLEST_MARGINS: dict[MarginKind, float] = {"relative": 1.0, "absolute": 0.05}
"""The smallest margin of each kind that is asked for where the user says nothing."""
NOISE = 0.005
"""Least difference of rewards of a relative margin. Re-encoding moves a reward by 0.004 (crf 23) to 0.007 (crf 28), the
medians of `benchmarks/reward_ladder.py`: two clips that differ by less may differ in their encoding alone."""
_HASH_FPS, _HASH_SIDE = 5.0, 128


@dataclass(frozen=True)
class Pair:
    """Two clips of one prompt.

    Attributes:
        chosen, rejected: the better and the worse one.
        margin: difference of their rewards.
        relative_margin: `margin` in standard deviations of the rewards of the prompt's clips.
        same_below: differences of appearance (VQ) and of motion (MQ) below which the two are the same in it.
    """

    chosen: ScoredClip
    rejected: ScoredClip
    margin: float
    relative_margin: float
    same_below: tuple[float, float]

    def as_json(self) -> dict[str, Any]:
        """A row of a preference dataset."""
        return {
            "prompt": self.chosen.info.prompt,
            "chosen": shown_name(self.chosen.info.path),
            "rejected": shown_name(self.rejected.info.path),
            "margin": self.margin,
            "relative_margin": self.relative_margin,
            "chosen_reward": self.chosen.result.reward,
            "rejected_reward": self.rejected.result.reward,
        }


@dataclass(frozen=True)
class PairSet:
    """The pairs, and what was left out.

    Attributes:
        pairs: in order of prompts, the widest margin of a prompt first.
        too_close: how many pairs had less than the minimum margin.
        within_noise: how many had a relative margin that is wide enough, but rewards less than `NOISE` apart.
        duplicates: number of pairs of two copies of one clip.
        surplus: how many more there were than asked for of a prompt.
        clips_failed: number of clips of a prompt that have no reward.
        clips_alone: number of clips that are the only one of their prompt with a reward.
        clips_unnamed: number of clips without a prompt.
    """

    pairs: list[Pair]
    too_close: int
    within_noise: int
    duplicates: int
    surplus: int
    clips_failed: int = 0
    clips_alone: int = 0
    clips_unnamed: int = 0


def make_pairs(
    clips: Sequence[ScoredClip],
    *,
    margin: MarginKind = "relative",
    min_margin: float | None = None,
    most_per_prompt: int = 1,
    keep_duplicates: bool = False,
) -> PairSet:
    """Pairs within each prompt.

    Args:
        clips: failed ones are left out.
        margin: "relative": the difference of two rewards in standard deviations (population) of the rewards of the
            prompt's clips, so that pairs are found also where all of them lie close together; "absolute": the
            difference itself. The widest pair of a prompt is always at least 2 standard deviations wide, so a relative
            margin is only asked of rewards that are at least `NOISE` apart.
        min_margin: least margin, above 0: two equal clips are no preference. None for that of `SMALLEST_MARGINS`.
        most_per_prompt: the widest so many of a prompt.
        keep_duplicates: keep pairs of two clips that look the same. What then tells them apart is how they were
            encoded; but a clip and its edited version may look the same, too.

    Raises:
        SettingsError: an argument is invalid.
        DataError: no clip has a prompt.

    Examples:
        >>> from deeptrace.reward.clips import ClipInfo
        >>> from deeptrace.reward.reward import reward_of
        >>> from deeptrace.schema import Verdict
        >>> def clip(path, p_fake):
        ...     said = Verdict(video=path, outcome="scored", label="REAL", p_fake=p_fake)
        ...     return ScoredClip(ClipInfo(path, prompt="a cup"), reward_of(said))

        >>> close = [clip("a.mp4", 0.26), clip("b.mp4", 0.25), clip("c.mp4", 0.255)]
        >>> found = make_pairs(close, keep_duplicates=True)
        >>> [(p.chosen.info.path, p.rejected.info.path, round(p.relative_margin, 2)) for p in found.pairs]
        [('b.mp4', 'a.mp4', 2.45)]
        >>> make_pairs(close, margin="absolute").too_close
        3
    """
    least = _checked(margin, min_margin, most_per_prompt)
    groups = by_prompt(clips)
    if not groups:
        raise DataError("pairs", "no clip has a prompt to group by", "Name prompts in a table, or by folder.")
    pairs: list[Pair] = []
    too_close = within_noise = duplicates = surplus = failed = alone = 0
    for group in groups.values():
        scored = sorted((clip for clip in group if clip.scored), key=lambda clip: -clip.result.reward)
        failed += len(group) - len(scored)
        alone += len(scored) == 1
        every = _all_pairs(scored, margin, least)
        far = [pair for pair in every if (pair.relative_margin if margin == "relative" else pair.margin) >= least]
        wide = [pair for pair in far if margin == "absolute" or pair.margin >= NOISE]
        too_close += len(every) - len(far)
        within_noise += len(far) - len(wide)
        if wide and not keep_duplicates:
            same = _same_looks({clip.info.path for pair in wide for clip in (pair.chosen, pair.rejected)})
            kept = [pair for pair in wide if (pair.chosen.info.path, pair.rejected.info.path) not in same]
            duplicates += len(wide) - len(kept)
            wide = kept
        wide.sort(key=lambda pair: -pair.margin)
        pairs += wide[:most_per_prompt]
        surplus += max(len(wide) - most_per_prompt, 0)
    unnamed = sum(clip.info.prompt is None for clip in clips)
    return PairSet(pairs, too_close, within_noise, duplicates, surplus, failed, alone, unnamed)


def _checked(margin: MarginKind, min_margin: float | None, most_per_prompt: int) -> float:
    if margin not in get_args(MarginKind):
        raise SettingsError("margin", f"expected one of {', '.join(get_args(MarginKind))} but got {margin!r}")
    least = SMALLEST_MARGINS[margin] if min_margin is None else min_margin
    if margin == "absolute" and not 0 < least <= 1:
        raise SettingsError("min_margin", f"expected an absolute margin in (0, 1] but got {least}")
    if not 0 < least < math.inf:
        raise SettingsError("min_margin", f"expected a positive number of standard deviations but got {least}")
    if most_per_prompt < 1:
        raise SettingsError("most_per_prompt", f"expected at least 1 pair a prompt but got {most_per_prompt}")
    return least


def _all_pairs(scored: Sequence[ScoredClip], margin: MarginKind, least: float) -> list[Pair]:
    """Every pair of a prompt's clips, which come best first, with its margins."""
    if len(scored) < 2:
        return []
    spread = float(np.std([clip.result.reward for clip in scored]))
    if margin == "relative":
        both = np.std([appearance_and_motion(clip.result.parts) for clip in scored if clip.result.parts], axis=0)
        same_below = (max(least * float(both[0]), NOISE), max(least * float(both[1]), NOISE))
    else:
        same_below = (least, least)
    return [
        Pair(a, b, apart := a.result.reward - b.result.reward, apart / spread if spread > 0 else 0.0, same_below)
        for a, b in combinations(scored, 2)
    ]


def write_pairs_jsonl(pairs: Iterable[Pair], path: str | os.PathLike[str]) -> int:
    """Write one pair a line; returns how many.

    Raises:
        DataError: it cannot be written.
    """
    return write_lines((pair.as_json() for pair in pairs), path)


def write_pairs_csv(pairs: Iterable[Pair], path: str | os.PathLike[str], *, seed: int = 0) -> int:
    """Write pairs as VideoAlign's training CSV; returns how many.

    Which of the two is A is drawn, so that the place says nothing. VQ and MQ are compared on their own (see
    `dimensions`): "A", "B", or "same" where they differ by less than the pair's `same_below`. TA is "invalid", which
    VideoAlign leaves out of its loss: deeptrace does not read the prompt.

    Raises:
        DataError: it cannot be written.
    """
    rng = np.random.default_rng(seed)
    count = 0
    with atomic_path(path) as scratch, open(scratch, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(CSV_COLUMNS)
        for count, pair in enumerate(pairs, 1):  # noqa: B007 - the count is the result
            a, b = (pair.chosen, pair.rejected) if rng.random() < 0.5 else (pair.rejected, pair.chosen)
            writer.writerow(_csv_row(a, b, pair.same_below))
    return count


def _csv_row(a: ScoredClip, b: ScoredClip, same_below: tuple[float, float]) -> list[Any]:
    answers = []
    if a.result.parts is not None and b.result.parts is not None:
        both = zip(appearance_and_motion(a.result.parts), appearance_and_motion(b.result.parts), strict=True)
        answers = [
            "same" if abs(x - y) < least else "A" if x > y else "B"
            for (x, y), least in zip(both, same_below, strict=True)
        ]
    facts = [fact for clip in (a, b) for fact in _rate_and_frames(clip.result.verdict.media)]
    paths = [
        f"./{path}" if path.startswith(FORMULA_STARTS) else path for path in map(shown_name, (a.info.path, b.info.path))
    ]
    prompt = a.info.prompt or ""
    return [*paths, f" {prompt}" if prompt.startswith(FORMULA_STARTS) else a.info.prompt, *answers, "invalid", *facts]


def _rate_and_frames(media: Media | None) -> tuple[float | str, float | str]:
    """Frames a second and number of frames; the number follows from rate and duration where the file has none."""
    if media is None or media.fps is None:
        return "", ""
    frames = media.frames if media.frames is not None else round(media.duration_s * media.fps)
    return round(media.fps, 3), float(frames)


def _same_looks(paths: set[str]) -> set[tuple[str, str]]:
    """Ordered pairs of paths, both ways round, whose clips look the same; one that cannot be read looks like none."""
    names = sorted(paths)
    hashes = [_clip_hash(name) for name in names]
    found = [(names[i], names[j]) for i, j, _ in near_duplicates(hashes)]
    return {*found, *((b, a) for a, b in found)}


def _clip_hash(path: str) -> tuple[int | None, ...]:
    hasher = ClipHasher()
    try:
        with open_video(path) as video:
            for frame in video.frames(max_fps=_HASH_FPS, size=(_HASH_SIDE, _HASH_SIDE), format="gray"):
                hasher.see(frame)
            return hasher.result(video.media.duration_s)
    except (VideoError, ServiceError):
        return ()
