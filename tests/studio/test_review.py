"""Two rounds of annotation that do not see each other, and a reviewer who decides."""

from __future__ import annotations

import io
import json
import random
import socket
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.benchmark.judge_double import Judge, serve
from tests.needs import needs, needs_chromium
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
    write_square,
)
from tests.studio.test_in_browser import wrong
from tests.studio.test_store import add_clip, edit

sa = needs_studio()

import httpx  # noqa: E402

from deeptrace.data import read_reward_data  # noqa: E402
from deeptrace.errors import SettingsError  # noqa: E402
from deeptrace.schema import Category, Label  # noqa: E402
from deeptrace.server.responses import RequestError  # noqa: E402
from deeptrace.studio.accounts import AccountError, Accounts, Person, Role  # noqa: E402
from deeptrace.studio.annotations import CONSENSUS, EditBody, add_edits  # noqa: E402
from deeptrace.studio.database import Database, annotated, assignments, clips, people  # noqa: E402
from deeptrace.studio.review import (  # noqa: E402
    assign,
    may_annotate,
    may_review,
    reviewed,
    rounds_agree,
    rounds_of,
    unassign,
    work_of,
)

MORE = {"first": Role.ANNOTATOR, "second": Role.ANNOTATOR, "other": Role.REVIEWER}


def trace(x1: float, **more: Any) -> dict[str, Any]:
    keys = [{"time_s": 0.0, "box": [0.0, 0.0, x1, 1.0]}]
    return {"type": "trace", "kinds": ["sudden_blurring"], "onset_s": 0.0, "offset_s": 1.0, "keys": keys} | more


def facts(label: str | None, done: bool = True) -> dict[str, Any]:
    return {"type": "clip", "label": label, "done": done}


def sent(version: int, **objects: Any) -> dict[str, Any]:
    """Edits that make these objects; each with an id of its own."""
    sent.count += 1  # type: ignore[attr-defined]
    changes = [{"id": f"e{sent.count}-{name}", "object": name, "after": after} for name, after in objects.items()]  # type: ignore[attr-defined]
    return {"version": version, "edits": changes}


sent.count = 0  # type: ignore[attr-defined]


def test_clips_are_assigned_once_begun_on_and_decided(database_url: str) -> None:
    database = Database(database_url)
    accounts = Accounts(database, hasher=cheap_hasher())
    for name, role in {"ann": "admin", "bob": "annotator", "eve": "annotator", "vic": "viewer"}.items():
        accounts.add(name, Role(role), PASSWORD, by="test")
    ids = [add_clip(database, f"{number}.mp4") for number in range(4)]
    with database.reading() as connection:
        who = {row.name: Person(row.name, Role(row.role), row.id) for row in connection.execute(sa.select(people))}
    give = {"q": "", "most": 3, "by": "ann"}
    for first, second in (("bob", "bob"), ("vic", None), ("nobody", None), ("bob", "vic")):
        with pytest.raises(AccountError):
            assign(database, first=first, second=second, **give)
    assert assign(database, first="bob", second="eve", **give) == 3
    assert assign(database, first="eve", second=None, **give) == 1  # the one that is left
    assert [len(work_of(database, who[name])) for name in ("bob", "eve", "ann")] == [3, 4, 0]
    may_annotate(database, ids[0], who["bob"])
    with pytest.raises(RequestError, match="assigned to others"):
        may_annotate(database, ids[3], who["bob"])
    add_edits(database, ids[0], "bob", EditBody(version=0, edits=[edit("e1", "a", trace(0.5))]))
    with database.reading() as connection:
        numbers = list(connection.scalars(sa.select(assignments.c.id).order_by(assignments.c.id)))
    with pytest.raises(AccountError, match="bob has begun"):
        unassign(database, numbers[0])
    unassign(database, numbers[3])
    assert [len(work_of(database, who[name])) for name in ("bob", "eve")] == [3, 3]
    with pytest.raises(RequestError, match="hand in your own round"):
        may_review(database, ids[0], who["bob"])
    may_review(database, ids[0], who["ann"])
    add_edits(database, ids[0], "bob", EditBody(version=1, edits=[edit("e2", "clip", facts("FAKE"))]))
    may_review(database, ids[0], who["bob"])
    state = {one["id"]: one["state"] for one in reviewed(database)[1]}
    assert state == dict.fromkeys(ids, "open")
    for number, name in enumerate(("eve", CONSENSUS)):
        body = EditBody(version=0, edits=[edit(f"d{number}", "clip", facts("REAL"))])
        add_edits(database, ids[0], name, body, by="ann")
        state = {one["id"]: one["state"] for one in reviewed(database)[1]}
        assert state[ids[0]] == ("ready", "decided")[number]
    with pytest.raises(RequestError, match="a reviewer has decided"):
        may_annotate(database, ids[0], who["bob"])
    database.close()


