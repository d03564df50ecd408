"""Accounts: who gets in, who may ask what, and what is written down of it."""

from __future__ import annotations

import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.needs import needs_chromium
from tests.studio.conftest import (
    OURS,
    PASSWORD,
    SAVED,
    Start,
    Studio,
    cheap_hasher,
    client,
    needs_studio,
    team,
    until,
    write_rows,
)

sa = needs_studio()

from deeptrace.errors import DeeptraceError, SettingsError  # noqa: E402
from deeptrace.geometry import Box  # noqa: E402
from deeptrace.schema import Label, Media, Sample, Trace  # noqa: E402
from deeptrace.studio import StudioSettings  # noqa: E402
from deeptrace.studio.accounts import (  # noqa: E402
    IDLE_S,
    LONGEST_S,
    AccountError,
    Accounts,
    NotAdmittedError,
    Role,
)
from deeptrace.studio.database import Database, annotated, clips, guesses, now, people, requests, sessions  # noqa: E402
from deeptrace.studio.permissions import ROUTES  # noqa: E402
from deeptrace.studio.rates import Rates  # noqa: E402
from deeptrace.studio.run import run_studio  # noqa: E402

HERE = "127.0.0.1"


class Clock:
    def __init__(self) -> None:
        self.now = now()

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    found = Database(database_url)
    yield found
    found.close()


# -- the table of roles ------------------------------------------------------------------------------------------------


def routes_of(router: Any) -> Iterator[tuple[str, str]]:
    """Every method and path that an application answers, included routers and mounts among them."""
    for route in router.routes:
        if (inner := getattr(route, "original_router", None)) is not None:
            yield from routes_of(inner)
        elif hasattr(route, "methods"):
            yield from ((method, route.path) for method in route.methods - {"HEAD"})
        else:
            yield "GET", f"{route.path}/{{path:path}}"


def test_every_route_asks_for_the_role_that_the_table_says(studio: Start, tmp_path: Path) -> None:
    one = studio(**team(tmp_path))
    found = [f"{method} {path}" for method, path in routes_of(one.api.app)]
    assert len(found) > 40
    assert sorted(found) == sorted(ROUTES)
    examples = {"name": "poster", "task": "detect", "path:path": "app.css"}
    wrong = []
    with httpx.Client(base_url=one.url, headers=OURS, trust_env=False, timeout=30) as http:
        for route in found:
            method, path = route.split(" ")
            address = re.sub(r"\{([^}]+)\}", lambda match: examples.get(match[1], "77"), path)
            least = ROUTES[route].least
            for role in (None, *Role):
                # A session for each call: to log out is one of them.
                cookie = {} if role is None else {"Cookie": f"deeptrace-studio={session_of(one, role.value)}"}
                said = http.request(method, address, headers=cookie).status_code
                http.cookies.clear()
                open_to = least is None or (role is not None and role.includes(least))
                expected = said not in (401, 403) if open_to else said == (401 if role is None else 403)
                if not expected:
                    wrong.append((route, role, said))
        assert wrong == []
        # a route that somebody adds and forgets in the table is closed, even to admins
        one.api.app.get("/api/forgotten")(lambda: {"secret": 1})
        admin = {"Cookie": f"deeptrace-studio={session_of(one, 'admin')}"}
        assert http.get("/api/forgotten", headers=admin).status_code == 404
        assert http.get("/api/studio", headers=admin).status_code == 200


def session_of(one: Studio, name: str) -> str:
    """A session of somebody without a log-in, which takes its time."""
    accounts = one.api.accounts
    with one.workshop.database.writing() as connection:
        row = connection.execute(sa.select(people.c.id).where(people.c.name == name)).one()
        return str(accounts.begin_session(connection, row.id))


# -- how often ---------------------------------------------------------------------------------------------------------


def test_servers_of_one_studio_count_requests_together(database: Database) -> None:
    clock = Clock()
    clock.now = 60.0 * 1000 + 10
    two = [Rates(database, 100, clock=clock) for _ in range(2)]
    allowed = sum(two[number % 2].wait_s("account 1") == 0 for number in range(400))
    assert 100 <= allowed <= 150, "each may be behind by what it has not said yet"
    assert 45 <= two[0].wait_s("account 1") <= 51
    assert two[0].wait_s("account 2") == two[1].wait_s("address 10.0.0.1") == 0
    assert two[0].wait_s("account 1", file=True) == 0, "pictures have a count of their own"
    assert sum(two[0].wait_s("account 1", file=True) == 0 for _ in range(700)) <= 500
    assert Rates(database, 0).wait_s("account 1") == 0
    clock.now += 60
    assert two[0].wait_s("account 1") == two[1].wait_s("account 1") == 0
    for _ in range(60):
        two[0].wait_s("account 1")
    clock.now += 120
    for _ in range(60):
        two[0].wait_s("account 1")
    with database.reading() as connection:  # what is over is cleared away
        assert {row.window for row in connection.execute(sa.select(requests))} == {1003}


