"""Packed rows, chunked loss and variable-length attention give what plain ones give."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.needs import needs

torch = needs("torch")
transformers = needs("transformers")

from tests.train.vlm.made import KINDS, samples, tiny_processor  # noqa: E402

from deeptrace.detectors.vlm.hf.processors import collate, labels  # noqa: E402
from deeptrace.errors import SettingsError  # noqa: E402
from deeptrace.train.sft.batches import Positions, pack, plan_packs  # noqa: E402
from deeptrace.train.sft.trainer import IGNORED, answer_loss, learn_answers_only  # noqa: E402
from deeptrace.train.vlm.attention import VARLEN, segments_attention, use_attention  # noqa: E402


def load(folder: Path, attention: str):
    model = transformers.AutoModelForImageTextToText.from_pretrained(folder)
    use_attention(model, attention)
    return model


def gradients(model) -> dict[str, torch.Tensor]:
    return {name: value.grad for name, value in model.named_parameters() if value.grad is not None}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("attention", ["sdpa", VARLEN])
def test_packed_rows_give_the_loss_of_single_ones(kind: str, attention: str, tmp_path: Path) -> None:
    processor = tiny_processor(kind, tmp_path)
    model = load(tmp_path / kind, "sdpa")
    made = samples(processor)
    parts, counts = [], []
    for sample in made:
        batch = collate([sample], pad_id=processor.pad_id, side="right")
        wanted = labels([sample], side="right")
        counts.append(int((wanted[:, 1:] != IGNORED).sum()))
        parts.append(model(**batch, labels=wanted).loss * counts[-1])
    single = sum(parts) / sum(counts)
    single.backward()
    expected = gradients(model)
    other = load(tmp_path / kind, attention)
    learn_answers_only(other, chunk=7)
    row = pack(made, Positions(other.config))
    packed = other(**row).loss
    packed.backward()
    assert torch.allclose(packed, single, atol=1e-5)
    found = gradients(other)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.allclose(found[name], value, atol=1e-5), name


@pytest.mark.parametrize("kind", KINDS)
def test_a_padded_batch_gives_the_same_loss_with_every_attention(kind: str, tmp_path: Path) -> None:
    processor = tiny_processor(kind, tmp_path)
    made = samples(processor)
    batch = collate(made, pad_id=processor.pad_id, side="right") | {"labels": labels(made, side="right")}
    stock = load(tmp_path / kind, "sdpa")(**batch).loss
    ours = load(tmp_path / kind, VARLEN)
    learn_answers_only(ours, chunk=1000)
    assert torch.allclose(ours(**batch).loss, stock, atol=1e-5)


def test_a_sample_does_not_see_its_neighbours_in_the_row(tmp_path: Path) -> None:
    processor = tiny_processor("qwen2_5_vl", tmp_path)
    model = load(tmp_path / "qwen2_5_vl", VARLEN)
    first, second, third = samples(processor)
    places = Positions(model.config)
    with torch.no_grad():
        row = {k: v for k, v in pack([first, second, third], places).items() if k != "labels"}
        alone = {k: v for k, v in pack([second], places).items() if k != "labels"}
        start = len(first.input_ids)
        inside = model(**row).logits[0, start : start + len(second.input_ids)]
        assert torch.allclose(inside, model(**alone).logits[0], atol=1e-5)


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=6),
    st.booleans(),
    st.sampled_from([1, 2]),
    st.integers(0, 99),
)
def test_segments_are_attended_one_by_one(lengths: list[int], causal: bool, groups: int, seed: int) -> None:
    torch.manual_seed(seed)
    total = sum(lengths)
    query = torch.randn(total, 4, 8, dtype=torch.float64, requires_grad=True)
    key, value = (torch.randn(total, 4 // groups, 8, dtype=torch.float64) for _ in range(2))
    bounds = torch.tensor([0, *torch.tensor(lengths).cumsum(0).tolist()])
    found = segments_attention(query, key, value, bounds, causal=causal, scale=0.3)
    parts = []
    for start, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        q, k, v = query[start:end], key[start:end], value[start:end]
        k, v = (part.repeat_interleave(groups, dim=1) for part in (k, v))
        scores = torch.einsum("qhd,khd->hqk", q, k) * 0.3
        if causal:
            scores = scores.masked_fill(torch.ones(len(q), len(q)).triu(1).bool(), float("-inf"))
        parts.append(torch.einsum("hqk,khd->qhd", scores.softmax(-1), v))
    assert torch.allclose(found, torch.cat(parts))


@given(st.integers(1, 12), st.integers(2, 30), st.integers(0, 99))
def test_chunks_change_neither_loss_nor_gradients(chunk: int, length: int, seed: int) -> None:
    torch.manual_seed(seed)
    head = torch.nn.Linear(6, 11, dtype=torch.float64)
    hidden = torch.randn(2, length, 6, dtype=torch.float64, requires_grad=True)
    wanted = torch.where(torch.rand(2, length) < 0.5, torch.randint(0, 11, (2, length)), IGNORED)
    wanted[:, -1] = 3
    logits = head(hidden).float()
    full = torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1), wanted[:, 1:].flatten(), ignore_index=IGNORED, reduction="sum"
    ) / max(int((wanted[:, 1:] != IGNORED).sum()), 1)
    expected = torch.autograd.grad(full, (hidden, head.weight))
    ours = answer_loss(hidden, head, wanted, chunk=chunk)
    found = torch.autograd.grad(ours, (hidden, head.weight))
    assert torch.allclose(ours, full, atol=1e-6)
    for a, b in zip(found, expected, strict=True):
        assert torch.allclose(a, b, atol=1e-6)


@given(st.lists(st.integers(1, 50), max_size=60), st.integers(1, 60), st.integers(1, 20))
def test_every_sample_is_in_one_pack_that_holds_it(lengths: list[int], capacity: int, window: int) -> None:
    packs = plan_packs(lengths, capacity, window=window)
    assert sorted(k for members in packs for k in members) == list(range(len(lengths)))
    for members in packs:
        assert len(members) == 1 or sum(lengths[k] for k in members) <= capacity
        assert max(members) // window == min(members) // window


def test_packing_says_what_it_does_not_know() -> None:
    with pytest.raises(SettingsError, match="packing: is not known for gpt2"):
        Positions(transformers.GPT2Config())


def test_the_kernel_takes_our_call() -> None:
    """Shapes and arguments only, on meta tensors: there is no GPU here."""
    from deeptrace.train.vlm import attention

    if attention.varlen_attn is None:
        pytest.skip("this torch has no variable-length kernel")
    query = torch.empty(10, 4, 8, dtype=torch.bfloat16, device="meta")
    bounds = torch.empty(3, dtype=torch.int32, device="meta")
    for causal in (False, True):
        out = attention._kernel(query, query, query, bounds, 6, causal=causal, scale=0.5)
        assert out.shape == query.shape
