"""What happens to a clip on its way through the world, one step a class: a stream of frames in, a stream out.

Every step also says what it does to a true trace, so that ground truth stays true: `on_trace`. Steps are values:
equal settings and an equal seed give equal frames.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from deeptrace.geometry import Box
from deeptrace.schema import Trace
from deeptrace.video.frame import Frame, Picture
from deeptrace.video.sampling import Pacer
from deeptrace.video.transforms.annotations import crop_trace, cut_trace
from deeptrace.video.transforms.recompress import recode

__all__ = [
    "Blur",
    "Brightness",
    "Chain",
    "Crop",
    "Cut",
    "DownUp",
    "FpsCap",
    "Frozen",
    "Jpeg",
    "Noise",
    "PictureStep",
    "Recode",
    "Resize",
    "Reversed",
    "Shuffled",
    "Step",
    "Still",
]


class Step(ABC):
    """One degradation."""

    @abstractmethod
    def __call__(self, frames: Iterable[Frame], *, seed: int = 0) -> Iterator[Frame]:
        """Degraded frames, streaming; `seed` decides whatever is random."""

    def on_trace(self, trace: Trace) -> Trace | None:
        """Where and when a true trace is afterwards, or None when it cannot be seen any more."""
        return trace


class PictureStep(Step):
    """A step that changes each picture by itself and moves nothing."""

    @abstractmethod
    def on_picture(self, image: Picture, rng: np.random.Generator) -> Picture:
        """The degraded picture of (H, W, 3) uint8."""

    def __call__(self, frames: Iterable[Frame], *, seed: int = 0) -> Iterator[Frame]:
        """See `Step`."""
        rng = np.random.default_rng(seed)
        for frame in frames:
            yield Frame(frame.time_s, self.on_picture(frame.image, rng))


@dataclass(frozen=True)
class Resize(PictureStep):
    """Shrink so that the shorter side is `short_side` pixels (a whole number of pixels both ways); never enlarge."""

    short_side: int

    def on_picture(self, image: Picture, rng: np.random.Generator) -> Picture:  # noqa: ARG002
        """See `PictureStep`."""
        height, width = image.shape[:2]
        scale = self.short_side / min(height, width)
        if scale >= 1:
            return image
        # Even sizes, because what is resized is encoded next.
        size = max(round(width * scale / 2) * 2, 2), max(round(height * scale / 2) * 2, 2)
        return _resized(image, size)


@dataclass(frozen=True)
class DownUp(PictureStep):
    """Shrink by `factor` and enlarge again to the old size: detail is lost, the frame stays."""

    factor: float

    def on_picture(self, image: Picture, rng: np.random.Generator) -> Picture:  # noqa: ARG002
        """See `PictureStep`."""
        height, width = image.shape[:2]
        small = _resized(image, (max(round(width / self.factor), 1), max(round(height / self.factor), 1)))
        return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


@dataclass(frozen=True)
class Blur(PictureStep):
    """Gaussian blur; `sigma` in pixels of a picture 720 high, scaled with the height."""

    sigma: float

    def on_picture(self, image: Picture, rng: np.random.Generator) -> Picture:  # noqa: ARG002
        """See `PictureStep`."""
        sigma = max(self.sigma * image.shape[0] / 720, 0.1)
        return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), dtype=np.uint8)


@dataclass(frozen=True)
class Noise(PictureStep):
    """Gaussian noise of `sigma` grey levels, new in every frame, the same in all three colours at half strength each.

    Half of the variance is shared by the colours and half is each one's own, as from a sensor behind a demosaic.
    """

    sigma: float

    def on_picture(self, image: Picture, rng: np.random.Generator) -> Picture:
        """See `PictureStep`."""
        height, width = image.shape[:2]
        shared = rng.standard_normal((height, width, 1), dtype=np.float32)
        own = rng.standard_normal((height, width, 3), dtype=np.float32)
        noisy = image + (self.sigma * np.sqrt(0.5)) * (shared + own)
        return np.asarray(np.clip(np.rint(noisy), 0, 255), dtype=np.uint8)


@dataclass(frozen=True)
class Brightness(PictureStep):
    """Multiply the light by `gain` (in linear light, as an exposure does, gamma 2.2)."""

    gain: float

    def on_picture(self, image: Picture, rng: np.random.Generator) -> Picture:  # noqa: ARG002
        """See `PictureStep`."""
        levels = np.arange(256) / 255
        table = np.clip((self.gain * levels**2.2) ** (1 / 2.2) * 255, 0, 255)
        return np.asarray(cv2.LUT(image, np.rint(table).astype(np.uint8)), dtype=np.uint8)


@dataclass(frozen=True)
class Jpeg(PictureStep):
    """Each picture through JPEG of that `quality`, 1 to 100, by itself."""

    quality: int

    def on_picture(self, image: Picture, rng: np.random.Generator) -> Picture:  # noqa: ARG002
        """See `PictureStep`."""
        _, coded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, self.quality])
        shown = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR))
        return np.ascontiguousarray(shown[..., ::-1], dtype=np.uint8)


@dataclass(frozen=True)
class FpsCap(Step):
    """Keep at most `fps` frames a second, each at its own true time; slower clips stay as they are."""

    fps: float

    def __call__(self, frames: Iterable[Frame], *, seed: int = 0) -> Iterator[Frame]:  # noqa: ARG002
        """See `Step`."""
        pacer = Pacer(self.fps)
        return (frame for frame in frames if pacer.keep(frame.time_s))


@dataclass(frozen=True)
class Crop(Step):
    """Keep the part of the picture inside `box`, to whole pixels.

    Attributes:
        box: what is kept, in fractions.
        min_visible: a trace of whose area less than this share is left is taken as gone.
    """

    box: Box
    min_visible: float = 0.25

    def __call__(self, frames: Iterable[Frame], *, seed: int = 0) -> Iterator[Frame]:  # noqa: ARG002
        """See `Step`."""
        for frame in frames:
            height, width = frame.image.shape[:2]
            x0, y0, x1, y1 = (round(side) for side in self.box.to_pixels_xyxy(width=width, height=height))
            part = frame.image[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)]
            yield Frame(frame.time_s, np.ascontiguousarray(part))

    def on_trace(self, trace: Trace) -> Trace | None:
        """See `Step`."""
        return crop_trace(trace, self.box, min_visible=self.min_visible)


@dataclass(frozen=True)
class Cut(Step):
    """Keep [start_s, end_s); the first kept frame becomes time 0 where it stands at `start_s`."""

    start_s: float
    end_s: float

    def __call__(self, frames: Iterable[Frame], *, seed: int = 0) -> Iterator[Frame]:  # noqa: ARG002
        """See `Step`."""
        for frame in frames:
            if frame.time_s >= self.end_s:
                return
            if frame.time_s >= self.start_s:
                yield Frame(frame.time_s - self.start_s, frame.image)

    def on_trace(self, trace: Trace) -> Trace | None:
        """See `Step`."""
        return cut_trace(trace, self.start_s, self.end_s)


class OrderStep(Step):
    """A step that shows the same pictures in another order, at the same times; the whole clip is in memory."""

    @abstractmethod
    def order(self, times_s: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Which frame (T,) is shown at each of the rising times (T,)."""

    def __call__(self, frames: Iterable[Frame], *, seed: int = 0) -> Iterator[Frame]:
        """See `Step`."""
        taken = list(frames)
        order = self.order(np.array([frame.time_s for frame in taken]), np.random.default_rng(seed))
        return (Frame(frame.time_s, taken[int(place)].image) for frame, place in zip(taken, order, strict=True))

    def on_trace(self, trace: Trace) -> Trace | None:
        """Its place; when it is seen now, nobody knows."""
        return trace.model_copy(update={"onset_s": None, "offset_s": None, "keyframes": (), "gaps": ()})


