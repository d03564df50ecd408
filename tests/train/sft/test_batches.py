"""The plan of a training: whole steps, every example, the same whoever asks."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from tests.needs import needs

needs("torch", "transformers")

from deeptrace.schema import Label, Sample  # noqa: E402
from deeptrace.train.sft.batches import plan_batches, plan_digest  # noqa: E402
from deeptrace.train.sft.config import SftConfig  # noqa: E402
from deeptrace.train.vlm.examples import Example  # noqa: E402


def made(count: int) -> list[Example]:
    labels = [Label.FAKE if k % 2 else Label.REAL for k in range(count)]
    return [
        Example(Sample(video_id=str(k), path=f"{k}.mp4", label=label), label, (), f"{k}.mp4")
        for k, label in enumerate(labels)
    ]


def config(**changes: object) -> SftConfig:
    return SftConfig.model_validate({"model": {"base": "m"}, "data": [{"path": "d"}], "out": "o", **changes})


grouping = st.sampled_from([{"batch": 1}, {"batch": 3}, {"batch": 2, "group_lengths": True}, {"pack_tokens": 100}])


@given(st.integers(1, 30), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), grouping, st.integers(0, 9))
def test_steps_are_whole_and_every_example_comes_each_epoch(
    count: int, epochs: int, processes: int, accumulate: int, how: dict[str, object], seed: int
) -> None:
    examples = made(count)
    lengths = [7 + 13 * (k % 5) for k in range(count)]
    chosen = config(epochs=epochs, accumulate=accumulate, seed=seed, **how)
    plan = plan_batches(examples, lengths, chosen, processes)
    assert plan == plan_batches(examples, lengths, chosen, processes)
    assert len(plan) % (processes * accumulate) == 0
    draws = [draw for batch in plan for draw in batch]
    assert len(draws) >= count * epochs
    per_example = Counter(draw.example for draw in draws if draw.number < count * epochs)
    assert set(per_example.values()) == {epochs}
    for batch in plan:
        if chosen.pack_tokens is not None:
            assert sum(lengths[draw.example] for draw in batch) <= 100
        else:
            assert len(batch) <= chosen.batch


def test_two_processes_take_what_one_takes_with_twice_the_batch() -> None:
    examples = made(12)
    one = plan_batches(examples, [0] * 12, config(batch=4, epochs=2), 1)
    two = plan_batches(examples, [0] * 12, config(batch=2, epochs=2), 2)
    assert list(one) == [[*two[2 * k], *two[2 * k + 1]] for k in range(len(one))]


def test_like_lengths_share_a_batch() -> None:
    lengths = [10 * (k % 4 + 1) for k in range(40)]
    plan = plan_batches(made(40), lengths, config(batch=5, group_lengths=True), 1)
    waste = [5 * max(lengths[d.example] for d in b) - sum(lengths[d.example] for d in b) for b in plan]
    assert sum(waste) == 0


def test_the_digest_tells_other_data_and_another_order() -> None:
    examples = made(6)
    plan = plan_batches(examples, [0] * 6, config(), 1)
    assert plan_digest(plan, examples) == plan_digest(plan, examples)
    assert plan_digest(plan, examples) != plan_digest(plan[::-1], examples)
    assert plan_digest(plan, examples) != plan_digest(plan, made(7))