def test_where_each_clip_stands_is_what_its_rounds_say(database_url: str) -> None:
    """Of many clips in every state, page by page, against one clip at a time."""
    database, rng, at = Database(database_url), random.Random(3), 0.0
    names = ["ann", "bob", "eve"]
    ids = [add_clip(database, f"{number:03}.mp4") for number in range(140)]
    with database.writing() as connection:
        row = {"role": "annotator", "password": "", "active": True, "made_at": at}
        connection.execute(sa.insert(people), [{"name": name, **row} for name in names])
        numbers = {one.name: one.id for one in connection.execute(sa.select(people))}
        common = {"assigned_by": "r", "assigned_at": at}
        for clip_id in ids:
            for number, name in enumerate(rng.sample(names, rng.choice((0, 0, 1, 2))), 1):
                whose = {"clip_id": clip_id, "person_id": numbers[name], "round": number}
                honeypot = rng.random() < 0.2
                connection.execute(sa.insert(assignments).values(**whose, **common, honeypot=honeypot))
            for name in rng.sample([*names, CONSENSUS], rng.choice((0, 1, 2, 3))):
                said = {"clip_id": clip_id, "author": name, "objects": {}, "changed_at": at}
                state = {"version": rng.choice((0, 1, 5)), "done": rng.random() < 0.6}
                state["done"] = state["done"] and state["version"] > 0
                connection.execute(sa.insert(annotated).values(**said, **state))
    expected = {}
    with database.reading() as connection:
        given = set(connection.scalars(sa.select(assignments.c.clip_id)))
        begun = set(connection.scalars(sa.select(annotated.c.clip_id).where(annotated.c.version > 0)))
        over = sa.select(annotated.c.clip_id).where(annotated.c.author == CONSENSUS, annotated.c.done)
        decided = set(connection.scalars(over))
        for clip_id in sorted(given | begun):
            rounds = rounds_of(connection, [clip_id]).get(clip_id, [])
            handed_in = bool(rounds) and all(one["done"] for one in rounds)
            expected[clip_id] = "decided" if clip_id in decided else "ready" if handed_in else "open"
    found: dict[int, str] = {}
    for offset in range(0, 140, 20):
        counts, page = reviewed(database, offset=offset, limit=20)
        found |= {one["id"]: one["state"] for one in page}
    assert found == expected
    assert list(found) == sorted(expected)  # by name
    assert counts == {state: list(expected.values()).count(state) for state in ("open", "ready", "decided")}
    assert min(counts.values()) > 5
    _, ready = reviewed(database, state="ready", offset=2, limit=3)
    assert [one["id"] for one in ready] == [number for number, state in expected.items() if state == "ready"][2:5]
    with database.writing() as connection:
        connection.execute(sa.update(clips).values(media={"width": 64, "height": 36, "duration_s": 1.0}))
    assert rounds_agree(database)["videos"] > 3
    database.close()


