"""HTTP that survives: ranges to resume, retries with backoff, a checksum over the whole file.

Standard library only, so that a dataset can be fetched with the base install.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import random
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deeptrace.errors import ServiceError

__all__ = ["Checksum", "Fetcher"]

CHUNK_BYTES = 1 << 20
RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})
Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True)
class Checksum:
    """What a file's bytes must hash to.

    Attributes:
        kind: "sha256" of the content, or "git-sha1": git's blob id, what hubs state for small files.
        value: hexadecimal.
    """

    kind: str
    value: str

    def start(self, size: int) -> Any:
        """A hash object, ready for the content of a file of `size` bytes."""
        if self.kind == "sha256":
            return hashlib.sha256()
        if self.kind == "git-sha1":
            return hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
        raise ValueError(f"expected sha256 or git-sha1 but got {self.kind!r}")

    def matches(self, path: Path) -> bool:
        """Whether the file's content hashes to this."""
        digest = self.start(path.stat().st_size)
        with open(path, "rb") as file:
            while block := file.read(CHUNK_BYTES):
                digest.update(block)
        return bool(digest.hexdigest() == self.value.lower())


@dataclass
class Fetcher:
    """Downloads with retries.

    Attributes:
        attempts: failures in a row, without one new byte, before it gives up.
        timeout_s: seconds without a byte before a connection counts as dead.
        backoff_s: first pause; doubles each time, to a minute at most, with jitter.
        on_progress: called with (name, bytes so far, total or None).
        sleep: how to pause.
    """

    attempts: int = 6
    timeout_s: float = 60.0
    backoff_s: float = 1.0
    on_progress: Progress | None = None
    sleep: Callable[[float], None] = time.sleep
    _random: random.Random = field(default_factory=random.Random, repr=False)

    def json(self, url: str) -> tuple[Any, dict[str, str]]:
        """The JSON at `url` and the response's headers (names in lower case).

        Raises:
            ServiceError: it cannot be had, or is no JSON.
        """
        failures = 0
        while True:
            try:
                with self._open(url, {"Accept": "application/json"}) as response:
                    headers = {name.lower(): value for name, value in response.headers.items()}
                    return json.load(response), headers
            except ValueError as error:
                raise ServiceError(url, f"answered something that is no JSON: {error}") from error
            except (OSError, http.client.HTTPException) as error:
                failures += 1
                self._pause_or_raise(url, error, failures)

    def file(self, url: str, path: str | os.PathLike[str], *, size: int | None, checksum: Checksum | None) -> bool:
        """Fetch `url` to `path`; a partial download (`path`.part) is gone on with, a whole and right one kept.

        Returns:
            Whether anything was fetched; False when the file was there and right already.

        Raises:
            ServiceError: it cannot be had, or its size or checksum is wrong even after a fresh start.
        """
        target = Path(path)
        there = target.is_file() and (size is None or target.stat().st_size == size)
        if there and (checksum is None or checksum.matches(target)):
            return False
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f"{target.name}.part")
        problem: str | None = ""
        for _ in range(
            2
        ):  # a part left by another version of the file is an excuse; a fresh copy that is wrong has none
            self._fill(url, part, size)
            problem = _wrong(part, size, checksum)
            if problem is None:
                os.replace(part, target)
                return True
            part.unlink()
        raise ServiceError(url, f"was fetched twice and is wrong: {problem}", "Try again later, or check the source.")

    def _fill(self, url: str, part: Path, size: int | None) -> None:
        """Append to `part` until it is whole."""
        failures = 0
        while True:
            have = part.stat().st_size if part.exists() else 0
            if size is not None and have == size:
                return
            if size is not None and have > size:
                part.unlink()
                have = 0
            try:
                if self._append(url, part, have, size):
                    return
                raise http.client.IncompleteRead(b"")  # the connection closed early without saying so
            except (OSError, http.client.HTTPException) as error:
                now = part.stat().st_size if part.exists() else 0
                failures = 1 if now > have else failures + 1
                if isinstance(error, urllib.error.HTTPError) and error.code == 416 and have:
                    part.unlink(missing_ok=True)  # what is there is no beginning of what the server has
                    failures = max(failures, 1)
                    if failures < self.attempts:
                        continue
                self._pause_or_raise(url, error, failures)

    def _append(self, url: str, part: Path, have: int, size: int | None) -> bool:
        """Fetch from byte `have` on; whether the end was reached."""
        headers = {"Range": f"bytes={have}-"} if have else {}
        with self._open(url, headers) as response:
            if have and response.status != 206:
                have = 0  # the server ignored the range and sends everything
            expected = response.headers.get("Content-Length")
            total = have + int(expected) if expected is not None else size
            # Unbuffered, and read1: each byte that came is on disk when the process is killed.
            with open(part, "r+b" if have else "wb", buffering=0) as file:
                file.seek(have)
                file.truncate()
                while block := response.read1(CHUNK_BYTES):
                    file.write(block)
                    have += len(block)
                    if self.on_progress is not None:
                        self.on_progress(part.name.removesuffix(".part"), have, size if size is not None else total)
        return total is None or have >= total

    def _open(self, url: str, headers: dict[str, str]) -> Any:
        request = urllib.request.Request(url, headers={"User-Agent": "deeptrace", **headers})
        return urllib.request.urlopen(request, timeout=self.timeout_s)

    def _pause_or_raise(self, url: str, error: Exception, failures: int) -> None:
        code = error.code if isinstance(error, urllib.error.HTTPError) else None
        if failures >= self.attempts or (code is not None and code not in RETRIED and code != 416):
            mend = "It needs a login." if code in (401, 403) else ""
            raise ServiceError(url, _reason(error), mend) from error
        pause = min(self.backoff_s * 2 ** (failures - 1), 60.0) * self._random.uniform(0.5, 1.0)
        if isinstance(error, urllib.error.HTTPError):
            with suppress(ValueError):
                pause = max(pause, min(float(error.headers.get("Retry-After") or 0), 300.0))
        self.sleep(pause)


def _wrong(part: Path, size: int | None, checksum: Checksum | None) -> str | None:
    """What is wrong with a fetched file, or None."""
    have = part.stat().st_size
    if size is not None and have != size:
        return f"{have} bytes instead of {size}"
    if checksum is not None and not checksum.matches(part):
        return f"its {checksum.kind} is not {checksum.value}"
    return None


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"answered {error.code} {error.reason}"
    if isinstance(error, http.client.IncompleteRead):
        return "the connection broke again and again"
    return f"cannot be reached ({getattr(error, 'reason', None) or error})"
