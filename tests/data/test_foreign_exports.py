"""Exports of Label Studio, COCO and FiftyOne that others made: other fields, gaps, and things that are not ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deeptrace.data.exporters import write_cvat, write_fiftyone, write_label_studio
from deeptrace.data.importers import read_coco, read_cvat, read_fiftyone, read_label_studio
from deeptrace.errors import DataError, VideoNotFoundError
from deeptrace.geometry import Box
from deeptrace.schema import Category, Label, Media, Sample, Trace

KIND = ["merging"]
MEDIA = Media(width=1280, height=720, duration_s=5.0, fps=24.0, frames=120)


def key(frame: int, *, enabled: bool = True, x: float = 10, rotation: float = 0, **more: Any) -> dict[str, Any]:
    place = {"x": x, "y": 20, "width": 10, "height": 50, "rotation": rotation}
    return {"frame": frame, "enabled": enabled, "time": frame / 24} | place | more


def region(name: str, *keys: dict[str, Any], labels: list[str] | None = None) -> dict[str, Any]:
    value = {"framesCount": 120, "duration": 5, "sequence": list(keys)} | ({"labels": labels} if labels else {})
    return {"id": name, "type": "videorectangle", "from_name": "box", "to_name": "video", "value": value}


def task(*result: dict[str, Any], **data: Any) -> dict[str, Any]:
    stated = {"video": "/data/local-files/?d=set/clip%201.mp4", "width": 1280, "height": 720} | data
    return {"id": 1, "data": stated, "annotations": [{"completed_by": {"email": "ada@x.org"}, "result": list(result)}]}


def written(path: Path, *tasks: dict[str, Any]) -> Path:
    path.write_text(json.dumps(list(tasks)), encoding="utf-8")
    return path


def test_label_studio_regions_come_and_go_and_turn(tmp_path: Path) -> None:
    found = task(
        region("a", key(1), key(13, x=40, enabled=False), key(25, x=60), key(31, x=60, enabled=False), labels=KIND),
        region("b", key(49, rotation=90, x=50)),
        {"id": "a", "type": "textarea", "from_name": "why", "value": {"text": ["It melts."]}},
        {"id": "a", "type": "choices", "from_name": "kind", "value": {"choices": ["Blurring", "odd"]}},
        {"id": "x", "type": "choices", "from_name": "truth", "value": {"choices": ["Fake"]}},
        {
            "id": "t",
            "type": "timelinelabels",
            "value": {"ranges": [{"start": 3, "end": 5}], "timelinelabels": ["split"]},
        },
        {"id": "p", "type": "brushlabels", "value": {"rle": [1]}},
    )
    result = read_label_studio(written(tmp_path / "export.json", found))
    (sample,) = result.samples
    assert (sample.video_id, sample.path, sample.label) == ("clip 1", "videos/set/clip 1.mp4", Label.FAKE)
    assert sample.media == MEDIA, "the rate is the frames over the duration"
    first, turned, moment = sample.traces
    assert (first.onset_s, first.offset_s) == (0.0, 31 / 24)
    assert [(gap.onset_s, gap.offset_s) for gap in first.gaps] == [(13 / 24, 1.0)], (
        "after the frame that is not enabled"
    )
    assert first.tube is not None
    assert first.tube.box_at(6 / 24) == Box(x0=0.25, y0=0.2, x1=0.35, y1=0.7)
    assert first.tube.box_at(1.0) == first.tube.box_at(30 / 24) == Box(x0=0.6, y0=0.2, x1=0.7, y1=0.7)
    assert first.categories == (Category.OBJECT_MERGING, Category.SUDDEN_BLURRING)
    assert first.explanation == "It melts."
    # about its upper left corner, by pixels: 128 x 360 becomes 360 x 128, to the left of it
    assert turned.box is not None
    assert turned.box.to_pixels_xyxy(width=1280, height=720) == pytest.approx((280, 144, 640, 272))
    assert turned.offset_s == 5.0
    assert (moment.box, moment.onset_s, moment.offset_s) == (None, 2 / 24, 5 / 24)
    assert result.warnings == [
        "export.json, task 1, annotation 1, p: is a brushlabels and was left out",
        "export.json, task 1, annotation 1, region a: no category for odd",
    ]
    assert [item.annotator for item in result.rounds] == ["ada@x.org"]


def test_label_studio_tasks_that_cannot_be_read_leave_the_others(tmp_path: Path) -> None:
    bare, skipped, nameless = task(), task(), task(video="")
    bare["annotations"] = []
    skipped["annotations"][0]["was_cancelled"] = True
    unsized = task(video="https://x.example/other.mp4", width=None)
    broken = task(region("a", {"frame": "x"}), video="b.mp4")
    good = task(region("a", key(2)), video="c.mp4")
    path = written(tmp_path / "export.json", bare, skipped, nameless, unsized, broken, good)
    result = read_label_studio(path)
    assert [sample.video_id for sample in result.samples] == ["c"]
    assert result.warnings == [
        "export.json, task 1: clip 1.mp4 has no annotation yet and was left out (and 1 more like it)"
    ]
    assert [error.subject for error in result.refused] == [
        "export.json, task 3, data",
        "export.json, task 4, data",
        "export.json, task 5, annotation 1, region a, sequence",
    ]
    with pytest.raises(DataError, match="size, rate and length"):
        read_label_studio(written(path, unsized))
    asked: list[str] = []
    (sample,) = read_label_studio(written(path, unsized), media=lambda name: asked.append(name) or MEDIA).samples
    assert asked == ["videos/other.mp4"]
    assert sample.media == MEDIA

    def gone(name: str) -> Media:
        raise VideoNotFoundError(name, "no such file")

    with pytest.raises(VideoNotFoundError):
        read_label_studio(written(path, unsized), media=gone)
    assert read_label_studio(written(path, task(fps=24, frames=120))).rounds[0].cannot_tell


def coco(**change: Any) -> dict[str, Any]:
    """As MMTracking's CocoVID has it: no rate, `frame_id`, `instance_id`, a frame left out."""
    return {
        "categories": [{"id": 3, "name": "merging"}],
        "videos": [{"id": 7, "name": "clip", "width": 1280, "height": 720}],
        "images": [{"id": at, "video_id": 7, "frame_id": frame} for at, frame in enumerate((10, 11, 20), 1)],
        "annotations": [
            {"id": 1, "image_id": 1, "instance_id": 5, "category_id": 3, "bbox": [128, 72, 128, 72]},
            {"id": 2, "image_id": 3, "instance_id": 5, "category_id": 3, "bbox": [1260, 72, 128, 72]},
            {"id": 3, "image_id": 2, "category_id": 3, "bbox": [0, 0, 1, 1]},
            {"id": 4, "image_id": 2, "instance_id": 6, "category_id": 3, "bbox": [2000, 0, 1, 1]},
        ],
    } | change


