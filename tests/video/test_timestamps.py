"""Clocks: times that rise and stay true whatever order, loss and damage do to packets."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame
from hypothesis import given
from hypothesis import strategies as st

from deeptrace.video.timestamps import Clock, scan

TICK = Fraction(1, 10)
GROUP = 12


def _packet(pts: int | None, dts: int | None, *, key: bool = False, duration: int = 1) -> av.Packet:
    packet = av.Packet(b"x")
    packet.pts, packet.dts, packet.time_base, packet.duration, packet.is_keyframe = pts, dts, TICK, duration, key
    return packet


def _frame(pts: int | None) -> VideoFrame:
    frame = VideoFrame.from_ndarray(np.zeros((2, 2, 3), np.uint8))
    frame.pts, frame.time_base = pts, TICK
    return frame


@st.composite
def reordered(draw: st.DrawFn) -> list[list[int]]:
    """Groups of pictures, each the showing order of its packets: the key first, runs whose last is decoded first."""
    groups = []
    for _ in range(draw(st.integers(1, 4))):
        order = [0]
        while len(order) < GROUP:
            run = min(draw(st.integers(1, 4)), GROUP - len(order))
            first = len(order)  # decoded first in its run, shown last
            order += [*range(first + 1, first + run), first]
        groups.append(order)
    return groups


@given(groups=reordered())
def test_pictures_of_packets_in_decoding_order_get_their_times(groups: list[list[int]]) -> None:
    clock = Clock(0.1, in_decode_order=True)
    shown = []
    for g, order in enumerate(groups):
        for k in range(GROUP):
            clock.send(_packet(g * GROUP + k + 2, g * GROUP + k, key=k == 0))
        shown += [clock.time_of(_frame(g * GROUP + k + 2)) for k in order]
    assert shown == pytest.approx([k / 10 for k in range(GROUP * len(groups))])
    assert clock.end_s == pytest.approx(GROUP * len(groups) / 10)
    assert not clock.plain


@given(groups=reordered(), data=st.data())
def test_a_lost_picture_shifts_none_after_the_next_key(groups: list[list[int]], data: st.DataObject) -> None:
    lost = data.draw(st.sets(st.integers(1, GROUP - 1), max_size=5))
    told = data.draw(st.booleans())
    clock = Clock(0.1, in_decode_order=True)
    for g, order in enumerate(groups):
        for k in range(GROUP):
            packet = _packet(g * GROUP + k + 2, g * GROUP + k, key=k == 0)
            clock.send(packet)
            if g == 0 and k in lost and told:
                clock.lose(packet)
        times = [clock.time_of(_frame(g * GROUP + k + 2)) for k in order if g or k not in lost]
        if g:
            assert times == pytest.approx([g * GROUP / 10 + k / 10 for k in range(GROUP)])
        else:
            assert times == sorted(set(times))


@given(
    stamps=st.lists(st.one_of(st.none(), st.integers(-1000, 1000)), min_size=1, max_size=40),
    damage=st.booleans(),
    in_order=st.booleans(),
)
def test_times_rise_from_zero_whatever_comes(stamps: list[int | None], damage: bool, in_order: bool) -> None:
    clock = Clock(0.1, in_decode_order=in_order)
    if damage:
        clock.lose(_packet(None, None))
    times = []
    for stamp in stamps:
        clock.send(_packet(stamp, stamp))
        times.append(clock.time_of(_frame(stamp)))
    kept = [time_s for time_s in times if time_s is not None]
    assert kept[0] == 0.0
    assert kept == sorted(set(kept))
    assert clock.end_s > kept[-1]


def test_joined_clocks_go_on_and_late_pictures_do_not_shift_them() -> None:
    clock = Clock(0.1)
    for stamp in [*range(20), *range(20)]:
        clock.send(_packet(stamp, stamp))
        assert clock.time_of(_frame(stamp)) is not None
    assert clock.end_s == pytest.approx(4.0)
    hurt = Clock(0.1)
    for stamp in range(40):
        hurt.send(_packet(stamp, stamp))
    hurt.lose(_packet(12, 12))
    times = [hurt.time_of(_frame(stamp)) for stamp in (0, 1, 2, 20, 10, 21, 11, 30)]
    assert times == pytest.approx([0.0, 0.1, 0.2, 2.0, None, 2.1, None, 3.0])
    assert hurt.trouble.late_frames == 2


@given(
    count=st.integers(1, 30),
    lead=st.integers(0, 5),
    hold=st.integers(1, 50),
    joins=st.integers(1, 3),
)
def test_a_scan_tells_what_a_full_pass_finds(count: int, lead: int, hold: int, joins: int) -> None:
    packets = []
    for join in range(joins):
        last = hold if join == joins - 1 else 1
        packets += [
            _packet(k, k, duration=last if k == count + 9 else 1) for k in range(0 if join else 10 - lead, count + 10)
        ]
    clock = Clock(0.1)
    for packet in packets:
        clock.send(packet)
        if packet.pts is not None and (packet.pts >= 10 or clock.origin is not None):
            clock.time_of(_frame(packet.pts))
    assert clock.origin is not None
    assert scan(iter(packets), 0.1, clock.origin).duration_s == pytest.approx(clock.end_s)
