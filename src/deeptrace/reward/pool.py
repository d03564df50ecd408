"""Detectors for callers on several threads: a detector is used by one thread at a time."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from deeptrace.detectors import Detector, load_detector
from deeptrace.errors import SettingsError

__all__ = ["DetectorPool"]


class DetectorPool:
    """Up to `size` equal detectors, lent to one thread each; a thread waits while all are lent.

    The first is loaded at once, so that a wrong name or setting fails where it is written; the others when needed.

    Args:
        detector: a name, or a loaded detector; that one is then the only one.
        settings: of the detector, when it is given by name.
        size: how many at most.

    Raises:
        UnknownDetectorError, SettingsError, MissingExtraError, ModelError: the detector cannot be loaded.
    """

    def __init__(self, detector: str | Detector, settings: dict[str, Any], *, size: int) -> None:
        if size < 1:
            raise SettingsError("workers", f"expected at least 1 but got {size}")
        self._name, self._settings = detector, settings
        if isinstance(detector, str):
            first = load_detector(detector, **settings)
        elif settings:
            raise SettingsError("detector", "settings are for a detector given by name, but got a loaded one")
        elif size > 1:
            raise SettingsError("workers", f"expected 1 with a loaded detector but got {size}", "Give its name.")
        else:
            first = detector
        self.info = first.info
        self._to_load = size - 1
        self._lock = threading.Lock()
        self._free: queue.LifoQueue[Detector] = queue.LifoQueue()
        self._free.put(first)

    @contextmanager
    def lend(self) -> Iterator[Detector]:
        """A detector for this thread alone, until the block ends."""
        detector = self._take()
        try:
            yield detector
        finally:
            self._free.put(detector)

    def _take(self) -> Detector:
        try:
            return self._free.get_nowait()
        except queue.Empty:
            pass
        with self._lock:
            grow = self._to_load > 0
            self._to_load -= grow
        if not grow or not isinstance(self._name, str):
            return self._free.get()
        try:
            return load_detector(self._name, **self._settings)
        except BaseException:
            with self._lock:
                self._to_load += 1
            raise
