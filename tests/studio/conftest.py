"""Real studios on loopback, with real worker processes; a real PostgreSQL where its binaries are installed."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.needs import needs, needs_chromium, needs_postgresql
from tests.reports.detection_page.conftest import (
    COUNT,
    FPS,
    HOSTILE_TEXT,
    OFFSET_S,
    ONSET_S,
    moving_square,
    verdict_on,
)

from deeptrace.data import rows_of_sample
from deeptrace.geometry import Box
from deeptrace.schema import Label, Outcome, Sample, Trace, Verdict
from deeptrace.studio import StudioSettings
from deeptrace.video import probe, write_video

OURS = {"X-Deeptrace-Studio": "1"}


def needs_studio() -> Any:
    """SQLAlchemy; skips where the extra is not installed."""
    __tracebackhide__ = True
    return needs("sqlalchemy", "alembic", "fastapi", "httpx", "uvicorn", command="make test")


@dataclass
class Studio:
    """A studio that runs, and how to ask it."""

    url: str
    http: Any
    workshop: Any
    api: Any

    def get(self, path: str, status: int = 200, **options: Any) -> Any:
        return self._said(self.http.get(path, **options), status)

    def post(self, path: str, body: Any = None, status: int = 200, **options: Any) -> Any:
        return self._said(self.http.post(path, json=body, headers=OURS, **options), status)

    def _said(self, response: Any, status: int) -> Any:
        assert response.status_code == status, response.text
        return response.json()

    def settle(self, limit_s: float = 60.0) -> None:
        """Wait until all jobs are done."""
        deadline = time.monotonic() + limit_s
        while {"queued", "running"} & self.workshop.queue.counts().keys():
            assert time.monotonic() < deadline, self.workshop.queue.counts()
            time.sleep(0.03)

    def clip(self, name: str) -> dict[str, Any]:
        found = [clip for clip in self.get("/api/clips")["clips"] if clip["name"] == name]
        assert len(found) == 1, name
        return self.get(f"/api/clips/{found[0]['id']}")


Start = Callable[..., Studio]


@contextmanager
def running(settings: StudioSettings) -> Iterator[Studio]:
    """A studio in a thread, until the block ends."""
    import httpx
    import uvicorn

    from deeptrace.studio.app import StudioApi
    from deeptrace.studio.workshop import Workshop

    api = StudioApi(Workshop(settings))
    server = uvicorn.Server(uvicorn.Config(api.asgi, port=0, log_config=None, lifespan="on"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the studio did not start"
            time.sleep(0.02)
        url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        with httpx.Client(base_url=url, timeout=30, trust_env=False) as http:
            yield Studio(url, http, api.workshop, api)
    finally:
        server.should_exit = True
        thread.join(30)


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Callable[..., Studio]]:
    """Start a studio; keyword arguments are those of `StudioSettings`."""
    needs_studio()
    with ExitStack() as stack:

        def start(**options: Any) -> Studio:
            usual = {"store": tmp_path / "store", "detector": "baseline:center-box"}
            wanted = usual | options
            if wanted.get("database") is None:
                wanted["database"] = usual_database(wanted["store"])
            return stack.enter_context(running(StudioSettings(**wanted)))

        yield start


_MAKE: dict[str, Any] = {}
_MADE: dict[Path, str] = {}


@pytest.fixture(scope="session", autouse=True)
def usual_databases(request: pytest.FixtureRequest) -> None:
    """With STUDIO_DATABASE=postgresql in the environment every studio of the tests keeps its work in PostgreSQL."""
    if os.environ.get("STUDIO_DATABASE") == "postgresql":
        _MAKE["make"] = request.getfixturevalue("postgresql")


def usual_database(store: Path) -> str | None:
    """The database of a studio that no test names one for: None for SQLite in its store."""
    if not _MAKE:
        return None
    if store not in _MADE:
        _MADE[store] = _MAKE["make"](f"u{len(_MADE)}")
    return _MADE[store]


# -- a team ------------------------------------------------------------------------------------------------------------

PASSWORD = "correct horse battery"


def cheap_hasher() -> Any:
    """Argon2 as it is, but quick: a studio proves such hashes by the settings that stand in them."""
    from pwdlib import PasswordHash
    from pwdlib.hashers.argon2 import Argon2Hasher

    return PasswordHash((Argon2Hasher(time_cost=1, memory_cost=64, parallelism=1),))


def team(folder: Path, database: str | None = None, more: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The settings of a studio with somebody of every role, called by it, and `more`."""
    from deeptrace.studio.accounts import Accounts, Role
    from deeptrace.studio.database import Database

    store = folder / "store"
    options: dict[str, Any] = {"store": store, "database": database or usual_database(store), "accounts": True}
    kept = Database(StudioSettings(**options).database_url)
    accounts = Accounts(kept, hasher=cheap_hasher())
    for name, role in ({role.value: role for role in Role} | dict(more or {})).items():
        accounts.add(name, role, PASSWORD, by="test")
    kept.close()
    return options


