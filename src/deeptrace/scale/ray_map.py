"""One job done to many items on the machines of a Ray cluster, by Ray Data: what `--ray` stands for where no detector
is asked, as in `deeptrace audit` and `deeptrace synth`.

As with `RayRunner`, who gets which block, restarts and repeats are Ray Data's; what is kept is up to whoever asked.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

from deeptrace.scale.cluster import Cluster, Folder, Joined, blocks_of, over_blocks

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["RayMap"]

T = TypeVar("T")
R = TypeVar("R")


class RayMap:
    """Work on a cluster, as `deeptrace.io.spread.Spread` says; close it.

    Files must be found under the same paths by every machine, and deeptrace must be installed there.

    Args:
        cluster: where, and how wide.
        relative: whether paths among the items, or in the work, are relative to this folder.

    Attributes:
        actors: how many items are worked on at a time.

    Raises:
        MissingExtraError: Ray is not installed.
        SettingsError: no such cluster answers, or one of this machine cannot hold the actors.
    """

    def __init__(self, cluster: Cluster | None = None, *, relative: bool = True) -> None:
        self.cluster = cluster or Cluster()
        self._folder = Folder() if relative else None
        self._joined = Joined(self.cluster)
        self.actors = self._joined.actors

    def __enter__(self) -> RayMap:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End a cluster of our own; one that was there before stays."""
        self._joined.close()

    def over(self, work: Callable[[T], R], items: Sequence[T]) -> Iterator[tuple[int, R]]:
        """See `Spread.over`; work, items and results are pickled.

        Raises:
            SettingsError: a machine does not see this folder.
            ServiceError: the cluster failed; what came before is done.
        """
        import pyarrow as pa
        from ray.data import ActorPoolStrategy

        if not items:
            return
        pickled = pa.array([pickle.dumps(item) for item in items], pa.binary())
        table = pa.table({"index": pa.array(range(len(items)), pa.int64()), "item": pickled})
        args, pool = (pickle.dumps(work), self._folder), ActorPoolStrategy(size=self.actors)
        for block in over_blocks(blocks_of(table, self.actors), _Worker, args, pool, self.cluster):
            for row in block.to_pylist():
                yield row["index"], pickle.loads(row["result"])


class _Worker:
    """The work in one actor: blocks of items in, results out."""

    def __init__(self, work: bytes, folder: Folder | None) -> None:
        if folder is not None:
            folder.go()
        self._work: Callable[[object], object] = pickle.loads(work)

    def __call__(self, block: pa.Table) -> pa.Table:
        import pyarrow as pa

        found = [pickle.dumps(self._work(pickle.loads(item))) for item in block["item"].to_pylist()]
        return pa.table({"index": block["index"], "result": pa.array(found, pa.binary())})