def test_coco_of_others(tmp_path: Path) -> None:
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(coco()))
    with pytest.raises(DataError, match="does not state width, height, fps and frames"):
        read_coco(path)
    result = read_coco(path, media=lambda name: MEDIA)
    (sample,) = result.samples
    assert (sample.video_id, sample.path) == ("clip", "videos/clip.mp4")
    (trace,) = sample.traces
    assert (trace.onset_s, trace.offset_s, trace.categories) == (10 / 24, 21 / 24, (Category.OBJECT_MERGING,))
    assert trace.box == Box(x0=0.1, y0=0.1, x1=1.0, y1=0.2)
    assert [warning.partition(": ")[2] for warning in result.warnings] == [
        "belongs to no track and was left out",
        "the box sticks out of the frame and was clipped to it",
        "the box lies outside the 1280 x 720 frame and was left out",
    ]
    for change, problem in (({"videos": []}, "COCO for images"), ({"images": [1]}, "expected a list of objects")):
        path.write_text(json.dumps(coco(**change)))
        with pytest.raises(DataError, match=problem):
            read_coco(path, media=lambda name: MEDIA)
    path.write_text("[]")
    with pytest.raises(DataError, match="expected an object"):
        read_coco(path)


def test_an_edit_in_a_tool_wins_over_what_we_wrote_beside_it(tmp_path: Path) -> None:
    trace = Trace(box=Box(x0=0.1, y0=0.1, x1=0.2, y1=0.2), onset_s=0.26, offset_s=1.01)
    sample = Sample(video_id="f", path="videos/f.mp4", label=Label.FAKE, media=MEDIA, traces=(trace,))
    write_fiftyone([sample], tmp_path)
    labels = tmp_path / "labels" / "videos" / "f.mp4.json"
    whole = json.loads(labels.read_text())
    assert read_fiftyone(tmp_path).samples[0].traces == (trace,)
    for frame in list(whole["frames"]):
        if int(frame) > 12:
            del whole["frames"][frame]
    labels.write_text(json.dumps(whole))
    (again,) = read_fiftyone(tmp_path).samples[0].traces
    assert (again.onset_s, again.offset_s) == (0.25, 0.5)


