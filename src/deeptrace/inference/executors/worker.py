"""A worker process's life: load the detector, then work on each clip that it is sent, until its parent lets go.

    to it      {"clip": NUMBER, ...what the handler understands}
    from it    {"started": NUMBER}, {"waiting": NUMBER}, {"done": NUMBER, "result": ...}

The first message from it, before any clip, says what it has loaded: a `Loaded`, or the error that kept it from loading.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import pickle
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any, Protocol

from deeptrace.detectors import Analysis, Detector, Execution, load_detector
from deeptrace.errors import DeeptraceError
from deeptrace.inference.executors.engines import Task, execution_of, open_engine
from deeptrace.inference.executors.wire import Blob, Message, message_of, receive, send, task_of
from deeptrace.io.processes import die_with
from deeptrace.schema import DetectorInfo

__all__ = ["ClipHandler", "Handler", "Loaded", "WorkerSpec", "main"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WorkerSpec:
    """What a worker process is to be.

    Attributes:
        detector: its name.
        settings: of the detector.
        threads: see `open_engine`.
        handler: "module:attribute" of the factory `(options) -> Handler`.
        options: of the handler.
    """

    detector: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    threads: int | None = None
    handler: str = "deeptrace.inference.executors.worker:ClipHandler"
    options: Any = None


@dataclass(frozen=True)
class Loaded:
    """What a worker has loaded.

    Attributes:
        info: the detector's description.
        execution: how it wants to be run.
        capacity: clips that the worker makes use of at a time.
    """

    info: DetectorInfo
    execution: Execution
    capacity: int


class Handler(Protocol):
    """How a worker reads what it is sent, and what it sends back."""

    def ready(self, detector: Detector) -> None:
        """Called once, when the detector is loaded and before the first clip."""

    def task(self, message: Message, blobs: Sequence[bytes]) -> Task:
        """The clip that a message stands for."""

    def result(self, detector: Detector, message: Message, found: Analysis) -> tuple[Message, Sequence[Blob]]:
        """What to send back of what the detector said."""


class ClipHandler:
    """Sends back all that the detector said; see `wire`."""

    def __init__(self, _options: Any) -> None:
        pass

    def ready(self, detector: Detector) -> None:
        """Nothing to prepare."""

    def task(self, message: Message, blobs: Sequence[bytes]) -> Task:
        """See `Handler.task`."""
        return task_of(message, blobs)

    def result(self, detector: Detector, message: Message, found: Analysis) -> tuple[Message, Sequence[Blob]]:  # noqa: ARG002
        """See `Handler.result`."""
        return message_of(found)


def main(pipe: Connection, parent: int) -> None:
    """Wait for the work to do, then serve until the pipe closes; end when the parent needs no worker after all.

    Args:
        pipe: to the parent, who sends its sys.path and a `WorkerSpec`, pickled, and then clips.
        parent: its process id.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # one that is sent to the whole group is the parent's to answer
    importlib.import_module("deeptrace.video.reader")  # what every detector needs, while the parent is busy
    try:
        payload = pipe.recv_bytes()
    except (EOFError, OSError):
        return
    os.dup2(2, 1)  # what a detector prints must not mix with the parent's output
    die_with(parent)
    threading.excepthook = _end_with_thread
    sys.path[:], spec = pickle.loads(payload)  # a process that was started early may not know of what was added since
    try:
        detector = load_detector(spec.detector, **spec.settings)
    except DeeptraceError as error:
        pipe.send(error)
        return
    if "cv2" in sys.modules:  # the processes are what runs in parallel; threads in each would only get in their way
        sys.modules["cv2"].setNumThreads(1)
    clips = _Clips(pipe, detector, spec)
    engine = open_engine(detector, clips, threads=spec.threads)
    with contextlib.suppress(EOFError, OSError):  # the parent is gone, or has no more work
        pipe.send(Loaded(detector.info, execution_of(detector), engine.capacity))
        while True:
            engine.put(*clips.receive())


class _Clips:
    """The clips that come over the pipe, and the `Listener` that sends back what the engine says of them."""

    def __init__(self, pipe: Connection, detector: Detector, spec: WorkerSpec) -> None:
        module, _, attribute = spec.handler.partition(":")
        self._handler: Handler = getattr(importlib.import_module(module), attribute)(spec.options)
        self._handler.ready(detector)
        self._pipe, self._detector = pipe, detector
        self._sending = threading.Lock()
        self._open: dict[int, Message] = {}

    def receive(self) -> tuple[int, Task]:
        """The next clip, with its number; waits for it."""
        message, blobs = receive(self._pipe)
        number = message["clip"]
        self._open[number] = message
        return number, self._handler.task(message, blobs)

    def started(self, number: int) -> None:
        self._say({"started": number})

    def waiting(self, number: int) -> None:
        self._say({"waiting": number})

    def done(self, number: int, found: Analysis) -> None:
        result, blobs = self._handler.result(self._detector, self._open.pop(number), found)
        self._say({"done": number, "result": result}, blobs)

    def _say(self, message: Message, blobs: Sequence[Blob] = ()) -> None:
        with self._sending:
            send(self._pipe, message, blobs)


def _end_with_thread(args: threading.ExceptHookArgs) -> None:
    """A thread that ends by an exception leaves its clips unanswered; the process then ends too, and is replaced."""
    if args.exc_type is not SystemExit and not issubclass(args.exc_type, OSError):
        log.error(
            "a thread of a worker failed",
            exc_info=(args.exc_type, args.exc_value or args.exc_type(), args.exc_traceback),
        )
    os._exit(70)
