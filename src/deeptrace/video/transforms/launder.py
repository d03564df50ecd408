"""A clip through an autoencoder: what is left is what the autoencoder makes of it, traces of another maker among it.

Passing a real picture through the autoencoder of a latent diffusion model plants the traces of that model's decoder in
it ("laundering": Mandelli, Bestagini, Tubaro, arXiv 2407.10736), and an autoencoder that was trained on camera pictures
takes a generator's fingerprint out of its pictures (GANprintR: Neves et al., arXiv 1911.05351). Here both are one step:
an ONNX file that gives a picture for a picture, the small one of `deeptrace train autoencoder` or one of the user's.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from deeptrace.errors import ModelError
from deeptrace.video.frame import Picture
from deeptrace.video.transforms.ops import PictureStep

__all__ = ["MULTIPLE", "Autoencode"]

MULTIPLE = 8
"""Sides of what an autoencoder is shown; pictures are padded with their own edge."""
_UNUSABLE = tuple(
    getattr(ort_errors, name)
    for name in ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NotImplemented", "RuntimeException")
)


@dataclass(frozen=True)
class Autoencode(PictureStep):
    """Each picture through an autoencoder, by itself.

    Attributes:
        path: ONNX file with one input (1, 3, H, W) float32 and an output of the same shape, for any H and W that are
            multiples of MULTIPLE.
        low: what black is for it; white is 1. Autoencoders of diffusion models have -1, ours 0.
    """

    path: str
    low: float = 0.0

    def on_picture(self, image: Picture, rng: np.random.Generator) -> Picture:  # noqa: ARG002
        """See `PictureStep`.

        Raises:
            ModelError: the file is no such autoencoder.
        """
        height, width = image.shape[:2]
        padding = ((0, -height % MULTIPLE), (0, -width % MULTIPLE), (0, 0))
        levels = np.pad(image, padding, mode="edge").astype(np.float32) / 255 * (1 - self.low) + self.low
        session = _session(self.path)
        try:
            (made, *_) = session.run(None, {session.get_inputs()[0].name: levels.transpose(2, 0, 1)[None]})
        except _UNUSABLE as error:
            raise _no_autoencoder(self.path, str(error)) from None
        if np.shape(made) != (1, 3, *levels.shape[:2]):
            raise _no_autoencoder(self.path, f"its output has the shape {np.shape(made)}")
        shown = (np.asarray(made)[0].transpose(1, 2, 0) - self.low) / (1 - self.low) * 255
        return np.ascontiguousarray(np.clip(np.rint(shown), 0, 255).astype(np.uint8)[:height, :width])


@cache
def _session(path: str) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    if not Path(path).is_file():
        raise ModelError(path, "no such file of an autoencoder", "Make one: deeptrace train autoencoder.")
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except _UNUSABLE as error:
        raise _no_autoencoder(path, str(error)) from None


def _no_autoencoder(path: str, why: str) -> ModelError:
    reason = " ".join(why.split())[:200]
    return ModelError(
        path, f"is no autoencoder of pictures (1, 3, H, W): {reason}", "See `deeptrace train autoencoder`."
    )
