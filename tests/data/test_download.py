"""The download against a real HTTP server: cut connections, lies, kills, and split zips."""

from __future__ import annotations

import io
import json
import os
import random
import signal
import stat
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path

import pytest
from tests.data.hub_server import Hub, serve

from deeptrace.data import join_media, read_reward_data
from deeptrace.data.download import Fetcher, JoinedFile, download_release, list_release, unpack
from deeptrace.errors import DataError, ServiceError, SettingsError
from deeptrace.io.run_store import hold_folder

ROWS = [{"video_id": f"f{i}", "video_type": "fake_video", "video_path": f"videos/f{i}.mp4"} for i in range(6)] + [
    {"video_id": f"r{i}", "video_type": "real_video", "video_path": f"real_videos/r{i}.mp4"} for i in range(3)
]


def noise(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


def zip_of(files: dict[str, bytes]) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return sink.getvalue()


VIDEOS = {f"videos/f{i}.mp4": noise(i, 30_000 + i) for i in range(6)}
REALS = {f"r{i}.mp4": noise(100 + i, 20_000) for i in range(3)}


def release() -> dict[str, bytes]:
    joined = zip_of(VIDEOS)
    cut = len(joined) // 4 + 1
    parts = {f"videos.zip.{i + 1:03d}": joined[i * cut : (i + 1) * cut] for i in range(4)}
    return {
        ".gitattributes": b"*.zip filter=lfs",
        "all_data.json": json.dumps(ROWS).encode(),
        "real_videos.zip": zip_of(REALS | {"__MACOSX/._r0.mp4": b"x"}),
        **parts,
    }


@pytest.fixture
def hub() -> Iterator[Hub]:
    found = Hub(release())
    server = serve(found)
    yield found
    server.shutdown()
    server.server_close()


def quick(**settings: object) -> Fetcher:
    return Fetcher(sleep=lambda _: None, timeout_s=10, **settings)  # type: ignore[arg-type]


def test_a_release_is_listed_fetched_checked_and_unpacked(hub: Hub, tmp_path: Path) -> None:
    download_release(tmp_path, base_url=hub.url, fetcher=quick())
    join = join_media(read_reward_data(tmp_path), tmp_path)
    assert len(join.found) == 9
    assert not join.missing
    assert not join.unmatched
    for name, content in VIDEOS.items():
        assert (tmp_path / name).read_bytes() == content
    assert not (tmp_path / ".gitattributes").exists(), "only the release's own files"
    state = json.loads((tmp_path / "download.json").read_text())
    assert state["commit"] == hub.commit
    assert set(state["unpacked"]) == {"videos.zip", "real_videos.zip"}
    assert not list(tmp_path.rglob("*.part"))


def test_a_second_run_fetches_nothing_and_repairs_what_is_damaged(hub: Hub, tmp_path: Path) -> None:
    download_release(tmp_path, base_url=hub.url, fetcher=quick())
    hub.served.clear()
    download_release(tmp_path, base_url=hub.url, fetcher=quick())
    assert hub.served == []
    broken = bytearray((tmp_path / "videos.zip.002").read_bytes())
    broken[100] ^= 1
    (tmp_path / "videos.zip.002").write_bytes(broken)
    download_release(tmp_path, base_url=hub.url, fetcher=quick())
    assert [name for name, _, _ in hub.served] == ["videos.zip.002"]
    assert (tmp_path / "videos.zip.002").read_bytes() == hub.files["videos.zip.002"]


def test_archives_can_be_dropped_and_stay_dropped(hub: Hub, tmp_path: Path) -> None:
    download_release(tmp_path, base_url=hub.url, fetcher=quick(), keep_archives=False)
    assert not list(tmp_path.glob("*.zip*"))
    hub.served.clear()
    download_release(tmp_path, base_url=hub.url, fetcher=quick(), keep_archives=False)
    assert hub.served == []
    assert len(list((tmp_path / "videos").iterdir())) == 6


def test_cut_connections_are_resumed_where_they_broke(hub: Hub, tmp_path: Path) -> None:
    hub.cut_after = {"videos.zip.001": [10_000, 0, 0, 5_000, 1], "all_data.json": [3]}
    download_release(tmp_path, base_url=hub.url, fetcher=quick())
    firsts = [first for name, first, _ in hub.served if name == "videos.zip.001"]
    assert firsts == [0, 10_000, 10_000, 10_000, 15_000, 15_001]
    assert (tmp_path / "videos.zip.001").read_bytes() == hub.files["videos.zip.001"]


def test_it_gives_up_after_so_many_failures_in_a_row_and_keeps_the_part(hub: Hub, tmp_path: Path) -> None:
    hub.cut_after = {"videos.zip.001": [2_000, 0, 0, 0]}
    pauses: list[float] = []
    fetcher = Fetcher(attempts=3, sleep=pauses.append, backoff_s=1.0, timeout_s=10)
    with pytest.raises(ServiceError, match="broke again and again"):
        download_release(tmp_path, base_url=hub.url, fetcher=fetcher)
    assert (tmp_path / "videos.zip.001.part").stat().st_size == 2_000
    after_bytes, *after_failures = pauses
    assert after_bytes == 1.0, "where bytes came, the count of failures and the pauses begin anew"
    assert len(after_failures) == 2
    assert 0.75 <= after_failures[0] <= 1.25 < 1.5 <= after_failures[1] <= 2.5


@pytest.mark.parametrize("status", [429, 500, 503])
def test_busy_servers_are_asked_again_and_refusals_are_not(hub: Hub, tmp_path: Path, status: int) -> None:
    hub.statuses = [status, status]
    commit, files = list_release(base_url=hub.url, fetcher=quick())
    assert commit == hub.commit
    assert {file.path for file in files} == set(hub.files), "all pages of the listing"
    hub.statuses = [403]
    with pytest.raises(ServiceError, match=r"403.*login"):
        list_release(base_url=hub.url, fetcher=quick())
    assert hub.statuses == []


def test_wrong_content_is_never_put_in_place(hub: Hub, tmp_path: Path) -> None:
    lie = bytearray(hub.files["real_videos.zip"])
    lie[50] ^= 1
    hub.lies = {"real_videos.zip": bytes(lie)}
    with pytest.raises(ServiceError, match=r"fetched twice and is wrong: its sha256"):
        download_release(tmp_path, base_url=hub.url, fetcher=quick())
    assert not (tmp_path / "real_videos.zip").exists()
    hub.lies = {"all_data.json": b"[]" + b" " * (len(hub.files["all_data.json"]) - 2)}
    with pytest.raises(ServiceError, match="git-sha1"):
        download_release(tmp_path / "other", base_url=hub.url, fetcher=quick())


def test_a_stale_part_of_another_version_is_fetched_afresh(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "real_videos.zip.part").write_bytes(b"something else entirely")
    (tmp_path / "all_data.json.part").write_bytes(b"x" * (len(hub.files["all_data.json"]) + 5))
    download_release(tmp_path, base_url=hub.url, fetcher=quick())
    assert (tmp_path / "real_videos.zip").read_bytes() == hub.files["real_videos.zip"]
    assert (tmp_path / "all_data.json").read_bytes() == hub.files["all_data.json"]


def test_a_server_without_ranges_works_too(hub: Hub, tmp_path: Path) -> None:
    hub.ignore_ranges = True
    hub.cut_after = {"videos.zip.003": [1_000]}
    download_release(tmp_path, base_url=hub.url, fetcher=quick())
    assert (tmp_path / "videos.zip.003").read_bytes() == hub.files["videos.zip.003"]


def test_a_killed_download_goes_on_from_its_last_byte(hub: Hub, tmp_path: Path) -> None:
    hub.bytes_per_s = 60_000
    code = f"from deeptrace.data.download import download_release as d; d({str(tmp_path)!r}, base_url={hub.url!r})"
    process = subprocess.Popen([sys.executable, "-c", code])
    part = tmp_path / "real_videos.zip.part"
    deadline = time.monotonic() + 60
    while not (part.exists() and part.stat().st_size > 8_000) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    have = part.stat().st_size
    assert 0 < have < len(hub.files["real_videos.zip"])
    hub.bytes_per_s = None
    time.sleep(0.1)
    hub.served.clear()
    download_release(tmp_path, base_url=hub.url, fetcher=quick())
    assert next(first for name, first, _ in hub.served if name == "real_videos.zip") == have
    assert len(list((tmp_path / "real_videos").iterdir())) == 3


def test_a_download_goes_on_with_the_commit_it_began(hub: Hub, tmp_path: Path) -> None:
    hub.cut_after = {"videos.zip.001": [10, 0, 0]}
    with pytest.raises(ServiceError):
        download_release(tmp_path, base_url=hub.url, fetcher=quick(attempts=2))
    hub.cut_after = {}
    hub.moved_to = "f" * 40
    download_release(tmp_path, base_url=hub.url, fetcher=quick())
    assert json.loads((tmp_path / "download.json").read_text())["commit"] == hub.commit
    assert len(list((tmp_path / "videos").iterdir())) == 6


def test_another_dataset_or_address_is_refused(hub: Hub, tmp_path: Path) -> None:
    download_release(tmp_path, base_url=hub.url, fetcher=quick(), unpacked=False)
    with pytest.raises(DataError, match="another dataset"):
        download_release(tmp_path, dataset="someone/else", base_url=hub.url, fetcher=quick())
    with pytest.raises(SettingsError, match="base URL"):
        download_release(tmp_path, base_url="ftp://x", fetcher=quick())
    with hold_folder(tmp_path), pytest.raises(SettingsError, match="another run is writing"):
        download_release(tmp_path, base_url=hub.url, fetcher=quick())


def test_a_missing_part_is_named(hub: Hub, tmp_path: Path) -> None:
    del hub.files["videos.zip.003"]
    with pytest.raises(DataError, match="part 003 is missing"):
        download_release(tmp_path, base_url=hub.url, fetcher=quick())


def test_joined_parts_read_like_one_file(tmp_path: Path) -> None:
    content = noise(1, 10_000)
    cuts = [0, 1, 17, 4_000, 4_000, 10_000]
    paths = []
    for i, (a, b) in enumerate(pairwise(cuts)):
        paths.append(tmp_path / f"p{i}")
        paths[-1].write_bytes(content[a:b])
    rng = random.Random(0)
    with JoinedFile(paths) as raw, io.BufferedReader(raw, 64) as joined:
        assert joined.read() == content
        for _ in range(200):
            at, length = rng.randrange(10_000), rng.randrange(300)
            joined.seek(at)
            assert joined.read(length) == content[at : at + length]


@pytest.mark.parametrize("name", ["../evil.mp4", "/evil.mp4", "a/../../evil.mp4", "C:/evil.mp4", "..\\evil.mp4"])
def test_names_that_lead_out_are_refused_before_anything_is_written(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(zip_of({"good.mp4": b"x", name: b"y"}))
    with pytest.raises(DataError, match="leads out of the folder"):
        unpack([path], tmp_path / "out")
    assert not any((tmp_path / "out").glob("**/*.mp4"))


def test_links_bombs_and_damage_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    link = zipfile.ZipInfo("link.mp4")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(DataError, match="holds a link"):
        unpack([path], tmp_path / "out")
    good = zip_of({"a.mp4": noise(2, 5_000)})
    path.write_bytes(good[:60] + bytes([good[60] ^ 255]) + good[61:])
    with pytest.raises(DataError, match=r"damaged|cannot be unpacked"):
        unpack([path], tmp_path / "out")
    assert not list((tmp_path / "out").glob("*"))
    path.write_bytes(good[:-30])
    with pytest.raises(DataError, match="damaged or not a whole zip"):
        unpack([path], tmp_path / "out")
    claim = bytearray(zip_of({"a.mp4": b"\0" * 3_000_000}))
    at = claim.rindex(b"PK\x01\x02")
    claim[at + 24 : at + 28] = (2**31).to_bytes(4, "little")
    path.write_bytes(claim)
    with pytest.raises(DataError, match="would unpack"):
        unpack([path], tmp_path / "out")


def test_a_list_of_files_that_goes_round_in_a_circle_ends() -> None:
    class Circle(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b'{"sha": "abc"}' if "/revision/" in self.path else b"[]"
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Link", f'<{self.path}>; rel="next"')
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Circle) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(ServiceError, match="circle"):
            list_release("a/b", base_url=f"http://127.0.0.1:{server.server_address[1]}")
        server.shutdown()
