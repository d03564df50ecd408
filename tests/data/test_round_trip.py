"""Samples that were written for a tool and are read again are the samples that were written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.needs import needs

from deeptrace.data import RewardRow, read_reward_data, samples_of_rows, write_reward_data
from deeptrace.data.exporters import (
    Exported,
    write_coco,
    write_cvat,
    write_fiftyone,
    write_label_studio,
    write_labelbox,
)
from deeptrace.data.importers import Imported, read_coco, read_cvat, read_fiftyone, read_label_studio, read_labelbox
from deeptrace.errors import DataError
from deeptrace.geometry import Box, Interval, Keyframe
from deeptrace.schema import Category, Label, Media, Sample, Trace

FPS, FRAMES = 24.0, 48
MEDIA = Media(width=1280, height=720, duration_s=FRAMES / FPS, fps=FPS, frames=FRAMES)


def through_cvat(samples: list[Sample], folder: Path) -> tuple[Exported, Imported]:
    return write_cvat(samples, folder), read_cvat(folder, fps=FPS)


def through_label_studio(samples: list[Sample], folder: Path) -> tuple[Exported, Imported]:
    return write_label_studio(samples, folder), read_label_studio(folder)


def through_coco(samples: list[Sample], folder: Path) -> tuple[Exported, Imported]:
    return write_coco(samples, folder / "coco.json"), read_coco(folder / "coco.json")


def through_fiftyone(samples: list[Sample], folder: Path) -> tuple[Exported, Imported]:
    return write_fiftyone(samples, folder), read_fiftyone(folder)


def through_labelbox(samples: list[Sample], folder: Path) -> tuple[Exported, Imported]:
    sizes = {sample.path: sample.media for sample in samples if sample.media is not None}
    return write_labelbox(samples, folder), read_labelbox(folder / "labels.ndjson", media=sizes.__getitem__)


ALL = [through_cvat, through_labelbox, through_label_studio, through_coco, through_fiftyone]
Through = Callable[[list[Sample], Path], tuple[Exported, Imported]]
each_tool = pytest.mark.parametrize("through", ALL, ids=lambda way: way.__name__.removeprefix("through_"))


# -- traces on frames -------------------------------------------------------------------------------------------------


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    x0, y0 = draw(st.integers(0, 90)), draw(st.integers(0, 90))
    x1, y1 = draw(st.integers(x0 + 1, 100)), draw(st.integers(y0 + 1, 100))
    return Box(x0=x0 / 100, y0=y0 / 100, x1=x1 / 100, y1=y1 / 100)


words = st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn"]), max_size=40).map(str.strip)


@st.composite
def traces(draw: st.DrawFn) -> Trace:
    """A trace that begins, ends and turns on frames: what every tool holds."""
    first = draw(st.integers(0, FRAMES - 1))
    end = draw(st.integers(first + 1, FRAMES))
    frames = sorted({first, *draw(st.lists(st.integers(first, end - 1), max_size=3))})
    keys = tuple(Keyframe(time_s=frame / FPS, box=draw(boxes())) for frame in frames)
    turns = sorted(draw(st.sets(st.integers(first + 1, max(end - 1, first + 1)), max_size=4)))
    turns = turns[: len(turns) // 2 * 2] if end - first > 2 else []
    gaps = [Interval(onset_s=off / FPS, offset_s=on / FPS) for off, on in zip(turns[::2], turns[1::2], strict=True)]
    box = Box(
        x0=min(key.box.x0 for key in keys),
        y0=min(key.box.y0 for key in keys),
        x1=max(key.box.x1 for key in keys),
        y1=max(key.box.y1 for key in keys),
    )
    return Trace(
        categories=tuple(draw(st.lists(st.sampled_from(Category), unique=True, max_size=3))),
        onset_s=first / FPS,
        offset_s=end / FPS,
        score=draw(st.none() | st.integers(0, 100).map(lambda n: n / 100)),
        box=box,
        keyframes=keys if len(keys) > 1 else (),
        explanation=draw(words),
        gaps=tuple(gaps),
    )


def assert_same(ours: Trace, theirs: Trace) -> None:
    """The same trace: in every frame in the same place, and all that is said of it."""
    assert ours.tube is not None
    assert theirs.tube is not None
    assert ours.tube.interval.onset_s == pytest.approx(theirs.tube.interval.onset_s, abs=1e-9)
    assert ours.tube.interval.offset_s == pytest.approx(theirs.tube.interval.offset_s, abs=1e-9)
    times = np.arange(round(theirs.tube.onset_s * FPS), round(theirs.tube.offset_s * FPS)) / FPS
    off = [any(gap.onset_s - 1e-6 <= time < gap.offset_s - 1e-6 for gap in theirs.gaps) for time in times]
    assert off == [any(gap.onset_s - 1e-6 <= time < gap.offset_s - 1e-6 for gap in ours.gaps) for time in times]
    times = times[~np.array(off)]
    apart = np.abs(ours.tube.corners_at(times) - theirs.tube.corners_at(times)) * ([MEDIA.width, MEDIA.height] * 2)
    assert apart.max() < 0.03, "of a pixel"
    assert ours.categories == theirs.categories
    assert ours.explanation == theirs.explanation
    assert ours.score == theirs.score


def by_time(found: tuple[Trace, ...]) -> list[Trace]:
    return sorted(found, key=lambda trace: (trace.onset_s or 0, trace.offset_s or 0))


@each_tool
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(found=st.lists(traces(), max_size=4))
def test_what_lies_on_frames_comes_back_as_it_was(
    through: Through, found: list[Trace], tmp_path_factory: pytest.TempPathFactory
) -> None:
    sample = Sample(video_id="f1", path="videos/f1.mp4", label=Label.FAKE, media=MEDIA, traces=tuple(found))
    if through is through_labelbox:  # which has no place for scores
        found = [trace.model_copy(update={"score": None}) for trace in found]
        sample = sample.model_copy(update={"traces": tuple(found)})
    exported, imported = through([sample], tmp_path_factory.mktemp("export"))
    (again,) = imported.samples
    assert (again.video_id, again.path, again.media) == (sample.video_id, sample.path, sample.media)
    assert (exported.videos, exported.traces) == (1, len(found))
    assert (imported.warnings, imported.refused) == ([], [])
    pairs = zip(by_time(again.traces), by_time(sample.traces), strict=True)
    for ours, theirs in pairs:
        assert_same(ours, theirs)


FAKE = Sample(
    video_id="f1",
    path="videos/f1.mp4",
    label=Label.FAKE,
    source="Pika 1.5",
    split="train",
    prompt="a cup",
    media=MEDIA,
    traces=(
        Trace(categories=(Category.OBJECT_MERGING,), box=Box(x0=0.1, y0=0.2, x1=0.5, y1=0.6), onset_s=0.5, offset_s=1),
    ),
)
REAL = Sample(video_id="r1", path="real_videos/r1.mp4", label=Label.REAL, source="Panda", split="test", media=MEDIA)
BARE = Sample(video_id="a/b", path="videos/a/b.webm", label=Label.FAKE, media=MEDIA)


@pytest.mark.parametrize("through", ALL[2:], ids=lambda way: way.__name__.removeprefix("through_"))
def test_whole_samples_come_back_from_the_tools_that_hold_them(through: Through, tmp_path: Path) -> None:
    exported, imported = through([FAKE, REAL, BARE], tmp_path)
    assert imported.samples == [FAKE, REAL, BARE]
    assert exported.notes == ()


def test_cvat_holds_split_and_traces_and_says_what_it_does_not(tmp_path: Path) -> None:
    exported, imported = through_cvat([FAKE, REAL, BARE], tmp_path)
    assert exported.notes == (
        "video f1: the source has no place in this format and was left out (and 1 more like it)",
        "video f1: the prompt has no place in this format and was left out",
        "video r1: the label has no place in this format and was left out (and 1 more like it)",
        "video a/b: its id is not the name of its file and has no place in this format",
    )
    found = {sample.path: sample for sample in imported.samples}
    assert found[FAKE.path].traces == FAKE.traces
    assert [found[s.path].label for s in (FAKE, REAL, BARE)] == [Label.FAKE, None, None]
    assert [found[s.path].split for s in (FAKE, REAL, BARE)] == ["train", "test", None]


def test_labelbox_holds_labels_and_traces_and_says_what_it_does_not(tmp_path: Path) -> None:
    exported, imported = through_labelbox([FAKE, REAL, BARE], tmp_path)
    assert exported.notes == (
        "video f1: the source has no place in this format and was left out (and 1 more like it)",
        "video f1: the split has no place in this format and was left out (and 1 more like it)",
        "video f1: the prompt has no place in this format and was left out",
        "video a/b: its id is not the name of its file and has no place in this format",
    )
    assert [(s.path, s.label, s.traces) for s in imported.samples] == [
        (s.path, s.label, s.traces) for s in (FAKE, REAL, BARE)
    ]
    again = write_labelbox(imported.samples, tmp_path / "again")
    assert again.notes == ()
    for name in ("labels.ndjson", "ontology.json"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / name).read_bytes()


BLINKS = FAKE.model_copy(
    update={
        "traces": (
            Trace(
                categories=(Category.OBJECT_DISAPPEARANCE,),
                box=Box(x0=0.1, y0=0.1, x1=0.6, y1=0.2),
                onset_s=0.25,
                offset_s=1.5,
                keyframes=(
                    Keyframe(time_s=0.25, box=Box(x0=0.1, y0=0.1, x1=0.2, y1=0.2)),
                    Keyframe(time_s=0.5, box=Box(x0=0.3, y0=0.1, x1=0.4, y1=0.2)),
                    Keyframe(time_s=1.0, box=Box(x0=0.5, y0=0.1, x1=0.6, y1=0.2)),
                ),
                gaps=(Interval(onset_s=0.5, offset_s=1.0),),
            ),
        )
    }
)


def test_a_gap_is_what_each_tool_has_for_it(tmp_path: Path) -> None:
    """Frames 12 to 23 of 6 to 35."""
    write_cvat([BLINKS], tmp_path / "cvat")
    boxes = ElementTree.parse(tmp_path / "cvat" / "videos" / "f1.mp4.xml").findall("track/box")
    seen = {int(box.get("frame", "")): box.get("outside") for box in boxes}
    assert seen == dict.fromkeys((*range(6, 12), *range(24, 36)), "0") | {12: "1", 36: "1"}
    write_label_studio([BLINKS], tmp_path / "ls")
    (region, *_) = json.loads((tmp_path / "ls" / "tasks.json").read_text())[0]["annotations"][0]["result"]
    assert [(key["frame"], key["enabled"]) for key in region["value"]["sequence"]] == [
        (7, True), (12, False), (25, True), (36, False),
    ]  # fmt: skip
    write_coco([BLINKS], tmp_path / "coco.json")
    coco = json.loads((tmp_path / "coco.json").read_text())
    assert [image["frame_index"] for image in coco["images"]] == [*range(6, 12), *range(24, 36)]
    assert len(coco["annotations"]) == 18
    write_fiftyone([BLINKS], tmp_path / "fo")
    frames = json.loads((tmp_path / "fo" / "labels" / "videos" / "f1.mp4.json").read_text())["frames"]
    assert [int(frame) - 1 for frame in frames] == [*range(6, 12), *range(24, 36)]
    write_labelbox([BLINKS], tmp_path / "lb")
    line = json.loads((tmp_path / "lb" / "labels.ndjson").read_text().splitlines()[1])
    assert [[key["frame"] for key in one["keyframes"]] for one in line["segments"]] == [[7, 12], [25, 36]]


def test_a_gap_in_reward_data_is_a_field_of_our_own_beside_rows_that_others_read(tmp_path: Path) -> None:
    write_reward_data([BLINKS], tmp_path / "all_data.json")
    assert read_reward_data(tmp_path)[0].traces == BLINKS.traces
    (row,) = json.loads((tmp_path / "all_data.json").read_text())
    assert row["faketrace_gaps"] == [{"onset_s": 0.5, "offset_s": 1.0}]
    plain = {name: value for name, value in row.items() if name not in ("faketrace_gaps", "faketrace_keyframes")}
    (bare,) = samples_of_rows([RewardRow(plain)])
    whole = BLINKS.traces[0]
    assert bare.traces == (whole.model_copy(update={"gaps": (), "keyframes": ()}),), "one object, box, onset and end"
    for wrong in ([{"onset_s": 2.0}], [{"onset_s": 2.0, "offset_s": 1.0}], [{"onset_s": 1.0, "offset_s": 1.0}], "x"):
        with pytest.raises(DataError, match="row, faketrace_gaps: expected a list of"):
            samples_of_rows([RewardRow(row | {"faketrace_gaps": wrong})])


HARD = Sample(
    video_id="h",
    path="videos/h.mp4",
    label=Label.FAKE,
    media=MEDIA,
    traces=(
        Trace(explanation="It flickers.", onset_s=0.5, offset_s=1.0),
        Trace(explanation="Something is off.", categories=(Category.SUDDEN_BLURRING,)),
        Trace(box=Box(x0=0.1, y0=0.1, x1=0.2, y1=0.2), onset_s=0.26),
        Trace(box=Box(x0=0.1, y0=0.1, x1=0.2, y1=0.2), onset_s=0.26, offset_s=1.01),
        Trace(box=Box(x0=0.1, y0=0.1, x1=0.2, y1=0.2), onset_s=0.5, offset_s=9.0),
    ),
)


@pytest.mark.parametrize("through", ALL[3:], ids=lambda way: way.__name__.removeprefix("through_"))
def test_unknown_and_exact_times_come_back_from_the_formats_with_room_for_them(
    through: Through, tmp_path: Path
) -> None:
    exported, imported = through([HARD], tmp_path)
    (again,) = imported.samples
    assert again.traces[:4] == HARD.traces[:4]
    assert again.traces[4] == HARD.traces[4].model_copy(update={"offset_s": 2.0})
    assert exported.notes == ("video h, trace 5: lasts beyond the end of its video and was cut off there",)


@pytest.mark.parametrize("through", ALL[:3], ids=lambda way: way.__name__.removeprefix("through_"))
def test_what_does_not_fit_on_frames_is_said_once_a_kind(through: Through, tmp_path: Path) -> None:
    exported, imported = through([HARD], tmp_path)
    (again,) = imported.samples
    boxed = [trace for trace in again.traces if trace.box is not None]
    assert [(t.onset_s, t.offset_s) for t in by_time(tuple(boxed))] == [(0.25, 1.0), (0.25, 2.0), (0.5, 2.0)]
    said = {note.partition(": ")[2] for note in exported.notes}
    common = {
        "states no end and was put on every frame from its onset on",
        "begins or ends between two frames, which was put on the nearer one",
        "lasts beyond the end of its video and was cut off there",
    }
    if through is not through_label_studio:
        assert said == common | {"has no box and was left out (and 1 more like it)"}
    else:
        assert said == common | {"states no time and was put on every frame"}
        assert again.traces[0] == HARD.traces[0]
        assert again.traces[1] == HARD.traces[1].model_copy(update={"onset_s": 0.0, "offset_s": 2.0})


@each_tool
def test_a_sample_without_a_rate_is_left_out_by_name(through: Through, tmp_path: Path) -> None:
    exported, imported = through([FAKE, FAKE.model_copy(update={"video_id": "n", "media": None})], tmp_path)
    assert (exported.videos, len(imported.samples)) == (1, 1)
    assert "video n: states no frame size or no frame rate and was left out" in exported.notes


def test_the_corpus_goes_through_every_tool(corpus_dir: Path, tmp_path: Path) -> None:
    samples = [sample for sample in read_reward_data(corpus_dir) if sample.media is not None][:120]
    for through in ALL:
        folder = tmp_path / through.__name__
        if through is through_cvat:
            rates = {sample.path: sample.media.fps for sample in samples}
            exported, imported = write_cvat(samples, folder), read_cvat(folder, fps=rates.__getitem__)
        else:
            exported, imported = through(samples, folder)
        assert exported.videos == len(samples)
        found = {sample.path: sample for sample in imported.samples}
        for sample in samples:
            again, fps = found[sample.path], sample.media.fps
            assert len(again.traces) == len(sample.traces)
            # times that are put on one frame may change the order of two traces
            pairs = (sorted(found, key=lambda trace: trace.explanation) for found in (again.traces, sample.traces))
            for ours, theirs in zip(*pairs, strict=True):
                assert ours.box is not None
                assert theirs.box is not None
                assert ours.box.iou(theirs.box) > 0.999
                assert abs(ours.onset_s - theirs.onset_s) <= 0.501 / fps
                assert ours.explanation == theirs.explanation.strip()


# -- read by others ---------------------------------------------------------------------------------------------------


def test_pycocotools_reads_the_boxes_of_every_frame(tmp_path: Path) -> None:
    coco = needs("pycocotools.coco")
    write_coco([FAKE, REAL], tmp_path / "coco.json")
    loaded = coco.COCO(str(tmp_path / "coco.json"))
    images = loaded.loadImgs(loaded.getImgIds())
    assert [image["frame_index"] for image in images] == list(range(12, 24))
    assert images[0]["file_name"] == "videos/f1/000012.jpg"
    for image in images:
        (annotation,) = loaded.loadAnns(loaded.getAnnIds(imgIds=image["id"]))
        assert annotation["bbox"] == pytest.approx([128, 144, 512, 288])
        assert loaded.loadCats(annotation["category_id"])[0]["name"] == "object_merging"


def test_label_studios_sdk_finds_the_tasks_valid_and_draws_the_same_frames(tmp_path: Path) -> None:
    command = "pip install label-studio-sdk, then make test"
    interface = needs("label_studio_sdk.label_interface", command=command)
    video = needs("label_studio_sdk._extensions.label_studio_tools.postprocessing.video", command=command)
    write_label_studio([FAKE, REAL, HARD], tmp_path)
    labels = interface.LabelInterface((tmp_path / "config.xml").read_text())
    labels.validate()
    tasks = json.loads((tmp_path / "tasks.json").read_text())
    for task in tasks:
        assert labels.validate_annotation(task["annotations"][0]) in (True, [])
    (region, *_) = video.extract_key_frames(tasks[0]["annotations"][0]["result"])
    assert sorted({key["frame"] for key in region["value"]["sequence"]}) == list(range(13, 25))


def test_datumaro_reads_the_tracks_of_cvat(tmp_path: Path) -> None:
    cvat = needs("datumaro.plugins.data_formats.cvat.base", command="pip install datumaro, then make test")
    write_cvat([FAKE], tmp_path)
    items = cvat.CvatBase(str(tmp_path / "videos" / "f1.mp4.xml"))
    seen = {
        item.attributes["frame"]: box for item in items for box in item.annotations if not box.attributes["outside"]
    }
    assert sorted(seen) == list(range(12, 24))
    assert seen[12].points == pytest.approx([128, 144, 640, 432])
    assert seen[12].attributes["object_merging"] is True
