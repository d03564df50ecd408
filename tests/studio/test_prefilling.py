"""What the detector's traces do to people's work: seconds, and how near they come to what is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.needs import needs, needs_chromium
from tests.reports.detection_page.conftest import verdict_on
from tests.studio.conftest import SAVED, Start, client, needs_studio, team, until, write_run, write_square
from tests.studio.test_in_browser import wrong
from tests.studio.test_review import enter, facts, sent, trace
from tests.studio.test_store import add_clip

sa = needs_studio()

from deeptrace.detectors import Analysis  # noqa: E402
from deeptrace.geometry import Box  # noqa: E402
from deeptrace.schema import Label, Trace, Verdict  # noqa: E402
from deeptrace.studio.accounts import AccountError  # noqa: E402
from deeptrace.studio.annotations import CONSENSUS, EditBody, add_edits, history_of  # noqa: E402
from deeptrace.studio.database import Database, assignments, clips, edits, now, people  # noqa: E402
from deeptrace.studio.prefilling import prefilling  # noqa: E402
from deeptrace.studio.projects import add_project  # noqa: E402
from deeptrace.studio.workshop import keep_verdict  # noqa: E402

MEDIA = {"width": 64, "height": 36, "duration_s": 1.0}


def timed(seconds: float | None, version: int, **objects: Any) -> EditBody:
    """Edits that make these objects; the first took so long."""
    body = sent(version, **objects)
    body["edits"][0]["active_s"] = seconds
    return EditBody.model_validate(body)


@pytest.fixture
def made(database_url: str) -> tuple[Database, int]:
    """A project of 24 tasks, half of them begun from a detector's traces, which people follow half of the way."""
    database = Database(database_url)
    with database.writing() as connection:
        row = {"name": "ann", "role": "annotator", "password": "", "active": True, "made_at": now()}
        person = connection.execute(sa.insert(people).values(**row).returning(people.c.id)).scalar_one()
    number = add_project(database, name="P", guidelines="", kinds=[], prefilled_percent=50, by="r")
    left = Trace(box=Box(x0=0.0, y0=0.0, x1=0.5, y1=1.0), onset_s=0.0, offset_s=1.0)
    found = Verdict(video="a", outcome="scored", label=Label.FAKE, p_fake=0.9, traces=(left,), decision="generated")
    for at in range(24):
        clip_id = add_clip(database, f"{at:02}.mp4")
        prefilled, trap = at % 2 == 0, at < 12
        with database.writing() as connection:
            connection.execute(sa.update(clips).where(clips.c.id == clip_id).values(media=MEDIA))
            keep_verdict(connection, clip_id, Analysis(found), has_heat=False)
            whose = {"clip_id": clip_id, "person_id": person, "round": 1, "project_id": number}
            how = {"prefilled": prefilled, "honeypot": trap, "assigned_by": "r", "assigned_at": now()}
            connection.execute(sa.insert(assignments).values(**whose, **how))
        # the detector marks the left half, what is known is the whole: pre-filled, people mark three quarters
        add_edits(database, clip_id, CONSENSUS, timed(None, 0, a=trace(1.0), clip=facts("FAKE")), by="r")
        if at == 23:
            continue  # not handed in
        mine = trace(0.75 if prefilled else 1.0)
        seconds = None if at == 22 else 10.0 + at % 4 if prefilled else 20.0 + at % 4
        add_edits(database, clip_id, "ann", timed(seconds, 0, a=mine))
        add_edits(database, clip_id, "ann", timed(None, 1, clip=facts("FAKE" if prefilled else "REAL")))
    return database, number


