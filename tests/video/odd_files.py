"""A folder of broken and odd video files, made on the spot, each with the right answer to it.

`make_odd_files(folder)` is used by the reader's tests and by the tests of whole commands: every file must either give
the stated picture or one clear line, and none may stop a batch.
"""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray
from PIL import Image

from deeptrace import errors
from deeptrace.video.encoders import ordinary_priority

WIDTH, HEIGHT, FPS = 160, 120, 10
RED, GREEN, BLUE, WHITE = (220, 30, 30), (30, 200, 30), (30, 30, 220), (235, 235, 235)


@dataclass(frozen=True)
class Expectation:
    """The right answer to one file.

    Attributes:
        error: kind of the one-line error, or None when frames must come.
        says: a word that the error, or one of the warnings, must contain.
        size: (width, height) as shown.
        frames: how many frames decode, or a (low, high) range where damage makes it depend on the decoder.
        corners: colours of the upright picture at top left, top right, bottom left, bottom right.
        times_s: exact times of all frames.
        duration_s: duration, from the opening to after a full pass; with damage and joins only after it.
        opens_s: duration as of the opening where it is known then; None for `duration_s` in whole files.
        numbers: what the pictures spell (see `odd_streams`).
        later: (time, number) of the first picture after damage; from there on all are there at the right times.
        fps: rate as the facts state it.
        media_frames: number of pictures as the facts state it at the opening.
        quiet: whether there is nothing to complain of.
    """

    error: type[errors.VideoError] | None = None
    says: str = ""
    size: tuple[int, int] = (WIDTH, HEIGHT)
    frames: int | tuple[int, int] = 10
    corners: tuple[tuple[int, int, int], ...] | None = (RED, GREEN, BLUE, WHITE)
    times_s: tuple[float, ...] | None = None
    duration_s: float | None = None
    opens_s: float | None = None
    numbers: tuple[int, ...] | None = None
    later: tuple[float, int] | None = None
    fps: float | None = None
    media_frames: int | None = None
    quiet: bool = False


def picture(index: int = 0, width: int = WIDTH, height: int = HEIGHT) -> NDArray[np.uint8]:
    """Four coloured quarters, so that every rotation and mirroring shows, and a grey square that moves."""
    image = np.empty((height, width, 3), np.uint8)
    top, left = height // 2, width // 2
    image[:top, :left], image[:top, left:], image[top:, :left], image[top:, left:] = RED, GREEN, BLUE, WHITE
    x = 20 + 4 * (index % 10)
    image[top - 10 : top + 10, x : x + 20] = 128
    return image


def encode(
    path: Path,
    *,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    rate: int = FPS,
    count: int = 10,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    times_s: tuple[float, ...] | None = None,
    options: dict[str, str] | None = None,
    mux: dict[str, str] | None = None,
    form: str | None = None,
    source: str = "rgb24",
    prepare: Callable[[av.VideoStream], None] | None = None,
    images: list[NDArray[np.uint8]] | None = None,
    base: Fraction = Fraction(1, 1000),
    matrix: int | None = None,
) -> Path:
    """Write a small clip with PyAV; `times_s` are its timestamps (default: 0, 1/FPS, ...), in units of `base`."""
    images = images or [picture(k, *size) for k in range(count)]
    with av.open(str(path), "w", format=form, options=mux or {}) as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.width, stream.height, stream.pix_fmt = images[0].shape[1], images[0].shape[0], pix_fmt
        if times_s is not None:
            stream.codec_context.time_base = base
        if prepare is not None:
            prepare(stream)
        with ordinary_priority():
            container.start_encoding()
        for k, image in enumerate(images):
            frame = VideoFrame.from_ndarray(image, format=source).reformat(format=pix_fmt, dst_colorspace=matrix)
            if times_s is None:
                frame.pts, frame.time_base = k, Fraction(1, rate)
            else:
                frame.pts, frame.time_base = round(times_s[k] / base), base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def tone(path: Path, *, codec: str = "aac", form: str | None = None) -> Path:
    """One second of a sine tone without a picture."""
    with av.open(str(path), "w", format=form) as container:
        stream = container.add_stream(codec, rate=44100, layout="mono")
        wave = (8000 * np.sin(np.arange(44100) * 0.06)).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(wave[None], format="s16", layout="mono")
        frame.sample_rate, frame.pts = 44100, 0
        resampler = av.AudioResampler(format=stream.codec_context.format or "fltp", layout="mono", rate=44100)
        for piece in resampler.resample(frame):
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
    return path


FASTSTART = {"movflags": "+faststart"}


