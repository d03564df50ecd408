"""Datasets: RewardData in and out, joined to media, split, audited, exported and imported."""

from __future__ import annotations

from deeptrace.data.annotators import AnnotationRound, group_rounds, match_rounds, read_rounds, write_rounds
from deeptrace.data.media_join import MediaJoin, join_media, resolve_path
from deeptrace.data.reward_row import RewardRow
from deeptrace.data.rewarddata import (
    annotations_path,
    iter_rows,
    read_reward_data,
    rows_of_sample,
    samples_of_rows,
    write_reward_data,
)

__all__ = [
    "AnnotationRound",
    "MediaJoin",
    "RewardRow",
    "annotations_path",
    "group_rounds",
    "iter_rows",
    "join_media",
    "match_rounds",
    "read_reward_data",
    "read_rounds",
    "resolve_path",
    "rows_of_sample",
    "samples_of_rows",
    "write_reward_data",
    "write_rounds",
]
