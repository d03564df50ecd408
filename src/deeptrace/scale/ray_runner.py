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
import logging
import os
import socket
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

from deeptrace.detectors import DEFAULT_DETECTOR, Execution
from deeptrace.errors import DeeptraceError, MissingExtraError, ServiceError, SettingsError
from deeptrace.inference.executor import Result, Runner, cores, open_executor
from deeptrace.inference.executors.wire import analysis_of, message_of
from deeptrace.inference.one_clip import VERDICT_ONLY, Clip, Job
from deeptrace.io.fingerprint import Read, read_content
from deeptrace.schema import DetectorInfo
from deeptrace.video import Video

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Cluster", "RayRunner"]

log = logging.getLogger(__name__)

_BLOCK = 16
"""Most clips of a block for each that an actor works on at a time: the work that is done again when it dies."""

_BLOCKS_EACH = 4
"""Blocks for each actor at least, where there are clips enough, so that all end at about the same time."""

_MOST_BLOCKS = 20_000
"""Handing one out takes a few milliseconds of the process that began the run."""

_STORE_BYTES = 200 << 20
"""Ray's shared memory on a cluster of our own: what passes is paths and verdicts."""


@dataclass(frozen=True)
class Cluster:
    """Which Ray cluster, and how much of it.

    Attributes:
        address: "auto", the running cluster of this machine, or that which RAY_ADDRESS names; "local", one of this
            machine's cores that ends with the run; or an address, as "10.0.0.1:6379" or "ray://head:10001".
        actors: of the fixed pool, each with the detector loaded; None for as many as the cluster has room for.
        cpus: cores for each actor; may be a part of one.
        gpus: graphics processors for each actor; may be a part of one.
    """

    address: str = "auto"
    actors: int | None = None
    cpus: float = 1.0
    gpus: float = 0.0

    def __post_init__(self) -> None:
        if (self.actors is not None and self.actors < 1) or self.cpus <= 0 or self.gpus < 0:
            text = f"{self.actors} actors of {self.cpus:g} cores and {self.gpus:g} GPUs"
            raise SettingsError("ray", f"expected at least one actor with a part of a core, but got {text}")

    @property
    def needs(self) -> dict[str, float]:
        """What an actor asks Ray for."""
        return {"num_cpus": self.cpus, "num_gpus": self.gpus}


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
        self._own = _connect(self.cluster)
        try:
            self.actors = _actors(self.cluster)
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
            folder=_here(),
            host=socket.gethostname(),
        )

    def run(self, clips: Iterable[Clip], job: Job = VERDICT_ONLY) -> Iterator[Result]:
        """See `Runner.run`; all clips are drawn before the first is begun, and results come a block at a time.

        Raises:
            SettingsError: a clip is no path, or a machine does not see this folder.
            ServiceError: the cluster failed; what came before is done.
        """
        import ray
        from ray.data import ActorPoolStrategy

        paths = [_path(clip) for clip in clips]
        if not paths:
            return
        if job.overlay_dir is not None:
            job = replace(job, overlay_dir=os.path.abspath(job.overlay_dir))
        spec = replace(self._spec, job=asdict(job), relative=any(_is_relative(path) for path in paths))
        # The next block is there, and begun, while the last clips of one are worked on.
        pool = ActorPoolStrategy(size=self.actors, max_concurrent_calls_per_actor=2, enable_true_multi_threading=True)
        with _quietly():
            data = ray.data.from_arrow(self._blocks(paths)).map_batches(
                _ClipActor,
                fn_constructor_args=(spec,),
                batch_size=None,
                batch_format="pyarrow",
                compute=pool,
                **self.cluster.needs,
            )
        began, before = time.perf_counter(), self.took_s
        try:
            for block in data.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
                self.done += block.num_rows
                self.took_s = before + time.perf_counter() - began
                for row in block.to_pylist():
                    found = analysis_of(json.loads(row["message"]), row["blobs"])
                    yield Result(row["index"], paths[row["index"]], found, Read(row["content"], row["stamp"]))
        except ray.exceptions.RayError as error:
            raise _cause(error) from error

    def close(self) -> None:
        """See `Runner.close`; a cluster that was there before stays."""
        if self._own:
            import ray

            self._own = False
            ray.shutdown()

    def _blocks(self, paths: list[str]) -> list[pa.Table]:
        import pyarrow as pa

        size = min(_BLOCK * self._at_a_time, max(1, len(paths) // (self.actors * _BLOCKS_EACH)))
        size = max(size, len(paths) // _MOST_BLOCKS)
        names = pa.array([os.fsencode(path) for path in paths], pa.binary())  # a name need not be UTF-8
        table = pa.table({"index": pa.array(range(len(paths)), pa.int64()), "path": names})
        return [table.slice(at, size) for at in range(0, len(paths), size)]


@dataclass(frozen=True)
class _Spec:
    """What an actor is to do; see `RayRunner`."""

    detector: str
    settings: dict[str, Any]
    workers: int | None
    timeout_s: float | None
    folder: str
    host: str
    relative: bool = False
    job: dict[str, Any] = field(default_factory=dict)


class _ClipActor:
    """Decoder and detector in one actor: blocks of paths in, verdicts out."""

    def __init__(self, spec: _Spec) -> None:
        if spec.relative:
            _go_to(spec)
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


def _go_to(spec: _Spec) -> None:
    """Take relative paths as the process that began the run does."""
    try:
        os.chdir(spec.folder)
    except OSError as error:
        problem = f"relative paths start there on {spec.host}, but {socket.gethostname()} has no such folder"
        raise SettingsError(spec.folder, problem, "Name clips by paths that every machine has.") from error


def _connect(cluster: Cluster) -> bool:
    """Join the cluster, or start one; whether it is ours to end."""
    for name, value in (("RAY_USAGE_STATS_ENABLED", "0"), ("RAY_BACKEND_LOG_LEVEL", "fatal")):
        os.environ.setdefault(name, value)  # read when Ray is imported: nobody is called up, nothing is said in between
    try:
        ray = import_module("ray")
        import_module("ray.data")
    except ImportError as error:
        raise MissingExtraError("--ray", "scale") from error
    if ray.is_initialized():
        return False  # the caller's own
    own: dict[str, Any] = {"num_cpus": cores(), "object_store_memory": _STORE_BYTES, "include_dashboard": False}
    try:
        with _hushed():
            ray.init(
                address=cluster.address,
                log_to_driver=False,
                logging_level=logging.ERROR,
                **(own if cluster.address == "local" else {}),
            )
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        why = str(error).partition("\n")[0]
        mend = "Start one (ray start --head), or say --ray local for this machine."
        raise SettingsError(f"--ray {cluster.address}", f"no cluster answers: {why}", mend) from error
    return True


@contextmanager
def _hushed() -> Iterator[None]:
    """Ray's native part says on stderr that it was asked to say nothing; errors come as exceptions all the same."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nothing:
            os.dup2(nothing.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _actors(cluster: Cluster) -> int:
    """How many actors there are to be."""
    import ray

    has: dict[str, float] = ray.cluster_resources()
    rooms = [int(has.get("CPU", 0.0) / cluster.cpus + 1e-6)]
    if cluster.gpus:
        rooms.append(int(has.get("GPU", 0.0) / cluster.gpus + 1e-6))
    room = min(rooms)
    if (cluster.actors or 1) > room:
        problem = f"has room for {room} actors of {cluster.cpus:g} cores and {cluster.gpus:g} GPUs"
        if cluster.address == "local":
            raise SettingsError("--ray local", problem, "Ask for fewer, or for smaller ones.")
        log.warning("the cluster %s now; more have to wait until it grows", problem)
    return cluster.actors or max(1, room)


def _described(detector: str, settings: Mapping[str, Any], cluster: Cluster) -> tuple[DetectorInfo, Execution]:
    """What the detector says of itself, loaded where it will work: this machine may have no room for it."""
    import ray

    def describe() -> tuple[str, str]:
        with open_executor(detector, settings, workers=1) as executor:
            return executor.info.model_dump_json(), executor.execution.value

    try:
        info, execution = ray.get(ray.remote(**cluster.needs, max_retries=0)(describe).remote())
    except ray.exceptions.RayError as error:
        raise _cause(error) from error
    return DetectorInfo.model_validate_json(info), Execution(execution)


def _quietly() -> Any:
    """Ray Data without bars and reports of its own, for what is made meanwhile."""
    from ray.data import DataContext

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = DataContext.get_current().copy()
    context.enable_progress_bars = context.print_on_execution_start = False
    return DataContext.current(context)


def _cause(error: BaseException) -> DeeptraceError:
    """What went wrong, of what Ray made of it: an error of its own around the one that a machine sent back."""
    told: BaseException | None = error
    found: DeeptraceError | None = None
    while told is not None:
        found = (
            told if isinstance(told, DeeptraceError) else found
        )  # the innermost; Ray's around it is one by type, too
        told = getattr(told, "cause", None) or told.__cause__
    if found is not None:
        return found
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return ServiceError("--ray", f"the cluster failed: {lines[-1] if lines else type(error).__name__}")


def _path(clip: Clip) -> str:
    if isinstance(clip, Video):
        raise SettingsError("ray", "takes paths and URLs, but got an open video")
    return os.fspath(clip)


def _is_relative(path: str) -> bool:
    return "://" not in path and not os.path.isabs(path)


def _here() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:
        return ""