def test_who_asks_too_often_is_told_when_to_come_again(studio: Start, tmp_path: Path) -> None:
    one = studio(**team(tmp_path), rate=40)
    with client(one, "viewer") as viewer, client(one, "annotator") as annotator:
        said = [viewer.get("/api/clips") for _ in range(120)]
        refused = [answer for answer in said if answer.status_code == 429]
        assert len(refused) >= 40
        assert all(1 <= int(answer.headers["retry-after"]) <= 61 for answer in refused)
        assert refused[0].json()["code"] == "busy"
        assert "within a minute" in refused[0].json()["detail"]
        assert annotator.get("/api/clips").status_code == 200
        assert viewer.get("/static/app.css").status_code == 200
        assert viewer.get("/api/clips/1/media").status_code == 404
    with client(one, "viewer") as viewer:  # what is refused for another reason counts as well, and each is written down
        asked = [viewer.post("/api/people", json={}).status_code for _ in range(120)]
    assert set(asked) <= {403, 429}
    assert asked.count(403) <= 80
    assert one.http.get("/api/clips").status_code == 401
    assert 429 in {one.http.get("/api/clips").status_code for _ in range(120)}
    assert 429 in {one.http.get("/api/nowhere").status_code for _ in range(120)}
    alone = studio(store=tmp_path / "alone", rate=1)
    assert {alone.http.get("/api/clips").status_code for _ in range(30)} == {200}, "without accounts nobody counts"
    with pytest.raises(SettingsError, match="--rate"):
        StudioSettings(rate=-1)


# -- getting in --------------------------------------------------------------------------------------------------------


def test_sessions_begin_and_end(database: Database) -> None:
    clock = Clock()
    accounts = Accounts(database, clock=clock, hasher=cheap_hasher())
    with pytest.raises(AccountError, match="nobody is an admin"):
        accounts.prepare()
    accounts.add("ann", Role.ADMIN, PASSWORD, by="test")
    accounts.add("bob", Role.VIEWER, PASSWORD + "é", by="test")
    for name, password, why in (
        ("ann", PASSWORD, "has an account already"),
        ("eve", "short", "at least 12"),
        ("Eve=", PASSWORD, "expected at most 64 of"),
    ):
        with pytest.raises(AccountError, match=why):
            accounts.add(name, Role.VIEWER, password, by="test")
    for name, password in (("ann", PASSWORD + "x"), ("ann", ""), ("nobody", PASSWORD), ("", "")):
        with pytest.raises(NotAdmittedError, match="the name or the password is wrong"):
            accounts.log_in(name, password, address=HERE)
    person, first = accounts.log_in(" Ann ", PASSWORD, address=HERE)
    _, second = accounts.log_in("ann", PASSWORD, address=HERE, old="chosen by somebody else")
    assert (person.name, person.role) == ("ann", Role.ADMIN)
    assert first != second
    assert accounts.person_of("chosen by somebody else") is None
    with database.reading() as connection:
        kept = " ".join(map(str, [*connection.execute(sa.select(sessions)), *connection.execute(sa.select(people))]))
    assert first not in kept
    assert PASSWORD not in kept
    # logging in again in the same browser ends what it had
    _, third = accounts.log_in("ann", PASSWORD, address=HERE, old=first)
    assert accounts.person_of(first) is None
    own = accounts.person_of(third)
    assert own is not None
    # one's own new password ends all other sessions, and gives this one another token
    with pytest.raises(NotAdmittedError):
        accounts.change_password(own, "not the old one", PASSWORD * 2, address=HERE)
    with pytest.raises(AccountError, match="at least 12"):
        accounts.change_password(own, PASSWORD, "short", address=HERE)
    fourth = accounts.change_password(own, PASSWORD, PASSWORD * 2, address=HERE)
    assert [accounts.person_of(token) for token in (second, third)] == [None, None]
    now_own = accounts.person_of(fourth)
    assert now_own is not None
    accounts.log_out(now_own)
    assert accounts.person_of(fourth) is None
    _, token = accounts.log_in("bob", PASSWORD + "é", address=HERE)
    clock.now += IDLE_S - 1
    assert accounts.person_of(token) is not None  # which is seen
    clock.now += IDLE_S - 1
    assert accounts.person_of(token) is not None
    clock.now += IDLE_S + 1
    assert accounts.person_of(token) is None
    _, token = accounts.log_in("bob", PASSWORD + "é", address=HERE)
    for _ in range(int(LONGEST_S / IDLE_S) * 2):
        clock.now += IDLE_S / 2
        found = accounts.person_of(token)
    assert found is None
    said = [(line["name"], line["did"]) for line in accounts.log(limit=500)]
    assert ("", "was refused at the log-in") in said  # what nobody is called may be a password
    assert ("ann", "changed their password") in said
    assert "nobody" not in str(said)


