"""Labelbox and CVAT exports, written after their documented formats, become samples with boxes over time."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeptrace.data import RewardRow, read_reward_data, read_rounds, samples_of_rows, write_reward_data, write_rounds
from deeptrace.data.importers import read_cvat, read_labelbox
from deeptrace.data.importers.shared import names_apart, rotated_hull
from deeptrace.data.media_join import path_below
from deeptrace.errors import DataError, SettingsError
from deeptrace.geometry import Box
from deeptrace.schema import Category, Label, Trace

HAND = "cm2p0z6r1hand"
CLOCK = "cm2p0z6r1clock"


def box_on(feature: str, left: float, *, answers: tuple[str, ...] = (), text: str = "") -> dict:
    """One object of one frame, as the export has it."""
    classifications: list[dict] = []
    if answers:
        classifications.append(
            {
                "feature_id": "c1",
                "name": "Check all that applies",
                "value": "check_all_that_applies",
                "checklist_answers": [
                    {"feature_id": f"a{i}", "name": name, "value": name.lower(), "classifications": []}
                    for i, name in enumerate(answers)
                ],
            }
        )
    if text:
        classifications.append(
            {"feature_id": "c2", "name": "Explanation", "value": "explanation", "text_answer": {"content": text}}
        )
    return {
        "feature_id": feature,
        "feature_schema_id": "s1",
        "name": "fake trace",
        "value": "fake_trace",
        "annotation_kind": "VideoBoundingBox",
        "classifications": classifications,
        "bounding_box": {"top": 72.0, "left": left, "height": 360.0, "width": 128.0},
    }


def labelbox_row() -> dict:
    frames = {
        "1": {"objects": {HAND: box_on(HAND, 0, answers=("Shape distortion", "merging"), text="The hand melts.")}},
        "13": {"objects": {HAND: box_on(HAND, 640), CLOCK: box_on(CLOCK, 1152, answers=("None of the above",))}},
        "19": {"objects": {HAND: box_on(HAND, 320)}},
        "25": {"objects": {HAND: box_on(HAND, 0)}},
        "49": {"objects": {HAND: box_on(HAND, 128)}},
    }
    for frame in frames.values():
        frame |= {"classifications": [], "relationships": []}
    return {
        "data_row": {
            "id": "clf1",
            "global_key": "pika/cm2p0z6r1.mp4",
            "external_id": "cm2p0z6r1.mp4",
            "row_data": "https://storage.example/cm2p0z6r1.mp4?sig=1",
        },
        "media_attributes": {
            "height": 720,
            "width": 1280,
            "asset_type": "video",
            "mime_type": "video/mp4",
            "frame_rate": 24,
            "frame_count": 120,
        },
        "projects": {
            "clproj": {
                "name": "traces",
                "labels": [
                    {
                        "label_kind": "Video",
                        "version": "1.0.0",
                        "id": "cl1",
                        "label_details": {"created_by": "ada@lab.example", "reviews": []},
                        "annotations": {
                            "frames": frames,
                            "segments": {HAND: [[1, 25], [49, 60]], CLOCK: [[13, 13]]},
                            "key_frame_feature_map": {HAND: [1, 13, 25, 49], CLOCK: {"13": True}},
                            "classifications": [],
                        },
                    }
                ],
            }
        },
    }


def write_ndjson(path: Path, *rows: dict) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_labelbox_keyframes_segments_checklists_and_text(tmp_path: Path) -> None:
    result = read_labelbox(write_ndjson(tmp_path / "export.ndjson", labelbox_row()), source="Pika 1.5")
    (sample,) = result.samples
    assert (sample.video_id, sample.path, sample.label) == ("cm2p0z6r1", "videos/cm2p0z6r1.mp4", Label.FAKE)
    assert sample.source == "Pika 1.5"
    assert sample.media is not None
    assert (sample.media.fps, sample.media.frames, sample.media.duration_s) == (24, 120, 5.0)
    first, clock = sample.traces
    assert (first.onset_s, first.offset_s) == (0.0, 2.5), "frames count from 1 and both ends are inclusive"
    assert [(gap.onset_s, gap.offset_s) for gap in first.gaps] == [(25 / 24, 2.0)], "between its two segments"
    assert [key.time_s for key in first.keyframes][:3] == [0.0, 0.5, 1.0], "frame 19 is interpolated, no keyframe"
    assert [first.tube.box_at(frame / 24) is None for frame in (24, 25, 47, 48)] == [False, True, True, False]
    assert first.tube is not None
    assert first.tube.box_at(0.25) == Box(x0=0.25, y0=0.1, x1=0.35, y1=0.6)
    assert first.box == Box(x0=0.0, y0=0.1, x1=0.6, y1=0.6)
    assert first.categories == (Category.OBJECT_DISTORTION, Category.OBJECT_MERGING)
    assert first.explanation == "The hand melts."
    assert (clock.categories, clock.onset_s, clock.offset_s) == ((), 0.5, 13 / 24)
    assert [item.annotator for item in result.rounds] == ["ada@lab.example"]
    assert result.warnings == []


def test_two_labels_are_two_rounds_and_a_row_without_one_is_left_out(tmp_path: Path) -> None:
    row, bare = labelbox_row(), labelbox_row()
    second = json.loads(json.dumps(row["projects"]["clproj"]["labels"][0]))
    second["annotations"] |= {"frames": {}, "segments": {}, "key_frame_feature_map": {}}
    second["label_details"]["created_by"] = "bob@lab.example"
    row["projects"]["clproj"]["labels"].append(second)
    bare["projects"]["clproj"]["labels"] = []
    bare["data_row"]["external_id"] = "other.mp4"
    result = read_labelbox(write_ndjson(tmp_path / "export.ndjson", row, bare))
    assert [(item.annotator, len(item.traces), item.cannot_tell) for item in result.rounds] == [
        ("ada@lab.example", 2, False),
        ("bob@lab.example", 0, True),
    ]
    assert len(result.samples) == 1
    assert result.warnings == ["export.ndjson, row 2: other.mp4 has no label yet and was left out"]
    write_rounds(result.rounds, tmp_path / "passes.jsonl")
    assert read_rounds(tmp_path / "passes.jsonl") == result.rounds


def test_imported_tubes_survive_the_reward_data_format(tmp_path: Path) -> None:
    (sample,) = read_labelbox(write_ndjson(tmp_path / "export.ndjson", labelbox_row())).samples
    write_reward_data([sample], tmp_path / "all_data.json")
    (again,) = read_reward_data(tmp_path)
    assert again.media == sample.media
    for ours, theirs in zip(again.traces, sample.traces, strict=True):
        assert (ours.keyframes, ours.gaps) == (theirs.keyframes, theirs.gaps)
        assert ours.onset_s == theirs.onset_s
        assert ours.offset_s == pytest.approx(theirs.offset_s)
        assert ours.categories == theirs.categories
    rows = json.loads((tmp_path / "all_data.json").read_text())
    assert [row["faketrace_first_frame"] for row in rows] == [0, 12]
    assert rows[0]["faketrace_gaps"] == [{"onset_s": 25 / 24, "offset_s": 2.0}]


@pytest.mark.parametrize(
    ("breakage", "subject"),
    [
        (lambda row: row.pop("projects"), "export.ndjson, row 1, projects"),
        (lambda row: row["media_attributes"].pop("frame_rate"), "export.ndjson, row 1, media_attributes, frame_rate"),
        (
            lambda row: row["projects"]["clproj"]["labels"][0]["annotations"]["segments"].update({HAND: [[5]]}),
            f"export.ndjson, row 1, label 1, object {HAND}, segments",
        ),
        (
            lambda row: row["projects"]["clproj"]["labels"][0]["annotations"]["frames"]["13"]["objects"][HAND][
                "bounding_box"
            ].update(width="x"),
            f"export.ndjson, row 1, label 1, object {HAND}, frame 13, bounding_box",
        ),
        (lambda row: row["projects"].update(b={"name": "b", "labels": []}), "export.ndjson, row 1, projects"),
    ],
)
def test_labelbox_nonsense_is_named(tmp_path: Path, breakage, subject: str) -> None:
    row = labelbox_row()
    breakage(row)
    with pytest.raises(DataError) as caught:
        read_labelbox(write_ndjson(tmp_path / "export.ndjson", row))
    assert caught.value.subject == subject


CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta>
    <task>
      <id>7</id><name>pika batch</name><size>120</size><mode>interpolation</mode><overlap>5</overlap>
      <start_frame>0</start_frame><stop_frame>119</stop_frame><frame_filter></frame_filter>
      <labels><label><name>trace</name><color>#fa3253</color><type>any</type><attributes>
        <attribute><name>category</name><mutable>False</mutable><input_type>select</input_type></attribute>
        <attribute><name>explanation</name><mutable>False</mutable><input_type>text</input_type></attribute>
      </attributes></label></labels>
      <owner><username>ada</username><email></email></owner>
      <original_size><width>1280</width><height>720</height></original_size>
      <source>cm2p0z6r1.mp4</source>
    </task>
    <dumped>2026-01-01 00:00:00.000000+00:00</dumped>
  </meta>
  <track id="0" label="trace" source="manual">
    <box frame="12" keyframe="1" outside="0" occluded="0" xtl="0" ytl="72" xbr="128" ybr="432" z_order="0">
      <attribute name="category">Blurring</attribute>
      <attribute name="explanation">The face smears &amp; fades.</attribute>
      <attribute name="merging">true</attribute>
      <attribute name="splitting">false</attribute>
    </box>
    <box frame="13" keyframe="0" outside="0" occluded="0" xtl="10" ytl="72" xbr="138" ybr="432" z_order="0"/>
    <box frame="24" keyframe="1" outside="0" occluded="0" xtl="640" ytl="72" xbr="768" ybr="432" z_order="0"/>
    <box frame="36" keyframe="1" outside="1" occluded="0" xtl="640" ytl="72" xbr="768" ybr="432" z_order="0"/>
    <box frame="60" keyframe="1" outside="0" occluded="0" xtl="1000" ytl="0" xbr="1300" ybr="720" z_order="0"/>
    <box frame="61" keyframe="1" outside="1" occluded="0" xtl="1000" ytl="0" xbr="1280" ybr="720" z_order="0"/>
  </track>
  <track id="1" label="trace" source="manual">
    <polygon frame="3" keyframe="1" outside="0" points="1,1;2,2;3,1"/>
  </track>
</annotations>
"""


