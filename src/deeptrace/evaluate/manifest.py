"""What a run was: everything that decides its numbers, with one hash over it, and the circumstances beside it."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from deeptrace.evaluate.judge_server import JudgeModel
from deeptrace.evaluate.judging import rubric_digest
from deeptrace.evaluate.truth import Truth, data_digest
from deeptrace.trace import DetectorInfo, Verdict

__all__ = ["build_manifest", "differences", "file_digest", "with_observed"]

FORMAT = 1
_PACKAGES = (
    "deeptrace",
    "av",
    "numpy",
    "scipy",
    "opencv-python-headless",
    "onnxruntime",
    "scikit-learn",
    "torch",
    "transformers",
)
# Detectors name these settings themselves; the manifest repeats them where readers of papers look for them.
_RATE_SETTINGS = ("max_fps", "fps", "frames", "max_frames", "num_frames", "sampled_frames")
_PIXEL_SETTINGS = ("max_pixels", "max_pixels_per_frame", "pixel_budget", "size", "side", "longest_edge")
_PROMPT_SETTINGS = ("prompt", "question", "form", "prompt_version")


def build_manifest(
    truth: Truth,
    *,
    detector: DetectorInfo | None,
    predictions: str | None,
    judge: JudgeModel | None,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """The manifest of a run before it begins. `run` is a hash of all that decides the numbers.

    Args:
        truth: what is measured against.
        detector: who predicts; None for a file.
        predictions: the file of predictions; None for a detector.
        judge: of explanations.
        resamples, seed: of the bootstrap.
    """
    settings = {} if detector is None else detector.settings
    decides: dict[str, Any] = {
        "format": FORMAT,
        "data": {
            "name": truth.name,
            "split": truth.split,
            "sha256": data_digest(truth.samples),
            "videos": len(truth.samples),
            "rows": sum(max(len(sample.traces), 1) for sample in truth.samples),
        },
        "detector": None if detector is None else detector.model_dump(mode="json"),
        "predictions": None
        if predictions is None
        else {"name": Path(predictions).name, "sha256": file_digest(predictions)},
        "sampling": _named(settings, _RATE_SETTINGS),
        "pixel_budget": _named(settings, _PIXEL_SETTINGS),
        "prompt": _named(settings, _PROMPT_SETTINGS),
        "judge": None if judge is None else _judge(judge),
        "seeds": {"bootstrap": seed, "baselines": seed},
        "bootstrap": {"resamples": resamples, "level": 0.95, "unit": "video"},
    }
    return {
        "run": hashlib.sha256(json.dumps(_nameless(decides), sort_keys=True).encode()).hexdigest()[:16],
        **decides,
        "made": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "versions": _versions(),
    }


def with_observed(manifest: dict[str, Any], verdicts: Sequence[Verdict | None]) -> dict[str, Any]:
    """The manifest with what the verdicts themselves say: who made them, and how many frames were looked at."""
    seen = [len(v.media.sampled_times_s) for v in verdicts if v is not None and v.media and v.media.sampled_times_s]
    infos = {
        json.dumps(v.detector.model_dump(mode="json"), sort_keys=True)
        for v in verdicts
        if v is not None and v.detector is not None
    }
    frames = None if not seen else {"least": min(seen), "median": float(np.median(seen)), "most": max(seen)}
    # A file may carry another setting in every row; a handful tells who it was.
    return manifest | {"frames_seen": frames, "predicted_by": [json.loads(info) for info in sorted(infos)[:5]]}


def differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """Names of what decides the numbers and differs between two manifests."""
    passed_over = {"run", "made", "versions", "frames_seen", "predicted_by"}
    ours, theirs = _nameless(a), _nameless(b)
    return sorted(name for name in {*a, *b} - passed_over if ours.get(name) != theirs.get(name))


def file_digest(path: str) -> str:
    """SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _nameless(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest without what its data is called: a folder that was renamed holds the same data."""
    return {**manifest, "data": {key: value for key, value in manifest["data"].items() if key != "name"}}


def _named(settings: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any] | None:
    return {name: settings[name] for name in names if name in settings} or None


def _judge(judge: JudgeModel) -> dict[str, Any]:
    return {
        "name": judge.name,
        "rubric_sha256": rubric_digest(),
        "temperature": 0,
        "seed": 0,
        "max_tokens": judge.max_tokens,
    }


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "system": platform.system()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
