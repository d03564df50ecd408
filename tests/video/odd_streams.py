"""Odd files of the second kind: whole to look at, but their times, streams or headers say what is not so.

Every picture spells its number, so that the right picture at the right time can be told from its neighbours.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.bitstream import BitStreamFilterContext
from av.video.frame import VideoFrame
from numpy.typing import NDArray
from PIL import Image, features
from tests.video.odd_files import (
    BLUE,
    FPS,
    GREEN,
    HEIGHT,
    WHITE,
    WIDTH,
    Expectation,
    encode,
    picture,
)

from deeptrace import errors

BITS = 6
BLACK = (0, 0, 0)


def numbered(index: int) -> NDArray[np.uint8]:
    """Coloured quarters; six black or white blocks across the middle spell the number, the lowest bit at the left."""
    image = picture(index)
    for bit in range(BITS):
        image[40:80, bit * WIDTH // BITS : (bit + 1) * WIDTH // BITS] = 255 if index >> bit & 1 else 0
    return image


def number_of(image: NDArray[np.uint8]) -> int:
    """What the blocks of a numbered picture spell."""
    row = image[image.shape[0] // 2 - 4 : image.shape[0] // 2 + 4].astype(float).mean(axis=(0, 2))
    return sum(1 << bit for bit in range(BITS) if row[int((bit + 0.5) * image.shape[1] / BITS)] > 128)


def movie(path: Path, count: int = 40, *, codec: str = "libx264", options: dict[str, str] | None = None, **how) -> Path:  # type: ignore[no-untyped-def]
    """Numbered pictures with B-frames, a key frame every ten."""
    return encode(
        path,
        codec=codec,
        images=[numbered(k) for k in range(count)],
        options={"crf": "14", "bf": "3", "g": "10", **(options or {})},
        **how,
    )


def remux(
    source: Path,
    target: Path,
    *,
    bsf: str = "",
    form: str | None = None,
    mux: dict[str, str] | None = None,
) -> Path:
    """The packets of `source`'s video in another container, through a bitstream filter."""
    with av.open(str(source)) as inp, av.open(str(target), "w", format=form, options=mux or {}) as out:
        stream = inp.streams.video[0]
        copy = out.add_stream_from_template(stream)
        change = BitStreamFilterContext(bsf, stream, copy) if bsf else None
        for packet in inp.demux(stream):
            if not packet.size:
                continue
            for changed in change.filter(packet) if change is not None else [packet]:
                changed.stream = copy
                out.mux(changed)
    return target


def times(count: int, rate: float = FPS) -> tuple[float, ...]:
    """The moments of `count` pictures at a rate."""
    return tuple(k / rate for k in range(count))


def _whole(count: int = 40, rate: float = FPS, **other) -> Expectation:  # type: ignore[no-untyped-def]
    """All of `count` numbered pictures, each at its time, and nothing to complain of."""
    facts = {"frames": count, "times_s": times(count, rate), "duration_s": count / rate, "fps": rate, "quiet": True}
    return Expectation(**{**facts, "numbers": tuple(range(count)), **other})


def make_odd_streams(d: Path) -> dict[str, Expectation]:
    """Write every file into `d` and return what each must give, by file name."""
    scrap = d / "scrap"
    scrap.mkdir()
    out: dict[str, Expectation] = {}
    for make in (_bare, _avi, _matrices, _lengths, _fragments, _mid_stream, _hurt, _streams, _pictures, _alpha, _crops):
        out |= make(d, scrap)
    for file in sorted(scrap.iterdir()):
        file.unlink()
    scrap.rmdir()
    return out | _no_videos(d)


def _bare(d: Path, scrap: Path) -> dict[str, Expectation]:
    """Streams without a container: no packet has a time, so one that is skipped must not take its time with it."""
    says = {"quiet": False, "says": "without a timestamp"}
    movie(d / "bare.h264", form="h264", rate=24)
    movie(d / "bare.mjpeg", codec="mjpeg", form="mjpeg", pix_fmt="yuvj420p", options={"bf": "0"})
    movie(d / "bare.hevc", codec="libx265", form="hevc", rate=24, options=_x265("bframes=3:keyint=10"))
    movie(scrap / "rate.h264", form="h264")
    remux(scrap / "rate.h264", d / "bare_no_rate.h264", bsf="h264_metadata=tick_rate=180000", form="h264")
    return {
        "bare.h264": _whole(rate=24, **says),
        "bare.hevc": _whole(rate=24, **says),
        # FFmpeg's assumption: nothing in the file tells.
        "bare.mjpeg": _whole(rate=25, quiet=False, says="25 frames a second are assumed"),
        "bare_no_rate.h264": _whole(rate=25, quiet=False, says="25 frames a second are assumed"),
    }


