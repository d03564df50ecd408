"""Processes that end with the one that started them, however it ends: nothing works on after a `kill -9`. And other
people's scripts, run in this one.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import runpy
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context

__all__ = ["die_with", "process_pool", "run_script", "worker_pool"]

_PR_SET_PDEATHSIG = 1
_LOOK_S = 1.0


def process_pool(workers: int, begin: Callable[[], object] | None = None) -> ProcessPoolExecutor:
    """A pool whose processes end with this one; those of the standard library wait for work for ever.

    They are spawned, not forked: a fork inherits locks of threads that it does not have, and hangs.

    Args:
        workers: number of processes.
        begin: called first in each of them.
    """
    return ProcessPoolExecutor(workers, get_context("spawn"), _begin, (os.getpid(), begin))


@contextmanager
def worker_pool(workers: int, initializer: Callable[[], None] | None = None) -> Iterator[ProcessPoolExecutor]:
    """Processes for a part of some work. After an error it ends with the jobs at hand and leaves the rest undone;
    interrupted or killed, it ends at once: a job may take minutes, and what it has done is written whole or not at all.
    """
    with process_pool(workers, initializer) as pool:
        try:
            yield pool
        except BaseException as error:
            running = list((pool._processes or {}).values())  # no public way to end them before Python 3.14
            pool.shutdown(wait=False, cancel_futures=True)
            if not isinstance(error, Exception):
                for process in running:
                    process.kill()
            raise


def die_with(parent: int) -> None:
    """End this process with its parent, even one that is killed while this one hangs.

    Args:
        parent: id of the parent; where it has gone already, this process ends at once.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)

    def look() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOK_S)
        os._exit(1)

    threading.Thread(target=look, name="deeptrace-parent", daemon=True).start()


def _begin(parent: int, begin: Callable[[], object] | None) -> None:
    die_with(parent)
    if begin is not None:
        begin()


def run_script(module: str) -> None:
    """What `python -m MODULE SCRIPT [ARGUMENT ...]` does: MODULE's `install()`, then the script as if run by itself.

    Args:
        module: full name of the one that is run; what it installs must be of its import by that name, not of __main__.

    Raises:
        SystemExit: no script was named; and what the script ends with.
    """
    if len(sys.argv) < 2:
        raise SystemExit(f"usage: python -m {module} SCRIPT [ARGUMENT ...]")
    importlib.import_module(module).install()
    sys.argv = sys.argv[1:]
    sys.path[0] = os.path.dirname(os.path.abspath(sys.argv[0]))
    runpy.run_path(sys.argv[0], run_name="__main__")
