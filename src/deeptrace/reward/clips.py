"""Clips to be scored, with the prompt each was made from and the generator that made it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deeptrace.data.rewarddata import annotations_path
from deeptrace.data.tables import iter_table_rows
from deeptrace.errors import DataError
from deeptrace.reward.result import RewardResult

__all__ = ["ClipInfo", "ScoredClip", "by_prompt", "clips_of_paths", "read_clips"]

# What the path, the prompt and the generator may be called, RewardData's names last.
_PATH = ("video", "path", "video_path")
_PROMPT = ("prompt", "video_prompt")
_GENERATOR = ("generator", "model", "video_source")


@dataclass(frozen=True)
class ClipInfo:
    """A clip and where it comes from.

    Attributes:
        path: as `open_video` takes it.
        prompt: what it was made from; clips with the same prompt are compared. None when not known.
        generator: what made it; None when not known.
    """

    path: str
    prompt: str | None = None
    generator: str | None = None


@dataclass(frozen=True)
class ScoredClip:
    """A clip with its reward."""

    info: ClipInfo
    result: RewardResult

    @property
    def scored(self) -> bool:
        """Whether there is a reward."""
        return self.result.parts is not None

    def as_json(self) -> dict[str, Any]:
        """One row: where it comes from, and the reward with its parts."""
        return {"prompt": self.info.prompt, "generator": self.info.generator} | self.result.as_json()


def read_clips(path: str | os.PathLike[str]) -> list[ClipInfo]:
    """The clips that a table names: Parquet, CSV, JSON lines, a JSON list, or a RewardData folder. Repeats are dropped.

    A row needs a column `video` (or `path`, `video_path`) and may have `prompt` (`video_prompt`) and `generator`
    (`model`, `video_source`). Relative paths start at the table's folder.

    Raises:
        DataError: the table cannot be read, or a row names no video.
        MissingExtraError: it is a Parquet file, and pyarrow is not installed.
    """
    table = annotations_path(path)
    base = table.rpartition("/")[0] if "://" in table else os.path.dirname(table)
    found: dict[str, ClipInfo] = {}
    for number, row in iter_table_rows(table, columns={*_PATH, *_PROMPT, *_GENERATOR}):
        name = _first(row, _PATH)
        if name is None:
            raise DataError(f"{table}, row {number}", f"names no video: expected a column {' or '.join(_PATH)}")
        place = name if "://" in name or os.path.isabs(name) or not base else f"{base}/{name}"
        found.setdefault(place, ClipInfo(place, _first(row, _PROMPT), _first(row, _GENERATOR)))
    return list(found.values())


def clips_of_paths(paths: Iterable[str], *, folder_is: str | None = None) -> list[ClipInfo]:
    """Clips named by path alone.

    Args:
        paths: files or URLs.
        folder_is: "prompt" or "generator": what the name of a file's folder stands for; None for nothing.

    Examples:
        >>> clips_of_paths(["samples/a cup/0.mp4"], folder_is="prompt")[0].prompt
        'a cup'
    """
    clips = []
    for path in paths:
        folder = os.path.basename(os.path.dirname(path)) or None
        clips.append(
            ClipInfo(
                path,
                prompt=folder if folder_is == "prompt" else None,
                generator=folder if folder_is == "generator" else None,
            )
        )
    return clips


def by_prompt(clips: Sequence[ScoredClip]) -> dict[str, list[ScoredClip]]:
    """Clips with a prompt, grouped by it, in order of first mention.

    Examples:
        >>> from deeptrace.schema import Verdict
        >>> broken = RewardResult(float("nan"), None, Verdict.failed("a.mp4", "decode_failed", "cut off"))
        >>> clips = [ScoredClip(ClipInfo("a.mp4", "a cup"), broken), ScoredClip(ClipInfo("b.mp4"), broken)]
        >>> {prompt: len(group) for prompt, group in by_prompt(clips).items()}, clips[0].scored
        ({'a cup': 1}, False)
    """
    groups: dict[str, list[ScoredClip]] = {}
    for clip in clips:
        if clip.info.prompt is not None:
            groups.setdefault(clip.info.prompt, []).append(clip)
    return groups


def _first(row: Mapping[str, Any], names: Sequence[str]) -> str | None:
    return next((str(row[name]) for name in names if row.get(name) not in (None, "")), None)
