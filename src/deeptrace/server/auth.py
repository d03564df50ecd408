"""API keys: read from a file or the environment, compared in constant time, never shown."""

from __future__ import annotations

import base64
import hashlib
import hmac
import math
import os
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from pathlib import Path

from deeptrace.errors import SettingsError

__all__ = ["KEYS_VARIABLE", "GuessLimit", "KeyRing", "read_keys"]

KEYS_VARIABLE = "DEEPTRACE_SERVE_KEYS"
_SHORTEST = 16
_ADDRESSES = 10_000


def read_keys(path: str | os.PathLike[str] | None) -> tuple[str, ...]:
    """The keys in the file at `path`, one a line, `#` for remarks; without a file those in DEEPTRACE_SERVE_KEYS.

    The variable is taken out of the environment, so that worker processes do not inherit it.

    Raises:
        SettingsError: the file cannot be read or has no key, or a key is too short to be one.
    """
    from_environment = os.environ.pop(KEYS_VARIABLE, "")
    if path is None:
        keys = re.split(r"[\s,]+", from_environment.strip()) if from_environment.strip() else []
        subject = KEYS_VARIABLE
    else:
        subject = f"keys file {path}"
        try:
            lines = Path(path).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(subject, f"cannot be read ({error})") from None
        keys = [key for line in lines if (key := line.partition("#")[0].strip())]
        if not keys:
            raise SettingsError(subject, "has no key", "Write one a line.")
    if any(len(key) < _SHORTEST or not key.isascii() for key in keys):
        raise SettingsError(subject, f"expected keys of at least {_SHORTEST} ASCII characters", "Make longer ones.")
    return tuple(dict.fromkeys(keys))


class GuessLimit:
    """How often an address may come with a wrong key; keys cannot be tried out by the thousand.

    Args:
        tries: wrong keys that are answered at once.
        period_s: over which they are counted.
        clock: seconds, rising.
    """

    def __init__(self, tries: int = 10, period_s: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._tries, self._period_s, self._clock = tries, period_s, clock
        self._wrong: OrderedDict[str, list[float]] = OrderedDict()

    def wait_s(self, address: str) -> int:
        """Seconds until the next guess of `address` is looked at; 0 for at once."""
        recent = [at for at in self._wrong.get(address, ()) if self._clock() - at < self._period_s]
        if len(recent) < self._tries:
            return 0
        return max(math.ceil(recent[0] + self._period_s - self._clock()), 1)

    def wrong(self, address: str) -> None:
        """Count a wrong key."""
        recent = [at for at in self._wrong.pop(address, ()) if self._clock() - at < self._period_s]
        self._wrong[address] = [*recent, self._clock()][-self._tries :]
        while len(self._wrong) > _ADDRESSES:
            self._wrong.popitem(last=False)

    def right(self, address: str) -> None:
        """Take back the last one that was counted: it was counted before it was looked at, and it was right."""
        if counted := self._wrong.get(address):
            counted.pop()


class KeyRing:
    """Says whether a caller has a key.

    Args:
        keys: none of them to let everyone in.
    """

    def __init__(self, keys: Iterable[str]) -> None:
        # Digests of one length, so that comparing does not tell a key's.
        self._digests = [_digest(key) for key in keys]

    def __bool__(self) -> bool:
        return bool(self._digests)

    def admits(self, authorization: str, api_key: str) -> bool:
        """Whether the headers `Authorization` (Bearer, or Basic with the key as password) or `X-API-Key` hold a key."""
        if not self._digests:
            return True
        given = _digest(_key_of(authorization) or api_key)
        # No early end: the time taken must not say which key was near.
        return sum([hmac.compare_digest(given, digest) for digest in self._digests]) > 0


def _key_of(authorization: str) -> str:
    """The key in an Authorization header; clients that know no keys send the password of their URL as Basic."""
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value.strip(), validate=True).decode().partition(":")[2]
        except ValueError:  # not base64, not ASCII, not UTF-8
            return ""
    return ""


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "replace")).digest()
