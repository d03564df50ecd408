"""The report page: what is written, and the clips in it."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from tests.evaluate.report_page.conftest import (
    HOSTILE_TEXT,
    verdict_on,
)

from deeptrace.evaluate import Judged, report_media
from deeptrace.evaluate.report import write_report
from deeptrace.evaluate.report_media import make_proxies, make_proxy
from deeptrace.trace import Outcome, Verdict
from deeptrace.video import open_video

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
