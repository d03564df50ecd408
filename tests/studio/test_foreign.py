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

TOOLS = ("cvat", "label-studio", "labelbox", "coco", "fiftyone")


BLINKS: dict[int, dict[str, bool]] = {12: {}, 14: {"off": True}, 17: {}, 19: {"off": True}, 20: {}}


def marked(one: Studio, clip: dict[str, Any]) -> None:
    """Three traces, of which one moves and two come and go; on frames, as other tools have them."""
    times = one.get(f"/api/clips/{clip['id']}/times")
    keys = [{"time_s": times[5], "box": [0.1, 0.2, 0.3, 0.4]}, {"time_s": times[15], "box": [0.5, 0.2, 0.7, 0.4]}]
    keys[1:1] = [
        {"time_s": times[8], "box": [0.22, 0.2, 0.42, 0.4], "off": True},
        {"time_s": times[11], "box": [0.34, 0.2, 0.54, 0.4]},
    ]
    moves = {"kinds": ["object_trajectory"], "onset_s": times[5], "offset_s": times[20], "keys": keys}
    still = {"kinds": ["sudden_blurring", "object_merging"], "onset_s": times[10], "offset_s": times[18]}
    place = {"keys": [{"time_s": times[10], "box": [0.5, 0.5, 0.9, 0.9]}], "explanation": "The cup melts"}
    blinks = [{"time_s": times[at], "box": [0.2, 0.2, 0.4, 0.4]} | off for at, off in BLINKS.items()]
    comes = {"kinds": ["redundant_object"], "onset_s": times[12], "offset_s": times[22], "keys": blinks}
    objects = {
        "c": comes,
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
            [(at / 10, trace.tube.box_at(at / 10 + 1e-4)) for at in range(30)],
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
        "imported": 1, "traces": 3, "unmatched": [], "kept": 0,
    }  # fmt: skip
    there, back = traces_of(one), traces_of(other)
    assert len(there) == len(back) == 3
    for mine, theirs in zip(there, back, strict=True):
        assert mine[0] == theirs[0]
        assert mine[1:3] == pytest.approx(theirs[1:3], abs=1e-3)
        assert mine[3] == theirs[3]
        for (moment, box), (_, other_box) in zip(mine[4], theirs[4], strict=True):
            assert (box is None) == (other_box is None), f"at {moment}"
            assert box is None or box.as_tuple() == pytest.approx(other_box.as_tuple(), abs=0.01)
    # what one has annotated stays
    again = other.http.post("/api/import", params={"of": tool}, content=answer.content, headers=OURS).json()
    assert (again["imported"], again["kept"]) == (0, 1)


def test_what_is_off_for_a_while_is_one_row_and_comes_back_as_it_was(
    studio: Start, place: Path, tmp_path: Path
) -> None:
    one = studio(place=place)
    one.settle()
    clip = one.clip("square.mp4")
    marked(one, clip)
    times = one.get(f"/api/clips/{clip['id']}/times")
    rows = one.get("/api/export/all_data.json")
    assert len(rows) == 3
    (row,) = [row for row in rows if row["faketrace_check_applies"] == ["redundant_object"]]
    assert [tuple(gap.values()) for gap in row["faketrace_gaps"]] == [(times[14], times[17]), (times[19], times[20])]
    other = studio(place=place, store=tmp_path / "other")
    other.settle()
    assert other.post("/api/import", rows)["traces"] == 3
    assert other.get("/api/export/all_data.json") == rows

    def objects(of: Studio) -> list[Any]:
        found = of.get(f"/api/clips/{of.clip('square.mp4')['id']}/annotation")["objects"].values()
        return sorted((value for value in found if value["type"] == "trace"), key=lambda value: value["kinds"])

    assert objects(other) == objects(one), "keyframes, and which of them are off"
    # what is off at first or at last is none of its time
    number = clip["id"]
    keys = [
        {"time_s": times[at], "box": [0.1, 0.1, 0.2, 0.2], "off": off} for at, off in ((2, True), (4, False), (9, True))
    ]
    trace = {"type": "trace", "onset_s": times[2], "offset_s": times[12], "keys": keys, "explanation": "late"}
    version = one.get(f"/api/clips/{number}/annotation")["version"]
    edits = [{"id": "late", "object": "late", "after": trace}]
    kept = one.post(f"/api/clips/{number}/annotation/edits", {"version": version, "edits": edits})["objects"]["late"]
    assert [key.get("off") for key in kept["keys"]] == [True, None, True]
    (late,) = [row for row in one.get("/api/export/all_data.json") if row["faketrace_explanations"] == "late"]
    (trace,) = samples_of_rows([RewardRow(late, "row")])[0].traces
    assert (trace.onset_s, trace.offset_s, trace.gaps) == (times[4], pytest.approx(times[9]), ())


def zipped(*, how: int = zipfile.ZIP_DEFLATED, **files: bytes) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", how) as archive:
        for name, body in files.items():
            archive.writestr(name, body)
    return held.getvalue()


