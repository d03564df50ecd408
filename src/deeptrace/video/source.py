"""From a path or URL to an opened container, with every failure as one of deeptrace's errors."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import IO, cast
from urllib.parse import unquote, urlsplit

import av
import av.error
from av.container import InputContainer

from deeptrace.errors import NotAVideoError, VideoError, VideoNotFoundError, VideoTooLargeError
from deeptrace.video.container import Layout, is_playlist, is_raw, layout_of, webp_canvas, webp_to_mov
from deeptrace.video.remote import RemoteFile, first_line, open_remote

__all__ = ["COMMON_FORMATS", "Source", "decoder_limit", "ffmpeg_errors", "is_url", "open_source", "too_large"]

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
    """An opened container and what has to be closed after it.

    Args:
        container: what FFmpeg opened.
        handle: the file below it where FFmpeg did not open that by name.
        name: of the local file that FFmpeg opened; None with a handle.
    """

    def __init__(self, container: InputContainer, handle: RemoteFile | IO[bytes] | None, name: str | None) -> None:
        self.container = container
        self._handle, self._name = handle, name

    def layout(self) -> Layout:
        """What the container's header states beyond what FFmpeg's binding tells."""
        try:
            if self._name is not None:
                with open(self._name, "rb") as file:
                    return layout_of(file)
            assert self._handle is not None
            at = self._handle.tell()  # FFmpeg goes on from here
            try:
                return layout_of(self._handle)
            finally:
                self._handle.seek(at)
        except OSError:
            return Layout()

    def close(self) -> None:
        """Close the container, then the file below it; safe to call twice."""
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
    path: str, *, max_pixels: int | None = None, formats: Sequence[str] | None = None, look: bool = True
) -> Source:
    """Open `path` for demuxing.

    Plain paths and file:// go to FFmpeg by name. Anything else with a scheme is opened by fsspec as a seekable file
    with read-ahead blocks of 1 MiB, so that only the parts that are needed travel. Animated WebP, which FFmpeg does
    not decode, is rewritten into a temporary file first.

    Args:
        path: as the user gave it.
        max_pixels: largest width x height; None for no limit.
        formats: the demuxers that may be used; None for all that keep to the one file.
        look: whether FFmpeg may decode pictures to look into the streams; without, only headers tell.

    Raises:
        VideoNotFoundError: there is no such file or object, or it is a folder.
        NotAVideoError: FFmpeg finds no container in it.
        VideoTooLargeError: an animated WebP above the limit.
        VideoError: it may not be read.
        ServiceError: the remote store failed.
        MissingExtraError: the package for that scheme is not installed.
    """
    allowed = _allowed_demuxers() if formats is None else ",".join(formats)
    options = {"format_whitelist": allowed, **(decoder_limit(max_pixels) if look else {"skip_frame": "all"})}
    name = None if is_url(path) else local_path(path)
    handle: RemoteFile | IO[bytes]
    if name is None:
        handle = open_remote(path)
    else:
        _check_local(path, name)
        with ffmpeg_errors(path):
            handle = open(name, "rb")  # noqa: SIM115 - closed below, or by `Source`
    try:
        head = handle.read(256)
        if is_playlist(head):
            raise NotAVideoError(
                path,
                "is a playlist: it names videos and holds none",
                "Give a video that it names, or save what it plays: ffmpeg -i PLAYLIST -c copy clip.mp4",
            )
        if webp_canvas(head) is not None and (formats is None or "webp" in formats):
            moving = _decoded_webp(path, handle, head, max_pixels)
            handle.close()
            handle, name, options["format_whitelist"] = moving, None, "mov"
        handle.seek(0)
        if name is not None:
            handle.close()
        container = _opened(path, handle if name is None else name, options)
    except BaseException:
        handle.close()
        raise
    return Source(container, handle if name is None else None, name)


def _opened(path: str, file: RemoteFile | IO[bytes] | str, options: dict[str, str]) -> InputContainer:
    """What FFmpeg finds in an open file, or in the local one with a name."""
    raw = is_raw(urlsplit(path).path if is_url(path) else path)
    try:
        with ffmpeg_errors(path):
            if not isinstance(file, str):
                container = av.open(file, mode="r", options=options, metadata_errors="replace")
            else:
                # "file:" keeps a name such as "concat:a" a name; the whitelist keeps nested opens on the disk.
                options["protocol_whitelist"] = "file"
                container = av.open(f"file:{file}", mode="r", options=options, metadata_errors="replace")
    except NotAVideoError:
        if raw:
            raise _headless(path) from None
        raise
    if raw and not container.streams.video:  # by chance they look like sound
        container.close()
        raise _headless(path)
    return container


def _headless(path: str) -> NotAVideoError:
    return NotAVideoError(
        path,
        "holds raw pictures without a header: nothing tells their size, format and rate",
        "Say them: ffmpeg -f rawvideo -pixel_format yuv420p -video_size 640x360 -framerate 24 -i FILE clip.mkv",
    )


def _decoded_webp(path: str, handle: RemoteFile | IO[bytes], head: bytes, max_pixels: int | None) -> IO[bytes]:
    """The pictures of an animated WebP, in a file that FFmpeg reads."""
    width, height = webp_canvas(head) or (0, 0)
    if max_pixels is not None and width * height > max_pixels:
        raise too_large(path, width, height, max_pixels)
    handle.seek(0)
    try:
        return webp_to_mov(cast(IO[bytes], handle))
    except (OSError, ValueError, EOFError) as error:
        raise NotAVideoError(
            path, f"this animated WebP cannot be decoded ({first_line(error)})", "Is the file complete?"
        ) from None


def too_large(path: str, width: int, height: int, max_pixels: int) -> VideoTooLargeError:
    """The error for a picture above the limit."""
    return VideoTooLargeError(
        path,
        f"{width}x{height} is more than the limit of {max_pixels} pixels a frame",
        "Scale it down, or raise max_pixels.",
    )


def decoder_limit(max_pixels: int | None) -> dict[str, str]:
    """FFmpeg's own limit. It counts sizes rounded up to coding blocks of up to 128 pixels, hence the allowance."""
    return {} if max_pixels is None else {"max_pixels": str(max_pixels * 5 // 4 + (1 << 18))}


@contextmanager
def ffmpeg_errors(path: str) -> Iterator[None]:
    """Turn what FFmpeg raises while a container is opened or read into deeptrace's errors."""
    try:
        yield
    except FileNotFoundError:
        raise VideoNotFoundError(path, "no such file", "Check the path.") from None
    except PermissionError:
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