def test_who_leads_cannot_leave_the_studio_without_one(database: Database) -> None:
    accounts = Accounts(database, hasher=cheap_hasher())
    accounts.add("ann", Role.ADMIN, PASSWORD, by="test")
    for change in ({"role": Role.REVIEWER}, {"active": False}):
        with pytest.raises(AccountError, match="ann is the only admin"):
            accounts.change("ann", by="ann", **change)
    with pytest.raises(AccountError, match="no account"):
        accounts.change("bob", by="ann", role=Role.ADMIN)
    accounts.add("bob", Role.ADMIN, PASSWORD, by="ann")
    accounts.add("eve", Role.ANNOTATOR, PASSWORD, by="ann")

    def demote(name: str) -> bool:
        try:
            accounts.change(name, by="the other", role=Role.VIEWER)
        except AccountError:
            return False
        return True

    for _ in range(5):  # both at one moment
        with ThreadPoolExecutor(2) as threads:
            assert sorted(threads.map(demote, ("ann", "bob"))) == [False, True]
        for name in ("ann", "bob"):
            accounts.change(name, by="test", role=Role.ADMIN)
    # who is locked out or gets a password is out everywhere
    for change in ({"active": False}, {"password": PASSWORD}):
        accounts.change("eve", by="ann", active=True)
        _, token = accounts.log_in("eve", PASSWORD, address=HERE)
        accounts.change("eve", by="ann", **change)
        assert accounts.person_of(token) is None
    accounts.change("eve", by="ann", active=False)
    with pytest.raises(NotAdmittedError):
        accounts.log_in("eve", PASSWORD, address=HERE)
    assert [line["did"] for line in accounts.log(limit=3)][:2] == ["was refused at the log-in", "locked eve out"]


def test_a_name_that_nobody_has_takes_as_long_to_refuse(tmp_path: Path) -> None:
    from pwdlib import PasswordHash
    from pwdlib.hashers.argon2 import Argon2Hasher

    hasher = PasswordHash((Argon2Hasher(time_cost=2, memory_cost=16384, parallelism=1),))
    accounts = Accounts(Database(f"sqlite:///{tmp_path / 'a.sqlite'}"), hasher=hasher)
    accounts.add("ann", Role.ADMIN, PASSWORD, by="test")
    accounts.add("bob", Role.VIEWER, PASSWORD, by="test")
    accounts.change("bob", by="test", active=False)
    accounts.prepare()

    def took(name: str) -> float:
        spent = []
        for at in range(5):
            began = time.thread_time()
            with pytest.raises(NotAdmittedError):
                accounts.log_in(name, "not the password", address=f"10.0.{at}.{len(name)}")
            spent.append(time.thread_time() - began)
        return statistics.median(spent)

    wrong = took("ann")
    assert 0.6 < took("nobody") / wrong < 1.6
    assert 0.6 < took("bob") / wrong < 1.6


