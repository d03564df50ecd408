"""One clip and a question as the tensors a model takes: our own preprocessing, equal to the stock one."""

from deeptrace.detectors.transformers.encode.base import Encoded, Encoder, Manner, PixelBudget, Plan
from deeptrace.detectors.transformers.encode.collate import IGNORED, collate, labels
from deeptrace.detectors.transformers.encode.load import ENCODERS, load_encoder

__all__ = [
    "ENCODERS",
    "IGNORED",
    "Encoded",
    "Encoder",
    "Manner",
    "PixelBudget",
    "Plan",
    "collate",
    "labels",
    "load_encoder",
]
