"""What people do in the studio, in a real Chromium."""

from __future__ import annotations

import csv
import io
import json
import time
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image
from tests.needs import needs, needs_chromium
from tests.reports.detection_page.conftest import (
    COUNT,
    FPS,
    HEIGHT,
    HOSTILE_TEXT,
    OFFSET_S,
    ONSET_S,
    WIDTH,
    box_of,
    moving_square,
    verdict_on,
)
from tests.signing import make_authority, sign
from tests.studio.conftest import INDEX, Start, Studio, at_frame, needs_studio, quickest, until, write_run, write_square

from deeptrace.data import read_reward_data
from deeptrace.detectors.curves import CHANCE, CURVES, camera_range
from deeptrace.inference import DetectRun, Job, expand_inputs
from deeptrace.schema import ContentCredentials, CredentialsState, Label, Verdict

needs_studio()
needs_chromium()


def shows_square(page: Any, expected: tuple[float, ...], pixels: float) -> None:
    """The square is where it belongs, within so many pixels of the clip, once the browser has painted the frame."""
    deadline = time.monotonic() + 10
    while (found := white_square(page)) != pytest.approx(expected, abs=pixels / HEIGHT):
        assert time.monotonic() < deadline, f"expected the square at {expected} but it is at {found}"
        page.wait_for_timeout(50)


def white_square(page: Any) -> tuple[float, ...]:
    """Left, top, right and bottom of the bright area of the picture on the screen, in fractions of it."""
    hide = "(shown) => { for (const e of document.querySelectorAll('.boxes, .tag')) e.style.visibility = shown; }"
    page.evaluate(hide, "hidden")
    image = np.asarray(Image.open(BytesIO(page.locator("video").screenshot())).convert("L"))
    page.evaluate(hide, "")
    height, width = image.shape
    rows, columns = np.nonzero(image[3:-3, 3:-3] > 128)
    if not len(rows):
        return ()
    left, top, right, bottom = columns.min() + 3, rows.min() + 3, columns.max() + 4, rows.max() + 4
    return left / width, top / height, right / width, bottom / height


def drawn_box(page: Any) -> tuple[float, ...] | None:
    """The drawn box as fractions of the video element on the screen."""
    return page.evaluate("""() => {
        const box = document.querySelector('.boxes rect.box');
        if (!box) return null;
        const a = box.getBBox(), v = document.querySelector('.boxes').getBoundingClientRect();
        return [a.x / v.width, a.y / v.height, (a.x + a.width) / v.width, (a.y + a.height) / v.height];
    }""")


def clip_id(one: Studio, name: str) -> int:
    return next(clip["id"] for clip in one.get("/api/clips")["clips"] if clip["name"].endswith(name))


def test_curves_lie_over_the_range_of_camera_footage(studio: Start, tmp_path: Path, visit) -> None:
    clip = write_square(tmp_path / "square.mp4")
    with DetectRun(expand_inputs([str(clip)]), job=Job(evidence=True), out=tmp_path / "run") as run:
        (found,) = run.results()
    one = studio(place=tmp_path / "run")
    one.settle()
    number = clip_id(one, "square.mp4")
    detector = found.verdict.detector
    assert found.curves.keys() == {CHANCE, *CURVES.values()}
    said = {name: tuple(ends) for name, ends in one.get(f"/api/clips/{number}")["ranges"].items()}
    assert said == {name: camera_range(name, detector) for name in found.curves}
    page = visit(one, f"/clip/{number}")
    page.locator(".curves .usual").first.wait_for(state="attached")
    for figure in page.locator(".curves figure").all():
        band, plot = figure.locator(".usual").bounding_box(), figure.locator("svg").bounding_box()
        assert plot["y"] <= band["y"]
        assert 1 < band["height"] < plot["height"]
    assert "camera footage" in page.locator(".curves > p").text_content()