@dataclass(frozen=True)
class Still(OrderStep):
    """One picture for as long as the clip lasts: appearance without motion; `place` is that of the picture in [0, 1].

    Not the first: that of a generator which animates a photograph is the photograph.
    """

    place: float = 0.5

    def order(self, times_s: np.ndarray, rng: np.random.Generator) -> np.ndarray:  # noqa: ARG002
        """See `OrderStep`."""
        return np.full(len(times_s), min(int(self.place * len(times_s)), len(times_s) - 1))


@dataclass(frozen=True)
class Frozen(OrderStep):
    """The picture changes only every `every_s` seconds, and stands still in between."""

    every_s: float

    def order(self, times_s: np.ndarray, rng: np.random.Generator) -> np.ndarray:  # noqa: ARG002
        """See `OrderStep`."""
        pieces = (times_s / self.every_s + 1e-6).astype(int)
        return np.searchsorted(pieces, pieces)


@dataclass(frozen=True)
class Shuffled(OrderStep):
    """Pieces of `piece_s` seconds in a random order, single pictures with 0: the same appearance, other motion."""

    piece_s: float = 0.0

    def order(self, times_s: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """See `OrderStep`."""
        pieces = np.arange(len(times_s)) if not self.piece_s else (times_s / self.piece_s + 1e-6).astype(int)
        places = rng.permutation(int(pieces.max()) + 1) if len(pieces) else pieces
        return np.argsort(places[pieces], kind="stable")


@dataclass(frozen=True)
class Reversed(OrderStep):
    """The last picture first: motion as it was, but backwards."""

    def order(self, times_s: np.ndarray, rng: np.random.Generator) -> np.ndarray:  # noqa: ARG002
        """See `OrderStep`."""
        return np.arange(len(times_s))[::-1]


@dataclass(frozen=True)
class Recode(Step):
    """Compress and decompress, as every upload does, with constant rate factor `crf` (higher is worse)."""

    codec: Literal["libx264", "libx265"]
    crf: int
    preset: str = "medium"

    def __call__(self, frames: Iterable[Frame], *, seed: int = 0) -> Iterator[Frame]:  # noqa: ARG002
        """See `Step`."""
        return recode(frames, codec=self.codec, crf=self.crf, preset=self.preset)


@dataclass(frozen=True)
class Chain(Step):
    """Several steps, one after another."""

    steps: tuple[Step, ...]

    def __call__(self, frames: Iterable[Frame], *, seed: int = 0) -> Iterator[Frame]:
        """See `Step`; each step gets a seed of its own."""
        out: Iterable[Frame] = frames
        for index, step in enumerate(self.steps):
            out = step(out, seed=seed + 7919 * index)
        return iter(out)

    def on_trace(self, trace: Trace) -> Trace | None:
        """See `Step`."""
        left: Trace | None = trace
        for step in self.steps:
            left = None if left is None else step.on_trace(left)
        return left


def _resized(image: Picture, size: tuple[int, int]) -> Picture:
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
