"""Explore, in a real Chromium."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from tests.needs import needs, needs_chromium
from tests.reports.detection_page.conftest import HOSTILE_TEXT, OFFSET_S, ONSET_S, box_of
from tests.studio.conftest import (
    INDEX,
    Start,
    Studio,
    answers_on,
    at_frame,
    needs_studio,
    quickest,
    until,
    write_rows,
    write_verdicts,
)
from tests.studio.test_in_browser import shows_square, wrong

from deeptrace.benchmark.folder import read_run
from deeptrace.benchmark.leaderboard import add_entry, entry_of_run, read_entries
from deeptrace.benchmark.run import evaluate
from deeptrace.schema import Label, Media, Sample, Verdict

needs_studio()
needs_chromium()

LEADERBOARD = Path(__file__).resolve().parents[2] / "docs" / "leaderboard"
TOTAL = "(document.querySelector('.total')?.textContent ?? '')"


@pytest.fixture
def one(studio: Start, reward_data: Path) -> Studio:
    return studio(data=reward_data, predictions=answers_on(reward_data))


def boxes(page: Any) -> dict[str, list[float]]:
    """The drawn boxes by whose they are, as fractions of the picture on the screen."""
    found = page.evaluate("""() => [...document.querySelectorAll('.boxes rect.box')].map((box) => {
        const a = box.getBBox(), v = document.querySelector('.boxes').getBoundingClientRect();
        const sides = [a.x / v.width, a.y / v.height, (a.x + a.width) / v.width, (a.y + a.height) / v.height];
        return [box.dataset.trace.split('-')[0], sides];
    })""")
    return dict(found)


def heading(name: str) -> str:
    return f"document.querySelector('h1')?.textContent === '{name}'"


@pytest.mark.parametrize("name", ["constant", "variable"])
def test_truth_and_answers_lie_on_the_very_frame_shown(one: Studio, visit, name: str) -> None:
    page = visit(one, f"/explore?video={name}")
    until(page, f"{INDEX} > 0 && document.querySelector('video')?.readyState > 1")
    clip = one.get("/api/explore/video", params={"id": name})["clip"]["id"]
    times = one.get(f"/api/clips/{clip}/times")
    alive = [index for index, time_s in enumerate(times) if ONSET_S <= time_s < OFFSET_S]
    at_frame(page, round((alive[0] + alive[-1]) / 2))  # it opens in the middle of the first trace
    page.keyboard.press("Home")
    at_frame(page, 0)
    assert boxes(page) == {}
    for _ in range(alive[0] - 1):
        page.keyboard.press("ArrowRight")
    at_frame(page, alive[0] - 1)
    assert boxes(page) == {}
    page.keyboard.press("ArrowRight")
    at_frame(page, alive[0])
    expected = pytest.approx(box_of(times[alive[0]]).as_tuple(), abs=1e-3)
    found = boxes(page)
    assert (found["truth"], found["good"]) == (expected, expected)
    assert found.get("bad") == (pytest.approx((0.8, 0.05, 0.95, 0.2), abs=1e-3) if name == "constant" else None)
    shows_square(page, box_of(times[alive[0]]).as_tuple(), 1.5)
    page.keyboard.press("1")  # the first model's boxes are switched off
    until(
        page, "![...document.querySelectorAll('.boxes rect.box')].some((box) => box.dataset.trace.startsWith('good'))"
    )
    assert set(boxes(page)) == {"truth", "bad"} - ({"bad"} if name == "variable" else set())
    page.keyboard.press("End")
    at_frame(page, len(times) - 1)
    assert boxes(page) == {}


def test_from_the_gallery_to_a_failure_and_back(one: Studio, visit) -> None:
    page = visit(one, "/")  # a studio on a dataset alone opens on it
    until(page, f"{TOTAL} === '5 of 5 videos' && document.querySelectorAll('.card img').length === 3")
    until(
        page,
        "[...document.querySelectorAll('.thumb.empty')].map((one) => one.textContent).join()"
        " === 'cannot be read,not here'",
    )
    page.get_by_role("combobox", name="Model", exact=True).select_option(label="bad")
    page.get_by_label("Result of bad").select_option("wrong")
    page.get_by_label("Order").select_option("worst up")
    until(page, f"{TOTAL} === '3 of 5 videos' && document.querySelector('.card .name')?.textContent === 'real'")
    page.locator(".card").first.click()
    until(page, heading("real"))
    told = page.locator(".told", has_text="bad")
    assert "False alarms" in told.text_content()
    assert HOSTILE_TEXT in told.text_content()
    page.keyboard.press("j")
    until(page, heading("variable"))
    page.keyboard.press("j")
    until(page, heading("spoilt"))
    page.locator(".missing").wait_for()
    assert "no video container" in page.locator(".missing").text_content()
    page.get_by_text("The answer as it was written").click()
    assert page.locator(".told pre").text_content() == HOSTILE_TEXT
    page.keyboard.press("Escape")
    until(page, f"{TOTAL} === '3 of 5 videos'")
    page.go_back()
    until(page, heading("spoilt"))
    page.reload()
    until(page, heading("spoilt"))  # what was chosen is in the address
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Clear").click()
    until(page, f"{TOTAL} === '5 of 5 videos'")
    page.get_by_role("link", name="List").click()
    until(page, "document.querySelectorAll('a.lines').length === 5")
    page.keyboard.press("/")
    page.keyboard.type("lost")
    until(page, f"{TOTAL} === '1 of 5 videos' && document.querySelectorAll('a.lines').length === 1")
    page.locator("a.lines").click()
    page.locator(".missing", has_text="The file is not here").wait_for()
    assert page.locator("img[onerror], script:not([src])").count() == 0


def test_models_side_by_side_lead_to_their_failures(one: Studio, visit) -> None:
    page = visit(one, "/explore?view=models")
    page.locator(".figures[data-full=true]").wait_for(timeout=60_000)
    row = page.locator("section", has=page.get_by_role("heading", name="REAL or FAKE")).locator("tbody tr")
    cells = [cell.text_content() for cell in row.nth(0).locator("td").all()]
    assert cells[0].startswith("100.0")
    assert row.nth(0).locator("td.best").count() > 2
    part = page.get_by_role("region", name="Differences")
    part.get_by_role("button", name="Compare").click()
    part.locator("tbody tr").first.wait_for(timeout=60_000)
    assert part.locator("thead").first.locator("th").all_text_contents()[1:3] == ["good", "bad"]
    part.get_by_label("Against it").select_option("0")
    assert part.get_by_role("button", name="Compare").is_disabled()
    until(page, "document.querySelectorAll('.plots svg circle').length >= 5")
    ink = "getComputedStyle(document.querySelector('.plots svg text')).fill"
    light = page.evaluate(ink)
    page.get_by_role("button", name="Dark").click()
    until(page, f"{ink} !== '{light}'")  # the drawing takes the page's colours
    page.locator("a[href*='model=1'][href*='result=missed']").click()
    until(page, f"{TOTAL} === '1 of 5 videos' && document.querySelector('.card .name')?.textContent === 'variable'")
    page.goto(one.url + "/explore?view=counts")
    page.get_by_role("link", name="Sora").click()
    until(page, f"{TOTAL} === '2 of 5 videos'")


@pytest.mark.parametrize("width", [1280, pytest.param(390, marks=pytest.mark.slow)])
def test_nothing_sticks_out_sideways(one: Studio, visit, width: int) -> None:
    page = visit(one, "/explore", viewport={"width": width, "height": 800})
    for path, there in (
        ("/explore", ".card"),
        ("/explore?view=list", "a.lines"),
        ("/explore?view=models", ".measures"),
        ("/explore?view=counts", ".bars"),
        ("/explore?video=constant", ".controls"),
    ):
        page.goto(one.url + path)
        page.locator(there).first.wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
def test_axe_finds_nothing_against_wcag_aa(one: Studio, visit, scheme: str) -> None:
    axe = needs("axe_playwright_python.sync_playwright", command="make test")
    page = visit(one, "/explore", color_scheme=scheme)
    found: dict[str, list[str]] = {}
    for name, path, there in (
        ("gallery", "/explore?model=1&result=wrong", ".card"),
        ("list", "/explore?view=list", "a.lines"),
        ("models", "/explore?view=models", ".plots svg"),
        ("counts", "/explore?view=counts", ".bars"),
        ("video", "/explore?video=constant", ".controls"),
    ):
        page.goto(one.url + path)
        page.locator(there).first.wait_for()
        found |= wrong(axe, page, name)
    assert found == {}


@pytest.fixture(scope="module")
def ten_thousand(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of 10,000 videos whose files are not here, and what a model said of them."""
    root = tmp_path_factory.mktemp("many") / "Many"
    root.mkdir()
    media = Media(width=640, height=360, duration_s=4.0, fps=25.0)
    samples = [
        Sample(
            video_id=f"{number:05}",
            path=f"{number:05}.mp4",
            label=Label.FAKE if number % 2 else Label.REAL,
            source=f"generator {number % 20:02}",
            split="test",
            media=media,
        )
        for number in range(10_000)
    ]
    write_rows(root / "all_data.json", samples)
    answers = [
        Verdict(
            video=sample.video_id,
            outcome="scored",
            label=Label.FAKE if number % 3 else Label.REAL,
            p_fake=(number * 7919 % 10_000) / 10_000,
        )
        for number, sample in enumerate(samples)
    ]
    write_verdicts(root.parent / "said.jsonl", answers)
    return root


