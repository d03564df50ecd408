"""What the trainers do with a reward, line for line where it matters: written anew after their sources.

Each function or class names its source. Nothing here needs the trainer installed.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import queue
import sys
import threading
import types
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import numpy as np
import pytest


def dance_grpo_step(inferencer: Any, path: str, caption: str) -> tuple[float, float]:
    """XueZeyue/DanceGRPO fastvideo/train_grpo_hunyuan.py, sample_reference_model: -1.0 after an exception."""
    try:
        absolute_path = os.path.abspath(path)
        reward = inferencer.reward([absolute_path], [caption], use_norm=True)
        return float(reward[0]["VQ"]), float(reward[0]["MQ"])
    except Exception:  # noqa: BLE001 - the caller's own
        return -1.0, -1.0


def flow_grpo_multi_score(device: Any, score_functions: dict[str, Any], score_dict: dict[str, float]) -> Any:
    """yifan123/flow_grpo flow_grpo/rewards.py, multi_score: factories made by their code object's variable names."""
    made = {}
    for name in score_dict:
        factory = score_functions[name]
        made[name] = factory(device) if "device" in factory.__code__.co_varnames else factory()

    def call(images: Any, prompts: Any, metadata: Any, only_constrained: bool = True) -> tuple[dict[str, Any], dict]:
        totals: list[float] = []
        details: dict[str, Any] = {}
        for name, weight in score_dict.items():
            scores, _ = made[name](images, prompts, metadata)
            details[name] = scores
            weighted = [weight * score for score in scores]
            totals = [a + b for a, b in zip(totals, weighted, strict=True)] if totals else weighted
        details["avg"] = totals
        return details, {}

    return call


def flow_grpo_epoch(reward_fn: Any, batches: list[tuple[Any, list[str], list[dict]]]) -> list[dict[str, Any]]:
    """yifan123/flow_grpo scripts/train_wan2_1.py: all batches go to eight threads, answers are awaited in order."""
    with ThreadPoolExecutor(max_workers=8) as executor:
        pending = [executor.submit(reward_fn, *batch, only_constrained=True) for batch in batches]
        return [future.result()[0] for future in pending]


