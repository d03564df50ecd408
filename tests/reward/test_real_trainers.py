"""The rewards as verl's and ms-swift's own code calls them, where they are installed; last run with verl 0.9.1 and
ms-swift 4.6.0.

`test_adapters.py` runs the same calls as they are rewritten in `callers.py`, without the packages.
"""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tests.needs import needs
from tests.reward.conftest import expected
from tests.reward.test_trl_trainer import tiny_language_model

LEVELS = (200, 30, 90)


@pytest.fixture
def clips(corner_file) -> list[str]:
    """Clips of `LEVELS`, in their order, and one that does not exist."""
    return [*(str(corner_file(level)) for level in LEVELS), "gone.mp4"]


def verl_batch(clips: list[str], column: str) -> Any:
    """verl's batch: three tokens of a prompt and four of a response a sample, of which one is padding."""
    verl = needs("verl", command="pip install verl")
    import torch

    tokens = torch.arange(7).repeat(len(clips), 1) + 2
    attention = torch.ones_like(tokens)
    attention[:, -1] = 0
    extra = np.array([{column: clip, "index": index} for index, clip in enumerate(clips)], dtype=object)
    truth = np.array([{"ground_truth": None}] * len(clips), dtype=object)
    return verl.DataProto.from_dict(
        tensors={"prompts": tokens[:, :3], "responses": tokens[:, 3:], "attention_mask": attention},
        non_tensors={"data_source": np.array(["t2v"] * len(clips)), "reward_model": truth, "extra_info": extra},
    )


def verl_config(corner: str) -> Any:
    """The part of verl's configuration that names a reward, as docs/reward.md gives it."""
    omegaconf = needs("omegaconf", command="pip install verl")
    function = {
        "path": "pkg://deeptrace.reward.adapters.verl",
        "name": "compute_score",
        "reward_kwargs": {"video_key": "clip", "detector": corner, "failed": 0.0},
    }
    manager = {"source": "register", "name": "naive"}
    return omegaconf.OmegaConf.create({"reward": {"custom_reward_function": function, "reward_manager": manager}})


def test_verl_loads_the_function_by_its_configuration_and_its_loop_scores_a_batch(corner, clips: list[str]) -> None:
    batch = verl_batch(clips, "clip")
    from verl.trainer.ppo.reward import load_reward_manager

    async def scored() -> list[dict[str, Any]]:
        manager = load_reward_manager(verl_config(corner), tiny_language_model()[1])
        return await asyncio.gather(*(manager.run_single(batch[i : i + 1]) for i in range(len(clips))))

    answers = asyncio.run(scored())
    assert [one["reward_score"] for one in answers] == [*(pytest.approx(expected(n), abs=0.02) for n in LEVELS), 0.0]
    assert [one["reward_extra_info"]["scored"] for one in answers] == [1.0, 1.0, 1.0, 0.0]


def test_verl_puts_the_reward_on_the_last_token_that_counts(corner, clips: list[str]) -> None:
    batch = verl_batch(clips, "clip")
    from verl.trainer.ppo.reward import get_custom_reward_fn
    from verl.workers.reward_manager.naive import NaiveRewardManager

    manager = NaiveRewardManager(tiny_language_model()[1], 0, get_custom_reward_fn(verl_config(corner)))
    answer = manager(batch, return_dict=True)
    wanted = [*(pytest.approx(expected(n), abs=0.02) for n in LEVELS), 0.0]
    assert answer["reward_tensor"][:, 2].tolist() == wanted
    assert answer["reward_tensor"].count_nonzero() == len(LEVELS)
    assert answer["reward_extra_info"]["scored"] == [1.0, 1.0, 1.0, 0.0]


def test_ms_swift_makes_the_registered_reward_and_scores_its_samples(
    corner, clips: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path))
    needs("swift", command="pip install ms-swift")
    import torch
    from swift.rewards import orms
    from swift.rl_core.data import GRPOSample
    from swift.rl_core.grpo_algorithm import compute_rewards_per_func

    from deeptrace.reward.adapters.ms_swift import DeeptraceORM

    class Known(DeeptraceORM):
        detector = corner

    monkeypatch.setitem(orms, "deeptrace", Known)
    made = orms["deeptrace"](args=SimpleNamespace())
    samples = [GRPOSample(messages=[{"role": "assistant", "content": "c"}], videos=[clip]) for clip in clips]
    rewards = compute_rewards_per_func(samples, [made], [None], torch.device("cpu"))
    assert rewards.shape == (4, 1)
    assert rewards[:3, 0].tolist() == [pytest.approx(expected(n), abs=0.02) for n in LEVELS]
    assert math.isnan(rewards[3, 0])
