"""Known traces put into real footage: ground truth to the pixel.

`inject` puts one trace into an array of frames, `hard_negative` does to a clip what real footage suffers without
becoming generated, `positive` and `negative` make whole training clips of both, and `make_dataset` writes them as
files.
"""

from deeptrace.synth.compose import Composed, negative, positive
from deeptrace.synth.hard_negatives import AFTER, BEFORE, HARD_NEGATIVES, REGION, HardNegative, hard_negative
from deeptrace.synth.inject import Injection, inject
from deeptrace.synth.scene import Scene

__all__ = [
    "AFTER",
    "BEFORE",
    "HARD_NEGATIVES",
    "REGION",
    "Composed",
    "HardNegative",
    "Injection",
    "Scene",
    "hard_negative",
    "inject",
    "negative",
    "positive",
]
