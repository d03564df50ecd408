"""`deeptrace train grpo`: from a checkpoint and a dataset to a checkpoint that grounds better.

Here stands what is around the training: the folder, the model, the clips, the checks on the validation videos (the
policy asked as `hf:` asks a model, measured by the benchmark's own metrics), the finished checkpoint and its card.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from deeptrace.benchmark.calibrate import keep_calibration
from deeptrace.detectors.vlm.hf.processors import Processor, load_processor
from deeptrace.errors import DataError
from deeptrace.io.journal import read_lines
from deeptrace.io.jsonl import write_lines
from deeptrace.io.run_store import ClaimedFolder
from deeptrace.metrics import evaluate_pairs
from deeptrace.plural import plural
from deeptrace.schema import Verdict
from deeptrace.train.grpo.config import GrpoConfig
from deeptrace.train.grpo.distributed import Processes
from deeptrace.train.grpo.policy import Policy, questions_of
from deeptrace.train.grpo.trainer import ANSWERS, LOG, STATE, Hooks, run_loop
from deeptrace.train.vlm.checks import question_faults
from deeptrace.train.vlm.examples import Example, read_examples
from deeptrace.train.vlm.frame_store import FrameStore
from deeptrace.train.vlm.model_card import data_facts, versions, write_card
from deeptrace.train.vlm.models import complete_folder, load_trainable, merge_adapters, save_trained
from deeptrace.train.vlm.progress import Progress, Trackers, silent
from deeptrace.train.vlm.settings import detector_settings
from deeptrace.train.vlm.validation import ValidationVideos, calibration_at, keep_verdicts, predict_samples

__all__ = ["train_grpo"]

ADAPTERS, BEST, MODEL, UNUSABLE = "adapters", "best", "model", "unusable.jsonl"

_FREE = frozenset({"steps", "save_every", "check_every", "validation_videos", "merge", "out", "log_to"})
"""What a run that goes on may change."""


@dataclass(frozen=True)
class _Run:
    """What the parts of a training share."""

    config: GrpoConfig
    processes: Processes
    policy: Policy
    store: FrameStore
    videos: list[Example]
    unusable: dict[str, str]
    validation: ValidationVideos | None

    @property
    def processor(self) -> Processor:
        """Of the model."""
        return self.store.processor


def train_grpo(config: GrpoConfig, progress: Progress = silent) -> Path:
    """Train a model with grounded rewards, or go on where `config.out` stands.

    Args:
        config: settings of the whole training.
        progress: called in the main process, see `Progress`; what is done is "loading the model", "decoding", "step"
            (with reward, loss and learning rate), within a step "sampling" and "learning", "measuring" and "writing
            the model".

    Returns:
        The folder of the finished checkpoint; `deeptrace detect --detector hf:FOLDER` uses it. Beside it lies `best`,
        the best one by the checks on `config.validation`.

    Raises:
        DataError, MissingExtraError, ModelError, SettingsError: as their parts; a folder that `ClaimedFolder` refuses.
    """
    for fault in question_faults(config.model, config.view, config.form):
        raise fault
    processes = Processes(cpu=not torch.cuda.is_available())
    first = processes.is_main
    with (
        _claimed(config) if first else nullcontext(),
        Trackers(config.log_to if first else (), config.out, config.model_dump(mode="json")) as trackers,
    ):
        return _train(config, processes, progress if first else silent, trackers)


def _train(config: GrpoConfig, processes: Processes, progress: Progress, trackers: Trackers) -> Path:
    processes.wait()
    run = _prepared(config, processes, progress)
    learned = [weight for weight in run.policy.model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=config.learning_rate, weight_decay=config.weight_decay)
    hooks = Hooks(progress, on_row=trackers.log, on_check=_checker(run, progress))
    questions = questions_of(run.videos, run.store, config.form.form)
    run_loop(run.policy, optimizer, questions, config, processes, hooks)
    if processes.is_main:
        progress("writing the model", 0, None)
        _export(run)
    processes.wait()
    return config.out / MODEL


def _claimed(config: GrpoConfig) -> ClaimedFolder:
    """The folder as this run's; the same command goes on with it."""
    stated = config.model_dump(mode="json")
    decides = {name: value for name, value in stated.items() if name not in _FREE}
    about = {name: stated[name] for name in sorted(_FREE)}
    files = (LOG, ANSWERS, STATE, MODEL, ADAPTERS, BEST)
    return ClaimedFolder(config.out, "train grpo", decides, resume=True, about=about, files=files)


def _prepared(config: GrpoConfig, processes: Processes, progress: Progress) -> _Run:
    """Load the model, decode the clips."""
    validation = None
    if config.validation is not None:
        validation = ValidationVideos.read(config.validation, most=config.validation_videos, seed=config.seed)
    progress("loading the model", 0, None)
    torch.manual_seed(config.seed)  # of new adapters
    model = load_trainable(config.model)
    reference = None
    if config.learn.kl and config.model.tuning == "full":  # adapters are taken off instead
        reference = load_trainable(config.model).requires_grad_(False).eval().to(processes.device)
    processor = load_processor(config.model.base, request=config.view, times=config.view.times)
    policy = Policy(
        model if config.model.tuning == "qlora" else model.to(processes.device),  # 4-bit weights are where they belong
        processor,
        temperature=config.learn.temperature,
        max_tokens=config.learn.max_tokens,
        reference=reference,
    )
    cache = config.view.cache or config.out / "frames"
    store = FrameStore(config.view.model_copy(update={"cache": cache}), processor)
    videos, unusable = _decodable(read_examples(config.data, per="video"), store, processes, progress)
    if processes.is_main:
        rows = [{"video": name, "error": error} for name, error in unusable.items()]
        write_lines(rows, config.out / UNUSABLE)
    return _Run(config, processes, policy, store, videos, unusable, validation)