def test_the_second_round_is_blind_and_what_is_decided_goes_out(studio: Start, squares: Path, tmp_path: Path) -> None:
    one = studio(place=squares, **team(tmp_path, more=MORE))
    one.settle()
    secret = "the first one's very own words"
    with (
        client(one, "first") as first,
        client(one, "second") as second,
        client(one, "reviewer") as reviewer,
        client(one, "other") as other,
    ):
        given = {"first": "first", "second": "second", "q": "constant"}
        assert reviewer.post("/api/assignments", json=given).json() == {"assigned": 1}
        (mine,) = second.get("/api/work").json()
        number, address = mine["id"], f"/api/clips/{mine['id']}/annotation"
        body = sent(0, a=trace(1.0, explanation=secret), b=trace(0.2, onset_s=0.5), clip=facts("FAKE"))
        assert first.post(f"{address}/edits", json=body).status_code == 200
        # nothing that the second one may ask for says what the first one did
        for path in one.api.app.openapi()["paths"]:
            if "get" in one.api.app.openapi()["paths"][path]:
                said = second.get(path.replace("{clip_id}", str(number)).replace("{name}", "poster"))
                assert secret not in said.text, path
        assert second.get(f"/api/clips/{number}").json()["traces"] is None
        assert second.get(f"/api/review/{number}").status_code == 403
        assert other.post(f"{address}/edits", json=sent(0, x=trace(0.4))).status_code == 403
        assert reviewer.get("/api/review", params={"state": "open"}).json()["total"] == 1
        assert reviewer.get("/api/export/all_data.json").json() == []
        assert second.post(f"{address}/edits", json=sent(0, c=trace(0.5), clip=facts("REAL"))).status_code == 200
        # both are handed in: the reviewer sees them side by side, and how far they agree
        assert reviewer.get("/api/review").json()["counts"] == {"open": 0, "ready": 1, "decided": 0}
        found = reviewer.get(f"/api/review/{number}").json()
        assert [by["name"] for by in found["rounds"]] == ["first", "second"]
        assert found["rounds"][0]["objects"]["a"]["explanation"] == secret
        agreed = found["agreement"]
        assert (agreed["matched"], agreed["traces_first"], agreed["traces_second"]) == (1, 2, 1)
        assert (agreed["box_iou"], agreed["tiou"], agreed["same_label"]) == (0.5, 1.0, 0)
        assert reviewer.get("/api/review/agreement").json() == agreed
        # two reviewers at once: nobody overwrites what they never saw
        decision = f"/api/review/{number}/annotation"
        assert reviewer.post(f"{decision}/edits", json=sent(0, a=trace(0.75))).status_code == 200
        late = other.post(f"{decision}/edits", json=sent(0, c=trace(0.5)))
        assert (late.status_code, late.json()["current"]["version"]) == (409, 1)
        assert other.post(f"{decision}/edits", json=sent(1, clip=facts("FAKE", done=False))).status_code == 200
        assert reviewer.get("/api/export/all_data.json").json() == []
        assert reviewer.post(f"{decision}/edits", json=sent(2, clip=facts("FAKE"))).status_code == 200
        made = reviewer.get(f"{decision}/edits").json()
        assert [(change["version"], change["author"]) for change in made] == [
            (1, "reviewer"),
            (2, "other"),
            (3, "reviewer"),
        ]
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "all_data.json").write_bytes(reviewer.get("/api/export/all_data.json").content)
        refused = first.post(f"{address}/edits", json=sent(3, z=trace(0.3)))
        assert "a reviewer has decided" in refused.json()["detail"]
        assert len(first.get(address).json()["objects"]) == 3  # and what each round said stays
    (sample,) = read_reward_data(tmp_path / "out")
    assert sample.label is Label.FAKE
    (only,) = sample.traces
    assert only.box is not None
    assert only.box.as_tuple() == pytest.approx((0.0, 0.0, 0.75, 1.0))


@contextmanager
def language_model(*answers: Any) -> Iterator[Judge]:
    """A server that speaks as OpenAI's does and gives these answers in turn."""
    model = Judge(moods={"Rewrite": list(answers)})
    server = serve(model)
    try:
        yield model
    finally:
        server.shutdown()
        server.server_close()


