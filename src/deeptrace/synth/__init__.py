"""Known traces put into real footage: ground truth to the pixel."""

from deeptrace.synth.inject import Injection, inject
from deeptrace.synth.scene import Scene

__all__ = ["Injection", "Scene", "inject"]
