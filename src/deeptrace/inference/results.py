"""The folder of a detection run: results on disk as they come, and what is needed to go on after a kill -9.

    DIR/verdicts.jsonl   one verdict a line, the contract's format; in the order of the inputs once a run has ended
    DIR/journal.jsonl    the same with what `--resume` needs: what each was made of, and the evidence curves
    DIR/manifest.json    the detector with its settings

A result is done when its journal line is on the disk; the verdicts are made from the journal whenever the folder is
opened or closed, so a kill at any moment neither loses nor repeats a result. A result belongs to the bytes of its video
and to the detector: a video that was moved, renamed or copied keeps it, one that has changed does not.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from deeptrace.detectors import Analysis
from deeptrace.errors import DataError
from deeptrace.io.fingerprint import Read
from deeptrace.io.journal import Lines
from deeptrace.io.jsonl import write_lines
from deeptrace.io.run_store import RunStore, key_of
from deeptrace.schema import DetectorInfo, Outcome, Verdict
from deeptrace.urls import shown_name

__all__ = ["HOLDS", "RunFolder", "digest", "read_verdicts"]

Named = dict[str, tuple[str, dict[str, Any]]]

VERDICTS, OVERLAYS = "verdicts.jsonl", "overlays"

HOLDS = frozenset({Outcome.SCORED, Outcome.UNDECIDABLE, Outcome.REFUSED, Outcome.PARSE_FAILED})
"""Outcomes that a run which goes on keeps: the detector has answered, if only by a refusal or by words that nobody can
read, and would answer the same again. Where it could not be asked, it is asked again."""


def digest(info: DetectorInfo) -> str:
    """A short name of a detector with all its settings."""
    text = json.dumps(info.model_dump(mode="json"), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_verdicts(path: str | os.PathLike[str]) -> list[Verdict]:
    """The verdicts of a .jsonl file; a last line that was cut off in the middle is left out.

    Raises:
        DataError: a line that is not the last is no verdict.
    """
    file = Path(path)
    if not file.exists():
        return []
    lines = file.read_bytes().split(b"\n")
    verdicts = []
    for number, line in enumerate(lines, start=1):
        try:
            if line.strip():
                verdicts.append(Verdict.model_validate_json(line))
        except ValidationError as error:
            if number < len(lines):
                raise DataError(f"{path}, line {number}", "is no verdict") from error
    return verdicts


class RunFolder:
    """A run's folder, open for writing.

    Args:
        folder: made when it does not exist.
        info: of the detector.
        resume: whether to go on with what is there.

    Raises:
        SettingsError: as of `RunStore`.
    """

    def __init__(self, folder: str | os.PathLike[str], info: DetectorInfo, *, resume: bool) -> None:
        settings = {"detector": info.model_dump(mode="json")}
        self._store = RunStore(folder, "detect", settings, resume=resume, files=(VERDICTS, OVERLAYS))
        self._detector = digest(info)
        self._keys: dict[str, str | None] = {}
        self._done: int | None = None
        try:
            named = self._store.named()
            self._rewrite(named, named)
            self._verdicts = Lines(self._store.path / VERDICTS)
        except BaseException:
            self._store.close()
            raise

    def look_at(self, path: str) -> None:
        """Take the content that is at `path` now as that of the result to come."""
        self._keys[path] = key_of(self._store.content(path), self._detector)

    def learn(self, path: str, read: Read) -> None:
        """Take what was read of `path` elsewhere as the content of the result to come."""
        self._store.learn(path, read)
        self._keys[path] = key_of(read.content, self._detector)

    def find(self, path: str, *, evidence: bool) -> Analysis | None:
        """What an earlier run said of the content at `path`, if it still holds."""
        self.look_at(path)
        key = self._keys[path]
        record = self._store.find(key)
        if record is None or key is None or (evidence and record["curves"] is None):
            return None
        verdict = Verdict.model_validate(record["verdict"])
        if verdict.outcome not in HOLDS:
            return None
        self._store.rename(key, shown_name(path))
        curves = {curve: [(at, value) for at, value in points] for curve, points in (record["curves"] or {}).items()}
        return Analysis(verdict.model_copy(update={"video": shown_name(path)}), curves)

    def add(self, path: str, found: Analysis, *, evidence: bool) -> None:
        """Write one result so that it survives whatever happens next."""
        plain: dict[str, Any] = json.loads(found.verdict.model_dump_json())
        curves = found.curves if evidence else None
        self._store.add(self._keys.get(path), {"verdict": plain, "curves": curves}, name=shown_name(path))
        self._verdicts.add(plain, synced=False)

    def close(self, order: Iterable[str]) -> int:
        """Put the verdicts into the order of `order`; what is not in it (of earlier runs) comes first. Safe to repeat.

        Returns:
            How many of `order` have a result.
        """
        if self._done is None:
            paths = {shown_name(path): path for path in order}
            named = self._store.named()
            # Of a video that has changed since, an earlier result is none.
            current = [
                name for name, path in paths.items() if name in named and named[name][0] == (self._keys.get(path) or "")
            ]
            moved = self._moved(named, paths)
            earlier = [name for name in named if name not in paths and name not in moved]
            self._verdicts.close()
            self._rewrite(named, [*earlier, *current])
            self._store.close()
            self._done = len(current)
        return self._done

    def _moved(self, named: Named, paths: dict[str, str]) -> set[str]:
        """Names of earlier runs for what this run has under another: their file is gone, or is one of this run's."""
        here = {os.path.realpath(path) for path in paths.values() if "://" not in path}
        contents = {self._keys.get(path) for path in paths.values()} - {None}
        local = [name for name, (key, _) in named.items() if key in contents and "://" not in name]
        return {name for name in local if not os.path.exists(name) or os.path.realpath(name) in here}

    def _rewrite(self, named: Named, names: Iterable[str]) -> None:
        """Write the verdicts under these names."""
        write_lines((named[name][1]["verdict"] | {"video": name} for name in names), self._store.path / VERDICTS)
