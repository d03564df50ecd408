"""What a browser makes of the report page."""

from __future__ import annotations

import re
import shutil
import time
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.evaluate.report_page.conftest import (
    HEIGHT,
    HOSTILE_TEXT,
    INFO,
    WIDTH,
    box_of,
    verdict_on,
)

from deeptrace.evaluate import Judged
from deeptrace.evaluate.report import write_report
from deeptrace.trace import Label, Media, Outcome, Trace, Verdict
from deeptrace.video import probe

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("needs a Chromium on the path")
    with sync_api.sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser):
    """Open a page by file:// and fail on any message, error or request beyond the page."""
    pages, troubles = [], []

    def open_page(path: Path, **options: object):
        page = browser.new_page(viewport={"width": 1300, "height": 900}, **options)
        page.on("console", lambda message: troubles.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("dialog", lambda dialog: (troubles.append(f"dialog {dialog.message}"), dialog.dismiss()))
        address = path.resolve().as_uri()
        page.on(
            "request",
            lambda request: (
                None if request.url.startswith((address, "blob:", "data:")) else troubles.append(request.url)
            ),
        )
        page.goto(address)
        pages.append(page)
        return page

    yield open_page
    for page in pages:
        page.close()
    assert troubles == []


def until(page, expression: str, limit_s: float = 10.0) -> None:
    """Wait for a JavaScript expression to hold. (Playwright's own wait uses eval, which the page's policy forbids.)"""
    deadline = time.monotonic() + limit_s
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, f"{expression} did not become true in {limit_s:g} s"
        page.wait_for_timeout(20)


def seek(page, time_s: float) -> float:
    """Seek through the page's own timeline and return the time of the picture that is then on the screen."""
    shown = "Number(document.getElementById('timeline').getAttribute('aria-valuenow'))"
    area = page.locator("#timeline").bounding_box()
    end_s = float(page.locator("#timeline").get_attribute("aria-valuemax"))
    page.mouse.click(area["x"] + area["width"] * time_s / end_s, area["y"] + 8)
    until(page, f"!document.getElementById('video').seeking && Math.abs({shown} - {time_s}) < 0.25")
    page.wait_for_timeout(150)
    return float(page.evaluate(shown))


def white_square(page) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of the bright area of the picture on the screen, in fractions of it."""
    page.evaluate("document.getElementById('boxes').style.visibility = 'hidden'")
    image = np.asarray(Image.open(BytesIO(page.locator("#video").screenshot())).convert("L"))
    page.evaluate("document.getElementById('boxes').style.visibility = ''")
    height, width = image.shape
    # A screenshot rounds to whole pixels and may show a line of the page beside the picture.
    rows, columns = np.nonzero(image[3:-3, 3:-3] > 128)
    left, top, right, bottom = columns.min() + 3, rows.min() + 3, columns.max() + 4, rows.max() + 4
    return left / width, top / height, right / width, bottom / height


def drawn_box(page) -> tuple[float, float, float, float] | None:
    """The drawn box as fractions of the video element on the screen."""
    return page.evaluate("""() => {
        const box = document.querySelector('#boxes rect.box');
        if (!box) return null;
        const a = box.getBoundingClientRect(), v = document.getElementById('video').getBoundingClientRect();
        const [x, y] = [(pixel) => (pixel - v.left) / v.width, (pixel) => (pixel - v.top) / v.height];
        return [x(a.left), y(a.top), x(a.right), y(a.bottom)];
    }""")


@pytest.fixture(scope="module")
def report(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    real = Verdict(
        video="other/clip.mp4", outcome=Outcome.SCORED, label=Label.REAL, p_fake=0.1, media=probe(clip), detector=INFO
    )
    broken = Verdict.failed("third.mp4", Outcome.DECODE_FAILED, "has no frames")
    curves = {"sharpness (share of its median)": [(0.0, 1.0), (1.0, 0.4), (2.9, 0.9)]}
    rows = [Judged(real), Judged(verdict_on(clip), curves), Judged(broken)]
    return write_report(rows, tmp_path_factory.mktemp("page") / "report.html")


def test_the_box_is_on_the_square_of_the_very_frame_shown(report: Path, visit) -> None:
    page = visit(report)
    until(page, "document.getElementById('video').readyState >= 2")
    # Frames 2, 5, 8, ... are missing, so that 1.1 s shows the frame of 1.1 - 0.1 = 1.0 s and its box.
    for wanted in (1.03, 1.14, 1.33, 1.75, 2.05, 2.28, 2.41):
        shown = seek(page, wanted)
        square, box = white_square(page), drawn_box(page)
        assert box is not None, wanted
        assert abs(shown - wanted) < 0.2
        assert box == pytest.approx(square, abs=1.5 / HEIGHT), f"at {wanted} s, frame of {shown} s"


@pytest.mark.parametrize("time_s", [0.15, 0.92, 2.6, 2.85])
def test_no_box_before_onset_and_after_offset(report: Path, visit, time_s: float) -> None:
    page = visit(report)
    until(page, "document.getElementById('video').readyState >= 2")
    seek(page, time_s)
    assert drawn_box(page) is None
    assert page.locator("#now").text_content() == ""


def test_the_box_keeps_up_while_playing(report: Path, visit) -> None:
    page = visit(report)
    until(page, "document.getElementById('video').readyState >= 2")
    page.locator("#speed").select_option("0.25")
    seek(page, 1.2)
    page.locator("#play").click()
    page.wait_for_timeout(900)
    page.locator("#play").click()
    page.wait_for_timeout(300)
    shown = float(page.locator("#timeline").get_attribute("aria-valuenow"))
    assert 1.2 < shown < 2.4
    assert drawn_box(page) == pytest.approx(white_square(page), abs=1.5 / HEIGHT)


def test_it_opens_on_the_first_find_and_follows_the_table(report: Path, visit) -> None:
    page = visit(report)
    assert page.locator("#verdict").text_content() == "looks AI-generated"
    assert "0.93 (>= 0.50)" in page.locator("#facts").text_content()
    assert "The square is too square." in page.locator("#traces").text_content()
    assert "sharpness" in page.locator("#lanes").text_content()
    page.get_by_role("button", name="other/clip.mp4").click()
    assert page.locator("#verdict").text_content() == "looks real"
    assert page.locator("#traces-title").text_content() == "No trace found"
    assert "no such file" in page.locator("#missing").text_content()
    page.get_by_role("button", name="third.mp4").click()
    assert "has no frames" in page.locator("#facts").text_content()


def test_sorting_and_filtering(report: Path, visit) -> None:
    page = visit(report)
    names = lambda: page.locator("tbody tr:visible th").all_text_contents()  # noqa: E731
    page.get_by_role("button", name="p(generated)").click()
    assert [name.split("/")[-1] for name in names()] == ["third.mp4", "clip.mp4", "square.mp4"]
    page.get_by_role("button", name="p(generated)").click()
    assert [name.split("/")[-1] for name in names()] == ["square.mp4", "clip.mp4", "third.mp4"]
    page.locator("#only").select_option("failed")
    assert names() == ["third.mp4"]
    page.locator("#only").select_option("")
    page.locator("#find").fill("unexpected")
    assert len(names()) == 1
    assert page.locator("#shown").text_content() == "1 of 3"


def test_keys_move_time_and_names_are_said(report: Path, visit) -> None:
    page = visit(report)
    until(page, "document.getElementById('video').readyState >= 2")
    page.locator("#traces button").click()
    until(page, "document.getElementById('now').textContent === 'Unexpected move'")
    slider = page.get_by_role("slider", name="Time")
    slider.focus()
    page.keyboard.press("Home")
    until(page, "document.getElementById('timeline').getAttribute('aria-valuenow') === '0.00'")
    page.keyboard.press("ArrowRight")
    until(page, "document.getElementById('timeline').getAttribute('aria-valuenow') === '0.10'")
    assert "seconds" in slider.get_attribute("aria-valuetext")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(report: Path, visit, scheme: str) -> None:
    """WCAG 2.2 AA: contrast of at least 4.5 for text, in both themes."""
    page = visit(report, color_scheme=scheme)
    assert page.evaluate("document.documentElement.dataset.theme") == scheme
    pairs = page.evaluate("""() => {
        const ground = (e) => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;
            if (c !== 'rgba(0, 0, 0, 0)') return c; } return 'rgb(255, 255, 255)'; };
        return [...document.querySelectorAll('h1, h2, .muted, .badge, .open, td, dt, dd, li, label, button')]
            .filter((e) => e.offsetParent && e.textContent.trim())
            .map((e) => [e.className || e.tagName, getComputedStyle(e).color, ground(e)]);
    }""")
    assert len(pairs) > 20
    for name, ink, ground in pairs:
        bright, dull = sorted((luminance(ink), luminance(ground)), reverse=True)
        assert (bright + 0.05) / (dull + 0.05) >= 4.5, (name, ink, ground)


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2) of a CSS rgb() colour."""
    channels = np.array([float(part) for part in re.findall(r"[\d.]+", colour)[:3]]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_a_hostile_name_stays_text(clip: Path, tmp_path: Path, visit) -> None:
    path = tmp_path / "<img src=x onerror=alert(1)>&quot;'{{7*7}}.mp4"
    shutil.copy(clip, path)
    hostile = verdict_on(path, explanation=HOSTILE_TEXT).model_copy(update={"warnings": (HOSTILE_TEXT,)})
    failed = Verdict.failed(HOSTILE_TEXT, Outcome.DECODE_FAILED, HOSTILE_TEXT)
    page = visit(
        write_report([Judged(hostile, {HOSTILE_TEXT: [(0.0, 1.0), (1.0, 2.0)]}), Judged(failed)], tmp_path / "r.html")
    )
    until(page, "document.getElementById('video').readyState >= 2")
    assert page.locator("#clip-name").text_content() == str(path)
    assert HOSTILE_TEXT in page.locator("#traces").text_content()
    assert HOSTILE_TEXT in page.locator("#warnings").text_content()
    assert HOSTILE_TEXT in page.locator("#lanes").text_content()
    page.locator("tbody .open").nth(1).click()
    assert page.locator("#clip-name").text_content() == HOSTILE_TEXT
    assert page.locator("img").count() == 0


def test_without_javascript_the_table_is_there(report: Path, visit) -> None:
    page = visit(report, java_script_enabled=False)
    assert page.locator("tbody tr").count() == 3
    assert "looks AI-generated" in page.locator("tbody").text_content()


def test_an_empty_run_makes_a_page(tmp_path: Path, visit) -> None:
    page = visit(write_report([], tmp_path / "r.html"))
    assert page.locator("tbody tr").count() == 0


def test_media_of_unknown_rate_is_shown(clip: Path, tmp_path: Path, visit) -> None:
    plain = Verdict(
        video=str(clip),
        outcome=Outcome.SCORED,
        label=Label.REAL,
        detector=INFO,
        media=Media(width=WIDTH, height=HEIGHT, duration_s=3.0),
        traces=(Trace(explanation="No place, no time."), Trace(box=box_of(0.0)), Trace(onset_s=1.0, box=box_of(1.0))),
    )
    page = visit(write_report([Judged(plain)], tmp_path / "r.html"))
    until(page, "document.getElementById('video').readyState >= 2")
    assert "not stated" in page.locator("#facts").text_content()
    assert page.locator("#traces li").count() == 3
    assert page.locator("#boxes rect.box").count() == 1, "the one without times is there from the start"
    seek(page, 1.5)
    assert page.locator("#boxes rect.box").count() == 2
