"""The folder of a detection run: results on disk as they come, and what is needed to go on after a kill -9.

    DIR/journal.jsonl    one line a result: verdict, fingerprint of the file, digest of the detector, evidence curves
    DIR/verdicts.jsonl   the verdicts alone, the contract's format, in the order of the inputs once a run has ended

A result is done when its journal line is on the disk (synced); the verdicts are made from the journal whenever the
folder is opened or closed, so a kill at any moment neither loses nor repeats a result. On `--resume` a video is skipped
when the journal has a scored verdict for the same path as given, an unchanged file (size and modification time; for
object stores their own key; http(s) addresses count as unchanging) and the same detector with the same settings. Failed
ones are tried again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import IO, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from deeptrace.detectors import EvidenceCurves
from deeptrace.errors import DataError, SettingsError
from deeptrace.evaluate.detect import Judged
from deeptrace.folder_lock import FolderLock
from deeptrace.trace import DetectorInfo, Outcome, Verdict

__all__ = ["RunFolder", "digest", "read_verdicts"]

R = TypeVar("R", bound=BaseModel)

VERDICTS, JOURNAL = "verdicts.jsonl", "journal.jsonl"


class _Entry(BaseModel):
    """One line of the journal. `curves` is None when evidence was not asked for."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    fingerprint: str | None = None
    detector: str = ""
    curves: EvidenceCurves | None = None
    verdict: Verdict


def digest(info: DetectorInfo) -> str:
    """A short name of a detector with all its settings."""
    text = json.dumps(info.model_dump(mode="json"), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_verdicts(path: str | os.PathLike[str]) -> list[Verdict]:
    """The verdicts of a .jsonl file; a last line that was cut off in the middle is left out.

    Raises:
        DataError: a line that is not the last is no verdict.
    """
    return _records(Path(path), Verdict)


class RunFolder:
    """A run's folder, open for writing.

    Args:
        folder: made when it does not exist.
        resume: go on with what is there.

    Raises:
        SettingsError: the folder holds verdicts already and `resume` was not asked for, another run writes into it, or
            it cannot be written.
        DataError: its files are damaged beyond a cut-off last line.
    """

    def __init__(self, folder: str | os.PathLike[str], *, resume: bool) -> None:
        self.path = Path(folder)
        self._lock = FolderLock(folder)
        try:
            self._done = self._taken_over(resume)
            self._rewrite(self._done.values())
            self._journal, self._verdicts = (self._open(name) for name in (JOURNAL, VERDICTS))
        except BaseException:
            self._lock.release()
            raise

    def find(self, path: str, fingerprint: str | None, info: DetectorInfo, *, evidence: bool) -> Judged | None:
        """What an earlier run said of `path`, if it still holds; failures never do."""
        entry = self._done.get(path)
        if entry is None or entry.verdict.outcome is not Outcome.SCORED or fingerprint is None:
            return None
        if (entry.fingerprint, entry.detector) != (fingerprint, digest(info)):
            return None
        if evidence and entry.curves is None:
            return None
        return Judged(entry.verdict, entry.curves or {})

    def add(self, fingerprint: str | None, info: DetectorInfo, judged: Judged, *, evidence: bool) -> None:
        """Write one result so that it survives whatever happens next."""
        curves = judged.curves if evidence else None
        entry = _Entry(fingerprint=fingerprint, detector=digest(info), curves=curves, verdict=judged.verdict)
        _append(self._journal, entry)
        _append(self._verdicts, judged.verdict)

    def close(self, order: Iterable[str]) -> int:
        """Put both files into the order of `order`; what is not in it (of earlier runs) comes first. Safe to repeat.

        Returns:
            How many of `order` have a result.
        """
        self._verdicts.close()
        self._journal.close()
        done = self._read()  # not what was remembered: an interrupt may have come between writing and remembering
        last = {path: done.pop(path) for path in order if path in done}
        self._rewrite([*done.values(), *last.values()])
        self._lock.release()
        return len(last)

    # -- files ----------------------------------------------------------------------------------------------------

    def _taken_over(self, resume: bool) -> dict[str, _Entry]:
        """What an earlier run left here."""
        existing = self.path / VERDICTS
        if existing.exists() and existing.stat().st_size and not resume:
            raise SettingsError(
                str(self.path), "holds verdicts of an earlier run", "Add --resume to go on with it, or name another."
            )
        return self._read()

    def _read(self) -> dict[str, _Entry]:
        """Path to the last that is known of it; a verdict the journal does not know is kept, but never as done."""
        verdicts = [_Entry(verdict=verdict) for verdict in read_verdicts(self.path / VERDICTS)]
        journal = _records(self.path / JOURNAL, _Entry)
        return {entry.verdict.video: entry for entry in (*verdicts, *journal)}

    def _rewrite(self, entries: Iterable[_Entry]) -> None:
        rows = list(entries)
        for name, records in ((JOURNAL, rows), (VERDICTS, [row.verdict for row in rows])):
            part = self.path / f".{name}.part"
            with part.open("w", encoding="utf-8") as file:
                file.writelines(f"{record.model_dump_json()}\n" for record in records)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, self.path / name)

    def _open(self, name: str) -> IO[str]:
        try:
            return (self.path / name).open("a", encoding="utf-8")
        except OSError as error:
            raise SettingsError(str(self.path), f"cannot be written: {error.strerror}") from error


def _append(file: IO[str], record: Verdict | _Entry) -> None:
    file.write(record.model_dump_json() + "\n")
    file.flush()
    os.fsync(file.fileno())


def _records(path: Path, kind: type[R]) -> list[R]:
    """The lines of `path` as `kind`; a broken last line is what a kill leaves behind, any other is an error."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    records = []
    for number, line in enumerate(lines, start=1):
        try:
            records.append(kind.model_validate_json(line))
        except ValidationError as error:
            if number < len(lines):
                raise DataError(f"{path}, line {number}", f"is no {kind.__name__.strip('_').lower()}") from error
    return records
