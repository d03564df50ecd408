"""What a picture and its middle look like to a net that learned to see on photographs, and was not trained further.

A camera's clips and a generator's differ in more than texture: in shading, in outlines, in how parts belong together.
The clips at hand are too few to learn to see such things from, so they are read off a net that was trained on a million
photographs: the shipped one (EfficientNet-Lite0; see `weights/NOTICE`) gives the mean of each channel of its last four
stages; any other image encoder in the ONNX format can take its place, and TraceNet is then fitted anew on what it says.

It looks at two moments of a window: at the same central square as `texture`; at the whole picture, whose sides are made
equal, so that hands, feet and edges count too; and, at the size that the file has, at the place where most moves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors
from pydantic import BaseModel, ConfigDict

from deeptrace.detectors.tracenet.texture import central_square
from deeptrace.errors import ModelError
from deeptrace.io.fingerprint import sha256_of

__all__ = [
    "BACKBONE_NAME",
    "CHANNELS",
    "DIMENSIONS",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "SIDE",
    "VIEWS",
    "AppearanceNet",
    "EncoderFacts",
    "close_up",
    "open_session",
    "shipped_appearance",
    "shipped_folder",
    "shipped_stages",
]

_UNUSABLE = tuple(
    getattr(ort_errors, name)
    for name in ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NotImplemented", "RuntimeException")
)


def shipped_folder() -> Path:
    """Where the package keeps its nets."""
    return Path(str(files("deeptrace.detectors.tracenet") / "weights"))


def open_session(path: Path, weights: bytes) -> onnxruntime.InferenceSession:
    """A session on one thread.

    Args:
        path: name of the file in errors.
        weights: the file's bytes.

    Raises:
        ModelError: ONNX Runtime cannot run it.
    """
    options: Any = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # videos are the unit of parallel work; spinning threads would fight over cores
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(weights, options, providers=["CPUExecutionProvider"])
    except _UNUSABLE as error:
        why = str(error).splitlines()[0]
        mend = "Reinstall deeptrace." if path.parent == shipped_folder() else ""
        raise ModelError(str(path), f"cannot be run: {why}", mend) from None


BACKBONE_NAME = "appearance.onnx"
CHANNELS = 704
"""What the shipped net says of a picture."""
VIEWS = 3
"""The middle of a picture; the whole; and a close look at what moves."""
DIMENSIONS = VIEWS * CHANNELS
SIDE = 216
_MOMENTS = (0.2, 0.8)
_USUAL_SIDE = 224
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class EncoderFacts(BaseModel):
    """What must be known of an encoder beside its file.

    Attributes:
        sha256: of the file; "" where it does not matter which file it is.
        mean, std: red, green and blue, of colours from 0 to 1: what an encoder that takes floats expects taken off and
            divided by.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str = ""
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD


