"""Read a training's config: a JSON file, with changes on top, and every fault of it at once, a line each."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from deeptrace.errors import ConfigError, DeeptraceError, SettingsError

__all__ = ["Check", "FileConfig", "Parts", "field_names", "read_config", "sub_model"]

Config = TypeVar("Config", bound=BaseModel)

Parts = Mapping[str, Any]
"""The valid ones of a config's top fields, by name."""
Check = Callable[[Parts], Sequence[DeeptraceError]]
"""What looks for faults in what the fields of a config name: folders, files, models."""


class FileConfig(BaseModel):
    """A config that a JSON file holds; unknown fields are errors.

    Attributes:
        example: a file to look at, for the message when there is none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    example: ClassVar[str]

    @classmethod
    def read(cls, path: str | Path, **changes: Any) -> Self:
        """The config in a JSON file, with `changes` on top; relative folders are relative to the working directory.

        Raises:
            SettingsError: the file is missing, no JSON, or holds a field that is invalid.
            ConfigError: several faults.
        """
        return read_config(cls, path, cls.example, **changes)

    @classmethod
    def checked(cls, path: str | Path, *, offline: bool = False, **changes: Any) -> Self:
        """The same, and what it names is there, as `faults` says; nothing heavy is loaded for that.

        Args:
            path: of the file.
            offline: ask no hub whether it has the base.
            changes: fields to replace.

        Raises:
            DeeptraceError: one fault of any kind; several are a `ConfigError`.
        """
        return read_config(cls, path, cls.example, lambda parts: cls.faults(parts, offline=offline), **changes)

    @classmethod
    def faults(cls, _parts: Parts, *, offline: bool) -> Sequence[DeeptraceError]:  # noqa: ARG003
        """What stands in the way of a training with these valid fields: nothing, where a config has no checks."""
        return ()


def read_config(
    kind: type[Config],
    path: str | Path,
    example: str,
    check: Check = lambda _parts: (),
    **changes: Any,
) -> Config:
    """The config of class `kind` in a JSON file, with `changes` of its top fields on top.

    Relative folders in it are relative to the working directory.

    Args:
        kind: pydantic model.
        path: of the file.
        example: a file to look at, for the message when there is none.
        check: looks for more faults, in the fields that are valid.
        changes: fields to replace.

    Raises:
        SettingsError: the file is missing or no JSON, or a field is invalid.
        ConfigError: several faults, those that `check` found among them.
        DeeptraceError: the only fault is one that `check` found.
    """
    try:
        fields = json.loads(Path(path).read_bytes())
    except (FileNotFoundError, IsADirectoryError):
        raise SettingsError(str(path), "no such config", f"See {example}.") from None
    except ValueError as error:  # no JSON, or no text at all
        raise SettingsError(str(path), f"not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise SettingsError(str(path), "not a JSON object")
    fields |= changes
    try:
        config, faults = kind.model_validate(fields), list[DeeptraceError]()
    except ValidationError as error:
        config, faults = None, [_fault(kind, str(path), dict(one)) for one in error.errors()]
    faults += check(_valid_parts(kind, fields))
    if faults or config is None:
        raise ConfigError.of(str(path), faults) from None
    return config


def sub_model(annotation: Any) -> type[BaseModel] | None:
    """The config class within the type of a field: `Part` of `Part`, of `Part | None` and of `list[Part]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for inner in get_args(annotation) if (found := sub_model(inner)) is not None), None)


def field_names(kind: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """The fields of a config class and of the classes in it, as "learn.group"."""
    for name, field in kind.model_fields.items():
        yield prefix + name
        if (inner := sub_model(field.annotation)) is not None:
            yield from field_names(inner, f"{prefix}{name}.")


def _fault(kind: type[BaseModel], path: str, error: Mapping[str, Any]) -> SettingsError:
    where = ".".join(str(part) for part in error["loc"])
    subject = f"{path}, {where}" if where else path
    if error["type"] != "extra_forbidden":
        return SettingsError(subject, error["msg"].removeprefix("Value error, "))
    return SettingsError(subject, "no such field", f"Is it {_nearest(kind, error['loc'])}?")


def _nearest(kind: type[BaseModel], place: Sequence[str | int]) -> str:
    """The known field that was most likely meant: beside the unknown one, else anywhere in the config."""
    names = [str(part) for part in place if not isinstance(part, int)]
    every = list(field_names(kind))
    parent, wanted = ".".join(names[:-1]), names[-1]
    beside = [name for name in every if name.rpartition(".")[0] == parent]
    last = {name.rpartition(".")[2]: name for name in reversed([*beside, *every])}
    if close := get_close_matches(wanted, [name.rpartition(".")[2] for name in beside], n=1):
        return last[close[0]]
    if close := get_close_matches(wanted, last, n=1, cutoff=0.8):
        return last[close[0]]
    listed = [name.rpartition(".")[2] for name in beside]
    return f"one of {', '.join(get_close_matches(wanted, listed, n=3, cutoff=0.0))}"


def _valid_parts(kind: type[BaseModel], fields: Mapping[str, Any]) -> dict[str, Any]:
    """The top fields that are valid by themselves, as the config would have them; defaults where none is given."""
    found = {}
    for name, field in kind.model_fields.items():
        if name not in fields:
            if not field.is_required():
                found[name] = field.get_default(call_default_factory=True)
            continue
        with suppress(ValidationError):
            kind_of: Any = field.annotation
            found[name] = TypeAdapter(kind_of).validate_python(fields[name])
    return found
