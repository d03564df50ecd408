"""Know, before a packet is decoded, whether its picture is wanted.

Packets come in decoding order, and whether a picture is wanted depends on its neighbours in showing order. Reading
a few packets ahead (compressed, so a few hundred kilobytes) gives that order; pictures that nobody wants and that no
other picture is built on are then never decoded. The pictures that are wanted come out exactly as without it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Callable, Iterator

from av.packet import Packet
from av.video.stream import VideoStream

__all__ = ["Wants", "look_ahead"]

Wants = Callable[[float | None, float, float | None], bool]
"""wants(before_s, time_s, after_s): is the picture at time_s wanted, given its neighbours' times (None: no such)?"""

# H.264 and HEVC reorder by at most 16 pictures; twice that also covers streams that count fields.
DEPTH = 32


def look_ahead(
    packets: Iterator[Packet[VideoStream]],
) -> Iterator[tuple[Packet[VideoStream], int | None, int | None]]:
    """Packets in their order, each with the timestamps shown before and after its own.

    A packet whose neighbours cannot be known (no timestamp, or clocks that fall back) comes with its own timestamp
    on both sides, which no rule can take for a neighbour.
    """
    waiting: deque[Packet[VideoStream]] = deque()
    order: list[int] = []
    last_dts: int | None = None
    plain = True
    for packet in packets:
        if packet.pts is not None:
            insort(order, packet.pts)
        if packet.dts is not None:
            plain = plain and (last_dts is None or packet.dts >= last_dts)
            last_dts = packet.dts
        waiting.append(packet)
        if len(waiting) > DEPTH:
            yield _with_neighbours(waiting.popleft(), order, plain)
            if len(order) > 8 * DEPTH:
                del order[: 4 * DEPTH]
    while waiting:
        yield _with_neighbours(waiting.popleft(), order, plain)


def _with_neighbours(
    packet: Packet[VideoStream], order: list[int], plain: bool
) -> tuple[Packet[VideoStream], int | None, int | None]:
    pts = packet.pts
    if pts is None or not plain:
        return packet, pts, pts
    low, high = bisect_left(order, pts), bisect_right(order, pts)
    return packet, order[low - 1] if low else None, order[high] if high < len(order) else None
