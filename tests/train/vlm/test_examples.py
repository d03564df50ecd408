"""Examples and the order of an epoch."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeptrace.data import write_reward_data
from deeptrace.errors import DataError
from deeptrace.geometry import Box
from deeptrace.schema import Label, Media, Sample, Trace
from deeptrace.train.vlm.examples import Example, epoch_order, examples_of, read_examples
from deeptrace.train.vlm.settings import DataPart

MEDIA = Media(width=100, height=50, duration_s=4.0, fps=10.0, frames=40)


def sample(name: str, label: Label | None, traces: int = 0, split: str = "train") -> Sample:
    box = Box.from_fractions(0.1, 0.2, 0.5, 0.6)
    made = tuple(Trace(onset_s=float(k), offset_s=k + 1.0, box=box) for k in range(traces))
    return Sample(video_id=name, path=f"{name}.mp4", label=label, media=MEDIA, traces=made, split=split)


def test_one_example_a_row_or_a_video() -> None:
    samples = [sample("a", Label.FAKE, 3), sample("b", Label.REAL), sample("c", Label.FAKE)]
    assert [len(e.traces) for e in examples_of(samples, "data")] == [1, 1, 1, 0, 0]
    assert [len(e.traces) for e in examples_of(samples, "data", per="video")] == [3, 0, 0]
    assert examples_of(samples, "data")[0].path == "data/a.mp4"
    with pytest.raises(DataError, match="video d: has no label"):
        examples_of([sample("d", None)], "data")


def test_the_mixture_reads_every_part(tmp_path: Path) -> None:
    for name in ("one", "two"):
        rows = [sample(f"{name}a", Label.FAKE, 2), sample(f"{name}b", Label.REAL, split="val")]
        (tmp_path / name).mkdir()
        write_reward_data(rows, tmp_path / name / "all_data.json")
    parts = [DataPart(path=str(tmp_path / "one")), DataPart(path=str(tmp_path / "two"), split="val")]
    found = read_examples(parts)
    assert [(e.sample.video_id, e.part) for e in found] == [("onea", 0), ("onea", 0), ("twob", 1)]


def made(fakes: int, reals: int, part: int = 0) -> list[Example]:
    labels = [Label.FAKE] * fakes + [Label.REAL] * reals
    return [Example(sample(str(k), label), label, (), f"{k}.mp4", part) for k, label in enumerate(labels)]


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 5), st.integers(0, 5))
def test_balance_gives_as_many_of_both(fakes: int, reals: int, seed: int, epoch: int) -> None:
    examples, parts = made(fakes, reals), [DataPart(path="x")]
    order = epoch_order(examples, parts, seed=seed, epoch=epoch, balance=True)
    assert order == epoch_order(examples, parts, seed=seed, epoch=epoch, balance=True)
    by_label = Counter(examples[k].label for k in order)
    assert by_label[Label.FAKE] == by_label[Label.REAL] == max(fakes, reals)
    for label in Label:
        times = [order.count(k) for k, example in enumerate(examples) if example.label is label]
        assert max(times) - min(times) <= 1


@given(st.floats(0.1, 3.5), st.integers(0, 99))
def test_a_part_comes_as_often_as_asked(repeat: float, seed: int) -> None:
    examples = [*made(4, 4), *made(5, 5, part=1)]
    parts = [DataPart(path="x"), DataPart(path="y", repeat=repeat)]
    order = epoch_order(examples, parts, seed=seed, epoch=0, balance=False)
    assert sorted(k for k in order if k < 8) == list(range(8))
    assert sum(k >= 8 for k in order) == round(repeat * 10)
    times = [order.count(k) for k in range(8, 18)]
    assert max(times) - min(times) <= 1


def test_epochs_differ_and_one_label_cannot_be_balanced() -> None:
    examples, parts = made(6, 6), [DataPart(path="x")]
    first, second = (epoch_order(examples, parts, seed=0, epoch=k, balance=False) for k in (0, 1))
    assert first != second
    assert sorted(first) == sorted(second)
    with pytest.raises(DataError, match="all of one label"):
        epoch_order(made(3, 0), parts, seed=0, epoch=0, balance=True)