@contextmanager
def client(one: Studio, name: str) -> Iterator[Any]:
    """Somebody of the team who has logged in."""
    import httpx

    with httpx.Client(base_url=one.url, headers=OURS, timeout=30, trust_env=False) as http:
        said = http.post("/api/session", json={"name": name, "password": PASSWORD})
        assert said.status_code == 200, said.text
        yield http


def write_square(path: Path, *, variable: bool = False, **options: Any) -> Path:
    """The moving square; at a variable rate every third frame is left out."""
    times = np.arange(COUNT) / FPS
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = times[np.arange(COUNT) % 3 != 2] if variable else times
    write_video(path, moving_square(kept), fps=FPS, crf=8, **options)
    return path


def write_run(run: Path, verdicts: list[Verdict]) -> Path:
    """The folder that `deeptrace detect --out` leaves."""
    run.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(verdict.model_dump(mode="json")) + "\n" for verdict in verdicts]
    (run / "verdicts.jsonl").write_text("".join(lines), encoding="utf-8")
    return run


@pytest.fixture(scope="session")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on two clips of the moving square, one at a constant and one at a variable rate."""
    folder = tmp_path_factory.mktemp("squares")
    paths = [write_square(folder / "constant.mp4"), write_square(folder / "variable.mp4", variable=True)]
    return write_run(folder / "run", [verdict_on(path) for path in paths])


# -- a dataset ---------------------------------------------------------------------------------------------------------

NAMES = ("constant", "variable", "spoilt", "real", "lost")


def write_rows(path: Path, samples: list[Sample]) -> Path:
    path.write_text(json.dumps([row for sample in samples for row in rows_of_sample(sample)]), encoding="utf-8")
    return path


def write_verdicts(path: Path, verdicts: list[Verdict]) -> Path:
    path.write_text("".join(verdict.model_dump_json() + "\n" for verdict in verdicts), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def reward_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five videos, three generated; one of them cannot be decoded, and the file of another is not there."""
    root = tmp_path_factory.mktemp("squares") / "RewardData"
    write_square(root / "constant.mp4")
    write_square(root / "variable.mp4", variable=True)
    shutil.copy(root / "constant.mp4", root / "real.mp4")
    (root / "spoilt.mp4").write_bytes(b"no video at all")
    truth = verdict_on(root / "constant.mp4").traces
    media = probe(root / "constant.mp4").model_copy(update={"sampled_times_s": ()})
    fakes = ("constant", "variable", "spoilt")
    samples = [
        Sample(
            video_id=name,
            path=f"{name}.mp4",
            label=Label.FAKE if name in fakes else Label.REAL,
            source={"real": "camera", "lost": "camera", "spoilt": "Pika"}.get(name, "Sora"),
            split="val" if name == "lost" else "test",
            prompt=f"A white {name} square runs",
            media=media,
            traces=truth if name in fakes else (),
        )
        for name in NAMES
    ]
    write_rows(root / "all_data.json", samples)

    def said(name: str, label: Label | None, p_fake: float | None, *, box: Box | None = None) -> Verdict:
        if label is None:
            return Verdict.failed(name, Outcome.PARSE_FAILED, "no answer in it", raw=HOSTILE_TEXT)
        traces = (
            truth if box is None else (Trace(box=box, onset_s=ONSET_S, offset_s=OFFSET_S, explanation=HOSTILE_TEXT),)
        )
        fake = label is Label.FAKE
        return Verdict(video=name, outcome="scored", label=label, p_fake=p_fake, traces=traces if fake else ())

    corner = Box(x0=0.8, y0=0.05, x1=0.95, y1=0.2)
    good = [said(name, Label.FAKE if name in fakes else Label.REAL, 0.9 if name in fakes else 0.1) for name in NAMES]
    write_verdicts(root.parent / "good.jsonl", good)
    bad = [
        said("constant", Label.FAKE, 0.7, box=corner),
        said("variable", Label.REAL, 0.2),
        said("spoilt", None, None),
        said("real", Label.FAKE, 0.95, box=corner),
    ]
    write_verdicts(root.parent / "bad.jsonl", bad)
    return root