def test_ten_thousand_videos_stay_fluid(studio: Start, ten_thousand: Path, visit) -> None:
    one = studio(data=ten_thousand, predictions=(ten_thousand.parent / "said.jsonl",))

    def took_s(query: str) -> float:
        began = time.perf_counter()
        one.get(f"/api/explore/videos?{query}")
        return time.perf_counter() - began

    for query in (
        "q=0999",
        "label=FAKE&result=wrong&sort=worst",
        "source=generator 07&sort=p",
        "offset=9900&sort=name",
    ):
        assert quickest(lambda query=query: took_s(query), 1.0) < 1.0, query
    page = visit(one, "/explore?view=list")
    until(page, "document.querySelectorAll('a.lines').length > 5")
    page.evaluate("document.querySelector('.rows').scrollTop = 1e9")
    until(page, "[...document.querySelectorAll('a.lines .name')].at(-1)?.textContent === '09999'")
    assert page.evaluate("document.querySelectorAll('a.lines').length") < 60
    page.evaluate("document.querySelector('.rows').scrollTop = 5000 * 40")
    until(page, "[...document.querySelectorAll('a.lines .name')].some((one) => one.textContent === '05000')")
    page.goto(one.url + "/explore?sort=p&order=down&label=REAL")
    until(page, f"{TOTAL} === '5000 of 10000 videos' && document.querySelectorAll('.card').length > 5")
    assert page.evaluate("document.querySelectorAll('.card').length") < 80
    page.evaluate("document.querySelector('.rows').scrollTop = 1e9")
    until(page, "[...document.querySelectorAll('.card .said')].at(-1)?.textContent.endsWith('0.00')")