def _odd_shapes(d: Path) -> dict[str, Expectation]:
    """Files that are whole, but not upright, not square, not 8-bit 4:2:0, or not of one size."""
    out: dict[str, Expectation] = {}

    def turned(name: str, degrees: int, hflip: bool = False) -> None:
        encode(d / name, prepare=lambda stream: stream.set_display_rotation(degrees, hflip=hflip))

    # `set_display_rotation` takes the counter-clockwise turn that makes the picture upright.
    turned("turned_90.mp4", 90)
    out["turned_90.mp4"] = Expectation(size=(HEIGHT, WIDTH), corners=(GREEN, WHITE, RED, BLUE))
    turned("turned_180.mp4", 180)
    out["turned_180.mp4"] = Expectation(corners=(WHITE, BLUE, GREEN, RED))
    turned("turned_270.mp4", -90)
    out["turned_270.mp4"] = Expectation(size=(HEIGHT, WIDTH), corners=(BLUE, RED, WHITE, GREEN))
    turned("mirrored.mp4", 0, hflip=True)
    out["mirrored.mp4"] = Expectation(corners=(GREEN, RED, WHITE, BLUE))

    def anamorphic(stream: av.VideoStream) -> None:
        stream.codec_context.sample_aspect_ratio = Fraction(2, 1)

    encode(d / "anamorphic.mp4", prepare=anamorphic)
    out["anamorphic.mp4"] = Expectation(size=(2 * WIDTH, HEIGHT))
    encode(d / "odd_size.mp4", pix_fmt="yuv444p", size=(161, 121))
    out["odd_size.mp4"] = Expectation(size=(161, 121))
    encode(d / "tiny.mp4", size=(2, 2), images=[np.full((2, 2, 3), 90, np.uint8)] * 10)
    out["tiny.mp4"] = Expectation(size=(2, 2), corners=None)
    quiet = {"x265-params": "log-level=none:pools=none"}
    encode(d / "ten_bit.mp4", codec="libx265", pix_fmt="yuv420p10le", options=quiet)
    out["ten_bit.mp4"] = Expectation()

    def high_range(stream: av.VideoStream) -> None:
        stream.codec_context.color_trc, stream.codec_context.color_primaries = 16, 9

    encode(d / "hdr_pq.mp4", codec="libx265", pix_fmt="yuv420p10le", options=quiet, prepare=high_range)
    out["hdr_pq.mp4"] = Expectation(says="tone mapping", corners=None)
    encode(d / "gray.mkv", codec="ffv1", pix_fmt="gray")
    out["gray.mkv"] = Expectation(corners=None)
    clear = [np.dstack([picture(k), np.full((HEIGHT, WIDTH), 255, np.uint8)]) for k in range(10)]
    for image in clear:
        image[:60, :80, 3] = 0
    encode(d / "alpha.mov", codec="png", pix_fmt="rgba", source="rgba", images=clear)
    out["alpha.mov"] = Expectation(corners=((0, 0, 0), GREEN, BLUE, WHITE))
    _raw_h264(d / "a.h264", (WIDTH, HEIGHT)), _raw_h264(d / "b.h264", (96, 64))
    (d / "size_change.h264").write_bytes((d / "a.h264").read_bytes() + (d / "b.h264").read_bytes())
    out["size_change.h264"] = Expectation(frames=20, says="without a timestamp")
    (d / "a.h264").rename(d / "no_times.h264"), (d / "b.h264").unlink()
    out["no_times.h264"] = Expectation(says="without a timestamp")
    return out


def _raw_h264(path: Path, size: tuple[int, int]) -> None:
    encode(path, size=size, form="h264")


def _odd_codecs(d: Path) -> dict[str, Expectation]:
    """Codecs and containers beyond H.264 in MP4."""
    out: dict[str, Expectation] = {}
    encode(d / "hevc.mp4", codec="libx265", options={"x265-params": "log-level=none:pools=none"})
    encode(d / "vp9.webm", codec="libvpx-vp9", options={"deadline": "realtime", "cpu-used": "8"})
    os.environ.setdefault("SVT_LOG", "1")  # the encoder prints its settings to stderr otherwise
    encode(d / "av1.mkv", codec="libsvtav1", options={"preset": "10"})
    encode(d / "mpeg4.avi", codec="mpeg4")
    encode(d / "mpeg2.ts", codec="mpeg2video", rate=25)
    encode(d / "mjpeg.avi", codec="mjpeg", pix_fmt="yuvj420p")
    encode(d / "lossless.mkv", codec="ffv1", pix_fmt="bgr0")
    for name in ("hevc.mp4", "vp9.webm", "av1.mkv", "mpeg4.avi", "mpeg2.ts", "mjpeg.avi", "lossless.mkv"):
        out[name] = Expectation()
    pages = [Image.fromarray(picture(k)) for k in range(4)]
    pages[0].save(d / "delays.gif", save_all=True, append_images=pages[1:], duration=[100, 300, 50, 200], loop=0)
    out["delays.gif"] = Expectation(frames=4, times_s=(0.0, 0.1, 0.4, 0.45), duration_s=0.65)
    pages[0].save(d / "still.png")
    out["still.png"] = Expectation(frames=1, times_s=(0.0,))
    return out


