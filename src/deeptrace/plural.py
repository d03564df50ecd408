"""Numbers of things in words."""

from __future__ import annotations

__all__ = ["plural"]


def plural(count: int, one: str, many: str | None = None) -> str:
    """A number of things, in words.

    Args:
        count: how many.
        one: the word for one of them.
        many: the word for none or several; with an "s" where it is left out.

    Examples:
        >>> plural(1, "clip"), plural(2, "clip"), plural(0, "entry", "entries")
        ('1 clip', '2 clips', '0 entries')
    """
    return f"{count} {one if count == 1 else many or f'{one}s'}"
