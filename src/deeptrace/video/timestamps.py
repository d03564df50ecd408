"""When each picture of a stream is shown, from timestamps that may be missing, out of order, or in decoding order."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice, pairwise

from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from deeptrace.video.container import as_shown_ms
from deeptrace.video.lookahead import DEPTH

__all__ = ["Clock", "Scan", "Trouble", "has_short_delays", "in_decode_order", "scan", "with_shown_delays"]

# A clock that falls back by more than this starts a new timeline (joined files); less is jitter of one frame.
_JUMP_S = 0.5


@dataclass(slots=True)
class Trouble:
    """What went wrong in a pass, in numbers."""

    bad_packets: int = 0
    corrupt_frames: int = 0
    late_frames: int = 0
    backward_times: int = 0
    missing_times: int = 0
    read_error: str = ""


class _Breaks:
    """Counts the places where the clock of a stream's packets begins anew, as it does where files were joined."""

    def __init__(self) -> None:
        self.count, self.known = 0, False
        self._last: int | None = None

    def see(self, packet: Packet[VideoStream]) -> bool:
        """Note the next packet in decoding order; whether the clock begins anew with it."""
        dts, last = packet.dts, self._last
        if dts is None:
            return False
        self.known = True
        self._last = dts
        if last is None or dts >= last or (last - dts) * (packet.time_base or 0) <= _JUMP_S:
            return False
        self.count += 1
        return True


class _DisplayOrder:
    """Gives pictures in showing order the timestamps of packets that are stamped in decoding order.

    The decoder knows the order of the pictures, the container the moments at which one of them is shown: the first
    picture out has the earliest stamp, and so on. A picture that is lost would give its stamp to the next one and so
    shift all others; a key frame, before which everything has been shown that came before it, sets that right.

    Attributes:
        holds: whether packets are stamped in decoding order indeed; not so once a presentation time falls.
    """

    def __init__(self) -> None:
        self.holds = True
        self._last = -math.inf
        self._waiting: deque[int] = deque()
        self._keys: deque[tuple[int, int]] = deque()

    def send(self, packet: Packet[VideoStream]) -> None:
        """Note a packet that goes to the decoder."""
        if packet.pts is None or packet.dts is None:
            return
        self.holds = self.holds and packet.pts > self._last
        self._last = packet.pts
        self._waiting.append(packet.dts)
        if packet.is_keyframe:
            self._keys.append((packet.pts, packet.dts))

    def lose(self, packet: Packet[VideoStream]) -> None:
        """Note that the decoder refused a packet."""
        if packet.dts is not None and packet.dts in self._waiting:
            self._waiting.remove(packet.dts)

    def stamp_of(self, pts: int) -> int:
        """When a picture is shown that was decoded from the packet with this presentation time."""
        while self._keys and self._keys[0][0] <= pts:
            _, key = self._keys.popleft()
            while self._waiting and self._waiting[0] < key:
                self._waiting.popleft()
        return self._waiting.popleft() if self._waiting else pts


