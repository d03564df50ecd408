"""The report page: what is written, and what a browser makes of it."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeptrace.evaluate import Judged, report_media
from deeptrace.evaluate.report import write_report
from deeptrace.evaluate.report_media import make_proxies, make_proxy
from deeptrace.geometry import Box, Keyframe, Tube
from deeptrace.trace import Category, DetectorInfo, Label, Media, Outcome, Trace, Verdict
from deeptrace.video import Frame, open_video, probe, write_video

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
WIDTH, HEIGHT, SIDE, FPS, COUNT = 320, 180, 40, 10.0, 30
ONSET_S, OFFSET_S = 1.0, 2.5
HOSTILE_TEXT = "</script><script>alert(1)</script><img src=x onerror=alert(2)>{{7*7}}\u2028'\"&<!--"
INFO = DetectorInfo(name="test", version="1", settings={"threshold": 0.5})


def square_at(time_s: float) -> tuple[float, float]:
    """Left and top of the white square, in pixels: it runs to the right and down."""
    return 20 + 80 * time_s, 10 + 40 * time_s


def moving_square(times_s: np.ndarray) -> Iterator[Frame]:
    for time_s in times_s:
        image = np.full((HEIGHT, WIDTH, 3), 16, np.uint8)
        x, y = (round(value) for value in square_at(float(time_s)))
        image[y : y + SIDE, x : x + SIDE] = 235
        yield Frame(float(time_s), image)


def box_of(time_s: float) -> Box:
    x, y = square_at(time_s)
    return Box.from_pixels_ltwh(x, y, SIDE, SIDE, width=WIDTH, height=HEIGHT)


def verdict_on(path: Path, *, explanation: str = "The square is too square.", video: str | None = None) -> Verdict:
    keys = tuple(Keyframe(time_s=time_s, box=box_of(time_s)) for time_s in (ONSET_S, OFFSET_S))
    tube = Tube(onset_s=ONSET_S, offset_s=OFFSET_S, keyframes=keys)
    return Verdict(
        video=video or str(path),
        outcome=Outcome.SCORED,
        label=Label.FAKE,
        p_fake=0.93,
        traces=(Trace.from_tube(tube, categories=[Category.UNEXPECTED_MOVE], score=0.8, explanation=explanation),),
        reward=0.05,
        media=probe(path),
        detector=INFO,
    )


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The moving square at a variable rate: every third frame is left out."""
    path = tmp_path_factory.mktemp("report") / "square.mp4"
    times = np.arange(COUNT) / FPS
    write_video(path, moving_square(times[np.arange(COUNT) % 3 != 2]), fps=FPS, crf=8)
    return path


# -- what is written --------------------------------------------------------------------------------------------------