# -- inspect -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["constant.mp4", "variable.mp4"])
def test_the_box_is_on_the_square_of_the_very_frame_shown(studio: Start, squares: Path, visit, name: str) -> None:
    one = studio(place=squares)
    one.settle()
    number = clip_id(one, name)
    times = one.get(f"/api/clips/{number}/times")
    page = visit(one, f"/clip/{number}")
    first = next(index for index, time_s in enumerate(times) if time_s >= ONSET_S)
    last = max(index for index, time_s in enumerate(times) if time_s < OFFSET_S)
    at_frame(page, first + 1)  # it opens on what gives it away
    page.keyboard.press("Home")
    at_frame(page, 0)
    assert drawn_box(page) is None
    for _ in range(first - 1):
        page.keyboard.press("ArrowRight")
    at_frame(page, first - 1)
    assert drawn_box(page) is None  # the very frame before the onset
    for index in range(first, last + 1, 3):
        while page.evaluate(INDEX) < index:
            before = page.evaluate(INDEX)
            page.keyboard.press("ArrowRight")
            at_frame(page, before + 1)
        expected = box_of(times[index]).as_tuple()
        assert drawn_box(page) == pytest.approx(expected, abs=1e-3)
        shows_square(page, expected, 1.5)
    page.keyboard.press("End")
    at_frame(page, len(times) - 1)
    assert drawn_box(page) is None


