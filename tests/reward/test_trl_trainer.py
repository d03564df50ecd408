"""One real step of TRL's own GRPOTrainer with our reward function; where TRL is installed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from tests.needs import needs
from tests.reward.conftest import corner_clip, expected

from deeptrace.reward.adapters.trl import reward_function

WORDS = [f"w{index}" for index in range(24)]


def tiny_language_model() -> tuple[Any, Any]:
    """A GPT-2 of a few thousand random weights over `WORDS`."""
    transformers = needs("transformers")
    tokenizers = needs("tokenizers")
    vocabulary = {word: index for index, word in enumerate(["<pad>", "<eos>", *WORDS])}
    plain = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="<pad>"))
    plain.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=plain, pad_token="<pad>", eos_token="<eos>")
    config = transformers.GPT2Config(
        vocab_size=len(vocabulary), n_positions=64, n_embd=16, n_layer=1, n_head=2, bos_token_id=1, eos_token_id=1
    )
    return transformers.GPT2LMHeadModel(config), fast


@pytest.mark.slow
def test_a_step_of_grpo_is_trained_on_our_rewards(corner, tmp_path: Path) -> None:
    trl = needs("trl")
    datasets = needs("datasets")
    model, tokenizer = tiny_language_model()
    seen: list[tuple[list[int], list[float | None]]] = []

    def level(text: str) -> int:
        return sum(map(ord, text)) * 7 % 200

    def render(completions: list[str], *, seed: list[int], **columns: Any) -> list[Any]:
        """A "generator" that makes of each completion a clip whose reward is known; the last one fails."""
        clips: list[Any] = [corner_clip(level(text)) for text in completions]
        clips[-1] = "gone.mp4"
        seen.append(([level(text) for text in completions], []))
        return clips

    score = reward_function(render=render, fps=8.0, detector=corner)

    def recorded(**call: Any) -> list[float | None]:
        rewards = score(**call)
        seen[-1][1].extend(rewards)
        return rewards

    arguments = trl.GRPOConfig(
        output_dir=str(tmp_path), max_steps=1, per_device_train_batch_size=4, num_generations=4,
        max_completion_length=6, use_cpu=True, bf16=False, report_to=[], logging_steps=1, save_strategy="no",
    )  # fmt: skip
    rows = datasets.Dataset.from_list([{"prompt": "w1 w2 w3", "seed": 1}] * 4)
    trainer = trl.GRPOTrainer(
        model=model, processing_class=tokenizer, reward_funcs=recorded, args=arguments, train_dataset=rows
    )
    trainer.train()
    levels, rewards = seen[0]
    assert rewards == [*(pytest.approx(expected(n)) for n in levels[:-1]), None]
    logged = next(row["reward"] for row in trainer.state.log_history if "reward" in row)
    assert math.isfinite(logged)
