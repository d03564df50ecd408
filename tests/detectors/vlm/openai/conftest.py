"""A misbehaving model server, small clips, and an environment without anybody's keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.needs import needs

needs("httpx")

from tests.detectors.vlm.openai.model_server import ModelServer, start  # noqa: E402

from deeptrace.video import write_video  # noqa: E402

KEY_VARIABLES = ("OPENAI_API_KEY", "OPENAI_BASE_URL", "GEMINI_API_KEY", "GOOGLE_API_KEY", "DEEPTRACE_API_KEY")


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEY_VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server() -> Iterator[ModelServer]:
    model = ModelServer()
    running = start(model)
    yield model
    model.ended.set()
    running.shutdown()
    running.server_close()


@pytest.fixture
def clip(tmp_path: Path) -> Callable[..., Path]:
    """Write a clip of noise-free frames: `clip(name, frames=8, fps=8.0, size=(64, 48))`."""

    def make(name: str = "clip.mp4", *, frames: int = 8, fps: float = 8.0, size: tuple[int, int] = (64, 48)) -> Path:
        path = tmp_path / name
        levels = np.linspace(40, 200, frames, dtype=np.uint8)
        write_video(path, (np.full((size[1], size[0], 3), level, np.uint8) for level in levels), fps=fps)
        return path

    return make
