"""A stage of NVIDIA's NeMo Curator that keeps generated clips out of what is trained on (extra `curator`).

Written for NeMo Curator 1.4: `ProcessingStage[VideoTask, VideoTask]` of `nemo_curator/stages/base.py`, and what its
own filters (`stages/video/filtering/clip_aesthetic_filter.py`) do with a clip that they take out.

    pipeline = Pipeline(name="curate", stages=[VideoReader("clips"), FixedStrideExtractorStage(...),
                                               ClipTranscodingStage(), DropGeneratedStage(), ClipWriterStage(...)])
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deeptrace.detectors import DEFAULT_DETECTOR
from deeptrace.errors import MissingExtraError
from deeptrace.inference.executor import Executor, open_executor
from deeptrace.scale.drop_generated import keeps
from deeptrace.schema import Verdict

try:
    from nemo_curator.stages.base import ProcessingStage
    from nemo_curator.stages.resources import Resources
    from nemo_curator.tasks.video import Clip, VideoTask
except ImportError as error:
    raise MissingExtraError("the stage of NeMo Curator", "curator") from error

__all__ = ["DropGeneratedStage"]


@dataclass
class DropGeneratedStage(ProcessingStage[VideoTask, VideoTask]):  # type: ignore[misc]
    """Moves the clips of a video that look AI-generated to its `filtered_clips`, as Curator's own filters do.

    A video that was not cut into clips is judged as a whole, and left out of the pipeline. What was said of a clip that
    is taken out stands in its `errors`, which Curator writes beside it.

    Attributes:
        detector: its name.
        settings: of the detector; `{"threshold": "fpr_1"}` takes out one in a hundred real clips.
        keep_failed: keep clips without a label, too: those that do not decode, or are too short to tell.
        cpus: cores for each worker of the stage, which works on as many clips at a time.
        gpus: graphics processors for each; may be a part of one.
        timeout_s: see `deeptrace.inference.open_executor`.
        name: of the stage.
    """

    detector: str = DEFAULT_DETECTOR
    settings: dict[str, Any] = field(default_factory=dict)
    keep_failed: bool = False
    cpus: float = 1.0
    gpus: float = 0.0
    timeout_s: float | None = None
    name: str = "deeptrace_drop_generated"

    def __post_init__(self) -> None:
        self.resources = Resources(cpus=self.cpus, gpus=self.gpus)
        self._executor: Executor | None = None

    def inputs(self) -> tuple[list[str], list[str]]:
        """What a task must have: see `ProcessingStage.inputs`."""
        return ["data"], ["clips"]

    def outputs(self) -> tuple[list[str], list[str]]:
        """What a task has then: see `ProcessingStage.outputs`."""
        return ["data"], ["clips", "filtered_clips"]

    def setup(self, worker_metadata: Any = None) -> None:  # noqa: ARG002
        """Load the detector, once a worker.

        Raises:
            UnknownDetectorError, SettingsError, MissingExtraError, ModelError: it cannot be loaded.
        """
        workers = max(1, int(self.cpus))
        self._executor = open_executor(self.detector, self.settings, workers=workers, timeout_s=self.timeout_s)

    def teardown(self) -> None:
        """Stop the detector."""
        if self._executor is not None:
            self._executor.close()
            self._executor = None

    def process(self, task: VideoTask) -> VideoTask | None:
        """The task with the clips that stay; None for a whole video that does not."""
        video = task.data
        if not video.clips and not video.filtered_clips:
            (verdict,) = self._verdicts([str(video.input_video)])
            return task if keeps(verdict, keep_failed=self.keep_failed) else None
        with tempfile.TemporaryDirectory(prefix="deeptrace-") as folder:
            verdicts = self._verdicts(_written(clip, Path(folder)) for clip in video.clips)
        stay = []
        for clip, verdict in zip(video.clips, verdicts, strict=True):
            if keeps(verdict, keep_failed=self.keep_failed):
                stay.append(clip)
            else:
                clip.errors[self.name] = _reason(verdict)
                video.filtered_clips.append(clip)
        video.clips = stay
        return task

    def _verdicts(self, paths: Iterable[str]) -> list[Verdict]:
        if self._executor is None:
            self.setup()
        assert self._executor is not None
        found = {result.index: result.verdict for result in self._executor.run(paths)}
        return [found[index] for index in sorted(found)]


def _written(clip: Clip, folder: Path) -> str:
    """A file with the bytes of a clip; one without any is an empty file, which fails to decode as it should."""
    path = folder / f"{clip.uuid}.mp4"
    path.write_bytes(clip.buffer or b"")
    return str(path)


def _reason(verdict: Verdict) -> str:
    if verdict.label is None:
        return f"no verdict: {verdict.outcome.value}"
    return f"looks AI-generated: p_fake {verdict.p_fake:.2f}" if verdict.p_fake is not None else "looks AI-generated"
