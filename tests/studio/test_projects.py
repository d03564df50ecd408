"""Projects and their honeypots: clips with a known answer that annotators get among the others and cannot tell."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.needs import needs, needs_chromium
from tests.reports.detection_page.conftest import HOSTILE_TEXT, verdict_on
from tests.studio.conftest import (
    PASSWORD,
    SAVED,
    Start,
    cheap_hasher,
    client,
    needs_studio,
    team,
    until,
    write_run,
    write_square,
)
from tests.studio.test_in_browser import wrong
from tests.studio.test_review import enter, facts, sent, trace
from tests.studio.test_store import add_clip, edit

sa = needs_studio()

from deeptrace.schema import Category  # noqa: E402
from deeptrace.server.responses import RequestError  # noqa: E402
from deeptrace.studio.accounts import AccountError, Accounts, Person, Role  # noqa: E402
from deeptrace.studio.annotations import CONSENSUS, EditBody, add_edits  # noqa: E402
from deeptrace.studio.database import Database, assignments, honeypots, people  # noqa: E402
from deeptrace.studio.labels import object_of  # noqa: E402
from deeptrace.studio.projects import add_honeypots, add_project, check_kinds, projects_of, task_of  # noqa: E402
from deeptrace.studio.review import assign, honeypot_agreement, may_annotate, reviewed, work_of  # noqa: E402


def decide(database: Database, clip_id: int) -> None:
    body = EditBody(version=0, edits=[edit(f"d{clip_id}", "clip", facts("REAL"))])
    add_edits(database, clip_id, CONSENSUS, body, by="ann")


def test_honeypots_are_mixed_in_once_and_enter_nothing(database_url: str) -> None:
    database = Database(database_url)
    accounts = Accounts(database, hasher=cheap_hasher())
    for name, role in {"ann": "reviewer", "bob": "annotator", "eve": "annotator"}.items():
        accounts.add(name, Role(role), PASSWORD, by="test")
    with database.reading() as connection:
        who = {row.name: Person(row.name, Role(row.role), row.id) for row in connection.execute(sa.select(people))}
    known = [add_clip(database, f"known-{number}.mp4") for number in range(3)]
    free = [add_clip(database, f"{number}.mp4") for number in range(4)]
    # eve was one of those on whose work the third decision stands
    add_edits(database, known[2], "eve", EditBody(version=0, edits=[edit("e", "a", trace(0.5))]))
    for clip_id in known:
        decide(database, clip_id)
    kinds = [Category.SUDDEN_BLURRING]
    stated = {"guidelines": "Look.", "kinds": kinds, "prefilled_percent": 50, "by": "ann"}
    number = add_project(database, name="Spring", **stated)
    with pytest.raises(AccountError, match="a project 'Spring' already"):
        add_project(database, name="Spring", **stated)
    for call in (
        lambda: add_honeypots(database, 77, q="", most=1),
        lambda: honeypot_agreement(database, 77),
        lambda: assign(database, first="bob", second=None, q="", most=1, by="ann", project=77),
    ):
        with pytest.raises(AccountError, match="there is no project 77"):
            call()
    assert add_honeypots(database, number, q="", most=10) == 3  # and no clip that is not decided
    assert add_honeypots(database, number, q="", most=10) == 0
    give = {"second": None, "q": "", "by": "ann", "project": number}
    assert assign(database, first="bob", most=2, honeypots=2, **give) == 2
    assert len(work_of(database, who["bob"])) == 4
    assert assign(database, first="eve", most=1, honeypots=9, **give) == 1
    assert len(work_of(database, who["eve"])) == 3  # two honeypots: of the third she knows
    assert assign(database, first="bob", most=9, honeypots=9, **give) == 1
    assert len(work_of(database, who["bob"])) == 6  # the one that was left, and none twice
    assert (
        assign(database, first="bob", most=9, honeypots=9, **give) == 0
    )  # alone they would be known for what they are
    with database.reading() as connection:
        given = connection.execute(sa.select(assignments)).all()
        (project,) = projects_of(connection)
    assert (project["tasks"], project["honeypots"], project["kinds"]) == (4, 3, ["sudden_blurring"])
    bob = [row.prefilled for row in given if row.person_id == who["bob"].id]
    assert sum(bob) == 3
    tasks = [task_of(database, row["id"], who["bob"]) for row in work_of(database, who["bob"])]
    expected = {"project": "Spring", "guidelines": "Look.", "kinds": ["sudden_blurring"]}
    assert sorted(tasks, key=lambda task: task["prefilled"]) == [
        expected | {"prefilled": flag} for flag in (False,) * 3 + (True,) * 3
    ]
    assert task_of(database, free[0], who["ann"]) is None
    for row in work_of(database, who["bob"]):
        may_annotate(database, row["id"], who["bob"])
    with pytest.raises(RequestError):
        may_annotate(database, known[2], who["eve"])
    add_edits(database, known[0], "bob", EditBody(version=0, edits=[edit("b", "clip", facts("REAL"))]))
    rounds = {one["id"]: one for one in reviewed(database)[1]}
    assert [rounds[clip_id]["state"] for clip_id in known] == ["decided"] * 3
    assert [[by["name"] for by in rounds[clip_id]["rounds"]] for clip_id in known] == [[], [], ["eve"]]
    found = {one["name"]: (one["given"], one["done"]) for one in honeypot_agreement(database, number)}
    assert found == {"bob": (3, 1), "eve": (2, 0)}
    allowed = EditBody(version=0, edits=[edit("x", "a", trace(0.5))])
    check_kinds(tasks[0], allowed)
    check_kinds(None, allowed)
    other = EditBody(version=0, edits=[edit("x", "a", trace(0.5, kinds=["object_merging"]))])
    with pytest.raises(RequestError, match="Spring does not mark"):
        check_kinds(tasks[0], other)
    # back to the schema before projects: who annotates what is kept, honeypots are gone
    database.migrate("0003")
    database.migrate("head")
    with database.reading() as connection:
        left = connection.execute(sa.select(assignments)).all()
        assert connection.execute(sa.select(honeypots)).all() == []
    assert {(row.clip_id, row.person_id) for row in left} == {
        (row.clip_id, row.person_id) for row in given if not row.honeypot
    }
    database.close()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Three clips with a trace each, found by a detector."""
    paths = [write_square(tmp_path / f"{name}.mp4") for name in ("first", "known", "second")]
    return write_run(tmp_path / "run", [verdict_on(path) for path in paths])


