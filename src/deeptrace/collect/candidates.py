"""Clips to choose from: folders with one folder a generator or source, or tables that say where each clip is from."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deeptrace.data.media_join import VIDEO_SUFFIXES
from deeptrace.data.tables import iter_table_rows
from deeptrace.errors import DataError, SettingsError
from deeptrace.io.folders import walk_once
from deeptrace.schema import Label

__all__ = ["Candidate", "read_candidates"]

TABLES = (".csv", ".json", ".jsonl", ".parquet")
_SOURCES = {Label.FAKE: ("generator", "source"), Label.REAL: ("source", "generator")}
_NAME_CHARS = 80


@dataclass(frozen=True)
class Candidate:
    """One clip to choose from.

    Attributes:
        video_id: unique among all of them.
        path: of the file.
        name: the path as people know it, relative to the folder or table that it came with.
        label: FAKE for a generator's clip, REAL for footage.
        source: generator, or origin of footage.
        prompt: what the generator was asked for; None where nobody says.
        pair: what it shares with its counterpart, such as footage and its edit; None for most.
    """

    video_id: str
    path: Path
    name: str
    label: Label
    source: str
    prompt: str | None = None
    pair: str | None = None


def read_candidates(
    generated: Sequence[str | os.PathLike[str]], real: Sequence[str | os.PathLike[str]]
) -> list[Candidate]:
    """All clips that folders and tables name, generated ones first; a file that is named twice counts once.

    In a folder, each folder below it is a generator (or source) with all that lies below that; of clips that lie
    directly in it, it is the generator itself. `CLIP.txt` beside `CLIP.mp4` holds its prompt. A table (CSV, JSON,
    JSON lines or Parquet) has the columns `path`, relative to the table's folder, and `generator` or `source`; it may
    have `prompt` and `pair`, other columns are passed over.

    Args:
        generated: folders and tables of generators' clips.
        real: the same of camera footage.

    Raises:
        DataError: a table cannot be read, or a row of it lacks what is needed.
        SettingsError: no such folder or table, or a file that is named as generated and as real.
    """
    found: dict[str, Candidate] = {}
    for label, places in ((Label.FAKE, generated), (Label.REAL, real)):
        for place in places:
            for one in _read(str(place), label):
                first = found.setdefault(os.path.realpath(one.path), one)
                if first.label is not label:
                    raise SettingsError(str(one.path), "is named as generated and as real", "Name it once.")
    return _with_ids(found.values())


def _read(place: str, label: Label) -> Iterator[Candidate]:
    path = Path(place)
    if path.is_dir():
        return _from_folder(path, label)
    if path.suffix.lower() in TABLES:
        return _from_table(path, label)
    problem = "is neither a folder nor a table (.csv, .json, .jsonl, .parquet)" if path.exists() else "does not exist"
    raise SettingsError(place, problem)


def _from_folder(folder: Path, label: Label) -> Iterator[Candidate]:
    paths = sorted(Path(here, name) for here, names in walk_once(folder) for name in names)
    for path in paths:
        if path.suffix.lower() not in VIDEO_SUFFIXES or path.name.startswith("."):
            continue
        below = path.relative_to(folder).parts
        source = below[0] if len(below) > 1 else folder.resolve().name
        yield Candidate("", path, "/".join(below), label, source, _prompt_beside(path))


def _prompt_beside(path: Path) -> str | None:
    try:
        return path.with_suffix(".txt").read_text(encoding="utf-8", errors="replace").strip() or None
    except OSError:
        return None


def _from_table(table: Path, label: Label) -> Iterator[Candidate]:
    for number, row in iter_table_rows(table):
        where = f"{table.name}, row {number}"
        stated = _text(row, ("path",), where)
        source = _text(row, _SOURCES[label], where)
        if stated is None or source is None:
            needed = "path" if stated is None else " or ".join(_SOURCES[label])
            raise DataError(where, f"has no {needed}")
        prompt, pair = _text(row, ("prompt",), where), _text(row, ("pair",), where)
        yield Candidate("", table.parent / stated, stated, label, source, prompt, pair)


def _text(row: Mapping[str, Any], names: Iterable[str], where: str) -> str | None:
    """The first of the columns that is not blank."""
    for name in names:
        value = row.get(name)
        if value is None or (isinstance(value, str) and not value.strip()):
            continue
        if isinstance(value, (dict, list, bool)):
            raise DataError(f"{where}, {name}", f"expected text but got {value!r}")
        return str(value).strip()
    return None


def _with_ids(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Ids of source and file name; where two are the same, a hash of the name that the user knows sets them apart."""
    listed = list(candidates)
    plain = [_plain(f"{one.source}_{Path(one.name).stem}") for one in listed]
    counts: dict[str, int] = {}
    for name in plain:
        counts[name] = counts.get(name, 0) + 1
    taken: set[str] = set()
    named = []
    for one, name in zip(listed, plain, strict=True):
        number = 0
        video_id = name
        while counts[name] > 1 or video_id in taken:
            digest = hashlib.sha256(f"{one.label}\n{one.source}\n{one.name}\n{number}".encode()).hexdigest()
            video_id, number = f"{name}-{digest[:8]}", number + 1
            if video_id not in taken:
                break
        taken.add(video_id)
        named.append(replace(one, video_id=video_id))
    return named


def _plain(text: str) -> str:
    return re.sub(r"[^\w.-]+", "_", text).strip("._-")[-_NAME_CHARS:] or "clip"
