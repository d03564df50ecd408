"""A clip that came as images, kept in one file: each image's length in 8 bytes, then the image as it came.

Nothing of an image is read before a worker does.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable, Iterator
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deeptrace.errors import VideoError, VideoTooLargeError
from deeptrace.plural import plural

__all__ = ["read_frames", "write_frames"]

_LENGTH = struct.Struct("<Q")
_FORMATS = ("PNG", "JPEG", "WEBP")


def write_frames(file: BinaryIO, images: Iterable[bytes]) -> None:
    """Write encoded images."""
    for image in images:
        file.write(_LENGTH.pack(len(image)))
        file.write(image)


def read_frames(path: str, name: str, *, max_pixels: int, max_frames: int, max_bytes: int) -> NDArray[np.uint8]:
    """The frames (T, H, W, 3), RGB.

    Args:
        path: of the file.
        name: of the clip, for errors.
        max_pixels: of a frame.
        max_frames: of a clip.
        max_bytes: of all frames, decoded.

    Raises:
        VideoError: an image cannot be read, or is of another size than the first.
        VideoTooLargeError: a limit is exceeded.
    """
    frames: list[NDArray[np.uint8]] = []
    size: tuple[int, int] | None = None
    for index, data in enumerate(_images(path)):
        if index >= max_frames:
            raise VideoTooLargeError(name, f"has more than the limit of {plural(max_frames, 'frame')}")
        try:
            with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
                size = size or image.size
                if image.size != size:
                    raise VideoError(name, f"frame {index} is {image.size[0]}x{image.size[1]}, the first {_text(size)}")
                if size[0] * size[1] > max_pixels:
                    raise VideoTooLargeError(name, f"{_text(size)} is more than the limit of {max_pixels} pixels")
                if (index + 1) * size[0] * size[1] * 3 > max_bytes:
                    raise VideoTooLargeError(name, f"its frames take more than {max_bytes >> 20} MiB")
                frames.append(np.asarray(image.convert("RGB"), np.uint8))
        except VideoError:
            raise
        except Exception:  # noqa: BLE001 - the edge to strangers' bytes: Pillow raises a dozen kinds
            raise VideoError(name, f"frame {index} is not a PNG, JPEG or WebP image") from None
    return np.stack(frames)


def _images(path: str) -> Iterator[bytes]:
    with open(path, "rb") as file:
        while head := file.read(_LENGTH.size):
            yield file.read(_LENGTH.unpack(head)[0])


def _text(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
