"""The fields of the trainings' configs as a page: `python tools/config_fields.py >docs/training-fields.md`.

Types, limits and defaults are those of the pydantic models, meanings those of their docstrings. A test holds the page
to them, and every field to having a meaning.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from deeptrace.train.config_file import sub_model
from deeptrace.train.grpo.config import GrpoConfig
from deeptrace.train.sft.config import SftConfig
from deeptrace.train.tracenet.config import TraceNetConfig

__all__ = ["page"]

ROOTS: tuple[tuple[str, type[BaseModel]], ...] = (
    ("deeptrace train sft", SftConfig),
    ("deeptrace train grpo", GrpoConfig),
    ("deeptrace train tracenet", TraceNetConfig),
)
_HEAD = """# Fields of a training's config

<!-- made by tools/config_fields.py; change the classes and their docstrings, then make it again -->

A config is a JSON object. A field without a default is needed; one that is not known is an error that names the nearest
known one. Folders are relative to the working directory.
"""
_PLAIN = {
    int: "whole number",
    float: "number",
    str: "text",
    bool: "true or false",
    Path: "folder",
    type(None): "null",
}
_LIMITS = ((Ge, "ge", "at least"), (Gt, "gt", "above"), (Le, "le", "at most"), (Lt, "lt", "below"))


def page() -> str:
    """The page, in Markdown."""
    parts = [_HEAD]
    for command, kind in ROOTS:
        parts.append(f"## {kind.__name__}\n\nWhat `{command} CONFIG` reads.\n\n{_table(kind)}")
    parts += [f"## {kind.__name__}\n\n{_intro(kind)}\n\n{_table(kind)}" for kind in _within()]
    return "\n".join(parts)


def _within() -> list[type[BaseModel]]:
    """The classes that fields of the configs have, each once."""
    found: dict[type[BaseModel], None] = {}

    def walk(kind: type[BaseModel]) -> None:
        for field in kind.model_fields.values():
            if (inner := sub_model(field.annotation)) is not None and inner not in found:
                found[inner] = None
                walk(inner)

    for _, root in ROOTS:
        walk(root)
    return list(found)


def _intro(kind: type[BaseModel]) -> str:
    return _marked((inspect.getdoc(kind) or "").partition("\n\n")[0].replace("\n", " "))


def _table(kind: type[BaseModel]) -> str:
    meanings = dict(pair for one in reversed(kind.__mro__) for pair in _meanings(one))
    lines = ["| field | value | default | what it is |", "|---|---|---|---|"]
    for name, field in kind.model_fields.items():
        if name not in meanings:
            raise LookupError(f"{kind.__name__}.{name} has no line in the docstring")
        cells = (f"`{name}`", _value(field), _default(field), _marked(meanings[name]))
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _meanings(kind: type) -> Iterator[tuple[str, str]]:
    """The lines below "Attributes:", by field; a line may speak of several."""
    text = (inspect.getdoc(kind) or "").partition("Attributes:\n")[2].partition("\n\n")[0]
    for entry in re.split(r"\n(?=    \S)", "\n" + text):
        names, colon, meaning = entry.strip().partition(": ")
        if colon:
            yield from ((name.strip(), " ".join(meaning.split())) for name in names.split(","))


def _marked(text: str) -> str:
    """As JSON and Markdown have it: None is `null`, and angle brackets would be HTML."""
    return re.sub(r"\bNone\b", "null", text).replace("<", "&lt;").replace(">", "&gt;")


def _value(field: FieldInfo) -> str:
    limits = [
        f"{words} {getattr(limit, attribute)}"
        for kind, attribute, words in _LIMITS
        for limit in field.metadata
        if isinstance(limit, kind)
    ]
    limits += [f"at least {limit.min_length}" for limit in field.metadata if isinstance(limit, MinLen)]
    shown = _type(field.annotation)
    return f"{shown}, {', '.join(limits)}" if limits else shown


def _type(annotation: Any) -> str:
    """A type, in the words of JSON."""
    if annotation in _PLAIN:
        return _PLAIN[annotation]
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(f"`{json.dumps(choice)}`" for choice in inner)
    if origin in (list, tuple):
        return f"list of {_type(next(one for one in inner if one is not Ellipsis))}"
    if inner:
        return " or ".join(_type(one) for one in inner)
    if issubclass(annotation, Enum):
        return ", ".join(f"`{json.dumps(member.value)}`" for member in annotation)
    return f"[{annotation.__name__}](#{annotation.__name__.lower()})"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**needed**"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return "its own"
    if isinstance(value, Enum):
        value = value.value
    return f"`{json.dumps(str(value) if isinstance(value, Path) else value)}`"


if __name__ == "__main__":
    print(page(), end="")
