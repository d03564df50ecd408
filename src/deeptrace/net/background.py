"""One event loop in the background of a process, for callers that block."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ["run_blocking"]

T = TypeVar("T")

_background: list[asyncio.AbstractEventLoop] = []


_starting = threading.Lock()


if hasattr(os, "register_at_fork"):  # the loop's thread does not come along into a forked process
    os.register_at_fork(after_in_child=_background.clear)


def run_blocking(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` on the background loop of this process and wait for it, from any thread without a loop of its own.

    Ctrl-C cancels it.
    """
    with _starting:
        if not _background:
            loop = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name="deeptrace-http", daemon=True).start()
            _background.append(loop)
    future = asyncio.run_coroutine_threadsafe(work, _background[0])
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise
