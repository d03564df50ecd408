"""A model as a policy: what it samples, and how likely it says that it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.needs import needs

torch = needs("torch")
transformers = needs("transformers")
needs("peft")

from tests.detectors.vlm.hf.tiny import save_tiny  # noqa: E402

from deeptrace.detectors.vlm.hf.processors import load_processor  # noqa: E402
from deeptrace.train.grpo.policy import Policy  # noqa: E402
from deeptrace.train.vlm.models import load_trainable  # noqa: E402
from deeptrace.train.vlm.settings import ModelSettings  # noqa: E402

KINDS = ("qwen2_5_vl", "video_llama_3")


def policy_of(folder: Path, kind: str, *, reference: bool = False, **settings) -> tuple[Policy, object]:
    base = save_tiny(kind, folder / kind)
    chosen = ModelSettings(base=str(base), dtype="float32", checkpointing=False, **settings)
    torch.manual_seed(0)
    model = load_trainable(chosen).eval()
    copy = load_trainable(chosen).eval() if reference else None
    processor = load_processor(base)
    clip = np.random.default_rng(0).integers(0, 255, (4, 56, 84, 3), dtype=np.uint8)
    model_inputs = processor.process(clip, [0.0, 0.5, 1.0, 1.5], "<video> Is it real?")
    return Policy(model, processor, temperature=0.7, max_tokens=12, reference=copy), model_inputs


@pytest.mark.parametrize("kind", KINDS)
def test_logps_are_those_of_the_distribution_that_was_sampled_from(kind, tmp_path) -> None:
    policy, model_inputs = policy_of(tmp_path, kind)
    answers = policy.sample(model_inputs, 3, seed=1)
    found = policy.logps(answers, range(3))
    mask = policy.mask(answers, range(3))
    assert found.shape == mask.shape == (3, max(len(tokens) for tokens in answers.tokens))
    config = policy.model.config
    visual = [config.image_token_id, config.video_token_id]
    visual += [v for name in ("start", "end") if (v := getattr(config, f"vision_{name}_token_id", None)) is not None]
    for row, tokens in enumerate(answers.tokens):
        assert not set(tokens.tolist()) & set(visual)
        ids = torch.cat([model_inputs.input_ids, tokens])[None]
        inputs = {name: tensor for name, tensor in model_inputs.tensors.items() if name != "mm_token_type_ids"}
        if "mm_token_type_ids" in model_inputs.tensors:
            kinds = torch.cat([model_inputs.tensors["mm_token_type_ids"], torch.zeros_like(tokens)])
            inputs["mm_token_type_ids"] = kinds[None]
        logits = policy.model(input_ids=ids, attention_mask=torch.ones_like(ids), **inputs).logits[0] / 0.7
        logits[:, visual] = -torch.inf
        steps = torch.log_softmax(logits, dim=-1)[len(model_inputs.input_ids) - 1 : -1]
        expected = steps.gather(1, tokens[:, None])[:, 0]
        assert torch.allclose(found[row, : len(tokens)], expected, atol=1e-5)
        assert found[row, len(tokens) :].abs().sum() == 0
    assert mask.sum() == sum(len(tokens) for tokens in answers.tokens)


def test_the_same_seed_samples_the_same_and_leaves_other_randomness_alone(tmp_path) -> None:
    policy, model_inputs = policy_of(tmp_path, "qwen2_5_vl")
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = policy.sample(model_inputs, 4, seed=1)
    assert torch.equal(torch.rand(3), expected)
    assert policy.sample(model_inputs, 4, seed=1).texts == first.texts
    assert policy.sample(model_inputs, 4, seed=2).texts != first.texts
    assert len(set(first.texts)) == 4


def test_a_checkpoints_own_generation_settings_do_not_bend_the_distribution(tmp_path) -> None:
    policy, model_inputs = policy_of(tmp_path, "qwen2_5_vl")
    free = policy.sample(model_inputs, 4, seed=1).texts
    own = policy.model.generation_config
    own.do_sample, own.temperature, own.top_k, own.top_p, own.repetition_penalty = True, 0.1, 1, 0.001, 1.5
    assert policy.sample(model_inputs, 4, seed=1).texts == free


def test_answers_end_at_their_end_token_or_at_the_limit(tmp_path) -> None:
    policy, model_inputs = policy_of(tmp_path, "qwen2_5_vl")
    answers = policy.sample(model_inputs, 8, seed=3)
    end = policy.processor.tokenizer.eos_token_id
    for tokens, finished, text in zip(answers.tokens, answers.finished, answers.texts, strict=True):
        assert (int(tokens[-1]) == end) == finished
        assert finished or len(tokens) == 12
        assert end not in tokens[:-1]
        assert "<|im_end|>" not in text


@pytest.mark.parametrize("tuning", ["full", "lora"])
def test_the_reference_stays_what_the_model_was(tuning, tmp_path) -> None:
    policy, model_inputs = policy_of(tmp_path, "qwen2_5_vl", tuning=tuning, reference=tuning == "full")
    answers = policy.sample(model_inputs, 2, seed=1)
    before = policy.logps(answers, range(2)).detach()
    assert torch.allclose(policy.reference_logps(answers, range(2)), before, atol=1e-6)
    with torch.no_grad():
        for weight in policy.model.parameters():
            if weight.requires_grad:
                weight.add_(0.05 * torch.randn_like(weight))
    assert not torch.allclose(policy.logps(answers, range(2)), before, atol=1e-3)
    assert torch.allclose(policy.reference_logps(answers, range(2)), before, atol=1e-6)


def test_a_model_in_training_is_in_training_again_after_sampling(tmp_path) -> None:
    policy, model_inputs = policy_of(tmp_path, "qwen2_5_vl")
    policy.model.train()
    policy.sample(model_inputs, 2, seed=1)
    assert policy.model.training
    policy.model.eval()
    policy.sample(model_inputs, 2, seed=1)
    assert not policy.model.training
