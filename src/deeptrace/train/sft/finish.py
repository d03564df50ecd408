"""After the last step: the best checkpoint as a model, its probabilities calibrated, its card written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from deeptrace.detectors.transformers.encode import Encoder
from deeptrace.evaluate.calibrate import keep_calibration
from deeptrace.train.mllm.card import data_facts, versions, write_card
from deeptrace.train.mllm.examples import Example
from deeptrace.train.mllm.models import complete_folder, merge_adapters
from deeptrace.train.mllm.settings import detector_settings
from deeptrace.train.mllm.validation import calibration_at
from deeptrace.train.sft.config import SftConfig
from deeptrace.train.sft.measure import Validation, measurement_of

__all__ = ["finish"]

_NOT_THE_MODEL = ("optimizer*", "scheduler*", "rng_state*", "trainer_state.json", "training_args.bin", "scaler*")


def finish(
    config: SftConfig,
    chosen: Path,
    encoder: Encoder,
    validation: Validation | None,
    examples: Sequence[Example],
    unusable: dict[str, str],
) -> None:
    """Write `OUT/model` (and `OUT/adapter`, where adapters were trained), each a folder for `hf:FOLDER`.

    Args:
        config: of the training.
        chosen: the checkpoint.
        encoder: of the base.
        validation: what it was measured on.
        examples: what it was trained on.
        unusable: clips that were left out.
    """
    folders = [config.out / "model"]
    base, detector = config.model.base, detector_settings(config.view, config.form)
    if config.model.tuning == "full":
        _copy(chosen, folders[0])
    else:
        folders.insert(0, config.out / "adapter")
        _copy(chosen, folders[0])
        if config.merge:
            merge_adapters(config.model, chosen, folders[1])
            complete_folder(folders[1], base, encoder, detector)
        else:
            folders.pop()
    step = int(chosen.name.rpartition("-")[2])
    calibration = None
    if validation is not None and config.evaluate:
        calibration = calibration_at(config.out, step, validation.videos, form=detector["form"])
    facts = {
        "name": config.out.name,
        "base": base,
        "method": f"supervised fine-tuning, {config.model.tuning}",
        "step": step,
        "data": data_facts(examples),
        "unusable": unusable,
        "validation": measurement_of(config.out, step),
        "calibration": None if calibration is None else calibration.model_dump(mode="json"),
        "config": json.loads(config.model_dump_json()),
        "versions": versions(),
    }
    for folder in folders:
        write_card(folder, facts)
        if calibration is not None:
            keep_calibration(calibration, folder)


def _copy(checkpoint: Path, folder: Path) -> None:
    if folder.is_dir():
        shutil.rmtree(folder)
    shutil.copytree(checkpoint, folder, ignore=shutil.ignore_patterns(*_NOT_THE_MODEL))