def flow_grpo_cards(prompts: int, k: int, cards: int, batch_size: int, seed: int) -> list[list[int]]:
    """yifan123/flow_grpo scripts/train_wan2_1.py at 32b48fd, DistributedKRepeatSampler: which prompt each card's
    samples have; every prompt k times, dealt out at random."""
    import torch

    generator = torch.Generator()
    generator.manual_seed(seed)
    chosen = torch.randperm(prompts, generator=generator)[: cards * batch_size // k].tolist()
    repeated = [prompt for prompt in chosen for _ in range(k)]
    shuffled = [repeated[i] for i in torch.randperm(len(repeated), generator=generator).tolist()]
    return [shuffled[card * batch_size : (card + 1) * batch_size] for card in range(cards)]


def flow_grpo_advantages(prompts: list[str], rewards: np.ndarray) -> np.ndarray:
    """yifan123/flow_grpo flow_grpo/stat_tracking.py at 94e23ee, PerPromptStatTracker.update(type="grpo").

    `rewards` (N, T): train_wan2_1.py has a column for each step of the sampler.
    """
    names, advantages = np.array(prompts), np.zeros_like(rewards, np.float64)
    for name in np.unique(names):
        mine = rewards[names == name].astype(np.float64)
        advantages[names == name] = (mine - mine.mean(axis=0, keepdims=True)) / (mine.std(axis=0, keepdims=True) + 1e-4)
    return advantages


def trl_rewards(reward_func: Any, prompts: list, completions: list, inputs: list[dict]) -> Any:
    """huggingface/trl trl/trainer/grpo_trainer.py at f2cd577, _calculate_rewards: columns as keywords, None becomes
    NaN. Once in each process, with that process's part of the batch; rewards are gathered afterwards.
    """
    import torch

    keys = [key for key in inputs[0] if key not in ["prompt", "completion", "completion_ids"]]
    columns: dict[str, Any] = {key: [example[key] for example in inputs] for key in keys}
    columns |= {"trainer_state": object(), "log_extra": print, "log_metric": print}
    output = reward_func(prompts=prompts, completions=completions, completion_ids=[[1]] * len(prompts), **columns)
    output = [reward if reward is not None else torch.nan for reward in output]
    return torch.tensor(output, dtype=torch.float32)


def verl_custom_reward(raw_fn: Any, reward_kwargs: dict[str, Any]) -> Any:
    """volcengine/verl verl/trainer/ppo/reward.py, get_custom_reward_fn: the config's kwargs win over the call's."""

    def merged(raw: Any, extra: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        return raw(*args, **{**kwargs, **extra})

    return partial(merged, raw_fn, reward_kwargs)


async def verl_run_single(compute_score: Any, sample: dict[str, Any], **extra: Any) -> dict[str, Any]:
    """volcengine/verl verl/experimental/reward_loop/reward_manager/naive.py, run_single: in a thread of the loop."""
    assert not inspect.iscoroutinefunction(compute_score)
    info = sample.get("extra_info", {})
    info["num_turns"], info["rollout_reward_scores"] = None, {}
    result = await asyncio.get_running_loop().run_in_executor(
        None,
        lambda: compute_score(
            data_source=sample["data_source"],
            solution_str=sample["response"],
            ground_truth=sample["reward_model"]["ground_truth"],
            extra_info=info,
            **extra,
        ),
    )
    score = result["score"] if isinstance(result, dict) else result
    return {"reward_score": score, "reward_extra_info": dict(result) if isinstance(result, dict) else {"acc": result}}


async def verl_omni_run_single(compute_score: Any, sample: dict[str, Any], **extra: Any) -> dict[str, Any]:
    """verl-project/verl-omni verl_omni/reward_loop/reward_manager/visual.py at 1486d9c,
    VisualRewardManager.run_single."""
    import torch

    visual = sample["responses"]
    if not isinstance(visual, torch.Tensor) or visual.dtype != torch.uint8:
        raise ValueError(f"Expected uint8 pixel responses, got {getattr(visual, 'dtype', type(visual))}.")
    info = dict(sample["extra_info"], num_turns=None, rollout_reward_scores={})
    result = await asyncio.get_running_loop().run_in_executor(
        None,
        lambda: compute_score(
            data_source=sample["data_source"],
            solution_image=visual,
            ground_truth=sample["reward_model"]["ground_truth"],
            extra_info=info,
            **extra,
        ),
    )
    kept = {key: value for key, value in result.items() if key != "score"}
    return {"reward_score": result["score"], "reward_extra_info": kept}


def swift_rewards(orms: dict[str, Any], name: str, completions: list[str], rows: list[dict[str, Any]]) -> Any:
    """modelscope/ms-swift: grpo_trainer.py makes orms[name](args=args), rl_core/grpo_algorithm.py calls it."""
    import torch

    reward_func = orms[name](args=object())
    columns: dict[str, Any] = {"trainer_state": None} | {key: [row[key] for row in rows] for key in rows[0]}
    output = reward_func(completions, **columns)
    output = [reward if reward is not None else torch.nan for reward in output]
    return torch.tensor(output, dtype=torch.float32)


@dataclass(frozen=True)
class ScoreItem:
    """Tencent-Hunyuan/UniRL unirl-reward-service/reward_service/scorers/base.py."""

    history: list[tuple[str, Any]]
    videos: tuple[bytes | str | None, ...] | None = None
    metadata: dict | None = None


def install(monkeypatch: pytest.MonkeyPatch, name: str, **contents: Any) -> types.ModuleType:
    """A module `name`, its parents with it, for the length of a test."""
    parts = name.split(".")
    for depth in range(1, len(parts) + 1):
        full = ".".join(parts[:depth])
        if full not in sys.modules:
            module = types.ModuleType(full)
            module.__path__ = []  # type: ignore[attr-defined]
            monkeypatch.setitem(sys.modules, full, module)
    found = sys.modules[name]
    for key, value in contents.items():
        monkeypatch.setattr(found, key, value, raising=False)
    return found


class CosmosRegistry:
    """nvidia-cosmos/cosmos-rl reward_service/cosmos_rl_reward/handler/registry.py."""

    known: ClassVar[dict[str, type]] = {}

    @classmethod
    def register(cls, *, allow_override: bool = False) -> Any:
        def decorator(handler: type) -> type:
            cls.known[handler.reward_name] = handler  # type: ignore[attr-defined]
            return handler

        return decorator


class CosmosHandler:
    """nvidia-cosmos/cosmos-rl reward_service/cosmos_rl_reward/handler/reward_base.py."""

    reward_name = "base"

    def __init__(self, **kwargs: Any) -> None:
        self.score_queue: queue.Queue[Any] = queue.Queue()
        self.loop = threading.Event()

    @classmethod
    def get_instance(cls, **kwargs: Any) -> Any:
        if not hasattr(cls, "_instance"):
            cls._instance = cls(**kwargs)
        return cls._instance

    @classmethod
    def initialize(cls, **kwargs: Any) -> None:
        cls.get_instance(**kwargs).set_up()


@dataclass
class FlowFactoryOutput:
    """X-GenGroup/Flow-Factory src/flow_factory/rewards/abc.py, RewardModelOutput."""

    rewards: Any
    extra_info: dict[str, Any] | None = None


class FlowFactoryPointwise:
    """X-GenGroup/Flow-Factory src/flow_factory/rewards/abc.py, PointwiseRewardModel with BaseRewardModel."""

    required_fields: tuple[str, ...] = ("image", "prompt")
    use_tensor_inputs = False

    def __init__(self, config: Any, accelerator: Any) -> None:
        self.accelerator, self.config = accelerator, config
        self.device, self.dtype, self.model = accelerator.device, config.dtype, None


class FlowFactoryGroupwise(FlowFactoryPointwise):
    """X-GenGroup/Flow-Factory src/flow_factory/rewards/abc.py at a0b2bc5, GroupwiseRewardModel with BaseRewardModel."""


@dataclass
class FlowFactoryArguments:
    """X-GenGroup/Flow-Factory src/flow_factory/hparams/reward_args.py; unknown keys are in extra_kwargs."""

    extra_kwargs: dict[str, Any] = field(default_factory=dict)
    dtype: str = "bfloat16"
    batch_size: int = 16


def flow_factory_batch(model: Any, samples: list[dict[str, Any]]) -> Any:
    """X-GenGroup/Flow-Factory src/flow_factory/rewards/reward_processor.py at a0b2bc5, _compute_pointwise_batch.

    `_compute_groupwise_group` does the same with the samples of one group.
    """
    import torch

    accepted = inspect.signature(model.__call__).parameters
    open_ended = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in accepted.values())
    names = [name for name in samples[0] if open_ended or name in accepted]
    batch = {n: [s[n] for s in samples] for n in names if all(s[n] is not None for s in samples)}
    output = model(**batch)
    return torch.as_tensor(output.rewards if hasattr(output, "rewards") else output, device="cpu", dtype=torch.float32)


def flow_factory_groups(model: Any, samples: list[dict[str, Any]]) -> Any:
    """X-GenGroup/Flow-Factory src/flow_factory/rewards/reward_processor.py at a0b2bc5, _compute_groupwise_local: one
    call a `unique_id` with all its samples, answers put back in the samples' order."""
    import torch

    rewards = torch.zeros(len(samples), dtype=torch.float32)
    for unique_id in dict.fromkeys(sample["unique_id"] for sample in samples):
        mask = torch.tensor([sample["unique_id"] == unique_id for sample in samples])
        rewards[mask] = flow_factory_batch(model, [sample for sample in samples if sample["unique_id"] == unique_id])
    return rewards
