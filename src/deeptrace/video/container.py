"""What a container says that FFmpeg's Python binding does not hand on, and files that FFmpeg itself does not read.

Everything here looks at a few bytes of headers, written by strangers: what makes no sense is passed over, never raised.
"""

from __future__ import annotations

import os
import struct
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from io import BytesIO
from typing import IO, NamedTuple, Protocol

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

__all__ = ["Crop", "Layout", "as_shown_ms", "boxes", "is_playlist", "is_raw", "layout_of", "webp_canvas", "webp_to_mov"]

# Delays of animated pictures up to this many milliseconds are shown as the second number by every browser: they were
# written by tools that meant "as fast as you can" when computers were slow.
_TOO_FAST_MS, _INSTEAD_MS = 10, 100
_MAX_ELEMENTS = 100_000
_MAX_TRACKS_BYTES = 1 << 20
# A few kilobytes of WebP can hold any number of large pictures.
_MAX_REWRITTEN_BYTES = 4_000_000_000


class Readable(Protocol):
    """A file, or a remote one, to read headers from."""

    def read(self, count: int, /) -> bytes: ...
    def seek(self, offset: int, whence: int = 0, /) -> int: ...


class Crop(NamedTuple):
    """Columns and rows of the stored picture that are not to be shown."""

    left: int
    top: int
    right: int
    bottom: int


@dataclass(frozen=True)
class Layout:
    """Facts from the header of a container.

    Attributes:
        crops_by_id: of an MP4's tracks, by their id.
        crops_in_order: of Matroska's video tracks, None where a track states no crop.
        fragmented: an MP4 whose index is spread over the file, as recorders and streaming services write it.
        whole: whether a fragmented MP4 ends where its last box ends; a file that was cut off seldom does.
    """

    crops_by_id: Mapping[int, Crop] = field(default_factory=dict)
    crops_in_order: tuple[Crop | None, ...] = ()
    fragmented: bool = False
    whole: bool = True

    def crop_of(self, stream: VideoStream) -> Crop | None:
        """The crop that the container states for a stream of it."""
        if stream.id in self.crops_by_id:
            return self.crops_by_id[stream.id]
        before = sum(other.index < stream.index for other in stream.container.streams.video)
        return self.crops_in_order[before] if before < len(self.crops_in_order) else None


def layout_of(file: Readable) -> Layout:
    """Read the layout of a Matroska, WebM, MP4 or QuickTime file; an empty one for every other kind."""
    file.seek(0)
    head = file.read(12)
    if head[:4] == b"\x1aE\xdf\xa3":
        return Layout(crops_in_order=_matroska_crops(file))
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"styp", b"pnot"):
        return _mp4_layout(file)
    return Layout()


# -- Matroska: RFC 9559, and RFC 8794 for the coding of numbers ------------------------------------------------------

_SEGMENT, _SEEK_HEAD, _TRACKS, _CLUSTER = 0x18538067, 0x114D9B74, 0x1654AE6B, 0x1F43B675
_SEEK, _SEEK_ID, _SEEK_POSITION = 0x4DBB, 0x53AB, 0x53AC
_TRACK, _TRACK_TYPE, _VIDEO, _PIXEL_WIDTH, _PIXEL_HEIGHT = 0xAE, 0x83, 0xE0, 0xB0, 0xBA
_CROPS = Crop(left=0x54CC, top=0x54BB, right=0x54DD, bottom=0x54AA)


def _matroska_crops(file: Readable) -> tuple[Crop | None, ...]:
    file.seek(0)
    _, header = _element_head(file)
    at = file.seek(header, os.SEEK_CUR)
    kind, _ = _element_head(file)
    if kind != _SEGMENT:
        return ()
    at = start = file.seek(0, os.SEEK_CUR)
    elsewhere: int | None = None
    for _ in range(64):  # what stands before the first cluster
        kind, size = _element_head(file)
        inside = file.seek(0, os.SEEK_CUR)
        if kind == _TRACKS:
            return _crops_of(file.read(min(size, _MAX_TRACKS_BYTES)))
        if kind == _SEEK_HEAD:
            elsewhere = _sought(file.read(min(size, _MAX_TRACKS_BYTES)))
        if kind in (0, _CLUSTER):
            break
        at = inside + size
        file.seek(at)
    if elsewhere is None:
        return ()
    file.seek(start + elsewhere)
    kind, size = _element_head(file)
    return _crops_of(file.read(min(size, _MAX_TRACKS_BYTES))) if kind == _TRACKS else ()


