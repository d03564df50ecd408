"""Prediction files of three kinds; the published accuracies of real ones, to three decimals."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from deeptrace.benchmark.predictions import join_predictions, read_predictions, verdict_of_row, views_of
from deeptrace.errors import DataError
from deeptrace.prompts import SPACES, AnswerForm, View
from deeptrace.schema import Label, Media, Outcome, Sample, Trace, Verdict

PUBLISHED = {  # accuracy, fake accuracy, real accuracy by video, as that party published them
    "qwen2.5-vl-3b-v2-test": (66.566, 56.928, 76.205),
    "videollama3-2b-v2-test": (47.892, 10.542, 85.241),
    "smolvlm2-500m-test": (18.373, 15.361, 21.386),
    "trufor-track-b-test": (47.590, 1.205, 93.976),
}
VIEW = View(size=(1000, 500), duration_s=10.0)


def is_real(video_id: str) -> bool:
    return video_id.startswith("0_30_s_academic")


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_accuracies(shared_dir: Path, name: str) -> None:
    path = shared_dir / "predictions" / f"{name}.jsonl"
    if not path.is_file():
        pytest.skip("needs a third party's prediction files beside the checkout; no command brings them")
    truth: Counter[Label] = Counter()
    right: Counter[Label] = Counter()
    for video_id, verdict in read_predictions(path):
        label = Label.REAL if is_real(video_id) else Label.FAKE
        truth[label] += 1
        right[label] += verdict.label is label
        assert (verdict.label is None) == (verdict.outcome is Outcome.PARSE_FAILED)
    assert truth == {Label.REAL: 332, Label.FAKE: 332}
    found = (right.total() / truth.total(), right[Label.FAKE] / 332, right[Label.REAL] / 332)
    assert tuple(round(100 * share, 3) for share in found) == PUBLISHED[name]


def test_ill_formed_rows_of_a_real_file_are_counted(shared_dir: Path) -> None:
    path = shared_dir / "predictions" / "smolvlm2-500m-test.jsonl"
    if not path.is_file():
        pytest.skip("needs a third party's prediction files beside the checkout; no command brings them")
    verdicts = [verdict for _, verdict in read_predictions(path)]
    assert Counter(v.outcome for v in verdicts) == {Outcome.SCORED: 599, Outcome.PARSE_FAILED: 65}
    echoes = [v for v in verdicts if v.label and v.raw and v.raw.strip() == "REAL or FAKE"]
    assert echoes
    assert all(any("raw answer is unreadable" in w for w in v.warnings) for v in echoes)
    again = [verdict for _, verdict in read_predictions(path, trust_raw=True)]
    assert sum(v.outcome is Outcome.PARSE_FAILED for v in again) > 250  # our own reader takes no echo for an answer


@pytest.mark.parametrize("stated", ["REAL OR FAKE", "", None, 1, "maybe"])
def test_a_label_that_is_neither_is_a_failure(stated: object) -> None:
    verdict = verdict_of_row({"video_id": "a", "predicted_label": stated, "fake_probability": 0.9})
    assert (verdict.outcome, verdict.label, verdict.p_fake) == (Outcome.PARSE_FAILED, None, None)
    assert verdict.error


def test_a_row_with_everything() -> None:
    row = {
        "video_id": "a",
        "model_id": "some-model",
        "predicted_label": "FAKE",
        "fake_probability": "0.95",
        "start_time": "1.2s",
        "end_time": 3,
        "bbox": {"left": 100, "top": 100, "width": 300, "height": 200},
        "explanation": "It melts.",
        "raw_output": "FAKE",
        "latency_seconds": 2.5,
    }
    verdict = verdict_of_row(row, view=VIEW)
    (trace,) = verdict.traces
    assert trace.box is not None
    assert trace.box.as_tuple() == (0.1, 0.2, 0.4, 0.6)
    assert (trace.onset_s, trace.offset_s, trace.explanation) == (1.2, 3, "It melts.")
    assert (verdict.p_fake, verdict.elapsed_s, verdict.raw) == (0.95, 2.5, "FAKE")
    assert verdict.detector is not None
    assert verdict.detector.name == "some-model"
    permille = verdict_of_row(row | {"bbox": [100, 200, 400, 600]}, form=AnswerForm(space=SPACES["permille"]))
    assert permille.traces[0].box == trace.box


def test_contradictions_of_a_row_are_kept_with_warnings() -> None:
    verdict = verdict_of_row(
        {"video_id": "a", "predicted_label": "REAL", "bbox": [0, 0, 9, 9], "raw_output": "FAKE"}, view=VIEW
    )
    assert verdict.label is Label.REAL
    assert len(verdict.traces) == 1
    assert any("kept" in w for w in verdict.warnings)
    assert any("reads as FAKE" in w for w in verdict.warnings)


def test_why_a_video_is_real_is_no_trace() -> None:
    row = {"video_id": "a", "predicted_label": "REAL", "explanation": "Nothing is odd."}
    assert verdict_of_row(row).traces == ()


def test_our_own_verdicts_come_back(tmp_path: Path) -> None:
    verdicts = [
        Verdict(video="a.mp4", outcome=Outcome.SCORED, label=Label.FAKE, p_fake=0.75, traces=(Trace(onset_s=1.0),)),
        Verdict.failed("b.mp4", Outcome.DECODE_FAILED, "cut off"),
    ]
    path = tmp_path / "run.jsonl"
    path.write_text("\n".join(v.model_dump_json() for v in verdicts) + "\n\n", encoding="utf-8")
    assert list(read_predictions(path)) == [("a.mp4", verdicts[0]), ("b.mp4", verdicts[1])]


@pytest.mark.parametrize("indent", [None, 2])
def test_a_json_object_of_texts(tmp_path: Path, indent: int | None) -> None:
    texts = {
        "a": "REAL",
        "b": "FAKE. The video is AI-generated. The unnatural part is at [0, 0, 500, 250] starting 1 seconds.",
        "c": "I'm sorry, I can't.",
        "d": "hm",
        "e": None,
    }
    path = tmp_path / "answers.json"
    path.write_text(json.dumps(texts, indent=indent), encoding="utf-8")
    read = dict(read_predictions(path, views=lambda _: VIEW))
    assert [v.outcome.value for v in read.values()] == ["scored", "scored", "refused", "parse_failed", "parse_failed"]
    box = read["b"].traces[0].box
    assert box is not None
    assert box.as_tuple() == (0, 0, 0.5, 0.5)


def test_a_list_of_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([{"video_id": "a", "predicted_label": "real"}], indent=1), encoding="utf-8")
    assert [(i, v.label) for i, v in read_predictions(path)] == [("a", Label.REAL)]


def test_reading_streams(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.write_text('{"video_id": "a", "predicted_label": "REAL"}\n{"video_id": "b", "predic', encoding="utf-8")
    rows = read_predictions(path)
    assert next(rows)[0] == "a"
    with pytest.raises(DataError, match=r"run\.jsonl, line 2: is not JSON"):
        next(rows)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b'{"video_id": "a", "predicted_label": "REAL"}\n[1]\n', "line 2: expected an object but got list"),
        (b'{"video": "a", "outcome": "scored"}\n', "expected a label"),
        (b'{"video": "a", "outcome": "fine"}\n', "outcome"),
        (b'[{"predicted_label": "REAL"}]', "has no video_id"),
        (b'{"video": "a", "label": "REAL"}\n\n{"video": "b", "label": "FAKE"}\n', "line 1: has no video_id"),
        (b"3", "expected an object or a list but got int"),
        (b"not json", "is not JSON"),
        (b"\xff\xfe\x00", "is not UTF-8"),
        (b"", "is not JSON"),
    ],
)
def test_nonsense_is_an_error_that_names_the_place(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "run.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"run\.jsonl") as caught:
        list(read_predictions(path))
    assert problem in str(caught.value)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        next(read_predictions(tmp_path / "none.jsonl"))


def test_predictions_find_their_samples() -> None:
    media = Media(width=1000, height=500, duration_s=10)
    samples = [
        Sample(video_id="one", path="clips/a.mp4", media=media),
        Sample(video_id="two", path="clips/b.mp4"),
        Sample(video_id="three", path="x/c.mp4"),
        Sample(video_id="four", path="y/c.mp4"),
    ]
    said = {
        n: Verdict(video=n, outcome=Outcome.SCORED, label=Label.REAL) for n in ("one", "/data/clips/b.mp4", "c", "z")
    }
    joined = join_predictions(samples, said.items())
    assert [v.video if v else None for v in joined.verdicts] == ["one", "/data/clips/b.mp4", None, None]
    assert joined.unmatched == ["c", "z"]  # two samples are called c: neither is guessed
    assert views_of(samples)("one").size == (1000, 500)
    assert views_of(samples)("elsewhere") == View()


def test_of_several_predictions_for_one_video_the_last_counts_and_it_is_told() -> None:
    samples = [Sample(video_id="one", path="clips/a.mp4"), Sample(video_id="two", path="clips/b.mp4")]
    said = [
        ("one", Verdict(video="1", outcome=Outcome.SCORED, label=Label.REAL)),
        ("two", Verdict(video="2", outcome=Outcome.SCORED, label=Label.REAL)),
        ("clips/a.mp4", Verdict(video="3", outcome=Outcome.SCORED, label=Label.FAKE)),
    ]
    joined = join_predictions(samples, said)
    assert [v.video if v else None for v in joined.verdicts] == ["3", "2"]
    assert joined.repeated == ["one"]


def test_an_id_may_be_a_whole_number(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.write_text('{"video_id": 7, "predicted_label": "FAKE"}\n', encoding="utf-8")
    assert [(name, verdict.label) for name, verdict in read_predictions(path)] == [("7", Label.FAKE)]


@pytest.mark.parametrize("video_id", ["Infinity", "NaN", "true", "1.5", "[1]", "{}"])
def test_an_id_that_is_none_is_an_error_that_names_the_line(tmp_path: Path, video_id: str) -> None:
    path = tmp_path / "run.jsonl"
    path.write_text(f'{{"video_id": {video_id}, "predicted_label": "FAKE"}}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"run\.jsonl, line 1: has the video_id"):
        list(read_predictions(path))


def test_boxes_in_pixels_of_the_frames_that_the_model_saw(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    row = {
        "video_id": "a",
        "predicted_label": "FAKE",
        "bbox": [58.8, 67.2, 235.2, 201.6],
        "input_frame_size": [588, 336],
    }
    path.write_text(json.dumps(row), encoding="utf-8")
    form = AnswerForm(space=SPACES["resized_pixels"])
    ((_, verdict),) = read_predictions(path, views=lambda _: VIEW, form=form)
    assert verdict.traces[0].box is not None
    assert verdict.traces[0].box.as_tuple() == pytest.approx((0.1, 0.2, 0.4, 0.6))
    assert not verdict.warnings
    path.write_text(json.dumps(row | {"input_frame_size": None}), encoding="utf-8")
    ((_, unknown),) = read_predictions(path, views=lambda _: VIEW, form=form)
    assert any("frames shown is not known" in warning for warning in unknown.warnings)


ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("\ud800"),
    lambda parts: st.lists(parts, max_size=3) | st.dictionaries(st.text(max_size=4), parts, max_size=3),
    max_leaves=6,
)
FIELDS = (
    *("predicted_label", "fake_probability", "start_time", "end_time", "bbox", "explanation", "raw_output", "error"),
    *(
        "latency_seconds",
        "model_id",
        "prompt_version",
        "sampled_frames",
        "threshold",
        "input_frame_size",
        "format_warning",
    ),
    *("text", "categories", "video", "outcome"),
)


@given(st.dictionaries(st.sampled_from(FIELDS), ODD), st.sampled_from(["REAL", "FAKE", None]), st.booleans())
@example({"latency_seconds": float("inf"), "model_id": "m", "threshold": float("nan")}, "FAKE", False)
@example({"latency_seconds": 10**400, "fake_probability": float("inf")}, "FAKE", False)
@example({"raw_output": "FAKE \ud800", "explanation": "\ud800"}, "FAKE", True)
def test_whatever_stands_in_a_row_it_is_a_verdict_or_an_error_that_names_the_line(
    tmp_path_factory: pytest.TempPathFactory, row: dict[str, object], label: str | None, trust_raw: bool
) -> None:
    row = {"video_id": "a", **row} | ({} if label is None else {"predicted_label": label})
    path = tmp_path_factory.getbasetemp() / "odd.jsonl"
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")
    try:
        read = list(read_predictions(path, views=lambda _: VIEW, trust_raw=trust_raw))
    except DataError as error:
        read = []
        told = str(error)
    else:
        told = "odd.jsonl, line 1"
    assert "odd.jsonl, line 1" in told
    for _, verdict in read:
        json.dumps(json.loads(verdict.model_dump_json()), allow_nan=False).encode()
