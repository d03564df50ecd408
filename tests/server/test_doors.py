"""Keys, hosts, the folder and the stop: what keeps the server and those around it safe."""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import httpx
import pytest
from tests.server.conftest import Running, near, running, soon

from deeptrace.errors import SettingsError
from deeptrace.server import Limits, ServeSettings
from deeptrace.server.auth import KeyRing, read_keys
from deeptrace.server.run import serve
from deeptrace.server.scratch import Scratch
from deeptrace.server.url_fetch import _acceptable
from deeptrace.urls import public_url

Make = Callable[[int], bytes]
KEY, OTHER = "correct-horse-battery", "another-key-of-this-server"


# -- keys -------------------------------------------------------------------------------------------------------------


def test_a_key_is_needed_and_is_nowhere_to_be_read(
    tmp_path, clip_bytes: Make, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    basic = base64.b64encode(f"trainer:{KEY}".encode()).decode()
    with running(tmp_path, keys=(KEY, OTHER)) as server:
        ask = lambda **headers: server.http.post("/v1/score", content="{", headers=headers)  # noqa: E731
        for headers in (
            {},
            {"X-API-Key": KEY[:-1]},
            {"Authorization": "Bearer nonsense"},
            {"Authorization": "Basic !"},
        ):
            reply = ask(**headers)
            assert (reply.status_code, reply.json()["code"]) == (401, "no_key")
            assert "Bearer" in reply.headers["www-authenticate"]
        for headers in (
            {"X-API-Key": KEY},
            {"Authorization": f"Bearer {OTHER}"},
            {"Authorization": f"Basic {basic}"},
        ):
            assert ask(**headers).status_code == 422
        assert server.http.get("/metrics").status_code == 401
        assert server.http.get("/openapi.json").status_code == 401
        assert server.http.get("/health/ready").status_code == 200
        said = server.http.get("/metrics", headers={"X-API-Key": KEY}).text + repr(server.api.settings) + caplog.text
        said += server.http.get("/health").text
    assert KEY not in said
    assert OTHER not in said


def test_keys_come_from_a_file_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# ours\n{KEY}  # trainer 1\n\n{OTHER}\n{KEY}\n")
    assert read_keys(file) == (KEY, OTHER)
    monkeypatch.setenv("DEEPTRACE_SERVE_KEYS", f"{KEY}, {OTHER}")
    assert read_keys(None) == (KEY, OTHER)
    assert "DEEPTRACE_SERVE_KEYS" not in os.environ, "workers must not inherit it"
    assert read_keys(None) == ()
    file.write_text("short\n")
    with pytest.raises(SettingsError, match="at least 16"):
        read_keys(file)
    file.write_text("# none\n")
    with pytest.raises(SettingsError, match="has no key"):
        read_keys(file)
    assert KeyRing([]).admits("", "")
    assert not KeyRing([KEY]).admits("", "")


def test_it_does_not_open_itself_to_all_by_mistake() -> None:
    with pytest.raises(SettingsError, match=r"there are no keys\. Give --api-keys FILE"):
        serve(ServeSettings(), host="0.0.0.0")


# -- URLs -------------------------------------------------------------------------------------------------------------


class _Site(BaseHTTPRequestHandler):
    files: ClassVar[dict[str, bytes]] = {}

    def do_GET(self) -> None:
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/to/"))
            self.end_headers()
        elif self.path == "/endless":
            self.send_response(200)
            self.end_headers()
            try:
                while True:
                    self.wfile.write(bytes(65536))
            except OSError:
                return
        elif (body := self.files.get(self.path)) is None:
            self.send_error(404)
        else:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def sites(clip_bytes: Make) -> Iterator[tuple[str, str]]:
    """Two web servers on loopback, of which only the first one is on the list."""
    _Site.files = {"/a.mp4": clip_bytes(60)}
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), _Site) for _ in range(2)]
    for site in servers:
        threading.Thread(target=site.serve_forever, daemon=True).start()
    yield tuple(f"127.0.0.1:{site.server_address[1]}" for site in servers)  # type: ignore[misc]
    for site in servers:
        site.shutdown()
        site.server_close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, sites: tuple[str, str]) -> Iterator[Running]:
    port = sites[0].rpartition(":")[2]
    hosts = (sites[0], f"localhost:{port}", "*.example.invalid")
    with running(
        tmp_path_factory.mktemp("urls"), hosts=hosts, private_addresses=True, limits=Limits(clip_bytes=500_000)
    ) as found:
        yield found


