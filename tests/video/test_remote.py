"""URLs: real HTTP servers with and without ranges, and stores that fail."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import numpy as np
import pytest
from tests.video.odd_files import encode

from deeptrace.errors import MissingExtraError, ServiceError, VideoError, VideoNotFoundError
from deeptrace.video import open_video
from deeptrace.video.remote import RemoteFile


class Store(BaseHTTPRequestHandler):
    """Serves one clip under several manners."""

    data: ClassVar[bytes] = b""
    sent: ClassVar[list[int]] = []

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        codes = {"/gone.mp4": 404, "/secret.mp4": 403, "/broken.mp4": 500}
        if self.path in codes:
            self.send_response(codes[self.path])
            self.end_headers()
            return
        part, asked = self.data, self.headers.get("Range")
        if asked and self.path == "/ranges.mp4":
            first, last = asked.removeprefix("bytes=").split("-")
            end = min(int(last or len(part) - 1), len(part) - 1)
            part = part[int(first) : end + 1]
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{end}/{len(self.data)}")
        else:
            self.send_response(200)
        self.send_header("Accept-Ranges", "bytes" if self.path == "/ranges.mp4" else "none")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        if body:
            self.sent.append(len(part))
            self.wfile.write(part)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a server that holds a clip of several megabytes with its index at the end."""
    pytest.importorskip("aiohttp", reason="http:// paths need the extra 'remote'")
    noise = np.random.default_rng(0)
    images = [noise.integers(0, 256, (240, 320, 3), dtype="uint8") for _ in range(120)]
    path = encode(tmp_path_factory.mktemp("web") / "clip.mp4", images=images, options={"crf": "4", "g": "5"})
    Store.data = path.read_bytes()
    assert len(Store.data) > 4 << 20
    web = ThreadingHTTPServer(("127.0.0.1", 0), Store)
    thread = threading.Thread(target=web.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{web.server_port}"
    web.shutdown()
    web.server_close()


def test_only_the_blocks_that_are_read_travel(server: str) -> None:
    Store.sent.clear()
    with open_video(f"{server}/ranges.mp4") as video:
        assert video.media.frames == 120
        next(video.frames())
        assert sum(Store.sent) < len(Store.data) * 0.75
        assert len(video.frames_at([11.5])) == 1
    assert max(Store.sent) <= 1 << 20


def test_a_server_without_ranges_is_read_all_the_same(server: str) -> None:
    with open_video(f"{server}/whole.mp4") as video:
        assert len(list(video.frames(max_fps=2))) == 24
        assert video.path == f"{server}/whole.mp4"


@pytest.mark.parametrize(
    ("name", "kind"), [("gone", VideoNotFoundError), ("secret", VideoError), ("broken", ServiceError)]
)
def test_http_failures_are_named(server: str, name: str, kind: type[Exception]) -> None:
    with pytest.raises(kind) as caught:
        open_video(f"{server}/{name}.mp4")
    assert type(caught.value) is kind
    assert str(caught.value).startswith(f"{server}/{name}.mp4: ")
    assert "\n" not in str(caught.value)


def test_nobody_at_home() -> None:
    pytest.importorskip("aiohttp", reason="http:// paths need the extra 'remote'")
    with pytest.raises(ServiceError, match=r"127\.0\.0\.1:9/a\.mp4: could not be read"):
        open_video("http://127.0.0.1:9/a.mp4")


def test_any_store_of_fsspec(tmp_path: Path) -> None:
    data = encode(tmp_path / "clip.mp4").read_bytes()
    fsspec.filesystem("memory").pipe("/clips/a.mp4", data)
    with open_video("memory://clips/a.mp4") as video:
        assert len(list(video.frames())) == 10
        assert len(list(video.frames())) == 10
    with pytest.raises(VideoNotFoundError):
        open_video("memory://clips/b.mp4")
    fsspec.filesystem("memory").pipe("/clips/text.mp4", b"hello" * 100)
    with pytest.raises(VideoError, match="no video container"):
        open_video("memory://clips/text.mp4")


def test_unknown_schemes_and_missing_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(VideoNotFoundError, match="no such kind of address"):
        open_video("zz://a/b.mp4")
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(MissingExtraError, match=r"s3:// paths.*deeptrace\[remote\]"):
        open_video("s3://bucket/b.mp4")


def test_file_urls_are_local_paths(tmp_path: Path) -> None:
    path = encode(tmp_path / "a b.mp4")
    with open_video(path.as_uri()) as video:
        assert len(list(video.frames())) == 10


class Flaky:
    """A file whose first reads fail."""

    def __init__(self, failures: int) -> None:
        self.failures = failures

    def read(self, count: int) -> bytes:
        if self.failures:
            self.failures -= 1
            raise TimeoutError("slow store")
        return b"x" * count

    def tell(self) -> int:
        return 0

    def seek(self, offset: int, whence: int = 0) -> int:
        return offset


def test_reads_are_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deeptrace.video.remote._FIRST_WAIT_S", 0.0)
    assert RemoteFile("s3://a", Flaky(2)).read(3) == b"xxx"  # type: ignore[arg-type]
    with pytest.raises(ServiceError, match="slow store"):
        RemoteFile("s3://a", Flaky(3)).read(3)  # type: ignore[arg-type]


def test_a_store_that_fails_in_the_middle_is_a_service_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deeptrace.video.remote._FIRST_WAIT_S", 0.0)
    noise = np.random.default_rng(0)
    images = [noise.integers(0, 256, (240, 320, 3), dtype="uint8") for _ in range(100)]
    data = encode(tmp_path / "m.mkv", images=images, options={"crf": "4"}).read_bytes()
    fsspec.filesystem("memory").pipe("/m.mkv", data)
    down, read = False, RemoteFile.read

    def read_while_up(self: RemoteFile, count: int = -1) -> bytes:
        if down:
            raise ServiceError("memory://m.mkv", "gone")
        return read(self, count)

    monkeypatch.setattr(RemoteFile, "read", read_while_up)
    with open_video("memory://m.mkv") as video:
        frames = video.frames()
        next(frames)
        down = True
        with pytest.raises(ServiceError, match="gone"):
            list(frames)
