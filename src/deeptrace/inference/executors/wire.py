"""What passes between a process and its workers: JSON, and arrays as bytes beside it.

A message is a JSON object, and as many binary messages after it as its key "blobs" says. What comes back from a process
that has read strangers' files is data, never code: nothing here is a pickle.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from deeptrace.detectors import Analysis, HeatMap
from deeptrace.inference.executors.engines import Task
from deeptrace.inference.one_clip import Clip, Job, clip_name
from deeptrace.schema import Media, Verdict
from deeptrace.video import Video

__all__ = ["Message", "analysis_of", "message_of", "receive", "send", "task_message", "task_of"]

MAX_JSON = 64 << 20
MAX_BLOB = 4 << 30
MAX_BLOBS = 4096

Message = dict[str, Any]
_folder = [""]
Blob = bytes | memoryview


def send(pipe: Connection, message: Mapping[str, Any], blobs: Sequence[Blob] = ()) -> None:
    """Send one message; not to be called from two threads at a time.

    Raises:
        OSError: the other end is gone.
    """
    pipe.send_bytes(json.dumps({**message, "blobs": len(blobs)}, allow_nan=False).encode())
    for blob in blobs:
        pipe.send_bytes(blob)


def receive(pipe: Connection) -> tuple[Message, list[bytes]]:
    """The next message.

    Raises:
        EOFError, OSError: the other end is gone.
        ValueError: what came is no message.
    """
    message = json.loads(pipe.recv_bytes(MAX_JSON))
    count = message.get("blobs") if isinstance(message, dict) else None
    if not isinstance(count, int) or not 0 <= count <= MAX_BLOBS:
        raise ValueError("expected a message but got something else")
    return message, [pipe.recv_bytes(MAX_BLOB) for _ in range(count)]


def task_message(clip: Clip, job: Job) -> tuple[Message, list[Blob]]:
    """A clip and what to do with it, for a worker. A video in a file goes by its path, frames in memory as they are."""
    message: Message = {"job": asdict(job)}
    if isinstance(clip, Video):
        from deeptrace.video import ArrayVideo  # with the decoders; there is a video, so they are loaded

        if isinstance(clip, ArrayVideo):
            images = np.ascontiguousarray(clip.images)
            message["array"] = {
                "name": clip.path,
                "shape": images.shape,
                "times_s": clip.times_s,
                "media": clip.media.model_dump(mode="json"),
                "as_is": clip.as_is,
            }
            return message, [images.reshape(-1).data]
    try:
        here = os.getcwd()
    except FileNotFoundError:
        here = ""
    return message | {"path": clip_name(clip), "folder": here}, []


def task_of(message: Message, blobs: Sequence[bytes]) -> Task:
    """The other end of `task_message`."""
    job = Job(**message["job"])
    if "path" in message:
        # A relative path is the sender's, who may have changed folders since this process was started.
        if message["folder"] and message["folder"] != _folder[0]:
            os.chdir(message["folder"])
            _folder[0] = message["folder"]
        return Task(message["path"], job)
    from deeptrace.video import ArrayVideo

    array = message["array"]
    images = np.frombuffer(blobs[0], np.uint8).reshape(array["shape"])
    media = Media.model_validate(array["media"])
    video: Video = ArrayVideo(array["name"], images, tuple(array["times_s"]), media, as_is=array["as_is"])
    return Task(video, job)


def message_of(found: Analysis) -> tuple[Message, list[Blob]]:
    """What a detector said of a clip, for the process that asked."""
    blobs: list[Blob] = []
    for one in found.heat:
        blobs += [
            np.ascontiguousarray(one.times_s, np.float64).reshape(-1).data,
            np.ascontiguousarray(one.heat, np.float32).reshape(-1).data,
        ]
    message = {
        "verdict": found.verdict.model_dump(mode="json"),
        "curves": found.curves,
        "heat": [one.heat.shape for one in found.heat],
    }
    return message, blobs


def analysis_of(message: Mapping[str, Any], blobs: Sequence[bytes]) -> Analysis:
    """The other end of `message_of`.

    Raises:
        ValueError, KeyError, TypeError: it is invalid.
    """
    heat = tuple(
        HeatMap(np.frombuffer(blobs[2 * at], np.float64), np.frombuffer(blobs[2 * at + 1], np.float32).reshape(shape))
        for at, shape in enumerate(message["heat"])
    )
    curves = {
        str(name): [(float(at), float(value)) for at, value in points] for name, points in message["curves"].items()
    }
    return Analysis(Verdict.model_validate(message["verdict"]), curves, heat)
