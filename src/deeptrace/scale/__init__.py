"""The same jobs on a cluster (Ray Data), and the stages that other people's pipelines load.

`RayRunner` puts a detector over clips on the machines of a Ray cluster; `DropGenerated` keeps generated clips out of a
Ray Data dataset, and `deeptrace.scale.curator` does so in NVIDIA's NeMo Curator. Paths pass between machines, never
frames; what meets the clips there is `deeptrace.inference`, as everywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deeptrace.lazy import lazy_names

if TYPE_CHECKING:
    from deeptrace.scale.drop_generated import DropGenerated
    from deeptrace.scale.ray_runner import Cluster, RayRunner

__all__ = ["Cluster", "DropGenerated", "RayRunner"]

__getattr__ = lazy_names(
    __name__,
    {
        "deeptrace.scale.drop_generated": ("DropGenerated",),
        "deeptrace.scale.ray_runner": ("Cluster", "RayRunner"),
    },
)
