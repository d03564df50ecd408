"""A detector over clips on the machines of a Ray cluster, by Ray Data: what `--ray` stands for.

    this process      paths, in blocks ──> Ray Data ──> results, kept on disk as they come
    each actor        a block of paths ──> what stands for each clip's content, then `deeptrace.inference` ──> verdicts

Which actor gets which block, restarts of actors and repeats of the blocks that they held are Ray Data's. What is done
is known to the run store of the process that began the run (`deeptrace.io.run_store`), by content and detector, as of
a run on one machine. Ray's own `CheckpointConfig` (of 2.60) is not used: it keeps rows by a column, from a read to a
write by Ray, so a clip that was moved would be done again, one that changed would not, and what failed would not be
tried again.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

from deeptrace.detectors import DEFAULT_DETECTOR, Execution
from deeptrace.errors import SettingsError
from deeptrace.inference.executor import Result, Runner, open_executor
from deeptrace.inference.executors.wire import analysis_of, message_of
from deeptrace.inference.one_clip import VERDICT_ONLY, Clip, Job
from deeptrace.io.fingerprint import Read, read_content
from deeptrace.scale.cluster import Cluster, Folder, Joined, blocks_of, cause_of, is_relative, over_blocks
from deeptrace.schema import DetectorInfo
from deeptrace.video import Video

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["RayRunner"]


class RayRunner(Runner):
    """A detector on a Ray cluster; give it to `deeptrace.inference.DetectRun`.

    The files must be found under the same paths by every machine, or be URLs, and deeptrace must be installed there.

    Args:
        detector: its name.
        settings: of the detector.
        cluster: where, and how wide.
        workers: clips that an actor works on at a time; None for one a core of it, and for a served model for as many
            as it takes.
        timeout_s: see `open_executor`.

    Attributes:
        actors: how many there are.
        done: clips that came back so far.
        took_s: seconds since they were handed out, until the last came back.

    Raises:
        MissingExtraError: Ray is not installed.
        SettingsError: no such cluster answers, or one of this machine cannot hold the actors.
        UnknownDetectorError, SettingsError, MissingExtraError, ModelError: the detector cannot be loaded there.
        ServiceError: the cluster failed.
    """

    reads_content: ClassVar[bool] = True

    def __init__(
        self,
        detector: str = DEFAULT_DETECTOR,
        settings: Mapping[str, Any] | None = None,
        *,
        cluster: Cluster | None = None,
        workers: int | None = None,
        timeout_s: float | None = None,
    ) -> None:
        self.cluster, self.done, self.took_s = cluster or Cluster(), 0, 0.0
        self._joined = Joined(self.cluster)
        self.actors = self._joined.actors
        try:
            self.info, self.execution = _described(detector, settings or {}, self.cluster)
        except BaseException:
            self.close()
            raise
        if workers is None and self.execution is Execution.PROCESSES:
            workers = max(1, int(self.cluster.cpus))
        self._at_a_time = workers or 1
        self._spec = _Spec(
            detector,
            dict(settings or {}),
            workers,
            timeout_s,
            folder=Folder(),
        )

    def run(self, clips: Iterable[Clip], job: Job = VERDICT_ONLY) -> Iterator[Result]:
        """See `Runner.run`; all clips are drawn before the first is begun, and results come a block at a time.

        Raises:
            SettingsError: a clip is no path, or a machine does not see this folder.
            ServiceError: the cluster failed; what came before is done.
        """
        from ray.data import ActorPoolStrategy

        paths = [_path(clip) for clip in clips]
        if not paths:
            return
        if job.overlay_dir is not None:
            job = replace(job, overlay_dir=os.path.abspath(job.overlay_dir))
        spec = replace(self._spec, job=asdict(job), relative=any(is_relative(path) for path in paths))
        # The next block is there, and begun, while the last clips of one are worked on.
        pool = ActorPoolStrategy(size=self.actors, max_concurrent_calls_per_actor=2, enable_true_multi_threading=True)
        came = over_blocks(self._blocks(paths), _ClipActor, (spec,), pool, self.cluster)
        began, before = time.perf_counter(), self.took_s
        for block in came:
            self.done += block.num_rows
            self.took_s = before + time.perf_counter() - began
            for row in block.to_pylist():
                found = analysis_of(json.loads(row["message"]), row["blobs"])
                yield Result(row["index"], paths[row["index"]], found, Read(row["content"], row["stamp"]))

    def close(self) -> None:
        """See `Runner.close`; a cluster that was there before stays."""
        self._joined.close()

    def _blocks(self, paths: list[str]) -> list[pa.Table]:
        import pyarrow as pa

        names = pa.array([os.fsencode(path) for path in paths], pa.binary())  # a name need not be UTF-8
        table = pa.table({"index": pa.array(range(len(paths)), pa.int64()), "path": names})
        return blocks_of(table, self.actors, self._at_a_time)


@dataclass(frozen=True)
class _Spec:
    """What an actor is to do; see `RayRunner`."""

    detector: str
    settings: dict[str, Any]
    workers: int | None
    timeout_s: float | None
    folder: Folder
    relative: bool = False
    job: dict[str, Any] = field(default_factory=dict)


class _ClipActor:
    """Decoder and detector in one actor: blocks of paths in, verdicts out."""

    def __init__(self, spec: _Spec) -> None:
        if spec.relative:
            spec.folder.go()
        self._job = Job(**spec.job)
        self._executor = open_executor(spec.detector, spec.settings, workers=spec.workers, timeout_s=spec.timeout_s)

    def __call__(self, block: pa.Table) -> pa.Table:
        """One row a clip. Called from two threads at a time."""
        import pyarrow as pa

        indices, names = block["index"].to_pylist(), [os.fsdecode(name) for name in block["path"].to_pylist()]
        reads: list[Read] = []
        rows = []
        for result in self._executor.run(_read(names, reads), self._job):
            message, blobs = message_of(result.analysis)
            read = reads[result.index]
            rows.append(
                {
                    "index": indices[result.index],
                    "message": json.dumps(message, allow_nan=False),
                    "blobs": [bytes(blob) for blob in blobs],
                    "content": read.content,
                    "stamp": read.stamp,
                }
            )
        kinds = {"index": pa.int64(), "message": pa.string(), "blobs": pa.list_(pa.binary())}
        kinds |= {"content": pa.string(), "stamp": pa.string()}
        return pa.Table.from_pylist(rows, schema=pa.schema(list(kinds.items())))


def _read(names: Iterable[str], reads: list[Read]) -> Iterator[str]:
    """The names, each when its content has been read into `reads`, as late as its turn comes."""
    for name in names:
        reads.append(read_content(name))
        yield name


def _described(detector: str, settings: Mapping[str, Any], cluster: Cluster) -> tuple[DetectorInfo, Execution]:
    """What the detector says of itself, loaded where it will work: this machine may have no room for it."""
    import ray

    def describe() -> tuple[str, str]:
        with open_executor(detector, settings, workers=1) as executor:
            return executor.info.model_dump_json(), executor.execution.value

    try:
        info, execution = ray.get(ray.remote(**cluster.needs, max_retries=0)(describe).remote())
    except ray.exceptions.RayError as error:
        raise cause_of(error) from error
    return DetectorInfo.model_validate_json(info), Execution(execution)


def _path(clip: Clip) -> str:
    if isinstance(clip, Video):
        raise SettingsError("ray", "takes paths and URLs, but got an open video")
    return os.fspath(clip)