class AppearanceNet:
    """An image encoder in an ONNX file with one input.

    The input is pictures, either (N, S, S, 3) uint8, or (N, 3, S, S) float, which is given colours less `mean` over
    `std`. S is what the file says, or 224; N is 1, 2 or free. Of the first output, (D,), (N, D), (N, tokens, D) or
    (N, D, rows, columns), the mean over everything but D is taken.

    Args:
        path: of the file.
        facts: what else must be known of it; None: an encoder that takes floats as most do.

    Attributes:
        path, facts: those.

    Raises:
        ModelError: the file is missing, is not the one that `facts` describe, or is no such encoder.
    """

    def __init__(self, path: Path, facts: EncoderFacts | None = None) -> None:
        self.path, self.facts = path, facts or EncoderFacts()
        mend = "Reinstall deeptrace." if path.parent == shipped_folder() else ""
        try:
            weights = path.read_bytes()
        except OSError as error:
            raise ModelError(str(path), f"cannot be read: {error.strerror}", mend) from None
        if self.facts.sha256 and hashlib.sha256(weights).hexdigest() != self.facts.sha256:
            raise ModelError(str(path), "the file is not the one that its card describes", mend)
        self._session = open_session(path, weights)
        self._input = _input_of(path, self._session)

    @cached_property
    def stated(self) -> EncoderFacts:
        """Its facts with the file's SHA-256, for a card: detecting takes none, so none is made while loading."""
        return self.facts.model_copy(update={"sha256": sha256_of(self.path)})

    @cached_property
    def dimensions(self) -> int:
        """How many statistics it gives a segment.

        Raises:
            ModelError: the net cannot be run on pictures.
        """
        return len(self([np.zeros((SIDE, SIDE, 3), np.uint8)] * 2))

    def __call__(self, frames: Sequence[np.ndarray], close_ups: Sequence[np.ndarray] = ()) -> np.ndarray:
        """The statistics (VIEWS * D,) float32 of one segment of video.

        Args:
            frames: at least two neighbouring sampled frames, RGB uint8 (H, W, 3), short side 256.
            close_ups: what `close_up` cut out, (SIDE, SIDE, 3) each; the first two count, and without any the middle.

        Raises:
            ModelError: the net cannot be run on them, or what it says is no number.
        """
        middle = self.of_middle(frames)
        close = self._of([*close_ups, *close_ups][:2]) if close_ups else middle
        return np.concatenate([middle, self._of(_chosen(frames)), close])

    def of_middle(self, frames: Sequence[np.ndarray]) -> np.ndarray:
        """The statistics (D,) float32 of the middle alone; arguments and errors as of a call."""
        return self._of([central_square(frame) for frame in _chosen(frames)])

    def _of(self, views: list[np.ndarray]) -> np.ndarray:
        """What the net says of two pictures (H, W, 3), whose sides are made equal: (D,)."""
        pictures = self._prepared(views)
        batches = [pictures] if self._input.together else [picture[None] for picture in pictures]
        try:
            said = [self._session.run(None, {self._input.name: batch})[0] for batch in batches]
        except _UNUSABLE as error:
            raise ModelError(str(self.path), f"cannot be run on pictures: {str(error).splitlines()[0]}") from None
        found = np.mean([_pooled(np.asarray(one, np.float32)) for one in said], axis=0, dtype=np.float32)
        if not np.isfinite(found).all():
            raise ModelError(str(self.path), "says something of a picture that is no number")
        return np.asarray(found, np.float32)

    def _prepared(self, views: list[np.ndarray]) -> np.ndarray:
        """Pictures (2, S, S, 3) uint8 or (2, 3, S, S) float32."""
        size = (self._input.side, self._input.side)
        way = cv2.INTER_AREA if self._input.side < len(views[0]) else cv2.INTER_CUBIC
        sized = np.stack([v if v.shape[:2] == size else cv2.resize(v, size, interpolation=way) for v in views])
        if not self._input.floats:
            return sized
        colours = (sized.astype(np.float32) / 255 - np.array(self.facts.mean, np.float32)) / np.array(
            self.facts.std, np.float32
        )
        return np.ascontiguousarray(colours.transpose(0, 3, 1, 2))


