"""SVG drawings for reports, put together shape by shape. Every text in them is escaped."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

__all__ = ["Drawing"]

_SANS_12 = 'font-family="system-ui, sans-serif" font-size="12"'


class Drawing:
    """A picture with its origin at the upper left, lengths in pixels; `str` gives the finished element.

    Args:
        width, height: of the picture.
        title: what it shows, for those who cannot see it.
        ink: colour of its words.
        font: attributes of its words; empty where the page sets the font.
        ground: colour of the background; empty for none.
    """

    def __init__(
        self, width: float, height: float, title: str, *, ink: str, font: str = _SANS_12, ground: str = ""
    ) -> None:
        self._ink, self._font = ink, font
        self._parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
            f'height="{height:g}" role="img" aria-label="{escape(title, quote=True)}">'
        ]
        if ground:
            self._parts.append(f'<rect width="100%" height="100%" fill="{ground}"/>')

    def __str__(self) -> str:
        return "".join([*self._parts, "</svg>"])

    def text(
        self, x: float, y: float, words: str, anchor: str = "start", *, colour: str = "", turned: float = 0.0
    ) -> None:
        """Words at a place, `turned` clockwise about it by so many degrees."""
        turn = f' transform="rotate({turned:g} {x:.1f} {y:.1f})"' if turned else ""
        font = f" {self._font}" if self._font else ""
        self._parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{font} fill="{colour or self._ink}"{turn}>'
            f"{escape(words)}</text>"
        )

    def line(
        self, start: tuple[float, float], end: tuple[float, float], colour: str, *, dashes: str = "", hint: str = "",
        width: float = 1,
    ) -> None:  # fmt: skip
        """A line; `hint` is what it says under the pointer."""
        dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
        wide = f' stroke-width="{width:g}"' if width != 1 else ""
        ends = 'x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"'.format(*start, *end)
        self._shape("line", f'{ends} stroke="{colour}"{wide}{dashed}', hint)

    def rect(
        self, x: float, y: float, width: float, height: float, fill: str, *, radius: float = 0, hint: str = ""
    ) -> None:
        """A filled rectangle."""
        round_ = f' rx="{radius:g}"' if radius else ""
        place = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
        self._shape("rect", f'{place}{round_} fill="{fill}"', hint)

    def circle(self, x: float, y: float, radius: float, fill: str, *, more: str = "", hint: str = "") -> None:
        """A disc; `more` are attributes of it."""
        self._shape("circle", f'cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="{fill}" {more}'.rstrip(), hint)

    def polyline(self, points: Iterable[tuple[float, float]], colour: str) -> None:
        """Lines from point to point."""
        places = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self._shape("polyline", f'points="{places}" fill="none" stroke="{colour}" stroke-width="2"', "")

    def _shape(self, name: str, attributes: str, hint: str) -> None:
        inside = f"<title>{escape(hint)}</title>" if hint else ""
        self._parts.append(f"<{name} {attributes}>{inside}</{name}>" if inside else f"<{name} {attributes}/>")
