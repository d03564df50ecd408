"""`hf:MODEL_OR_FOLDER`: multimodal language models run here, through transformers.

    deeptrace detect clip.mp4 --detector hf:Qwen/Qwen2.5-VL-7B-Instruct
    deeptrace eval --data RewardData/ --detector hf:runs/my-adapter --set batch_size=16

Nothing of torch is imported before a model is loaded or planned for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deeptrace.detectors.vlm.hf.settings import Options

if TYPE_CHECKING:
    from deeptrace.detectors.vlm.hf.detector import LocalModel
    from deeptrace.detectors.vlm.hf.planner import LocalPlanner

__all__ = ["Options", "load", "load_planner"]


def load(rest: str, **settings: Any) -> LocalModel:
    """The detector `hf:rest`; see `detector.load`."""
    from deeptrace.detectors.vlm.hf import detector

    return detector.load(rest, **settings)


def load_planner(rest: str, **settings: Any) -> LocalPlanner:
    """What says beforehand what `hf:rest` will take; see `planner.load_planner`."""
    from deeptrace.detectors.vlm.hf import planner

    return planner.load_planner(rest, **settings)