def test_passwords_cannot_be_tried_by_the_thousand(tmp_path: Path) -> None:
    accounts = Accounts(Database(f"sqlite:///{tmp_path / 'a.sqlite'}"), hasher=cheap_hasher())
    accounts.add("ann", Role.ADMIN, PASSWORD, by="test")

    def tried(name: str, address: str, password: str = "wrong") -> int | None:
        try:
            accounts.log_in(name, password, address=address)
        except NotAdmittedError as error:
            return error.wait_s
        return None

    for _ in range(30):
        assert tried("ann", "10.0.0.1", PASSWORD) is None  # right ones do not count
    with ThreadPoolExecutor(8) as threads:  # many at one moment are many, not one
        said = list(threads.map(lambda at: tried(f"n{at}", "10.0.0.2"), range(30)))
    assert said.count(0) == 10
    assert tried("ann", "10.0.0.2", PASSWORD)
    # one machine has as many addresses of IPv6 as it likes
    said = [tried(f"m{at}", f"2001:db8:1:2::{at:x}") for at in range(12)]
    assert said.count(0) == 10
    assert [tried(f"k{at}", f"::ffff:10.1.0.{at}") for at in range(12)] == [0] * 12
    # and one name is tried from many machines
    said = [tried("ann", f"10.2.{at}.1") for at in range(120)]
    assert said.count(0) == 100


def test_servers_of_one_studio_count_guesses_together_and_a_restart_forgets_none(database: Database) -> None:
    first = Accounts(database, hasher=cheap_hasher())
    first.add("ann", Role.ADMIN, PASSWORD, by="test")
    other = Database(database.url)  # as another process has it
    servers = [first, Accounts(other, hasher=cheap_hasher())]

    def tried(at: int) -> int:
        try:
            servers[at % 2].log_in("ann" if at % 3 else "nobody", "wrong", address="10.0.0.1")
        except NotAdmittedError as error:
            return error.wait_s
        raise AssertionError

    with ThreadPoolExecutor(8) as threads:
        said = list(threads.map(tried, range(40)))
    assert said.count(0) == 10
    with database.reading() as connection:
        assert "nobody" not in str(connection.execute(sa.select(guesses)).all())  # it may be a password
    again = Accounts(database, hasher=cheap_hasher())
    again.prepare()
    with pytest.raises(NotAdmittedError, match=r"try again in \d+ s"):
        again.log_in("ann", PASSWORD, address="10.0.0.1")
    assert again.log_in("ann", PASSWORD, address="10.0.0.2")[0].name == "ann"
    # and those of long ago are forgotten
    clock = Clock()
    clock.now += 61
    later = Accounts(database, clock=clock, hasher=cheap_hasher())
    assert later.log_in("ann", PASSWORD, address="10.0.0.1")[0].name == "ann"
    clock.now += 3600
    later.log_in("ann", PASSWORD, address="10.0.0.1")
    with database.reading() as connection:
        assert connection.execute(sa.select(guesses)).all() == []
    other.close()


# -- over HTTP ---------------------------------------------------------------------------------------------------------


def test_a_log_in_over_http(studio: Start, tmp_path: Path) -> None:
    one = studio(**team(tmp_path), names=("Studio.example",))
    http = one.http
    for host, status in (("studio.example:80", 200), ("192.168.1.7:7870", 200), ("[fe80::1]", 200), ("evil.com", 403)):
        assert http.get("/api/session", headers={"Host": host}).status_code == status
    assert one.get("/api/session") == {"accounts": True, "person": None}
    for path in ("/", "/people", "/static/app.js"):
        assert http.get(path).status_code == 200
    refused = http.get("/api/clips")
    assert (refused.status_code, refused.json()["code"]) == (401, "log_in")
    assert "www-authenticate" not in refused.headers  # the browser would ask for a password itself
    body = {"name": "admin", "password": PASSWORD}
    # nobody is logged in by another site, not even as somebody else
    assert http.post("/api/session", json=body).status_code == 403
    foreign = {**OURS, "Origin": "https://evil.example"}
    assert http.post("/api/session", json=body, headers=foreign).status_code == 403
    assert http.post("/api/session", content=b"x" * 70_000, headers=OURS).status_code == 413
    wrong = http.post("/api/session", json=body | {"password": "wrong"}, headers=OURS)
    assert (wrong.status_code, wrong.json()["code"]) == (401, "wrong_password")
    assert "password" not in http.post("/api/session", json=body | {"x": 1}, headers=OURS).text
    http.cookies.set("deeptrace-studio", "fixed-by-somebody-else")
    said = http.post("/api/session", json=body, headers=OURS)
    assert said.json() == {"accounts": True, "person": {"name": "admin", "role": "admin"}}
    cookie = SimpleCookie(said.headers["set-cookie"])["deeptrace-studio"]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"], cookie["domain"]) == (True, "strict", "/", "")
    assert cookie.value != "fixed-by-somebody-else"
    assert len(cookie.value) >= 43
    assert said.headers["cache-control"] == "no-store"
    http.cookies.clear()
    http.cookies.set("deeptrace-studio", cookie.value)
    assert one.get("/api/studio")["author"] == "admin"
    assert http.post("/api/people", json={}).status_code == 403  # without the page's header
    assert one.post("/api/people", {"name": "New", "role": "viewer", "password": PASSWORD}, 201)["name"] == "new"
    assert "only admin" in http.patch("/api/people/admin", json={"active": False}, headers=OURS).json()["detail"]
    said = http.post("/api/session/password", json={"old": "no", "new": PASSWORD * 2}, headers=OURS)
    assert said.status_code == 403
    assert http.request("DELETE", "/api/session", headers=OURS).status_code == 200
    http.cookies.clear()
    http.cookies.set("deeptrace-studio", cookie.value)
    assert http.get("/api/studio").status_code == 401


