"""Whether a factory takes the settings that a user gave, asked before it is called."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from deeptrace.errors import SettingsError

__all__ = ["check_settings"]


def check_settings(name: str, factory: Callable[..., Any], args: tuple[Any, ...], settings: Mapping[str, Any]) -> None:
    """Check that `factory(*args, **settings)` can be called.

    Raises:
        SettingsError: it cannot; the message names what is wrong and the settings there are.
    """
    signature = inspect.signature(factory)
    try:
        signature.bind(*args, **settings)
    except TypeError as error:
        named = [each for each in signature.parameters.values() if each.kind in _NAMED][len(args) :]
        takes = [each.name for each in named]
        wrong = ", ".join(key for key in settings if key not in takes) or str(error)
        mend = f"It takes: {', '.join(takes)}." if takes else "It takes none."
        raise SettingsError(name, f"does not take these settings: {wrong}", mend) from error


_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
