"""Read a training's config: a JSON file, with changes on top, and one clear line when it is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from deeptrace.errors import SettingsError

__all__ = ["read_config"]

Config = TypeVar("Config", bound=BaseModel)


def read_config(kind: type[Config], path: str | Path, example: str, **changes: Any) -> Config:
    """The config of class `kind` in a JSON file, with `changes` of its top fields on top.

    Relative folders in it are relative to the working directory.

    Args:
        kind: pydantic model.
        path: of the file.
        example: a file to look at, for the message when there is none.
        changes: fields to replace.

    Raises:
        SettingsError: the file is missing, no JSON, or holds a field that makes no sense.
    """
    try:
        fields = json.loads(Path(path).read_bytes())
        if not isinstance(fields, dict):
            raise SettingsError(str(path), "not a JSON object")
        return kind.model_validate({**fields, **changes})
    except (FileNotFoundError, IsADirectoryError):
        raise SettingsError(str(path), "no such config", f"See {example}.") from None
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise SettingsError(f"{path}, {field}" if field else str(path), first["msg"]) from None
    except ValueError as error:  # no JSON, or no text at all
        raise SettingsError(str(path), f"not JSON: {error}") from None
