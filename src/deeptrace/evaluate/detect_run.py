"""Many videos, in order, kept on disk as they come."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from deeptrace.detectors import DEFAULT_DETECTOR
from deeptrace.errors import SettingsError
from deeptrace.evaluate.detect import VERDICT_ONLY, Job, Judged, failed_verdict, overlay_name
from deeptrace.evaluate.detect_folder import RunFolder
from deeptrace.evaluate.detect_inputs import Input, fingerprint
from deeptrace.evaluate.pools import open_pool
from deeptrace.trace import Outcome

__all__ = ["DEFAULT_TIMEOUT_S", "DetectRun"]

DEFAULT_TIMEOUT_S = 600.0
"""Longest time for one video when worker processes are used and nothing else was said."""


class DetectRun:
    """A detector over many videos.

    With one worker and no time limit the work is done in this process; otherwise in worker processes, which also
    shield the batch from files that crash a decoder. A detector that waits for a server works in threads instead, and
    a language model in this process takes several videos at once while threads decode the next ones.

    Args:
        inputs: what to judge (see `expand_inputs`).
        detector: name of the detector.
        settings: of the detector.
        workers: number of processes; of threads for a detector that waits for a server, and of decoding threads for
            one that judges in batches. None for one process, or as many threads as suit the detector.
        timeout_s: longest time for one video; None for no limit.
        job: what to do with each video beside the verdict.
        out: folder that keeps the verdicts (see `RunFolder`); None to keep none.
        resume: skip what `out` already holds.

    Attributes:
        info: the detector's description.
        kept: how many results an earlier run already had.
        done: how many inputs have a result by now, those kept included and those not yet handed out; exact after
            `close`.

    Raises:
        UnknownDetectorError, SettingsError, MissingExtraError, ModelError: the detector cannot be loaded.
        SettingsError, DataError: the folder cannot be used.
    """

    def __init__(
        self,
        inputs: Sequence[Input],
        *,
        detector: str = DEFAULT_DETECTOR,
        settings: dict[str, Any] | None = None,
        workers: int | None = None,
        timeout_s: float | None = None,
        job: Job = VERDICT_ONLY,
        out: str | os.PathLike[str] | None = None,
        resume: bool = False,
    ) -> None:
        if (workers is not None and workers < 1) or (timeout_s is not None and timeout_s <= 0):
            raise SettingsError("workers, timeout", f"expected positive numbers but got {workers} and {timeout_s}")
        if resume and out is None:
            raise SettingsError("resume", "needs the folder of the earlier run", "Add --out DIR.")
        self._inputs, self._job = list(inputs), job
        self._folder: RunFolder | None = None
        self._pool = open_pool(detector, settings or {}, workers=workers, timeout_s=timeout_s, job=job)
        self.info = self._pool.info
        try:
            if out is not None:
                self._folder = RunFolder(out, resume=resume)
        except BaseException:
            self.close()
            raise
        self._prints = {item.path: fingerprint(item.path) for item in self._inputs} if self._folder else {}
        self._kept = self._find_kept()
        self.kept = self.done = len(self._kept)

    def __enter__(self) -> DetectRun:
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: object, _trace: TracebackType | None) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._inputs)

    def results(self) -> Iterator[Judged]:
        """One result an input, in the order of the inputs, each as soon as those before it are there.

        Results are on disk as soon as they are done, whatever their order; when the iteration is left early, by
        Ctrl-C too, nothing that is done is lost.
        """
        ready = dict(self._kept)
        next_up = 0
        for path, judged in self._fresh():
            ready[path] = judged
            while next_up < len(self._inputs) and self._inputs[next_up].path in ready:
                yield ready.pop(self._inputs[next_up].path)
                next_up += 1
        for item in self._inputs[next_up:]:
            yield ready.pop(item.path)

    def close(self) -> None:
        """Stop the workers and put the kept verdicts in the order of the inputs; safe to call twice."""
        self._pool.close()
        if self._folder is not None:
            self.done = self._folder.close(item.path for item in self._inputs)

    def _find_kept(self) -> dict[str, Judged]:
        if self._folder is None:
            return {}
        kept = {}
        for item in self._inputs:
            found = self._folder.find(item.path, self._prints[item.path], self.info, evidence=self._job.evidence)
            if found is not None and self._has_overlay(item.path):
                kept[item.path] = found
        return kept

    def _has_overlay(self, path: str) -> bool:
        folder = self._job.overlay_dir
        return folder is None or (Path(folder) / overlay_name(path)).exists()

    def _fresh(self) -> Iterator[tuple[str, Judged]]:
        """What is not kept, as it is done, each already on disk."""
        todo = []
        for item in self._inputs:
            if item.error is not None:
                verdict = failed_verdict(item.path, Outcome.DECODE_FAILED, item.error, info=self.info)
                yield item.path, self._saved(item.path, Judged(verdict))
            elif item.path not in self._kept:
                todo.append(item.path)
        for path, judged in self._pool.run(todo):
            yield path, self._saved(path, judged)

    def _saved(self, path: str, judged: Judged) -> Judged:
        if self._folder is not None:
            self._folder.add(self._prints[path], self.info, judged, evidence=self._job.evidence)
        self.done += 1
        return judged
