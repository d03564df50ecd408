"""File names in tables: whole where they fit, shortened in their folder where not, never broken in their middle."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.measure import Measurement
from rich.text import Text

from deeptrace.cli.console import printable

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions

__all__ = ["PathCell", "shortened"]

_MOST_ASKED = 40
"""How many columns of a table a long name claims before others have theirs."""


def shortened(path: str, width: int) -> str:
    """A path in at most `width` columns: folders are left out from the left. A name too long for that keeps its end.

    Examples:
        >>> shortened("/data/2026/renders/take 7.mp4", 20)
        '…/renders/take 7.mp4'
        >>> shortened("/data/2026/renders/take 7.mp4", 18), shortened("take 7.mp4", 6)
        ('…/take 7.mp4', '…7.mp4')
    """
    if cell_len(path) <= width:
        return path
    parts = path.replace(os.sep, "/").split("/")
    for first in range(1, len(parts)):
        shown = "/".join(["…", *parts[first:]])
        if cell_len(shown) <= width:
            return shown
    name = parts[-1]
    while cell_len(name) > (width if name == parts[-1] else width - 1):
        name = name[1:]
    return name if name == parts[-1] else f"…{name}"


class PathCell:
    """A path in a cell of a rich table, as wide as the table leaves it.

    Args:
        path: as it stands in verdicts.
    """

    def __init__(self, path: str) -> None:
        self._path = printable(path)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        name = self._path.rpartition("/")[2]
        least = min(cell_len(name), _MOST_ASKED, options.max_width)
        return Measurement(least, max(least, min(cell_len(self._path), options.max_width)))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        yield Text(shortened(self._path, options.max_width), no_wrap=True, overflow="ignore")