def close_up(picture: np.ndarray, small: np.ndarray, following: np.ndarray) -> np.ndarray:
    """The square (SIDE, SIDE, 3) of a picture in which most changes until the next; the middle of a still one.

    Args:
        picture: RGB uint8 (H, W, 3), no side below SIDE.
        small: the same picture (h, w, 3), of any size.
        following: the next sampled picture, of the same size as `small`.
    """
    height, width = picture.shape[:2]
    rows, columns = small.shape[:2]
    change = cv2.absdiff(*(np.asarray(cv2.cvtColor(one, cv2.COLOR_RGB2GRAY)) for one in (small, following)))
    tall, wide = (max(round(SIDE * few / many), 1) for few, many in ((rows, height), (columns, width)))
    sums = cv2.integral(change)
    inside = sums[tall:, wide:] - sums[:-tall, wide:] - sums[tall:, :-wide] + sums[:-tall, :-wide]
    at = np.unravel_index(int(inside.argmax()), inside.shape) if change.any() else [side // 2 for side in inside.shape]
    top = min(round(int(at[0]) * height / rows), height - SIDE)
    left = min(round(int(at[1]) * width / columns), width - SIDE)
    return np.ascontiguousarray(picture[top : top + SIDE, left : left + SIDE])


def _chosen(frames: Sequence[np.ndarray]) -> list[np.ndarray]:
    return [frames[round((len(frames) - 2) * share)] for share in _MOMENTS]


@dataclass(frozen=True)
class _Input:
    """What an encoder takes: floats or bytes, how many pixels a side, and both pictures at once or one by one."""

    name: str
    floats: bool
    side: int
    together: bool


def _input_of(path: Path, session: onnxruntime.InferenceSession) -> _Input:
    inputs = session.get_inputs()
    got = ", ".join(f"{one.name} {one.shape} of {one.type}" for one in inputs) or "none"
    floats = len(inputs) == 1 and inputs[0].type == "tensor(float)"
    shape = [size if isinstance(size, int) else None for size in inputs[0].shape] if inputs else []
    if len(inputs) != 1 or len(shape) != 4 or not (floats or inputs[0].type == "tensor(uint8)"):
        raise ModelError(str(path), f"expected one input, (N, 3, S, S) float or (N, S, S, 3) uint8, but it has {got}")
    colours, *sides = (shape[1], *shape[2:]) if floats else (shape[3], *shape[1:3])
    known = {side for side in sides if side is not None}
    if colours not in (3, None) or len(known) > 1 or shape[0] not in (1, len(_MOMENTS), None):
        raise ModelError(str(path), f"expected square pictures of three colours, 1 or 2 at a time, but it takes {got}")
    return _Input(inputs[0].name, floats, known.pop() if known else _USUAL_SIDE, shape[0] != 1)


def _pooled(said: np.ndarray) -> np.ndarray:
    """(D,) of what an encoder said of a batch."""
    if said.ndim == 4:
        return np.asarray(said.mean(axis=(0, 2, 3)))
    return np.asarray(said.reshape(-1, said.shape[-1]).mean(axis=0)) if said.ndim else said.reshape(1)


_STAGES = ("add_3", "add_5", "add_8", "conv2d_47")
"""Tensors in the shipped file whose means over the picture it gives, in that order."""


def shipped_stages(frame: np.ndarray) -> list[np.ndarray]:
    """The maps of the shipped net's last four stages, (C, rows, columns) float32 each, of the middle of a picture.

    Their means over rows and columns are, one after the other, what `of_middle` says of a still one.

    Args:
        frame: (H, W, 3) uint8, RGB; `central_square` is looked at.

    Raises:
        ModelError: the file is missing or damaged.
    """
    net = shipped_appearance()
    pictures = net._prepared([central_square(frame)] * 2)
    return [stage[0] for stage in _stages_session().run(list(_STAGES), {net._input.name: pictures})]


@cache
def _stages_session() -> onnxruntime.InferenceSession:
    """A session of the shipped file that gives the maps before they are pooled, too.

    Protocol Buffers merge a message with what is appended to it (Encoding, "Last One Wins"): so four further outputs
    (`ModelProto.graph`, 7; `GraphProto.output`, 12; `ValueInfoProto.name`, 1) need no library that edits ONNX files.
    """
    path = shipped_folder() / BACKBONE_NAME
    outputs = b"".join(_field(12, _field(1, name.encode())) for name in _STAGES)
    return open_session(path, path.read_bytes() + _field(7, outputs))


def _field(number: int, content: bytes) -> bytes:
    """A field of a Protocol Buffers message, of fewer than 128 bytes."""
    return bytes([number << 3 | 2, len(content)]) + content


@cache
def shipped_appearance() -> AppearanceNet:
    """The net in the package, loaded once.

    Raises:
        ModelError: it is missing or damaged.
    """
    return AppearanceNet(shipped_folder() / BACKBONE_NAME)
