"""Exports as annotators leave them: what each of the shared cases is read as, value by value."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from deeptrace.data.importers import Imported, read_cvat, read_labelbox
from deeptrace.schema import Category, Label

Corners = tuple[float, float, float, float]
BLUR, MERGE, SHAPE = Category.SUDDEN_BLURRING, Category.OBJECT_MERGING, Category.OBJECT_DISTORTION


@dataclass(frozen=True)
class Read:
    """One trace: frames [first, end), boxes by frame in pixels (left, top, right, bottom), what is said of it."""

    first: int
    end: int
    boxes: dict[int, Corners]
    categories: tuple[Category, ...] = (BLUR,)
    explanation: str = ""
    score: float | None = None
    gaps: tuple[tuple[int, int], ...] = ()


@pytest.fixture(scope="session")
def cases(shared_dir: Path) -> Path:
    folder = shared_dir / "cases" / "importers"
    if not folder.is_dir():
        pytest.skip("needs the shared cases beside the checkout")
    return folder


def check(result: Imported, fps: float, wanted: dict[str, list[Read]], *, path: str = "videos/{}.mp4") -> None:
    assert {sample.video_id for sample in result.samples} == set(wanted)
    for sample in result.samples:
        assert sample.path == path.format(sample.video_id)
        assert sample.label is (Label.FAKE if wanted[sample.video_id] else None)
        assert sample.media is not None
        scale = (sample.media.width, sample.media.height) * 2
        assert len(sample.traces) == len(wanted[sample.video_id])
        for trace, read in zip(sample.traces, wanted[sample.video_id], strict=True):
            assert trace.onset_s == pytest.approx(read.first / fps)
            assert trace.offset_s == pytest.approx(read.end / fps)
            assert (trace.categories, trace.explanation) == (read.categories, read.explanation)
            assert trace.score == read.score
            assert [(gap.onset_s, gap.offset_s) for gap in trace.gaps] == [
                (pytest.approx(first / fps), pytest.approx(end / fps)) for first, end in read.gaps
            ]
            assert (trace.box is not None) == bool(read.boxes)
            for frame, corners in read.boxes.items():
                assert trace.tube is not None
                found = trace.tube.corners_at([frame / fps])[0] * scale
                assert found == pytest.approx(corners, abs=0.01), f"in frame {frame}"


STILL = (100.0, 100.0, 200.0, 200.0)
CVAT_CASES: dict[str, list[Read]] = {
    # said of the frame at which it is gone already, "splitting" is no kind of this trace
    "cvat_attr": [Read(10, 15, {10: STILL}, (BLUR, MERGE), "The cup <melts>")],
    "cvat_blink": [Read(5, 14, {5: STILL, 7: STILL, 12: (300, 100, 400, 200)}, (SHAPE,), gaps=((8, 12),))],
    "cvat_dup": [Read(10, 15, {10: (110, 100, 210, 200)})],
    "cvat_edge": [Read(10, 15, {10: (1279.9, 100, 1280, 200)})],
    "cvat_no_close": [Read(10, 11, {10: STILL})],
    "cvat_numattr": [Read(10, 15, {10: STILL}, (MERGE,), score=0.9)],
    "cvat_out_frame": [Read(12, 15, {12: (1190, 100, 1280, 200)})],
    # moved on by 20 pixels a frame up to the last frame before it is gone
    "cvat_outside_interp": [
        Read(10, 20, {f: (100 + 20 * (f - 10), 100, 200 + 20 * (f - 10), 200) for f in range(10, 20)})
    ],
    "cvat_poly": [],
    "cvat_rotated": [Read(10, 20, {10: (580, 220, 620, 420)})],
    "cvat_step5": [Read(0, 25, {0: STILL, 20: STILL})],
    "cvat_zero": [Read(11, 15, {11: STILL})],
}
CVAT_WARNINGS = {
    "cvat_dup": "track 0, frame 10: has two boxes; the latter was taken",
    "cvat_edge": "track 0, frame 10: the box sticks out of the frame and was clipped to it",
    "cvat_no_close": "track 0: is closed by no outside box; it was taken to end with its last box",
    "cvat_out_frame": "track 0, frame 10: the box lies outside the 1280 x 720 frame and was left out",
    "cvat_poly": "track 0: polygon were left out; only boxes are read",
    "cvat_step5": "track 0: is closed by no outside box; it was taken to end with its last box",
    "cvat_zero": "track 0, frame 10: the box has no area and was left out",
}


@pytest.mark.parametrize("name", CVAT_CASES)
def test_cvat(cases: Path, name: str) -> None:
    result = read_cvat(cases / f"{name}.xml", fps=10)
    check(result, 10, {"clip": CVAT_CASES[name]})
    assert result.warnings == [f"{name}.xml, {CVAT_WARNINGS[name]}" for _ in range(name in CVAT_WARNINGS)]
    assert result.refused == []
    assert [item.cannot_tell for item in result.rounds] == [False], "something was marked in each"


def test_a_cvat_track_that_names_no_task_is_left_out_aloud(cases: Path) -> None:
    result = read_cvat(cases / "cvat_project.xml", fps=10)
    check(result, 10, {"a": [], "b": []})
    assert result.warnings == ["cvat_project.xml, track 0: names none of the export's tasks and was left out"]
    assert not any(item.cannot_tell for item in result.rounds), "it may be of either"


def moved(first: int, last: int) -> dict[int, Corners]:
    """The box that most cases have: 50 x 50 pixels, 100 to the right by its last frame."""
    return {first: (100, 100, 150, 150), last: (200, 100, 250, 150)}


PLAIN = Read(0, 11, moved(0, 10), ())
LABELBOX_CASES: dict[str, dict[str, list[Read]]] = {
    "lb_basic": {"clip": [PLAIN]},
    "lb_box_out": {"clip": []},
    "lb_failed_row": {"clip": [PLAIN]},
    "lb_frame0": {"clip": [Read(0, 6, {0: (100, 100, 150, 150)}, ())]},
    "lb_global_class": {"clip": [Read(2, 3, {}, (), "All frames flicker")]},
    "lb_null_media": {"clip": [PLAIN]},
    "lb_past_end": {"clip": [Read(118, 120, {118: (100, 100, 150, 150)}, ())]},
    "lb_same_name_folders": {"a/clip": [PLAIN], "b/clip": [PLAIN]},
    "lb_segment_pad": {
        "clip": [Read(0, 30, {0: (100, 100, 150, 150), 4: (140, 100, 190, 150), 29: (140, 100, 190, 150)}, ())]
    },
    "lb_segment_two_keys_in_one": {
        "clip": [
            Read(
                0,
                25,
                {0: (100, 100, 150, 150), 4: (140, 100, 190, 150), 19: (600, 100, 650, 150)},
                (),
                gaps=((5, 19),),
            )
        ]
    },
    "lb_skipped_label": {"clip": [PLAIN], "d": []},
    "lb_temporal_cls_frames": {"clip": [Read(0, 4, {0: (100, 100, 150, 150)}, (BLUR, MERGE), "The   hand\nmelts")]},
    "lb_two_annotators": {"clip": [PLAIN]},
    "lb_unlabelled_nomedia": {"clip": [PLAIN]},
    "lb_url_name": {"clip 1": [PLAIN]},
}
LABELBOX_WARNINGS = {
    "lb_box_out": "row 1, label 1, object A, frame 1: the box lies outside the 1280 x 720 frame and was left out",
    "lb_frame0": "row 1, label 1: has a frame 0, where Labelbox counts from 1; its frames were read as counted from 0",
    "lb_past_end": "row 1, label 1, object A: lasts beyond the end of its video and was cut off there",
    "lb_two_annotators": "row 1, label 1: a marked nothing; another annotator's traces were taken",
    "lb_unlabelled_nomedia": "row 2: b.mp4 has no label yet and was left out",
}


@pytest.mark.parametrize("name", LABELBOX_CASES)
def test_labelbox(cases: Path, name: str) -> None:
    result = read_labelbox(cases / f"{name}.ndjson")
    check(result, 24, LABELBOX_CASES[name])
    assert result.warnings == [f"{name}.ndjson, {LABELBOX_WARNINGS[name]}" for _ in range(name in LABELBOX_WARNINGS)]
    assert len(result.refused) == (name == "lb_failed_row")


def test_a_row_that_labelbox_failed_to_export_is_refused_by_name(cases: Path) -> None:
    (error,) = read_labelbox(cases / "lb_failed_row.ndjson").refused
    assert str(error) == (
        "lb_failed_row.ndjson, row 2, videos/c.mp4: was not exported: could not export. Export it again."
    )


def test_who_marked_nothing_is_told_from_whose_marks_could_not_be_read(cases: Path) -> None:
    assert [item.cannot_tell for item in read_labelbox(cases / "lb_two_annotators.ndjson").rounds] == [True, False]
    assert [item.cannot_tell for item in read_labelbox(cases / "lb_box_out.ndjson").rounds] == [False]


def test_no_case_is_forgotten(cases: Path) -> None:
    known = {"cvat_project", *CVAT_CASES, *LABELBOX_CASES}
    assert {path.stem for path in cases.iterdir()} == known