def _decodable(
    videos: Sequence[Example], store: FrameStore, processes: Processes, progress: Progress
) -> tuple[list[Example], dict[str, str]]:
    """The videos that decode, and the others with the reason; every process decodes a part of them into the cache.

    Raises:
        DataError: none does.
    """
    mine = [video.path for video in videos[processes.rank :: processes.count]]
    found = store.fill(mine, on_done=lambda done: progress("decoding", done, len(mine)))
    broken = dict(processes.gather([(path, str(error)) for path, error in found.items()]))
    processes.wait()
    kept = [video for video in videos if video.path not in broken]
    if not kept:
        raise DataError(
            videos[0].path, f"none of {plural(len(videos), 'video')} decodes; this one: {broken[videos[0].path]}"
        )
    return kept, {video.sample.video_id: broken[video.path] for video in videos if video.path in broken}


def _checker(run: _Run, progress: Progress) -> Callable[[int], dict[str, Any]] | None:
    """What measures the policy on the validation videos, and keeps the best; None without any."""
    config, videos = run.config, run.validation
    if videos is None:
        return None

    def checked(step: int) -> dict[str, Any]:
        result, verdicts = check(run.policy, videos, config, run.processes, progress)
        if not run.processes.is_main:
            return result
        keep_verdicts(config.out, step, videos, verdicts)
        earlier = [row["check"] for row in read_lines(config.out / LOG) if "check" in row and row["step"] + 1 < step]
        if all(grounded_overall(result) > grounded_overall(one) for one in earlier):
            save_trained(run.policy.model, config.model.base, run.processor, _detector(config), config.out / BEST)
            _describe(run, config.out / BEST, step, result, {})
        return result

    return checked


def _export(run: _Run) -> None:
    """Write the finished checkpoint, adapters merged into the base's weights where that is wanted."""
    config, model = run.config, run.policy.model
    folder = config.out / MODEL
    if config.model.tuning == "full" or not config.merge:
        save_trained(model, config.model.base, run.processor, _detector(config), folder)
    else:
        save_trained(model, config.model.base, run.processor, _detector(config), config.out / ADAPTERS)
        merge_adapters(config.model, config.out / ADAPTERS, folder)
        complete_folder(folder, config.model.base, run.processor, _detector(config))
    rows = list(read_lines(config.out / LOG))
    curve = [{name: row.get(name) for name in ("step", "reward", "label_accuracy", "measured.box_iou")} for row in rows]
    checks = [{"step": row["step"] + 1, "check": row["check"]} for row in rows if "check" in row]
    measured = checks[-1]["check"] if checks else None
    for one in (folder, config.out / ADAPTERS):
        if one.is_dir():
            _describe(run, one, len(rows), measured, {"curve": curve, "checks": checks})


def _describe(run: _Run, folder: Path, step: int, measured: dict[str, Any] | None, more: dict[str, Any]) -> None:
    """Write a checkpoint's card, and the calibration that its answers to the validation videos give."""
    videos, form = run.validation, _detector(run.config)["form"]
    fitted = None if videos is None else calibration_at(run.config.out, step, videos, form=form)
    if fitted is not None:
        keep_calibration(fitted, folder)
    calibration = None if fitted is None else fitted.model_dump(mode="json")
    write_card(folder, _facts(run, measured, {"step": step, "calibration": calibration, **more}))


def _detector(config: GrpoConfig) -> dict[str, Any]:
    return detector_settings(config.view, config.form)


def _facts(run: _Run, validation: dict[str, Any] | None, more: dict[str, Any]) -> dict[str, Any]:
    """What a card says of a checkpoint."""
    return {
        "base": run.config.model.base,
        "method": f"GRPO with grounded rewards, {run.config.model.tuning}",
        "data": data_facts(run.videos),
        "unusable": run.unusable,
        "config": run.config.model_dump(mode="json"),
        "processes": run.processes.count,
        "versions": versions(),
        "validation": validation,
        **more,
    }


CHECKED = ("paper", "per_video", "grounded", "traces", "outcomes", "counts")
"""Blocks of the evaluation JSON that a check keeps."""


def check(
    policy: Policy, videos: ValidationVideos, config: GrpoConfig, processes: Processes, progress: Progress
) -> tuple[dict[str, Any], list[Verdict]]:
    """Measure the policy's likeliest answers; every process measures its part, and each gets the whole result.

    Args:
        policy: what is measured.
        videos: that it is asked about.
        config: what it is shown and asked.
        processes: who takes part.
        progress: told of each video.

    Returns:
        The measurements, and the verdicts that they are of, one a video.
    """
    verdicts = predict_samples(
        policy.model,
        policy.processor,
        config.view,
        config.form,
        videos.samples,
        videos.root,
        name=f"{config.model.base} in training",
        answer_tokens=config.learn.max_tokens,
        process=processes.rank,
        processes=processes.count,
        progress=progress,
    )
    result = evaluate_pairs(videos.samples, verdicts, resamples=0, text=False)
    return {block: result[block] for block in CHECKED}, verdicts


def grounded_overall(result: dict[str, Any]) -> float:
    """What checkpoints are ranked by; 0 where the videos cannot tell."""
    return float(result["grounded"]["overall"] or 0.0)
