"""From a path or URL to an opened container, with every failure as one of deeptrace's errors."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from urllib.parse import unquote, urlsplit

import av
import av.error
from av.container import InputContainer

from deeptrace.errors import NotAVideoError, VideoError, VideoNotFoundError
from deeptrace.video.remote import RemoteFile, first_line, open_remote

__all__ = ["COMMON_FORMATS", "Source", "is_url", "open_source"]

_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+://")

# Demuxers that read other files or the network on behalf of the file they are given, and those that turn plain text
# into pictures. A clip from a stranger must not make this process open what its author names.
_PLAYLISTS = {
    "applehttp",
    "concat",
    "concatf",
    "dash",
    "hls",
    "image2",
    "imf",
    "lavfi",
    "rtp",
    "rtsp",
    "sap",
    "sdp",
    "vobsub",
    "webm_dash_manifest",
}
_TEXT_ART = {"adf", "bin", "idf", "tty", "xbin"}

COMMON_FORMATS = (
    "apng",
    "asf",
    "avi",
    "flv",
    "gif",
    "ivf",
    "matroska",
    "mov",
    "mp4",
    "mpeg",
    "mpegts",
    "ogg",
    "webm",
)
"""What people and generators keep clips in: few demuxers, well tested, none of which opens a second file."""


class Source:
    """An opened container and what has to be closed after it."""

    def __init__(self, container: InputContainer, handle: RemoteFile | None) -> None:
        self.container = container
        self._handle = handle

    def close(self) -> None:
        """Close the container, then the remote file below it; safe to call twice."""
        self.container.close()
        if self._handle is not None:
            self._handle.close()


def is_url(path: str) -> bool:
    """Whether `path` names something that is not on the local disk."""
    return bool(_SCHEME.match(path)) and not path.lower().startswith("file://")


def local_path(path: str) -> str:
    """A plain path from a path or a file:// URL."""
    if path.lower().startswith("file://"):
        return unquote(urlsplit(path).path)
    return path


def open_source(
    path: str, codec_options: Mapping[str, str] | None = None, *, formats: Sequence[str] | None = None
) -> Source:
    """Open `path` for demuxing.

    Plain paths and file:// go to FFmpeg by name. Anything else with a scheme is opened by fsspec as a seekable file
    with read-ahead blocks of 1 MiB, so that only the parts that are needed travel. `codec_options` go to the
    decoders with which FFmpeg looks into the streams. `formats` are the demuxers that may be used; None for all that
    keep to the one file.

    Raises:
        VideoNotFoundError: there is no such file or object, or it is a folder.
        NotAVideoError: FFmpeg finds no container in it.
        VideoError: it may not be read.
        ServiceError: the remote store failed.
        MissingExtraError: the package for that scheme is not installed.
    """
    allowed = _allowed_demuxers() if formats is None else ",".join(formats)
    options = {"format_whitelist": allowed, **(codec_options or {})}
    if not is_url(path):
        name = local_path(path)
        _check_local(path, name)
        with ffmpeg_errors(path):
            # "file:" keeps a name such as "concat:a" a name; the whitelist keeps nested opens on the disk.
            options["protocol_whitelist"] = "file"
            return Source(av.open(f"file:{name}", mode="r", options=options, metadata_errors="replace"), None)
    handle = open_remote(path)
    try:
        with ffmpeg_errors(path):
            return Source(av.open(handle, mode="r", options=options, metadata_errors="replace"), handle)
    except BaseException:
        handle.close()
        raise


@contextmanager
def ffmpeg_errors(path: str) -> Iterator[None]:
    """Turn what FFmpeg raises while a container is opened or read into deeptrace's errors."""
    try:
        yield
    except av.error.FileNotFoundError:
        raise VideoNotFoundError(path, "no such file", "Check the path.") from None
    except av.error.PermissionError:
        raise VideoError(path, "may not be read", "Check the file's permissions.") from None
    except av.error.FFmpegError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise NotAVideoError(
            path, f"no video container can be read from it ({reason})", "Is it a video, and complete?"
        ) from None
    except OSError as error:
        raise VideoError(path, f"cannot be read ({first_line(error)})", "Check disk and permissions.") from None


def _check_local(path: str, name: str) -> None:
    if os.path.isdir(name):
        raise VideoNotFoundError(path, "is a folder", "Name a video file in it.")
    try:
        size = os.stat(name).st_size
    except FileNotFoundError:
        raise VideoNotFoundError(path, "no such file", "Check the path.") from None
    except (OSError, ValueError) as error:
        raise VideoError(path, f"cannot be opened ({first_line(error)})", "Check path and permissions.") from None
    if not os.path.isfile(name):
        # A pipe would block for ever, and cannot be read twice.
        raise NotAVideoError(path, "is not a regular file", "Save the stream to a file first.")
    if size == 0:
        raise NotAVideoError(path, "the file is empty (0 bytes)", "Copy or download it again.")


@cache
def _allowed_demuxers() -> str:
    return ",".join(sorted(name for name in av.formats_available if name not in _PLAYLISTS | _TEXT_ART))
