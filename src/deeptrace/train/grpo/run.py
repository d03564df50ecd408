"""`deeptrace train grpo`: from a checkpoint and a dataset to a checkpoint that grounds better."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from deeptrace.data.jsonio import atomic_path, write_lines
from deeptrace.detectors.transformers.encode import Encoder, load_encoder
from deeptrace.detectors.transformers.source import kept_settings
from deeptrace.errors import DataError, SettingsError
from deeptrace.evaluate.calibrate import keep_calibration
from deeptrace.folder_lock import FolderLock
from deeptrace.train.grpo.check import check, grounded_overall
from deeptrace.train.grpo.config import GrpoConfig
from deeptrace.train.grpo.loop import LOG, Hooks, read_log, run_loop
from deeptrace.train.grpo.policy import Policy
from deeptrace.train.grpo.processes import Processes
from deeptrace.train.grpo.questions import questions_of
from deeptrace.train.mllm.card import data_facts, versions, write_card
from deeptrace.train.mllm.examples import Example, read_examples
from deeptrace.train.mllm.frames import FrameStore, pixel_budget
from deeptrace.train.mllm.models import complete_folder, load_trainable, merge_adapters, save_trained
from deeptrace.train.mllm.settings import detector_settings
from deeptrace.train.mllm.validation import ValidationVideos, calibration_at, keep_verdicts

__all__ = ["ADAPTERS", "BEST", "CONFIG", "MODEL", "UNUSABLE", "train_grpo"]

ADAPTERS, BEST, CONFIG, MODEL, UNUSABLE = "adapters", "best", "config.json", "model", "unusable.jsonl"

_FREE = frozenset({"steps", "save_every", "check_every", "validation_videos", "merge", "out"})
"""What a run that goes on may change."""

Progress = Callable[[str, int, int], object]


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
    def encoder(self) -> Encoder:
        """Of the model."""
        return self.store.encoder


def train_grpo(config: GrpoConfig, progress: Progress = lambda _what, _done, _total: None) -> Path:
    """Train a model with grounded rewards, or go on where `config.out` stands.

    Args:
        config: everything.
        progress: called with what is being done, how much is done and how much there is, in the main process.

    Returns:
        The folder of the finished checkpoint; `deeptrace detect --detector hf:FOLDER` uses it. Beside it lies `best`,
        the best one by the checks on `config.validation`.

    Raises:
        DataError, MissingExtraError, ModelError, SettingsError: as their parts; another run writes into the folder.
    """
    _check_question(config)
    processes = Processes(cpu=not torch.cuda.is_available())
    with FolderLock(config.out) if processes.is_main else nullcontext():
        return _train(config, processes, progress)


def _train(config: GrpoConfig, processes: Processes, progress: Progress) -> Path:
    if processes.is_main:
        _claim(config)
    processes.wait()
    run = _prepared(config, processes, progress)
    learned = [weight for weight in run.policy.model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=config.learning_rate, weight_decay=config.weight_decay)
    hooks = Hooks(on_step=lambda done, total: progress("trained", done, total), on_check=_checker(run))
    questions = questions_of(run.videos, run.store, config.form.form)
    run_loop(run.policy, optimizer, questions, config, processes, hooks)
    if processes.is_main:
        _export(run)
    processes.wait()
    return config.out / MODEL


def _check_question(config: GrpoConfig) -> None:
    """What is asked has to be what the base was taught: reinforcement sharpens answers, it teaches no other form.

    Raises:
        SettingsError: the settings kept beside the base are of another question.
    """
    taught, asked = kept_settings(config.model.base), _detector(config)
    other = [name for name in ("form", "without", "space") if taught.get(name, asked[name]) != asked[name]]
    if other:
        words = ", ".join(f"{name} {taught[name]} and not {asked[name]}" for name in other)
        raise SettingsError("form", f"{config.model.base} was taught {words}", "Ask what it was trained to answer.")


def _claim(config: GrpoConfig) -> None:
    """Make the folder this run's.

    Raises:
        SettingsError: another run has it.
    """
    stated = config.model_dump(mode="json")
    file = config.out / CONFIG
    if file.is_file():
        before = json.loads(file.read_text(encoding="utf-8"))
        other = [name for name in stated if name not in _FREE and before.get(name) != stated[name]]
        if other:
            mend = "Choose another folder, or remove this one."
            raise SettingsError(str(config.out), f"holds a run with other settings ({', '.join(other)})", mend)
    with atomic_path(file) as scratch:
        scratch.write_text(json.dumps(stated, indent=1) + "\n", encoding="utf-8")


def _prepared(config: GrpoConfig, processes: Processes, progress: Progress) -> _Run:
    """Load the model, decode the clips."""
    validation = None
    if config.validation is not None:
        validation = ValidationVideos.read(config.validation, most=config.validation_videos, seed=config.seed)
    torch.manual_seed(config.seed)  # of new adapters
    model = load_trainable(config.model)
    reference = None
    if config.learn.kl and config.model.tuning == "full":  # adapters are taken off instead
        reference = load_trainable(config.model).requires_grad_(False).eval().to(processes.device)
    encoder = load_encoder(config.model.base, budget=pixel_budget(config.view), times=config.view.times)
    policy = Policy(
        model if config.model.tuning == "qlora" else model.to(processes.device),  # 4-bit weights are where they belong
        encoder,
        temperature=config.learn.temperature,
        max_tokens=config.learn.max_tokens,
        reference=reference,
    )
    cache = config.view.cache or config.out / "frames"
    store = FrameStore(config.view.model_copy(update={"cache": cache}), encoder)
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
    found = store.fill(mine, on_done=lambda done: progress("decoded", done, len(mine)))
    broken = dict(processes.gather([(path, str(error)) for path, error in found.items()]))
    processes.wait()
    kept = [video for video in videos if video.path not in broken]
    if not kept:
        raise DataError(videos[0].path, f"none of {len(videos)} videos decodes; this one: {broken[videos[0].path]}")
    return kept, {video.sample.video_id: broken[video.path] for video in videos if video.path in broken}


def _checker(run: _Run) -> Callable[[int], dict[str, Any]] | None:
    """What measures the policy on the validation videos, and keeps the best; None without any."""
    config, videos = run.config, run.validation
    if videos is None:
        return None

    def checked(step: int) -> dict[str, Any]:
        result, verdicts = check(run.policy, videos, config, run.processes)
        if not run.processes.is_main:
            return result
        keep_verdicts(config.out, step, videos, verdicts)
        earlier = [row["check"] for row in read_log(config.out / LOG) if "check" in row and row["step"] + 1 < step]
        if all(grounded_overall(result) > grounded_overall(one) for one in earlier):
            save_trained(run.policy.model, config.model.base, run.encoder, _detector(config), config.out / BEST)
            _describe(run, config.out / BEST, step, result, {})
        return result

    return checked


def _export(run: _Run) -> None:
    """Write the finished checkpoint, adapters merged into the base's weights where that is wanted."""
    config, model = run.config, run.policy.model
    folder = config.out / MODEL
    if config.model.tuning == "full" or not config.merge:
        save_trained(model, config.model.base, run.encoder, _detector(config), folder)
    else:
        save_trained(model, config.model.base, run.encoder, _detector(config), config.out / ADAPTERS)
        merge_adapters(config.model, config.out / ADAPTERS, folder)
        complete_folder(folder, config.model.base, run.encoder, _detector(config))
    rows = read_log(config.out / LOG)
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
