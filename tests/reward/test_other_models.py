"""Scores of other reward models, in the files that their own programs write, beside the marks of a dataset."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deeptrace.cli.main import app
from deeptrace.data import write_reward_data
from deeptrace.errors import DataError
from deeptrace.geometry import Box
from deeptrace.reward.other_models import MARKS, amount_of_marks, compare_scores, read_scores
from deeptrace.schema import Label, Media, Sample, Trace

MEDIA = Media(width=64, height=48, duration_s=4.0, fps=8.0, frames=32)


def clip(number: int, generator: str, marks: int) -> Sample:
    trace = Trace(onset_s=0.0, offset_s=2.0, box=Box(x0=0, y0=0, x1=0.5, y1=0.5))
    return Sample(
        video_id=f"{generator}_{number}", path=f"videos/{generator}/{number:03d}.mp4", label=Label.FAKE,
        source=generator, media=MEDIA, traces=(trace,) * marks,
    )  # fmt: skip


@pytest.fixture
def samples() -> list[Sample]:
    """Three generators of six clips, with 0 to 5 marks."""
    real = Sample(video_id="real", path="real_videos/r.mp4", label=Label.REAL, source="camera", media=MEDIA)
    return [clip(n, generator, n) for generator in "abc" for n in range(6)] + [real]


def videoscore2(samples: list[Sample], path: Path) -> Path:
    """What eval_vs2.py writes: scores fall with the marks; one of them only stands in the model's words."""
    rows = []
    for sample in samples:
        score = 5 - len(sample.traces)
        row = {
            "video_name": sample.path, "video_url": "https://example.org/x.mp4", "prompt": "a cat",
            "v_score_gt": 3, "t_score_gt": 3, "p_score_gt": 3,
            "v_score_model": score, "t_score_model": 3, "p_score_model": score // 2, "output": "",
        }  # fmt: skip
        rows.append(row)
    words = "I think.\n(1) visual quality: 4\n(2) text-to-video alignment: 3\n(3) physical/common-sense consistency: 2"
    rows[1] |= {"v_score_model": None, "t_score_model": None, "p_score_model": None, "output": words}
    rows[2] |= {"p_score_model": None}
    path.write_text(json.dumps(rows))
    return path


def test_videoscore2_is_read_from_its_fields_and_its_words(samples: list[Sample], tmp_path: Path) -> None:
    visual, text, physical = read_scores(videoscore2(samples[:6], tmp_path / "res.json"))
    assert [one.name for one in (visual, text, physical)] == [
        "res: visual quality", "res: text alignment", "res: physical consistency",
    ]  # fmt: skip
    assert list(visual.values.values()) == [5, 4, 3, 2, 1, 0]
    assert physical.values[samples[1].path] == 2.0
    assert (physical.empty, samples[2].path in physical.values) == (1, False)


def test_videoalign_single_and_in_pairs(tmp_path: Path) -> None:
    single = tmp_path / "out_single.csv"
    single.write_text(
        "path,model,prompt,fps,num_frames,reward_VQ,reward_MQ,reward_TA,reward_Overall\n"
        "videos/a/001.mp4,a,a cat,24.0,126.0,0.5,-1.25,0.0,-0.75\n"
    )
    assert {one.name: one.values for one in read_scores(single)} == {
        "out_single: visual quality": {"videos/a/001.mp4": 0.5},
        "out_single: motion quality": {"videos/a/001.mp4": -1.25},
        "out_single: text alignment": {"videos/a/001.mp4": 0.0},
        "out_single: overall": {"videos/a/001.mp4": -0.75},
    }
    pairs = tmp_path / "out_pair.csv"
    names = [f"reward_{key}_{side}" for key in ("VQ", "MQ", "TA", "Overall") for side in "AB"]
    pairs.write_text(
        ",".join(["path_A", "path_B", "A_model", "B_model", "prompt", "VQ", "MQ", "TA", "Overall", *names])
        + "\nx.mp4,y.mp4,a,b,a cat,A,same,B,A,1,2,3,4,5,6,9,12\n"
    )
    overall = next(one for one in read_scores(pairs) if one.name.endswith("overall"))
    assert overall.values == {"x.mp4": 9.0, "y.mp4": 12.0}


