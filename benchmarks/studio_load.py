"""`deeptrace studio` on loopback under the load of a team: 50 people who look and 10 who annotate, for a minute.

    python benchmarks/studio_load.py [--viewers 50] [--annotators 10] [--seconds 60] [--database URL]

A studio with accounts on 16 clips of two seconds, a process of its own; this process plays the people, each with a
session. First everybody opens the list at one moment, four times over. Then those who look ask for one thing after
another (a page, a list, a clip, its times, its picture, a part of its media) and pause between (`--pause`; 0 for as
fast as it goes). Those who annotate send an edit, wait until it is confirmed, and pause for 0.2 s; one edit in ten is
sent again, as if its answer had been lost, and has to count once.

At the end the studio is killed (SIGKILL) while all that goes on, and started again. Then every edit that was confirmed
is looked up in the history, and what stands is compared with the last of them. What is missing, differs or is there
twice is *lost*. What came of the media is compared with the file; each answer that is no success is an *error*.

With `--database` the same once more on that PostgreSQL, which has to be empty.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from deeptrace.studio import StudioSettings
from deeptrace.studio.accounts import Accounts, Role
from deeptrace.studio.database import Database
from serve_load import make_clips, percentile

OURS = {"X-Deeptrace-Studio": "1"}
PASSWORD = "a password for benchmarks"
PART = 64 << 10
EDIT_PAUSE_S = 0.2
PAGES = ("/", "/explore", "/static/app.js", "/static/app.css", "/static/vendor/htm-preact.js")
LISTS = ("/api/clips?limit=100", "/api/clips?q=clip-0&sort=name&order=up", "/api/clips?decision=generated")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--viewers", type=int, default=50)
    parser.add_argument("--annotators", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--pause", type=float, default=1.0, help="of a viewer, between what they ask for")
    parser.add_argument("--database", help="postgresql+psycopg://USER@HOST/NAME, empty")
    asked = parser.parse_args()
    people = f"{asked.viewers} viewers, {asked.annotators} annotators, {asked.seconds:g} s, pause {asked.pause:g} s"
    print(f"{people}; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    well = True
    with tempfile.TemporaryDirectory() as name:
        make_clips(Path(name))
        for database in dict.fromkeys((None, asked.database)):
            measured = Load(Path(name), database, asked)
            measured.run()
            measured.show()
            well = well and not measured.lost and not measured.errors
    return 0 if well else 1


@dataclass
class Load:
    """One run on one database.

    Attributes:
        times: by what was asked for, the seconds that each answer took.
        errors: by what was asked for and what came instead, how often.
        confirmed: by annotator and clip, the edits that the studio said it has, in order.
        lost: of those, in words.
    """

    place: Path
    database: str | None
    asked: argparse.Namespace
    times: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: Counter[tuple[str, str]] = field(default_factory=Counter)
    confirmed: dict[tuple[str, int], list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    lost: list[str] = field(default_factory=list)
    took_s: float = 0.0

    def run(self) -> None:
        """Start, play the people, kill, start again and look."""
        store = self.place / ("sqlite" if self.database is None else "postgresql")
        annotators = [f"annotator-{number}" for number in range(self.asked.annotators)]
        add_people(StudioSettings(store=store, database=self.database), annotators)
        with serving(self.place, store, self.database) as (process, url):
            asyncio.run(self._play(url, annotators, process))
        with serving(self.place, store, self.database) as (_, url):
            self._look(url)

    async def _play(self, url: str, annotators: list[str], process: subprocess.Popen[str]) -> None:
        ended = asyncio.Event()
        names = ["viewer"] * self.asked.viewers + annotators
        sessions = [httpx.AsyncClient(base_url=url, headers=OURS, trust_env=False, timeout=60) for _ in names]
        for name, http in zip(names, sessions, strict=True):
            (await http.post("/api/session", json={"name": name, "password": PASSWORD})).raise_for_status()
        clips = {clip["id"]: self.place / clip["name"] for clip in (await sessions[0].get(LISTS[0])).json()["clips"]}
        while (await sessions[0].get("/api/studio")).json()["jobs"].keys() - {"done"}:
            await asyncio.sleep(0.2)
        work = [
            self._view(http, clips, random.Random(at), ended)
            if name == "viewer"
            else self._annotate(http, name, sorted(clips), ended)
            for at, (name, http) in enumerate(zip(names, sessions, strict=True))
        ]
        lists = [self._timed("list, all at once", ended, lambda http=http: http.get(LISTS[0])) for http in sessions * 4]
        await asyncio.gather(*lists)
        began = time.perf_counter()
        tasks = [asyncio.create_task(one) for one in work]
        await asyncio.sleep(self.asked.seconds)
        self.took_s = time.perf_counter() - began
        ended.set()
        process.kill()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, BaseException) and not isinstance(result, httpx.TransportError):
                raise result
        for http in sessions:
            await http.aclose()

    async def _timed(self, kind: str, ended: asyncio.Event, ask: Callable[[], Awaitable[httpx.Response]]) -> Any:
        """The answer; None where it is none, which is an error unless the studio was killed meanwhile."""
        began = time.perf_counter()
        try:
            answer = await ask()
        except httpx.HTTPError as error:
            if not ended.is_set():
                self.errors[kind, type(error).__name__] += 1
            return None
        if ended.is_set():
            return answer if answer.is_success else None
        self.times[kind].append(time.perf_counter() - began)
        if not answer.is_success:
            self.errors[kind, str(answer.status_code)] += 1
            return None
        return answer

    async def _view(
        self, http: httpx.AsyncClient, clips: dict[int, Path], rng: random.Random, ended: asyncio.Event
    ) -> None:
        """Somebody who looks at one thing after another."""
        while not ended.is_set():
            clip = rng.choice(sorted(clips))
            for kind, path in (
                ("page", rng.choice(PAGES)),
                ("studio", "/api/studio"),
                ("list", rng.choice(LISTS)),
                ("clip", f"/api/clips/{clip}"),
                ("times", f"/api/clips/{clip}/times"),
                ("picture", f"/api/clips/{clip}/poster.jpg"),
                ("media", f"/api/clips/{clip}/media"),
            ):
                await asyncio.sleep(self.asked.pause * rng.uniform(0.5, 1.5))
                if ended.is_set():
                    return
                first = rng.randrange(clips[clip].stat().st_size) if kind == "media" else 0
                part = {"Range": f"bytes={first}-{first + PART - 1}"} if kind == "media" else {}
                answer = await self._timed(kind, ended, lambda path=path, part=part: http.get(path, headers=part))
                if kind == "media" and answer is not None:
                    there = clips[clip].read_bytes()[first : first + PART]
                    self.errors["media", "other bytes"] += (answer.status_code, answer.content) != (206, there)

    async def _annotate(self, http: httpx.AsyncClient, name: str, clips: list[int], ended: asyncio.Event) -> None:
        """Somebody who marks one trace after another, each confirmed before the next."""
        versions: dict[int, int] = {}
        rng = random.Random(name)
        for number in range(1_000_000):
            if ended.is_set():
                return
            clip = clips[number // 20 % len(clips)]
            trace = {"type": "trace", "onset_s": 0.5, "offset_s": 1.0 + rng.random(), "explanation": f"{name} {number}"}
            edit = {"id": f"{name}-{number}", "object": f"trace-{number % 5}", "after": trace}
            body = {"version": versions.get(clip, 0), "edits": [edit]}
            path = f"/api/clips/{clip}/annotation/edits"
            for _ in range(1 + (number % 10 == 0)):  # once more, as if the answer had not come
                answer = await self._timed("edit", ended, lambda path=path, body=body: http.post(path, json=body))
            if answer is not None:
                versions[clip] = answer.json()["version"]
                self.confirmed[name, clip].append(edit)
            await asyncio.sleep(EDIT_PAUSE_S)

    def _look(self, url: str) -> None:
        """Read every confirmed edit back, each as the person who made it."""
        for name in sorted({name for name, _ in self.confirmed}):
            with httpx.Client(base_url=url, headers=OURS, trust_env=False, timeout=60) as http:
                http.post("/api/session", json={"name": name, "password": PASSWORD}).raise_for_status()
                for clip, made in [(clip, made) for (by, clip), made in self.confirmed.items() if by == name]:
                    history = http.get(f"/api/clips/{clip}/annotation/edits").json()
                    kept = Counter(edit["client_id"] for edit in history)
                    after = {edit["client_id"]: edit["after"] for edit in history}
                    for edit in made:
                        if kept[edit["id"]] != 1 or not same(edit["after"], after.get(edit["id"])):
                            self.lost.append(f"{edit['id']} on clip {clip}: there {kept[edit['id']]} times")
                    stands = http.get(f"/api/clips/{clip}/annotation").json()["objects"]
                    last = {edit["object_id"]: edit["after"] for edit in history}
                    if last != stands:
                        self.lost.append(f"{name}: clip {clip} is not the sum of its history")

    def show(self) -> None:
        """Print the table."""
        edits = sum(map(len, self.confirmed.values()))
        print(f"\n{'SQLite' if self.database is None else 'PostgreSQL'}")
        print(f"{'':18}{'requests':>9}{'per s':>8}{'p50 ms':>9}{'p99 ms':>9}{'worst ms':>10}{'errors':>8}")
        for kind, found in self.times.items():
            times = sorted(found)
            wrong = sum(count for (of, _), count in self.errors.items() if of == kind)
            ends = f"{percentile(times, 0.5):9.1f}{percentile(times, 0.99):9.1f}{1000 * times[-1]:10.1f}{wrong:8}"
            print(f"{kind:18}{len(times):9}{len(times) / self.took_s:8.1f}{ends}")
        everything = sum(map(len, self.times.values()))
        print(f"{'all':18}{everything:9}{everything / self.took_s:8.1f}{'':28}{self.errors.total():8}")
        for (kind, what), count in self.errors.items():
            if count:
                print(f"  {kind}: {what}, {count} times")
        print(f"killed; of {edits} confirmed edits lost: {len(self.lost)}")
        for line in self.lost[:10]:
            print(f"  {line}")


def same(sent: dict[str, Any], kept: dict[str, Any] | None) -> bool:
    """Whether what was kept is what was sent; what was not stated has its default."""
    return kept is not None and sent.items() <= kept.items()


def add_people(settings: StudioSettings, annotators: list[str]) -> None:
    """Accounts of everybody."""
    database = Database(settings.database_url)
    accounts = Accounts(database)
    for name, role in {"admin": Role.ADMIN, "viewer": Role.VIEWER, **dict.fromkeys(annotators, Role.ANNOTATOR)}.items():
        accounts.add(name, role, PASSWORD, by="the benchmark")
    database.close()


@contextmanager
def serving(place: Path, store: Path, database: str | None) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A studio in a process of its own."""
    words = [sys.executable, "-m", "deeptrace.cli.main", "studio", str(place), "--port", "0", "--store", str(store)]
    words += ["--detector", "baseline:center-box", "--workers", "1"]
    process = subprocess.Popen(
        words + (["--database", database] if database else []), stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    url = next(found[1] for line in process.stderr if (found := re.search(r" at (http\S+)", line)))
    said: list[str] = []
    threading.Thread(target=lambda: said.extend(process.stderr or ()), daemon=True).start()
    try:
        yield process, url
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        if said:
            print("".join(said[-12:]), file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