def test_metrics_are_for_admins_and_where_it_is_said_for_this_machine(studio: Start, tmp_path: Path) -> None:
    settings = team(tmp_path)
    closed, open_ = studio(**settings), studio(**settings, open_metrics=True, names=("studio.example",))
    for role, status in ((None, 401), ("reviewer", 403), ("admin", 200)):
        cookie = {} if role is None else {"Cookie": f"deeptrace-studio={session_of(closed, role)}"}
        assert closed.http.get("/metrics", headers=cookie).status_code == status
    assert open_.http.get("/metrics").status_code == 200
    # what comes through a proxy on this machine is somebody else's
    for through in ({"X-Forwarded-For": "203.0.113.9"}, {"Host": "studio.example"}, {"Forwarded": "for=127.0.0.1"}):
        assert open_.http.get("/metrics", headers=through).status_code == 401, through
    assert open_.http.get("/api/studio").status_code == 401


def test_everybody_opens_the_list_at_one_moment(studio: Start, tmp_path: Path, database_url: str) -> None:
    """More people than there are connections to the database, and each request needs several of them."""
    one = studio(**team(tmp_path, database_url))
    crowd = 60
    cookie = {"Cookie": f"deeptrace-studio={session_of(one, 'viewer')}"}
    limits = httpx.Limits(max_connections=crowd)
    with (
        httpx.Client(base_url=one.url, trust_env=False, timeout=20, limits=limits) as http,
        ThreadPoolExecutor(crowd) as threads,
    ):
        said = list(threads.map(lambda _: http.get("/api/clips", headers=cookie).status_code, range(3 * crowd)))
    assert said == [200] * 3 * crowd


def test_a_studio_for_a_team_needs_an_admin_and_once_it_has_accounts_asks_for_them(tmp_path: Path) -> None:
    from deeptrace.studio import StudioSettings
    from deeptrace.studio.app import StudioApi
    from deeptrace.studio.workshop import Workshop

    workshop = Workshop(StudioSettings(store=tmp_path, accounts=True))
    with pytest.raises(SettingsError, match=r"nobody is an admin.*--add-person NAME --role admin"):
        StudioApi(workshop)
    Accounts(workshop.database, hasher=cheap_hasher()).add("ann", Role.ADMIN, PASSWORD, by="test")
    assert StudioApi(Workshop(StudioSettings(store=tmp_path))).accounts is not None


def test_each_sees_their_own_answers_and_reviewers_all(studio: Start, squares: Path, tmp_path: Path) -> None:
    one = studio(place=squares, **team(tmp_path, more={"second": Role.ANNOTATOR}))
    one.settle()
    trace = {"id": "e1", "object": "o", "after": {"type": "trace", "onset_s": 0.0, "offset_s": 1.0}}
    with client(one, "annotator") as first, client(one, "second") as second, client(one, "reviewer") as reviewer:
        number = first.get("/api/clips").json()["clips"][0]["id"]
        address = f"/api/clips/{number}"
        said = first.post(f"{address}/answers", json={"id": "a1", "says": "agree", "note": "look at the hand"})
        assert said.status_code == 201
        assert first.post(f"{address}/annotation/edits", json={"version": 0, "edits": [trace]}).status_code == 200
        seen = [http.get(address).json() for http in (first, second, reviewer)]
        assert [(clip["says"], clip["note"], clip["traces"]) for clip in seen] == [
            ("agree", "look at the hand", 1),
            (None, "", None),
            ("agree", "look at the hand", 1),
        ]
        unanswered = [http.get("/api/clips", params={"says": "none"}).json()["total"] for http in (first, second)]
        assert unanswered == [1, 2]
        assert second.get(f"{address}/annotation").json()["version"] == 0
        assert second.get(f"{address}/annotation/edits").json() == []
        taken = second.post(f"{address}/answers", json={"id": "a1", "says": "disagree"})
        assert taken.status_code == 422  # an id of somebody else's
        (row,) = reviewer.get("/api/export/all_data.json").json()
        assert Path(row["video_path"]).name == "constant.mp4"
        again = {"version": 0, "edits": [trace | {"id": "e2"}]}
        assert second.post(f"{address}/annotation/edits", json=again).status_code == 200
        assert reviewer.get("/api/export/all_data.json").json() == []  # nobody has decided between the two
        assert reviewer.post("/api/people", json={}).status_code == 403
    with client(one, "admin") as admin:
        log = admin.get("/api/audit").json()
    assert ("reviewer", "took away the labels") in [(line["name"], line["did"]) for line in log]
    assert ("reviewer", "was not let to POST /api/people") in [(line["name"], line["did"]) for line in log]