def _odd_times(d: Path) -> dict[str, Expectation]:
    """Variable rate, late and negative starts, clocks that fall back, one frame."""
    out: dict[str, Expectation] = {}
    uneven = (0.0, 0.04, 0.2, 0.21, 0.5, 0.9, 1.0, 1.6, 1.64, 2.0)
    encode(d / "uneven.mkv", times_s=uneven)
    out["uneven.mkv"] = Expectation(times_s=uneven)
    late = tuple(5 + k / FPS for k in range(10))
    encode(d / "late_start.mkv", times_s=late)
    out["late_start.mkv"] = Expectation(times_s=tuple(k / FPS for k in range(10)), duration_s=1.0)
    encode(d / "edit_list.mp4", times_s=tuple(k / FPS - 0.3 for k in range(10)), options={"bf": "0"})
    out["edit_list.mp4"] = Expectation(frames=(7, 10), corners=(RED, GREEN, BLUE, WHITE))
    encode(d / "one_frame.mp4", count=1)
    out["one_frame.mp4"] = Expectation(frames=1, times_s=(0.0,))
    encode(d / "part.ts", form="mpegts")
    (d / "joined.ts").write_bytes((d / "part.ts").read_bytes() * 2)
    (d / "part.ts").unlink()
    out["joined.ts"] = Expectation(frames=(19, 20), says="")
    return out


