"""Questions made of traces: true where they say so and false where not; asked of a server on loopback and counted."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from tests.benchmark.eval_sets import make_set
from tests.needs import needs
from typer.testing import CliRunner

needs("httpx")

from tests.detectors.vlm.openai.model_server import Asked, Handler, ModelServer, completion, error, start  # noqa: E402

from deeptrace.benchmark.questions import Answered, ask_questions, make_questions, question_rows  # noqa: E402
from deeptrace.cli.main import app  # noqa: E402
from deeptrace.data.exporters.questions import ANOMALIES, questions_of  # noqa: E402
from deeptrace.errors import DataError, SettingsError  # noqa: E402
from deeptrace.geometry import Box  # noqa: E402
from deeptrace.io.journal import read_lines  # noqa: E402
from deeptrace.prompts.choices import YES_NO, Question, asked_text, read_choice  # noqa: E402
from deeptrace.schema import Category, Label, Media, Sample, Trace  # noqa: E402

MEDIA = Media(width=64, height=48, duration_s=4.0, fps=8.0, frames=32)


def fake(name: str, *traces: Trace) -> Sample:
    return Sample(video_id=name, path=f"{name}.mp4", label=Label.FAKE, source="g", media=MEDIA, traces=traces)


def trace(kind: Category, text: str = "", box: Box | None = None, span: tuple[float, float] | None = None) -> Trace:
    onset, offset = span or (None, None)
    return Trace(categories=(kind,), explanation=text, box=box, onset_s=onset, offset_s=offset)


MELTS = trace(
    Category.OBJECT_MERGING, "The left hand merges into the cup.", Box(x0=0.0, y0=0.0, x1=0.3, y1=0.3), (2.5, 3.5)
)


def test_a_pair_is_true_and_false_of_one_trace() -> None:
    asked = {(q.kind, q.aspect): q for q in questions_of([fake("a", MELTS)], ["pairs"])}
    assert len(asked) == 6
    true, false = asked["basic", "kind"], asked["hallucinated", "kind"]
    assert Category.OBJECT_MERGING.meaning in true.text
    assert Category.OBJECT_MERGING.meaning not in false.text
    assert (true.answer, false.answer, true.pair) == ("yes", "no", false.pair)
    assert "upper left of the picture" in asked["basic", "place"].text
    assert "upper left" not in asked["hallucinated", "place"].text
    assert "between 2.5 and 3.5 seconds" in asked["basic", "time"].text
    assert "between 0.0 and 1.0 seconds" in asked["hallucinated", "time"].text
    real = questions_of([Sample(video_id="r", path="r.mp4", label=Label.REAL)], ["pairs"])
    assert [q.answer for q in real] == ["yes", "no"]
    assert any(kind.meaning in real[1].text for kind in Category)


def test_nothing_is_called_false_that_may_be_true() -> None:
    everywhere = trace(Category.OBJECT_DISTORTION, box=Box(x0=0, y0=0, x1=1, y1=1), span=(0.0, 4.0))
    rest = [trace(kind) for kind in Category]
    assert questions_of([fake("a", everywhere, *rest)], ["pairs"]) == []
    endless = trace(Category.OBJECT_MERGING, span=(1.0, 2.0)).model_copy(update={"offset_s": None})
    aspects = {q.aspect for q in questions_of([fake("b", endless)], ["pairs"])}
    assert aspects == {"kind"}


def test_the_true_explanation_among_altered_ones() -> None:
    other = fake("b", trace(Category.SUDDEN_BLURRING, "The face of a rider loses its outline."))
    (asked, *_) = questions_of([fake("a", MELTS), other], ["counterfactual"])
    assert asked.answer == MELTS.explanation
    assert set(asked.options) == {
        "The left hand merges into the cup.",
        "The right hand merges into the cup.",
        "The left hand splits into the cup.",
        "The left foot merges into the cup.",
    }
    (_, blind) = questions_of([fake("a", MELTS), other], ["counterfactual"])
    assert (blind.aspect, set(blind.options)) == ("others", {other.traces[0].explanation, MELTS.explanation})
    assert questions_of([other], ["counterfactual"]) == []


def test_anomalies_are_one_of_five_or_none() -> None:
    covered = [kind for kinds in ANOMALIES.values() for kind in kinds]
    assert sorted([*covered, Category.UNEXPECTED_MOVE]) == sorted(Category)
    (one,) = questions_of([fake("a", MELTS)], ["anomaly"])
    assert one.answer == next(name for name, kinds in ANOMALIES.items() if Category.OBJECT_MERGING in kinds)
    assert len(one.options) == 6
    several = fake("b", MELTS, trace(Category.OBJECT_DISAPPEARANCE))
    assert questions_of([several, fake("c", trace(Category.UNEXPECTED_MOVE))], ["anomaly"]) == []
    (real,) = questions_of([Sample(video_id="r", path="r.mp4", label=Label.REAL)], ["anomaly"])
    assert real.answer.startswith("none of these")
    assert questions_of([fake("a", MELTS)]) == questions_of([fake("a", MELTS)])


def question(options: tuple[str, ...], answer: str, **more: str) -> Question:
    about = {"id": "1", "kind": "x", "video_id": "v", "path": "v.mp4", "text": "?"}
    return Question(**about | more, options=options, answer=answer)


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("Yes", "yes"),
        ("**No.**", "no"),
        ("Answer: no", "no"),
        ("<think>yes? yes.</think>No", "no"),
        ("I would say no.", "no"),
        ("It is not clear: yes or no.", None),
        ("nothing of the kind", None),
        ("", None),
    ],
)
def test_yes_and_no_are_read(text: str, chosen: str | None) -> None:
    assert read_choice(text, question(YES_NO, "yes")) == chosen


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("B", "a tree falls"),
        ("(C) a tree falls over", "a tree falls over"),
        ("The answer is A.", "a cup melts"),
        ("A cup melts", "a cup melts"),
        ("I think a tree falls over.", "a tree falls over"),
        ("Option B, or option C", None),
        ("D", None),
        ("none", None),
    ],
)
def test_letters_and_whole_options_are_read(text: str, chosen: str | None) -> None:
    assert read_choice(text, question(("a cup melts", "a tree falls", "a tree falls over"), "a cup melts")) == chosen


def test_who_says_yes_to_everything_gets_half_of_each_pair_and_no_pair() -> None:
    asked = [q for name in "abcdef" for q in questions_of([fake(name, MELTS)], ["pairs"])]
    said = [Answered(question=q, outcome="scored", chosen="yes", text="yes") for q in asked]
    rows = {row.name.strip(): row for row in question_rows(said, resamples=50)}
    assert rows["basic"].right.value == 100.0
    assert rows["hallucinated"].right.value == 0.0
    assert (rows["pairs (both)"].right.value, rows["pairs (both)"].asked, rows["pairs (both)"].chance) == (
        0.0,
        18,
        25.0,
    )
    assert rows["basic"].yes == 100.0
    silent = [one.model_copy(update={"outcome": "parse_failed", "chosen": None}) for one in said]
    assert next(question_rows(silent, resamples=50)).unread == 18


def test_what_was_not_answered_is_in_no_share() -> None:
    asked = [q for name in "abcdef" for q in questions_of([fake(name, MELTS)], ["pairs"])]
    asked = [q.model_copy(update={"source": q.video_id}) for q in asked]
    said = [Answered(question=q, outcome="scored", chosen=q.answer, text=q.answer) for q in asked]
    lost = {"outcome": "model_failed", "chosen": None, "text": None, "error": "the server is away"}
    some = [one.model_copy(update=lost) if one.question.id.startswith("a/") else one for one in said]
    some += [Answered(question=asked[0].model_copy(update={"id": "x", "pair": ""}), outcome="timed_out")]
    rows = {row.name.strip(): row for row in question_rows(some, resamples=50)}
    basic, pairs = rows["basic"], rows["pairs (both)"]
    assert (basic.asked, basic.unanswered, basic.unread, basic.right.value, basic.right.support) == (19, 4, 0, 100, 15)
    assert (pairs.asked, pairs.unanswered, pairs.right.value, pairs.right.interval) == (18, 3, 100, (100, 100))
    half = [one.model_copy(update=lost) if one.question.kind == "basic" else one for one in said]
    rows = {row.name.strip(): row for row in question_rows(half, resamples=50)}
    assert (rows["basic"].right.value, rows["basic"].yes, rows["basic"].chance) == (None, None, 50.0)
    assert (rows["pairs (both)"].right.value, rows["pairs (both)"].unanswered) == (None, 18)
    assert rows["hallucinated"].right.value == 100


@pytest.fixture
def knowing() -> object:
    """A server that knows what the clips of `make_set` show: generated ones are bright, and merge."""
    model = ModelServer()

    def answer(handler: Handler, asked: Asked) -> None:
        bright = asked.images()[0].mean() > 120
        text = asked.text
        if "Answer yes or no" in text:
            merges = "fuse into one" in text and bright and "lower right" not in text
            say = "yes" if merges or ("as a camera" in text and not bright) else "no"
        else:
            say = "I cannot see any of it."
        handler.reply(200, completion(say))

    model.mood = answer
    running = start(model)
    yield model
    model.ended.set()
    running.shutdown()
    running.server_close()


def test_a_server_is_asked_once_and_counted(knowing: ModelServer, tmp_path: Path) -> None:
    data = make_set(tmp_path / "set")
    line = [
        "questions",
        "--data",
        str(data),
        "--detector",
        f"openai:tiny@{knowing.url}",
        "--out",
        str(tmp_path / "run"),
    ]
    shown = CliRunner().invoke(app, [*line, "--bootstrap", "20"])
    assert shown.exit_code == 0, shown.stderr
    assert all(len(text) <= 80 for text in shown.stdout.splitlines())
    told = json.loads((tmp_path / "run" / "questions.json").read_text())
    rows = {row["name"].strip(): row for row in reversed(told["rows"])}  # the aspects of pairs come first
    assert rows["real"]["right"]["value"] == 100.0
    assert rows["kind"]["right"]["value"] >= 50.0
    assert rows["anomaly"]["unread"] == rows["anomaly"]["asked"] > 0
    assert not any("response_format" in one.body or "logprobs" in one.body for one in knowing.asked)
    count = len(knowing.asked)
    assert count == told["outcomes"]["scored"] + told["outcomes"]["parse_failed"]
    again = CliRunner().invoke(app, [*line, "--bootstrap", "20", "--resume"])
    assert again.stdout == shown.stdout
    assert len(knowing.asked) == count


def test_a_refused_question_is_asked_again_only_where_it_could_not_be(knowing: ModelServer, tmp_path: Path) -> None:
    data = make_set(tmp_path / "set", each=1)
    knowing.mood = error(400, "flagged by the content policy", code="content_filter")
    how = {"detector": f"openai:tiny@{knowing.url}", "out": tmp_path / "run", "kinds": ["anomaly"], "resamples": 20}
    found = ask_questions(data, **how)
    assert found.outcomes == {"refused": sum(found.outcomes.values())}
    asked = len(knowing.asked)
    ask_questions(data, resume=True, **how)
    assert len(knowing.asked) == asked
    lines = list(read_lines(tmp_path / "run" / "answers.jsonl"))
    assert all(row["outcome"] == "refused" and row["error"] for row in lines)
    shown = CliRunner().invoke(
        app,
        ["questions", "anomaly", "features", "--data", str(data), "--detector", how["detector"],
         "--bootstrap", "20", "--out", str(tmp_path / "run"), "--resume"],
    )  # fmt: skip
    assert shown.exit_code == 1
    assert "cannot tell" in shown.stdout
    assert "0 %" not in shown.stdout.replace("50 %", "")


def test_questions_alone_are_written(tmp_path: Path) -> None:
    data = make_set(tmp_path / "set")
    shown = CliRunner().invoke(app, ["questions", "--data", str(data), "--split", "all", "--out", str(tmp_path / "q")])
    assert shown.exit_code == 0
    rows = [Question.model_validate(row) for row in read_lines(tmp_path / "q" / "questions.jsonl")]
    kinds = Counter(row.kind for row in rows)
    assert kinds["basic"] == kinds["hallucinated"] > 0
    assert len({row.id for row in rows}) == len(rows)
    assert all(asked_text(row).startswith(row.text) for row in rows)
    few = make_questions(data, split="all", most=3)
    assert len({one.video_id for one in few.questions}) <= 3


def test_what_cannot_be_asked(tmp_path: Path) -> None:
    data = make_set(tmp_path / "set")
    with pytest.raises(SettingsError, match="is no kind of question"):
        make_questions(data, kinds=["riddles"])
    with pytest.raises(SettingsError, match="cannot be asked in words"):
        ask_questions(data, "baseline:npr", out=tmp_path / "run")
    (tmp_path / "bare").mkdir()
    row = {"video_id": "a", "video_type": "fake_video", "video_path": "a.mp4", "split": "test"}
    (tmp_path / "bare" / "all_data.json").write_text(json.dumps([row]))
    with pytest.raises(DataError, match="gives rise to no question"):
        make_questions(tmp_path / "bare")