def test_the_schema_of_a_studio_without_accounts_is_brought_up_and_back(database: Database) -> None:
    database.migrate("0001")
    columns = {column["name"] for column in sa.inspect(database.engine).get_columns("annotations")}
    assert not {"done", "traces"} & columns
    objects = {"clip": {"type": "clip", "label": "FAKE", "done": True}, "a": {"type": "trace"}, "b": {"type": "trace"}}
    with database.writing() as connection:
        row = {"name": "a.mp4", "path": "/a.mp4", "origin": "folder", "added_at": now()}
        number = connection.execute(sa.insert(clips).values(**row)).inserted_primary_key[0]
        old = sa.table("annotations", *(sa.column(name) for name in ("clip_id", "author", "version", "changed_at")))
        old.append_column(sa.column("objects", sa.JSON))
        said = {"clip_id": number, "author": "ann", "version": 3, "objects": objects, "changed_at": now()}
        connection.execute(sa.insert(old).values(**said))
    database.migrate("head")
    with database.reading() as connection:
        found = connection.execute(sa.select(annotated)).one()
    assert (found.traces, found.done, found.objects) == (2, True, objects)
    database.migrate("0001")
    assert not {"people", "sessions", "audit"} & set(sa.inspect(database.engine).get_table_names())
    database.migrate("head")


# -- the command -------------------------------------------------------------------------------------------------------


def studio_command(*options: str, **more: Any) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "deeptrace.cli.main", "studio", *options]
    return subprocess.run(line, capture_output=True, text=True, timeout=120, **more)


