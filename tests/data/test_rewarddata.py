"""Reading and writing RewardData: lossless, tolerant of what is missing, strict on nonsense."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deeptrace.data import (
    RewardRow,
    iter_rows,
    join_media,
    read_reward_data,
    rows_of_sample,
    samples_of_rows,
    write_reward_data,
)
from deeptrace.errors import DataError
from deeptrace.geometry import Box, Interval, Keyframe, Tube
from deeptrace.schema import Category, Label, Media, Sample, Trace

FAKE = {
    "video_id": "cm2p0",
    "video_type": "fake_video",
    "video_path": "videos/cm2p0.mp4",
    "video_source": "Pika 1.5",
    "video_prompt": "a cat",
    "video_width": 1296,
    "video_height": 720,
    "video_frame_rate": 24.0,
    "video_frame_count": 121,
    "video_duration": 5.04,
    "split": "train",
    "faketrace_bbox": {"left": 648, "top": 0, "width": 324, "height": 360},
    "faketrace_first_frame": 36,
    "faketrace_duration": 1.25,
    "faketrace_explanations": "",
    "faketrace_check_applies": ["Shape distortion", "None of the above"],
    "votes": 2,
    "confidence": None,
}
SECOND = FAKE | {
    "faketrace_bbox": {"left": 0, "top": 0, "width": 1296, "height": 720},
    "faketrace_first_frame": 0,
    "faketrace_check_applies": [],
}
REAL = {"video_id": "0_30_s_1", "video_type": "real_video", "video_path": "real_videos/0_30_s_1.mp4", "split": "val"}


def write(path: Path, rows: list[dict]) -> Path:
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


def rows_in(path: Path) -> list[dict]:
    return [dict(row.fields) for row in iter_rows(path)]


def without(row: dict, *names: str) -> dict:
    return {name: value for name, value in row.items() if name not in names}


def test_one_sample_a_video_with_its_traces_in_row_order(tmp_path: Path) -> None:
    samples = read_reward_data(write(tmp_path / "all_data.json", [FAKE, REAL, SECOND]))
    assert [sample.video_id for sample in samples] == ["cm2p0", "0_30_s_1"]
    fake, real = samples
    assert (fake.label, fake.source, fake.prompt, fake.split) == (Label.FAKE, "Pika 1.5", "a cat", "train")
    assert fake.media == Media(width=1296, height=720, duration_s=5.04, fps=24.0, frames=121)
    first, second = fake.traces
    assert first.box == Box(x0=0.5, y0=0, x1=0.75, y1=0.5)
    assert (first.onset_s, first.offset_s) == (1.5, 2.75)
    assert first.categories == (Category.OBJECT_DISTORTION,)
    assert second.box == Box(x0=0, y0=0, x1=1, y1=1)
    assert (real.label, real.traces, real.media) == (Label.REAL, (), None)


def test_a_folder_stands_for_the_annotations_in_it_and_split_selects(tmp_path: Path) -> None:
    write(tmp_path / "all_data.json", [FAKE, REAL])
    assert [sample.video_id for sample in read_reward_data(tmp_path, split="val")] == ["0_30_s_1"]
    with pytest.raises(DataError, match=r"has no all_data\.json"):
        read_reward_data(tmp_path.parent)


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".parquet"])
def test_round_trip_keeps_every_field_and_tells_blank_from_missing_from_null(tmp_path: Path, suffix: str) -> None:
    odd = [
        FAKE,
        REAL | {"faketrace_bbox": None, "note": {"nested": [1, None]}},
        without(FAKE, "faketrace_explanations", "faketrace_bbox") | {"video_id": "b", "video_prompt": None},
        FAKE | {"video_id": "c", "faketrace_explanations": None, "faketrace_first_frame": 36.5, "votes": 1},
        REAL | {"video_id": "d", "video_prompt": "", "split": None, "Ünïcode": "猫"},
        FAKE | {"video_id": "c", "votes": 3},
    ]
    first = write(tmp_path / "all_data.json", odd)
    second, third = tmp_path / f"rows{suffix}", tmp_path / f"samples{suffix}"
    assert write_reward_data(iter_rows(first), second) == 6
    assert rows_in(second) == odd
    assert write_reward_data(read_reward_data(first), third) == 6
    grouped = [odd[0], odd[1], odd[2], odd[3], odd[5], odd[4]]  # rows of one video come together
    assert rows_in(third) == grouped
    assert [list(row) for row in rows_in(third)] == [list(row) for row in grouped], "the order of fields"


def test_a_generated_clip_on_which_nothing_was_agreed_keeps_its_row(tmp_path: Path) -> None:
    nothing = FAKE | {
        "faketrace_bbox": None,
        "faketrace_first_frame": None,
        "faketrace_duration": None,
        "faketrace_check_applies": [],
    }
    (sample,) = read_reward_data(write(tmp_path / "all_data.json", [nothing]))
    assert (sample.label, sample.traces) == (Label.FAKE, ())
    assert rows_of_sample(sample) == [nothing]


@pytest.mark.parametrize(
    ("change", "field", "problem"),
    [
        ({"faketrace_bbox": {"left": 0, "top": 0, "width": -5, "height": 5}}, "faketrace_bbox", "positive width"),
        ({"faketrace_bbox": {"left": 0, "top": 0, "width": 5}}, "faketrace_bbox", "has no height"),
        ({"faketrace_bbox": {"left": "0", "top": 0, "width": 5, "height": 5}}, "faketrace_bbox", "number for left"),
        ({"faketrace_bbox": [1, 2, 3, 4]}, "faketrace_bbox", "an object"),
        ({"faketrace_bbox": {"left": 2000, "top": 0, "width": 5, "height": 5}}, "faketrace_bbox", "outside"),
        ({"faketrace_first_frame": -1}, "faketrace_first_frame", "0 or more"),
        ({"faketrace_first_frame": "soon"}, "faketrace_first_frame", "a number"),
        ({"faketrace_duration": -0.1}, "faketrace_duration", "0 or more"),
        ({"faketrace_explanations": 7}, "faketrace_explanations", "text"),
        ({"faketrace_check_applies": [1]}, "faketrace_check_applies", "list of texts"),
        ({"video_type": "fake"}, "video_type", "fake_video"),
        ({"video_frame_rate": 0}, "video_frame_rate", "more than 0"),
        ({"video_width": 12.5}, "video_width", "whole number"),
        ({"video_width": True}, "video_width", "a number"),
        ({"video_id": None, "video_path": None}, "video_id", "neither"),
    ],
)
def test_nonsense_is_named_by_file_row_and_field(tmp_path: Path, change: dict, field: str, problem: str) -> None:
    path = write(tmp_path / "all_data.json", [REAL, FAKE | change])
    with pytest.raises(DataError, match=problem) as caught:
        read_reward_data(path)
    assert caught.value.subject == f"{tmp_path.name}/all_data.json, row 2, {field}"
    problems: list[DataError] = []
    kept = read_reward_data(path, on_problem=problems.append)
    assert [sample.video_id for sample in kept] == ["0_30_s_1"]
    assert [str(found) for found in problems] == [str(caught.value)]


def test_rows_of_one_video_may_not_contradict_each_other(tmp_path: Path) -> None:
    path = write(tmp_path / "all_data.json", [FAKE, SECOND | {"split": "test"}])
    with pytest.raises(DataError, match=r"row 2, split: 'test' contradicts 'train' in .*/all_data.json, row 1"):
        read_reward_data(path)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('[{"video_id": "a"}, {"video_id": ', "row 2"),
        ('[{"video_id": "a"}', "row 2: the list is cut off"),
        ('[{"video_id": "a"}, 3]', "row 2: expected an object but got int"),
        ('[{"video_id": NaN}]', "NaN is not a number"),
        ("video_id,split\n1,2\n", "row 1: not JSON"),
    ],
)
def test_what_is_no_json_is_named_by_row(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "all_data.json"
    path.write_text(text)
    with pytest.raises(DataError, match=problem):
        list(iter_rows(path))


def test_missing_and_binary_files_are_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_reward_data(tmp_path / "no.json")
    (tmp_path / "b.json").write_bytes(b"[\xff\xfe\x00]")
    with pytest.raises(DataError, match="not UTF-8"):
        read_reward_data(tmp_path / "b.json")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = write(tmp_path / "all_data.json", [FAKE])
    before = path.read_bytes()
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_reward_data([FAKE, {"video_id": "x", "video_duration": float("nan")}], path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_changed_sample_changes_its_row_and_nothing_else(tmp_path: Path) -> None:
    (sample,) = samples_of_rows([RewardRow(FAKE), RewardRow(SECOND)])
    first, second = sample.traces
    edited = sample.model_copy(
        update={"split": "test", "traces": (first, second.model_copy(update={"explanation": "It melts."}))}
    )
    rows = rows_of_sample(edited)
    assert rows[0] == FAKE | {"split": "test"}
    assert rows[1]["faketrace_explanations"] == "It melts."
    assert rows[1]["votes"] == 2
    kept = rows_of_sample(sample.model_copy(update={"traces": (second,)}))
    assert kept == [SECOND]
    added = rows_of_sample(sample.model_copy(update={"traces": (*sample.traces, second.model_copy())}))
    assert added[:2] == [FAKE, SECOND]
    assert samples_of_rows([RewardRow(row) for row in added])[0].traces == (*sample.traces, second)


def test_another_frame_size_and_rate_rewrites_pixels_and_frames() -> None:
    (sample,) = samples_of_rows([RewardRow(FAKE), RewardRow(SECOND)])
    small = Media(width=320, height=240, duration_s=5.04, fps=8.0, frames=40)
    rows = rows_of_sample(sample.model_copy(update={"media": small}))
    assert rows[0]["faketrace_bbox"] == {"left": 160.0, "top": 0.0, "width": 80.0, "height": 120.0}
    assert rows[0]["faketrace_first_frame"] == 12
    (again,) = samples_of_rows(RewardRow(row) for row in rows)
    assert again.traces == sample.traces


fractions = st.tuples(st.floats(0, 0.9), st.floats(0, 0.9), st.floats(0.01, 0.1), st.floats(0.01, 0.1))
traces = st.builds(
    lambda f, onset, life, tags, text, moves: Trace.from_tube(
        Tube(
            onset_s=onset,
            offset_s=onset + life,
            keyframes=tuple(
                Keyframe(
                    time_s=onset + life * k / 4, box=Box(x0=f[0], y0=f[1], x1=f[0] + f[2], y1=f[1] + f[3] / (k + 1))
                )
                for k in range(moves)
            ),
        )
        if moves > 1
        else Tube.constant(
            Box(x0=f[0], y0=f[1], x1=f[0] + f[2], y1=f[1] + f[3]), Interval(onset_s=onset, offset_s=onset + life)
        ),
        categories=tags,
        explanation=text,
    ),
    fractions,
    st.floats(0, 5),
    st.floats(0.01, 5),
    st.lists(st.sampled_from(list(Category)), unique=True, max_size=3),
    st.text(max_size=20),
    st.integers(1, 4),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(traces, max_size=3), st.sampled_from([23.976, 24, 29.97, 8.0]))
def test_samples_made_elsewhere_survive_the_row_format(found: list[Trace], fps: float) -> None:
    media = Media(width=640, height=360, duration_s=12.0, fps=fps, frames=round(12 * fps))
    sample = Sample(video_id="v", path="v.mp4", label=Label.FAKE, split="train", media=media, traces=tuple(found))
    (again,) = samples_of_rows(RewardRow(row) for row in rows_of_sample(sample))
    assert again.media == sample.media
    assert len(again.traces) == len(found)
    for a, b in zip(again.traces, found, strict=True):
        assert (a.categories, a.explanation, a.keyframes) == (b.categories, b.explanation, b.keyframes)
        assert a.onset_s == b.onset_s
        assert a.offset_s == pytest.approx(b.offset_s, abs=1e-9)
        assert a.box is not None
        assert b.box is not None
        assert a.box.as_tuple() == pytest.approx(b.box.as_tuple(), abs=1e-9)


def test_a_box_without_a_frame_size_is_refused_both_ways() -> None:
    with pytest.raises(DataError, match="no video_width"):
        _ = RewardRow(without(FAKE, "video_width")).trace
    bare = Sample(video_id="v", path="v.mp4", traces=(Trace(box=Box(x0=0, y0=0, x1=1, y1=1)),))
    with pytest.raises(DataError, match="size of the frame"):
        rows_of_sample(bare)


def test_join_finds_missing_unmatched_and_shared_files(tmp_path: Path) -> None:
    for name in ("videos/cm2p0.mp4", "videos/stray.mp4", "videos/notes.txt", "videos/.cache/x.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    twin = without(FAKE, *[name for name in FAKE if name.startswith("faketrace")]) | {"video_id": "twin"}
    join = join_media(read_reward_data(write(tmp_path / "all_data.json", [FAKE, REAL, twin])), tmp_path)
    assert join.found["cm2p0"] == tmp_path / "videos/cm2p0.mp4"
    assert join.missing == {"0_30_s_1": "real_videos/0_30_s_1.mp4"}
    assert join.unmatched == ["videos/stray.mp4"]
    assert join.shared == {str(tmp_path / "videos/cm2p0.mp4"): ["cm2p0", "twin"]}
    escape = Sample(video_id="e", path="../secret.mp4")
    with pytest.raises(DataError, match="leads out of"):
        join_media([escape], tmp_path)


def test_rows_without_a_path_are_looked_for_where_the_release_keeps_them(tmp_path: Path) -> None:
    (tmp_path / "real_videos").mkdir()
    (tmp_path / "real_videos/r.mp4").write_bytes(b"x")
    (sample,) = samples_of_rows([RewardRow({"video_id": "r", "video_type": "real_video"})])
    assert sample.path == ""
    assert join_media([sample], tmp_path).found == {"r": tmp_path / "real_videos/r.mp4"}


@pytest.mark.corpus
def test_the_corpus_reads_and_comes_back_field_for_field(corpus_dir: Path, tmp_path: Path) -> None:
    samples = read_reward_data(corpus_dir)
    raw = json.loads((corpus_dir / "all_data.json").read_text(encoding="utf-8"))
    assert Counter(sample.label for sample in samples) == {Label.FAKE: 232, Label.REAL: 224}
    assert sum(len(sample.traces) for sample in samples) == 470
    assert sum(sample.label is Label.FAKE and not sample.traces for sample in samples) == 17
    assert all(trace.categories for sample in samples for trace in sample.traces)
    write_reward_data(samples, tmp_path / "again.json")
    assert json.loads((tmp_path / "again.json").read_text(encoding="utf-8")) == raw
    join = join_media(samples, corpus_dir)
    assert not join.missing
    assert len(join.found) == 456
    assert len(join.unmatched) == 59  # the edited sides of `matched/` have no row