def test_reviewers_who_assign_at_one_moment_do_so_one_after_another(database_url: str) -> None:
    database = Database(database_url)
    accounts = Accounts(database, hasher=cheap_hasher())
    for name in ("bob", "eve"):
        accounts.add(name, Role.ANNOTATOR, PASSWORD, by="test")
    number = add_project(database, name="p", guidelines="", kinds=[], prefilled_percent=50, by="ann")
    for at in range(6):
        decide(database, add_clip(database, f"known-{at}.mp4"))
        add_clip(database, f"{at}.mp4")
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: add_honeypots(database, number, q="known", most=2), range(8)))
        asked = {"first": "bob", "second": "eve", "q": "", "most": 2, "by": "ann", "project": number, "honeypots": 1}
        given = list(pool.map(lambda _: assign(database, **asked), range(8)))
    assert sorted(made) == sorted(given) == [0, 0, 0, 0, 0, 2, 2, 2]
    database.close()


def test_what_cannot_be_kept_is_a_line(studio: Start, tmp_path: Path, database_url: str) -> None:
    one = studio(**team(tmp_path, database_url))
    wanted = 201 if database_url.startswith("sqlite") else 422  # PostgreSQL keeps no NUL in a text
    with client(one, "reviewer") as http:
        said = http.post("/api/projects", json={"name": "a\0b", "guidelines": "c\0"})
    assert said.status_code == wanted, said.text


