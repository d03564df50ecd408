"""A model in training asked about samples, as `hf:` asks it: the benchmark's verdicts without writing a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch.distributed as dist

from deeptrace.data import resolve_path
from deeptrace.detectors.transformers.detector import LocalModel
from deeptrace.detectors.transformers.encode import Encoder
from deeptrace.detectors.transformers.options import Options
from deeptrace.evaluate.detect import VERDICT_ONLY, judge
from deeptrace.evaluate.detect_batches import BatchPool
from deeptrace.trace import Sample, Verdict
from deeptrace.train.mllm.attention import attention
from deeptrace.train.mllm.models import base_model
from deeptrace.train.mllm.settings import FormSettings, ViewSettings, detector_settings

__all__ = ["judge_samples"]


def judge_samples(
    model: Any,
    encoder: Encoder,
    view: ViewSettings,
    form: FormSettings,
    samples: Sequence[Sample],
    root: str,
    *,
    name: str,
    answer_tokens: int = 256,
    process: int = 0,
    processes: int = 1,
    alike: bool = False,
) -> list[Verdict]:
    """The model's verdict on each sample, on every process; the model is afterwards as it was.

    Clips are decoded ahead and asked about several at a time.

    Args:
        model: of `load_trainable`, in training or not.
        encoder: of it.
        view, form: what it is shown and asked.
        samples: whose files lie below `root`.
        root: folder or URL.
        name: of the model, for records.
        answer_tokens: longest answer.
        process, processes: each process asks about its share.
        alike: every process asks about every sample, one after the other: weights spread by FSDP come together only
            when all ask the same.
    """
    inner: Any = base_model(model)
    options = Options(**detector_settings(view, form), max_new_tokens=answer_tokens)
    own = [resolve_path(sample, root) for sample in (samples if alike else samples[process::processes])]
    training = inner.training
    inner.eval()
    try:
        with attention(inner, "sdpa"):
            detector = LocalModel(inner, encoder, options, name=name)
            if alike:
                found = [judge(detector, path, VERDICT_ONLY).verdict for path in own]
            else:
                with BatchPool(detector, {}) as pool:
                    said = {path: judged.verdict for path, judged in pool.run(dict.fromkeys(own))}
                found = [said[path] for path in own]
    finally:
        inner.train(training)
    if alike or processes == 1:
        return found
    shares: list[Any] = [None] * processes
    dist.all_gather_object(shares, found)
    return [shares[k % processes][k // processes] for k in range(len(samples))]
