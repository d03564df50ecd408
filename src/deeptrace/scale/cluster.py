"""A Ray cluster: which one, how much of it, how it is joined and left, and what went wrong on it."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

from deeptrace.errors import DeeptraceError, MissingExtraError, ServiceError, SettingsError
from deeptrace.inference.executor import cores

if TYPE_CHECKING:
    import pyarrow as pa
    from ray.data import ActorPoolStrategy

__all__ = ["Cluster", "Folder", "Joined", "blocks_of", "cause_of", "is_relative", "over_blocks"]

log = logging.getLogger(__name__)

_BLOCK = 16
"""Most items of a block for each that an actor works on at a time: the work that is done again when it dies."""

_BLOCKS_EACH = 4
"""Blocks for each actor at least, where there are items enough, so that all end at about the same time."""

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


class Joined:
    """A cluster that this process has joined, or started; close it.

    Args:
        cluster: which.

    Attributes:
        actors: how many there are to be.

    Raises:
        MissingExtraError: Ray is not installed.
        SettingsError: no such cluster answers, or one of this machine cannot hold the actors.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._own = _connect(cluster)
        try:
            self.actors = _actors(cluster)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End a cluster of our own; one that was there before stays."""
        if self._own:
            import ray

            self._own = False
            ray.shutdown()


def _here() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:
        return ""


@dataclass(frozen=True)
class Folder:
    """Where the process that began the run takes relative paths from."""

    path: str = field(default_factory=_here)
    host: str = field(default_factory=socket.gethostname)

    def go(self) -> None:
        """Take them from there, too.

        Raises:
            SettingsError: this machine has no such folder.
        """
        try:
            os.chdir(self.path)
        except OSError as error:
            problem = f"relative paths start there on {self.host}, but {socket.gethostname()} has no such folder"
            raise SettingsError(self.path, problem, "Name clips by paths that every machine has.") from error


def is_relative(path: str) -> bool:
    """Whether a clip's name depends on the folder."""
    return "://" not in path and not os.path.isabs(path)


def blocks_of(table: pa.Table, actors: int, at_a_time: int = 1) -> list[pa.Table]:
    """A table in blocks to be handed out.

    Args:
        table: a row an item.
        actors: how many there are.
        at_a_time: items that each works on at a time.
    """
    size = min(_BLOCK * at_a_time, max(1, table.num_rows // (actors * _BLOCKS_EACH)))
    size = max(size, table.num_rows // _MOST_BLOCKS)
    return [table.slice(at, size) for at in range(0, table.num_rows, size)]


def over_blocks(
    blocks: list[pa.Table], actor: type, args: tuple[Any, ...], pool: ActorPoolStrategy, cluster: Cluster
) -> Iterator[pa.Table]:
    """What a pool of actors makes of blocks, as they come.

    Args:
        blocks: see `blocks_of`.
        actor: called with a block, made with `args`.
        args: of each actor.
        pool: of them.
        cluster: that they are on.

    Raises:
        DeeptraceError: what an actor ended with; that the cluster failed.
    """
    import ray

    with _quietly():
        data = ray.data.from_arrow(blocks).map_batches(
            actor,
            fn_constructor_args=args,
            batch_size=None,
            batch_format="pyarrow",
            compute=pool,
            **cluster.needs,
        )
    try:
        yield from data.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)
    except ray.exceptions.RayError as error:
        raise cause_of(error) from error


def _quietly() -> Any:
    """Ray Data without bars and reports of its own, for what is made meanwhile."""
    from ray.data import DataContext

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = DataContext.get_current().copy()
    context.enable_progress_bars = context.print_on_execution_start = False
    return DataContext.current(context)


def cause_of(error: BaseException) -> DeeptraceError:
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
