"""One clip and a question as the tensors a model takes: our own preprocessing, equal to the stock one."""

from deeptrace.detectors.vlm.hf.processors.base import (
    IGNORED,
    Manner,
    ModelInputs,
    Plan,
    Processor,
    collate,
    labels,
)
from deeptrace.detectors.vlm.hf.processors.checkpoint import PROCESSORS, load_processor

__all__ = [
    "IGNORED",
    "PROCESSORS",
    "Manner",
    "ModelInputs",
    "Plan",
    "Processor",
    "collate",
    "labels",
    "load_processor",
]
