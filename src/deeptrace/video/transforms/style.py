"""A region of a clip in the style of another clip, alike in every frame: small, coherent, and where it hurts.

LocalStyleFool (Cao et al., 2024, arXiv 2403.11656) restyles regions of a video with a net, picks them by how much they
matter, and lets a classifier's answers refine what is left. Here the style is what can be counted: mean and spread of
lightness and colour, and the energy of three bands of detail. No net, no gradients; the region is given.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from deeptrace.geometry import Box
from deeptrace.video.base import Video
from deeptrace.video.frame import Frame, Picture
from deeptrace.video.transforms.ops import Step

__all__ = ["RegionStyle", "Style", "style_of"]

_BANDS = (1.0, 2.0, 4.0)
"""Blurs, in pixels of a picture 512 high, between which the bands of detail lie."""
_MOST = 2.5
"""How many times more, or less, energy a band is given at most."""


@dataclass(frozen=True)
class Style:
    """What is counted of a picture, in the colour space Lab of OpenCV (0 to 255).

    Attributes:
        mean, spread: of each channel.
        detail: spread of lightness in each band, finest first.
    """

    mean: tuple[float, ...]
    spread: tuple[float, ...]
    detail: tuple[float, ...]


def style_of(video: Video) -> Style:
    """The style of the middle of a clip.

    Raises:
        VideoError: it cannot be decoded.
    """
    (frame,) = video.frames_at([video.media.duration_s / 2])
    return _counted(_lab(frame.image), frame.image.shape[0])


@dataclass(frozen=True)
class RegionStyle(Step):
    """A soft-edged region takes on a style; how much it changes is settled in the first frame and kept.

    Attributes:
        box: the region.
        style: what it takes on.
        strength: from 0, nothing, to 1, all of it.
    """

    box: Box
    style: Style
    strength: float = 0.6

    def __call__(self, frames: Iterable[Frame], *, seed: int = 0) -> Iterator[Frame]:  # noqa: ARG002
        """See `Step`."""
        own: Style | None = None
        for frame in frames:
            height, width = frame.image.shape[:2]
            lab = _lab(frame.image)
            x0, y0, x1, y1 = (round(side) for side in self.box.to_pixels_xyxy(width=width, height=height))
            if own is None:
                own = _counted(lab[y0 : max(y1, y0 + 2), x0 : max(x1, x0 + 2)], height)
            restyled = self._restyled(lab, own, height)
            mask = np.zeros((height, width), np.float32)
            mask[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)] = self.strength
            soft = np.asarray(cv2.GaussianBlur(mask, (0, 0), max(height / 64, 1.0)))[..., None]
            shown = np.clip(np.rint(lab * (1 - soft) + restyled * soft), 0, 255).astype(np.uint8)
            yield Frame(frame.time_s, np.ascontiguousarray(cv2.cvtColor(shown, cv2.COLOR_LAB2RGB), dtype=np.uint8))

    def _restyled(self, lab: np.ndarray, own: Style, height: int) -> np.ndarray:
        gain = np.clip(np.array(self.style.spread) / np.maximum(own.spread, 1.0), 1 / _MOST, _MOST)
        made = (lab - np.array(own.mean)) * gain + np.array(self.style.mean)
        bands = zip(_bands(lab[..., 0], height), self.style.detail, own.detail, strict=True)
        for band, wanted, has in bands:
            made[..., 0] += band * (float(np.clip(wanted / max(has, 0.1), 1 / _MOST, _MOST)) - gain[0])
        return np.asarray(made, np.float32)


def _lab(image: Picture) -> np.ndarray:
    """(H, W, 3) float32."""
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2LAB)).astype(np.float32)


def _bands(light: np.ndarray, height: int) -> list[np.ndarray]:
    """Detail of a channel (H, W) in each band, finest first."""
    sharp, found = light, []
    for sigma in _BANDS:
        soft = np.asarray(cv2.GaussianBlur(light, (0, 0), max(sigma * height / 512, 0.3)))
        found.append(sharp - soft)
        sharp = soft
    return found


def _counted(lab: np.ndarray, height: int) -> Style:
    flat = lab.reshape(-1, 3)
    detail = tuple(float(band.std()) for band in _bands(np.ascontiguousarray(lab[..., 0]), height))
    return Style(tuple(map(float, flat.mean(axis=0))), tuple(map(float, flat.std(axis=0))), detail)
