"""Join samples to the media files on disk: what is there, what is missing, what belongs to nobody."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from deeptrace.errors import DataError
from deeptrace.io.folders import walk_once
from deeptrace.schema import Label, Sample

__all__ = ["VIDEO_SUFFIXES", "MediaJoin", "join_media", "path_below", "resolve_path"]

VIDEO_SUFFIXES = frozenset({".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi", ".gif", ".mpg", ".mpeg", ".ts", ".wmv"})

# The release keeps generated and camera clips in these; a name that has one of them needs no other folder.
RELEASE_FOLDERS = ("videos", "real_videos")


@dataclass(frozen=True)
class MediaJoin:
    """Samples joined to files.

    Attributes:
        root: the dataset's folder.
        found: file of each sample that has one, by video id.
        missing: stated path of each sample without a file, by video id.
        unmatched: files that no sample names, relative to `root`; they stay out of every evaluation.
        shared: files that several samples name, with the ids of those samples.
    """

    root: Path
    found: dict[str, Path] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    unmatched: list[str] = field(default_factory=list)
    shared: dict[str, list[str]] = field(default_factory=dict)


def resolve_path(sample: Sample, root: str | os.PathLike[str]) -> str:
    """Where the sample's file is: a URL or absolute path as it stands, else below the dataset's `root`.

    A sample without a path is looked for where the release keeps it: `videos/<id>.mp4` or `real_videos/<id>.mp4`.

    Raises:
        DataError: the path leads out of `root`.
    """
    stated = sample.path or f"{'real_videos' if sample.label is Label.REAL else 'videos'}/{sample.video_id}.mp4"
    if "://" in stated or os.path.isabs(stated):
        return stated
    if ".." in PurePosixPath(stated.replace("\\", "/")).parts:
        raise DataError(f"video {sample.video_id}", f"the path {stated!r} leads out of the dataset's folder")
    base = str(root)
    return f"{base.rstrip('/')}/{stated}" if "://" in base else os.path.join(base, stated)


def join_media(samples: Iterable[Sample], root: str | os.PathLike[str]) -> MediaJoin:
    """Look every sample's file up below `root`, and list the video files there that none of them names.

    Raises:
        DataError: `root` is no folder, or a path leads out of it.
    """
    folder = Path(root)
    if not folder.is_dir():
        raise DataError(str(root), "is not a folder")
    join = MediaJoin(root=folder)
    owner: dict[Path, str] = {}
    for sample in samples:
        path = Path(resolve_path(sample, folder))
        if not path.is_file():
            join.missing[sample.video_id] = sample.path
            continue
        first = owner.setdefault(path, sample.video_id)
        if first != sample.video_id:
            join.shared.setdefault(str(path), [first]).append(sample.video_id)
        join.found[sample.video_id] = path
    join.unmatched.extend(
        str(path.relative_to(folder))
        for path in sorted(Path(here, name) for here, names in walk_once(folder) for name in names)
        if path.suffix.lower() in VIDEO_SUFFIXES
        and path not in owner
        and path.is_file()
        and not path.name.startswith(".")
    )
    return join


def path_below(name: str, folder: str) -> str | None:
    """A tool's name of a video as a path below the dataset's root; None where nothing of a name is left.

    Folders in the name are kept, so that two videos of one name stay two. `folder` is put before it unless it begins
    with that, or with one of the release's own two. Of a URL the decoded path counts.
    """
    if "://" in name:
        name = unquote(urlsplit(name).path)
    parts = [part for part in name.replace("\\", "/").split("/") if part.strip() not in ("", ".", "..")]
    if not parts:
        return None
    if not PurePosixPath(parts[-1]).suffix:
        parts[-1] += ".mp4"
    before = [part for part in folder.split("/") if part]
    if before and parts[: len(before)] != before and not (len(parts) > 1 and parts[0] in RELEASE_FOLDERS):
        parts = before + parts
    return "/".join(parts)
