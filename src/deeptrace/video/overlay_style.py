"""Colours, fonts and text tags of the overlay."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from deeptrace.schema import Category, Trace
from deeptrace.video.frame import Picture

__all__ = ["CATEGORY_COLORS", "Color", "color_of", "dashed_rectangle", "name_of", "paste", "tag", "text_size"]

Color = tuple[int, int, int]

# Okabe and Ito's palette, which stays apart for colour-blind eyes, lightened where it was too dark on film, and a
# violet; black is left to the outlines.
CATEGORY_COLORS: dict[Category, Color] = {
    Category.OBJECT_DISTORTION: (230, 159, 0),
    Category.SUDDEN_BLURRING: (86, 180, 233),
    Category.OBJECT_TRAJECTORY: (0, 190, 140),
    Category.REDUNDANT_OBJECT: (240, 228, 66),
    Category.OBJECT_MERGING: (60, 140, 230),
    Category.OBJECT_SPLITTING: (230, 100, 30),
    Category.BACKGROUND_DISTORTION: (225, 140, 190),
    Category.OBJECT_DISAPPEARANCE: (190, 150, 255),
    Category.UNEXPECTED_MOVE: (170, 220, 110),
}
_NO_CATEGORY: Color = (225, 225, 225)


def color_of(trace: Trace) -> Color:
    """The colour of a trace's first category; light grey without one."""
    return CATEGORY_COLORS[trace.categories[0]] if trace.categories else _NO_CATEGORY


def name_of(trace: Trace, number: int) -> str:
    """ "1 Object distortion +1 0.81": number, first category, how many more, score where there is one.

    A weak trace is called so: "1 weak guess: Object distortion 0.21".
    """
    words = [
        str(number),
        *(["weak guess:"] if trace.weak else []),
        trace.categories[0].display_name if trace.categories else "Trace",
    ]
    if len(trace.categories) > 1:
        words.append(f"+{len(trace.categories) - 1}")
    if trace.score is not None:
        words.append(f"{trace.score:.2f}")
    return " ".join(words)


@lru_cache(maxsize=16)
def _font(height: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(height)


def text_size(text: str, height: int) -> tuple[int, int]:
    """(width, height) in pixels of a line of text in letters of `height` pixels."""
    left, _, right, _ = _font(height).getbbox(text)
    return int(np.ceil(right - left)), int(height * 1.25)


@lru_cache(maxsize=512)
def tag(text: str, height: int, ink: Color, paper: Color, max_width: int) -> Picture:
    """A line of text on a coloured label, (h, w, 3) uint8, shortened with an ellipsis to at most `max_width` pixels."""
    pad = max(height // 4, 2)
    while len(text) > 1 and text_size(text, height)[0] + 2 * pad > max_width:
        text = text[:-2].rstrip() + "…"
    width, line = text_size(text, height)
    image = Image.new("RGB", (max(min(width + 2 * pad, max_width), 1), line + pad), paper)
    ImageDraw.Draw(image).text((pad, pad // 2), text, fill=ink, font=_font(height))
    return np.asarray(image, dtype=np.uint8)


def dashed_rectangle(
    canvas: Picture, sides: tuple[int, int, int, int], ink: Color, halo: Color | None, stroke: int, *, dash: int
) -> None:
    """An outline of dashes, drawn in place.

    Args:
        canvas: (H, W, 3) uint8.
        sides: x0, y0, x1, y1 in pixels, inclusive.
        ink: colour of the dashes.
        halo: colour around them; None for none.
        stroke: width of the dashes, in pixels.
        dash: length of a dash, in pixels; the gaps are as long.
    """
    x0, y0, x1, y1 = sides
    for start, end in (((x0, y0), (x1, y0)), ((x1, y0), (x1, y1)), ((x1, y1), (x0, y1)), ((x0, y1), (x0, y0))):
        from_, along = np.array(start), np.subtract(end, start)
        length = max(int(np.abs(along).max()), 1)
        for at in range(0, length, 2 * dash):
            ends = [np.round(from_ + along * min(part / length, 1.0)).astype(int).tolist() for part in (at, at + dash)]
            if halo is not None:
                cv2.line(canvas, ends[0], ends[1], halo, stroke + 2)
            cv2.line(canvas, ends[0], ends[1], ink, stroke)


def paste(canvas: Picture, patch: Picture, x: int, y: int) -> None:
    """Copy `patch` onto `canvas` with its corner at (x, y), moved and cut so that it stays inside."""
    height, width = canvas.shape[:2]
    x = min(max(x, 0), max(width - patch.shape[1], 0))
    y = min(max(y, 0), max(height - patch.shape[0], 0))
    part = patch[: height - y, : width - x]
    canvas[y : y + part.shape[0], x : x + part.shape[1]] = part
