"""What can be wrong with a training of a language model, found before anything heavy is loaded: all of it at once.

Each check takes the fields that are valid (`config_file.Parts`), so that a typing error in one does not hide that the
folder named in another is missing.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from deeptrace.benchmark.ground_truth import read_ground_truth
from deeptrace.data import annotations_path, read_reward_data, resolve_path
from deeptrace.errors import DataError, DeeptraceError, MissingExtraError, ModelError, SettingsError
from deeptrace.plural import plural
from deeptrace.schema import Label, Sample
from deeptrace.train.config_file import Parts
from deeptrace.train.vlm.settings import DataPart, FormSettings, ModelSettings, ViewSettings, detector_settings

__all__ = ["question_faults", "training_faults"]

_ROWS_SHOWN = 5
_WEIGHTS = (".safetensors", ".bin")


def training_faults(parts: Parts, *, offline: bool = False, taught: bool = False) -> list[DeeptraceError]:
    """What stands in the way of a training with these fields.

    Args:
        parts: valid fields of the config.
        offline: ask no hub whether it has the base.
        taught: the base has to be one that was trained to answer the question of the config (reinforcement).
    """
    return [
        *_faults_of_data(parts),
        *_faults_of_model(parts, offline=offline),
        *_faults_of_form(parts, taught=taught),
        *_faults_of_out(parts),
        *(MissingExtraError(f"log_to {name}", name) for name in parts.get("log_to") or () if not _installed(name)),
    ]


# -- data --------------------------------------------------------------------------------------------------------------


def _faults_of_data(parts: Parts) -> Iterator[DeeptraceError]:
    mixture: list[DataPart] = parts.get("data") or []
    validation: DataPart | None = parts.get("validation")
    read = {}
    for part in dict.fromkeys([*mixture, *([validation] if validation is not None else [])]):
        samples, faults = _samples(part)
        read[part] = samples
        yield from faults
    chosen = [sample for part in mixture for sample in read[part]]
    if parts.get("balance") and chosen and len({sample.label for sample in chosen}) < len(Label):
        yield DataError("balance", "the examples are all of one label", "Add the other, or set balance to false.")


def _samples(part: DataPart) -> tuple[Sequence[Sample], list[DeeptraceError]]:
    """The samples of a split, and what keeps them from being trained on."""
    problems: list[DataError] = []
    try:
        read_reward_data(part.path, on_problem=problems.append)
        if problems:
            return (), _first(problems, annotations_path(part.path), "rows are invalid")
        truth = read_ground_truth(part.path, split=part.split)
    except DataError as error:
        return (), [error]
    unlabelled = [f"video {sample.video_id}" for sample in truth.samples if sample.label is None]
    faults = _first([DataError(name, "has no label to train on") for name in unlabelled], part.path, "have no label")
    missing = []
    for sample in truth.samples:
        try:
            path = resolve_path(sample, truth.root)
        except DataError as error:
            faults.append(error)
            continue
        if "://" not in path and not os.path.isfile(path):
            missing.append(path)
    if missing and len(missing) == len(truth.samples):
        problem = f"not one of the {plural(len(missing), 'clip')} of split {part.split!r} is there, as {missing[0]}"
        faults.append(DataError(part.path, problem, "Clips lie beside the annotations, or where their rows say."))
    return truth.samples, faults


def _first(problems: Sequence[DataError], name: str, rest: str) -> list[DeeptraceError]:
    """The first few of many like faults, and how many there are more."""
    more = len(problems) - _ROWS_SHOWN
    return [*problems[:_ROWS_SHOWN], *([DataError(name, f"{more} more {rest}")] if more > 0 else [])]


# -- model -------------------------------------------------------------------------------------------------------------


def _faults_of_model(parts: Parts, *, offline: bool) -> Iterator[DeeptraceError]:
    model: ModelSettings | None = parts.get("model")
    if model is None:
        return
    if model.tuning != "full" and not _installed("peft"):
        yield MissingExtraError(f"tuning {model.tuning}", "mllm")
    if model.tuning == "qlora" and not _installed("bitsandbytes"):
        yield MissingExtraError("tuning qlora", "qlora")
    if fault := _fault_of_base(model.base, offline=offline):
        yield fault


def _fault_of_base(base: str, *, offline: bool) -> DeeptraceError | None:
    folder = Path(base)
    if folder.is_dir():
        names = [path.name for path in folder.iterdir()]
        if "config.json" not in names:
            merged = "adapter_config.json" in names
            problem = "holds an adapter, no whole model" if merged else "no model there: it has no config.json"
            return ModelError(base, problem, "Name the folder of the merged model." if merged else "")
        if not any(name.endswith(_WEIGHTS) for name in names):
            return ModelError(base, "has no weights: no file of it ends in .safetensors or .bin")
        return None
    if folder.is_absolute() or base.startswith(".") or base.count("/") > 1:
        return ModelError(base, "no such folder, and not a name on the hub (OWNER/MODEL)")
    if offline:
        return None
    from deeptrace.detectors.vlm.hf.hub import hub_answers  # huggingface_hub comes with an extra

    try:
        hub_answers(base)
    except ModelError as error:
        return error
    return None


def _installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


# -- question and folder -----------------------------------------------------------------------------------------------


def _faults_of_form(parts: Parts, *, taught: bool) -> Iterator[DeeptraceError]:
    form: FormSettings | None = parts.get("form")
    if form is None:
        return
    try:
        _ = form.form
    except SettingsError as error:
        yield SettingsError("form.space", error.problem, error.mend)
        return
    model, view = parts.get("model"), parts.get("view")
    if taught and model is not None and view is not None:
        yield from question_faults(model, view, form)


def question_faults(model: ModelSettings, view: ViewSettings, form: FormSettings) -> Iterator[DeeptraceError]:
    """What is asked has to be what the base was taught: reinforcement sharpens answers, it teaches no other form.

    Yields:
        SettingsError: the settings kept beside the base are of another question.
        ModelError: they cannot be read.
    """
    if not Path(model.base).is_dir():
        return
    from deeptrace.detectors.vlm.hf.hub import kept_settings

    try:
        kept = kept_settings(model.base)
    except ModelError as error:
        yield error
        return
    asked: dict[str, Any] = detector_settings(view, form)
    other = [name for name in ("form", "without", "space") if kept.get(name, asked[name]) != asked[name]]
    if other:
        words = ", ".join(f"{name} {kept[name]} and not {asked[name]}" for name in other)
        yield SettingsError("form", f"{model.base} was taught {words}", "Ask what it was trained to answer.")


def _faults_of_out(parts: Parts) -> Iterator[DeeptraceError]:
    out: Path | None = parts.get("out")
    if out is None:
        return
    above = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    if not above.is_dir():
        yield SettingsError(str(out), f"cannot be a folder: {above} is a file", "Name another with --out.")
    elif not os.access(above, os.W_OK):
        yield SettingsError(str(out), f"cannot be written: {above} is read-only", "Name another with --out.")
