"""Explore: a dataset beside what models said of it, over HTTP."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from tests.reports.detection_page.conftest import HOSTILE_TEXT
from tests.studio.conftest import NAMES, Start, Studio, answers_on, needs_studio, write_rows

from deeptrace.benchmark.run import evaluate
from deeptrace.errors import DataError, SettingsError
from deeptrace.schema import Label
from deeptrace.studio import StudioSettings

needs_studio()

from deeptrace.studio.explore import Wanted, read_exploration  # noqa: E402


@pytest.fixture
def one(studio: Start, reward_data: Path) -> Studio:
    """A studio on the five videos with two models."""
    return studio(data=reward_data, predictions=answers_on(reward_data))


def ids(one: Studio, **wanted: Any) -> list[str]:
    return [video["id"] for video in one.get("/api/explore/videos", params=wanted)["videos"]]


def test_every_filter_and_order(one: Studio) -> None:
    about = one.get("/api/explore")
    assert [(model["title"], model["answered"]) for model in about["models"]] == [("good", 5), ("bad", 4)]
    assert about["sources"] == ["Pika", "Sora", "camera"]
    everything = list(NAMES)
    for wanted, expected in (
        ({}, everything),
        ({"q": "VARIABLE square"}, ["variable"]),  # a prompt
        ({"label": "REAL"}, ["real", "lost"]),
        ({"source": "Sora"}, ["constant", "variable"]),
        ({"source": "none such"}, []),
        ({"split": "val"}, ["lost"]),
        ({"kind": "unexpected_move"}, ["constant", "variable", "spoilt"]),
        ({"kind": "object_merging"}, []),
        ({"model": "0", "result": "right"}, everything),
        ({"model": "0", "result": "wrong"}, []),
        ({"model": "1", "result": "wrong"}, ["variable", "spoilt", "real"]),  # a missing answer is none
        ({"model": "1", "result": "accused"}, ["real"]),
        ({"model": "1", "result": "missed"}, ["variable"]),
        ({"model": "1", "result": "misplaced"}, ["constant"]),
        ({"model": "1", "result": "failed"}, ["spoilt"]),
        ({"result": "found"}, ["constant", "variable", "spoilt"]),  # by any model
        ({"agree": "differ"}, ["variable", "real"]),
        ({"agree": "same"}, ["constant"]),
        ({"agree": "all_right"}, ["constant"]),
        ({"agree": "all_wrong"}, []),
        ({"model": "0", "low": 0.5}, ["constant", "variable", "spoilt"]),
        ({"model": "1", "low": 0.5}, []),
        ({"model": "1", "high": 0.5}, ["constant", "variable", "spoilt"]),
        ({"sort": "name"}, sorted(everything)),
        ({"sort": "name", "order": "down"}, sorted(everything, reverse=True)),
        ({"order": "down"}, everything[::-1]),
        ({"model": "1", "sort": "p", "order": "down"}, ["real", "constant", "variable", "spoilt", "lost"]),
        ({"model": "1", "sort": "worst"}, ["real", "variable", "spoilt", "constant", "lost"]),
        ({"model": "1", "sort": "viou", "order": "down", "label": "FAKE"}, ["constant", "variable", "spoilt"]),
    ):
        assert ids(one, **wanted) == expected, wanted
    page = one.get("/api/explore/videos", params={"offset": 3, "limit": 1})
    assert (page["total"], [video["id"] for video in page["videos"]]) == (5, ["real"])
    for bad in ({"label": "fake"}, {"low": 2}, {"model": "x"}, {"limit": 100_000}, {"sort": "size"}):
        one.get("/api/explore/videos", status=422, params=bad)


def test_measures_are_those_of_eval(one: Studio, reward_data: Path) -> None:
    """The same cells as the report of `deeptrace eval` on these videos and answers, intervals too."""
    from deeptrace.benchmark.tables import TABLES, Row
    from deeptrace.reports.benchmark import shown_table

    found = one.get("/api/explore/measures", params={"full": True})
    assert (found["videos"], found["without"], found["by_answers"]) == (5, 0, False)
    runs = [evaluate(reward_data, split="all", predictions=path).result for path in answers_on(reward_data)]
    rows = [Row(path.stem, "run", run.scores) for path, run in zip(answers_on(reward_data), runs, strict=True)]
    expected = [shown_table(table, rows) for table in TABLES if table.has_values(rows)]
    assert found["tables"] == json.loads(json.dumps(expected))
    assert [row["accuracy"] for row in found["sources"] if row["name"] == "camera"] == [[100.0, 0.0]]
    assert found["outcomes"] == ["5 scored", "3 scored, 1 answer not understood, 1 missing"]
    part = one.get("/api/explore/measures", params={"split": "test", "result": "wrong"})
    assert (part["videos"], part["by_answers"], part["full"]) == (3, True, False)
    one.get("/api/explore/measures", params={"q": "no such video"})
    drawn = one.http.get("/api/explore/reliability.svg", params={"of": 1})
    assert drawn.headers["content-type"] == "image/svg+xml"
    assert drawn.text.count("<circle") == 3
    one.get("/api/explore/reliability.svg", status=404, params={"of": 2})
    assert one.http.get("/api/explore/reliability.svg", params={"of": 1, "q": "spoilt"}).status_code == 204


def test_differences_are_those_of_compare(one: Studio, reward_data: Path, tmp_path: Path) -> None:
    """The same numbers, intervals and p-values as `deeptrace compare` has of two finished runs."""
    from deeptrace.benchmark.compare import compare_runs
    from deeptrace.benchmark.tables import TABLES

    for path in answers_on(reward_data):
        evaluate(reward_data, split="all", predictions=path, out=tmp_path / path.stem, bootstrap=1)
    found_by_compare = compare_runs([tmp_path / path.stem for path in answers_on(reward_data)]).differences
    (expected,) = found_by_compare.values()
    found = one.get("/api/explore/differences", params={"against": 0, "of": 1})
    assert (found["videos"], found["models"]) == (5, ["good", "bad"])
    rows = {row["name"]: row for table in found["tables"] for row in table["rows"]}
    columns = {column.name: column for table in TABLES for column in table.columns}
    assert len(rows) > 10
    for name, row in rows.items():
        wanted, column = expected[name], columns[name]
        assert row["values"] == [column.text(wanted.a), column.text(wanted.b)]
        assert row["difference"].removeprefix("+") == column.text(wanted.difference)
        assert row["interval"] == [column.text(limit) for limit in wanted.interval or ()]
        assert row["p_value"] == wanted.p_value
    assert not rows["per_video.accuracy"]["better"]
    turned = one.get("/api/explore/differences", params={"against": 1, "of": 0})["tables"][0]["rows"]
    assert any(row["better"] for row in turned)
    part = one.get("/api/explore/differences", params={"q": "constant"})
    assert part["videos"] == 1
    assert one.get("/api/explore/differences", params={"q": "no such video"})["tables"] == []
    one.get("/api/explore/differences", status=404, params={"of": 2})
    assert "differ from itself" in one.get("/api/explore/differences", status=422, params={"of": 0})["detail"]


def test_what_there_is_is_counted(one: Studio) -> None:
    said = one.get("/api/explore/counts")
    assert (said["videos"], said["traces"], said["labels"]) == (5, 3, {"FAKE": 3, "REAL": 2, "none": 0})
    assert said["sources"][0] == {"name": "Sora", "FAKE": 2, "REAL": 0, "none": 0}
    assert {kind["id"]: kind["videos"] for kind in said["kinds"] if kind["traces"]} == {"unexpected_move": 3}
    assert said["length_s"][-1] == {"from": 3, "to": 4, "count": 5}
    assert [bin["count"] for bin in said["trace_s"] if bin["from"] == 1.5] == [3]
    assert said["groups"][1] == {"found": 0, "misplaced": 1, "missed": 1, "accused": 1, "failed": 1}
    assert one.get("/api/explore/counts", params={"label": "REAL"})["traces"] == 0


def test_one_video_says_what_is_true_and_what_was_said(one: Studio) -> None:
    said = one.get("/api/explore/video", params={"id": "constant"})
    assert (said["place"], said["prompt"], said["clip"]) == ("here", "A white constant square runs", None)
    good, bad = said["answers"]
    assert (good["group"], good["right"], bad["group"], bad["right"]) == ("found", True, "misplaced", True)
    assert good["viou"] == pytest.approx(1.0, abs=1e-6)
    assert bad["viou"] == 0
    assert len(said["truth"][0]["keyframes"]) == 2
    assert bad["verdict"]["traces"][0]["explanation"] == HOSTILE_TEXT
    lost = one.get("/api/explore/video", params={"id": "lost"})
    assert (lost["place"], lost["answers"][1]["outcome"], lost["answers"][1]["verdict"]) == ("missing", "missing", None)
    one.get("/api/explore/video", status=404, params={"id": "none such"})


def test_the_table_has_no_formulas(one: Studio) -> None:
    rows = list(csv.DictReader(io.StringIO(one.http.get("/api/explore/videos.csv", params={"sort": "name"}).text)))
    assert [row["video_id"] for row in rows] == sorted(NAMES)
    assert rows[0]["bad: p_fake"] == "0.7"
    assert rows[1]["bad: outcome"] == "missing"


def test_videos_are_prepared_when_they_are_looked_at_and_never_analysed(
    studio: Start, reward_data: Path, database_url: str
) -> None:
    one = studio(data=reward_data, predictions=answers_on(reward_data), database=database_url)
    assert one.get("/api/studio")["clips"]["all"] == 0
    made = one.post("/api/explore/clips", {"videos": [0, 2, 3, 4, 99]})
    assert made["4"] is None  # its file is not here
    assert set(made) == {"0", "2", "3", "4"}
    assert one.post("/api/explore/clips", {"videos": [0]})["0"]["id"] == made["0"]["id"]
    one.settle()
    states = [video["clip"] and video["clip"]["state"] for video in one.get("/api/explore/videos")["videos"]]
    assert states == ["ready", None, "failed", "ready", None]
    clip = one.get(f"/api/clips/{made['0']['id']}")
    assert (clip["verdict"], clip["name"], set(clip["jobs"])) == (None, "constant.mp4", {"prepare"})
    assert len(one.get(f"/api/clips/{clip['id']}/times")) == 30
    # They are no clips of the queue, and in none of its tables.
    assert one.get("/api/clips")["total"] == 0
    assert one.get("/api/studio")["clips"]["all"] == 0
    assert one.http.get("/api/export/verdicts.csv").text.count("\n") == 1
    # Until somebody brings one in.
    (clip_id,) = one.workshop.add([("constant.mp4", str(reward_data / "constant.mp4"))], "folder")
    assert clip_id == clip["id"]
    assert set(one.clip("constant.mp4")["jobs"]) == {"prepare", "detect"}
    one.post("/api/explore/clips", {"videos": list(range(61))}, status=422)


def test_runs_of_eval_are_opened_with_what_they_were_measured_against(
    studio: Start, reward_data: Path, tmp_path: Path
) -> None:
    for path in answers_on(reward_data):
        evaluate(reward_data, split="test", predictions=path, out=tmp_path / "runs" / path.stem, bootstrap=0)
    one = studio(place=tmp_path / "runs" / "good", predictions=(tmp_path / "runs" / "bad",))
    about = one.get("/api/explore")
    assert (about["name"], about["videos"], [model["title"] for model in about["models"]]) == (
        "RewardData",
        4,
        ["good", "bad"],
    )
    assert ids(one, agree="differ") == ["variable", "real"]
    assert one.get("/api/studio")["clips"]["all"] == 0
    beside = read_exploration(
        StudioSettings(data=reward_data, predictions=(tmp_path / "runs" / "bad", answers_on(reward_data)[0]))
    )
    assert beside is not None
    assert [int(model.answered.sum()) for model in beside.models] == [4, 5]
    samples = [sample.model_copy(update={"label": Label.REAL, "traces": ()}) for sample in beside.samples]
    write_rows(tmp_path / "all_data.json", samples)
    with pytest.raises(DataError, match="the annotation of video 'constant' is not the one of the data"):
        read_exploration(StudioSettings(data=tmp_path, predictions=(tmp_path / "runs" / "bad",)))


def test_what_cannot_be_explored_is_one_line(studio: Start, reward_data: Path, tmp_path: Path) -> None:
    one = studio()
    assert "nothing to explore" in one.get("/api/explore", status=404)["detail"]
    assert one.get("/api/studio")["explore"] is None
    good = answers_on(reward_data)[0]
    with pytest.raises(SettingsError, match="of which videos"):
        read_exploration(StudioSettings(predictions=(good,)))
    with pytest.raises(DataError, match="holds no predictions"):
        read_exploration(StudioSettings(data=reward_data, predictions=(tmp_path,)))
    with pytest.raises(DataError, match="cannot be read"):
        read_exploration(StudioSettings(data=reward_data, predictions=(tmp_path / "none.jsonl",)))
    with pytest.raises(SettingsError, match="space"):
        read_exploration(StudioSettings(data=reward_data, predictions=(good,), answer_space="miles"))


def test_real_answers_give_the_published_accuracies(shared_dir: Path) -> None:
    folder = shared_dir / "predictions"
    if not (folder / "test_labels.json").is_file():
        pytest.skip("the published answers are not here")
    name = "smolvlm2-500m-test"
    found = read_exploration(StudioSettings(data=folder / "test_labels.json", predictions=(folder / f"{name}.jsonl",)))
    assert found is not None
    videos, without = found.covered(Wanted())
    measured = found.measured(0, videos, full=False)
    assert (len(videos), without, measured.per_video.accuracy) == (664, 0, pytest.approx(18.373, abs=1e-3))
    right = found.chosen(Wanted(model="0", result="right"))
    assert 100 * len(right) / 664 == pytest.approx(18.373, abs=1e-3)
