"""Folders and what lies below them, links among them."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator

from deeptrace.errors import SettingsError

__all__ = ["refuse_within", "walk_once"]


def refuse_within(out: str | os.PathLike[str], folders: Iterable[str | os.PathLike[str]]) -> None:
    """Refuse a folder for new clips below one that clips are taken from: the next run would take them for footage.

    Raises:
        SettingsError: it is one of the folders, or lies below one.
    """
    place = os.path.realpath(out)
    for folder in folders:
        source = os.path.realpath(folder)
        if os.path.isdir(source) and os.path.commonpath((place, source)) == source:
            problem = f"lies in {os.fspath(folder)}, and what is made would be taken for footage by the next run"
            raise SettingsError(os.fspath(out), problem, "Name a folder beside it.")


def walk_once(
    folder: str | os.PathLike[str], *, on_error: Callable[[OSError], object] | None = None
) -> Iterator[tuple[str, list[str]]]:
    """(folder, names of the files in it) for a folder and every one below it, linked ones among them.

    Every folder comes once, however many links lead to it, and by the name without links where it has one below
    `folder`; so a link to a folder above does no harm. Hidden folders are left out.

    Args:
        folder: where to begin.
        on_error: called with what the system says of a folder that cannot be read; None to pass over it.
    """
    seen: set[str] = set()
    waiting = deque([os.fspath(folder)])
    while waiting:
        for here, folders, files in os.walk(waiting.popleft(), onerror=on_error):
            place = os.path.realpath(here)
            if place in seen:
                folders.clear()
                continue
            seen.add(place)
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            # The linked ones last: what they lead to may come by its own name first.
            waiting.extend(path for name in folders if os.path.islink(path := os.path.join(here, name)))
            yield here, files
