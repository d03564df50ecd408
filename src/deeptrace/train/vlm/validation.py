"""The validation split of a training: its videos, what checkpoints said of them, and the calibration that follows.

A model in training is asked as `hf:` asks it: the benchmark's verdicts without writing a checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch.distributed as dist

from deeptrace.benchmark.calibrate import fit_calibration
from deeptrace.benchmark.ground_truth import read_ground_truth
from deeptrace.data import resolve_path
from deeptrace.detectors.vlm.calibration import Calibration
from deeptrace.detectors.vlm.hf.detector import LocalModel
from deeptrace.detectors.vlm.hf.processors import Processor
from deeptrace.detectors.vlm.hf.settings import Options
from deeptrace.inference.executor import open_executor
from deeptrace.inference.one_clip import analyse
from deeptrace.io.jsonl import iter_objects, write_lines
from deeptrace.schema import Sample, Verdict
from deeptrace.train.vlm.attention import attention
from deeptrace.train.vlm.models import base_model
from deeptrace.train.vlm.progress import Progress, silent
from deeptrace.train.vlm.settings import DataPart, FormSettings, ViewSettings, detector_settings

__all__ = ["ValidationVideos", "calibration_at", "keep_verdicts", "predict_samples"]

FOLDER = "validation"


@dataclass(frozen=True)
class ValidationVideos:
    """What checkpoints are measured on.

    Attributes:
        samples: the videos, whose files lie below `root`.
        root: folder or URL.
        name: of data and split, for records.
    """

    samples: tuple[Sample, ...]
    root: str
    name: str

    @classmethod
    def read(cls, part: DataPart, *, most: int | None, seed: int) -> ValidationVideos:
        """The videos of a split; at most `most` of them, drawn by `seed`, the same ones each time.

        Raises:
            DataError: the split cannot be read or has no video.
        """
        truth = read_ground_truth(part.path, split=part.split)
        samples = tuple(truth.samples)
        if most is not None and most < len(samples):
            drawn = np.random.default_rng(seed).permutation(len(samples))[:most]
            samples = tuple(samples[k] for k in sorted(drawn))
        return cls(samples, str(truth.root), f"{truth.name}, split {part.split}")


def keep_verdicts(out: Path, step: int, videos: ValidationVideos, verdicts: Sequence[Verdict]) -> None:
    """Keep what the checkpoint of a step said of the videos, (N,), in the run's folder."""
    pairs = zip(videos.samples, verdicts, strict=True)
    rows = ({"video_id": sample.video_id, **verdict.model_dump(mode="json")} for sample, verdict in pairs)
    write_lines(rows, _file(out, step))


def calibration_at(out: Path, step: int, videos: ValidationVideos, *, form: str) -> Calibration | None:
    """The calibration of the checkpoint of a step, from the answers that were kept.

    Args:
        out: the run's folder.
        step: of the checkpoint.
        videos: of the validation.
        form: name of the question (see `detector_settings`).

    Returns:
        None where the checkpoint was not asked, or where its answers tell too little (see `fit_calibration`).
    """
    if not _file(out, step).is_file():
        return None
    said = {row.pop("video_id"): Verdict.model_validate(row) for _, row in iter_objects(_file(out, step))}
    verdicts = [said.get(sample.video_id) for sample in videos.samples]
    try:
        return fit_calibration(videos.samples, verdicts, form=form, fitted_on=videos.name)
    except ValueError:
        return None


def _file(out: Path, step: int) -> Path:
    return out / FOLDER / f"step-{step}.jsonl"


def predict_samples(
    model: Any,
    processor: Processor,
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
    progress: Progress = silent,
) -> list[Verdict]:
    """The model's verdict on each sample, on every process; the model is afterwards as it was.

    Clips are decoded ahead and asked about several at a time.

    Args:
        model: of `load_trainable`, in training or not.
        processor: of the model.
        view, form: what it is shown and asked.
        samples: whose files lie below `root`.
        root: folder or URL.
        name: of the model, for records.
        answer_tokens: longest answer.
        process, processes: each process asks about its share.
        alike: every process asks about every sample, one after the other: weights spread by FSDP come together only
            when all ask the same.
        progress: told of each sample of this process ("measuring").
    """
    inner: Any = base_model(model)
    options = Options(**detector_settings(view, form), max_new_tokens=answer_tokens)
    own = [resolve_path(sample, root) for sample in (samples if alike else samples[process::processes])]
    training = inner.training
    inner.eval()
    try:
        with attention(inner, "sdpa"):
            detector = LocalModel(inner, processor, options, name=name)
            found = _asked(detector, own, progress, alike=alike)
    finally:
        inner.train(training)
    if alike or processes == 1:
        return found
    shares: list[Any] = [None] * processes
    dist.all_gather_object(shares, found)
    return [shares[k % processes][k // processes] for k in range(len(samples))]


def _asked(detector: LocalModel, paths: Sequence[str], progress: Progress, *, alike: bool) -> list[Verdict]:
    """The verdicts on clips, one after the other where processes have to ask `alike`, else several at a time."""
    progress("measuring", 0, len(paths))
    said: dict[str, Verdict] = {}
    if alike:
        for path in paths:
            said[path] = analyse(detector, path).verdict
            progress("measuring", len(said), len(paths))
    else:
        with open_executor(detector) as executor:
            for result in executor.run(dict.fromkeys(paths)):
                said[result.name] = result.verdict
                progress("measuring", len(said), len(paths))
    return [said[path] for path in paths]
