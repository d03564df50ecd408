"""From what a request says to a file that a worker can open, or to the result that says why not."""

from __future__ import annotations

import asyncio
import base64
import binascii
import os
import shutil
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import BinaryIO

from deeptrace.plural import plural
from deeptrace.schema import Outcome
from deeptrace.server.frame_archive import write_frames
from deeptrace.server.schemas import ClipRef, ClipResult, Reason, Work
from deeptrace.server.settings import ServeSettings
from deeptrace.server.url_fetch import Fetcher, FetchError
from deeptrace.urls import public_url

__all__ = ["Inputs"]

_NAME_CHARS = 300
_WRITE_BYTES = 1 << 20


class Inputs:
    """Makes clips ready, within the limits.

    Args:
        settings: roots, hosts and limits.
    """

    def __init__(self, settings: ServeSettings) -> None:
        self._limits, self._frames_fps = settings.limits, settings.frames_fps
        self._roots = tuple(os.path.realpath(root) for root in settings.roots)
        self._fetcher = Fetcher(
            settings.hosts, private_addresses=settings.private_addresses, most_bytes=settings.limits.clip_bytes
        )

    async def aclose(self) -> None:
        """Close connections."""
        await self._fetcher.aclose()

    async def ready(self, refs: Iterable[ClipRef], folder: Path) -> list[Work | ClipResult]:
        """Every clip of a request, made ready in `folder`, in order; URLs at the same time."""
        tasks = [self._ready_one(ref, index, folder / f"{index}.clip") for index, ref in enumerate(refs)]
        return list(await asyncio.gather(*tasks))

    async def _ready_one(self, ref: ClipRef, index: int, to: Path) -> Work | ClipResult:
        name = shown(public_url(ref.name or ref.path or ref.url or f"clip {index}"))
        if ref.path is not None:
            return self.at_path(ref.path, name)
        if ref.base64 is not None:
            return await asyncio.to_thread(self.from_base64, ref.base64, name, to)
        if ref.frames is not None:
            return await asyncio.to_thread(self.from_frames, ref.frames, ref.fps, name, to)
        assert ref.url is not None
        try:
            await self._fetcher.fetch(ref.url, to)
        except FetchError as error:
            return _declined(name, error.reason, error.problem)
        return Work(name, str(to))

    def at_path(self, path: str, name: str) -> Work | ClipResult:
        """A file on this disk, when it lies below a root, links followed. Says no more of others than that.

        A relative path is looked for in each root; the first that has it counts.
        """
        real = self._below_a_root(path)
        if real is None:
            return _declined(name, Reason.NOT_ALLOWED, "is not below a folder that this server reads from")
        try:
            size = os.stat(real).st_size
        except OSError as error:
            return _declined(name, Reason.NOT_FOUND, f"cannot be read ({error.strerror})")
        if not os.path.isfile(real) or real.startswith(("/proc/", "/sys/", "/dev/")):
            return _declined(name, Reason.NOT_FOUND, "is not a regular file")
        return self._small_enough(name, size) or Work(name, real)

    def _below_a_root(self, path: str) -> str | None:
        """The real path of a file below a root; None where the path leads out of them. It need not exist."""
        if "\0" in path or "://" in path or not path:
            return None
        places = [os.path.realpath(os.path.join(root, path)) for root in self._roots]  # a full path stays itself
        below = [real for real in places if any(real.startswith(root.rstrip("/") + "/") for root in self._roots)]
        return next((real for real in below if os.path.exists(real)), below[0] if below else None)

    def from_base64(self, text: str, name: str, to: Path) -> Work | ClipResult:
        """The bytes of a video file."""
        if len(text) * 3 // 4 > self._limits.clip_bytes + 3:
            return self._too_large(name)
        try:
            data = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError) as error:
            return _declined(name, Reason.UNREADABLE, f"is not base64 ({error})")
        if declined := self._small_enough(name, len(data)):
            return declined
        to.write_bytes(data)
        return Work(name, str(to))

    def from_frames(self, frames: list[str], fps: float | None, name: str, to: Path) -> Work | ClipResult:
        """Images in base64."""
        rate = fps or self._frames_fps
        if rate is None:
            return _declined(name, Reason.UNREADABLE, "frames do not say how fast they are shown: give fps")
        if len(frames) > self._limits.frames:
            return _declined(
                name, Reason.TOO_LARGE, f"has more than the limit of {plural(self._limits.frames, 'frame')}"
            )
        if sum(map(len, frames)) * 3 // 4 > self._limits.clip_bytes:
            return self._too_large(name)
        try:
            with to.open("wb") as file:
                write_frames(file, (base64.b64decode(frame, validate=True) for frame in frames))
        except (binascii.Error, ValueError) as error:
            return _declined(name, Reason.UNREADABLE, f"a frame is not base64 ({error})")
        return Work(name, str(to), kind="images", fps=rate)

    async def receive(self, chunks: AsyncIterator[bytes], to: Path) -> int:
        """Write what comes to a file, and return its size. Of what is larger than a clip may be, no more is kept."""
        size, held = 0, bytearray()
        with to.open("wb") as file:
            async for chunk in chunks:
                size += len(chunk)
                if size <= self._limits.clip_bytes:
                    held += chunk
                if len(held) >= _WRITE_BYTES:
                    await asyncio.to_thread(file.write, bytes(held))
                    held.clear()
            await asyncio.to_thread(file.write, bytes(held))
        return size

    def from_body(self, file: Path, size: int, name: str) -> Work | ClipResult:
        """A video file that `receive` has written."""
        name = shown(name or "clip")
        return self._small_enough(name, size) or Work(name, str(file))

    def from_upload(self, file: BinaryIO, size: int, filename: str, fps: float | None, to: Path) -> Work | ClipResult:
        """An uploaded video file, or an array in an .npy file."""
        name = shown(filename or "upload")
        if declined := self._small_enough(name, size):
            return declined
        is_array = filename.lower().endswith(".npy")
        rate = fps or self._frames_fps
        if is_array and rate is None:
            return _declined(name, Reason.UNREADABLE, "arrays do not say how fast they are shown: give fps")
        with to.open("wb") as out:
            shutil.copyfileobj(file, out, 1 << 20)
        return Work(name, str(to), kind="array", fps=rate) if is_array else Work(name, str(to))

    def _small_enough(self, name: str, size: int) -> ClipResult | None:
        if size == 0:
            return _declined(name, Reason.UNREADABLE, "is empty (0 bytes)")
        return self._too_large(name) if size > self._limits.clip_bytes else None

    def _too_large(self, name: str) -> ClipResult:
        return _declined(name, Reason.TOO_LARGE, f"is larger than the limit of {self._limits.clip_bytes} bytes")


def shown(name: str) -> str:
    """A clip's name as it stands in answers and logs: one printable line, not too long."""
    text = "".join(char if char.isprintable() else "?" for char in name[:_NAME_CHARS])
    return text.encode("utf-8", "replace").decode() or "clip"


def _declined(name: str, reason: Reason, why: str) -> ClipResult:
    outcome = Outcome.TOO_LARGE if reason is Reason.TOO_LARGE else Outcome.DECODE_FAILED
    return ClipResult.without_reward(name, outcome, reason, why)
