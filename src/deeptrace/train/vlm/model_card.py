"""The model card of a trained language model, for people and for programs."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import deeptrace
from deeptrace.benchmark.ground_truth import data_digest
from deeptrace.io.atomic import atomic_path
from deeptrace.plural import plural
from deeptrace.train.vlm.examples import Example

__all__ = ["FACTS", "data_facts", "versions", "write_card"]

FACTS = "deeptrace_training.json"
_PACKAGES = ("torch", "transformers", "peft", "accelerate", "av", "numpy")
_SHOWN = (
    ("grounded", "overall", "grounded overall"),
    ("per_video", "accuracy", "accuracy by video"),
    ("per_video", "auroc", "AUROC"),
    ("paper", "accuracy", "accuracy by row (paper)"),
    ("paper", "bbox_iou", "box IoU (paper)"),
    ("paper", "time_distance", "time distance (paper)"),
)


def versions() -> dict[str, str]:
    """Of Python and of the packages that decide the result."""
    found = {"python": platform.python_version(), "deeptrace": deeptrace.__version__}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def data_facts(examples: Sequence[Example]) -> dict[str, Any]:
    """What was trained on: counts, sources, and a hash of the ground truth."""
    samples = {(example.part, example.sample.video_id): example.sample for example in examples}
    return {
        "videos": len(samples),
        "examples": len(examples),
        "labels": dict(sorted(Counter(str(sample.label) for sample in samples.values()).items())),
        "sources": dict(sorted(Counter(sample.source or "unknown" for sample in samples.values()).items())),
        "sha256": data_digest(samples.values()),
    }


def write_card(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write `README.md` and `deeptrace_training.json` into a checkpoint's folder.

    Args:
        folder: of the checkpoint.
        facts: plain values; `base`, `method`, `data`, `config`, `validation`, `versions` are shown in the card.
    """
    for name, text in (
        (FACTS, json.dumps(dict(facts), indent=1, ensure_ascii=False) + "\n"),
        ("README.md", _text(facts)),
    ):
        with atomic_path(folder / name) as scratch:
            scratch.write_text(text, encoding="utf-8")


def _text(facts: Mapping[str, Any]) -> str:
    data = facts.get("data") or {}
    lines = [
        "---",
        "library_name: transformers",
        "pipeline_tag: video-text-to-text",
        "tags: [deeptrace, video, ai-generated-video-detection, reward-model]",
        "---",
        f"# {facts.get('name', 'A reward model')}",
        "",
        f"Trained by `deeptrace` from `{facts.get('base')}` ({facts.get('method')}) to tell whether a video is",
        "AI-generated, and where, when and why it looks so. A score is evidence, not proof.",
        "",
        "```",
        "deeptrace detect --detector hf:FOLDER clip.mp4",
        "```",
        "",
        f"**Trained on** {plural(data.get('videos', 0), 'video')} ({plural(data.get('examples', 0), 'example')}): "
        + ", ".join(f"{count} {name}" for name, count in (data.get("labels") or {}).items())
        + f"; truth sha256 `{str(data.get('sha256'))[:16]}`.",
        "",
        "| source | videos |",
        "|---|---|",
        *(f"| {source} | {count} |" for source, count in (data.get("sources") or {}).items()),
        "",
        *_measured(facts.get("validation")),
        f"The config, versions and every figure: `{FACTS}`.",
        "",
    ]
    return "\n".join(lines)


def _measured(validation: Mapping[str, Any] | None) -> list[str]:
    if not validation:
        return ["Not measured on a validation split.", ""]
    rows = [
        f"| {title} | {value:.3f} |"
        for block, name, title in _SHOWN
        if isinstance(value := (validation.get(block) or {}).get(name), (int, float))
    ]
    counted = (validation.get("counts") or {}).get("videos")
    return [
        f"**Measured on** {plural(counted or 0, 'validation video')}, by which this checkpoint was chosen:",
        "",
        "| | |",
        "|---|---|",
        *rows,
        "",
    ]
