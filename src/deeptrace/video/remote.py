"""Videos behind URLs: through fsspec, as a seekable file that fetches only the blocks that are read.

`http://` and `https://` work in the base install, too: without fsspec's package for them the file is fetched whole.
"""

from __future__ import annotations

import base64
import http.client
import shutil
import tempfile
import time
import urllib.parse
import urllib.request
from typing import IO, Any, cast

from deeptrace.errors import DeeptraceError, MissingExtraError, ServiceError, VideoError, VideoNotFoundError
from deeptrace.urls import public_text

__all__ = ["RemoteFile", "open_remote"]

_BLOCK_BYTES = 1 << 20
_KEPT_BLOCKS = 32
_TRIES = 3
_FIRST_WAIT_S = 0.3
_SILENCE_S = 60.0
"""How long a server may send nothing while a file is fetched whole."""


class RemoteFile:
    """What FFmpeg needs of a file (read, seek, tell), with retries and with failures as deeptrace's errors."""

    def __init__(self, url: str, handle: IO[bytes]) -> None:
        self._url, self._handle = url, handle

    def read(self, count: int = -1) -> bytes:
        """Up to `count` bytes; tried again where the store fails for a moment.

        Raises:
            ServiceError: the store failed every time.
        """
        at = self._handle.tell()
        for attempt in range(_TRIES):
            try:
                return self._handle.read(count)
            except Exception as error:  # noqa: BLE001 - the edge to the network: every store has its own kinds
                if attempt == _TRIES - 1:
                    raise error_of(self._url, error) from None
                time.sleep(_FIRST_WAIT_S * 2**attempt)
                self._handle.seek(at)
        raise AssertionError("unreachable")

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move to `offset`; returns the place."""
        return self._handle.seek(offset, whence)

    def tell(self) -> int:
        """The place."""
        return self._handle.tell()

    def close(self) -> None:
        """Release the connection."""
        self._handle.close()


def open_remote(url: str) -> RemoteFile:
    """Open `url` with fsspec. What lies behind a server that cannot serve ranges is copied to a temporary file first.

    Raises:
        VideoNotFoundError: there is no such object, or fsspec does not know the scheme.
        VideoError: access was denied.
        ServiceError: the store could not be reached, or failed.
        MissingExtraError: the package for the scheme is not installed.
    """
    from fsspec.core import url_to_fs

    try:
        system, path = url_to_fs(url)
        handle = system.open(
            path,
            mode="rb",
            block_size=_BLOCK_BYTES,
            cache_type="blockcache",
            cache_options={"maxblocks": _KEPT_BLOCKS},
        )
        return RemoteFile(url, _seekable(handle))
    except ImportError:
        if url.lower().startswith(("http://", "https://")):
            return RemoteFile(url, _fetched(url))
        raise MissingExtraError(f"{url.split('://', 1)[0]}:// paths", "remote") from None
    except Exception as error:  # noqa: BLE001 - as above
        raise error_of(url, error) from None


def error_of(url: str, error: BaseException) -> DeeptraceError:
    """The error to raise for what a store raised; HTTP codes are looked for along the chain of causes."""
    if isinstance(error, DeeptraceError):
        return error
    link: BaseException | None = error
    root, status = error, None
    while link is not None:
        root, status = link, status or getattr(link, "status", None)
        link = link.__cause__
    said = first_line(root)
    if status in (401, 403) or isinstance(root, PermissionError):
        return VideoError(url, f"access was denied ({said})", "Check your credentials.")
    if status in (404, 410) or isinstance(root, (FileNotFoundError, IsADirectoryError)):
        return VideoNotFoundError(url, "no such object", "Check the address.")
    if "Protocol not known" in said:
        return VideoNotFoundError(url, "no such kind of address is known", "Use http(s)://, s3://, gs:// or hf://.")
    return ServiceError(url, f"could not be read ({said})", "Try again later.")


def first_line(error: BaseException) -> str:
    """The first line of an error's text, at most 200 characters; its kind where it has no text."""
    return (public_text(str(error)).strip() or type(error).__name__).splitlines()[0][:200]


def _fetched(url: str) -> IO[bytes]:
    """What is at an http(s) address, in a temporary file.

    Raises:
        VideoNotFoundError, VideoError, ServiceError: as `open_remote`.
    """
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    user, at, host = host.rpartition("@")
    asked = urllib.request.Request(f"{scheme}://{host}{slash}{path}", headers={"Accept-Encoding": "identity"})
    if at:
        known = base64.b64encode(urllib.parse.unquote(user).encode()).decode()
        asked.add_unredirected_header("Authorization", f"Basic {known}")
    scratch = tempfile.TemporaryFile(suffix=".deeptrace")  # noqa: SIM115 - closed by RemoteFile
    for attempt in range(_TRIES):
        try:
            with urllib.request.urlopen(asked, timeout=_SILENCE_S) as answer:
                shutil.copyfileobj(answer, scratch, _BLOCK_BYTES)
            scratch.seek(0)
            return cast(IO[bytes], scratch)
        except (OSError, ValueError, http.client.HTTPException) as error:
            found = error_of(url, error)
            if attempt == _TRIES - 1 or not isinstance(found, ServiceError):
                scratch.close()
                raise found from None
            time.sleep(_FIRST_WAIT_S * 2**attempt)
            scratch.seek(0)
            scratch.truncate()
    raise AssertionError("unreachable")


def _seekable(handle: Any) -> IO[bytes]:
    try:
        handle.seek(0, 2)
        handle.seek(0)
    except (ValueError, OSError, NotImplementedError):
        scratch = tempfile.TemporaryFile(suffix=".deeptrace")  # noqa: SIM115 - closed by RemoteFile
        shutil.copyfileobj(handle, scratch, _BLOCK_BYTES)
        handle.close()
        scratch.seek(0)
        return cast(IO[bytes], scratch)
    return cast(IO[bytes], handle)