def _x265(more: str) -> dict[str, str]:
    return {"x265-params": f"log-level=none:pools=none:{more}"}


def _avi(d: Path, scrap: Path) -> dict[str, Expectation]:
    """AVI and ASF keep no presentation times: H.264 with B-frames is stamped in decoding order."""
    movie(d / "b_frames.avi")
    movie(d / "b_frames.asf", form="asf")
    movie(d / "open_gop.avi", options={"x264-params": "open-gop=1:keyint=10:min-keyint=10:b-adapt=0:scenecut=0"})
    movie(d / "mpeg4_b.avi", codec="mpeg4", options={"bf": "2", "q": "2"})
    # A header that counts twice as many moments as there are pictures: every other one is empty.
    movie(d / "double.avi", rate=2 * FPS, times_s=times(40), base=Fraction(1, 2 * FPS))
    # Twenty pictures, then every fourth only; the header counts what is not there too.
    kept = [*range(20), *range(20, 40, 4)]
    encode(
        d / "skips.avi", codec="mpeg4", images=[numbered(k) for k in kept], times_s=tuple(k / FPS for k in kept),
        options={"q": "2"}, base=Fraction(1, FPS),
    )  # fmt: skip
    # One picture of the second group is gone: its group may be off by one, all later ones are right.
    data = bytearray((d / "b_frames.avi").read_bytes())
    size, at = _chunk(data, 15)
    data[at : at + size] = bytes(size)
    (d / "hurt.avi").write_bytes(bytes(data))
    return {
        "b_frames.avi": _whole(),
        "b_frames.asf": Expectation(frames=40, times_s=times(40), numbers=tuple(range(40))),
        "open_gop.avi": _whole(),
        "mpeg4_b.avi": _whole(),
        "double.avi": _whole(duration_s=3.95, fps=40 / 3.95),  # of the last picture's two moments one is counted
        "skips.avi": Expectation(
            frames=25, times_s=tuple(k / FPS for k in kept), duration_s=3.7, numbers=tuple(kept), media_frames=25
        ),
        "hurt.avi": Expectation(frames=(36, 40), later=(2.0, 20), duration_s=4.0),
    }


def _chunk(avi: bytes, index: int) -> tuple[int, int]:
    """(size, offset) of the payload of the `index`-th picture of an AVI."""
    at = avi.index(b"movi") + 4
    for _ in range(index):
        at += 8 + struct.unpack_from("<I", avi, at + 4)[0] + 1 & ~1
    return struct.unpack_from("<I", avi, at + 4)[0], at + 8


MATRICES = {
    # number: (matrix of the pictures, primaries that the file states)
    8: (5, 2), 10: (9, 9), 11: (9, 9), 12: (1, 1), 13: (9, 9), 14: (9, 9), 15: (9, 9), 16: (5, 2), 17: (5, 2),
}  # fmt: skip


def _matrices(d: Path, scrap: Path) -> dict[str, Expectation]:
    """Colour matrices that FFmpeg's scaler has no numbers for, on pictures made with the nearest that it has."""
    out: dict[str, Expectation] = {}
    for number, (matrix, primaries) in MATRICES.items():
        movie(scrap / "made.mp4", 12, matrix=matrix)
        tags = f"matrix_coefficients={number}:colour_primaries={primaries}"
        remux(scrap / "made.mp4", d / f"matrix_{number}.mp4", bsf=f"h264_metadata={tags}")
        out[f"matrix_{number}.mp4"] = _whole(12, quiet=False, says=f"colour matrix {number}")
    return out


