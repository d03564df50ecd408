"""A detector over the samples of a run: every result kept under what it was computed from, so nothing is done twice.

The key of a result is a hash of the media file's bytes and of the detector with all its settings. A dataset that was
moved, renamed or copied keeps its results; a file that changed loses its own. What a model said (scored, refused,
unreadable) holds; a file that did not decode and a model that did not run are tried again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from deeptrace.data import resolve_path
from deeptrace.detectors import Detector
from deeptrace.evaluate.detect import VERDICT_ONLY
from deeptrace.evaluate.detect_folder import digest
from deeptrace.evaluate.detect_inputs import fingerprint
from deeptrace.evaluate.journal import Journal
from deeptrace.evaluate.pools import open_pool
from deeptrace.trace import DetectorInfo, Outcome, Sample, Verdict

__all__ = ["DetectorRunner", "content_key"]

KEEP = frozenset({Outcome.SCORED, Outcome.REFUSED, Outcome.PARSE_FAILED})
_CHUNK = 1 << 20


def content_key(path: str, info: DetectorInfo) -> str | None:
    """What a result depends on: the bytes of the file (of remote ones their store's key) and the detector.

    None when the file cannot be read; then no earlier result holds.
    """
    if "://" in path:
        content = fingerprint(path)
    else:
        found = hashlib.sha256()
        try:
            with open(path, "rb") as file:
                while chunk := file.read(_CHUNK):
                    found.update(chunk)
        except OSError:
            return None
        content = found.hexdigest()
    return None if content is None else hashlib.sha256(f"{content} {digest(info)}".encode()).hexdigest()


@dataclass
class DetectorRunner:
    """A loaded detector, in this process or in workers; a context manager.

    Args:
        detector: a name, or a loaded detector (then `workers` must be 1).
        settings: of the detector, when it is given by name.
        workers: processes; with one and no time limit the work is done in this process. For a detector that waits for
            a server, threads; with one, as many as it has questions in flight. For a model that judges in batches,
            threads that decode; with one, two.
        timeout_s: longest time for one video; None for no limit.

    Attributes:
        info: the detector's description.
        kept: how many results an earlier run had.

    Raises:
        UnknownDetectorError, SettingsError, MissingExtraError, ModelError: the detector cannot be loaded.
    """

    detector: str | Detector
    settings: dict[str, Any]
    workers: int = 1
    timeout_s: float | None = None
    kept: int = 0

    def __post_init__(self) -> None:
        workers = None if self.workers == 1 else self.workers
        self._pool = open_pool(
            self.detector, self.settings, workers=workers, timeout_s=self.timeout_s, job=VERDICT_ONLY
        )
        self.info = self._pool.info

    def __enter__(self) -> DetectorRunner:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.close()

    def run(
        self,
        samples: Sequence[Sample],
        root: str,
        journal: Journal | None = None,
        on_done: Callable[[int, int], object] = lambda _done, _total: None,
    ) -> list[Verdict]:
        """The verdict of each sample, its `video` the sample's own path; each is on the disk as soon as it is done.

        Args:
            samples: what to judge.
            root: folder that their paths are relative to.
            journal: keeps results; None to keep none.
            on_done: called with (videos done, videos in all).

        Raises:
            DataError: a path leads out of `root`.
        """
        paths = {sample.video_id: resolve_path(sample, root) for sample in samples}
        total = len(set(paths.values()))
        keys: dict[str, str | None] = {}
        done: dict[str, Verdict] = {}

        def todo() -> Iterator[str]:
            for path in dict.fromkeys(paths.values()):
                keys[path] = content_key(path, self.info) if journal is not None else None
                found = _found(journal, keys[path])
                if found is None:
                    yield path
                    continue
                self.kept += 1
                done[path] = found
                on_done(len(done), total)

        for path, judged in self._pool.run(todo()):
            verdict = judged.verdict
            key = keys[path]
            if journal is not None and key is not None:
                journal.add(key, {"verdict": verdict.model_copy(update={"video": ""}).model_dump(mode="json")})
            done[path] = verdict
            on_done(len(done), total)
        return [
            done[paths[sample.video_id]].model_copy(update={"video": sample.path or sample.video_id})
            for sample in samples
        ]


def _found(journal: Journal | None, key: str | None) -> Verdict | None:
    if journal is None or key is None or key not in journal:
        return None
    verdict = Verdict.model_validate(journal[key]["verdict"])
    return verdict if verdict.outcome in KEEP else None