def test_an_admin_is_made_at_the_command_line_and_a_proxy_is_believed(tmp_path: Path) -> None:
    where = ("--store", str(tmp_path / "store"))
    refused = studio_command(*where, "--add-person", "ann", "--role", "viewer", input=PASSWORD)
    assert refused.returncode == 2
    assert "the first account has to be an admin's" in " ".join(refused.stderr.split())
    made = studio_command(*where, "--add-person", "ann", input=f"{PASSWORD}\n")
    assert (made.returncode, " ".join(made.stderr.split())) == (0, "ann has an account now, as admin")
    line = [sys.executable, "-m", "deeptrace.cli.main", "studio", *where, "--port", "0", "--proxy", "127.0.0.1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([*line, "--name", "team.example"], stderr=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stderr is not None
        url = re.search(r"http://\S+", process.stderr.readline())
        assert url is not None
        through = {"Host": "team.example", "X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.9"}
        with httpx.Client(base_url=url[0], headers=OURS | through, trust_env=False, timeout=30) as http:
            body = {"name": "ann", "password": PASSWORD}
            said = http.post("/api/session", json=body, headers={"Origin": "https://team.example"})
            kept = said.headers["set-cookie"]
            assert kept.startswith("__Host-deeptrace-studio=")
            assert "Secure" in kept
            token = SimpleCookie(kept)["__Host-deeptrace-studio"].value
            log = http.get("/api/audit", headers={"Cookie": f"__Host-deeptrace-studio={token}"}).json()
            assert (log[0]["did"], log[0]["address"]) == ("logged in", "203.0.113.9")
            # a name that anybody could have set is no session over TLS
            assert http.get("/api/audit", headers={"Cookie": f"deeptrace-studio={token}"}).status_code == 401
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"detector": "nope"}, "--detector nope: no detector has that name. Did you mean"),
        ({"detector": "baseline:nope"}, "--detector baseline:nope: no detector has that name. Did you mean: baseline:"),
        ({"detector_settings": {"foo": 1}}, "tracenet: does not take these settings: foo. It takes: threshold"),
        ({"answer_space": "furlongs"}, "--answer-space furlongs: there is no such unit of boxes. Known: pixels, "),
        ({"answer_space": "permille"}, "--answer-space permille: has no effect without --predictions"),
        (
            {"answer_space": "furlongs", "predictions": (Path("a.json"),)},
            "--answer-space furlongs: there is no such unit of boxes",
        ),
        ({"hosts": ("http://x/y",)}, "host http://x/y: is no host that a URL could have. Give the host alone"),
        ({"hosts": ("x:99999",)}, "host x:99999: is no host"),
        ({"hosts": ("a*.org",)}, "host a*.org: is no host"),
        ({"database": "mysql://me:secret@x"}, "database mysql://x: is of a kind that the studio cannot use (mysql)"),
        (
            {"database": "postgresql+nope://x/y"},
            "database postgresql+nope://x/y: there is no driver postgresql+nope here. Give",
        ),
        ({"database": "nonsense"}, "database nonsense: is not the URL of a database"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_no_studio_can_be_started_with_is_refused_at_once(
    tmp_path: Path, options: dict[str, Any], why: str
) -> None:
    with pytest.raises(DeeptraceError) as refused:
        run_studio(StudioSettings(store=tmp_path, **options), port=0, on_ready=pytest.fail)
    assert str(refused.value).startswith(why)


# -- in a browser ------------------------------------------------------------------------------------------------------


@pytest.fixture
def logged_in(visit: Callable[..., Any]) -> Callable[..., Any]:
    """Open a page as somebody, by the form."""
    needs_chromium()

    def open_page(one: Studio, name: str, path: str = "/", **options: Any) -> Any:
        page = visit(one, path, **options)
        page.get_by_label("Name").fill(name)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        page.locator(".who").wait_for()
        assert page.locator(".who").text_content() == name
        return page

    return open_page


def spend(one: Studio, http: Any, left_s: float) -> None:
    """Ask until there is nothing left, of a minute that is over in a few seconds."""
    rates, now = one.api.asgi._rates, time.time()
    shift = 60 - left_s - now % 60 + 60 * (1 + int(rates._clock() // 60) - int(now // 60))
    rates._clock = lambda: time.time() + shift
    while http.get("/api/clips").status_code != 429:
        pass


def test_files_that_come_too_early_are_sent_again_by_themselves(
    studio: Start, squares: Path, tmp_path: Path, logged_in: Callable[..., Any]
) -> None:
    one = studio(place=squares, **team(tmp_path), rate=100)
    one.settle()
    new, labels = tmp_path / "new.mp4", tmp_path / "all_data.json"
    shutil.copy(squares.parent / "constant.mp4", new)
    media = Media(width=320, height=180, duration_s=3.0, fps=10.0)
    trace = Trace(onset_s=0.5, offset_s=1.5, box=Box(x0=0.1, y0=0.1, x1=0.5, y1=0.5), explanation="it bends")
    sample = Sample(video_id="constant", path="constant.mp4", label=Label.FAKE, media=media, traces=(trace,))
    write_rows(labels, [sample])
    with client(one, "reviewer") as http:
        page = logged_in(one, "reviewer", "/triage", allowed="429")
        page.get_by_role("button", name="Add clips").click()
        spend(one, http, 4)
        page.locator("dialog input[type=file]").set_input_files(new)
        page.get_by_role("status").get_by_text("waiting with new.mp4: too many requests within a minute").wait_for()
        page.wait_for_url("**/clip/*")
        assert "new.mp4" in {clip["name"] for clip in http.get("/api/clips").json()["clips"]}
        page.get_by_role("link", name="Clips").click()
        page.get_by_role("button", name="Other tools").click()
        spend(one, http, 4)
        page.locator("dialog input[type=file]").set_input_files(labels)
        page.get_by_role("status").get_by_text("waiting with all_data.json: too many requests").wait_for()
        page.get_by_text("1 clip with 1 trace brought in").wait_for()


def test_who_asks_too_often_loses_neither_marks_nor_answers(
    studio: Start, squares: Path, tmp_path: Path, logged_in: Callable[..., Any]
) -> None:
    one = studio(place=squares, **team(tmp_path), rate=100)
    one.settle()
    with client(one, "annotator") as http:
        number = http.get("/api/clips").json()["clips"][0]["id"]
        page = logged_in(one, "annotator", f"/annotate/{number}", allowed="429")
        until(page, f"{SAVED} && document.querySelector('.editor') !== null")
        spend(one, http, 4)
        page.keyboard.press("t")
        page.keyboard.press("3")
        until(page, "document.querySelector('.saved').textContent.includes('3 changes kept in this browser')")
        assert "too many requests within a minute: try again in" in page.locator(".saved").text_content()
        until(page, f"{SAVED} && Number(document.querySelector('.saved').dataset.version) >= 3")
        assert len(http.get(f"/api/clips/{number}/annotation").json()["objects"]) >= 1
        page.get_by_role("link", name="Clips").click()
        page.get_by_role("button", name="Agree", exact=False).first.wait_for()
        spend(one, http, 4)
        page.keyboard.press("d")
        deadline = time.monotonic() + 20
        said: set[str | None] = set()
        while "disagree" not in said and time.monotonic() < deadline:
            page.wait_for_timeout(300)
            answer = http.get("/api/clips")
            said = {clip["says"] for clip in answer.json()["clips"]} if answer.status_code == 200 else set()
        assert "disagree" in said, "it was kept, and sent when it could be"
        spend(one, http, 4)
        page.reload()
        page.get_by_role("alert").get_by_text("too many requests within a minute").wait_for()
        page.get_by_role("button", name="Disagree").first.wait_for()


def test_a_session_that_ends_in_the_middle_of_work_loses_nothing(
    studio: Start, squares: Path, tmp_path: Path, logged_in: Callable[..., Any]
) -> None:
    one = studio(place=squares, **team(tmp_path))
    one.settle()
    with client(one, "annotator") as http:
        number = http.get("/api/clips").json()["clips"][0]["id"]
        page = logged_in(one, "annotator", f"/annotate/{number}", allowed="401")
        until(page, f"{SAVED} && document.querySelector('.editor') !== null")
        with one.workshop.database.writing() as connection:
            connection.execute(sa.delete(sessions))
        page.keyboard.press("t")
        page.get_by_text("Log in again").wait_for()
        page.locator("input[name=name]:focus").wait_for()
        page.get_by_label("Name").fill("annotator")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        until(page, f"{SAVED} && Number(document.querySelector('.saved').dataset.version) >= 2")
    with client(one, "annotator") as http:
        objects = http.get(f"/api/clips/{number}/annotation").json()["objects"]
        assert sorted(value["type"] for value in objects.values()) == ["clip", "trace"]
    # somebody else at the same browser gets a page of their own
    page.locator(".who").click()
    page.get_by_role("button", name="Log out").click()
    page.locator("input[name=name]:focus").wait_for()
    page.get_by_label("Name").fill("viewer")
    page.get_by_label("Password").fill("not it, though long")
    page.get_by_role("button", name="Log in").click()
    page.get_by_text("the name or the password is wrong").wait_for()
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_label("Name").fill("viewer")
    page.get_by_role("button", name="Log in").click()
    page.locator(".who").wait_for()
    page.locator(".item").first.wait_for()
    assert page.get_by_role("link", name="Annotate").count() == 0
    assert page.get_by_role("link", name="Labels").count() == 0


def test_an_admin_adds_somebody_and_changes_their_role(
    studio: Start, tmp_path: Path, logged_in: Callable[..., Any]
) -> None:
    one = studio(**team(tmp_path))
    page = logged_in(one, "admin", "/people", allowed="4")
    form = page.get_by_role("form", name="Somebody new")
    form.get_by_label("Name").fill("carol")
    form.get_by_label("Password").fill(PASSWORD)
    form.get_by_role("button", name="Add").click()
    page.get_by_text("carol has an account now").wait_for()
    page.get_by_label("Role of carol").select_option("reviewer")
    page.get_by_text("made carol reviewer (was annotator)").wait_for()
    page.get_by_label("Role of admin").select_option("viewer")
    page.get_by_text("admin is the only admin").wait_for()
    page.locator(".who").click()
    sheet = page.get_by_role("form", name="Change password")
    sheet.get_by_label("Password now").fill(PASSWORD)
    sheet.get_by_label("New password").fill(PASSWORD * 2)
    sheet.get_by_role("button", name="Change password").click()
    page.get_by_text("You are logged out everywhere else").wait_for()
    page.reload()
    page.locator(".who").wait_for()
