"""From what a person types to the list of videos to judge: files, folders, globs and URLs."""

from __future__ import annotations

import glob
import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from deeptrace.errors import MissingExtraError, VideoError, VideoNotFoundError

__all__ = ["VIDEO_SUFFIXES", "Input", "expand_inputs", "fingerprint"]

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
    """One video to judge.

    Attributes:
        path: as open_video takes it: a local path as the user gave it, or a URL.
        error: why it cannot be judged (nothing matches the pattern, the store cannot be listed); None when it can.
    """

    path: str
    error: VideoError | None = None


def expand_inputs(paths: Iterable[str | os.PathLike[str]]) -> list[Input]:
    """Every video that `paths` name, in their order, folders and patterns sorted by name, repeats dropped.

    - a file, or a path that does not exist: itself (opening it will say what is wrong);
    - a folder: all files below it with a suffix of `VIDEO_SUFFIXES`, hidden ones left out;
    - a pattern with `*`, `?`, `[...]`, where `**` crosses folders, when no file has that very name;
    - a URL: itself; `s3://`, `gs://`, `hf://` and other listable stores may be folders and patterns as well.

    A folder or pattern that yields nothing, and a folder that may not be read, become an Input with an error, so that
    they are counted and not overlooked.
    """
    found: dict[str, Input] = {}
    for path in paths:
        text = os.fspath(path)
        for item in _expand_url(text) if "://" in text else _expand_local(text):
            found.setdefault(item.path, item)
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
    for here, folders, files in os.walk(folder, onerror=closed.append):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
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


def fingerprint(path: str) -> str | None:
    """What changes when the file's content does, without reading it: size and modification time, or the store's key.

    None when the file cannot be found; then nothing said of it before counts.
    """
    if "://" in path:
        return _store_key(path)
    try:
        stat = Path(path).stat()
    except (OSError, ValueError):
        return None
    return f"size:{stat.st_size} mtime_ns:{stat.st_mtime_ns}"


def _store_key(url: str) -> str | None:
    import fsspec

    try:
        fs, name = fsspec.url_to_fs(url)
        return f"key:{fs.ukey(name)}"
    except Exception as error:  # noqa: BLE001  the same edge as in _list_store; opening the URL will say what is wrong
        logging.getLogger(__name__).debug("no key for %s: %s", url, error)
        return None