def test_a_standard_wording_stands_beside_the_annotators_words(
    studio: Start, squares: Path, tmp_path: Path, visit: Callable[..., Any]
) -> None:
    needs_chromium()
    mine, standard = "hand is kinda melting lol", "The hand loses its shape, as no hand does."
    with language_model(f"  {standard}\n", (404, json.dumps({"error": {"message": "no such model"}}))) as model:
        one = studio(place=squares, wording=f"tidy@{model.url}", **team(tmp_path, more=MORE))
        one.settle()
        with client(one, "reviewer") as reviewer, client(one, "first") as first:
            assert reviewer.post("/api/assignments", json={"first": "first", "q": "constant"}).status_code == 201
            (work,) = first.get("/api/work").json()
            number = work["id"]
            body = sent(0, a=trace(1.0, explanation=mine), clip=facts("FAKE"))
            assert first.post(f"/api/clips/{number}/annotation/edits", json=body).status_code == 200
            note = {"explanation": mine, "kinds": ["object_distortion"]}
            assert first.post(f"/api/review/{number}/wording", json=note).status_code == 403
            assert reviewer.get(f"/api/review/{number}/wording").json() == {"offered": True, "model": "tidy"}
            decision = f"/api/review/{number}/annotation"
            assert reviewer.post(f"{decision}/edits", json=sent(0, a=trace(1.0, explanation=mine))).status_code == 200
            page = enter(one, visit, "reviewer", f"/decide/{number}")
            until(page, f"{SAVED} && document.querySelector('.editor') !== null")
            page.locator(".traces button").first.click()
            page.get_by_role("button", name="Propose by tidy").click()
            page.get_by_text("proposed; the annotator's words stay").wait_for()
            until(page, SAVED)
            assert page.locator("#explanation").input_value() == mine
            assert page.locator("#standard").input_value() == standard
            kept = reviewer.get(decision).json()["objects"]["a"]
            assert (kept["explanation"], kept["standard"]) == (mine, standard)
            page.locator("h1").click()
            page.keyboard.press("Control+z")  # an edit like any other
            until(page, f"{SAVED} && document.querySelector('#standard').value === ''")
            page.keyboard.press("Control+Shift+z")
            until(page, f"{SAVED} && document.querySelector('#standard').value !== ''")
            assert mine in model.asked[0]["messages"][1]["content"]
            assert model.asked[0]["model"] == "tidy"
            # a server that fails is one line, and changes nothing
            failed = reviewer.post(f"/api/review/{number}/wording", json=note)
            assert (failed.status_code, failed.json()["detail"]) == (
                502,
                "tidy gave no wording: HTTP 404 no such model",
            )
            version = reviewer.get(decision).json()["version"]
            assert reviewer.post(f"{decision}/edits", json=sent(version, clip=facts("FAKE"))).status_code == 200
            rows = reviewer.get("/api/export/all_data.json").json()
            assert [(row["faketrace_explanations"], row["faketrace_standard_explanation"]) for row in rows] == [
                (mine, standard)
            ]
            zipped = zipfile.ZipFile(io.BytesIO(reviewer.get("/api/export/labels/cvat.zip").content))
            assert b"standard wordings have no place in this format" in zipped.read("notes.txt")
            # a project that wants none is not offered any
            made = reviewer.post("/api/projects", json={"name": "plain", "wording": False}).json()["id"]
            given = {"first": "first", "q": "variable", "project": made}
            assert reviewer.post("/api/assignments", json=given).json() == {"assigned": 1}
            other = next(clip["id"] for clip in reviewer.get("/api/clips").json()["clips"] if clip["id"] != number)
            assert reviewer.get(f"/api/review/{other}/wording").json() == {"offered": False, "model": None}
            assert reviewer.post(f"/api/review/{other}/wording", json=note).status_code == 404
        again = studio(place=squares, store=tmp_path / "again")
        again.settle()
        assert again.post("/api/import", rows)["traces"] == 1
        assert again.get("/api/export/all_data.json") == rows
        again.post("/api/review/1/wording", note, status=404)


