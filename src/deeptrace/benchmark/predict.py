"""A detector over the samples of a run: every result kept under what it was computed from, so nothing is done twice.

The key of a result is a hash of the media file's bytes and of the detector with all its settings. A dataset that was
moved, renamed or copied keeps its results; a file that changed loses its own. What a model said (scored, refused,
unreadable) holds; a file that did not decode and a model that did not run are tried again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from deeptrace.data import resolve_path
from deeptrace.detectors import Detector
from deeptrace.inference.executor import Runner, open_executor
from deeptrace.inference.results import HOLDS, digest
from deeptrace.io.run_store import RunStore, key_of
from deeptrace.schema import Sample, Verdict
from deeptrace.urls import public_url

__all__ = ["DetectorRunner"]


@dataclass
class DetectorRunner:
    """A detector ready for the samples of a run; a context manager.

    Args:
        detector: a name, or a loaded detector, which works in this process.
        settings: of the detector, when it is given by name.
        workers, timeout_s: see `open_executor`.
        runner: see `deeptrace.inference.DetectRun`.

    Attributes:
        info: the detector's description.
        kept: how many results an earlier run had.

    Raises:
        UnknownDetectorError, SettingsError, MissingExtraError, ModelError: the detector cannot be loaded.
    """

    detector: str | Detector
    settings: dict[str, Any]
    workers: int | None = None
    timeout_s: float | None = None
    runner: Runner | None = None
    kept: int = 0

    def __post_init__(self) -> None:
        self._runner = self.runner or open_executor(
            self.detector, self.settings, workers=self.workers, timeout_s=self.timeout_s
        )
        self.info = self._runner.info

    def __enter__(self) -> DetectorRunner:
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.close()

    def run(
        self,
        samples: Sequence[Sample],
        root: str,
        store: RunStore | None = None,
        on_done: Callable[[int, int], object] = lambda _done, _total: None,
    ) -> list[Verdict]:
        """The verdict of each sample, its `video` the sample's own path; each is on the disk as soon as it is done.

        Args:
            samples: the samples to analyse.
            root: folder that their paths are relative to.
            store: keeps results; None to keep none.
            on_done: called with (videos done, videos in all).

        Raises:
            DataError: a path leads out of `root`.
        """
        paths = {sample.video_id: resolve_path(sample, root) for sample in samples}
        total = len(set(paths.values()))
        keys: dict[str, str | None] = {}
        done: dict[str, Verdict] = {}

        detector = digest(self.info)

        def todo() -> Iterator[str]:
            for path in dict.fromkeys(paths.values()):
                keys[path] = None if store is None else key_of(store.content(path), detector)
                found = _found(store, keys[path])
                if found is None:
                    yield path
                    continue
                self.kept += 1
                done[path] = found
                on_done(len(done), total)

        for result in self._runner.run(todo()):
            path, verdict = result.name, result.verdict
            if store is not None:
                if result.read is not None:
                    store.learn(path, result.read)
                    keys[path] = key_of(result.read.content, detector)
                store.add(keys[path], {"verdict": verdict.model_copy(update={"video": ""}).model_dump(mode="json")})
            done[path] = verdict
            on_done(len(done), total)
        return [
            done[paths[sample.video_id]].model_copy(update={"video": public_url(sample.path or sample.video_id)})
            for sample in samples
        ]


def _found(store: RunStore | None, key: str | None) -> Verdict | None:
    """What an earlier run said, if it holds."""
    record = None if store is None else store.find(key)
    if record is None:
        return None
    verdict = Verdict.model_validate(record["verdict"])
    return verdict if verdict.outcome in HOLDS else None
