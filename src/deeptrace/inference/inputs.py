"""From what a person types to the list of videos to analyse: files, folders, globs and URLs."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from dataclasses import dataclass

from deeptrace.errors import MissingExtraError, VideoError, VideoNotFoundError
from deeptrace.io.folders import walk_once
from deeptrace.urls import same_clip

__all__ = ["VIDEO_SUFFIXES", "Input", "expand_inputs"]

# fmt: off
VIDEO_SUFFIXES = frozenset([
    ".3g2", ".3gp", ".apng", ".asf", ".avi", ".avif", ".f4v", ".flv", ".gif", ".h264", ".h265", ".hevc", ".ivf",
    ".m1v", ".m2ts", ".m2v", ".m4v", ".mjpeg", ".mjpg", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf",
    ".nut", ".obu", ".ogg", ".ogm", ".ogv", ".qt", ".rm", ".rmvb", ".ts", ".vob", ".webm", ".webp", ".wmv", ".y4m",
])
# fmt: on
"""What counts as a video inside a folder. A file named on its own is always tried, whatever its name."""

_MAGIC = "*?["


@dataclass(frozen=True)
class Input:
    """One video to analyse.

    Attributes:
        path: as open_video takes it: a local path as the user gave it, or a URL.
        error: why it cannot be analysed (nothing matches the pattern, the store cannot be listed); None when it can.
    """

    path: str
    error: VideoError | None = None


def expand_inputs(paths: Iterable[str | os.PathLike[str]]) -> list[Input]:
    """Every video that `paths` name, in their order, folders and patterns sorted by name, repeats dropped.

    Two URLs that differ in user, password or signature alone name one video.

    - a file, or a path that does not exist: itself (opening it will say what is wrong);
    - a folder: all files below it with a suffix of `VIDEO_SUFFIXES`, hidden ones left out, linked folders entered;
    - a pattern with `*`, `?`, `[...]`, where `**` crosses folders, when no file has that very name;
    - a URL: itself; `s3://`, `gs://`, `hf://` and other listable stores may be folders and patterns as well.

    A folder or pattern that yields nothing, and a folder that may not be read, become an Input with an error, so that
    they are counted and not overlooked.
    """
    found: dict[str, Input] = {}
    for path in paths:
        text = os.fspath(path)
        for item in _expand_url(text) if "://" in text else _expand_local(text):
            found.setdefault(same_clip(item.path), item)
    return list(found.values())


def _expand_local(text: str) -> list[Input]:
    if os.path.isdir(text):
        return _videos_below(text) or [_nothing(text, "no video file in this folder")]
    if any(sign in text for sign in _MAGIC) and not os.path.lexists(text):
        matches = sorted(glob.glob(text, recursive=True))
        found = [_videos_below(match) if os.path.isdir(match) else [Input(match)] for match in matches]
        return [item for items in found for item in items] or [_nothing(text, "no file matches this pattern")]
    return [Input(text)]


def _videos_below(folder: str) -> list[Input]:
    """The videos below a folder, and each folder there that may not be read, by name."""
    closed: list[OSError] = []
    found = []
    for here, files in walk_once(folder, on_error=closed.append):
        found += [Input(os.path.join(here, name)) for name in files if _is_video(name)]
    found += [
        Input(error.filename, VideoError(error.filename, f"this folder cannot be read ({error.strerror})"))
        for error in closed
    ]
    return sorted(found, key=lambda item: item.path)


def _expand_url(url: str) -> list[Input]:
    if url.startswith(("http://", "https://")):
        return [Input(url)]
    try:
        return [Input(name) for name in _list_store(url)]
    except VideoError as error:
        return [Input(url, error)]


def _list_store(url: str) -> list[str]:
    """URLs of the videos that `url` names in a store that can be listed.

    Raises:
        VideoError: nothing is there, its package is not installed, or the store does not answer.
    """
    import fsspec

    try:
        fs, path = fsspec.url_to_fs(url)
        if any(sign in path for sign in _MAGIC) and not fs.exists(path):
            names, nothing = fs.glob(path), "no object matches this pattern"
        elif fs.isdir(path):
            names, nothing = [name for name in fs.find(path) if _is_video(name)], "no video object below this prefix"
        else:
            return [url]
        found = [str(fs.unstrip_protocol(name)) for name in sorted(names)]
    except ImportError as error:
        raise VideoError(url, str(MissingExtraError("this kind of address", "remote"))) from error
    except Exception as error:
        # The edge to somebody else's network: each store has its own exceptions, known only when it is installed.
        raise VideoError(url, f"cannot be listed: {error}") from error
    if not found:
        raise VideoNotFoundError(url, nothing)
    return found


def _nothing(text: str, why: str) -> Input:
    return Input(text, VideoNotFoundError(text, why))


def _is_video(name: str) -> bool:
    base = os.path.basename(name)
    return not base.startswith(".") and os.path.splitext(base)[1].lower() in VIDEO_SUFFIXES