def test_half_a_wording_is_none(studio: Start, squares: Path) -> None:
    choice = {"message": {"content": "The hand loses its"}, "finish_reason": "length"}
    long = {"message": {"content": "word " * 300}, "finish_reason": "stop"}
    answers = [(200, json.dumps({"choices": [one]})) for one in (choice, long)]
    with language_model(*answers, "Whole.") as model:
        one = studio(place=squares, wording=f"tidy@{model.url}")
        for _ in answers:
            said = one.post("/api/review/1/wording", {"explanation": "it melts"}, status=502)["detail"]
            assert said == "tidy gave no wording: it was cut off before its end (at most 400 tokens)"
        assert one.post("/api/review/1/wording", {"explanation": "it melts"})["standard"] == "Whole."


def test_a_wording_from_nowhere_is_one_line(studio: Start, squares: Path) -> None:
    one = studio(place=squares, wording="tidy@http://127.0.0.1:1/v1")
    said = one.post("/api/review/1/wording", {"explanation": "it melts"}, status=502)["detail"]
    assert said.startswith("tidy gave no wording: ")
    assert "\n" not in said
    for name, why in (
        ("@http://127.0.0.1:1/v1", "--wording: no model is named. Use --wording MODEL@http"),
        ("nonsense", "--wording: no address is named. Use --wording MODEL@http"),
        ("tidy@http://me:secret@127.0.0.1/v1", "--wording: the address carries credentials"),
    ):
        with pytest.raises(SettingsError) as refused:
            studio(place=squares, wording=name)
        assert str(refused.value).startswith(why)


