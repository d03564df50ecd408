"""Labels to other annotation tools and back, through the studio."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.needs import needs, needs_chromium
from tests.studio.conftest import OURS, Start, Studio, needs_studio, write_square
from tests.studio.test_in_browser import wrong

needs_studio()

from deeptrace.data import samples_of_rows  # noqa: E402
from deeptrace.data.reward_row import RewardRow  # noqa: E402
from deeptrace.studio.foreign import READ_FROM  # noqa: E402

TOOLS = ("cvat", "label-studio", "coco", "fiftyone")


def marked(one: Studio, clip: dict[str, Any]) -> None:
    """Two traces, one of which moves and both of which are alive at one moment; on frames, as other tools have them."""
    times = one.get(f"/api/clips/{clip['id']}/times")
    keys = [{"time_s": times[5], "box": [0.1, 0.2, 0.3, 0.4]}, {"time_s": times[15], "box": [0.5, 0.2, 0.7, 0.4]}]
    moves = {"kinds": ["object_trajectory"], "onset_s": times[5], "offset_s": times[20], "keys": keys}
    still = {"kinds": ["sudden_blurring", "object_merging"], "onset_s": times[10], "offset_s": times[18]}
    place = {"keys": [{"time_s": times[10], "box": [0.5, 0.5, 0.9, 0.9]}], "explanation": "The cup melts"}
    objects = {
        "a": moves | {"explanation": "The hand jumps"},
        "b": still | place,
        "clip": {"type": "clip", "label": "FAKE"},
    }
    edits = [{"id": f"e-{name}", "object": name, "after": {"type": "trace"} | value} for name, value in objects.items()]
    one.post(f"/api/clips/{clip['id']}/annotation/edits", {"version": 0, "edits": edits})


def traces_of(one: Studio) -> list[Any]:
    rows = one.get("/api/export/all_data.json")
    (sample,) = samples_of_rows(RewardRow(row, "row") for row in rows)
    return [
        (
            trace.categories,
            trace.onset_s,
            trace.offset_s,
            trace.explanation,
            [(key.time_s, key.box.as_tuple()) for key in trace.keyframes] or trace.box.as_tuple(),
        )
        for trace in sample.traces
        if trace.box is not None
    ]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    write_square(tmp_path / "clips" / "square.mp4")
    return tmp_path / "clips"


@pytest.mark.parametrize("tool", TOOLS)
def test_labels_go_to_a_tool_and_come_back(studio: Start, place: Path, tmp_path: Path, tool: str) -> None:
    one = studio(place=place)
    one.settle()
    marked(one, one.clip("square.mp4"))
    answer = one.http.get(f"/api/export/labels/{tool}.zip")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/zip")
    assert one.http.get(f"/api/export/labels/{tool}.zip").content == answer.content
    other = studio(place=place, store=tmp_path / "other")
    other.settle()
    said = other.http.post("/api/import", params={"of": tool}, content=answer.content, headers=OURS)
    assert said.status_code == 200, said.text
    assert {key: said.json()[key] for key in ("imported", "traces", "unmatched", "kept")} == {
        "imported": 1, "traces": 2, "unmatched": [], "kept": 0,
    }  # fmt: skip
    there, back = traces_of(one), traces_of(other)
    assert len(there) == len(back) == 2
    for mine, theirs in zip(there, back, strict=True):
        assert mine[0] == theirs[0]
        assert mine[1:3] == pytest.approx(theirs[1:3], abs=1e-3)
        assert mine[3] == theirs[3]
        assert json.dumps(mine[4], default=list) != "[]"
        flat = [
            [side for box in boxes for side in box] if isinstance(boxes, list) else list(boxes)
            for boxes in ([key[1] for key in one[4]] if isinstance(one[4], list) else one[4] for one in (mine, theirs))
        ]
        assert flat[0] == pytest.approx(flat[1], abs=0.01)
    # what one has annotated stays
    again = other.http.post("/api/import", params={"of": tool}, content=answer.content, headers=OURS).json()
    assert (again["imported"], again["kept"]) == (0, 1)


def zipped(*, how: int = zipfile.ZIP_DEFLATED, **files: bytes) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", how) as archive:
        for name, body in files.items():
            archive.writestr(name, body)
    return held.getvalue()


def test_what_is_no_file_of_that_tool_is_one_line(studio: Start, place: Path, tmp_path: Path) -> None:
    one = studio(place=place)
    one.settle()
    wrong_ones = {
        "text": b"this is no labels at all",
        "empty": b"",
        "out": zipped(**{"../../evil.json": b"{}"}),
        "bomb": zipped(**{"manifest.json": bytes(300 << 20)}),
        "cut": zipped(**{"annotations.xml": b"<annotations/>" * 50})[:-30],
        "deep": b"[" * 100_000,
        "spoilt": bytes(
            byte ^ 255 if 60 < at < 90 else byte for at, byte in enumerate(zipped(a=b"abc" * 99 + bytes(range(99))))
        ),
        "packed otherwise": zipped(how=zipfile.ZIP_LZMA, **{"tasks.json": b"[]"}),
        "numbers": b'[{"data": {"path": "square.mp4"}, "annotations": [1]}]',
        "ids": b'{"videos": [{"id": [1], "name": "square.mp4"}], "tracks": [{"id": {}}]}',
        "row": b'{"data_row": {"id": "square.mp4"}, "projects": {"p": {"labels": [{"performance_details": 1}]}}}',
    }
    for tool in READ_FROM:
        for name, body in wrong_ones.items():
            said = one.http.post("/api/import", params={"of": tool}, content=body, headers=OURS)
            assert said.status_code == 422, (tool, name, said.text)
            assert "\n" not in said.json()["detail"]
    assert not list(tmp_path.parent.rglob("evil.json"))
    assert one.http.post("/api/import", params={"of": "vott"}, content=b"", headers=OURS).status_code == 422
    assert one.http.get("/api/export/labels/vott.zip").status_code == 422
    assert one.get("/api/export/all_data.json") == []


def test_labels_of_other_tools_in_the_page(
    studio: Start, place: Path, tmp_path: Path, visit: Callable[..., Any]
) -> None:
    needs_chromium()
    axe = needs("axe_playwright_python.sync_playwright", command="make test")
    one = studio(place=place)
    one.settle()
    marked(one, one.clip("square.mp4"))
    page = visit(one, "/triage")
    page.get_by_role("button", name="Other tools").click()
    assert wrong(axe, page, "other tools") == {}
    title, part = (page.get_by_role("heading", name=name).bounding_box() for name in ("Other tools", "Labels for"))
    assert part["y"] >= title["y"] + title["height"]  # one below the other
    with page.expect_download() as started:
        page.get_by_role("link", name="Label Studio").click()
    started.value.save_as(tmp_path / "labels.zip")
    other = studio(place=place, store=tmp_path / "other")
    other.settle()
    page = visit(other, "/triage")
    page.get_by_role("button", name="Other tools").click()
    page.get_by_role("combobox", name="Tool").select_option("label-studio")
    page.get_by_label("File").set_input_files(tmp_path / "labels.zip")
    page.get_by_text("1 clip with 2 traces brought in").wait_for()
    page.get_by_role("button", name="Close").click()
    page.get_by_text("2 marked").wait_for()
    assert len(traces_of(other)) == 2