def answers_on(root: Path) -> tuple[Path, ...]:
    """Of two models; the second is wrong on most, and says nothing of the last video."""
    return root.parent / "good.jsonl", root.parent / "bad.jsonl"


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Callable[[str], str]]:
    """A real PostgreSQL, started for these tests; gives the URL of a new database by its name."""
    tools = needs_postgresql()
    # Not below pytest's folder, which is closed to the user that PostgreSQL runs as.
    folder = Path(tempfile.mkdtemp(prefix="deeptrace-postgresql-"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    as_user: list[str] = []
    if os.geteuid() == 0:  # it refuses to run as root
        shutil.chown(folder, "postgres", "postgres")
        as_user = ["runuser", "-u", "postgres", "--"]

    def run(tool: str, *arguments: str) -> None:
        subprocess.run([*as_user, str(tools / tool), *arguments], check=True, cwd=folder, stdout=subprocess.DEVNULL)

    data = str(folder / "data")
    run("initdb", "-D", data, "-A", "trust", "-U", "studio", "--no-sync", "-E", "UTF8", "--locale=C")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
    run("pg_ctl", "-D", data, "-o", options, "-l", str(folder / "log"), "-w", "start")
    try:

        def make(name: str) -> str:
            run("createdb", "-h", "127.0.0.1", "-p", str(port), "-U", "studio", name)
            return f"postgresql+psycopg://studio@127.0.0.1:{port}/{name}"

        yield make
    finally:
        run("pg_ctl", "-D", data, "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'studio.sqlite'}"
    name = f"t{abs(hash(request.node.nodeid)):x}"[:40]
    return request.getfixturevalue("postgresql")(name)


# -- a browser --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A Chromium for the tests of one file; longer, and its event loop would be in the way of everybody else's."""
    sync_api = needs("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
        chromium = playwright.chromium.launch(executable_path=needs_chromium(), args=flags)
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Any]]:
    """Open a page of a studio; fail on any message, error, dialog, or request to elsewhere (but for `also`)."""
    contexts, troubles = [], []

    def open_page(
        one: Studio, path: str, *, context: Any = None, allowed: str = "", also: str = "", **options: Any
    ) -> Any:
        if context is None:
            context = browser.new_context(**({"viewport": {"width": 1280, "height": 800}} | options))
            contexts.append(context)
        page = context.new_page()

        def heard(kind: str, text: str) -> None:
            if not allowed or allowed not in text:
                troubles.append(f"{kind}: {text}")

        page.on("console", lambda message: heard(message.type, message.text))
        page.on("pageerror", lambda error: heard("error", str(error)))
        page.on("dialog", lambda dialog: (troubles.append(f"dialog {dialog.message}"), dialog.dismiss()))
        ours = (one.url, "blob:", "data:", *([also] if also else []))
        page.on("request", lambda request: request.url.startswith(ours) or troubles.append(request.url))
        page.goto(one.url + path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert troubles == []


SAVED = "document.querySelector('.saved')?.dataset.state === 'saved'"
INDEX = "Number(document.querySelector('.clock')?.dataset.index ?? -1)"
_STATE = f"""(() => {{
    const video = document.querySelector('video');
    return [{INDEX}, video?.currentTime, video?.seeking, video?.readyState, video?.error?.message];
}})()"""


def quickest(measure: Callable[[], float], limit: float, tries: int = 5) -> float:
    """The least of a few measurements, the first that is below the limit at once: other tests run beside this one."""
    found: list[float] = []
    while len(found) < tries and (not found or found[-1] >= limit):
        found.append(measure())
    return min(found)


def until(page: Any, expression: str, limit_s: float = 30.0) -> None:
    """Wait for a JavaScript expression to hold. (Playwright's own wait uses eval, which the policy forbids.)"""
    deadline = time.monotonic() + limit_s
    while not page.evaluate(expression):
        if time.monotonic() > deadline:
            state = page.evaluate(_STATE)
            pytest.fail(
                f"{expression} did not become true in {limit_s:g} s; frame, time, seeking, ready, error: {state}"
            )
        page.wait_for_timeout(20)


def at_frame(page: Any, index: int) -> None:
    """Wait until the frame with this number is on the screen."""
    until(page, f"{INDEX} === {index} && !document.querySelector('video').seeking")
    page.wait_for_timeout(60)
