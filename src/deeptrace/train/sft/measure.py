"""The model in training, asked about the validation split as `hf:` asks it, and measured by the benchmark's metrics."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deeptrace.data.jsonio import iter_objects
from deeptrace.detectors.transformers.encode import Encoder
from deeptrace.metrics import evaluate_pairs
from deeptrace.trace import Verdict
from deeptrace.train.mllm.judging import judge_samples
from deeptrace.train.mllm.validation import ValidationVideos, keep_verdicts
from deeptrace.train.sft.config import SftConfig

__all__ = ["Validation", "measurement_of", "selection"]

MEASURED = "measurements.jsonl"
_BLOCKS = ("grounded", "per_video", "paper", "traces", "outcomes", "counts")


def selection(result: dict[str, Any], config: SftConfig) -> float:
    """By what the best checkpoint is chosen, higher is better: the grounded overall, ties by balanced accuracy.

    A form without boxes or times grounds nothing: then the balanced accuracy alone.
    """
    rates = [result["per_video"][name] for name in ("fake_accuracy", "real_accuracy")]
    known = [rate for rate in rates if rate is not None]
    balanced = sum(known) / len(known) if known else 0.0
    overall = result["grounded"]["overall"] if config.form.box and config.form.time else None
    return balanced if overall is None else float(overall) + balanced * 1e-6


@dataclass
class Validation:
    """Measures checkpoints on the validation split.

    Args:
        config: of the training; it has a validation.
        encoder: of the model.
        process, processes: which of how many this one is.

    Raises:
        DataError: the split cannot be read or has no video.
    """

    config: SftConfig
    encoder: Encoder
    process: int = 0
    processes: int = 1

    def __post_init__(self) -> None:
        config = self.config
        if config.validation is None:
            raise AssertionError("a training without validation is not measured")
        self.videos = ValidationVideos.read(config.validation, most=config.validation_videos, seed=config.seed)

    def __call__(self, model: Any, step: int) -> dict[str, float]:
        """Measure, keep verdicts and numbers in the run's folder, and return `selection` and a few of them."""
        verdicts = self._verdicts(model)
        result = evaluate_pairs(self.videos.samples, verdicts, text=False)
        chosen = selection(result, self.config)
        if self.process == 0:
            keep_verdicts(self.config.out, step, self.videos, verdicts)
            kept = {"step": step, "selection": chosen, **{name: result[name] for name in _BLOCKS}}
            with open(self.config.out / MEASURED, "a", encoding="utf-8") as file:
                file.write(json.dumps(kept) + "\n")
        return {"selection": chosen}

    def _verdicts(self, model: Any) -> list[Verdict]:
        config = self.config
        return judge_samples(
            model,
            self.encoder,
            config.view,
            config.form,
            self.videos.samples,
            self.videos.root,
            name=f"{config.model.base} in training",
            answer_tokens=config.answer_tokens,
            process=self.process,
            processes=self.processes,
            alike=config.sharding == "fsdp" and self.processes > 1,
        )


def measurement_of(out: Path, step: int) -> dict[str, Any] | None:
    """The kept numbers of a checkpoint, the last ones where it was measured twice."""
    if not (out / MEASURED).is_file():
        return None
    return next((fields for _, fields in reversed(list(iter_objects(out / MEASURED))) if fields["step"] == step), None)
