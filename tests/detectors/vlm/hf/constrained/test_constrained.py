"""Only answers that can be read: whatever a model prefers, and wherever it is cut off."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.needs import needs

torch = needs("torch")
transformers = needs("transformers")
from tests.detectors.vlm.hf.tiny import tiny_tokenizer  # noqa: E402

from deeptrace.detectors.vlm.hf.constrained import Automaton, TokenTable, answer_pattern, token_bytes  # noqa: E402
from deeptrace.detectors.vlm.hf.constrained.masks import ConstrainedAnswers  # noqa: E402
from deeptrace.geometry import Box  # noqa: E402
from deeptrace.prompts import FINE_TUNING, JSON, SPACES, ZERO_SHOT, View, read_answer, write_answer  # noqa: E402
from deeptrace.schema import Label, Trace  # noqa: E402

FORMS = {
    "sentence": FINE_TUNING,
    "tags": ZERO_SHOT.in_space(SPACES["resized_pixels"]),
    "json": JSON.in_space(SPACES["permille"]),
    "fractions": ZERO_SHOT.in_space(SPACES["fractions"]),
    "no box": FINE_TUNING.without("box"),
    "no time": FINE_TUNING.without("time"),
    "label alone": ZERO_SHOT.without("box", "time", "explanation"),
    "reason alone": FINE_TUNING.without("box", "time"),
    "json, no reason": JSON.without("explanation"),
}
VIEW = View(size=(640, 480), resized=(320, 240), duration_s=5.0)


@pytest.fixture(scope="module")
def tokenizer():
    return tiny_tokenizer("qwen2_5_vl")


@pytest.fixture(scope="module")
def tables(tokenizer) -> dict[str, TokenTable]:
    known = token_bytes(tokenizer)
    return {name: TokenTable(Automaton(answer_pattern(form)), known) for name, form in FORMS.items()}


def written(tokenizer, table: TokenTable, scores, budget: int) -> tuple[str, int]:
    """What greedy decoding with `scores(step)` (V,) writes under the processor, and in how many tokens."""
    prompt = torch.zeros((1, 3), dtype=torch.long)
    processor = ConstrainedAnswers(table, prompt=3, budget=budget, ends=[tokenizer.eos_token_id])
    ids = prompt
    for step in range(budget):
        token = processor(ids, scores(step)[None]).argmax(dim=-1)
        if int(token) == tokenizer.eos_token_id:
            break
        ids = torch.cat([ids, token[None]], dim=1)
    said = ids[0, 3:]
    return tokenizer.decode(said, skip_special_tokens=True), len(said)


@pytest.mark.parametrize("name", list(FORMS))
@settings(max_examples=12)
@given(seed=st.integers(0, 2**32 - 1), budget=st.integers(60, 160))
def test_whatever_the_model_prefers_the_answer_can_be_read(
    tokenizer, tables: dict[str, TokenTable], name: str, seed: int, budget: int
) -> None:
    dice = torch.Generator().manual_seed(seed)
    text, count = written(tokenizer, tables[name], lambda _: torch.randn(len(tokenizer), generator=dice), budget)
    assert count <= budget
    answer = read_answer(text, form=FORMS[name], view=VIEW)
    assert text.strip()[:40].count(answer.label) == 1
    form = FORMS[name]
    if answer.label is Label.FAKE and name not in ("json", "json, no reason", "label alone"):
        assert answer.traces
        for trace in answer.traces:
            assert (trace.onset_s is not None) == form.time
            assert bool(trace.explanation) == form.explanation


@pytest.mark.parametrize("name", list(FORMS))
def test_an_answer_is_ended_in_time_even_by_a_model_that_never_would(
    tokenizer, tables: dict[str, TokenTable], name: str
) -> None:
    table = tables[name]
    chatty = torch.zeros(len(tokenizer))
    chatty[tokenizer.eos_token_id] = -9.0
    chatty[tokenizer.encode("F")[0]] = chatty[tokenizer.encode("FAKE")[0]] = 9.0
    shortest = table.automaton.distance(0)
    for budget in (shortest, shortest + 1, 200):
        text, count = written(tokenizer, table, lambda _: chatty, budget)
        assert count <= budget
        read_answer(text, form=FORMS[name], view=VIEW)


TRACES = [
    Trace(box=Box(x0=0.1, y0=0.2, x1=0.5, y1=0.75), onset_s=1.25, explanation="The cup's rim – naïve — melts; “so”."),
    Trace(box=Box(x0=0.0, y0=0.0, x1=1.0, y1=1.0), onset_s=0.0, explanation="A third hand 手 appears."),
]


@pytest.mark.parametrize("name", [name for name in FORMS if name != "no time"])
def test_what_we_train_models_to_say_is_allowed(tables: dict[str, TokenTable], name: str) -> None:
    form = FORMS[name]
    automaton = tables[name].automaton
    for label, traces in ((Label.REAL, ()), (Label.FAKE, TRACES[:1]), (Label.FAKE, TRACES)):
        text = write_answer(label, traces, form=form, view=VIEW, p_fake=0.25)
        if name == "label alone":
            text = text.splitlines()[0]
        state = automaton.read(text.encode())
        assert state is not None, text
        assert automaton.accepts(state), text
        for cut in range(0, len(text.encode()), 7):
            partial = automaton.read(text.encode()[:cut])
            assert partial is not None
            assert automaton.distance(partial) <= len(text.encode()) - cut


@pytest.mark.parametrize("name", ["sentence", "tags", "json"])
def test_what_cannot_be_read_is_not_allowed(tables: dict[str, TokenTable], name: str) -> None:
    automaton = tables[name].automaton
    for text in ("REAL or FAKE", "I am sorry", "fake", "", "FAKE. The video is real.", "\nREAL", "REALFAKE"):
        state = automaton.read(text.encode())
        assert state is None or not automaton.accepts(state), text


def test_the_budget_leaves_out_only_what_would_come_too_late(tables: dict[str, TokenTable]) -> None:
    table = tables["tags"]
    state = table.automaton.read(b"FAKE\n<coordinates>[1, 2, 3, 4]</coordinates> <start_time>1</start_time> <expl")
    assert state is not None
    left = table.automaton.distance(state)
    assert len(table.choices(state, left).ids)
    assert not len(table.choices(state, left - 1).ids) or left - 1 >= table.choices(state).distances.min() + 1
    everything = table.choices(state)
    assert set(table.choices(state, 10_000).ids.tolist()) == set(everything.ids.tolist())


def test_tokens_of_bytes_and_tokens_of_words_are_both_understood(tokenizer) -> None:
    known = token_bytes(tokenizer)
    for text in ("FAKE. [1, 2]", "naïve — 手", "a\nb"):
        ids = tokenizer.encode(text, add_special_tokens=False)
        assert b"".join(known[index] for index in ids) == text.encode()
    assert known[tokenizer.eos_token_id] is None
    words = word_tokenizer()
    pieces = token_bytes(words)
    for text in ("FAKE. [1, 2]", "naïve", "a\nb"):
        ids = words.encode(text, add_special_tokens=False)
        assert b"".join(pieces[index] for index in ids).decode().strip() == text


def word_tokenizer():
    """As Llama 2's: spaces are marked, unknown characters are bytes."""
    from tests.detectors.vlm.hf.tiny_others import llama_tokenizer

    return llama_tokenizer()


def test_random_walks_of_the_automaton_end_where_it_says(tables: dict[str, TokenTable]) -> None:
    dice = random.Random(5)
    for table in tables.values():
        automaton, state, steps = table.automaton, 0, 0
        while steps < 30 and (moves := [b for b in range(256) if automaton.step(state, b) is not None]):
            state = automaton.step(state, dice.choice(moves))  # type: ignore[assignment]
            steps += 1
        while not automaton.accepts(state):
            far = automaton.distance(state)
            nearer = [after for b in range(256) if (after := automaton.step(state, b)) is not None]
            state = min(nearer, key=automaton.distance)
            assert automaton.distance(state) == far - 1
        assert automaton.distance(state) == 0