def test_fiftyone_as_it_exports_itself(tmp_path: Path) -> None:
    """No file name and no metadata; detections without an event; one without an index."""
    corners = {"top_left": {"x": 0.1, "y": 0.1}, "bottom_right": {"x": 0.2, "y": 0.2}}
    detected = {"type": "eta.core.objects.DetectedObject", "label": "merging", "bounding_box": corners, "index": 4}
    stray = {name: value for name, value in detected.items() if name != "index"}
    frames = {str(n): {"frame_number": n, "objects": {"objects": [detected] + [stray] * (n == 5)}} for n in range(5, 9)}
    event = {"label": "splitting", "support": {"ranges": "13-24"}, "attrs": {"attrs": []}}
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "clip.json").write_text(json.dumps({"frames": frames, "events": {"events": [event]}}))
    (tmp_path / "labels" / "bad.json").write_text("{")
    index = [{"data": f"data/{name}.mp4", "labels": f"labels/{name}.json"} for name in ("clip", "bad")]
    (tmp_path / "manifest.json").write_text(json.dumps({"index": [*index, {"data": "x", "labels": "../x.json"}]}))
    result = read_fiftyone(tmp_path, media=lambda name: MEDIA)
    (sample,) = result.samples
    assert sample.path == "videos/clip.mp4"
    moment, boxed = sample.traces
    assert (moment.box, moment.onset_s, moment.offset_s) == (None, 0.5, 1.0)
    assert (boxed.box, boxed.onset_s, boxed.offset_s) == (Box(x0=0.1, y0=0.1, x1=0.2, y1=0.2), 4 / 24, 8 / 24)
    assert result.warnings == ["labels/clip.json, frame 5: a detection has no index and was left out"]
    assert len(result.refused) == 2
    with pytest.raises(DataError, match="labels, manifest"):
        read_fiftyone(tmp_path / "labels")


def test_switches_are_read_as_scripts_write_them_and_nothing_else_is_one(tmp_path: Path) -> None:
    said = [region("a", key(1, enabled=True), key(13, enabled=value)) for value in (False, "false", 0, "0")]  # type: ignore[arg-type]
    (sample,) = read_label_studio(written(tmp_path / "export.json", task(*said[:1]))).samples
    for other in said[1:]:
        (as_text,) = read_label_studio(written(tmp_path / "export.json", task(other))).samples
        assert as_text.traces == sample.traces
        assert as_text.traces[0].offset_s == 13 / 24
    odd = written(tmp_path / "export.json", task(region("a", key(7, enabled="off"))))  # type: ignore[arg-type]
    with pytest.raises(DataError, match="frame 7, enabled: expected true or false but got 'off'"):
        read_label_studio(odd)


def test_a_box_that_is_outside_in_words_is_outside(tmp_path: Path) -> None:
    media = Media(width=1280, height=720, duration_s=5.0, fps=24.0, frames=120)
    trace = Trace(onset_s=0.5, offset_s=1.5, box=Box(x0=0.1, y0=0.1, x1=0.2, y1=0.2))
    sample = Sample(video_id="a", path="videos/a.mp4", label=Label.FAKE, media=media, traces=(trace,))
    write_cvat([sample], tmp_path)
    (before,) = read_cvat(tmp_path, fps=24.0).samples
    (file,) = tmp_path.rglob("*.xml")
    written_by_us = file.read_text()
    assert 'outside="1"' in written_by_us
    file.write_text(written_by_us.replace('outside="1"', 'outside="true"').replace('outside="0"', 'outside="False"'))
    assert read_cvat(tmp_path, fps=24.0).samples == [before]
    file.write_text(written_by_us.replace('outside="1"', 'outside="gone"'))
    with pytest.raises(DataError, match=r"frame 36, outside: expected true or false but got 'gone'"):
        read_cvat(tmp_path, fps=24.0)


def test_a_video_that_a_tool_cannot_find_does_not_keep_the_others_back(tmp_path: Path) -> None:
    media = Media(width=64, height=64, duration_s=1.0, fps=8.0, frames=8)
    samples = [
        Sample(video_id=name, path=path, label=Label.REAL, media=media)
        for name, path in (("a", "videos/a.mp4"), ("b", "../secret/b.mp4"), ("c", "videos/c.mp4"))
    ]
    why = "video b: the path '../secret/b.mp4' leads out of the dataset's folder and was left out"
    done = write_fiftyone(samples, tmp_path, root=tmp_path / "root")
    assert (done.videos, done.left_out, done.notes) == (2, 1, (why,))
    index = json.loads((tmp_path / "manifest.json").read_text())["index"]
    assert [Path(entry["data"]).name for entry in index] == ["a.mp4", "c.mp4"]
    done = write_label_studio(samples, tmp_path, root="https://media.example/set")
    assert (done.videos, done.left_out) == (2, 1)
    assert why in done.notes
    tasks = json.loads((tmp_path / "tasks.json").read_text())
    assert [task["data"]["video"] for task in tasks] == [
        "https://media.example/set/videos/a.mp4",
        "https://media.example/set/videos/c.mp4",
    ]
