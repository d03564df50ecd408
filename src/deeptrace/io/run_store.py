"""The folder of a run: what it is, what has been done, and the files that are made of that.

    DIR/manifest.json    the run's kind and settings; written before anything else
    DIR/journal.jsonl    one line a result, on the disk before the next is begun
    DIR/...              the files that the run is for, written in order and whole when it ends
    DIR/.lock            held while a process writes here, until it ends, however it ends
    DIR/.hashes.jsonl    hashes of files that were read, so that they are not read again

A run that goes on (`resume`) keeps what is done and still holds, tries again what failed, and refuses settings other
than it began with, by name. Without `resume` a folder that holds results is refused. A result belongs to a key, a hash
of the content and of what was made of it, and not to a path: what was moved or renamed keeps its results.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self

from deeptrace.errors import SettingsError
from deeptrace.io.atomic import remove_leftovers
from deeptrace.io.fingerprint import ContentHashes, Read
from deeptrace.io.journal import Lines
from deeptrace.io.jsonl import write_json
from deeptrace.urls import public_text

__all__ = ["MANIFEST", "ClaimedFolder", "RunStore", "hold_folder", "key_of"]

LOCK, MANIFEST, JOURNAL, HASHES = ".lock", "manifest.json", "journal.jsonl", ".hashes.jsonl"
FORMAT = 1

Record = dict[str, Any]

_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP})
"""What file systems say that know no locks, as some network ones do: a run there goes without."""


@contextmanager
def hold_folder(folder: str | os.PathLike[str]) -> Iterator[None]:
    """A folder for this run alone, until the block or the process ends, however it ends; made when it does not exist.

    Raises:
        SettingsError: another run holds it, or it cannot be written.
    """
    from filelock import FileLock, Timeout  # slow to import, and few commands write a folder

    place = Path(folder)
    lock = FileLock(place / LOCK, timeout=0, thread_local=False, fallback_to_soft=False)
    try:
        place.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise SettingsError(
            str(folder), "another run is writing into this folder", "Wait for it to end, or name another."
        ) from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            reason = error.strerror or error
            raise SettingsError(str(folder), f"cannot be used as a folder for results: {reason}") from error
    try:
        yield
    finally:
        lock.release()


def key_of(content: str | None, *rest: str) -> str | None:
    """The key of a result: of a content, and of what was made of it. None where the content is not known."""
    return None if content is None else hashlib.sha256("\n".join((content, *rest)).encode()).hexdigest()


class ClaimedFolder:
    """A folder held by one run, with its manifest; a context manager.

    Args:
        folder: of the run; made when it does not exist.
        kind: of run, as "detect".
        settings: all that decides the results, as JSON values by name.
        resume: whether to go on with what is there.
        about: circumstances that decide nothing: versions, names, the time.
        files: names of the files and folders that the run makes, so that those of something else are left alone.

    Raises:
        SettingsError: the folder holds results and `resume` was not asked for; it holds another kind of run, one with
            other settings (the message names them), one of an earlier version, or files that no run made; another run
            is writing there; or it cannot be written.
    """

    own_files: ClassVar[tuple[str, ...]] = ()
    """Files that every run of this class makes, beside those that a run names."""

    def __init__(
        self,
        folder: str | os.PathLike[str],
        kind: str,
        settings: Mapping[str, Any],
        *,
        resume: bool,
        about: Mapping[str, Any] | None = None,
        files: Sequence[str] = (),
    ) -> None:
        self.path = Path(folder)
        self._files = (*self.own_files, *files)
        stated = {"kind": kind, "format": FORMAT, "settings": settings, "pinned": {}, "about": about or {}}
        self._manifest = _plain(stated)
        with ExitStack() as stack:
            stack.enter_context(hold_folder(folder))
            self._check(resume)
            write_json(self._manifest, self.path / MANIFEST, synced=True)
            for place in (self.path, *(self.path / name for name in self._files)):
                if place.is_dir():
                    remove_leftovers(place)
            self._open(stack)
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let others in; safe to call twice."""
        self._stack.close()

    def pin(self, **settings: Any) -> None:
        """Settle what could not be known when the folder was opened.

        Raises:
            SettingsError: the run to go on with had something else.
        """
        pinned, given = self._manifest["pinned"], _plain(settings)
        if changed := [name for name, value in given.items() if pinned.get(name, value) != value]:
            raise self._other(changed)
        pinned |= given
        write_json(self._manifest, self.path / MANIFEST, synced=True)

    def free(self) -> None:
        """Leave the folder to any other run of this kind, whatever its settings: it came to nothing.

        Only for kinds whose keys hold all that decides a result, because the journal stays.
        """
        self._manifest["free"] = True
        write_json(self._manifest, self.path / MANIFEST, synced=True)

    def _open(self, stack: ExitStack) -> None:
        """Open what else belongs to the run."""

    def _check(self, resume: bool) -> None:
        """Raise unless the folder is new, or holds this run and may go on."""
        earlier = self._read_manifest()
        there = [name for name in self._files if _holds(self.path / name)]
        if earlier is None and there:
            problem = f"holds {there[0]}, and no run that this version of deeptrace can go on with"
            raise SettingsError(str(self.path), problem, "Name another folder.")
        if earlier is None:
            return
        if earlier.get("format") != FORMAT or not earlier.keys() >= self._manifest.keys():
            problem = f"holds a {MANIFEST} of another version of deeptrace, or of another program"
            raise SettingsError(str(self.path), problem, "Name another folder.")
        if not there or (earlier.get("free") is True and earlier["kind"] == self._manifest["kind"]):
            return  # a run that did nothing is in nobody's way
        if not resume:
            mend = "Go on with it (--resume), or name another folder."
            raise SettingsError(str(self.path), "holds results of an earlier run", mend)
        if earlier["kind"] != self._manifest["kind"]:
            raise SettingsError(str(self.path), f"holds another kind of run: {earlier['kind']}", "Name another folder.")
        if changed := _differences(self._manifest["settings"], earlier["settings"]):
            raise self._other(changed)
        self._manifest["pinned"] = earlier["pinned"]

    def _other(self, changed: Sequence[str]) -> SettingsError:
        problem = f"holds a run with another {', '.join(changed)}"
        return SettingsError(str(self.path), problem, "Name another folder, or begin as it did.")

    def _read_manifest(self) -> Record | None:
        path = self.path / MANIFEST
        try:
            value = json.loads(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise SettingsError(str(path), f"cannot be read: {error}", "Name another folder.") from error
        return value if isinstance(value, dict) else {}


class RunStore(ClaimedFolder):
    """A run's folder with a journal of results. `add` may be called from several threads.

    Args:
        folder, kind, settings, resume, about, files: as of `ClaimedFolder`.

    Raises:
        SettingsError: as of `ClaimedFolder`; or there are results, but the journal is missing.
    """

    own_files = (JOURNAL,)

    def _open(self, stack: ExitStack) -> None:
        journal = self.path / JOURNAL
        results = [name for name in self._files if _holds(self.path / name)]
        if results and not journal.exists():
            raise SettingsError(str(self.path), f"has lost its {JOURNAL}, so that nothing says what {results[0]} is of")
        self._lines = Lines(journal)
        stack.callback(self._lines.close)
        self._hashes = ContentHashes(self.path / HASHES)
        stack.callback(self._hashes.close)
        self._load()

    def content(self, path: str) -> str | None:
        """What stands for the content of a file or object; see `ContentHashes.of`."""
        return self._hashes.of(path)

    def learn(self, path: str, read: Read) -> None:
        """Take what was read of a file elsewhere, so that it need not be read here; see `ContentHashes.learn`."""
        self._hashes.learn(path, read)

    def add(self, key: str | None, record: Mapping[str, Any], *, name: str = "") -> None:
        """Keep a result: it is on the disk when this returns.

        Args:
            key: what it was made of (`key_of`); None where that is not known. Then nothing will find it again.
            record: JSON values.
            name: what the run's files call it; results without a name are not in `named`.
        """
        line = {"key": key or "", "name": name, "record": dict(record)}
        self._interrupted = True  # Ctrl-C may come between writing and remembering
        self._lines.add(line)
        self._take(line)
        self._interrupted = False

    def find(self, key: str | None) -> Record | None:
        """The last result of a key."""
        return None if key is None else self._by_key.get(key)

    def rename(self, key: str, name: str) -> None:
        """Let `name` stand for a result that is there, as when its file was moved."""
        if self._by_name.get(name, ("", {}))[0] != key:
            line = {"key": key, "name": name}
            self._lines.add(line, synced=False)  # what is lost of it by a power cut is found by its key again
            self._take(line)

    def named(self) -> dict[str, tuple[str, Record]]:
        """Key and last result of each name, in the order in which the names first came."""
        if self._interrupted:
            self._load()
        return dict(self._by_name)

    def _load(self) -> None:
        self._by_key: dict[str, Record] = {}
        self._by_name: dict[str, tuple[str, Record]] = {}
        for line in self._lines.read():
            self._take(line)
        self._interrupted = False

    def _take(self, line: Record) -> None:
        key, name = line.get("key", ""), line.get("name", "")
        if not isinstance(key, str) or not isinstance(name, str):
            return
        record = line.get("record", self._by_key.get(key))
        if not isinstance(record, dict):
            return
        if key:
            self._by_key[key] = record
        if name:
            self._by_name[name] = (key, record)


def _holds(path: Path) -> bool:
    """Whether there is something in a file or folder."""
    if path.is_dir():
        return any(path.iterdir())
    return path.exists() and path.stat().st_size > 0


def _plain(value: Mapping[str, Any]) -> Record:
    """The value as JSON brings it back, its URLs without their secrets."""
    plain: Record = json.loads(public_text(json.dumps(value)))
    return plain


def _differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """The names of settings that differ; of those that are mappings themselves, as "detector.settings.threshold"."""
    found = []
    for name in sorted({*ours, *theirs}):
        a, b = ours.get(name), theirs.get(name)
        if isinstance(a, dict) and isinstance(b, dict):
            found += [f"{name}.{below}" for below in _differences(a, b)]
        elif a != b:
            found.append(name)
    return found