class Clock:
    """Times of pictures in seconds after the first shown one, rising, from what one pass finds in packets and pictures.

    Args:
        step_s: nominal time between pictures.
        in_decode_order: whether packets are stamped in decoding order though pictures are shown in another (AVI).
        plain: False where packets do not keep the stamps that the file gives them.

    Attributes:
        origin: timestamp, in file seconds, of the first shown picture; None before it is decoded.
        own_step_s: time between pictures as a bare stream's own header states it; None elsewhere.
        plain: whether times are timestamps minus `origin`, so that a packet's stamp tells when its picture is shown.
    """

    def __init__(self, step_s: float, *, in_decode_order: bool = False, plain: bool = True) -> None:
        self.trouble = Trouble()
        self.origin: Fraction | None = None
        self.own_step_s: float | None = None
        self.in_decode_order, self.plain = in_decode_order, plain and not in_decode_order
        self._order = _DisplayOrder() if in_decode_order else None
        self._breaks = _Breaks()
        self._step_s, self._last_s, self._shift_s, self._shifts = step_s, 0.0, 0.0, 0
        self._begun = False
        self._last_sent: Packet[VideoStream] | None = None
        self._passed: Packet[VideoStream] | None = None

    @property
    def end_s(self) -> float:
        """When the last picture so far, decoded or passed over, stops being shown."""
        # Packets follow each other in decoding order, and MP4 states the time to the next packet as the duration of
        # each. Only the last one's is that of a picture: the one that is shown last.
        packet, passed = self._last_sent, self._passed
        hold_s = float(packet.duration * packet.time_base) if packet is not None and packet.duration else self._step_s
        last_s = self._last_s if self._begun else -hold_s
        if passed is not None and passed.pts is not None and self.origin is not None and self.plain:
            last_s = max(last_s, float(passed.pts * passed.time_base - self.origin))
        return last_s + hold_s

    def send(self, packet: Packet[VideoStream]) -> None:
        """Note a packet that goes to the decoder."""
        self._breaks.see(packet)
        if packet.size:
            self._last_sent = packet
        if self._order is not None:
            self._order.send(packet)
            if not self._order.holds:
                self._order = None

    def lose(self, packet: Packet[VideoStream]) -> None:
        """Note that the decoder refused a packet."""
        self.trouble.bad_packets += 1
        if self._order is not None:
            self._order.lose(packet)

    def pass_over(self, packet: Packet[VideoStream]) -> None:
        """Note a packet whose picture is left out because nobody wants it."""
        pts, passed = packet.pts, self._passed
        if pts is not None and (passed is None or passed.pts is None or pts > passed.pts):
            self._passed = packet

    def time_of(self, frame: VideoFrame) -> float | None:
        """When the next decoded picture is shown; None where it comes too late to be shown."""
        step = self._step_s
        if frame.duration and frame.time_base:
            step = float(frame.duration * frame.time_base)
        if frame.pts is None or frame.time_base is None:
            # A bare stream: the rate its own header states beats the one FFmpeg assumes for the container.
            self.own_step_s = self._step_s = step
            self.trouble.missing_times += 1
            self.plain = False
            time_s = self._last_s + step if self._begun else 0.0
        else:
            own = frame.pts if self._order is None else self._order.stamp_of(frame.pts)
            stamp = own * frame.time_base
            if self.origin is None:
                self.origin = stamp
            time_s = float(stamp - self.origin) + self._shift_s
        if self._begun and time_s <= self._last_s:
            back_s = self._last_s - time_s
            joined = back_s > _JUMP_S and (self._breaks.count > self._shifts or not self._breaks.known)
            if not joined and (self.trouble.bad_packets or self.trouble.corrupt_frames):
                # Decoders hand pictures out late after damage: their moment has passed, the others' has not.
                self.trouble.late_frames += 1
                return None
            self.trouble.backward_times += 1
            self.plain = False
            if joined:
                self._shifts += 1
                self._shift_s += back_s + step
                time_s = self._last_s + step
            else:
                time_s = self._last_s + step / 2
        self._begun, self._last_s = True, time_s
        return time_s


@dataclass(frozen=True)
class Scan:
    """What reading every packet of a stream, without decoding, tells.

    Attributes:
        duration_s: from the first shown picture to the end of the last one.
        pictures: packets that hold a picture to be shown.
    """

    duration_s: float
    pictures: int


def scan(packets: Iterable[Packet[VideoStream]], step_s: float, origin: Fraction | None) -> Scan:
    """Read every packet.

    Args:
        packets: of one stream, in the order of the file.
        step_s: nominal time between pictures; of packets without times, and of a last one without a duration.
        origin: timestamp of the first picture that can be shown, in seconds; None for the earliest.
    """
    breaks, total, count = _Breaks(), Fraction(0), 0
    first, last, hold = origin, None, Fraction(step_s)
    for packet in packets:
        if packet.size == 0 or packet.is_discard:
            continue
        count += 1
        if packet.pts is None or packet.time_base is None:
            continue
        stamp = packet.pts * packet.time_base
        if breaks.see(packet) and first is not None and last is not None:
            total += max(last + hold - first, Fraction(0))
            first, last = stamp, stamp
        first = stamp if first is None else first if origin is not None and not breaks.count else min(first, stamp)
        last = stamp if last is None else max(last, stamp)
        hold = packet.duration * packet.time_base if packet.duration else Fraction(step_s)
    if first is None or last is None:
        return Scan(count * step_s, count)
    return Scan(float(total + max(last + hold - first, Fraction(0))), count)


def in_decode_order(packets: Iterable[Packet[VideoStream]]) -> bool:
    """Whether the first packets of a stream whose pictures are reordered are stamped in decoding order all the same."""
    stamps = [packet.pts for packet in islice(packets, 2 * DEPTH) if packet.pts is not None]
    return all(a < b for a, b in pairwise(stamps))


def has_short_delays(packets: Iterable[Packet[VideoStream]]) -> bool:
    """Whether a GIF asks for delays that every browser overrules."""
    return any(_shown(packet) != packet.duration for packet in packets if packet.size)


def with_shown_delays(packets: Iterable[Packet[VideoStream]]) -> Iterator[Packet[VideoStream]]:
    """The packets of a GIF with the delays, and so the times, that browsers show them with."""
    clock = 0
    for packet in packets:
        if packet.size:
            packet.duration = _shown(packet)
            packet.pts = packet.dts = clock
            clock += packet.duration
        yield packet


def _shown(packet: Packet[VideoStream]) -> int:
    """The packet's delay as shown, in its own unit (1/100 s in a GIF)."""
    if packet.time_base is None:
        return packet.duration or 0
    unit_ms = float(packet.time_base * 1000)
    return round(as_shown_ms((packet.duration or 0) * unit_ms) / unit_ms)