def test_a_project_from_its_making_to_what_the_honeypots_say(
    studio: Start, run: Path, tmp_path: Path, visit: Callable[..., Any]
) -> None:
    needs_chromium()
    axe = needs("axe_playwright_python.sync_playwright", command="make test")
    one = studio(place=run, **team(tmp_path))
    one.settle()
    with client(one, "reviewer") as http:
        numbers = {Path(clip["name"]).stem: clip["id"] for clip in http.get("/api/clips").json()["clips"]}
        said = verdict_on(tmp_path / "known.mp4").traces[0]
        decision = sent(0, a=object_of(said).model_dump(mode="json"), clip=facts("FAKE"))
        assert http.post(f"/api/review/{numbers['known']}/annotation/edits", json=decision).status_code == 200
    reviewer = enter(one, visit, "reviewer", "/review")
    reviewer.get_by_text("New project").click()
    form = reviewer.get_by_role("form", name="New project")
    form.get_by_label("Name").fill("Spring")
    form.get_by_label("Guidelines").fill(f"Mark what moves.\n{HOSTILE_TEXT}")
    form.get_by_label("Unexpected move").check()
    form.get_by_label("Tasks that begin").fill("100")
    form.get_by_role("button", name="Make").click()
    form.get_by_text("Spring is made").wait_for()
    reviewer.get_by_text("Add honeypots").click()
    form = reviewer.get_by_role("form", name="Add honeypots")
    form.get_by_role("button", name="Add").click()
    form.get_by_text("1 honeypot added").wait_for()
    form = reviewer.get_by_role("form", name="Assign")
    form.get_by_label("First round").select_option("annotator")
    form.get_by_label("Name contains").fill("first")
    form.get_by_label("Project").select_option(label="Spring")
    form.get_by_label("Honeypots mixed in").fill("1")
    form.get_by_role("button", name="Assign").click()
    form.get_by_text("1 clip assigned").wait_for()
    with client(one, "annotator") as http:
        (mine, trap) = sorted(http.get("/api/work").json(), key=lambda item: item["id"] == numbers["known"])
        assert trap["id"] == numbers["known"]
        assert {**mine, "id": 0, "name": ""} == {**trap, "id": 0, "name": ""}
        said = [http.get(f"/api/clips/{item['id']}/task").json() for item in (mine, trap)]
        assert said[0] == said[1]
        own = [http.get(f"/api/clips/{item['id']}").json() for item in (mine, trap)]
        for name in ("traces", "says", "label", "note", "state"):
            assert own[0][name] == own[1][name], name
        path = f"/api/clips/{trap['id']}/annotation/edits"
        refused = http.post(path, json=sent(0, a=trace(0.5, kinds=["object_merging"])))
        assert (refused.status_code, "does not mark" in refused.json()["detail"]) == (422, True)
        assert http.get("/api/projects").status_code == 403
    page = enter(one, visit, "annotator", "/work")
    for left in (2, 1):
        page.get_by_role("link", name=f"My clips ({left})").wait_for()
        page.locator("main tr", has_text="not begun").first.get_by_role("link").click()
        until(page, f"{SAVED} && document.querySelectorAll('.traces li').length === 1")
        assert "(detector)" in page.locator(".traces button").text_content()
        page.locator(".traces button").click()
        assert page.get_by_role("button", name="Object merging").count() == 0
        assert page.get_by_role("button", name="Unexpected move").count() >= 1
        page.get_by_text("Spring: guidelines").click()
        assert page.locator(".guidelines").text_content() == f"Mark what moves.\n{HOSTILE_TEXT}"
        if left == 2:
            assert wrong(axe, page, "task") == {}
        page.get_by_role("button", name="Hand in").click()
        page.get_by_role("button", name="✓ handed in").wait_for()
        until(page, SAVED)
        page.get_by_role("link", name="My clips").last.click()
    reviewer.reload()
    reviewer.get_by_role("button", name="Agreement with the honeypots of Spring").click()
    row = reviewer.get_by_role("region", name="Honeypots of Spring").locator("tbody tr")
    assert row.locator("th").text_content() == "annotator"
    cells = row.locator("td").all_text_contents()
    # handed in; over all, over those that began with the detector's traces, over those that did not
    assert cells == ["1 of 1", "1 of 1, vIoU 1.00", "1 of 1, vIoU 1.00", "–"]
    assert wrong(axe, reviewer, "projects") == {}