class _Elements(HTMLParser):
    """Start tags with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_the_page_needs_nothing_else_and_runs_nothing_but_its_own_script(clip: Path, tmp_path: Path) -> None:
    hostile = verdict_on(clip, explanation=HOSTILE_TEXT).model_copy(update={"warnings": (HOSTILE_TEXT,)})
    failed = Verdict.failed(HOSTILE_TEXT, Outcome.DECODE_FAILED, HOSTILE_TEXT)
    page = write_report(
        [Judged(hostile, {HOSTILE_TEXT: [(0.0, 1.0), (1.0, 2.0)]}), Judged(failed)], tmp_path / "r.html"
    )
    text = page.read_text()
    elements = _Elements(text).found
    scripts = [attributes for tag, attributes in elements if tag == "script"]
    assert [script.get("type") for script in scripts] == ["application/json", "application/json", None]
    assert not [tag for tag, _ in elements if tag in ("img", "iframe", "object", "embed", "base", "form")]
    for tag, attributes in elements:
        assert not [name for name in attributes if name.startswith("on") or name == "style"], tag
        for name in ("src", "href"):
            assert (attributes.get(name) or "").startswith(("#", "data:,")) or name not in attributes
    policy = next(
        a["content"] for tag, a in elements if tag == "meta" and a.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "{{7*7}}" in text
    assert not list(tmp_path.glob(".*"))


def test_only_web_addresses_and_files_are_linked(clip: Path, tmp_path: Path) -> None:
    rows = [
        Judged(Verdict.failed(name, Outcome.DECODE_FAILED, "x"))
        for name in ("javascript:alert(1)", "https://example.org/a b.mp4?q=1", "s3://bucket/a.mp4", "clips/ü #1.mp4")
    ]
    text = write_report(rows, tmp_path / "r.html").read_text()
    links = re.findall(r'"link": "(.*?)"', text)
    assert not links[0].startswith("javascript:")
    assert links[0].endswith("javascript%3Aalert%281%29")
    assert links[1:3] == ["https://example.org/a%20b.mp4?q=1", ""]
    assert links[3].endswith("clips/%C3%BC%20%231.mp4")


def test_a_page_that_cannot_be_written_leaves_nothing(clip: Path, tmp_path: Path) -> None:
    from deeptrace.errors import SettingsError

    (tmp_path / "file").write_text("x")
    with pytest.raises(SettingsError, match="cannot be written"):
        write_report([], tmp_path / "file" / "r.html")


# -- clips in the page ------------------------------------------------------------------------------------------------


def times_in(data: bytes, tmp_path: Path) -> list[float]:
    path = tmp_path / "proxy.mp4"
    path.write_bytes(data)
    with open_video(path) as video:
        return [frame.time_s for frame in video.frames()]


def test_a_proxy_keeps_every_time(clip: Path, tmp_path: Path) -> None:
    with open_video(clip) as video:
        wanted = [frame.time_s for frame in video.frames()]
    proxy = make_proxy(verdict_on(clip))
    assert proxy.data is not None
    assert times_in(proxy.data, tmp_path) == pytest.approx(wanted, abs=1e-4)
    assert (proxy.start_s, proxy.note) == (0.0, "")


def test_a_long_clip_is_cut_around_its_first_trace(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_media, "MAX_CLIP_S", 1.0)
    monkeypatch.setattr(report_media, "LEAD_S", 0.2)
    proxy = make_proxy(verdict_on(clip))
    assert proxy.data is not None
    assert proxy.start_s == pytest.approx(0.9, abs=1e-3), "the first frame at or after 0.8 s"
    assert proxy.end_s == pytest.approx(1.8)
    assert [time_s + proxy.start_s for time_s in times_in(proxy.data, tmp_path)] == pytest.approx(
        [0.9, 1.0, 1.2, 1.3, 1.5, 1.6], abs=1e-3
    )
    assert "shown from 0.8 s to 1.8 s" in proxy.note


def test_a_clip_too_large_is_reduced_and_then_left_out(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = make_proxy(verdict_on(clip))
    assert whole.data is not None
    monkeypatch.setattr(report_media, "_QUALITIES", ((320, 20), (160, 30)))
    small = make_proxy(verdict_on(clip), limit=len(whole.data) - 1)
    assert small.data is not None
    assert len(small.data) < len(whole.data)
    assert "reduced to 160 pixels" in small.note
    assert make_proxy(verdict_on(clip), limit=100).data is None


@pytest.mark.parametrize("count", [0, 1, 7])
def test_proxies_come_in_order_until_the_page_is_full(clip: Path, tmp_path: Path, count: int) -> None:
    gone = Verdict.failed("gone.mp4", Outcome.DECODE_FAILED, "gone")
    rows = [gone if number == 2 else verdict_on(clip) for number in range(count)]
    whole = list(make_proxies(rows))
    assert [proxy.data is None for proxy in whole] == [number == 2 for number in range(count)]
    size = len(whole[0].data or b"") if count else 0
    some = list(make_proxies(rows, room=int(2.5 * size)))
    assert [proxy.data is not None for proxy in some] == [number < 2 for number in range(count)]
    assert all("page is full" in proxy.note for proxy in some[3:])


def test_a_file_that_went_away_is_said_so(clip: Path, tmp_path: Path) -> None:
    gone = verdict_on(clip, video=str(tmp_path / "gone.mp4"))
    proxy = make_proxy(gone)
    assert proxy.data is None
    assert "no such file" in proxy.note


# -- in a browser -----------------------------------------------------------------------------------------------------


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