def _lengths(d: Path, scrap: Path) -> dict[str, Expectation]:
    """Pauses, and headers that state other lengths and counts than are shown."""
    paused = tuple(k / FPS + 5 * (k >= 30) for k in range(40))
    movie(d / "pause.mp4", times_s=paused)
    movie(scrap / "long.mp4", options={"bf": "0"})
    _hide_first(scrap / "long.mp4", d / "hidden_start.mp4", 18)
    movie(scrap / "plain.mkv")
    data = (scrap / "plain.mkv").read_bytes()
    at = data.index(b"00:00:04.")
    for name, stated in (("stale_long.mkv", b"00:10:00."), ("stale_short.mkv", b"00:00:01.")):
        (d / name).write_bytes(data[:at] + stated + data[at + 9 :])
    _with_sound(scrap / "plain.mkv", scrap / "sound.mkv", 9.0)
    data = (scrap / "sound.mkv").read_bytes()
    at = data.index(b"00:00:04.")
    (d / "stale_with_sound.mkv").write_bytes(data[:at] + b"00:10:00." + data[at + 9 :])
    return {
        "pause.mp4": Expectation(frames=40, times_s=paused, duration_s=9.0, numbers=tuple(range(40)), quiet=True),
        "hidden_start.mp4": Expectation(
            frames=22, times_s=times(22), duration_s=2.2, numbers=tuple(range(18, 40)), media_frames=22, quiet=True
        ),
        "stale_long.mkv": _whole(),
        "stale_short.mkv": _whole(),
        # Nothing in it tells how long the pictures last; that the sound lasts 9 s is known.
        "stale_with_sound.mkv": Expectation(frames=40, times_s=times(40), duration_s=4.0, numbers=tuple(range(40))),
    }


def _hide_first(source: Path, target: Path, count: int) -> None:
    """Hide the first pictures of an MP4 by its edit list (ISO/IEC 14496-12, 8.6.6); the header still counts them."""
    data = bytearray(source.read_bytes())
    at = data.index(b"elst") + 4
    version, edits = data[at], struct.unpack_from(">I", data, at + 4)[0]
    assert (version, edits) == (0, 1)
    length, start = struct.unpack_from(">Ii", data, at + 8)
    scale = struct.unpack_from(">I", data, data.index(b"mdhd") + 16)[0]
    struct.pack_into(">Ii", data, at + 8, length - count * 1000 // FPS, start + count * scale // FPS)
    target.write_bytes(bytes(data))


def _with_sound(source: Path, target: Path, seconds: float) -> None:
    with av.open(str(source)) as inp, av.open(str(target), "w") as out:
        copy = out.add_stream_from_template(inp.streams.video[0])
        sound = out.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, int(8000 * seconds)), np.int16), format="s16", layout="mono")
        frame.sample_rate, frame.pts = 8000, 0
        out.mux(sound.encode(frame))
        for packet in inp.demux(video=0):
            if packet.size:
                packet.stream = copy
                out.mux(packet)


