"""Simple peers and constant answers: what any detector has to beat.

| name | says |
|---|---|
| `baseline:all-real`, `baseline:all-fake` | always the same label, no trace |
| `baseline:full-frame` | FAKE, one trace: the whole frame, from the first moment to the last |
| `baseline:center-box` | FAKE, one trace: a box in the middle, from the first moment to the last |
| `baseline:d3`, `baseline:npr` | FAKE by one statistic that nothing was trained for, without a probability |
| `baseline:NAME` with `weights=FILE` | what `deeptrace train baseline NAME` learned: see `recipes` |

The trained ones follow published detectors, each small and with what differs said beside it. They are no substitute for
the original when that is what you want to compare with.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deeptrace.detectors.base import Detector
from deeptrace.detectors.baselines.recipes import RECIPES
from deeptrace.detectors.baselines.untrained import UNTRAINED, pixel_relation, statistic_of
from deeptrace.detectors.registry import check_settings
from deeptrace.errors import SettingsError, UnknownDetectorError

__all__ = ["load", "pixel_relation", "statistic_of"]


def load(rest: str, **settings: Any) -> Detector:
    """The baseline called `rest`.

    Args:
        rest: its name.
        settings: its own; `weights` is the file of a trained one, whose other settings are `threshold`: "balanced",
            "fpr_5", "fpr_1" or a probability; and `backbone`: folder of the encoder that it learned with, where that is
            not the one in the package.

    Raises:
        UnknownDetectorError: no baseline has that name.
        SettingsError: the baseline does not take these settings, or needs weights.
        ModelError: the weights cannot be read, or are another baseline's.
    """
    if rest not in UNTRAINED and rest not in RECIPES:
        known = ", ".join(sorted({*UNTRAINED, *RECIPES}))
        raise UnknownDetectorError(f"'baseline:{rest}'", "no baseline has that name", f"Known: {known}.")
    if rest in RECIPES and (rest not in UNTRAINED or "weights" in settings):
        return _trained(rest, **settings)
    check_settings(f"baseline:{rest}", UNTRAINED[rest], (), settings)
    return UNTRAINED[rest](**settings)


def _trained(name: str, **settings: Any) -> Detector:
    from deeptrace.detectors.baselines.trained import TrainedBaseline

    def trained(
        weights: str | Path, threshold: str | float = "balanced", backbone: str | Path | None = None
    ) -> Detector:
        return TrainedBaseline.load(name, weights, threshold=threshold, backbone=backbone)

    if "weights" not in settings:
        mend = f"Run: deeptrace train baseline {name}. Then: --set weights=FILE."
        raise SettingsError(f"baseline:{name}", "has to be trained first", mend)
    check_settings(f"baseline:{name}", trained, (), settings)
    return trained(**settings)
