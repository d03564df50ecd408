"""URLs: real HTTP servers with and without ranges, and stores that fail."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import numpy as np
import pytest
from tests.needs import needs
from tests.video.odd_files import Expectation, encode

from deeptrace.errors import MissingExtraError, NotAVideoError, ServiceError, VideoError, VideoNotFoundError
from deeptrace.video import open_video
from deeptrace.video.remote import RemoteFile


class Store(BaseHTTPRequestHandler):
    """Serves one clip under several manners."""

    data: ClassVar[bytes] = b""
    sent: ClassVar[list[int]] = []
    asked_by: ClassVar[str | None] = None

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
            type(self).asked_by = self.headers.get("Authorization")
            self.wfile.write(part)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a server that holds a clip of several megabytes with its index at the end."""
    needs("aiohttp")
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


def in_a_base_install(code: str) -> list[str]:
    """What a program prints to which aiohttp is not there."""
    program = f"import sys; sys.modules['aiohttp'] = None\n{code}"
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.splitlines()


def test_a_base_install_fetches_the_file_whole(server: str) -> None:
    Store.sent.clear()
    said = in_a_base_install(f"""
from deeptrace.video import open_video
with open_video("{server.replace("//", "//me:secret@")}/ranges.mp4") as video:
    print(video.path, len(list(video.frames(max_fps=2))), len(video.frames_at([11.5])))
for name in ("gone", "secret", "broken"):
    try:
        open_video("{server}/" + name + ".mp4")
    except Exception as error:
        print(type(error).__name__, error)
""")
    assert said[0].endswith("/ranges.mp4 24 1")
    assert Store.sent == [len(Store.data)] * 2, "once for each pass over the clip"
    assert Store.asked_by == "Basic bWU6c2VjcmV0"
    kinds = {"gone": VideoNotFoundError, "secret": VideoError, "broken": ServiceError}
    for line, (name, kind) in zip(said[1:], kinds.items(), strict=True):
        assert line.startswith(f"{kind.__name__} {server}/{name}.mp4: ")


def test_nobody_at_home() -> None:
    needs("aiohttp")
    with pytest.raises(ServiceError, match=r"127\.0\.0\.1:9/a\.mp4: could not be read"):
        open_video("http://127.0.0.1:9/a.mp4")


def test_any_store_of_fsspec(tmp_path: Path) -> None:
    data = encode(tmp_path / "clip.mp4").read_bytes()
    fsspec.filesystem("memory").pipe("/store/a.mp4", data)
    with open_video("memory://store/a.mp4") as video:
        assert len(list(video.frames())) == 10
        assert len(list(video.frames())) == 10
    with pytest.raises(VideoNotFoundError):
        open_video("memory://store/b.mp4")
    fsspec.filesystem("memory").pipe("/store/text.mp4", b"hello" * 100)
    with pytest.raises(VideoError, match="no video container"):
        open_video("memory://store/text.mp4")


def test_unknown_schemes_and_missing_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(VideoNotFoundError, match="no such kind of address"):
        open_video("zz://a/b.mp4")
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(MissingExtraError, match=r"s3:// paths.*deeptrace-video\[remote\]"):
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


@pytest.mark.parametrize(
    "name", ["crop.mkv", "crop.mp4", "animated.webp", "b_frames.avi", "still_first.mkv", "fast.gif"]
)
def test_a_store_gives_what_the_disk_gives(odd_files: tuple[Path, dict[str, Expectation]], name: str) -> None:
    path = odd_files[0] / name
    fsspec.filesystem("memory").pipe(f"/store/{name}", path.read_bytes())
    with open_video(path) as near, open_video(f"memory://store/{name}") as far:
        assert far.media == near.media
        for a, b in zip(near.frames(), far.frames(), strict=True):
            assert a.time_s == b.time_s
            np.testing.assert_array_equal(a.image, b.image)


def test_a_playlist_on_a_server_is_refused_in_the_same_words() -> None:
    fsspec.filesystem("memory").pipe("/store/live.m3u8", b"#EXTM3U\n#EXTINF:1,\npart.ts\n")
    with pytest.raises(NotAVideoError, match="playlist"):
        open_video("memory://store/live.m3u8")
