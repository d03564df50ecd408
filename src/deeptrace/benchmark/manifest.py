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

import deeptrace
from deeptrace.benchmark.ground_truth import GroundTruth, data_digest
from deeptrace.benchmark.judge import rubric_digest
from deeptrace.benchmark.judge_client import JudgeModel
from deeptrace.benchmark.result import Manifest
from deeptrace.io.fingerprint import sha256_of
from deeptrace.schema import DetectorInfo, Verdict
from deeptrace.video.sampling import FrameRequest

__all__ = ["CIRCUMSTANCES", "build_manifest", "with_observed"]

FORMAT = 1
CIRCUMSTANCES = ("run", "made", "versions")
"""What a manifest says beside what decides the numbers."""

_PACKAGES = (
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
_PIXEL_SETTINGS = (*(name for name in FrameRequest.model_fields if name.endswith("pixels")), "max_pixels_per_frame")
_RATE_SETTINGS = ("max_fps", "fps", "frames", "max_frames", "sampled_frames")
_PROMPT_SETTINGS = ("prompt", "question", "form", "prompt_version")


def build_manifest(
    truth: GroundTruth,
    *,
    detector: DetectorInfo | None,
    predictions: str | None,
    space: str | None = None,
    judge: JudgeModel | None,
    resamples: int,
    seed: int,
) -> Manifest:
    """The manifest of a run before it begins. `run` is a hash of all that decides the numbers.

    Args:
        truth: ground truth that is measured against.
        detector: who predicts; None for a file.
        predictions: the file of predictions; None for a detector.
        space: coordinate space of its boxes, where the user names one.
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
        else {"name": Path(predictions).name, "sha256": sha256_of(predictions)} | ({"space": space} if space else {}),
        "sampling": _named(settings, _RATE_SETTINGS),
        "pixel_budget": _named(settings, _PIXEL_SETTINGS),
        "prompt": _named(settings, _PROMPT_SETTINGS),
        "judge": None if judge is None else _judge(judge),
        "seeds": {"bootstrap": seed, "baselines": seed},
        "bootstrap": {"resamples": resamples, "level": 0.95, "unit": "video"},
    }
    return Manifest.model_validate(
        {
            "run": hashlib.sha256(json.dumps(_nameless(decides), sort_keys=True).encode()).hexdigest()[:16],
            **decides,
            "made": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "versions": _versions(),
        }
    )


def with_observed(manifest: Manifest, verdicts: Sequence[Verdict | None]) -> Manifest:
    """The manifest with what the verdicts themselves say: who made them, and how many frames were looked at."""
    seen = [len(v.media.sampled_times_s) for v in verdicts if v is not None and v.media and v.media.sampled_times_s]
    infos = {
        json.dumps(v.detector.model_dump(mode="json"), sort_keys=True)
        for v in verdicts
        if v is not None and v.detector is not None
    }
    frames = None if not seen else {"least": min(seen), "median": float(np.median(seen)), "most": max(seen)}
    # A file may carry another setting in every row; a handful tells who it was.
    predicted_by = [json.loads(info) for info in sorted(infos)[:5]]
    return manifest.model_copy(update={"frames_seen": frames, "predicted_by": predicted_by})


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
    found = {"python": platform.python_version(), "system": platform.system(), "deeptrace": deeptrace.__version__}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
