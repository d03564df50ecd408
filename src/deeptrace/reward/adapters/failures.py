"""What a clip without a reward becomes, for trainers that know no mark for it; and settings that adapters share."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

from deeptrace.errors import ModelError, SettingsError
from deeptrace.plural import plural
from deeptrace.reward.result import RewardResult

__all__ = ["checked_group_size", "checked_stand_in", "fps_from", "numbers", "numbers_or_none"]

log = logging.getLogger(__name__)


def numbers(results: Sequence[RewardResult], stand_in: float | None, caller: str) -> list[float]:
    """The rewards as finite numbers: one NaN would make every advantage of the batch NaN.

    Args:
        results: of a batch.
        stand_in: the number for a clip that could not be scored, chosen by the user; None to raise.
        caller: the adapter.

    Raises:
        ModelError: a clip could not be scored and no number was chosen.
    """
    failed = [(index, result) for index, result in enumerate(results) if math.isnan(result.reward)]
    if failed:
        index, first = failed[0]
        what = f"{len(failed)} of {plural(len(results), 'clip')} could not be scored; clip {index}: {first.error}"
        if stand_in is None:
            raise ModelError(caller, what, "Choose a number for such clips with failed=.")
        log.warning("%s: %s; %g stands in", caller, what, stand_in)
    return [stand_in if stand_in is not None and math.isnan(r.reward) else r.reward for r in results]


def numbers_or_none(results: Sequence[RewardResult], caller: str) -> list[float | None]:
    """The rewards for a trainer that knows None for a clip without one; each such clip is logged with its reason."""
    for index, result in enumerate(results):
        if math.isnan(result.reward):
            log.warning("%s: clip %d of %d has no reward: %s", caller, index, len(results), result.error)
    return [None if math.isnan(result.reward) else result.reward for result in results]


def checked_stand_in(failed: float | None, caller: str) -> float | None:
    """`failed` as it was given.

    Raises:
        SettingsError: it is not finite.
    """
    if failed is not None and not math.isfinite(failed):
        raise SettingsError(caller, f"expected a finite number or None for failed but got {failed}")
    return failed


def checked_group_size(group: str | None, size: int | None, caller: str) -> int:
    """How many samples a group has; 1 where samples are not compared.

    Raises:
        SettingsError: they are compared and the size is not known, or below 2.
    """
    if group is None:
        return 1
    if size is None:
        raise SettingsError(
            caller, "group= compares the samples of a prompt, and needs to know how many there are", "Give group_size=."
        )
    if size < 2:
        raise SettingsError(caller, f"expected a group_size of at least 2 but got {size}")
    return size


def fps_from(rows: Any, key: str, count: int, otherwise: float | None, caller: str) -> list[float]:
    """Frames a second of each clip: `key` of its row where there is one, else `otherwise`.

    Raises:
        SettingsError: neither says it, or it is no positive number.
    """
    given = list(rows) if isinstance(rows, Sequence) or hasattr(rows, "tolist") else []
    rates = []
    for index in range(count):
        row = given[index] if index < len(given) else None
        rate = row.get(key, otherwise) if isinstance(row, Mapping) else otherwise
        if rate is None:
            raise SettingsError(caller, f"clip {index}: tensors do not say how fast they are shown", "Give fps.")
        if not 0 < float(rate) < math.inf:
            raise SettingsError(caller, f"clip {index}: expected a positive fps but got {rate}")
        rates.append(float(rate))
    return rates
