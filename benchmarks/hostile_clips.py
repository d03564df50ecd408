"""Inputs that no honest caller sends: broken, lying, endless, and such that name other files. Seeded, so repeatable."""

from __future__ import annotations

import gzip
import io
import random
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deeptrace.video import write_video

__all__ = ["Hostile", "base_files", "hostile_inputs"]

SHARES = {
    "truncated": 20,
    "bytes changed": 34,
    "header changed": 14,
    "stretch zeroed": 6,
    "noise behind a magic number": 6,
    "archives and bombs": 4,
    "absurd size in the header": 4,
    "absurd times in the header": 2,
    "names other files": 6,
    "text and nothing": 4,
}
"""Per hundred."""


@dataclass(frozen=True)
class Hostile:
    """One input: what kind, a file name, its bytes."""

    kind: str
    name: str
    data: bytes


def base_files(folder: Path) -> dict[str, bytes]:
    """Small real clips in four containers."""
    steps = np.linspace(20, 220, 16, dtype=np.uint8)
    ramp = np.linspace(0, 60, 64, dtype=np.uint8)
    frames = [np.broadcast_to((ramp + level // 2)[None, :, None], (48, 64, 3)).copy() for level in steps]
    found = {}
    for suffix, codec in (("mp4", "libx264"), ("webm", "libvpx-vp9"), ("gif", "gif"), ("mkv", "libx264")):
        path = folder / f"base.{suffix}"
        write_video(path, frames, fps=8.0, codec=codec)  # type: ignore[arg-type]
        found[suffix] = path.read_bytes()
    return found


def hostile_inputs(
    count: int, bases: dict[str, bytes], canary: Path, canary_url: str, *, seed: int = 0
) -> list[Hostile]:
    """`count` inputs of all kinds, shuffled.

    Args:
        count: how many.
        bases: real files that are broken, by suffix.
        canary: a real clip that must not be opened; playlists name it.
        canary_url: an address that must not be asked; playlists name it.
        seed: of all that is random.
    """
    rng = random.Random(seed)
    found: list[Hostile] = []
    for kind, share in SHARES.items():
        makers = list(_makers(kind, rng, bases, canary, canary_url))
        found += [Hostile(kind, *makers[index % len(makers)]()) for index in range(max(share * count // 100, 1))]
    rng.shuffle(found)
    return found[:count]


Maker = Callable[[], tuple[str, bytes]]


def _makers(kind: str, rng: random.Random, bases: dict[str, bytes], canary: Path, canary_url: str) -> Iterator[Maker]:
    """What makes inputs of a kind, one after another."""
    for suffix, data in bases.items():
        if kind == "truncated":
            yield lambda s=suffix, d=data: (f"cut.{s}", d[: rng.randrange(1, len(d))])
        elif kind == "bytes changed":
            yield lambda s=suffix, d=data: (f"changed.{s}", _changed(d, rng, len(d), rng.choice((0.001, 0.01, 0.05))))
        elif kind == "header changed":
            yield lambda s=suffix, d=data: (f"header.{s}", _changed(d, rng, 600, 0.03))
        elif kind == "stretch zeroed":
            yield lambda s=suffix, d=data: (f"zeroed.{s}", _zeroed(d, rng))
        elif kind == "noise behind a magic number":
            yield lambda s=suffix, d=data: (f"noise.{s}", d[:48] + rng.randbytes(rng.randrange(10, 60_000)))
    fixed = {
        "archives and bombs": _bombs,
        "absurd size in the header": lambda: _absurd_sizes(bases),
        "absurd times in the header": lambda: _absurd_times(bases),
        "names other files": lambda: _playlists(canary, canary_url),
        "text and nothing": _texts,
    }
    if kind in fixed:
        for name, data in fixed[kind]():
            yield lambda n=name, d=data: (n, d)


def _changed(data: bytes, rng: random.Random, within: int, share: float) -> bytes:
    out = bytearray(data)
    reach = min(within, len(out))
    for _ in range(max(int(reach * share), 1)):
        out[rng.randrange(reach)] = rng.randrange(256)
    return bytes(out)


def _zeroed(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data))
    length = rng.randrange(1, len(data) // 2)
    return data[:start] + bytes(min(length, len(data) - start)) + data[start + length :]


def _bombs() -> list[tuple[str, bytes]]:
    zeros = bytes(64 << 20)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("map.npy", zeros)
    head = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + tag + body + struct.pack(">I", zlib.crc32(tag + body))
        for tag, body in ((b"IHDR", head), (b"IDAT", zlib.compress(zeros, 9)), (b"IEND", b""))
    )
    return [
        ("bomb.zip", packed.getvalue()),
        ("bomb.npy", packed.getvalue()),
        ("bomb.mp4", gzip.compress(zeros)),
        ("bomb.png", png),
        ("bomb.apng", png.replace(b"IDAT", b"acTL", 1)),
    ]


def _absurd_sizes(bases: dict[str, bytes]) -> list[tuple[str, bytes]]:
    gif = bytearray(bases["gif"])
    gif[6:10] = struct.pack("<HH", 65535, 65535)
    at = bases["mp4"].index(b"avc1", bases["mp4"].index(b"stsd"))
    mp4 = bytearray(bases["mp4"])
    mp4[at + 28 : at + 32] = struct.pack(">HH", 65535, 65535)
    shapes = ["(1000000000, 1, 1, 3)", "(4, 200000, 200000, 3)", "(0, 4, 4, 3)", "(-1, 4, 4, 3)", "(4, 4, 4, 4)"]
    arrays = [(f"absurd-{index}.npy", _npy(shape)) for index, shape in enumerate(shapes)]
    return [("absurd.gif", bytes(gif)), ("absurd.mp4", bytes(mp4)), *arrays]


def _npy(shape: str) -> bytes:
    head = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".encode()
    head += b" " * (118 - len(head) - 1) + b"\n" if len(head) < 118 else b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + bytes(64)


def _absurd_times(bases: dict[str, bytes]) -> list[tuple[str, bytes]]:
    found = []
    for box, offset in ((b"mvhd", 16), (b"mdhd", 16), (b"mdhd", 20), (b"stts", 16)):
        data = bytearray(bases["mp4"])
        at = data.index(box) + offset
        data[at : at + 4] = struct.pack(">I", 1 if offset == 16 and box != b"stts" else 0xFFFFFFF0)
        found.append((f"times-{box.decode()}-{offset}.mp4", bytes(data)))
    return found


def _playlists(canary: Path, url: str) -> list[tuple[str, bytes]]:
    """Scripts that have FFmpeg open something else, where it lets them."""
    hls = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2.0,\n{}\n#EXT-X-ENDLIST\n"
    mpd = (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet>'
        '<Representation id="1" bandwidth="1"><BaseURL>{}</BaseURL></Representation></AdaptationSet></Period></MPD>'
    )
    concat = "ffconcat version 1.0\nfile '{}'\nduration 2\n"
    sdp = "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nt=0 0\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n"
    idx = "# VobSub index file, v7 (do not modify this line!)\nsize: 720x576\ntimestamp: 00:00:01:000, filepos: 0\n"
    svg = '<svg xmlns="http://www.w3.org/2000/svg"><image href="{}" width="9" height="9"/></svg>'
    texts = [
        *(
            (f"list-{i}.m3u8", hls.format(to))
            for i, to in enumerate((canary, f"file://{canary}", url, f"concat:{canary}"))
        ),
        *((f"script-{i}.ffconcat", concat.format(to)) for i, to in enumerate((canary, f"file:{canary}", url))),
        *((f"dash-{i}.mpd", mpd.format(to)) for i, to in enumerate((f"file://{canary}", url))),
        ("list.mp4", hls.format(canary)),
        ("script.mp4", concat.format(canary)),
        ("session.sdp", sdp),
        ("subtitles.idx", idx),
        ("picture.svg", svg.format(f"file://{canary}")),
        ("redirect.asx", f'<asx version="3.0"><entry><ref href="{url}"/></entry></asx>'),
        ("rt.mov", f"RTSPtext\r{url}\n"),
    ]
    return [(name, text.encode()) for name, text in texts]


def _texts() -> list[tuple[str, bytes]]:
    return [
        ("empty.mp4", b""),
        ("newline.mp4", b"\n"),
        ("hello.mp4", b"hello"),
        ("page.html", b"<!doctype html><title>404</title>"),
        ("row.json", b'{"video": "/etc/passwd"}' * 100),
        ("program.mp4", b"\x7fELF" + bytes(4096)),
        ("ansi.txt", b"\x1b[31m\x1b[2J" * 500),
        ("zeros.mp4", bytes(100_000)),
        ("name\x1b[2J\r\n../../x.mp4", b"x"),
    ]