def test_listed_hosts_are_fetched_from_and_others_are_not(server: Running, sites: tuple[str, str]) -> None:
    listed, other = sites
    port = listed.rpartition(":")[2]
    urls = {
        f"http://{listed}/a.mp4": "scored",
        f"http://localhost:{port}/a.mp4": "scored",
        f"http://{listed}/to/http://{listed}/a.mp4": "scored",
        f"http://{listed}/to//a.mp4": "scored",
        f"http://{other}/a.mp4": "not_allowed",
        "http://127.0.0.1/a.mp4": "not_allowed",
        f"http://{listed}@{other}/a.mp4": "not_allowed",
        f"http://user:word@{listed}/a.mp4": "not_allowed",
        f"http://{listed}/to/http://{other}/a.mp4": "not_allowed",
        f"http://{listed}/to/file:///etc/passwd": "not_allowed",
        f"ftp://{listed}/a.mp4": "not_allowed",
        "file:///etc/passwd": "not_allowed",
        "http://[::1/": "not_allowed",
        "http://nowhere.example.invalid/a.mp4": "not_found",
        f"http://{listed}/none.mp4": "not_found",
        f"http://{listed}/to//to//to//to//a.mp4": "not_found",
        f"http://{listed}/endless": "too_large",
    }
    found = server.score(*({"url": url} for url in urls))
    told = [(clip["video"], clip["reason"] or clip["outcome"]) for clip in found]
    assert told == [(public_url(url), outcome) for url, outcome in urls.items()]
    assert not any("word" in clip["video"] for clip in found)
    assert all(clip["reward"] == near(60) for clip in found if clip["outcome"] == "scored")


def test_addresses_of_the_local_network_need_a_word(tmp_path, sites: tuple[str, str]) -> None:
    with running(tmp_path, hosts=(sites[0],)) as server:
        (clip,) = server.score({"url": f"http://{sites[0]}/a.mp4"})
    assert clip["reason"] == "not_allowed"
    assert clip["error"] == "127.0.0.1 has the address 127.0.0.1, which is not public"


@pytest.mark.parametrize(
    ("address", "public", "with_a_word"),
    [
        ("93.184.216.34", True, True),
        ("2606:2800:220:1::1", True, True),
        ("10.0.0.1", False, True),
        ("127.0.0.1", False, True),
        ("::1", False, True),
        ("fd00::1", False, True),
        ("::ffff:10.0.0.1", False, True),
        ("::ffff:169.254.169.254", False, False),
        ("169.254.169.254", False, False),
        ("fe80::1%eth0", False, False),
        ("0.0.0.0", False, False),
        ("::", False, False),
        ("224.0.0.1", False, False),
        ("255.255.255.255", False, False),
        ("64:ff9b::a00:1", False, False),
        ("2002:a00:1::", False, False),
    ],
)
def test_which_addresses_are_acceptable(address: str, public: bool, with_a_word: bool) -> None:
    assert _acceptable(address, private=False) is public
    assert _acceptable(address, private=True) is with_a_word


# -- the folder -------------------------------------------------------------------------------------------------------


def test_folders_of_dead_servers_are_swept_and_those_of_living_ones_are_not(tmp_path: Path) -> None:
    alive = Scratch(str(tmp_path))
    alive.open()
    dead = tmp_path / "deeptrace-serve-dead"
    dead.mkdir()
    (dead / ".lock").touch()
    (dead / "0.clip").write_bytes(b"x")
    foreign = tmp_path / "deeptrace-serve-foreign"
    foreign.mkdir()
    second = Scratch(str(tmp_path))
    second.open()
    assert not dead.exists()
    assert foreign.exists(), "no lock: not made by a server"
    assert alive.path.exists()
    with second.folder() as folder:
        (folder / "a").touch()
    assert not folder.exists()
    for scratch in (alive, second):
        scratch.close()
        assert not scratch.path.exists()