def _fragments(d: Path, scrap: Path) -> dict[str, Expectation]:
    """MP4 in fragments: recordings and pieces of live streams."""
    pieces = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
    data = movie(d / "fragments.mp4", mux=pieces).read_bytes()
    movie(d / "first_in_header.mp4", mux={"movflags": "frag_keyframe"})
    boxes = _top_boxes(data)
    header = data[: next(at for kind, at, _ in boxes if kind == b"moof")]
    parts = [data[at : at + size + boxes[k + 1][2]] for k, (kind, at, size) in enumerate(boxes) if kind == b"moof"]
    assert len(parts) == 4
    (d / "from_the_middle.mp4").write_bytes(header + parts[2] + parts[3])
    stale = bytearray(header)
    for kind, at in ((b"mvhd", 16), (b"mdhd", 16)):
        place = stale.index(kind) + at
        scale = struct.unpack_from(">I", stale, place)[0]
        struct.pack_into(">I", stale, place - 4 + 8, 60 * scale)
    (d / "stale_header.mp4").write_bytes(bytes(stale) + b"".join(parts))
    (d / "cut_fragment.mp4").write_bytes(data[: data.index(parts[3]) + len(parts[3]) // 3])
    later = {"numbers": tuple(range(20, 40)), "media_frames": 20}
    return {
        "fragments.mp4": _whole(media_frames=40),
        "first_in_header.mp4": _whole(media_frames=40),
        "from_the_middle.mp4": _whole(20, **later),
        "stale_header.mp4": _whole(media_frames=40),
        "cut_fragment.mp4": Expectation(frames=(30, 34), says="cut off", numbers=None),
    }


def _top_boxes(data: bytes) -> list[tuple[bytes, int, int]]:
    """(kind, offset, size) of an MP4's outermost boxes."""
    found, at = [], 0
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        found.append((kind, at, size))
        at += size
    return found


def _mid_stream(d: Path, scrap: Path) -> dict[str, Expectation]:
    """Transport streams that begin where somebody tuned in, and two joined in one file."""
    gop = {"x264-params": "open-gop=1:keyint=10:min-keyint=10:b-adapt=0:scenecut=0"}
    data = movie(scrap / "whole.ts", options=gop).read_bytes()
    packets = len(data) // 188
    (d / "tuned_in.ts").write_bytes(data[packets // 5 * 188 :])
    (d / "joined_b.ts").write_bytes(data + data)
    movie(d / "with_b.ts", options=gop)
    return {
        "with_b.ts": _whole(),
        "tuned_in.ts": Expectation(frames=30, times_s=times(30), duration_s=3.0, numbers=tuple(range(10, 40))),
        "joined_b.ts": Expectation(
            frames=80, times_s=times(80), duration_s=8.0, opens_s=8.0, numbers=tuple(range(40)) * 2
        ),
    }


def _hurt(d: Path, scrap: Path) -> dict[str, Expectation]:
    """Damage in the middle: what comes after it is shown when it was to be shown."""
    data = bytearray(movie(scrap / "whole.mp4", mux={"movflags": "+faststart"}).read_bytes())
    with av.open(str(scrap / "whole.mp4")) as inp:
        places = [(p.pos, p.size) for p in inp.demux(video=0) if p.pos is not None and p.size]
    first, last = places[12], places[16]
    data[first[0] : last[0] + last[1]] = bytes(last[0] + last[1] - first[0])
    (d / "hurt_b.mp4").write_bytes(bytes(data))
    return {"hurt_b.mp4": Expectation(frames=(28, 39), says="could not be decoded", later=(2.0, 20), duration_s=4.0)}


def _streams(d: Path, scrap: Path) -> dict[str, Expectation]:
    """A still picture before the video, by default, and not marked as a cover."""
    with av.open(str(d / "still_first.mkv"), "w") as out:
        still, main = out.add_stream("mjpeg", rate=25), out.add_stream("libx264", rate=FPS, options={"bf": "3"})
        still.width, still.height, still.pix_fmt = 640, 480, "yuvj420p"
        main.width, main.height, main.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        still.disposition = av.stream.Disposition.default
        gray = VideoFrame.from_ndarray(np.full((480, 640, 3), 128, np.uint8))
        out.mux(still.encode(gray))
        out.mux(still.encode(None))
        for k in range(40):
            out.mux(main.encode(VideoFrame.from_ndarray(numbered(k))))
        out.mux(main.encode(None))
    return {"still_first.mkv": _whole()}


def _pictures(d: Path, scrap: Path) -> dict[str, Expectation]:
    """Animated pictures, with delays that nobody shows as they stand."""
    pages = [Image.fromarray(numbered(k)) for k in range(12)]
    rest = {"save_all": True, "append_images": pages[1:]}
    pages[0].save(d / "fast.gif", **rest, duration=10, loop=0)
    pages[0].save(d / "uneven.gif", **rest, duration=[10, 20, 50, 10, 300, 0] * 2, loop=0)
    uneven = tuple(np.cumsum([0, *([0.1, 0.02, 0.05, 0.1, 0.3, 0.1] * 2)]).tolist())
    pages[0].save(d / "animated.webp", **rest, duration=[100] * 11 + [300], lossless=True)
    clear = [page.convert("RGBA") for page in pages]
    for page in clear:
        page.paste((255, 255, 255, 0), (0, 0, 40, 30))
    clear[0].save(d / "clear.webp", save_all=True, append_images=clear[1:], duration=10, lossless=True)
    data = (d / "animated.webp").read_bytes()
    (d / "cut.webp").write_bytes(data[: len(data) // 2])
    (d / "huge.webp").write_bytes(data[:24] + b"\xff\x3f\x00" * 2 + data[30:])
    out = {
        "fast.gif": _whole(12, media_frames=12),
        "uneven.gif": Expectation(
            frames=12, times_s=uneven[:-1], duration_s=uneven[-1], numbers=tuple(range(12)), media_frames=12, quiet=True
        ),
        "animated.webp": Expectation(
            frames=12, times_s=times(12), duration_s=1.4, numbers=tuple(range(12)), media_frames=12, quiet=True
        ),
        "clear.webp": _whole(12, corners=(BLACK, GREEN, BLUE, WHITE)),
        "cut.webp": Expectation(errors.NotAVideoError, "animated WebP"),
        "huge.webp": Expectation(errors.VideoTooLargeError, "16384x16384"),
    }
    if features.check("avif"):
        pages[0].save(d / "animated.avif", **rest, duration=100, quality=95)
        clear[0].save(d / "clear.avif", save_all=True, append_images=clear[1:], duration=100, quality=95)
        out["animated.avif"] = out["clear.avif"] = _whole(12, corners=None)
    return out


def _alpha(d: Path, scrap: Path) -> dict[str, Expectation]:
    """VP8 and VP9 keep transparency in a second stream that FFmpeg's own decoders leave out."""
    clear = [np.dstack([numbered(k), np.full((HEIGHT, WIDTH), 255, np.uint8)]) for k in range(12)]
    for image in clear:
        image[:30, :40, 3] = 0
    out: dict[str, Expectation] = {}
    for name, codec in (("alpha_vp8.webm", "libvpx"), ("alpha_vp9.webm", "libvpx-vp9")):
        encode(
            d / name, codec=codec, pix_fmt="yuva420p", source="rgba", images=clear,
            options={"deadline": "realtime", "auto-alt-ref": "0", "b": "3M", "cpu-used": "5"},
        )  # fmt: skip
        out[name] = _whole(12, corners=(BLACK, GREEN, BLUE, WHITE))
    return out


def _crops(d: Path, scrap: Path) -> dict[str, Expectation]:
    """Columns and rows that the container says are not to be shown: a border of 40 and 20 pixels in black."""
    framed = [np.zeros((HEIGHT + 40, WIDTH + 80, 3), np.uint8) for _ in range(12)]
    for k, image in enumerate(framed):
        image[20:-20, 40:-40] = numbered(k)

    def tagged(stream: av.VideoStream) -> None:
        stream.codec_context.color_range, stream.codec_context.colorspace = 1, 5
        stream.codec_context.color_primaries = stream.codec_context.color_trc = 6

    encode(scrap / "framed.mkv", images=framed, options={"crf": "14", "bf": "2"}, prepare=tagged)
    (d / "crop.mkv").write_bytes(_crop_in_matroska((scrap / "framed.mkv").read_bytes(), 40, 20))
    encode(scrap / "framed.mp4", images=framed, options={"crf": "14", "bf": "2"})
    (d / "crop.mp4").write_bytes(_crop_in_mp4((scrap / "framed.mp4").read_bytes(), WIDTH, HEIGHT))
    return {"crop.mkv": _whole(12), "crop.mp4": _whole(12)}


def _crop_in_matroska(data: bytes, x: int, y: int) -> bytes:
    """The colour description of the video track (RFC 9559, 5.1.4.1.28.16) replaced by a crop, byte for byte."""
    at = data.index(b"\x55\xb0", data.index(b"\x16\x54\xae\x6b"))
    assert data[at + 2] & 0x80
    room = 3 + (data[at + 2] & 0x7F)
    crop = b"".join(bytes([0x54, kind, 0x81, n]) for kind, n in ((0xCC, x), (0xDD, x), (0xBB, y), (0xAA, y)))
    void = room - len(crop)
    assert void >= 2
    return data[:at] + crop + bytes([0xEC, 0x80 | void - 2]) + bytes(void - 2) + data[at + room :]


def _crop_in_mp4(data: bytes, width: int, height: int) -> bytes:
    """A clean aperture in the middle (ISO/IEC 14496-12, 12.1.4) put into an MP4 whose index follows its pictures."""
    out = bytearray(data)
    entry = out.index(b"avc1", out.index(b"stsd")) - 4
    size = struct.unpack_from(">I", out, entry)[0]
    box = struct.pack(">I4s8I", 40, b"clap", width, 1, height, 1, 0, 1, 0, 1)
    out[entry + size : entry + size] = box
    moov = out.index(b"moov")
    for kind in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"avc1"):
        at = out.index(kind, moov) - 4
        struct.pack_into(">I", out, at, struct.unpack_from(">I", out, at)[0] + len(box))
    return bytes(out)


def _no_videos(d: Path) -> dict[str, Expectation]:
    """What people give for a video: lists of videos, and pictures without a header."""
    raw = b"".join(numbered(k).tobytes() for k in range(3))
    texts: Iterable[tuple[str, bytes, str]] = (
        ("live.m3u8", b"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:1,\npart1.ts\n", "playlist"),
        (
            "stream.mpd",
            b'<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"/>',
            "playlist",
        ),
        ("radio.pls", b"[playlist]\nFile1=plain.mp4\n", "playlist"),
        ("list.ffconcat", b"ffconcat version 1.0\nfile plain.mp4\n", "playlist"),
        ("raw.yuv", raw, "raw pictures"),
        ("raw.nv12", raw, "raw pictures"),
        ("raw.rgb", raw, "raw pictures"),
    )
    for name, data, _ in texts:
        (d / name).write_bytes(data)
    return {name: Expectation(errors.NotAVideoError, says) for name, _, says in texts}