def test_time_saved_and_people_led_are_what_was_made(made: tuple[Database, int]) -> None:
    database, number = made
    found = prefilling(database, number)
    assert [(found[name]["tasks"], found[name]["handed_in"]) for name in ("prefilled", "blank")] == [(12, 12), (12, 11)]
    seconds = {name: found[name]["seconds"] for name in ("prefilled", "blank", "difference")}
    assert [seconds[name]["n"] for name in seconds] == [11, 11, 22]  # of one nobody measured
    slow, quick = (
        (20.0 + np.array([at % 4 for at in range(1, 22, 2)])),
        (10.0 + np.array([at % 4 for at in range(0, 21, 2)])),
    )
    assert seconds["blank"]["mean"] == pytest.approx(slow.mean())
    assert seconds["prefilled"]["mean"] == pytest.approx(quick.mean())
    assert seconds["difference"]["mean"] == pytest.approx(quick.mean() - slow.mean())
    for name, values in (("blank", slow), ("prefilled", quick)):
        low, high = seconds[name]["interval"]
        assert low < values.mean() < high
        # twice 1.96 standard errors, give or take what resampling and few tasks do
        assert high - low == pytest.approx(3.92 * values.std() / len(values) ** 0.5, rel=0.25)
    low, high = seconds["difference"]["interval"]
    assert high < -8
    expected = {
        "known_overlap": (0.75, 1.0, 6, 6),
        "decided_overlap": (0.75, 1.0, 6, 5),
        "detector_overlap": (2 / 3, 0.5, 12, 11),
        "known_label": (1.0, 0.0, 6, 6),
        "decided_label": (1.0, 0.0, 6, 5),
        "detector_label": (1.0, 0.0, 12, 11),
    }
    for measure, (led, blank, led_n, blank_n) in expected.items():
        said = found["prefilled"][measure], found["blank"][measure]
        assert [one["mean"] for one in said] == pytest.approx([led, blank]), measure
        assert [one["n"] for one in said] == [led_n, blank_n]
        assert found["difference"][measure]["mean"] == pytest.approx(led - blank)
    with pytest.raises(AccountError, match="there is no project 77"):
        prefilling(database, 77)
    # of a project in which nothing is done, nothing is said
    empty = prefilling(database, add_project(database, name="E", guidelines="", kinds=[], prefilled_percent=0, by="r"))
    assert empty["blank"] == {"tasks": 0, "handed_in": 0} | {
        name: {"n": 0, "mean": None, "interval": None} for name in ("seconds", *expected)
    }
    # back to the schema before: edits stay, their seconds are gone
    with database.reading() as connection:
        before = connection.scalar(sa.select(sa.func.count()).select_from(edits))
    database.migrate("0006")
    database.migrate("head")
    with database.reading() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(edits)) == before
        assert history_of(connection, 1, "ann")[0]["active_s"] is None
    database.close()


def test_pauses_are_no_work(studio: Start, tmp_path: Path, visit: Callable[..., Any]) -> None:
    needs_chromium()
    axe = needs("axe_playwright_python.sync_playwright", command="make test")
    path = write_square(tmp_path / "square.mp4")
    one = studio(place=write_run(tmp_path / "run", [verdict_on(path)]), **team(tmp_path))
    one.settle()
    with client(one, "reviewer") as http:
        number = http.get("/api/clips").json()["clips"][0]["id"]
        project = http.post("/api/projects", json={"name": "Timed"}).json()["id"]
        given = {"first": "annotator", "project": project}
        assert http.post("/api/assignments", json=given).json() == {"assigned": 1}
    page = enter(one, visit, "annotator", "/work")
    # The clock of the page: three minutes go by at once.
    page.clock.install()
    page.goto(f"{one.url}/annotate/{number}")
    until(page, f"{SAVED} && document.querySelector('.editor') !== null")

    def after(*seconds: int) -> None:
        for wait in seconds:
            page.mouse.move(300 + wait, 300)
            page.clock.run_for(wait * 1000)
        page.mouse.move(310, 310)

    after(20, 30)
    page.keyboard.press("t")
    after(180, 10)  # somebody is called away
    page.get_by_role("button", name="Hand in").click()
    page.get_by_role("button", name="✓ handed in").wait_for()
    until(page, SAVED)
    with client(one, "annotator") as http:
        spent = [change["active_s"] or 0.0 for change in http.get(f"/api/clips/{number}/annotation/edits").json()]
    assert 50 <= spent[0] < 60
    assert 60 <= sum(spent) < 75
    reviewer = enter(one, visit, "reviewer", "/review")
    reviewer.get_by_role("button", name="Time and agreement with and without the detector's traces in Timed").click()
    row = reviewer.get_by_role("region", name="Pre-filling of Timed").locator("tr", has_text="Seconds of work")
    row.wait_for()  # reading texts waits for nothing
    assert row.locator("td").all_text_contents() == ["–", f"{sum(spent):.1f}", "–"]
    assert wrong(axe, reviewer, "pre-filling") == {}
