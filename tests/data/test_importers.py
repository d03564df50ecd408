"""Labelbox and CVAT exports, written after their documented formats, become samples with boxes over time."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from deeptrace.data import RewardRow, read_passes, read_reward_data, samples_of_rows, write_passes, write_reward_data
from deeptrace.data.importers import read_cvat, read_labelbox
from deeptrace.errors import DataError, SettingsError
from deeptrace.geometry import Box
from deeptrace.trace import Category, Label, Trace

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
    first, second, clock = sample.traces
    assert (first.onset_s, first.offset_s) == (0.0, 25 / 24), "frames count from 1 and both ends are inclusive"
    assert (second.onset_s, second.offset_s) == (2.0, 2.5)
    assert [key.time_s for key in first.keyframes] == [0.0, 0.5, 1.0], "frame 19 is interpolated, no keyframe"
    assert first.tube is not None
    assert first.tube.box_at(0.25) == Box(x0=0.25, y0=0.1, x1=0.35, y1=0.6)
    assert first.box == Box(x0=0.0, y0=0.1, x1=0.6, y1=0.6)
    assert first.categories == (Category.OBJECT_DISTORTION, Category.OBJECT_MERGING)
    assert first.explanation == second.explanation == "The hand melts."
    assert (clock.categories, clock.onset_s, clock.offset_s) == ((), 0.5, 13 / 24)
    assert [item.annotator for item in result.passes] == ["ada@lab.example"]
    assert result.warnings == []


def test_two_labels_are_two_passes_and_a_row_without_one_is_left_out(tmp_path: Path) -> None:
    row, bare = labelbox_row(), labelbox_row()
    second = json.loads(json.dumps(row["projects"]["clproj"]["labels"][0]))
    second["annotations"] |= {"frames": {}, "segments": {}, "key_frame_feature_map": {}}
    second["label_details"]["created_by"] = "bob@lab.example"
    row["projects"]["clproj"]["labels"].append(second)
    bare["projects"]["clproj"]["labels"] = []
    bare["data_row"]["external_id"] = "other.mp4"
    result = read_labelbox(write_ndjson(tmp_path / "export.ndjson", row, bare))
    assert [(item.annotator, len(item.traces), item.cannot_tell) for item in result.passes] == [
        ("ada@lab.example", 3, False),
        ("bob@lab.example", 0, True),
    ]
    assert len(result.samples) == 1
    assert result.warnings == ["export.ndjson, row 2: other.mp4 has no label yet and was left out"]
    write_passes(result.passes, tmp_path / "passes.jsonl")
    assert read_passes(tmp_path / "passes.jsonl") == result.passes


def test_imported_tubes_survive_the_reward_data_format(tmp_path: Path) -> None:
    (sample,) = read_labelbox(write_ndjson(tmp_path / "export.ndjson", labelbox_row())).samples
    write_reward_data([sample], tmp_path / "all_data.json")
    (again,) = read_reward_data(tmp_path)
    assert again.media == sample.media
    for ours, theirs in zip(again.traces, sample.traces, strict=True):
        assert ours.keyframes == theirs.keyframes
        assert ours.onset_s == theirs.onset_s
        assert ours.offset_s == pytest.approx(theirs.offset_s)
        assert ours.categories == theirs.categories
    rows = json.loads((tmp_path / "all_data.json").read_text())
    assert [row["faketrace_first_frame"] for row in rows] == [0, 48, 12]


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
    first, second = sample.traces
    assert (first.onset_s, first.offset_s) == (0.5, 1.5), "gone from frame 36 on"
    assert [key.time_s for key in first.keyframes] == [0.5, 1.0]
    assert first.tube is not None
    assert first.tube.box_at(0.75) == Box(x0=0.25, y0=0.1, x1=0.35, y1=0.6)
    assert first.categories == (Category.SUDDEN_BLURRING, Category.OBJECT_MERGING)
    assert first.explanation == "The face smears & fades."
    assert (second.onset_s, second.offset_s) == (2.5, pytest.approx(61 / 24))
    assert second.box == Box(x0=1000 / 1280, y0=0, x1=1, y1=1), "clipped to the frame"
    assert result.warnings == [f"{path.name}, track 1: polygon were left out; only boxes are read"]
    assert [(item.annotator, item.traces) for item in result.passes] == [("ada", sample.traces)]


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


def test_a_moving_trace_reads_back_from_rows_as_it_was() -> None:
    trace = Trace(box=Box(x0=0, y0=0, x1=1, y1=1), onset_s=0.0, offset_s=1.0)
    row = {"video_id": "v", "video_width": 10, "video_height": 10, "video_frame_rate": 10, "video_duration": 1}
    fields = row | {"faketrace_keyframes": [{"time_s": 0.0, "box": [0, 0, 1, 1]}], "faketrace_first_frame": 0}
    (sample,) = samples_of_rows([RewardRow(fields | {"faketrace_duration": 1.0})])
    assert sample.traces[0].tube is not None
    assert sample.traces[0].tube.box == trace.box
    with pytest.raises(DataError, match="faketrace_keyframes"):
        samples_of_rows([RewardRow(row | {"faketrace_keyframes": [{"time_s": "x"}]}, "rows, row 1")])
