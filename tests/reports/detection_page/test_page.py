"""The report page: what is written, and the clips in it."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.reports.detection_page.conftest import HOSTILE_TEXT, box_of, verdict_on

from deeptrace.detectors import Analysis
from deeptrace.reports import detection_clips
from deeptrace.reports.detection import write_report
from deeptrace.reports.detection_clips import Budget, show_clip, show_clips
from deeptrace.schema import Outcome, Verdict
from deeptrace.video import open_video, write_video

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
        [Analysis(hostile, {HOSTILE_TEXT: [(0.0, 1.0), (1.0, 2.0)]}), Analysis(failed)], tmp_path / "r.html"
    )
    text = page.read_text()
    elements = _Elements(text).found
    scripts = [attributes for tag, attributes in elements if tag == "script"]
    assert [script.get("type") for script in scripts] == 4 * ["application/json"] + [None], (
        "two texts a clip, one script"
    )
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
        Analysis(Verdict.failed(name, Outcome.DECODE_FAILED, "x"))
        for name in ("javascript:alert(1)", "https://example.org/a b.mp4?q=1", "s3://bucket/a.mp4", "clips/ü #1.mp4")
    ]
    text = write_report(rows, tmp_path / "r.html").read_text()
    links = re.findall(r'"link":"(.*?)"', text)
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
    path = tmp_path / "copy.mp4"
    path.write_bytes(data)
    with open_video(path) as video:
        return [frame.time_s for frame in video.frames()]


def test_a_copy_keeps_every_time(clip: Path, tmp_path: Path) -> None:
    with open_video(clip) as video:
        wanted = [frame.time_s for frame in video.frames()]
    shown = show_clip(verdict_on(clip))
    assert shown.mp4 is not None
    assert list(shown.times_s) == pytest.approx(wanted)
    assert times_in(shown.mp4, tmp_path) == pytest.approx(wanted, abs=1e-4)
    assert shown.note == ""


@pytest.mark.parametrize(
    ("onset_s", "offset_s", "moment_s"),
    [
        (1.0, 2.5, 1.6),  # 1.7 s is missing: the last frame up to the middle
        (0.98, 1.02, 1.0),
        (1.72, 1.85, 1.8),  # the frame on the screen in the middle, 1.6 s, is before the trace: the next one
    ],
)
def test_the_still_shows_the_strongest_trace(clip: Path, onset_s: float, offset_s: float, moment_s: float) -> None:
    verdict = verdict_on(clip)
    first = verdict.traces[0].model_copy(update={"onset_s": onset_s, "offset_s": offset_s})
    shown = show_clip(verdict.model_copy(update={"traces": (first,)}))
    assert shown.moment_s == pytest.approx(moment_s)
    assert shown.still is not None
    picture = np.asarray(Image.open(BytesIO(shown.still)).convert("L"))
    height, width = picture.shape
    rows, columns = np.nonzero(picture > 128)
    square = (columns.min() / width, rows.min() / height, (columns.max() + 1) / width, (rows.max() + 1) / height)
    assert square == pytest.approx(box_of(moment_s).as_tuple(), abs=1.6 / height)


def test_a_long_clip_is_cut_around_its_strongest_trace(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detection_clips, "MAX_CLIP_S", 1.0)
    shown = show_clip(verdict_on(clip))
    assert shown.mp4 is not None
    assert shown.times_s == pytest.approx([0.9, 1.0, 1.2, 1.3, 1.5, 1.6], abs=1e-3), "from a quarter of it before 1.0 s"
    assert shown.end_s == pytest.approx(1.75)
    assert [time_s + shown.times_s[0] for time_s in times_in(shown.mp4, tmp_path)] == pytest.approx(
        shown.times_s, abs=1e-3
    )
    assert "shown from 0.8 s to 1.8 s" in shown.note


def test_a_clip_too_large_is_reduced_then_cut_then_a_still(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve seconds of noise: what cannot be made small is shown as far as it can be."""
    random = np.random.default_rng(1)
    noise = (random.integers(0, 255, (90, 160, 3), np.uint8).repeat(3, 0).repeat(3, 1) for _ in range(48))
    write_video(path := tmp_path / "noise.mp4", noise, fps=4.0, crf=30)
    monkeypatch.setattr(detection_clips, "LOOK_S", 3.0)
    verdict = verdict_on(path)
    notes, sizes = [], []
    for limit in (4_000_000, 650_000, 75_000, 5_000):
        shown = show_clip(verdict, limit=limit)
        assert len(shown.mp4 or b"") <= limit
        assert shown.still is not None
        notes.append(shown.note)
        sizes.append(len(shown.times_s))
    assert notes[0] == ""
    assert re.fullmatch(r"The clip is reduced to \d+ pixels on its longer side\.", notes[1])
    assert notes[2] == "The clip is reduced to 288 pixels on its longer side and shown from 0.2 s to 3.2 s."
    assert sizes[:3] == [48, 48, 12]
    assert show_clip(verdict, limit=5_000).mp4 is None
    assert notes[3].startswith("Only a still is shown: the clip does not fit 5 kB")


@pytest.mark.parametrize("count", [0, 1, 7])
def test_copies_come_in_order_within_the_budget(clip: Path, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    gone = Verdict.failed("gone.mp4", Outcome.DECODE_FAILED, "gone")
    rows = [gone if number == 2 else verdict_on(clip) for number in range(count)]
    whole = list(show_clips(rows))
    assert [shown.mp4 is None for shown in whole] == [number == 2 for number in range(count)]
    size = len(whole[0].mp4 or b"") if count else 0
    for per_clip in (size // 2, size // 20):
        monkeypatch.setattr(detection_clips, "PAGE_BYTES", per_clip * count)
        monkeypatch.setattr(detection_clips, "MIN_SHARE", per_clip)
        small = list(show_clips(rows))
        assert sum(len(shown.mp4 or b"") for shown in small) <= per_clip * count
        assert all(shown.still for shown in small if shown is not small[min(2, count - 1)])


@settings(max_examples=50)
@given(st.integers(1, 300), st.data())
def test_a_budget_is_never_overdrawn_and_leaves_something_for_each(count: int, data: st.DataObject) -> None:
    budget, taken = Budget(count), 0
    for _ in range(count):
        limit = budget.take()
        assert limit >= budget.total // count // 2 - 1
        used = data.draw(st.integers(0, limit))
        budget.give_back(limit - used)
        taken += used
    assert taken <= budget.total


def test_a_file_that_went_away_is_said_so(clip: Path, tmp_path: Path) -> None:
    gone = verdict_on(clip, video=str(tmp_path / "gone.mp4"))
    shown = show_clip(gone)
    assert shown.mp4 is None
    assert shown.still is None
    assert "no such file" in shown.note
