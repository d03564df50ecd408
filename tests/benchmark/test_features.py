"""Which kinds of trace a language model knows: asked of a server on loopback that knows some and not others."""

from __future__ import annotations

import json
from pathlib import Path

from tests.benchmark.eval_sets import make_set
from tests.needs import needs
from typer.testing import CliRunner

needs("httpx")

from tests.detectors.vlm.openai.model_server import Asked, Handler, ModelServer, completion, start  # noqa: E402

from deeptrace.benchmark.questions import Answered, feature_rows, make_questions  # noqa: E402
from deeptrace.cli.main import app  # noqa: E402
from deeptrace.data.exporters.questions import questions_of  # noqa: E402
from deeptrace.prompts.choices import Question  # noqa: E402
from deeptrace.schema import Category, Label, Sample, Trace  # noqa: E402

BLUR, MERGE = Category.SUDDEN_BLURRING, Category.OBJECT_MERGING


def samples(each: int = 6, groups: int = 3) -> list[Sample]:
    """Of each of three generators six clips with blur and merging; as many real clips of three sources."""
    made = []
    for number in range(each * groups):
        at = str(number % groups)
        traces = (Trace(categories=(BLUR,)), Trace(categories=(MERGE,)))
        made.append(Sample(video_id=f"f{number}", path="f.mp4", label=Label.FAKE, source=f"g{at}", traces=traces))
        made.append(Sample(video_id=f"r{number}", path="r.mp4", label=Label.REAL, source=f"s{at}"))
    return made


def said(questions: list[Question], answers: dict[Category, str]) -> list[Answered]:
    """The right answer to kinds that are known; for others always the same word, or none."""
    found = []
    for one in questions:
        word = answers.get(Category(one.aspect), one.answer)
        chosen = word if word in ("yes", "no") else None
        found.append(Answered(question=one, outcome="scored" if chosen else "parse_failed", chosen=chosen, text=word))
    return found


def test_each_kind_is_asked_of_marked_and_of_as_many_real_clips() -> None:
    asked = questions_of(samples(), ["features"])
    assert {one.aspect for one in asked} == {BLUR.value, MERGE.value}
    of_blur = [one for one in asked if one.aspect == BLUR.value]
    answers = [one.answer for one in of_blur]
    assert (answers.count("yes"), answers.count("no")) == (18, 18)
    assert all(BLUR.meaning in one.text for one in of_blur)
    assert len({one.id for one in asked}) == len(asked)
    assert questions_of(samples(), ["features"]) == asked
    assert not any(one.kind == "feature" for one in questions_of(samples()))


def test_what_is_known_and_what_is_guessed() -> None:
    asked = questions_of(samples(), ["features"])
    weak, strong = feature_rows(said(asked, {MERGE: "yes"}), resamples=200)
    assert (weak.kind, weak.found, weak.quiet, weak.balanced.value, weak.known) == (MERGE, 100.0, 0.0, 50.0, False)
    assert (strong.kind, strong.balanced.value, strong.balanced.interval, strong.known) == (
        BLUR,
        100.0,
        (100.0, 100.0),
        True,
    )


def test_no_readable_answer_is_wrong_and_few_clips_say_nothing() -> None:
    asked = questions_of(samples(), ["features"])
    silent = feature_rows(said(asked, {MERGE: "perhaps"}), resamples=50)[0]
    assert (silent.kind, silent.found, silent.quiet, silent.known) == (MERGE, 0.0, 0.0, False)
    away = {"outcome": "model_failed", "chosen": None}
    gone = [one.model_copy(update=away) if one.question.answer == "no" else one for one in said(asked, {})]
    row = feature_rows(gone, resamples=50)[0]
    assert (row.found, row.quiet, row.balanced.value, row.known, row.unanswered) == (100.0, None, None, None, 18)
    few = questions_of(samples(each=1), ["features"])
    assert [row.known for row in feature_rows(said(few, {}), resamples=50)] == [None, None]
    alone = questions_of(samples(groups=1), ["features"])
    assert [row.balanced.interval for row in feature_rows(said(alone, {}), resamples=50)] == [None, None]


def test_the_command_names_the_kinds_that_a_model_does_not_know(tmp_path: Path) -> None:
    data = make_set(tmp_path / "data")
    truth = {one.text: one for one in make_questions(data, split="all", kinds=["features"]).questions}
    assert truth

    def answer(handler: Handler, asked: Asked) -> None:
        handler.reply(200, completion("Yes."))

    model = ModelServer()
    model.mood = answer
    running = start(model)
    try:
        out = tmp_path / "out"
        done = CliRunner().invoke(
            app,
            ["questions", "features", "--data", str(data), "--split", "all", "--out", str(out), "--bootstrap", "50",
             "--detector", f"openai:tiny@{model.url}"],
        )  # fmt: skip
    finally:
        model.ended.set()
        running.shutdown()
        running.server_close()
    assert done.exit_code == 0, done.output
    table = json.loads((out / "questions.json").read_text())
    assert table["rows"] == []
    assert all((row["found"], row["quiet"]) == (100.0, 0.0) for row in table["features"])
    assert "balanced" in done.stdout
    assert max(map(len, done.stdout.split("\n"))) <= 80
    if any(row["known"] is False for row in table["features"]):
        assert "an expert should be fused" in done.stdout