# -- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def command(tmp_path: Path) -> Iterator[Callable[..., tuple[subprocess.Popen[str], str]]]:
    """Starts `deeptrace serve` and waits until it says where."""
    started: list[subprocess.Popen[str]] = []

    def start(*options: str) -> tuple[subprocess.Popen[str], str]:
        (tmp_path / "scratch").mkdir(exist_ok=True)
        words = [sys.executable, "-m", "deeptrace.cli.main", "serve", "--port", "0", "--detector", "served:"]
        words += ["--scratch", str(tmp_path / "scratch"), *options]
        process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
        started.append(process)
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("serving "):
                return process, line.split(" at ")[1].split(" ")[0]
        raise AssertionError(f"it did not start: exit code {process.wait()}")

    yield start
    for process in started:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


def test_told_to_stop_it_finishes_what_it_began(command, clip_bytes: Make, tmp_path: Path) -> None:
    process, url = command("--workers", "1")
    answers: list[httpx.Response] = []

    def ask() -> None:
        clips = [("files", (f"slow-{index}.mp4", clip_bytes(60))) for index in range(3)]
        answers.append(httpx.post(f"{url}/v1/score/upload", files=clips, timeout=60, trust_env=False))

    asking = threading.Thread(target=ask)
    asking.start()
    assert soon(lambda: httpx.get(f"{url}/metrics", trust_env=False).text.find("workers_busy 1.0") > 0)
    process.send_signal(signal.SIGTERM)
    assert soon(lambda: httpx.get(f"{url}/health/ready", trust_env=False).status_code == 503)
    declined = httpx.post(f"{url}/v1/score", content="{}", trust_env=False)
    assert (declined.status_code, declined.json()["code"]) == (503, "draining")
    assert int(declined.headers["retry-after"]) >= 1
    assert httpx.get(f"{url}/health/live", trust_env=False).status_code == 200
    asking.join(60)
    assert [clip["reward"] for clip in answers[0].json()["results"]] == [near(60)] * 3
    assert process.wait(20) == 0
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_drain_has_an_end(command, clip_bytes: Make) -> None:
    process, url = command("--drain", "0.5", "--clip-timeout", "60")

    def ask() -> None:
        clip = {"files": ("never ends.mp4", clip_bytes(60))}
        with pytest.raises(httpx.HTTPError):
            httpx.post(f"{url}/v1/score/upload", files=clip, timeout=60, trust_env=False).raise_for_status()

    asking = threading.Thread(target=ask)
    asking.start()
    assert soon(lambda: httpx.get(f"{url}/metrics", trust_env=False).text.find("workers_busy 1.0") > 0)
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    process.wait(20)
    assert time.monotonic() - began < 15
    asking.join(20)


def test_workers_do_not_outlive_a_killed_server(command, clip_bytes: Make, tmp_path: Path) -> None:
    process, url = command("--clip-timeout", "60")
    children = Path(f"/proc/{process.pid}/task")
    pids = [int(pid) for task in children.iterdir() for pid in (task / "children").read_text().split()]
    assert pids
    process.kill()
    process.wait()
    assert soon(lambda: not any(_is_alive(pid) for pid in pids))
    _, url = command()
    assert len(list((tmp_path / "scratch").iterdir())) == 1, "what the killed one left is swept"
    assert httpx.get(f"{url}/health/ready", trust_env=False).status_code == 200


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_a_detector_that_cannot_be_loaded_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="does not take these settings"):
        serve(ServeSettings(detector="served:", detector_settings={"mood": 1}, scratch_dir=str(tmp_path)), port=0)
    with pytest.raises(SettingsError, match="cannot be listened at"):
        serve(ServeSettings(detector="served:", scratch_dir=str(tmp_path)), host="192.0.2.1", port=1, open_to_all=True)
    assert list(tmp_path.iterdir()) == []
