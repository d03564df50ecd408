"""A real server on loopback with real worker processes, and a detector whose reward can be read off a clip's pixels."""

from __future__ import annotations

import base64
import io
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from tests.plug_ins import plug_in
from tests.reward.conftest import corner_clip, expected
from uvicorn.protocols.http.h11_impl import H11Protocol

from deeptrace.server import Limits, ServeSettings
from deeptrace.video import write_video

SERVED = """
    import os, signal, time
    from tests.reward.corner_detector import CornerDetector

    class Served(CornerDetector):
        def __init__(self, pause_s, folder):
            super().__init__("served:", pause_s)
            self._folder = folder

        def detect(self, video):
            name = os.path.basename(video.path)
            print("a detector that prints to stdout", flush=True)
            if "segv" in name: os.kill(os.getpid(), signal.SIGSEGV)
            if "once" in name:
                try: os.close(os.open(os.path.join(self._folder, name), os.O_CREAT | os.O_EXCL))
                except FileExistsError: pass
                else: os.kill(os.getpid(), signal.SIGKILL)
            if "never ends" in name: time.sleep(600)
            if "slow" in name: time.sleep(0.5)
            if "hungry" in name: bytearray(1 << 32)
            if "KeyError" in name: raise KeyError("as asked")
            return super().detect(video)

    def load(rest, *, pause_s=0.0, folder="/tmp"):
        return Served(pause_s, folder)
"""


@pytest.fixture(scope="session", autouse=True)
def served_detector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The detector `served:`, installed for this process and its workers."""
    with plug_in(tmp_path_factory.mktemp("site"), "served", SERVED) as name:
        yield name


@dataclass
class Running:
    """A server that runs, and how to ask it."""

    url: str
    api: object
    http: httpx.Client
    scratch: Path

    def upload(self, *files: tuple[str, bytes], **fields: str) -> httpx.Response:
        return self.http.post("/v1/score/upload", files=[("files", file) for file in files], data=fields)

    def score(self, *clips: dict, **fields: object) -> list[dict]:
        response = self.http.post("/v1/score", json={"clips": list(clips), **fields})
        assert response.status_code == 200, response.text
        return response.json()["results"]


@contextmanager
def running(
    tmp: Path, *, folder: str = "/tmp", pause_s: float = 0.0, http: type = H11Protocol, **settings: object
) -> Iterator[Running]:
    """A server in a thread, until the block ends."""
    import uvicorn

    from deeptrace.server.app import ScoreApi

    scratch = tmp / "spool"
    scratch.mkdir(exist_ok=True)
    usual = {
        "detector": "served:",
        "detector_settings": {"pause_s": pause_s, "folder": folder},
        "limits": Limits(clip_s=3.0, memory_bytes=512 << 20),
    }
    api = ScoreApi(ServeSettings(scratch_dir=str(scratch), **(usual | settings)))
    server = uvicorn.Server(uvicorn.Config(api.asgi, port=0, log_config=None, lifespan="on", http=http))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            time.sleep(0.02)
        url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        with httpx.Client(base_url=url, timeout=60, trust_env=False) as http:
            yield Running(url, api, http, scratch)
    finally:
        server.should_exit = True
        thread.join(30)
    assert list(scratch.iterdir()) == [], "files were left behind"


@pytest.fixture(scope="session")
def clip_bytes(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], bytes]:
    """The bytes of a lossless clip whose reward is `expected(level)`."""
    folder, made = tmp_path_factory.mktemp("clips"), dict[int, bytes]()

    def make(level: int) -> bytes:
        if level not in made:
            write_video(folder / f"{level}.mp4", corner_clip(level), fps=8.0, crf=0)
            made[level] = (folder / f"{level}.mp4").read_bytes()
        return made[level]

    return make


def pngs(level: int) -> list[str]:
    """A clip as images in base64."""
    return [png(frame) for frame in corner_clip(level)]


def png(frame: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def soon(is_so: Callable[[], bool], within_s: float = 10.0) -> bool:
    """Whether it becomes so."""
    until = time.monotonic() + within_s
    while not is_so() and time.monotonic() < until:
        time.sleep(0.02)
    return is_so()


def near(level: int) -> object:
    """The reward of a clip that went through a codec."""
    return pytest.approx(expected(level), abs=0.02)
