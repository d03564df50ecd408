"""The evaluation's report: what it shows, that it carries everything, and that a browser agrees."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from tests.benchmark.eval_sets import make_set
from tests.needs import needs, needs_chromium

from deeptrace.benchmark.run import Evaluation, evaluate
from deeptrace.geometry import Box
from deeptrace.reports.benchmark import bars, reliability, roc, write_bench_report
from deeptrace.reports.benchmark_clips import make_clip, worth_a_look
from deeptrace.schema import Label, Outcome, Trace, Verdict
from deeptrace.video import open_video

HOSTILE = "</style><script>alert(1)</script>|`*_<img src=x onerror=alert(2)>"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    """Answers of every kind: right, misplaced, missed, a false alarm, a failure; with hostile words in all of them."""
    folder = tmp_path_factory.mktemp("report")
    data = make_set(folder / "set")
    rows = json.loads((data / "all_data.json").read_text())
    for row in rows:
        row["video_source"] = f"source {HOSTILE}"
    (data / "all_data.json").write_text(json.dumps(rows))
    right = Trace(box=Box(x0=0.25, y0=0.25, x1=0.75, y1=0.75), onset_s=0.0, offset_s=0.75, explanation=HOSTILE)
    wrong = Trace(box=Box(x0=0.8, y0=0.8, x1=1.0, y1=1.0), onset_s=0.0, offset_s=0.75, explanation=HOSTILE)
    said = {
        "test_fake_0": (0.9, right),
        "test_fake_1": (0.8, wrong),
        "test_fake_2": (0.2, None),
        "test_real_0": (0.7, right),
        "test_real_1": (0.1, None),
        "test_real_2": (0.3, None),
    }
    lines = [
        Verdict(
            video=name,
            outcome=Outcome.SCORED,
            label=Label.FAKE if p >= 0.5 else Label.REAL,
            p_fake=p,
            traces=() if trace is None else (trace,),
        )
        for name, (p, trace) in said.items()
    ]
    lines.append(Verdict.failed("test_fake_3", Outcome.PARSE_FAILED, HOSTILE))
    (folder / "p.jsonl").write_text("".join(line.model_dump_json() + "\n" for line in lines))
    return evaluate(data, predictions=folder / "p.jsonl", bootstrap=50)


@pytest.fixture(scope="module")
def page(found: Evaluation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bench_report(found, tmp_path_factory.mktemp("page"))


class _Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_each_group_is_found(found: Evaluation) -> None:
    shown = worth_a_look(found.truth.samples, found.verdicts)
    assert [(s.group, s.sample.video_id) for s in shown] == [
        ("found", "test_fake_0"),
        ("misplaced", "test_fake_1"),
        ("missed", "test_fake_2"),
        ("accused", "test_real_0"),
        ("failed", "test_fake_3"),
        ("failed", "test_real_3"),
    ]


def test_the_page_needs_nothing_and_trusts_nobody(page: Path) -> None:
    text = page.read_text()
    tags = _Tags(text).tags
    assert {tag for tag, _ in tags}.isdisjoint({"script", "iframe", "img", "link rel=stylesheet"})
    for _, attributes in tags:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href", "poster"):
            assert (attributes.get(name) or "data:").startswith("data:")
    assert [at["content"] for _, at in tags if (at.get("content") or "").startswith("default-src 'none'; style-src")]
    assert sum(tag == "video" for tag, _ in tags) == 6
    outcomes = "6 scored, 1 answer not understood, 1 missing"
    for words in ("a second annotator", outcomes, "metadata only"):
        assert words in text
    assert "VideoLLaMa3 7B (SFT)" not in text  # measured on other clips


def test_markdown_says_the_same_and_stays_a_table(page: Path) -> None:
    text = page.with_name("report.md").read_text()
    assert "6 scored, 1 answer not understood, 1 missing" in text
    assert "<script>" not in re.sub(r"```.*?```", "", text, flags=re.S)
    tables = re.findall(r"(?:^\|.*\n)+", text, flags=re.M)
    assert len(tables) >= 6
    for table in tables:
        cells = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(cells) == 1, table


def test_boxes_are_drawn_where_they_are(found: Evaluation, tmp_path: Path) -> None:
    sample = next(s for s in found.truth.samples if s.video_id == "test_fake_0")
    path = Path(found.truth.root) / sample.path
    predicted = Trace(box=Box(x0=0.1, y0=0.1, x1=0.4, y1=0.9), onset_s=0.5, offset_s=1.0)
    clip = make_clip(str(path), truth=sample.traces, predicted=[predicted])
    assert clip.mp4
    (tmp_path / "clip.mp4").write_bytes(clip.mp4)
    with open_video(str(tmp_path / "clip.mp4")) as video:
        frames = list(video.frames())
    assert [round(frame.time_s, 3) for frame in frames] == [round(at / 8, 3) for at in range(8)]

    def reds_and_greens(image: np.ndarray) -> tuple[int, int]:
        more_red = image[..., 0].astype(int) - image[..., 1]
        return int((more_red > 60).sum()), int((more_red < -60).sum())

    reds, greens = reds_and_greens(frames[0].image)
    assert greens > 40 > 4 * reds  # the prediction is not alive yet; a few pixels are the codec's
    reds, greens = reds_and_greens(frames[-1].image)
    assert reds > 20 > 2 * greens  # the truth ended at 0.75 s


def test_a_clip_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"nothing")
    clip = make_clip(str(tmp_path / "bad.mp4"), truth=(), predicted=())
    assert clip.mp4 is None
    assert "cannot be shown" in clip.note


def test_plots_without_data_are_none() -> None:
    none = np.zeros(0)
    assert (roc(none, none), reliability(none, none), bars("x", [], top=1.0)) == ("", "", "")
    assert roc(np.ones(3), np.ones(3)) == ""
    assert "not measured" in bars("x", [("a<b", None, "0 traces")], top=1.0)
    assert "a&lt;b" in bars("x", [("a<b", None, "0 traces")], top=1.0)


def test_a_browser_shows_it(page: Path) -> None:
    playwright = needs("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=needs_chromium(), args=["--no-sandbox"])
        try:
            tab = browser.new_page(viewport={"width": 420, "height": 800})
            problems: list[str] = []
            tab.on("console", lambda message: problems.append(message.text))
            tab.on("dialog", lambda dialog: problems.append(dialog.message))
            requests: list[str] = []
            tab.on("request", lambda request: requests.append(request.url[:40]))
            tab.goto(page.as_uri())
            assert tab.evaluate("document.documentElement.scrollWidth") <= 420
            length = tab.evaluate(
                "async () => { const v = document.querySelector('video'); v.preload = 'auto'; v.load();"
                " await new Promise((ok, no) => { v.onloadeddata = ok; v.onerror = no; }); return v.duration; }"
            )
            assert length == pytest.approx(1.0, abs=0.15)
            assert tab.locator("svg[aria-label='ROC'] polyline").count() == 1
            assert problems == []
            assert all(url.startswith(("file:", "data:")) for url in requests)
        finally:
            browser.close()