def _odd_streams(d: Path) -> dict[str, Expectation]:
    """Files with no picture, several pictures, or a picture that is only a cover."""
    out: dict[str, Expectation] = {}
    tone(d / "audio_only.mp4")
    out["audio_only.mp4"] = Expectation(errors.NoVideoStreamError, "audio")
    jpeg = BytesIO()
    Image.fromarray(picture()).save(jpeg, "JPEG")
    tone(d / "song.mp3", codec="libmp3lame")
    (d / "cover.mp3").write_bytes(_id3_cover(jpeg.getvalue()) + (d / "song.mp3").read_bytes())
    (d / "song.mp3").unlink()
    out["cover.mp3"] = Expectation(errors.NoVideoStreamError, "cover")
    _two_pictures(d / "two_pictures.mkv")
    out["two_pictures.mkv"] = Expectation()
    (d / "captions.srt").write_text(
        "1\n00:00:00,000 --> 00:00:01,000\nhello\n\n2\n00:00:01,000 --> 00:00:02,000\nyou\n"
    )
    out["captions.srt"] = Expectation(errors.NoVideoStreamError, "subtitle")
    with av.open(str(d / "zero_frames.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        container.start_encoding()
    out["zero_frames.mp4"] = Expectation(errors.VideoError)
    return out


def _two_pictures(path: Path) -> None:
    """A small stream first and the main one second."""
    with av.open(str(path), "w") as container:
        small, main = (container.add_stream("libx264", rate=FPS) for _ in range(2))
        for stream, size in ((small, (64, 48)), (main, (WIDTH, HEIGHT))):
            stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for k in range(10):
            for stream in (small, main):
                container.mux(stream.encode(VideoFrame.from_ndarray(picture(k, stream.width, stream.height))))
        for stream in (small, main):
            container.mux(stream.encode(None))


def _id3_cover(jpeg: bytes) -> bytes:
    """An ID3v2.3 tag with an attached picture (id3.org, section 4.15)."""
    body = b"\x00image/jpeg\x00\x03\x00" + jpeg
    frame = b"APIC" + struct.pack(">I", len(body)) + b"\x00\x00" + body
    size = bytes((len(frame) >> shift) & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x03\x00\x00" + size + frame


def _broken(d: Path) -> dict[str, Expectation]:
    """Cut off, overwritten, or no video at all."""
    out: dict[str, Expectation] = {}
    intra = {"g": "5", "crf": "10"}
    noisy = [_noisy(k) for k in range(40)]
    whole = encode(d / "whole.mp4", options=intra, mux=FASTSTART, images=noisy).read_bytes()
    (d / "cut_tail.mp4").write_bytes(whole[: len(whole) * 6 // 10])
    out["cut_tail.mp4"] = Expectation(says="missing", frames=(18, 26), corners=None)
    (d / "cut_at_start.mp4").write_bytes(whole[: whole.index(b"mdat") + 12])
    out["cut_at_start.mp4"] = Expectation(errors.VideoError)
    hurt = bytearray(whole)
    for start in range(len(hurt) // 2, len(hurt) // 2 + 4000):
        hurt[start] ^= 0x5A
    (d / "hurt_middle.mp4").write_bytes(bytes(hurt))
    out["hurt_middle.mp4"] = Expectation(says="", frames=(30, 40), corners=None)
    (d / "unknown_codec.mp4").write_bytes(whole.replace(b"avc1", b"zzzz").replace(b"avcC", b"zzzC"))
    out["unknown_codec.mp4"] = Expectation(errors.VideoError)
    late_index = encode(d / "whole.mp4", options=intra, images=noisy).read_bytes()
    (d / "cut_before_index.mp4").write_bytes(late_index[: len(late_index) * 6 // 10])
    out["cut_before_index.mp4"] = Expectation(errors.NotAVideoError)
    webm = encode(d / "whole.webm", codec="libvpx-vp9", images=noisy, options={"deadline": "realtime", "cpu-used": "8"})
    data = webm.read_bytes()
    (d / "cut_tail.webm").write_bytes(data[: len(data) * 6 // 10])
    out["cut_tail.webm"] = Expectation(says="missing", frames=(15, 32), corners=None)
    (d / "whole.mp4").unlink(), (d / "whole.webm").unlink()
    rng = np.random.default_rng(3)
    (d / "empty.mp4").write_bytes(b"")
    (d / "zeros.mp4").write_bytes(bytes(50_000))
    (d / "random.mp4").write_bytes(rng.integers(0, 256, 50_000, dtype=np.uint8).tobytes())
    (d / "text.mp4").write_text("This is not a video.\n" * 200)
    (d / "page.mp4").write_text("<!doctype html><html><body>404 Not Found</body></html>")
    for name in ("empty.mp4", "zeros.mp4", "random.mp4", "text.mp4", "page.mp4"):
        out[name] = Expectation(errors.NotAVideoError)
    # A GIF header is all it takes to claim a gigabyte a frame.
    gif = bytearray((d / "delays.gif").read_bytes())
    gif[6:10] = struct.pack("<HH", 16_000, 16_000)
    (d / "absurd_size.gif").write_bytes(bytes(gif))
    out["absurd_size.gif"] = Expectation(errors.VideoTooLargeError, "16000x16000")
    return out


def _noisy(index: int) -> NDArray[np.uint8]:
    noise = np.random.default_rng(index).integers(-20, 20, (HEIGHT, WIDTH, 1))
    return np.clip(picture(index).astype(int) + noise, 0, 255).astype(np.uint8)


def _odd_names(d: Path) -> dict[str, Expectation]:
    """Names that mean something to somebody, links, folders, and playlists that point elsewhere."""
    out: dict[str, Expectation] = {}
    plain = encode(d / "plain.mp4")
    out["plain.mp4"] = Expectation(times_s=tuple(k / FPS for k in range(10)), duration_s=1.0)
    for name in ("été 100%d #1 [x]?.mp4", "concat:a|b.mp4", "really_mp4.gif", "no_suffix"):
        shutil.copy(plain, d / name)
        out[name] = Expectation()
    (d / "dangling.mp4").symlink_to(d / "gone.mp4")
    out["dangling.mp4"] = Expectation(errors.VideoNotFoundError)
    (d / "folder.mp4").mkdir()
    out["folder.mp4"] = Expectation(errors.VideoNotFoundError, "folder")
    (d / "list.m3u8").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:1,\nplain.mp4\n#EXT-X-ENDLIST\n")
    (d / "script.mp4").write_text("ffconcat version 1.0\nfile plain.mp4\n")
    for name in ("list.m3u8", "script.mp4"):
        out[name] = Expectation(errors.NotAVideoError)
    return out


def make_odd_files(folder: Path) -> dict[str, Expectation]:
    """Write every odd file into `folder` and return what each must give, by file name."""
    from tests.video.odd_streams import make_odd_streams

    folder.mkdir(parents=True, exist_ok=True)
    out: dict[str, Expectation] = {}
    for make in (_odd_shapes, _odd_codecs, _odd_times, _odd_streams, _broken, _odd_names):
        out |= make(folder)
    return out | make_odd_streams(folder)
