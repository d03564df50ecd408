"""The same jobs on a cluster (Ray Data), and the stages that other people's pipelines load.

`RayRunner` puts a detector over clips on the machines of a Ray cluster, `RayMap` any other job over files;
`DropGenerated` keeps generated clips out of a Ray Data dataset, and `deeptrace.scale.curator` does so in NVIDIA's NeMo
Curator. Paths pass between machines, never frames; what meets the clips there is `deeptrace.inference`, as everywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deeptrace.lazy import lazy_names

if TYPE_CHECKING:
    from deeptrace.scale.cluster import Cluster
    from deeptrace.scale.drop_generated import DropGenerated
    from deeptrace.scale.ray_map import RayMap
    from deeptrace.scale.ray_runner import RayRunner

__all__ = ["Cluster", "DropGenerated", "RayMap", "RayRunner"]

__getattr__ = lazy_names(
    __name__,
    {
        "deeptrace.scale.drop_generated": ("DropGenerated",),
        "deeptrace.scale.cluster": ("Cluster",),
        "deeptrace.scale.ray_map": ("RayMap",),
        "deeptrace.scale.ray_runner": ("RayRunner",),
    },
)
