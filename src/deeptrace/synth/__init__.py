"""Known traces put into real footage: ground truth to the pixel.

`inject` puts one trace into an array of frames, `decoy` does to a clip what real footage suffers without becoming
generated, `positive` and `negative` make whole training clips of both, and `make_dataset` writes them as files.
"""

from deeptrace.synth.compose import Composed, negative, positive
from deeptrace.synth.decoys import AFTER, BEFORE, DECOYS, REGION, Decoyed, decoy
from deeptrace.synth.inject import Injection, inject
from deeptrace.synth.scene import Scene

__all__ = [
    "AFTER",
    "BEFORE",
    "DECOYS",
    "REGION",
    "Composed",
    "Decoyed",
    "Injection",
    "Scene",
    "decoy",
    "inject",
    "negative",
    "positive",
]
