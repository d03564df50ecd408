"""Exports are read back by the programs they are for, or by the protocol's own reader."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from tests.needs import needs

from deeptrace.data import rows_of_sample
from deeptrace.data.exporters import (
    conversations,
    iter_parquet_rows,
    to_dataset,
    write_conversations,
    write_hub_folder,
    write_vlmevalkit,
)
from deeptrace.errors import DataError, SettingsError
from deeptrace.geometry import Box
from deeptrace.prompts import FINE_TUNING, ZERO_SHOT, View, question, read_answer
from deeptrace.schema import Category, Label, Media, Sample, Trace

MEDIA = Media(width=1280, height=720, duration_s=5.0, fps=24.0, frames=120)
FAKE = Sample(
    video_id="f1",
    path="videos/f1.mp4",
    label=Label.FAKE,
    source="Pika 1.5",
    split="train",
    media=MEDIA,
    traces=(
        Trace(
            categories=(Category.OBJECT_MERGING,),
            box=Box(x0=0.1, y0=0.2, x1=0.5, y1=0.6),
            onset_s=1.5,
            offset_s=2.5,
            explanation='The "hand"\tmelts.\nIt grows.',
        ),
        Trace(box=Box(x0=0, y0=0, x1=1, y1=1), onset_s=0.0, offset_s=1.0),
    ),
)
REAL = Sample(video_id="r1", path="real_videos/r1.mp4", label=Label.REAL, source="LLaVA", split="test", media=MEDIA)


def test_one_conversation_a_row_in_the_papers_words() -> None:
    rows = list(conversations([FAKE, REAL], "swift"))
    assert [row["videos"] for row in rows] == [["videos/f1.mp4"], ["videos/f1.mp4"], ["real_videos/r1.mp4"]]
    asked, answered = (turn["content"] for turn in rows[0]["messages"])
    assert asked == question(FINE_TUNING)
    assert asked.count("<video>") == 1
    back = read_answer(answered, view=View.of(MEDIA))
    assert back.label is Label.FAKE
    (trace,) = back.traces
    assert trace.box is not None
    assert trace.box.as_tuple() == pytest.approx((0.1, 0.2, 0.5, 0.6), abs=1e-3)
    assert trace.onset_s == 1.5
    assert rows[2]["messages"][1] == {
        "role": "assistant",
        "content": "REAL. The video is real. There is no unnatural part.",
    }


def test_one_conversation_a_video_names_all_its_traces() -> None:
    (row,) = conversations([FAKE], "messages", per="video", root="/data")
    user, assistant = row["messages"]
    assert user["content"][0] == {"type": "video", "video": "/data/videos/f1.mp4"}
    assert "<video>" not in user["content"][1]["text"]
    back = read_answer(assistant["content"][0]["text"], view=View.of(MEDIA))
    assert [trace.onset_s for trace in back.traces] == [1.5, 0.0]


def test_ablations_and_zero_shot_forms_are_used_as_asked() -> None:
    (row,) = conversations([FAKE], "swift", per="video", form=FINE_TUNING.without("time", "explanation"))
    assert "starting" not in row["messages"][1]["content"]
    (row,) = conversations([FAKE], "swift", per="video", form=ZERO_SHOT)
    assert row["messages"][0]["content"] == f"<video> {question(ZERO_SHOT)}"


def test_llamafactory_gets_its_list_and_its_registry_entry(tmp_path: Path) -> None:
    (tmp_path / "dataset_info.json").write_text('{"identity": {"file_name": "identity.json"}}')
    assert write_conversations([FAKE, REAL], tmp_path / "traces.json", "llamafactory") == 3
    rows = json.loads((tmp_path / "traces.json").read_text())
    info = json.loads((tmp_path / "dataset_info.json").read_text())
    assert set(info) == {"identity", "traces"}
    columns, tags = info["traces"]["columns"], info["traces"]["tags"]
    for row in rows:
        turns = row[columns["messages"]]
        assert [turn[tags["role_tag"]] for turn in turns] == [tags["user_tag"], tags["assistant_tag"]]
        marks = sum(turn[tags["content_tag"]].count("<video>") for turn in turns)
        assert marks == len(row[columns["videos"]]) == 1


def test_a_sample_that_cannot_be_asked_about_is_refused() -> None:
    with pytest.raises(DataError, match="no label"):
        list(conversations([FAKE.model_copy(update={"label": None})], "swift"))
    with pytest.raises(DataError, match="video f1"):
        list(conversations([FAKE.model_copy(update={"media": None})], "swift"))
    with pytest.raises(SettingsError, match="messages, llamafactory, swift"):
        list(conversations([FAKE], "alpaca"))


def test_the_vlmevalkit_table_has_its_columns_and_survives_tabs_and_quotes(tmp_path: Path) -> None:
    assert write_vlmevalkit([FAKE, REAL], tmp_path / "bench.tsv") == 2
    with open(tmp_path / "bench.tsv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert [row["index"] for row in rows] == ["0", "1"]
    assert {"index", "video", "question", "answer"} <= set(rows[0])
    assert rows[0]["video"] == "videos/f1"
    assert rows[0]["question"] == question(ZERO_SHOT)
    back = read_answer(rows[0]["answer"], form=ZERO_SHOT, view=View.of(MEDIA))
    assert len(back.traces) == 2
    assert [Trace.model_validate(trace) for trace in json.loads(rows[0]["traces"])] == list(FAKE.traces)
    pandas = needs("pandas")
    table = pandas.read_csv(tmp_path / "bench.tsv", sep="\t")
    assert list(table["label"]) == ["FAKE", "REAL"]


def test_datasets_loads_the_folder_and_the_rows_are_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = needs("datasets")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    assert write_hub_folder([FAKE, REAL], tmp_path / "set") == 3
    loaded = datasets.load_dataset(str(tmp_path / "set"), cache_dir=str(tmp_path / "cache"))
    assert {split: len(rows) for split, rows in loaded.items()} == {"train": 2, "test": 1}
    first = loaded["train"][0]
    assert first["faketrace_bbox"] == pytest.approx({"left": 128.0, "top": 144.0, "width": 512.0, "height": 288.0})
    assert json.loads(first["row_json"]) == rows_of_sample(FAKE)[0]
    assert len(to_dataset([FAKE, REAL])) == 3


def test_parquet_columns_hold_what_fits_and_row_json_the_rest(tmp_path: Path) -> None:
    parquet = needs("pyarrow.parquet")
    from deeptrace.data.exporters import write_parquet_rows

    rows = [
        {"video_id": "a", "votes": 2, "confidence": 0.5, "faketrace_first_frame": 3.0, "video_frame_rate": 24},
        {"video_id": "b", "votes": 1, "confidence": None, "faketrace_first_frame": 3.5, "nested": {"x": 1}},
    ]
    write_parquet_rows(rows, tmp_path / "rows.parquet")
    table = parquet.read_table(tmp_path / "rows.parquet").to_pydict()
    assert table["votes"] == [2, 1]
    assert table["confidence"] == [0.5, None]
    assert table["faketrace_first_frame"] == [3, None]
    assert [row for _, row in iter_parquet_rows(tmp_path / "rows.parquet")] == rows
    (tmp_path / "no.parquet").write_bytes(b"no")
    with pytest.raises(DataError, match="no readable Parquet"):
        list(iter_parquet_rows(tmp_path / "no.parquet"))
