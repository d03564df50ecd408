"""Where faces are in a clip, by whatever finder is at hand; and a step that blurs them.

Three finders, the first that can be had: YuNet, whose ONNX file (`face_detection_yunet_*.onnx` of OpenCV's model zoo,
MIT) the user names; the Haar cascade that OpenCV 4 ships (OpenCV 5 ships none); the LBP cascade that scikit-image
ships. Cascades find frontal faces of some size and miss many others, so what they find is a lower bound. A face counts
where it is found in two of the frames that are looked at, so that a chance likeness in one does not.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from deeptrace.errors import MissingExtraError, SettingsError
from deeptrace.geometry import Box
from deeptrace.video.base import Video
from deeptrace.video.frame import Frame, Picture
from deeptrace.video.transforms.ops import Step

__all__ = ["BlurFaces", "Face", "face_finder", "find_faces"]

LOOKS_A_SECOND = 3.0
_SHORT_SIDE = 270
_SMALLEST = 0.06
"""Side of the smallest face that cascades look for, in shares of the shorter side of the frame."""
_YUNET_SCORE = 0.7
_LBP_NEIGHBOURS = 4
"""Windows that must agree: with fewer, the sun and a drum are faces, too."""
_SAME = 0.3
"""IoU from which two boxes of neighbouring looks are one face."""
_HOLD_S = 1.5 / LOOKS_A_SECOND
_GROWN = 0.25

Finder = Callable[[Picture], list[Box]]


@dataclass(frozen=True)
class Face:
    """One sighting of a face.

    Attributes:
        time_s: when.
        box: where.
    """

    time_s: float
    box: Box


def find_faces(video: Video, model: str | None = None, *, end_s: float | None = None) -> list[Face]:
    """The faces of a clip, looked for LOOKS_A_SECOND times a second; those seen once alone are left out.

    Args:
        video: the clip.
        model: file of YuNet; None for a cascade that is installed.
        end_s: look no further.

    Raises:
        VideoError: the clip cannot be decoded.
        SettingsError: the file is no model of faces.
        MissingExtraError: there is no finder.
    """
    finder = face_finder(model)
    media = video.media
    scale = min(_SHORT_SIDE / min(media.width, media.height), 1.0)
    size = (max(round(media.width * scale), 1), max(round(media.height * scale), 1))
    looks = [
        [Face(frame.time_s, box) for box in finder(frame.image)]
        for frame in video.frames(max_fps=LOOKS_A_SECOND, size=size, end_s=end_s)
    ]
    return [
        face
        for number, look in enumerate(looks)
        for face in look
        if any(
            face.box.iou(other.box) >= _SAME
            for near in (number - 1, number + 1)
            if 0 <= near < len(looks)
            for other in looks[near]
        )
    ]


@cache
def face_finder(model: str | None = None) -> Finder:
    """What finds faces in a picture (H, W, 3) uint8.

    Raises:
        SettingsError, MissingExtraError: as `find_faces`.
    """
    if model is not None:
        return _yunet(model)
    haar = _haar_file()
    if haar is not None:
        return _haar(haar)
    if importlib.util.find_spec("skimage") is not None:
        return _lbp()
    raise MissingExtraError("looking for faces without a model file", "faces")


def _yunet(model: str) -> Finder:
    if not Path(model).is_file():
        raise SettingsError(model, "no such file of a face model", "Name the ONNX file of YuNet.")
    try:
        net = cv2.FaceDetectorYN.create(model, "", (320, 320), _YUNET_SCORE)
    except cv2.error as error:
        raise SettingsError(model, f"cannot be used as a face model: {error.err}", "Name YuNet's ONNX file.") from None

    def found(image: Picture) -> list[Box]:
        height, width = image.shape[:2]
        net.setInputSize((width, height))
        _, rows = net.detect(np.ascontiguousarray(image[..., ::-1]))
        return _boxes([] if rows is None else rows[:, :4], width, height)

    return found


def _haar_file() -> str | None:
    """OpenCV 4's own cascade; None where it ships none."""
    folder = getattr(getattr(cv2, "data", None), "haarcascades", None)
    path = Path(folder or "") / "haarcascade_frontalface_default.xml"
    return str(path) if hasattr(cv2, "CascadeClassifier") and path.is_file() else None


def _haar(path: str) -> Finder:
    cascade: Any = cv2.CascadeClassifier(path)  # type: ignore[attr-defined, unused-ignore]

    def found(image: Picture) -> list[Box]:
        height, width = image.shape[:2]
        least = round(_SMALLEST * min(height, width))
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        return _boxes(cascade.detectMultiScale(grey, 1.15, 5, minSize=(least, least)), width, height)

    return found


def _lbp() -> Finder:
    from skimage.data import lbp_frontal_face_cascade_filename
    from skimage.feature import Cascade

    cascade: Any = Cascade(lbp_frontal_face_cascade_filename())  # type: ignore[no-untyped-call, unused-ignore]

    def found(image: Picture) -> list[Box]:
        height, width = image.shape[:2]
        short = min(height, width)
        least = max(round(_SMALLEST * short), 24)
        rows = cascade.detect_multi_scale(
            img=image,
            scale_factor=1.2,
            step_ratio=1.0,
            min_size=(least, least),
            max_size=(short, short),
            min_neighbor_number=_LBP_NEIGHBOURS,
        )
        return _boxes([(row["c"], row["r"], row["width"], row["height"]) for row in rows], width, height)

    return found


def _boxes(rows: Iterable[Any], width_pixels: int, height_pixels: int) -> list[Box]:
    """Boxes of (left, top, width, height) in pixels; those outside the picture are left out."""
    found = []
    for left, top, wide, high in rows:
        sides = (left / width_pixels, top / height_pixels, (left + wide) / width_pixels, (top + high) / height_pixels)
        try:
            found.append(Box.from_fractions(*(float(side) for side in sides)))
        except ValueError:
            continue
    return found


@dataclass(frozen=True)
class BlurFaces(Step):
    """Blur every face beyond recognition: an ellipse around each sighting, from a moment before to a moment after.

    Attributes:
        faces: where and when they were seen.
    """

    faces: tuple[Face, ...]

    def __call__(self, frames: Iterable[Frame], *, seed: int = 0) -> Iterator[Frame]:  # noqa: ARG002
        """See `Step`."""
        for frame in frames:
            boxes = [face.box for face in self.faces if abs(face.time_s - frame.time_s) <= _HOLD_S]
            yield Frame(frame.time_s, _blurred(frame.image, boxes)) if boxes else frame


def _blurred(image: Picture, boxes: Sequence[Box]) -> Picture:
    height, width = image.shape[:2]
    shown = image.astype(np.float32)
    for box in boxes:
        x0, y0, x1, y1 = box.to_pixels_xyxy(width=width, height=height)
        wide, high = (x1 - x0) * (1 + _GROWN), (y1 - y0) * (1 + _GROWN)
        mask = np.zeros((height, width), np.float32)
        center = (round((x0 + x1) / 2), round((y0 + y1) / 2))
        cv2.ellipse(mask, center, (max(round(wide / 2), 1), max(round(high / 2), 1)), 0, 0, 360, 1.0, -1)
        edged = np.asarray(cv2.GaussianBlur(mask, (0, 0), max(wide / 20, 0.5)))[..., None]
        soft = cv2.GaussianBlur(image, (0, 0), max(wide / 8, 1.0)).astype(np.float32)
        shown = shown * (1 - edged) + soft * edged
    return np.asarray(np.clip(np.rint(shown), 0, 255), dtype=np.uint8)
