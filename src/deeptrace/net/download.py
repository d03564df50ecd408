"""HTTP that survives: ranges to resume, retries with backoff, a checksum over the whole file.

Not `huggingface_hub`'s download: that one compares sizes and no checksum, and (in its version 2.4) throws a partial
file away when it fails, so that a stopped download of several gigabytes starts again.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from deeptrace.errors import ServiceError
from deeptrace.net.retry import RETRIED, Retries, TransientError, retry_after_s

__all__ = ["Checksum", "Fetcher"]

CHUNK_BYTES = 1 << 20
Progress = Callable[[str, int, int | None], None]
T = TypeVar("T")


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
    """Downloads with retries (see `Retries`).

    Attributes:
        attempts: failures in a row, without one new byte, before it gives up.
        timeout_s: seconds without a byte before a connection counts as dead.
        backoff_s: pause after the first failure; it doubles from failure to failure, up to a minute.
        on_progress: called with (name, bytes so far, total or None).
        sleep: function that pauses, given seconds.
    """

    attempts: int = 6
    timeout_s: float = 60.0
    backoff_s: float = 1.0
    on_progress: Progress | None = None
    sleep: Callable[[float], None] = time.sleep

    def json(self, url: str) -> tuple[Any, dict[str, str]]:
        """The JSON at `url` and the response's headers (names in lower case).

        Raises:
            ServiceError: it cannot be had, or is no JSON.
        """

        def ask() -> tuple[Any, dict[str, str]]:
            with self._open(url, {"Accept": "application/json"}) as response:
                headers = {name.lower(): value for name, value in response.headers.items()}
                return json.load(response), headers

        try:
            return self._persistently(url, ask)
        except ValueError as error:
            raise ServiceError(url, f"answered something that is not JSON: {error}") from error

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
        for _ in range(2):  # a part left by another version is an excuse; a fresh copy that is wrong has none
            self._fill(url, part, size)
            problem = _wrong(part, size, checksum)
            if problem is None:
                os.replace(part, target)
                return True
            part.unlink()
        raise ServiceError(url, f"was fetched twice and is wrong: {problem}", "Try again later, or check the source.")

    def _fill(self, url: str, part: Path, size: int | None) -> None:
        """Append to `part` until it is complete; every byte received resets the count of failures."""

        def more() -> bool:
            have = part.stat().st_size if part.exists() else 0
            if size is not None and have > size:
                part.unlink()
                have = 0
            try:
                if have != size:
                    self._append(url, part, have, size)
                return True
            except (OSError, http.client.HTTPException) as error:
                if isinstance(error, urllib.error.HTTPError) and error.code == 416 and have:
                    part.unlink(missing_ok=True)  # what is there is no beginning of what the server has
                    raise TransientError(_reason(error)) from error
                if part.exists() and part.stat().st_size > have:
                    return False
                raise

        while not self._persistently(url, more):
            self.sleep(self.backoff_s)

    def _append(self, url: str, part: Path, have: int, size: int | None) -> None:
        """Fetch from byte `have` on to the end."""
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
        if total is not None and have < total:
            raise http.client.IncompleteRead(b"")  # the connection closed early without saying so

    def _open(self, url: str, headers: dict[str, str]) -> Any:
        request = urllib.request.Request(url, headers={"User-Agent": "deeptrace", **headers})
        return urllib.request.urlopen(request, timeout=self.timeout_s)

    def _persistently(self, url: str, work: Callable[[], T]) -> T:
        """What `work` gives, tried again where that may help.

        Raises:
            ServiceError: it does not, or not often enough.
        """

        def one() -> T:
            try:
                return work()
            except urllib.error.HTTPError as error:
                if error.code not in RETRIED:
                    mend = "It needs a login." if error.code in (401, 403) else ""
                    raise ServiceError(url, _reason(error), mend) from error
                raise TransientError(_reason(error), retry_after_s(error.headers.get("Retry-After"))) from error
            except (OSError, http.client.HTTPException) as error:
                raise TransientError(_reason(error)) from error

        try:
            return Retries(self.attempts, first_s=self.backoff_s, longest_s=60.0).call(one, sleep=self.sleep)
        except TransientError as error:
            raise ServiceError(url, error.why) from error


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