@pytest.mark.parametrize("zipped", [False, True])
def test_cvat_tracks_with_keyframes_outside_and_attributes(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "annotations.xml"
    path.write_text(CVAT, encoding="utf-8")
    if zipped:
        with zipfile.ZipFile(tmp_path / "task.zip", "w") as archive:
            archive.write(path, "annotations.xml")
        path = tmp_path / "task.zip"
    result = read_cvat(path, fps=24)
    (sample,) = result.samples
    assert (sample.video_id, sample.path, sample.label) == ("cm2p0z6r1", "videos/cm2p0z6r1.mp4", Label.FAKE)
    (first,) = sample.traces
    assert (first.onset_s, first.offset_s) == (0.5, pytest.approx(61 / 24))
    assert [(gap.onset_s, gap.offset_s) for gap in first.gaps] == [(1.5, 2.5)], "gone from frame 36 on, back at 60"
    assert [key.time_s for key in first.keyframes] == [0.5, 1.0, 1.5, 2.5]
    assert first.tube is not None
    assert first.tube.box_at(2.0) is None
    assert first.tube.box_at(0.75) == Box(x0=0.25, y0=0.1, x1=0.35, y1=0.6)
    assert first.categories == (Category.SUDDEN_BLURRING, Category.OBJECT_MERGING)
    assert first.explanation == "The face smears & fades."
    assert first.tube.box_at(2.5) == Box(x0=1000 / 1280, y0=0, x1=1, y1=1), "clipped to the frame"
    assert result.warnings == [
        f"{path.name}, track 0, frame 60: the box sticks out of the frame and was clipped to it",
        f"{path.name}, track 1: polygon were left out; only boxes are read",
    ]
    assert [(item.annotator, item.traces) for item in result.rounds] == [("ada", sample.traces)]


def test_a_cvat_project_keeps_the_tracks_of_its_tasks_apart(tmp_path: Path) -> None:
    task = CVAT[CVAT.index("<task>") : CVAT.index("</task>") + 7]
    other = task.replace("<id>7<", "<id>8<").replace("cm2p0z6r1", "other")
    text = CVAT.replace(task, f"<project><id>1</id><tasks>{task}{other}</tasks></project>")
    text = text.replace('<track id="0"', '<track id="0" task_id="8"').replace(
        '<track id="1"', '<track id="1" task_id="7"'
    )
    path = tmp_path / "annotations.xml"
    path.write_text(text, encoding="utf-8")
    asked: list[str] = []

    def fps(video: str) -> float:
        asked.append(video)
        return 12.0

    samples = {sample.video_id: sample for sample in read_cvat(path, fps=fps, label=Label.FAKE).samples}
    assert asked == ["videos/cm2p0z6r1.mp4", "videos/other.mp4"]
    assert samples["cm2p0z6r1"].traces == ()
    assert samples["other"].traces[0].onset_s == 1.0


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("<annotations></annotations>", "no meta/task"),
        ("<annotations", "no XML"),
        ("<kml/>", "expected <annotations>"),
        ('<!DOCTYPE a [<!ENTITY x "y">]><annotations/>', "document type"),
        (CVAT.replace('xtl="640"', 'xtl="left"'), "track 0, frame 24: the box makes no sense"),
        (CVAT.replace("<width>1280", "<width>wide"), "original_size"),
    ],
)
def test_cvat_nonsense_is_named(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "annotations.xml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=problem):
        read_cvat(path, fps=24)
    with pytest.raises(SettingsError, match="no frame rate"):
        read_cvat(path)


BOMB = """<?xml version="1.0" encoding="{encoding}"?>
<!DOCTYPE annotations [<!ENTITY a "ha"><!ENTITY b "{many_a}"><!ENTITY c "{many_b}"><!ENTITY d "{many_c}">]>
<annotations><meta><task><id>1</id><name>&d;</name></task></meta></annotations>"""


@pytest.mark.parametrize(
    ("encoding", "declared"),
    [("utf-8", "utf-8"), ("utf-8-sig", "utf-8"), ("utf-16", "utf-16"), ("utf-16-be", "utf-16"), ("latin-1", "latin-1")],
)
def test_a_document_type_is_refused_in_whatever_encoding(tmp_path: Path, encoding: str, declared: str) -> None:
    text = BOMB.format(encoding=declared, many_a="&a;" * 64, many_b="&b;" * 64, many_c="&c;" * 64)
    path = tmp_path / "annotations.xml"
    path.write_bytes((("\ufeff" if encoding == "utf-16-be" else "") + text).encode(encoding))
    with pytest.raises(DataError, match="has a document type declaration, which CVAT never writes") as caught:
        read_cvat(path, fps=24)
    assert caught.value.subject == "annotations.xml"


def test_cvat_in_utf_16_without_a_document_type_is_read(tmp_path: Path) -> None:
    path = tmp_path / "annotations.xml"
    path.write_bytes(CVAT.replace('encoding="utf-8"', 'encoding="utf-16"').encode("utf-16"))
    assert [len(sample.traces) for sample in read_cvat(path, fps=24).samples] == [1]


def test_one_bad_task_or_file_leaves_the_others(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(CVAT, encoding="utf-8")
    (tmp_path / "b.xml").write_text("<annotations", encoding="utf-8")
    (tmp_path / "c.xml").write_text(CVAT.replace("cm2p0z6r1", "c").replace("<width>1280", "<width>wide"))
    result = read_cvat(tmp_path, fps=24)
    assert [sample.video_id for sample in result.samples] == ["cm2p0z6r1"]
    assert [error.subject for error in result.refused] == ["b.xml", "c.xml, task 7"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"no \.xml and no \.zip"):
        read_cvat(tmp_path / "empty", fps=24)


def test_two_cvat_tasks_over_one_video_are_two_rounds(tmp_path: Path) -> None:
    (tmp_path / "1.xml").write_text(CVAT[: CVAT.index("  <track")] + "</annotations>", encoding="utf-8")
    (tmp_path / "2.xml").write_text(CVAT.replace("<username>ada", "<username>bob"), encoding="utf-8")
    (tmp_path / "3.xml").write_text(CVAT.replace("<size>120", "<size>99").replace(">119<", ">98<"), encoding="utf-8")
    result = read_cvat(tmp_path, fps=24)
    assert [(item.annotator, len(item.traces), item.cannot_tell) for item in result.rounds] == [
        ("ada", 0, True),
        ("bob", 1, False),
    ]
    (sample,) = result.samples
    assert len(sample.traces) == 1, "of the first who marked any"
    (error,) = result.refused
    assert "but is another video" in str(error)


def test_each_kind_of_warning_is_said_once_with_its_count(tmp_path: Path) -> None:
    path = tmp_path / "annotations.xml"
    path.write_text(CVAT.replace('xtl="0"', 'xtl="-20"').replace('xtl="10"', 'xtl="-10"'), encoding="utf-8")
    assert read_cvat(path, fps=24).warnings == [
        "annotations.xml, track 0, frame 12: the box sticks out of the frame and was clipped to it"
        " (and 2 more like it)",
        "annotations.xml, track 1: polygon were left out; only boxes are read",
    ]


@given(
    degrees=st.floats(-720, 720),
    corners=st.tuples(*[st.integers(0, 1000)] * 2, *[st.integers(1, 1000)] * 2),
    about=st.sampled_from(["centre", "corner"]),
)
def test_the_hull_of_a_turned_box_holds_its_corners_and_no_more(degrees: float, corners, about) -> None:
    left, top, width, height = corners
    hull = rotated_hull((left, top, left + width, top + height), degrees, about=about)
    turn = np.deg2rad(degrees)
    pivot = np.array([left, top]) + (np.array([width, height]) / 2 if about == "centre" else 0)
    points = np.array([(left, top), (left + width, top), (left, top + height), (left + width, top + height)]) - pivot
    turned = points @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) + pivot
    assert hull == pytest.approx((*turned.min(axis=0), *turned.max(axis=0)), abs=1e-6)


def test_a_box_that_turns_is_followed_in_every_frame(tmp_path: Path) -> None:
    boxes = "".join(
        f'<box frame="{frame}" keyframe="{int(frame in (0, 24))}" outside="0" occluded="0" xtl="540" ytl="340"'
        f' xbr="740" ybr="380" rotation="{frame * 90 / 24:.2f}" z_order="0"/>'
        for frame in range(25)
    )
    closing = '<box frame="25" keyframe="1" outside="1" occluded="0" xtl="0" ytl="0" xbr="1" ybr="1" z_order="0"/>'
    text = CVAT[: CVAT.index("  <track")] + f'<track id="0" label="Blurring">{boxes}{closing}</track></annotations>'
    path = tmp_path / "annotations.xml"
    path.write_text(text, encoding="utf-8")
    (trace,) = read_cvat(path, fps=24).samples[0].traces
    assert trace.tube is not None
    for frame in range(25):
        turn = np.deg2rad(frame * 90 / 24)
        half = (200 * np.cos(turn) + 40 * np.sin(turn)) / 2, (200 * np.sin(turn) + 40 * np.cos(turn)) / 2
        found = trace.tube.corners_at([frame / 24])[0] * (1280, 720, 1280, 720)
        assert found == pytest.approx((640 - half[0], 360 - half[1], 640 + half[0], 360 + half[1]), abs=0.05)


def test_urls_with_one_last_part_stay_two_videos(tmp_path: Path) -> None:
    rows = []
    for folder in ("a", "b"):
        row = labelbox_row()
        row["data_row"] = {"id": folder, "row_data": f"https://store.example/{folder}/my%20clip.mp4?sig=x/y"}
        rows.append(row)
    result = read_labelbox(write_ndjson(tmp_path / "export.ndjson", *rows))
    assert [(sample.video_id, sample.path) for sample in result.samples] == [
        ("a/my clip", "videos/a/my clip.mp4"),
        ("b/my clip", "videos/b/my clip.mp4"),
    ]
    (alone,) = read_labelbox(write_ndjson(tmp_path / "export.ndjson", rows[0])).samples
    assert (alone.video_id, alone.path) == ("my clip", "videos/my clip.mp4")


def test_what_labelbox_says_of_frames_and_of_the_whole_video(tmp_path: Path) -> None:
    row = labelbox_row()
    annotations = row["projects"]["clproj"]["labels"][0]["annotations"]
    why = {"feature_id": "why", "name": "why", "text_answer": {"content": "It flickers."}}
    for number in ("5", "6"):
        annotations["frames"][number] = {"objects": {}, "classifications": [why]}
    annotations["segments"]["why"] = [[5, 12]]
    annotations["classifications"] = [
        {"name": "kind", "checklist_answers": [{"name": "merging"}]},
        {"name": "truth", "radio_answer": {"name": "Real"}},
    ]
    (sample,) = read_labelbox(write_ndjson(tmp_path / "export.ndjson", row)).samples
    assert sample.label is Label.REAL
    *_, frames, whole = sample.traces
    assert (frames.box, frames.onset_s, frames.offset_s, frames.explanation) == (None, 4 / 24, 12 / 24, "It flickers.")
    assert whole == Trace(categories=(Category.OBJECT_MERGING,))


def test_a_skipped_label_is_none(tmp_path: Path) -> None:
    row = labelbox_row()
    row["projects"]["clproj"]["labels"][0]["performance_details"] = {"skipped": True}
    result = read_labelbox(write_ndjson(tmp_path / "export.ndjson", row))
    assert (result.samples, result.rounds) == ([], [])
    assert result.warnings == ["export.ndjson, row 1: cm2p0z6r1.mp4 has no label yet and was left out"]


@given(
    st.lists(
        st.tuples(*[st.sampled_from(["a", "b", "clip"])] * 3, st.sampled_from([".mp4", ".webm", ".mp4.mp4"])),
        unique=True,
        max_size=12,
    )
)
def test_every_path_has_an_id_of_its_own(parts) -> None:
    paths = ["videos/" + "/".join(part[:-1]) + part[-1] for part in parts]
    assert len(set(names_apart(paths, "videos"))) == len(paths)


@pytest.mark.parametrize(
    ("name", "folder", "wanted"),
    [
        ("clip.mp4", "videos", "videos/clip.mp4"),
        ("a/clip", "videos", "videos/a/clip.mp4"),
        ("videos/clip.mp4", "videos", "videos/clip.mp4"),
        ("real_videos/clip.mp4", "videos", "real_videos/clip.mp4"),
        ("../../etc/clip.mp4", "", "etc/clip.mp4"),
        ("C:\\clips\\a.mp4", "", "C:/clips/a.mp4"),
        ("https://x.example/a/clip%201.mp4?b=c/d", "v", "v/a/clip 1.mp4"),
        ("..", "videos", None),
    ],
)
def test_names_become_paths_below_the_root(name: str, folder: str, wanted: str | None) -> None:
    assert path_below(name, folder) == wanted


def test_a_moving_trace_reads_back_from_rows_as_it_was() -> None:
    trace = Trace(box=Box(x0=0, y0=0, x1=1, y1=1), onset_s=0.0, offset_s=1.0)
    row = {"video_id": "v", "video_width": 10, "video_height": 10, "video_frame_rate": 10, "video_duration": 1}
    fields = row | {"faketrace_keyframes": [{"time_s": 0.0, "box": [0, 0, 1, 1]}], "faketrace_first_frame": 0}
    (sample,) = samples_of_rows([RewardRow(fields | {"faketrace_duration": 1.0})])
    assert sample.traces[0].tube is not None
    assert sample.traces[0].tube.box == trace.box
    with pytest.raises(DataError, match="faketrace_keyframes"):
        samples_of_rows([RewardRow(row | {"faketrace_keyframes": [{"time_s": "x"}]}, "rows, row 1")])