def _element_head(file: Readable) -> tuple[int, int]:
    """(id, size) of the element here, the file left at what is in it; (0, 0) at the end or in a muddle."""
    first = file.read(1)
    length = 9 - first[0].bit_length() if first else 9
    if length > 4:
        return 0, 0
    kind = int.from_bytes(first + file.read(length - 1), "big")
    first = file.read(1)
    length = 9 - first[0].bit_length() if first else 9
    if length > 8:
        return 0, 0
    size = int.from_bytes(first + file.read(length - 1), "big") & ((1 << 7 * length) - 1)
    return kind, min(size, 1 << 56)


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(id, content) of the elements that follow each other in `data`."""
    file = BytesIO(data)
    while True:
        kind, size = _element_head(file)
        if kind == 0:
            return
        yield kind, file.read(min(size, len(data)))


def _sought(seek_head: bytes) -> int | None:
    """Where the tracks stand, counted from the segment's start."""
    for kind, entry in _elements(seek_head):
        parts = dict(_elements(entry)) if kind == _SEEK else {}
        if int.from_bytes(parts.get(_SEEK_ID, b""), "big") == _TRACKS:
            return int.from_bytes(parts.get(_SEEK_POSITION, b"")[:7], "big")
    return None


def _crops_of(tracks: bytes) -> tuple[Crop | None, ...]:
    found: list[Crop | None] = []
    for kind, entry in _elements(tracks):
        parts = dict(_elements(entry)) if kind == _TRACK else {}
        if parts.get(_TRACK_TYPE, b"")[-1:] != b"\x01":
            continue
        video = {kind: int.from_bytes(value[:8], "big") for kind, value in _elements(parts.get(_VIDEO, b""))}
        crop = Crop(*(video.get(kind, 0) for kind in _CROPS))
        found.append(_sensible(crop, video.get(_PIXEL_WIDTH, 0), video.get(_PIXEL_HEIGHT, 0)))
    return tuple(found)


def _sensible(crop: Crop, width: int, height: int) -> Crop | None:
    """The crop where it takes something away and leaves something."""
    left_over = min(width - crop.left - crop.right, height - crop.top - crop.bottom)
    return crop if any(crop) and min(crop) >= 0 and left_over > 0 else None


# -- MP4 and QuickTime: ISO/IEC 14496-12 -----------------------------------------------------------------------------


def _mp4_layout(file: Readable) -> Layout:
    crops: dict[int, Crop] = {}
    fragmented, end = False, 0
    total = file.seek(0, os.SEEK_END)
    for kind, start, stop in boxes(file, 0, total):
        if kind == b"moov":
            for inner, inner_start, inner_stop in boxes(file, start, min(stop, total)):
                fragmented = fragmented or inner == b"mvex"
                if inner == b"trak":
                    crops |= _crop_of_track(file, inner_start, inner_stop)
            if not fragmented:
                return Layout(crops_by_id=crops)
        end = stop
    return Layout(crops_by_id=crops, fragmented=fragmented, whole=end == total)


def boxes(file: Readable, start: int, stop: int) -> Iterator[tuple[bytes, int, int]]:
    """(kind, start of what is in it, end) of the boxes that follow each other in [start, stop).

    The end of the last one may lie beyond `stop`.
    """
    for _ in range(_MAX_ELEMENTS):
        if start >= stop:
            return
        file.seek(start)
        head = file.read(16)
        if len(head) < 8:
            yield b"", start, stop + 1  # a piece of a box
            return
        size, kind = struct.unpack(">I4s", head[:8])
        inside = start + 8
        if size == 1 and len(head) == 16:
            size, inside = int.from_bytes(head[8:], "big"), start + 16
        end = start + size if size else stop
        if end < inside:
            return
        yield kind, inside, end
        start = end


def _within(file: Readable, start: int, stop: int, *path: bytes) -> tuple[int, int] | None:
    """(start, stop) of what is in the first box along a path of kinds."""
    for name in path:
        for kind, inside, end in boxes(file, start, stop):
            if kind == name and end <= stop:
                start, stop = inside, end
                break
        else:
            return None
    return start, stop


