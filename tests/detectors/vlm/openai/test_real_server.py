"""A real openai-compatible server, `transformers serve`, with a real if tiny vision model that looks at the frames."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.needs import needs

needs("torch", "transformers", "fastapi", "uvicorn", "openai")

from tests.detectors.vlm.openai.tiny_served import FAKE, teach  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

from deeptrace.cli.main import app  # noqa: E402
from deeptrace.video import write_video  # noqa: E402

SETTINGS = {"fps": 2.0, "max_tokens": 48}
WAIT_S = 120.0


def grey_clip(path: Path, level: int) -> Path:
    noise = np.random.default_rng(level)
    frames = (np.clip(noise.normal(level, 4, (56, 84, 3)), 0, 255).astype(np.uint8) for _ in range(12))
    write_video(path, frames, fps=8.0)
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("served")
    clips = {grey_clip(home / "bright.mp4", 205): FAKE, grey_clip(home / "dark.mp4", 45): "REAL"}
    return teach(home / "model", clips, **SETTINGS)


@pytest.fixture(scope="module")
def url(model: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", str(model), "--device", "cpu"]
    quiet = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    server = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port)],
        env=quiet,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        _wait(server, f"http://127.0.0.1:{port}/health")
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.communicate(timeout=30)


def _wait(server: subprocess.Popen[str], address: str) -> None:
    ends = time.monotonic() + WAIT_S
    while time.monotonic() < ends:
        if server.poll() is not None:
            pytest.fail(f"transformers serve ended: {server.communicate()[0][-2000:]}")
        try:
            urllib.request.urlopen(address, timeout=5)
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
        else:
            return
    pytest.fail(f"transformers serve did not answer within {WAIT_S:g} s")


@pytest.mark.slow
def test_a_real_server_judges_frames_sent_as_image_parts(model: Path, url: str, tmp_path: Path) -> None:
    """Clips of shades that the model never saw: the answers can only come from looking at the frames."""
    clips = {grey_clip(tmp_path / f"{level}.mp4", level): level for level in (38, 55, 196, 214)}
    settings = [f"--set={name}={value}" for name, value in SETTINGS.items()]
    asked = CliRunner().invoke(
        app, ["detect", *map(str, clips), "--detector", f"openai:{model}@{url}", "--json", *settings]
    )
    assert asked.exit_code == 0, asked.output
    verdicts = [json.loads(line) for line in asked.stdout.splitlines() if line.startswith("{")]
    assert [verdict["video"] for verdict in verdicts] == [str(clip) for clip in clips]
    for verdict, level in zip(verdicts, clips.values(), strict=True):
        assert verdict["outcome"] == "scored", verdict["error"]
        assert verdict["label"] == ("FAKE" if level > 128 else "REAL")
        assert verdict["media"]["sampled_times_s"] == [0.0, 0.5, 1.0]
        assert verdict["usage"]["frames"] == 3
        assert verdict["usage"]["prompt_tokens"] > 3 * 4
        if level > 128:
            box = verdict["traces"][0]["box"]
            assert np.allclose(box, [10 / 84, 20 / 56, 30 / 84, 40 / 56], atol=1e-6)
            assert verdict["traces"][0]["onset_s"] == 0.5