def test_who_asks_for_a_wording_behind_many_is_told_so_at_once(studio: Start, squares: Path) -> None:
    hold = socket.create_server(("127.0.0.1", 0))  # takes connections, and never answers
    one = studio(place=squares, wording=f"tidy@http://127.0.0.1:{hold.getsockname()[1]}/v1")
    one.settle()
    codes: list[int] = []

    def ask() -> None:
        with httpx.Client(base_url=one.url, headers=OURS, timeout=30, trust_env=False) as http:
            codes.append(http.post("/api/review/1/wording", json={"explanation": "it melts"}).status_code)

    threads = [threading.Thread(target=ask) for _ in range(12)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 10
    while len(codes) < 6 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert codes == [429] * 6
    for connection in (hold.accept()[0] for _ in range(2)):
        connection.close()
    hold.close()
    for thread in threads:
        thread.join(30)
    assert sorted(codes) == [429] * 6 + [502] * 6


def test_imported_labels_ask_for_what_an_edit_asks_for(studio: Start, squares: Path, tmp_path: Path) -> None:
    one = studio(place=squares, **team(tmp_path, more=MORE))
    one.settle()
    with client(one, "reviewer") as reviewer, client(one, "other") as other:
        rows = [
            {"video_id": name, "video_type": "fake_video", "video_path": f"{name}.mp4", "video_width": 320}
            | {"video_height": 180, "video_frame_rate": 10.0, "faketrace_first_frame": 0, "faketrace_duration": 1.0}
            | {"faketrace_check_applies": ["sudden_blurring"], "faketrace_explanations": "It blurs."}
            for name in ("constant", "variable")
        ]
        project = reviewer.post("/api/projects", json={"name": "shapes", "kinds": ["object_distortion"]}).json()["id"]
        assert reviewer.post("/api/assignments", json={"first": "first", "q": "constant"}).status_code == 201
        given = {"first": "other", "q": "variable", "project": project}
        assert reviewer.post("/api/assignments", json=given).status_code == 201
        said = other.post("/api/import", json=rows).json()
        assert (said["imported"], said["traces"], len(said["refused"])) == (0, 0, 2)
        assert said["refused"][0] == "constant.mp4: this clip is assigned to others"
        assert said["refused"][1] == "variable.mp4: shapes does not mark 'Sudden blurring'"
        fits = rows[1] | {"faketrace_check_applies": ["object_distortion"]}
        assert other.post("/api/import", json=[rows[0], fits]).json()["imported"] == 1


def test_two_annotators_and_a_reviewer_come_to_a_decision(
    studio: Start, tmp_path: Path, visit: Callable[..., Any]
) -> None:
    needs_chromium()
    axe = needs("axe_playwright_python.sync_playwright", command="make test")
    place = tmp_path / "clips"
    write_square(place / "square.mp4", variable=True)
    write_square(place / "untouched.mp4")
    one = studio(place=place, **team(tmp_path, more=MORE))
    one.settle()
    reviewer = enter(one, visit, "reviewer", "/review")
    form = reviewer.get_by_role("form", name="Assign")
    form.get_by_label("First round").select_option("first")
    form.get_by_label("Second round, blind").select_option("second")
    form.get_by_label("Name contains").fill("square")
    form.get_by_role("button", name="Assign").click()
    reviewer.get_by_text("1 clip assigned").wait_for()

    def annotate(name: str, *keys: str) -> None:
        page = enter(one, visit, name, "/")
        page.get_by_role("link", name="My clips (1)").click()
        page.get_by_role("link", name="square.mp4").click()
        until(page, f"{SAVED} && document.querySelector('.editor') !== null")
        assert page.locator(".traces li").count() == 0  # whoever came before
        for key in keys:
            page.keyboard.press(key)
        page.get_by_role("button", name="Hand in").click()
        page.get_by_role("button", name="✓ handed in").wait_for()
        until(page, SAVED)
        page.get_by_role("link", name="My clips", exact=True).last.click()
        page.get_by_text("✓ handed in").wait_for()

    annotate("first", "t", "2")
    annotate("second", "t", "3", "d", "t", "5")
    reviewer.goto(one.url + "/review")
    reviewer.get_by_role("link", name="square.mp4").click()
    mine, theirs = (reviewer.get_by_role("region", name=f"Round of {name}") for name in ("first", "second"))
    theirs.locator(".traces li").nth(1).wait_for()
    assert mine.locator(".traces li").count() == 1
    assert reviewer.locator(".agreement").text_content().startswith("box IoU")
    # takes all of one, leaves something out, merges, and edits
    theirs.get_by_role("button", name="Take all of it").click()
    decision = reviewer.get_by_role("complementary", name="Decision")
    decision.get_by_role("button", name="Leave out").nth(1).click()
    mine.get_by_role("button", name="Take", exact=True).click()
    until(reviewer, f"{SAVED} && document.querySelectorAll('aside .traces li').length === 2")
    assert wrong(axe, reviewer, "review") == {}
    decision.get_by_role("button", name="Edit").click()
    until(reviewer, f"{SAVED} && document.querySelector('.editor') !== null")
    reviewer.locator(".traces button").first.click()
    reviewer.keyboard.press("1")
    reviewer.get_by_role("button", name="Decide").click()
    reviewer.get_by_role("button", name="✓ decided").wait_for()
    until(reviewer, SAVED)
    with client(one, "reviewer") as http:
        number = next(clip["id"] for clip in http.get("/api/clips").json()["clips"] if clip["name"] == "square.mp4")
        objects = http.get(f"/api/review/{number}/annotation").json()["objects"]
        (place / "all_data.json").write_bytes(http.get("/api/export/all_data.json").content)
    kept = [value for value in objects.values() if value["type"] == "trace"]
    assert len(kept) == 2
    assert sum("object_distortion" in value["kinds"] for value in kept) == 1
    (sample,) = read_reward_data(place)
    assert (sample.path, sample.label) == ("square.mp4", Label.FAKE)
    exported = sorted(
        (one.categories, one.box.as_tuple(), one.onset_s, one.offset_s) for one in sample.traces if one.box
    )
    decided = [
        (tuple(map(Category, one["kinds"])), tuple(one["keys"][0]["box"]), one["onset_s"], one["offset_s"])
        for one in kept
    ]
    assert json.loads(json.dumps(exported)) == [
        [list(kinds), pytest.approx(list(box)), pytest.approx(onset), pytest.approx(offset)]
        for kinds, box, onset, offset in sorted(decided)
    ]


def enter(one: Studio, visit: Callable[..., Any], name: str, path: str) -> Any:
    """Log in as somebody by the form, and come to a page."""
    page = visit(one, path)
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.locator(".who").wait_for()
    return page
