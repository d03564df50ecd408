"""What containers state beyond what FFmpeg's binding hands on, and how much nonsense their headers may hold."""

from __future__ import annotations

import struct
from io import BytesIO
from pathlib import Path

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.video.odd_files import Expectation

from deeptrace.video.container import Layout, is_playlist, is_raw, layout_of, webp_canvas

Odd = tuple[Path, dict[str, Expectation]]

CONTAINERS = ("crop.mkv", "crop.mp4", "plain.mp4", "fragments.mp4", "vp9.webm", "animated.webp")


def _layout(path: Path) -> Layout:
    with open(path, "rb") as file:
        return layout_of(file)


def test_crops_are_found_on_the_right_stream(odd_files: Odd) -> None:
    for name in ("crop.mkv", "crop.mp4"):
        with av.open(str(odd_files[0] / name)) as container:
            assert _layout(odd_files[0] / name).crop_of(container.streams.video[0]) == (40, 20, 40, 20)
    with av.open(str(odd_files[0] / "plain.mp4")) as container:
        assert _layout(odd_files[0] / "plain.mp4").crop_of(container.streams.video[0]) is None


def test_fragments_are_told_from_one_piece(odd_files: Odd) -> None:
    found = {
        name: (layout.fragmented, layout.whole)
        for name in ("plain.mp4", "fragments.mp4", "from_the_middle.mp4", "cut_fragment.mp4", "bare.h264")
        for layout in [_layout(odd_files[0] / name)]
    }
    assert found == {
        "plain.mp4": (False, True),
        "fragments.mp4": (True, True),
        "from_the_middle.mp4": (True, True),
        "cut_fragment.mp4": (True, False),
        "bare.h264": (False, True),
    }


@given(data=st.data())
def test_no_header_is_too_absurd(odd_files: Odd, data: st.DataObject) -> None:
    """Bytes changed, cut out or doubled anywhere: always a layout; no error, no hang, no crop that eats it all."""
    whole = (odd_files[0] / data.draw(st.sampled_from(CONTAINERS))).read_bytes()
    hurt = bytearray(whole)
    for at, byte in data.draw(st.lists(st.tuples(st.integers(0, min(len(whole), 1200) - 1), st.integers(0, 255)))):
        hurt[at] = byte
    start, stop = sorted(data.draw(st.tuples(*[st.integers(0, len(hurt))] * 2)))
    for torn in (bytes(hurt), bytes(hurt[:stop]), bytes(hurt[:start] + hurt[stop:]), bytes(hurt[:stop] + hurt[start:])):
        layout = layout_of(BytesIO(torn))
        assert all(
            min(crop) >= 0 and any(crop) for crop in (*layout.crops_by_id.values(), *layout.crops_in_order) if crop
        )
        webp_canvas(torn[:30])
        is_playlist(torn[:256])


def test_a_million_empty_boxes_end_soon() -> None:
    flood = struct.pack(">I4s", 8, b"ftyp") + struct.pack(">I4s", 8, b"moof") * 1_000_000
    assert layout_of(BytesIO(flood)) == Layout(whole=False)


@pytest.mark.parametrize(
    ("head", "yes"),
    [
        (b"#EXTM3U\n#EXT-X-VERSION:3", True),
        (b"\xef\xbb\xbf#EXTM3U\r\n", True),
        (b'<?xml version="1.0"?>\n<!-- made by hand -->\n<MPD type="static">', True),
        (b"<MPD>", True),
        (b'<?xml version="1.0"?><html>', False),
        (b"\x00\x00\x00\x20ftypisom", False),
        (b"", False),
    ],
)
def test_playlists_are_known_by_how_they_begin(head: bytes, yes: bool) -> None:
    assert is_playlist(head) == yes


def test_raw_pictures_are_known_by_their_names() -> None:
    assert is_raw("a/b.YUV")
    assert not is_raw("yuv")
    assert not is_raw("a.yuv.mp4")
