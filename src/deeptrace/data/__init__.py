"""Datasets: RewardData in and out, joined to media, split, audited, exported and imported."""

from __future__ import annotations

from deeptrace.data.media import MediaJoin, join_media, resolve_path
from deeptrace.data.passes import AnnotationPass, group_passes, match_passes, read_passes, write_passes
from deeptrace.data.rewarddata import (
    annotations_path,
    iter_rows,
    read_reward_data,
    rows_of_sample,
    samples_of_rows,
    write_reward_data,
)
from deeptrace.data.row import RewardRow

__all__ = [
    "AnnotationPass",
    "MediaJoin",
    "RewardRow",
    "annotations_path",
    "group_passes",
    "iter_rows",
    "join_media",
    "match_passes",
    "read_passes",
    "read_reward_data",
    "resolve_path",
    "rows_of_sample",
    "samples_of_rows",
    "write_passes",
    "write_reward_data",
]