def test_a_zip_can_be_unpacked_on_windows(studio: Start, tmp_path: Path) -> None:
    place = tmp_path / "clips"
    write_square(place / "take 1: aux?.mp4")
    one = studio(place=place)
    one.settle()
    marked(one, one.clip("take 1: aux?.mp4"))
    for tool in ("cvat", "fiftyone"):  # which name files by the clips
        answer = one.http.get(f"/api/export/labels/{tool}.zip").content
        names = zipfile.ZipFile(io.BytesIO(answer)).namelist()
        assert not [name for name in names if set(name) & set('<>:"|?*\\')], names
        other = studio(place=place, store=tmp_path / tool)
        other.settle()
        said = other.http.post("/api/import", params={"of": tool}, content=answer, headers=OURS).json()
        assert (said["imported"], said["traces"]) == (1, 3), tool


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


def row_of(name: str, **more: Any) -> dict[str, Any]:
    video = {"video_id": name, "video_path": f"{name}.mp4", "video_type": "fake_video"}
    facts = {"video_width": 320, "video_height": 180, "video_frame_rate": 10.0}
    return video | facts | {"faketrace_first_frame": 0, "faketrace_duration": 1.0} | more


def test_a_clip_that_cannot_be_kept_leaves_the_others_in(studio: Start, tmp_path: Path) -> None:
    place = tmp_path / "videos"
    for name in ("a", "b", "c"):
        write_square(place / f"{name}.mp4")
    one = studio(place=place)
    one.settle()
    rows = [row_of("a"), row_of("b", faketrace_explanations="x" * 6000), row_of("a.mp4", video_path=""), row_of("c")]
    said = one.post("/api/import", rows)
    assert (said["imported"], said["kept"], len(said["refused"])) == (2, 0, 2)
    assert said["refused"][0].startswith("b.mp4: explanation: ")
    assert said["refused"][1] == "a.mp4: is a clip that the file names before"
    assert [row["video_id"] for row in one.get("/api/export/all_data.json")] == ["a", "c"]


def test_rows_that_could_not_be_written_again_do_not_come_in(studio: Start, place: Path) -> None:
    one = studio(place=place)
    one.settle()
    for odd, said in ((r'"\ud800"', "surrogate"), ("NaN", "null"), ("1e999", "null")):
        body = json.dumps([row_of("square", note="ODD")]).replace('"ODD"', odd)
        answer = one.http.post("/api/import", content=body, headers=OURS)
        assert answer.status_code == 422, odd
        assert answer.json()["detail"].startswith("row 1: ")
        assert said in answer.json()["detail"]
    facts = r'"path": "\ud800.mp4", "width": 8, "height": 8, "fps": 8, "frames": 8'
    task = f'[{{"data": {{{facts}}}, "annotations": [{{"result": []}}]}}]'
    answer = one.http.post("/api/import", params={"of": "label-studio"}, content=task, headers=OURS)
    assert answer.status_code == 200
    assert answer.json()["unmatched"] == ["?.mp4"]
    assert one.get("/api/export/all_data.json") == []


def test_names_of_any_length_and_case_go_out_as_files_of_their_own(studio: Start, tmp_path: Path) -> None:
    place = tmp_path / "videos"
    names = ["square", "other", "third", "fourth", "fifth"]
    for name in names:
        write_square(place / f"{name}.mp4")
    one = studio(place=place)
    one.settle()
    paths = ["a" * 5000 + ".mp4", "B/A.mp4", "b/a.mp4", "c", "c.xml/d.json"]
    rows = [row_of(f"{name}.mp4", video_path=path) for name, path in zip(names, paths, strict=True)]
    assert one.post("/api/import", rows)["imported"] == 5
    for tool in ("cvat", "fiftyone"):
        answer = one.http.get(f"/api/export/labels/{tool}.zip")
        assert answer.status_code == 200, tool
        found = [name for name in zipfile.ZipFile(io.BytesIO(answer.content)).namelist() if name.count(".")]
        assert len({name.casefold() for name in found}) == len(found) >= 6, found
        assert max(map(len, found)) < 250


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
        page.get_by_role("button", name="Label Studio").click()
    started.value.save_as(tmp_path / "labels.zip")
    other = studio(place=place, store=tmp_path / "other")
    other.settle()
    page = visit(other, "/triage")
    page.get_by_role("button", name="Other tools").click()
    page.get_by_role("combobox", name="Tool").select_option("label-studio")
    page.get_by_label("File").set_input_files(tmp_path / "labels.zip")
    page.get_by_text("1 clip with 3 traces brought in").wait_for()
    assert len(traces_of(other)) == 3
    outside = row_of("other.mp4", video_path="../secret/other.mp4")
    write_square(place / "other.mp4")
    other.workshop.open_place()
    other.settle()
    assert other.post("/api/import", [outside])["imported"] == 1
    with page.expect_download() as started:
        page.get_by_role("button", name="FiftyOne").click()
    page.get_by_text("fiftyone.zip: 1 clip; 1 left out, notes.txt in it says which and why").wait_for()
    assert started.value.suggested_filename == "fiftyone.zip"
    started.value.save_as(tmp_path / "fiftyone.zip")
    notes = zipfile.ZipFile(tmp_path / "fiftyone.zip").read("notes.txt").decode()
    assert "'../secret/other.mp4' leads out of the dataset's folder and was left out" in notes
    page.get_by_role("button", name="Close").click()
    page.get_by_text("3 marked").wait_for()
