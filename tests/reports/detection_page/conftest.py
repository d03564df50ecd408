"""A clip of a white square that moves at a variable rate, a verdict on it, and a browser that looks at pages."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.needs import needs, needs_chromium

from deeptrace.geometry import Box, Keyframe, Tube
from deeptrace.schema import Category, DetectorInfo, Label, Outcome, Trace, Verdict
from deeptrace.video import Frame, probe, write_video

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


@pytest.fixture(scope="module")
def browser():
    chromium_path, sync_api = needs_chromium(), needs("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
        chromium = playwright.chromium.launch(executable_path=chromium_path, args=flags)
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser):
    """Open a page by file:// and fail on any message, error or request beyond the page."""
    pages, troubles = [], []

    def open_page(path: Path, **options: object):
        page = browser.new_page(**({"viewport": {"width": 1300, "height": 900}} | options))
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


def until(page, expression: str, limit_s: float = 30.0) -> None:
    """Wait for a JavaScript expression to hold. (Playwright's own wait uses eval, which the page's policy forbids.)"""
    deadline = time.monotonic() + limit_s
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, f"{expression} did not become true in {limit_s:g} s"
        page.wait_for_timeout(20)
