"""What a browser makes of the report page."""

from __future__ import annotations

import re
import shutil
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.reports.detection_page.conftest import (
    HEIGHT,
    HOSTILE_TEXT,
    INFO,
    OFFSET_S,
    ONSET_S,
    WIDTH,
    box_of,
    until,
    verdict_on,
)

from deeptrace.detectors import Analysis
from deeptrace.reports.detection import write_report
from deeptrace.schema import CAVEAT, ContentCredentials, CredentialsState, Label, Media, Outcome, Trace, Verdict
from deeptrace.video import probe


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
    rows = [Analysis(real), Analysis(verdict_on(clip), curves), Analysis(broken)]
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


def test_it_opens_on_the_strongest_trace_and_follows_the_list(report: Path, visit) -> None:
    page = visit(report)
    until(page, "document.querySelectorAll('#boxes .box').length === 1")
    assert ONSET_S <= float(page.locator("#timeline").get_attribute("aria-valuenow")) < OFFSET_S
    assert page.evaluate("document.getElementById('video').paused")
    assert page.locator("#verdict").text_content() == "AI-generated"
    assert page.locator("#p").text_content() == "p = 0.93 (at least 0.50)"
    assert page.locator(".caveat").text_content().startswith(CAVEAT)
    assert "The square is too square." in page.locator("#traces").text_content()
    assert "sharpness" in page.locator("#lanes").text_content()
    page.locator("#clips .open", has_text="clip.mp4").click()
    assert page.locator("#verdict").text_content() == "looks real"
    assert page.locator("#traces-title").text_content() == "No trace found"
    assert "no such file" in page.locator("#missing").text_content()
    page.locator("#clips .open", has_text="third.mp4").click()
    assert page.locator("#why-not").text_content() == "has no frames"
    assert page.locator("#verdict").text_content() == "cannot be read"


def test_sorting_and_filtering(report: Path, visit) -> None:
    page = visit(report)
    names = lambda: page.locator("#clips li:visible .name").all_text_contents()  # noqa: E731
    assert names() == ["square.mp4", "clip.mp4", "third.mp4"], "p from high to low, then what has none"
    page.locator("#order").select_option("video")
    assert names() == ["square.mp4", "clip.mp4", "third.mp4"], "by whole path"
    page.locator("#order").select_option("traces")
    assert names()[0] == "square.mp4"
    page.locator("#only").select_option("failed")
    assert names() == ["third.mp4"]
    page.locator("#only").select_option("")
    page.locator("#find").fill("unexpected")
    assert names() == ["square.mp4"]
    assert page.locator("#shown").text_content() == "1 of 3"


def test_a_step_is_a_frame_at_any_rate(report: Path, visit) -> None:
    """Frames 2, 5, 8, ... are missing: steps go from frame to frame, whatever lies between their times."""
    page = visit(report)
    until(page, "document.querySelectorAll('#boxes .box').length === 1")
    page.locator("#timeline").focus()
    steps = ["Home", *["ArrowRight"] * 8, "ArrowLeft"]
    times = ["0.00", "0.10", "0.30", "0.40", "0.60", "0.70", "0.90", "1.00", "1.20", "1.00"]
    for key, expected in zip(steps, times, strict=True):
        page.keyboard.press(key)
        until(page, f"document.getElementById('timeline').getAttribute('aria-valuenow') === '{expected}'")
    page.wait_for_timeout(150)
    assert drawn_box(page) == pytest.approx(white_square(page), abs=1.5 / HEIGHT)


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
        return [...document.querySelectorAll('h1, h2, .muted, .badge, .open, .p, dt, dd, li, label, button')]
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
    signed = ContentCredentials(state=CredentialsState.UNTRUSTED, signer=HOSTILE_TEXT)
    changes = {"warnings": (HOSTILE_TEXT,), "content_credentials": signed}
    hostile = verdict_on(path, explanation=HOSTILE_TEXT).model_copy(update=changes)
    failed = Verdict.failed(HOSTILE_TEXT, Outcome.DECODE_FAILED, HOSTILE_TEXT)
    page = visit(
        write_report(
            [Analysis(hostile, {HOSTILE_TEXT: [(0.0, 1.0), (1.0, 2.0)]}), Analysis(failed)], tmp_path / "r.html"
        )
    )
    until(page, "document.getElementById('video').readyState >= 2")
    assert page.locator("#clip-name").text_content() == path.name
    assert HOSTILE_TEXT in page.locator("#traces").text_content()
    assert HOSTILE_TEXT in page.locator("#warnings").text_content()
    assert page.locator("#credentials").text_content() == signed.summary
    assert HOSTILE_TEXT in page.locator("#lanes").text_content()
    page.locator("#clips .open").nth(1).click()
    assert HOSTILE_TEXT in page.locator("#facts").text_content()
    assert page.locator("#why-not").text_content() == failed.error
    assert page.locator("img:not([src^='data:image/jpeg;base64,'])").count() == 0


def test_without_javascript_the_list_is_there(report: Path, visit) -> None:
    page = visit(report, java_script_enabled=False)
    assert page.locator("#clips li").count() == 3
    assert "AI-generated" in page.locator("#clips").text_content()


def test_an_empty_run_makes_a_page(tmp_path: Path, visit) -> None:
    page = visit(write_report([], tmp_path / "r.html"))
    assert page.locator("#clips li").count() == 0


def test_media_of_unknown_rate_is_shown(clip: Path, tmp_path: Path, visit) -> None:
    plain = Verdict(
        video=str(clip),
        outcome=Outcome.SCORED,
        label=Label.REAL,
        detector=INFO,
        media=Media(width=WIDTH, height=HEIGHT, duration_s=3.0),
        traces=(Trace(explanation="No place, no time."), Trace(box=box_of(0.0)), Trace(onset_s=1.0, box=box_of(1.0))),
    )
    page = visit(write_report([Analysis(plain)], tmp_path / "r.html"))
    until(page, "document.getElementById('video').readyState >= 2")
    assert page.locator("#p").text_content() == "p = not stated"
    assert page.locator("#traces li").count() == 3
    seek(page, 0.3)
    assert page.locator("#boxes rect.box").count() == 1, "the one without times is there from the start"
    seek(page, 1.5)
    assert page.locator("#boxes rect.box").count() == 2
