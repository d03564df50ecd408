"""Starting worker processes: fresh interpreters that import what they need while their parent does the same.

Nothing heavy is imported here, so that a command can start its first workers before anything else.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from multiprocessing.connection import Connection

__all__ = ["Launched", "launch", "prestart"]

STOP_S = 2.0
"""How long a process whose pipe has closed may take to end by itself before that is said of it."""

_START = (
    "import sys, pickle; from multiprocessing.connection import Connection; "
    "pipe = Connection(int(sys.argv[1])); sys.path[:] = pickle.loads(pipe.recv_bytes()); "
    "from deeptrace.inference.executors.worker import main; main(pipe, int(sys.argv[2]))"
)


class Launched:
    """A worker process that waits for the work to do.

    Attributes:
        process: the process.
        pipe: our end of its pipe.
        began: when it was started, by `time.monotonic`.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self) -> None:
        self.began = time.monotonic()
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                # Ctrl-C reaches the whole group; the parent decides what it means. A worker inherits what is blocked.
                earlier = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
                try:
                    self.process = subprocess.Popen(
                        [sys.executable, "-c", _START, str(theirs.fileno()), str(os.getpid())],
                        pass_fds=[theirs.fileno()],
                        stdin=subprocess.DEVNULL,
                    )
                finally:
                    signal.pthread_sigmask(signal.SIG_SETMASK, earlier)
            except BaseException:
                ours.close()
                raise
        self.pipe = Connection(ours.detach())
        try:
            self.pipe.send_bytes(pickle.dumps(sys.path))
        except OSError:
            self.end()
            raise

    def end(self) -> None:
        """Kill it."""
        self.process.kill()
        self.process.wait()
        self.pipe.close()

    def how_it_died(self) -> str:
        """What became of it, for people."""
        try:
            code = self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            return "the worker process closed its connection"
        if code < 0:
            return f"the worker process was killed by {signal.Signals(-code).name}"
        return f"the worker process ended with exit code {code}"


_spare: list[Launched] = []
_lock = threading.Lock()


def prestart(count: int = 1) -> None:
    """Start processes for the executors opened next; one that cannot be started is left for them to try again."""
    with _lock:
        try:
            _spare.extend(Launched() for _ in range(count))
        except OSError:
            return


def launch() -> Launched:
    """A worker process: one that was prestarted, or a new one.

    Raises:
        OSError: it cannot be started.
    """
    with _lock:
        while _spare:
            found = _spare.pop()
            if found.process.poll() is None:
                return found
            found.pipe.close()
    return Launched()
