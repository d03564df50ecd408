"""A report of 31 clips, as a person gets it: small, opened at the strongest trace, worked through by keyboard.

`DEEPTRACE_PICTURES=folder pytest tests/reports/detection_page/test_many_clips.py` keeps the screenshots. With
`DEEPTRACE_PICTURES=docs/images` and `-m slow -k documentation` it makes the one of the documentation anew.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Callable, Iterator
from io import BytesIO
from itertools import chain, cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.needs import needs
from tests.reports.detection_page.conftest import until

from deeptrace.detectors import Analysis
from deeptrace.detectors.curves import CHANCE, CURVES
from deeptrace.geometry import Box, Keyframe, Tube
from deeptrace.inference import DetectRun, Job, expand_inputs
from deeptrace.reports.detection import write_report
from deeptrace.schema import CAVEAT, Category, Decision, DetectorInfo, Label, Outcome, Trace, Verdict
from deeptrace.video import Frame, open_video, probe, write_video

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
COUNT = 31
MOST_BYTES = 4_000_000
LIMITS = {"threshold": 0.7, "threshold_name": "fpr_5", "real_below": 0.4, "min_score": 0.35, "fast": True}
INFO = DetectorInfo(name="tracenet", version="2", settings=LIMITS)
SIZES = [(640, 360), (360, 640), (480, 480), (641, 271), (854, 480)]
SECONDS = [1.1, 2.0, 3.0, 4.0, 6.2, 10.0]
WIDE, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}


def footage(frames: list[np.ndarray], number: int) -> Iterator[Frame]:
    """Real pictures, there and back again, of one of several shapes, lengths and rates."""
    seconds, fps = SECONDS[number % len(SECONDS)], (24.0, 12.0, 30.0)[number % 3]
    forth = chain(frames[number:], frames[::-1])
    for index, image in enumerate(islice(cycle(forth), round(seconds * fps))):
        yield Frame(index / fps, image)


def clip_files(folder: Path) -> list[Path]:
    """Eleven files, which the clips of the report share."""
    paths = []
    for number in range(11):
        with open_video(EXAMPLES / "coffee_trace.mp4") as video:
            frames = [frame.image for frame in video.frames(size=SIZES[number % len(SIZES)])]
        write_video(path := folder / f"coffee {number}.mp4", footage(frames, number), fps=24.0, preset="ultrafast")
        paths.append(path)
    return paths


def trace(number: int, seconds: float, score: float) -> Trace:
    """A box that moves, over a part of the clip."""
    onset_s, offset_s = round(0.2 * seconds, 2), round(0.7 * seconds, 2)
    left = 0.05 + 0.02 * (number % 10)
    ends = [(onset_s, left), ((onset_s + offset_s) / 2, left + 0.2), (offset_s, left + 0.1)]
    keys = tuple(Keyframe(time_s=at, box=Box(x0=x, y0=0.2, x1=x + 0.3, y1=0.7)) for at, x in ends)
    kind = list(Category)[number % len(Category)]
    tube = Tube(onset_s=onset_s, offset_s=offset_s, keyframes=keys)
    why = f"The region in the centre {kind.meaning.partition(' ')[2]}, and does so in more words than fit one line."
    return Trace.from_tube(tube, categories=[kind], score=score, explanation=why).model_copy(
        update={"weak": score < LIMITS["min_score"]}
    )


def analysis(path: Path, number: int) -> Analysis:
    """A verdict of each kind in turn, with curves as the default detector measures them."""
    media = probe(path)
    if number % 10 == 9:
        outcome = (Outcome.DECODE_FAILED, Outcome.UNDECIDABLE)[number // 10 % 2]
        return Analysis(Verdict.failed(f"folder/{path.name}", outcome, "only 2 frames to go by", detector=INFO))
    p = (0.99, 0.12, 0.85, 0.55, 0.05)[number % 5] - number / 1000
    scores = [0.9 - number / 100, 0.3] if p >= LIMITS["threshold"] else [0.3][: number % 2]
    times = np.linspace(0, media.duration_s, 12)
    curves = {name: [(float(at), 2 + 10 * abs(np.sin(at + number))) for at in times] for name in CURVES.values()}
    verdict = Verdict(
        video=str(path),
        outcome=Outcome.SCORED,
        label=Label.FAKE if p >= LIMITS["threshold"] else Label.REAL,
        p_fake=p,
        traces=tuple(trace(number + k, media.duration_s, score) for k, score in enumerate(scores)),
        media=media,
        detector=INFO,
    )
    return Analysis(verdict, {CHANCE: [(0.0, p), (1.0, p / 2)], **curves})


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("many")
    files = clip_files(folder)
    rows = [analysis(files[number % len(files)], number) for number in range(COUNT)]
    return write_report(rows, folder / "report.html")


@pytest.fixture
def opened(report: Path, visit):
    """Open the report, and wait for its first picture with a box."""

    def open_report(viewport: dict[str, int] = WIDE, path: Path = report, **options: object):
        page = visit(path, viewport=viewport, **options)
        until(page, "document.getElementById('video').readyState >= 2")
        until(page, "document.querySelectorAll('#boxes .box').length > 0")
        return page

    return open_report


def test_it_is_small_enough_to_be_mailed(report: Path) -> None:
    assert report.stat().st_size < MOST_BYTES
    text = report.read_text()
    assert text.count('"mp4":"AAAA') == COUNT - 3, "all but the three that could not be read"


def current(page) -> str:
    """Index of the open clip in the list as it was written."""
    listed = page.locator("#clips li:has([aria-current])")
    assert listed.count() == 1
    return listed.get_attribute("data-index")


@pytest.mark.parametrize("viewport", [WIDE, PHONE], ids=["wide", "phone"])
def test_it_opens_at_the_strongest_trace_with_its_box_in_sight(opened, viewport: dict[str, int]) -> None:
    page = opened(viewport)
    assert current(page) == "0"
    assert page.evaluate("document.getElementById('video').paused")
    assert page.locator("#verdict").text_content() == Decision.GENERATED.display_name
    strongest = page.locator("#traces button").first.text_content()
    onset_s, offset_s = (float(part) for part in re.match(r"([\d.]+)–([\d.]+) s", strongest).groups())
    assert onset_s - 0.06 <= float(page.locator("#timeline").get_attribute("aria-valuenow")) <= offset_s + 0.06
    box = page.locator("#boxes .box").last.bounding_box()
    stage = page.locator("#stage").bounding_box()
    assert box["width"] * box["height"] > 0.05 * stage["width"] * stage["height"]
    assert box["y"] + box["height"] <= viewport["height"], "seen without scrolling"
    caveat, verdict = page.locator(".caveat").bounding_box(), page.locator("#verdict").bounding_box()
    assert 0 < caveat["y"] - verdict["y"] < 80, "the caveat stands beside the verdict"  # a line or two below
    assert caveat["y"] + caveat["height"] < viewport["height"]
    assert page.locator(".caveat").text_content().startswith(CAVEAT)


def test_the_list_goes_from_high_p_to_low_then_what_has_none(opened) -> None:
    page = opened()
    lines = page.locator("#clips li").all_text_contents()
    chances = [re.search(r"\bp (\d\.\d\d)", line) for line in lines]
    known = [float(found.group(1)) for found in chances if found]
    assert len(known) == COUNT - 3
    assert known == sorted(known, reverse=True)
    assert all(found is None for found in chances[-3:])
    assert page.locator("#clips img").count() == COUNT - 3
    marks = page.locator("#clips .mark")
    assert marks.count() > 10
    assert page.locator("#clips .mark.weak").count() >= 1
    first, mark = page.locator("#clips .frame").first.bounding_box(), marks.first.bounding_box()
    assert first["x"] <= mark["x"] < mark["x"] + mark["width"] <= first["x"] + first["width"] + 1


def test_j_and_k_go_from_clip_to_clip(opened) -> None:
    page = opened()
    names = page.locator("#clips .name").all_text_contents()
    for expected in (1, 2, 3, 2):
        page.keyboard.press("k" if expected == 2 and current(page) == "3" else "j")
        assert current(page) == str(expected)
        assert page.locator("#clip-name").text_content() == names[expected]
        until(page, "document.querySelectorAll('#boxes .box').length > 0")
    for _ in range(COUNT):
        page.keyboard.press("j")
    assert current(page) == str(COUNT - 1), "it stays at the last"
    assert page.locator("#why-not").text_content() == "only 2 frames to go by"
    assert page.locator("#clips [aria-current]").bounding_box()["y"] < WIDE["height"], "the list goes along"
    page.locator("#only").select_option("unclear")
    page.locator("#clip-name").click()
    page.keyboard.press("j")
    assert page.locator("#verdict").text_content() == "unclear"
    page.locator("#find").fill("jk")
    assert current(page) == page.locator("#clips li[data-kind=unclear]").first.get_attribute("data-index")
    assert "next clip" in page.locator(".keys").text_content()


def test_weak_guesses_are_dashed_and_called_so(opened) -> None:
    page = opened()
    dashes = "getComputedStyle(document.querySelector('#boxes .box.weak')).strokeDasharray"
    assert page.evaluate(dashes) not in ("none", "")
    assert "weak guess:" in page.locator("#boxes").text_content()
    assert page.locator("#traces .weak button").first.text_content().startswith("weak guess: ")
    assert page.locator(".life.weak").count() == 1


def test_curves_lie_over_the_range_of_camera_footage(opened) -> None:
    page = opened()
    lanes = page.locator(".lane.curve")
    assert lanes.count() == len(CURVES) + 1
    assert page.locator(".lane.curve .usual").count() == lanes.count()
    assert "95 % of camera clips below 0.70" in lanes.first.text_content()
    assert "camera footage 1.87 to 9.69" in lanes.nth(2).text_content()
    for lane in lanes.all():
        band, whole = lane.locator(".usual").bounding_box(), lane.locator("svg").bounding_box()
        assert whole["y"] <= band["y"]
        assert 1 < band["height"] < whole["height"]
    assert "camera footage" in page.locator("#legend").text_content()


def test_the_header_is_in_plain_words_and_settings_are_folded_away(opened) -> None:
    page = opened()
    header = page.locator("header").inner_text()
    assert "31 videos examined for signs of AI generation with the detector tracenet" in header
    for jargon in ("fast", "min_score", "threshold", "pixels of", "p_fake"):
        assert jargon not in header
    page.locator("summary").click()
    assert "AI-generated from p = 0.70 on, looks real below 0.40" in page.locator("details").inner_text()
    assert "min_score" in page.locator("details").inner_text()


def shot(page, name: str, folder: Path) -> Image.Image:
    """A picture of what is in sight, kept where the environment says."""
    picture = Image.open(BytesIO(page.screenshot())).convert("RGB")
    picture.save(Path(os.environ.get("DEEPTRACE_PICTURES", folder)) / f"report-{name}.png")
    return picture


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [WIDE, PHONE], ids=["1280", "390"])
def test_nothing_sticks_out_and_axe_finds_nothing(
    opened, tmp_path: Path, viewport: dict[str, int], scheme: str
) -> None:
    axe: Any = needs("axe_playwright_python.sync_playwright", command="make test")
    page = opened(viewport, color_scheme=scheme)
    picture = shot(page, f"{scheme}-{viewport['width']}", tmp_path)
    ground = np.asarray(picture)[-1, -1].mean()
    assert (ground > 128) == (scheme == "light")
    colours = picture.resize((64, 64)).getcolors(4096)
    assert colours is not None
    assert len(colours) > 50, "the page is nearly empty"
    found = wrong(axe, page)
    for steps in (0, 5, COUNT):
        for _ in range(steps):
            page.keyboard.press("j")
        assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    page.locator("summary").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    assert found | wrong(axe, page) == {}


def wrong(axe: Any, page: Any) -> dict[str, list[str]]:
    """What axe finds wrong on the page, by rule."""
    options = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}
    said = axe.Axe().run(page, options=options).response
    assert len(said["passes"]) > 20, "it looked at the page"
    return {
        rule["id"]: [node["html"][:160] + node["failureSummary"][:300] for node in rule["nodes"]]
        for rule in said["violations"]
    }


@pytest.mark.slow
def test_31_clips_of_the_corpus_fit_and_open_at_a_trace(corpus_dir: Path, tmp_path: Path, opened) -> None:
    with (corpus_dir / "manifest.csv").open(newline="", encoding="utf-8") as file:
        names = sorted(row["file"] for row in csv.DictReader(file))
    chosen = [str(corpus_dir / name) for name in names[:: len(names) // (COUNT - 1)][:COUNT]]
    assert len(chosen) == COUNT
    with DetectRun(expand_inputs(chosen), job=Job(evidence=True)) as run:
        path = write_report(list(run.results()), tmp_path / "report.html")
    assert path.stat().st_size < MOST_BYTES
    page = opened(path=path, viewport=PHONE)
    assert page.locator("#clips img").count() == COUNT
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    shot(page, "corpus-390", tmp_path)


@pytest.mark.slow
def test_the_picture_of_the_documentation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, visit: Callable[..., Any]
) -> None:
    """What `deeptrace detect examples/*.mp4 --report` shows first."""
    monkeypatch.chdir(EXAMPLES.parent)
    with DetectRun(expand_inputs(["examples/*.mp4"]), job=Job(evidence=True)) as run:
        path = write_report(list(run.results()), tmp_path / "report.html")
    page = visit(path, viewport={"width": 1280, "height": 740})
    until(page, "document.querySelectorAll('#boxes .box').length > 0")
    assert page.locator("#clip-name").text_content() == "coffee_trace.mp4"
    page.wait_for_timeout(500)
    picture = Image.open(BytesIO(page.screenshot())).convert("RGB")
    folder = Path(os.environ.get("DEEPTRACE_PICTURES", tmp_path))
    picture.save(folder / "report.jpg", quality=86, subsampling=0, optimize=True)
