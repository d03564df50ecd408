"""Files of strangers: whatever they hold, the server stays up and opens nothing but them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import pytest
from benchmarks.hostile_clips import base_files, hostile_inputs
from tests.server.conftest import near, png, running

from deeptrace.server import Limits
from deeptrace.video import open_video
from deeptrace.video.source import COMMON_FORMATS


def test_the_server_stays_up_and_opens_nothing_else(tmp_path: Path, clip_bytes: Callable[[int], bytes]) -> None:
    asked: list[str] = []

    class Canary(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

    site = ThreadingHTTPServer(("127.0.0.1", 0), Canary)
    threading.Thread(target=site.serve_forever, daemon=True).start()
    canary = tmp_path / "canary.mp4"
    canary.write_bytes(clip_bytes(60))
    bases = base_files(tmp_path)
    inputs = hostile_inputs(120, bases, canary, f"http://127.0.0.1:{site.server_address[1]}/canary.mp4", seed=1)
    limits = Limits(clip_s=5.0, memory_bytes=512 << 20, pixels=4000 * 4000)
    with running(tmp_path, workers=2, max_queue=64, limits=limits, frames_fps=8.0) as server:
        with ThreadPoolExecutor(8) as threads:
            replies = list(threads.map(lambda one: server.upload((one.name, one.data)), inputs))
        assert {reply.status_code for reply in replies} == {200}
        results = [reply.json()["results"][0] for reply in replies]
        opened = [one.name for one, found in zip(inputs, results, strict=True)
                  if one.kind == "names other files" and found["outcome"] == "scored"]  # fmt: skip
        assert opened == []
        assert asked == []
        assert all((found["reward"] is None) == (found["outcome"] != "scored") for found in results)
        assert all(found["error"] and "\n" not in found["error"] for found in results if found["reward"] is None)
        assert not [found for found in results if "\x1b" in found["video"] or "deeptrace-serve-" in str(found)]
        (fine,) = server.upload(("fine.mp4", clip_bytes(200))).json()["results"]
        assert fine["reward"] == near(200)
    site.shutdown()
    site.server_close()


def test_a_script_would_be_followed_without_the_list_of_formats(tmp_path: Path, clip_bytes) -> None:
    """The canary above is worth something only if FFmpeg itself would open it."""
    (tmp_path / "canary.mp4").write_bytes(clip_bytes(60))
    script = tmp_path / "0.clip"
    script.write_text("ffconcat version 1.0\nfile canary.mp4\n")
    with av.open(str(script)) as container:
        assert next(container.decode(video=0)).width == 32
    with pytest.raises(Exception, match="playlist"):
        open_video(script, formats=COMMON_FORMATS)


def test_bombs_among_frames(tmp_path: Path) -> None:
    import base64

    import numpy as np
    from benchmarks.hostile_clips import _bombs

    bomb = base64.b64encode(dict(_bombs())["bomb.png"]).decode()
    good = png(np.zeros((8, 8, 3), np.uint8))
    with running(tmp_path, frames_fps=8.0) as server:
        found = server.score({"frames": [bomb] * 4}, {"frames": [good, bomb]}, {"frames": [good] * 4})
    assert [clip["outcome"] for clip in found] == ["decode_failed", "decode_failed", "scored"]


@pytest.mark.parametrize("suffix", ["mp4", "webm", "gif", "mkv"])
def test_common_containers_are_accepted(tmp_path: Path, suffix: str) -> None:
    bases = base_files(tmp_path)
    (tmp_path / "x").write_bytes(bases[suffix])
    with open_video(tmp_path / "x", formats=COMMON_FORMATS) as video:
        assert len(list(video.frames())) == 16