def test_on_a_task_that_begins_blank_nothing_says_what_the_detector_says(
    studio: Start, run: Path, tmp_path: Path, visit: Callable[..., Any]
) -> None:
    """Whatever somebody asks for; and others are told as before."""
    one = studio(place=run, **team(tmp_path, more={"second": Role.ANNOTATOR}))
    one.settle()
    with client(one, "reviewer") as http, client(one, "annotator") as mine, client(one, "second") as second:
        clips = {Path(clip["name"]).stem: clip for clip in http.get("/api/clips").json()["clips"]}
        project = {"name": "Blank", "prefilled_percent": 0}
        number = http.post("/api/projects", json=project).json()["id"]
        given = {"first": "annotator", "q": "first", "project": number}
        assert http.post("/api/assignments", json=given).json() == {"assigned": 1}
        blank, seen = clips["first"]["id"], clips["second"]["id"]
        for path in ("overlay", "report"):
            assert http.post(f"/api/clips/{blank}/jobs/{path}").status_code == 202
        one.settle()
        listed = {clip["id"]: clip for clip in mine.get("/api/clips").json()["clips"]}
        said = ("outcome", "decision", "p_fake")
        assert [listed[blank][name] for name in (*said, "kinds", "hidden")] == [None, None, None, [], True]
        assert listed[seen]["decision"] == "generated"
        assert not listed[seen]["hidden"]
        whole = mine.get(f"/api/clips/{blank}").json()
        assert [whole[name] for name in (*said, "verdict")] == [None] * 4
        assert [whole[name] for name in ("kinds", "curves", "ranges", "has_heat", "made")] == [[], {}, {}, False, []]
        # nor does an order, or a filter
        kind = clips["first"]["kinds"][0]
        for asked in ({"decision": "generated"}, {"kind": kind}):
            found = [clip["id"] for clip in mine.get("/api/clips", params=asked).json()["clips"]]
            assert blank not in found
            assert seen in found
        assert [clip["id"] for clip in mine.get("/api/clips", params={"decision": "none"}).json()["clips"]] == [blank]
        for order in ("up", "down"):
            ordered = mine.get("/api/clips", params={"sort": "p", "order": order}).json()["clips"]
            assert ordered[-1]["id"] == blank
        for path in ("verdict.json", "overlay.mp4", "report.html", "heat"):
            refused = mine.get(f"/api/clips/{blank}/{path}")
            assert (refused.status_code, "begins blank" in refused.json()["detail"]) == (403, True)
        assert mine.post(f"/api/clips/{blank}/jobs/overlay").status_code == 403
        refused = mine.post(f"/api/clips/{blank}/answers", json={"id": "a1", "says": "agree"})
        assert refused.status_code == 403  # the label that it would make is what the verdict says
        names = [
            Path(json.loads(line)["video"]).stem for line in mine.get("/api/export/verdicts.jsonl").text.splitlines()
        ]
        assert sorted(names) == ["known", "second"]
        # once it is handed in, it may be taken back and changed: it stays hidden
        address = f"/api/clips/{blank}/annotation/edits"
        assert mine.post(address, json=sent(0, clip=facts("FAKE"))).status_code == 200
        assert mine.get(f"/api/clips/{blank}").json()["verdict"] is None
        for other in (second, http):
            assert other.get(f"/api/clips/{blank}").json()["verdict"] is not None
            assert other.get("/api/export/verdicts.jsonl").text.count("\n") == 3
    needs_chromium()
    page = enter(one, visit, "annotator", f"/clip/{blank}")
    page.get_by_text("Your task on this clip begins blank").wait_for()
    assert page.get_by_text("AI-generated").count() == 0
    page.goto(f"{one.url}/triage")
    row = page.locator(".item", has_text="first.mp4")
    row.get_by_text("not shown to you").wait_for()
    assert page.locator(".item .badge.generated").count() == 2
