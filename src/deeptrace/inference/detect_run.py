"""Many videos, in order, kept on disk as they come."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any

from deeptrace.detectors import DEFAULT_DETECTOR, Analysis
from deeptrace.errors import SettingsError
from deeptrace.inference.executor import Result, Runner, open_executor
from deeptrace.inference.inputs import Input
from deeptrace.inference.one_clip import VERDICT_ONLY, Job, failed_verdict, overlay_name
from deeptrace.inference.results import RunFolder
from deeptrace.schema import Outcome

__all__ = ["DetectRun"]


class DetectRun:
    """A detector over many videos, in worker processes that hostile files cannot stop; see `open_executor`.

    Args:
        inputs: the videos (see `expand_inputs`).
        detector: name of the detector.
        settings: of the detector.
        workers, timeout_s: see `open_executor`.
        job: what to do with each video beside the verdict.
        out: folder that keeps the verdicts (see `RunFolder`); None to keep none.
        resume: whether to go on with what `out` holds.
        runner: what works on the videos in place of worker processes here, such as `deeptrace.scale.RayRunner`;
            `detector`, `settings`, `workers` and `timeout_s` are then its own. Closed with the run.

    Attributes:
        info: the detector's description.
        kept: how many results an earlier run already had.
        done: how many inputs have a result by now, those kept included and those not yet handed out; exact after
            `close`.

    Raises:
        UnknownDetectorError, SettingsError, MissingExtraError, ModelError: the detector cannot be loaded.
        SettingsError: the folder cannot be used.
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
        runner: Runner | None = None,
    ) -> None:
        if resume and out is None:
            raise SettingsError("resume", "needs the folder of the earlier run", "Add --out DIR.")
        self._inputs, self._job = list(inputs), job
        self._folder: RunFolder | None = None
        self._runner = runner or open_executor(detector, settings, workers=workers, timeout_s=timeout_s)
        self.info = self._runner.info
        try:
            if out is not None:
                self._folder = RunFolder(out, self.info, resume=resume)
        except BaseException:
            self.close()
            raise
        self._kept = self._find_kept() if resume else {}
        self.kept = self.done = len(self._kept)

    def __enter__(self) -> DetectRun:
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: object, _trace: TracebackType | None) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._inputs)

    def results(self) -> Iterator[Analysis]:
        """One result an input, in the order of the inputs, each as soon as those before it are there.

        Results are on disk as soon as they are done, whatever their order; when the iteration is left early, by
        Ctrl-C too, nothing that is done is lost.
        """
        ready = dict(self._kept)
        next_up = 0
        for result in map(self._saved, chain(self._unopened(), self._runner.run(self._todo(), self._job))):
            ready[result.name] = result.analysis
            while next_up < len(self._inputs) and self._inputs[next_up].path in ready:
                yield ready.pop(self._inputs[next_up].path)
                next_up += 1
        for item in self._inputs[next_up:]:
            yield ready.pop(item.path)

    def close(self) -> None:
        """Stop the workers and put the kept verdicts in the order of the inputs; safe to call twice."""
        self._runner.close()
        if self._folder is not None:
            self.done = self._folder.close(item.path for item in self._inputs)

    def _find_kept(self) -> dict[str, Analysis]:
        if self._folder is None:
            return {}
        kept = {}
        for item in self._inputs:
            found = self._folder.find(item.path, evidence=self._job.evidence)
            if found is not None and self._has_overlay(item.path):
                kept[item.path] = found
        return kept

    def _has_overlay(self, path: str) -> bool:
        folder = self._job.overlay_dir
        return folder is None or (Path(folder) / overlay_name(path)).exists()

    def _unopened(self) -> Iterator[Result]:
        """The inputs that cannot be analysed."""
        for index, item in enumerate(self._inputs):
            if item.error is not None:
                verdict = failed_verdict(item.path, Outcome.DECODE_FAILED, item.error, info=self.info)
                yield Result(index, item.path, Analysis(verdict))

    def _todo(self) -> Iterator[str]:
        """What has to be looked at, each taken as it is when its turn comes."""
        for item in self._inputs:
            if item.error is None and item.path not in self._kept:
                if self._folder is not None and not self._runner.reads_content:
                    self._folder.look_at(item.path)
                yield item.path

    def _saved(self, result: Result) -> Result:
        """The result, which by now is on disk."""
        if self._folder is not None:
            if result.read is not None:
                self._folder.learn(result.name, result.read)
            self._folder.add(result.name, result.analysis, evidence=self._job.evidence)
        self.done += 1
        return result