def test_any_table_with_a_clip_and_numbers(tmp_path: Path) -> None:
    table = tmp_path / "judge.csv"
    table.write_text("video_id,rating,words\na_1,4,good\na_2,,bad\n")
    (rating,) = read_scores(table)
    assert (rating.name, rating.values, rating.empty) == ("judge: rating", {"a_1": 4.0}, 1)
    lines = tmp_path / "judge.jsonl"
    lines.write_text(f'{{"video": "a", "rating": 4}}\n{{"video": "b", "rating": 1{"0" * 400}}}\n')
    (rating,) = read_scores(lines)
    assert (rating.values, rating.empty) == ({"a": 4.0}, 1)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name,rating\na,4\n", "row 1: names no clip: expected a column video, path"),
        ("video,rating\na,4\na,5\n", "row 2: 'a' has another score in 'rating' than before"),
        ("video,words\na,good\n", "has no scores"),
    ],
)
def test_a_table_that_makes_no_sense(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError) as raised:
        read_scores(tmp_path / "t.csv")
    assert says in str(raised.value)


def test_marks_are_counted_by_number_and_by_area_and_time() -> None:
    assert amount_of_marks(clip(0, "a", 3).traces, 4.0) == (3.0, pytest.approx(3 * 0.25 * 0.5))
    assert amount_of_marks((Trace(explanation="somewhere"),), 4.0) == (0.0, 0.0)


def test_scores_that_follow_the_marks_agree_with_them(samples: list[Sample], tmp_path: Path) -> None:
    columns = read_scores(videoscore2([*samples, clip(9, "z", 1)], tmp_path / "res.json"))
    found, remarks = compare_scores(samples, columns, resamples=200)
    visual = {one.other: one for one in found if one.score == "res: visual quality"}
    assert set(visual) == set(MARKS)
    for one in visual.values():
        assert one.clips == 18
        assert all(measure.value == pytest.approx(1.0) for measure in (*one.within, *one.overall))
    constant = next(one for one in found if one.score == "res: text alignment")
    assert [measure.value for measure in constant.within] == [None, None]
    assert "res: visual quality: 2 of 20 scores are of no generated clip here" in remarks
    physical = next(one for one in found if one.score == "res: physical consistency" and one.other == columns[0].name)
    assert physical.within[0].value is not None
    assert 0.5 < physical.within[0].value < 1.0  # tied where the marks are not


def test_scores_of_other_clips_are_an_error(samples: list[Sample], tmp_path: Path) -> None:
    columns = read_scores(videoscore2([clip(n, "z", 1) for n in range(3)], tmp_path / "res.json"))
    with pytest.raises(DataError, match="of no generated clip of the data"):
        compare_scores(samples, columns)


def test_the_command_sets_scores_beside_marks_and_ours(samples: list[Sample], tmp_path: Path) -> None:
    write_reward_data(samples, tmp_path / "all_data.json")
    ours = tmp_path / "rewards.jsonl"
    lines = [{"video": f"/far/{s.path}", "prompt": None, "reward": 1 / (1 + len(s.traces))} for s in samples[:-1]]
    lines[4]["reward"] = None
    ours.write_text("".join(json.dumps(line) + "\n" for line in lines))
    theirs = videoscore2(samples[:-1], tmp_path / "res.json")
    asked = ["compare-rewards", str(ours), str(theirs), "--data", str(tmp_path), "--bootstrap", "100"]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.output
    text = done.stdout
    assert [line for line in text.split("\n") if line.startswith("Beside")] == [
        "Beside number of traces", "Beside area x time", "Beside rewards: reward",
    ]  # fmt: skip
    assert "1.00 [1.00, 1.00]" in text
    assert max(map(len, text.split("\n"))) <= 80
    assert "rewards: reward: 1 row without a score" in " ".join(done.output.split())
    few = tmp_path / "few.jsonl"
    few.write_text("".join(json.dumps(line) + "\n" for line in lines[:1]))
    nothing = CliRunner().invoke(app, ["compare-rewards", str(few), "--data", str(tmp_path)])
    assert (nothing.exit_code, nothing.stdout) == (1, "")
    assert "too few to order" in " ".join(nothing.stderr.split())
    whole = json.loads(CliRunner().invoke(app, [*asked, "--json"]).stdout)
    first = whole["agreements"][0]
    assert (first["score"], first["other"], first["clips"]) == ("rewards: reward", "number of traces", 17)
    assert first["within"]["kendall"]["value"] == pytest.approx(1.0)