def write_rotated(path: Path) -> Path:
    """The moving square as a phone keeps it: lying on its side, with a note that says how to turn it."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=int(FPS), options={"crf": "8"})
        stream.width, stream.height, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        stream.set_display_rotation(90)  # counter-clockwise, to make it upright
        for frame in moving_square(np.arange(COUNT) / FPS):
            stored = np.ascontiguousarray(np.rot90(frame.image, -1))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(stored, format="rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("kind", ["hevc", "rotated"])
def test_rotated_and_proxied_clips_show_the_box_on_the_square(studio: Start, tmp_path: Path, visit, kind: str) -> None:
    name = f"{kind}.mp4"
    if kind == "hevc":
        path = write_square(tmp_path / name, codec="libx265", variable=True)
    else:
        path = write_rotated(tmp_path / name)
    one = studio(place=write_run(tmp_path / "run", [verdict_on(path)]))
    one.settle()
    number = clip_id(one, name)
    times = one.get(f"/api/clips/{number}/times")
    page = visit(one, f"/clip/{number}")
    index = next(index for index, time_s in enumerate(times) if time_s >= ONSET_S) + 1
    at_frame(page, index)
    expected = box_of(times[index]).as_tuple()
    assert drawn_box(page) == pytest.approx(expected, abs=1e-3)
    shows_square(page, expected, 2.5)
    said = page.locator(".facts").text_content()
    assert f"{WIDTH} × {HEIGHT}" in said
    assert ("H.264 copy with the same timestamps" in said) == (kind == "hevc")


def test_the_box_keeps_up_while_playing_and_a_trace_loops(studio: Start, squares: Path, visit) -> None:
    one = studio(place=squares)
    one.settle()
    number = clip_id(one, "variable.mp4")
    times = one.get(f"/api/clips/{number}/times")
    page = visit(one, f"/clip/{number}")
    until(page, f"{INDEX} > 0")
    page.locator(".traces button").click()
    page.locator(".speed select").select_option("2")
    alive = [index for index, time_s in enumerate(times) if ONSET_S <= time_s < OFFSET_S]
    until(page, f"{INDEX} >= {alive[0]} && !document.querySelector('video').seeking")
    seen = []
    for _ in range(25):
        page.wait_for_timeout(60)
        seen.append(page.evaluate(INDEX))
    assert len(set(seen)) > 4
    assert any(later < earlier for earlier, later in pairwise(seen))  # it began again
    # A frame or two may flash by at the seam; more would mean that it plays on.
    assert sum(index in alive for index in seen) >= 0.7 * len(seen)
    page.keyboard.press(" ")
    until(page, "document.querySelector('video').paused && !document.querySelector('video').seeking")
    page.wait_for_timeout(250)
    at_frame(page, shown := page.evaluate(INDEX))
    shows_square(page, box_of(times[shown]).as_tuple(), 2.5)


def test_a_dropped_clip_is_analysed_before_ones_eyes(studio: Start, tmp_path: Path, visit) -> None:
    one = studio()
    page = visit(one, "/")
    path = write_square(tmp_path / "<img src=x onerror=alert(1)>.mp4")
    page.locator("input[type=file]").set_input_files(str(path))
    page.locator(".decision .badge").wait_for()
    assert page.locator(".decision .badge").text_content() == "AI-generated"
    assert page.locator("h1").text_content() == "<img src=x onerror=alert(1)>.mp4"
    page.get_by_role("button", name="Make report").click()
    page.get_by_role("link", name="Report").wait_for(timeout=20_000)
    with page.expect_download() as download:
        page.get_by_role("link", name="JSON", exact=True).click()
    verdict = Verdict.model_validate_json(Path(download.value.path()).read_text())
    assert verdict.label is Label.FAKE


def test_content_credentials_stand_beside_the_verdict(studio: Start, tmp_path: Path, visit) -> None:
    plain = write_square(tmp_path / "clips" / "plain.mp4")
    sign(plain, tmp_path / "clips" / "signed.mp4", make_authority())
    one = studio(place=tmp_path / "clips")
    one.settle()
    page = visit(one, f"/clip/{clip_id(one, 'plain.mp4')}")
    page.locator(".credentials").wait_for()
    assert page.locator(".credentials").text_content() == "Content Credentials: none"
    page = visit(one, f"/clip/{clip_id(one, 'signed.mp4')}")
    page.locator(".credentials").wait_for()
    said = one.clip("signed.mp4")["verdict"]["content_credentials"]["summary"]
    assert "declared AI-generated; signed by Test Studio" in said
    assert page.locator(".credentials").text_content() == said
    table = list(csv.DictReader(io.StringIO(one.http.get("/api/export/verdicts.csv").text)))
    words = {row["video"].rpartition("/")[2]: row["content_credentials"] for row in table}
    assert words == {"plain.mp4": "none", "signed.mp4": said.removeprefix("Content Credentials: ")}


def test_names_and_explanations_are_text_everywhere(studio: Start, squares: Path, tmp_path: Path, visit) -> None:
    path = squares.parent / "constant.mp4"
    hostile = tmp_path / "a<script>alert(1)<" / "b'\"><img src=x onerror=alert(2)>.mp4"
    hostile.parent.mkdir()
    hostile.write_bytes(path.read_bytes())
    verdict = verdict_on(path, explanation=HOSTILE_TEXT, video=str(hostile))
    signed = ContentCredentials(state=CredentialsState.UNTRUSTED, signer=HOSTILE_TEXT)
    changes = {"warnings": (HOSTILE_TEXT,), "content_credentials": signed}
    run = write_run(tmp_path / "run", [verdict.model_copy(update=changes)])
    one = studio(place=run)
    one.settle()
    page = visit(one, "/triage")
    page.locator(".traces p").wait_for()
    assert page.locator(".traces p").text_content() == HOSTILE_TEXT
    assert page.locator(".warnings li").text_content() == HOSTILE_TEXT
    assert page.locator(".credentials").text_content() == signed.summary
    assert page.locator("h1").text_content() == str(hostile)
    assert page.locator("img[onerror], script:not([src])").count() == 0


# -- triage ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fifty(tmp_path_factory: pytest.TempPathFactory, squares: Path) -> Path:
    """A run on fifty clips, p falling with their number."""
    folder = tmp_path_factory.mktemp("fifty")
    data, base = (squares.parent / "constant.mp4").read_bytes(), verdict_on(squares.parent / "constant.mp4")
    rows = []
    for number in range(50):
        path = folder / f"clip{number:02}.mp4"
        path.write_bytes(data)
        rows.append(base.model_copy(update={"video": str(path), "p_fake": 0.99 - number / 60}))
    return write_run(folder / "run", rows)


@pytest.mark.slow
def test_fifty_clips_are_triaged_by_keyboard_alone(studio: Start, fifty: Path, tmp_path: Path, visit) -> None:
    one = studio(place=fifty)
    page = visit(one, "/triage")
    until(page, "document.querySelectorAll('.item').length > 5")
    shown = "(document.querySelector('.pane h1')?.textContent ?? '')"
    answers = {0: "a", 7: "d", 13: "u"}
    for number in range(50):
        until(page, f"{shown}.endsWith('clip{number:02}.mp4') && document.querySelector('.answer') !== null")
        key = answers.get(number, "a")
        if key == "d":
            page.keyboard.press("n")
            page.keyboard.type("jad: a real square")
            page.keyboard.press("Escape")
        page.keyboard.press(key)
    page.keyboard.press("k")
    until(page, f"{shown}.endsWith('clip48.mp4')")
    page.keyboard.press("z")  # taken back
    until(page, "document.querySelectorAll('.item .line.muted').length > 0")
    deadline = time.monotonic() + 10
    while one.get("/api/studio")["clips"]["answered"] != 49:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    with page.expect_download() as download:
        page.get_by_role("link", name="Labels").click()
    (tmp_path / "all_data.json").write_bytes(Path(download.value.path()).read_bytes())
    samples = read_reward_data(tmp_path)
    assert len(samples) == 48  # one was unsure, one taken back
    assert [Path(sample.path).name for sample in samples if sample.label is Label.REAL] == ["clip07.mp4"]
    disagreed = one.get("/api/clips", params={"says": "disagree"})["clips"]
    assert one.get(f"/api/clips/{disagreed[0]['id']}")["note"] == "jad: a real square"


def test_an_answer_given_while_another_is_on_its_way_is_sent_too(studio: Start, squares: Path, visit) -> None:
    one = studio(place=squares)
    one.settle()
    number = clip_id(one, "constant.mp4")
    page = visit(one, f"/clip/{number}")
    page.locator(".answer").wait_for()
    held: list[Any] = []
    page.route("**/answers", lambda route: route.continue_() if held else held.append(route))
    page.keyboard.press("a")
    deadline = time.monotonic() + 30
    while not held:
        assert time.monotonic() < deadline
        page.wait_for_timeout(20)
    page.keyboard.press("u")
    page.wait_for_timeout(300)  # the browser's database has it
    held[0].continue_()
    while one.get(f"/api/clips/{number}")["says"] != "unsure":
        assert time.monotonic() < deadline
        page.wait_for_timeout(20)


def test_filters_search_and_the_back_button(studio: Start, fifty: Path, visit) -> None:
    one = studio(place=fifty)
    page = visit(one, "/triage")
    until(page, "document.querySelectorAll('.item').length > 5")
    page.keyboard.press("/")
    page.keyboard.type("clip3")
    until(page, "document.querySelector('.exports .muted').textContent === '10 clips'")
    page.locator("#find").fill("")
    page.get_by_label("Order").select_option("p up")
    until(page, "document.querySelector('.pane h1')?.textContent.endsWith('clip49.mp4')")
    page.locator(".item", has_text="clip47.mp4").click()
    until(page, "document.querySelector('.pane h1')?.textContent.endsWith('clip47.mp4')")
    page.go_back()
    until(page, "!document.querySelector('.pane h1')?.textContent.endsWith('clip47.mp4')")


def test_two_clips_stand_side_by_side_and_move_together(studio: Start, squares: Path, visit) -> None:
    axe = needs("axe_playwright_python.sync_playwright", command="make test")
    one = studio(place=squares)
    one.settle()
    first, second = clip_id(one, "constant.mp4"), clip_id(one, "variable.mp4")
    page = visit(one, f"/clip/{first}")
    page.get_by_role("button", name="Compare").click()
    page.goto(f"{one.url}/clip/{second}")
    page.get_by_role("link", name="Beside the other").click()
    assert page.url.endswith(f"/clip/{first}?beside={second}")
    clocks = "[...document.querySelectorAll('.clock')].map((one) => Number(one.dataset.index))"
    until(page, f"{clocks}.length === 2 && {clocks}.every((index) => index > 0)")
    page.keyboard.press("Home")
    until(page, f"{clocks}.every((index) => index === 0)")
    for index in (1, 2, 3):
        page.keyboard.press("ArrowRight")
        until(page, f"{clocks}.every((index) => index === {index})")
    # an answer would be to which of the two?
    page.keyboard.press("a")
    page.wait_for_timeout(200)
    assert [one.get(f"/api/clips/{number}")["says"] for number in (first, second)] == [None, None]
    assert wrong(axe, page, "pair") == {}
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.get_by_role("link", name="Alone").nth(1).click()
    page.get_by_role("button", name="Compare").wait_for()


# -- the page itself ---------------------------------------------------------------------------------------------------


def test_the_front_end_is_small_and_asks_nobody_else(studio: Start) -> None:
    import gzip
    from importlib.resources import files

    web = Path(str(files("deeptrace.studio") / "web"))
    sizes = [
        len(gzip.compress(path.read_bytes())) for path in web.rglob("*") if path.suffix in (".js", ".css", ".html")
    ]
    assert sum(sizes) < 400_000
    assert sum(sizes) < 80_000  # what it is today, and a little
    licences = (web / "vendor" / "LICENSES.txt").read_text()
    assert all(path.name in licences for path in (web / "vendor").glob("*.js"))


@pytest.mark.parametrize(
    "width", [pytest.param(1280, marks=pytest.mark.slow), pytest.param(820, marks=pytest.mark.slow), 390]
)
def test_nothing_sticks_out_sideways(studio: Start, squares: Path, visit, width: int) -> None:
    one = studio(place=squares)
    one.settle()
    page = visit(one, f"/clip/{clip_id(one, 'constant.mp4')}", viewport={"width": width, "height": 800})
    page.locator(".traces button").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.goto(one.url + "/triage")
    page.locator(".item").first.wait_for(state="attached")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_first_page_is_there_at_once(studio: Start, squares: Path, visit) -> None:
    one = studio(place=squares)
    one.settle()
    pages: list[Any] = []

    def painted_ms() -> float:
        pages.append(visit(one, "/triage"))
        pages[-1].locator(".item").first.wait_for()
        return pages[-1].evaluate("performance.getEntriesByType('paint').map((entry) => entry.startTime).sort()[0]")

    assert quickest(painted_ms, 1000) < 1000
    page = pages[-1]
    assert json.dumps(page.evaluate("[...document.scripts].map((one) => one.src)")).count("/static/") == 1


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
def test_axe_finds_nothing_against_wcag_aa(studio: Start, squares: Path, visit, scheme: str) -> None:
    axe = needs("axe_playwright_python.sync_playwright", command="make test")
    one = studio(place=squares)
    one.settle()
    number = clip_id(one, "constant.mp4")
    page = visit(one, "/triage", color_scheme=scheme)
    page.locator(".traces button").wait_for()
    found = dict(wrong(axe, page, "triage"))
    page.keyboard.press("a")
    page.get_by_role("button", name="Keys").click()
    found |= wrong(axe, page, "keys")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Add clips").click()
    found |= wrong(axe, page, "add")
    page.goto(one.url + f"/annotate/{number}")
    page.get_by_role("button", name="Start from the detector's").click()
    page.locator(".traces button").click()
    page.locator(".details").wait_for()
    found |= wrong(axe, page, "annotate")
    assert found == {}


def wrong(axe: Any, page: Any, name: str) -> dict[str, list[str]]:
    """What axe finds wrong on the page, by rule."""
    page.wait_for_timeout(150)
    options = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}
    said = axe.Axe().run(page, options=options).response
    return {
        f"{name}: {rule['id']}": [node["html"][:160] + " | " + node["failureSummary"][:300] for node in rule["nodes"]]
        for rule in said["violations"]
    }


def test_ten_thousand_clips_stay_fluid(studio: Start, visit) -> None:
    from deeptrace.studio.database import clips, now

    one = studio()
    rows = [
        {
            "name": f"folder/{number:05}.mp4",
            "path": f"/none/{number:05}.mp4",
            "origin": "folder",
            "added_at": now(),
            "state": "failed",
            "outcome": "scored",
            "decision": "generated" if number % 3 else "real",
            "p_fake": (number * 7919 % 10_000) / 10_000,
            "kinds": " object_merging " if number % 5 == 0 else "",
        }
        for number in range(10_000)
    ]
    with one.workshop.database.writing() as connection:
        connection.execute(clips.insert(), rows)
    queries = [{"q": "folder/09"}, {"decision": "real"}, {"kind": "object_merging"}, {"offset": 9900}, {"sort": "name"}]

    def took_s(query: dict[str, Any]) -> float:
        began = time.perf_counter()
        one.get("/api/clips", params=query)
        return time.perf_counter() - began

    for query in queries:
        assert quickest(lambda query=query: took_s(query), 0.5) < 0.5, query
    page = visit(one, "/triage", allowed="404")
    until(page, "document.querySelectorAll('.item').length > 5")
    page.evaluate("document.querySelector('.rows').scrollTop = 1e9")
    until(page, "document.querySelector('.rows li:last-child .p')?.textContent === '0.00'")
    assert page.evaluate("document.querySelectorAll('.item').length") < 60
    page.evaluate("document.querySelector('.rows').scrollTop = 5000 * 76")
    until(page, "[...document.querySelectorAll('.rows .p')].some((one) => one.textContent === '0.50')")