def _crop_of_track(file: Readable, start: int, stop: int) -> dict[int, Crop]:
    """{id: crop} from a track's clean aperture, if it is a video track that has one."""
    header, description = _within(file, start, stop, b"tkhd"), _within(file, start, stop, b"mdia", b"minf", b"stbl")
    if header is None or description is None or _within(file, start, stop, b"mdia", b"minf", b"vmhd") is None:
        return {}
    table = _within(file, *description, b"stsd")
    entry = None if table is None else next(boxes(file, table[0] + 8, table[1]), None)
    if entry is None:
        return {}
    aperture = _within(file, entry[1] + 78, entry[2], b"clap")
    if aperture is None:
        return {}
    file.seek(header[0])
    head = file.read(24)
    file.seek(entry[1] + 24)
    size = file.read(4)
    file.seek(aperture[0])
    numbers = file.read(32)
    if min(len(head) - 24, len(size) - 4, len(numbers) - 32) < 0:
        return {}
    track = int.from_bytes(head[20:24] if head[0] == 1 else head[12:16], "big")
    width, height = struct.unpack(">HH", size)
    crop = _clean_aperture(width, height, numbers)
    return {} if crop is None else {track: crop}


def _clean_aperture(width: int, height: int, numbers: bytes) -> Crop | None:
    """Width, height and the centre's offsets, each a fraction of two 32-bit numbers (section 12.1.4)."""
    parts = struct.unpack(">IIIIiIiI", numbers)
    if not all(parts[1::2]):
        return None
    wide, high, right, down = (Fraction(parts[k], parts[k + 1]) for k in (0, 2, 4, 6))
    left, top = round((width - wide) / 2 + right), round((height - high) / 2 + down)
    return _sensible(Crop(left, top, width - left - round(wide), height - top - round(high)), width, height)


# -- animated pictures -----------------------------------------------------------------------------------------------


def as_shown_ms(delay_ms: float) -> float:
    """How long a picture of an animated GIF or WebP is shown that asks for `delay_ms`.

    >>> as_shown_ms(10), as_shown_ms(20)
    (100, 20)
    """
    return _INSTEAD_MS if delay_ms <= _TOO_FAST_MS else delay_ms


def webp_canvas(head: bytes) -> tuple[int, int] | None:
    """(width, height) of an animated WebP from its first 30 bytes; None for anything else, stills among it."""
    animated = len(head) >= 30 and head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X" and head[20] & 2
    return (int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1) if animated else None


def webp_to_mov(file: IO[bytes]) -> IO[bytes]:
    """An animated WebP, which FFmpeg does not decode, as PNG pictures in a temporary QuickTime file.

    Raises:
        OSError, ValueError, EOFError: Pillow cannot read it.
    """
    from PIL import Image  # a tenth of a second, for one container in a thousand

    out = tempfile.TemporaryFile(suffix=".deeptrace")  # noqa: SIM115 - closed by `Source`
    try:
        with Image.open(file, formats=["WEBP"]) as image, av.open(out, "w", format="mov") as container:
            stream = container.add_stream("png", rate=1000, options={"compression_level": "1"})
            stream.width, stream.height, stream.pix_fmt = image.width, image.height, "rgba"
            clock = 0
            for index in range(getattr(image, "n_frames", 1)):
                image.seek(index)
                frame = VideoFrame.from_ndarray(np.asarray(image.convert("RGBA")), format="rgba")
                frame.pts, frame.time_base = clock, Fraction(1, 1000)
                hold = round(as_shown_ms(image.info.get("duration", 0)))
                clock += hold
                for packet in stream.encode(frame):
                    packet.duration = hold
                    container.mux(packet)
                if out.tell() > _MAX_REWRITTEN_BYTES:
                    raise ValueError("its pictures take more than 4 GB")
    except BaseException:
        out.close()
        raise
    out.seek(0)
    return out


# -- what people give instead of a video -----------------------------------------------------------------------------

_RAW = {".yuv", ".i420", ".yv12", ".nv12", ".nv21", ".nv16", ".yuyv", ".uyvy", ".p010", ".rgb", ".bgr", ".rgba", ".raw"}
_LISTS = (b"#EXTM3U", b"ffconcat", b"[playlist]", b"[Reference]", b"<MPD", b"<asx", b"<ASX", b"<smil", b"v=0\r\n")


def is_playlist(head: bytes) -> bool:
    """Whether a file that begins with these bytes names videos and holds none.

    >>> is_playlist(b"#EXTM3U"), is_playlist(b"RIFF")
    (True, False)
    """
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    return text.startswith(_LISTS) or (text.startswith(b"<?xml") and b"<MPD" in text)


def is_raw(name: str) -> bool:
    """Whether a name is one under which pictures without a header are kept.

    >>> is_raw("foreman_cif.YUV")
    True
    """
    return os.path.splitext(name)[1].lower() in _RAW
