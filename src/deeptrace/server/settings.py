"""Settings of the server, checked at its start."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from deeptrace.detectors import DEFAULT_DETECTOR
from deeptrace.errors import SettingsError
from deeptrace.server.schemas import MOST_CLIPS

__all__ = ["Limits", "ServeSettings", "is_loopback"]

MIB = 1 << 20


@dataclass(frozen=True)
class Limits:
    """What a clip and a request may cost. A clip above a limit gets a failed outcome; a request above one an error.

    Attributes:
        clip_bytes: size of one clip, as it comes.
        request_bytes: size of one request's body.
        body_bytes: size of all bodies that are being received or answered; beyond it requests are asked to try again.
        clips: clips in one request.
        pixels: width x height of a frame.
        frames: frames of a clip, as its file states them, or sent as images.
        duration_s: length of a clip.
        clip_s: longest time a worker may take over one clip; then it is killed.
        memory_bytes: what a worker may ask for beyond what it holds once its detector is loaded.
        deadline_s: longest time for a request; a request may ask for less.
        map_values: numbers in a dense map.
    """

    clip_bytes: int = 256 * MIB
    request_bytes: int = 512 * MIB
    body_bytes: int = 1024 * MIB
    clips: int = 256
    pixels: int = 4096 * 2304
    frames: int = 20_000
    duration_s: float = 600.0
    clip_s: float = 60.0
    memory_bytes: int = 2048 * MIB
    deadline_s: float = 300.0
    map_values: int = 128 * MIB

    def __post_init__(self) -> None:
        for limit in fields(self):
            value = getattr(self, limit.name)
            if not 0 < value < math.inf:
                raise SettingsError(f"limit {limit.name}", f"expected a positive number but got {value}")
        if self.clips > MOST_CLIPS:
            raise SettingsError("limit clips", f"expected at most {MOST_CLIPS} but got {self.clips}")


@dataclass(frozen=True)
class ServeSettings:
    """How to serve.

    Attributes:
        detector: its name.
        detector_settings: of the detector.
        workers: scoring processes.
        max_queue: clips that may wait; beyond it requests get 429.
        roots: folders below which a request may name files; none for no paths.
        hosts: hosts, `HOST`, `HOST:PORT` or `*.DOMAIN`, whose URLs a request may name; none for no URLs.
        private_addresses: whether those hosts may have addresses of the local network.
        keys: what callers identify themselves with; none to let everyone in.
        limits: see `Limits`.
        frames_fps: how fast frames are shown that come as images without a rate (Flow-Factory); None to refuse them.
        failed: the number that Flow-Factory gets for a clip that could not be scored; None for an error.
        drain_s: how long a stop waits for what is in flight.
        scratch_dir: where the private folder is made; None for the system's.
    """

    detector: str = DEFAULT_DETECTOR
    detector_settings: Mapping[str, Any] = field(default_factory=dict)
    workers: int = 1
    max_queue: int = 64
    roots: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    private_addresses: bool = False
    keys: tuple[str, ...] = field(default=(), repr=False)
    limits: Limits = field(default_factory=Limits)
    frames_fps: float | None = None
    failed: float | None = None
    drain_s: float = 60.0
    scratch_dir: str | None = None

    def __post_init__(self) -> None:
        for name in ("workers", "max_queue"):
            if getattr(self, name) < 1:
                raise SettingsError(name, f"expected at least 1 but got {getattr(self, name)}")
        if not 0 <= self.drain_s < math.inf:
            raise SettingsError("drain_s", f"expected at least 0 but got {self.drain_s}")
        if self.frames_fps is not None and not 0 < self.frames_fps < math.inf:
            raise SettingsError("fps", f"expected a positive number but got {self.frames_fps}")
        if self.failed is not None and not math.isfinite(self.failed):
            raise SettingsError("failed", f"expected a finite number but got {self.failed}")
        for host in self.hosts:
            check_host(host)
        for root in self.roots:
            if not os.path.isdir(root):
                raise SettingsError(f"root {root}", "is not a folder")


_HOST = re.compile(r"(\*\.)?[^\s*/@?#:\[\]]+(:\d{1,5})?|\[[0-9a-f:.%]+\](:\d{1,5})?", re.IGNORECASE)


def check_host(host: str) -> None:
    """That an entry of `ServeSettings.hosts` can match the host of a URL.

    Raises:
        SettingsError: it never does.

    >>> check_host("*.example.org"), check_host("example.org:8080"), check_host("[::1]:8080")
    (None, None, None)
    """
    port = host.rpartition(":")[2]
    if not _HOST.fullmatch(host) or (port != host and port.isdigit() and not 0 < int(port) <= 65535):
        mend = "Give the host alone, as in a URL between // and the next /: HOST, HOST:PORT or *.DOMAIN."
        raise SettingsError(f"host {host}", "is no host that a URL could have", mend)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that listens at `host`."""
    return host in ("localhost", "::1") or host.startswith("127.")