def test_the_leaderboard_is_sorted_by_what_one_clicks(studio: Start, tmp_path: Path, visit) -> None:
    for file in LEADERBOARD.glob("*.json"):
        shutil.copy(file, tmp_path)
    one = studio(leaderboard=tmp_path)
    boards = one.get("/api/leaderboard")
    titles = [column["title"] for column in boards[0]["columns"]]
    at, late = titles.index("acc (videos)"), titles.index("time dist")
    stated = {f"{entry.data.name}, {entry.data.split}": [] for entry in read_entries(LEADERBOARD)}
    for entry in read_entries(LEADERBOARD):
        stated[f"{entry.data.name}, {entry.data.split}"].append(entry)
    page = visit(one, "/leaderboard")
    page.locator("main h2").first.wait_for()
    assert page.locator("main h2").all_text_contents() == sorted(stated)
    for name, entries in stated.items():
        table = page.get_by_role("region", name=name)
        figures = {entry.name: entry.scores["per_video"]["accuracy"] for entry in entries}
        best = sorted(figures, key=lambda one: (figures[one] is None, -(figures[one] or 0)))
        worst = sorted(figures, key=lambda one: (figures[one] is None, figures[one] or 0))
        for wanted, order in ((best, "descending"), (worst, "ascending")):
            table.get_by_role("button", name="acc (videos) ↑").click()
            table.locator(f"th[aria-sort={order}]").wait_for()
            assert table.locator("tbody th").all_text_contents() == wanted
        cells = [row.locator("td") for row in table.locator("tbody tr").all()]
        for method, row in zip(wanted, cells, strict=True):
            (entry,) = (entry for entry in entries if entry.name == method)
            said = row.nth(at).text_content()
            assert said.startswith("–" if figures[method] is None else f"{figures[method]:.1f}")
            if limits := entry.intervals.get("per_video.accuracy"):
                assert said.endswith(f"{limits[0]:.1f}–{limits[1]:.1f}")
    table.get_by_role("button", name="time dist ↓").click()  # less is better
    table.locator("th[aria-sort]", has_text="time dist").wait_for()
    assert table.locator("thead th").nth(late + 1).get_attribute("aria-sort") == "ascending"
    axe = needs("axe_playwright_python.sync_playwright", command="make test")
    assert wrong(axe, page, "leaderboard") == {}
    (tmp_path / "broken.json").write_text("{}")
    assert "broken.json" in one.get("/api/leaderboard", 422)["detail"]


def test_a_figure_of_the_leaderboard_leads_to_the_videos_behind_it(
    studio: Start, reward_data: Path, tmp_path: Path, visit
) -> None:
    board = tmp_path / "board"
    for path in answers_on(reward_data):
        run = tmp_path / path.stem
        evaluate(reward_data, split="test", predictions=path, out=run, bootstrap=0)
        add_entry(entry_of_run(read_run(run), name=path.stem, submitted_by="me"), board)
    # "good" is known to Explore as a file of answers only, and a file is no run
    one = studio(data=reward_data, predictions=(answers_on(reward_data)[0], tmp_path / "bad"), leaderboard=board)
    page = visit(one, "/leaderboard")
    good, bad = (page.locator("tbody tr", has=page.locator("th", has_text=name)) for name in ("good", "bad"))
    bad.wait_for()
    assert good.get_by_role("link").count() == 0
    heads = page.locator("thead th").all_text_contents()

    def behind(title: str) -> list[str]:
        (at,) = (at for at, head in enumerate(heads) if head.startswith(title))
        bad.locator("td").nth(at - 1).get_by_role("link").click()
        page.locator(".card .name").first.wait_for()
        found = page.locator(".card .name").all_text_contents()
        page.go_back()
        bad.wait_for()
        return found

    assert behind("acc (videos)") == ["real", "variable", "spoilt"]  # 0.95 for a real one, 0.2 for a generated one
    assert behind("vIoU") == ["constant", "variable", "spoilt"]  # and not "lost", which is in another split
    assert behind("Failed") == ["spoilt"]
