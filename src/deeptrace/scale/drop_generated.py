"""A step of a Ray Data pipeline that keeps generated clips out of what is trained on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from deeptrace.detectors import DEFAULT_DETECTOR
from deeptrace.errors import SettingsError
from deeptrace.inference.executor import open_executor
from deeptrace.schema import Label, Verdict

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["DropGenerated", "keeps"]


def keeps(verdict: Verdict, *, keep_failed: bool) -> bool:
    """Whether a clip may stay in a training set: the detector calls it real.

    Args:
        verdict: of the clip.
        keep_failed: whether one without a label may stay. Want of evidence is not evidence that it is real.
    """
    return keep_failed if verdict.label is None else verdict.label is Label.REAL


class DropGenerated:
    """Drops the rows of a Ray Data dataset whose clip looks AI-generated; a class for `Dataset.map_batches`.

        dataset.map_batches(
            DropGenerated,
            fn_constructor_kwargs={"column": "path"},
            compute=ray.data.ActorPoolStrategy(size=4),
            batch_size=32,
            num_cpus=2,
        )

    Where it draws the line is the detector's setting: `settings={"threshold": "fpr_1"}` drops one in a hundred real
    clips (see `deeptrace detect --help`).

    Args:
        detector: its name.
        settings: of the detector.
        column: which holds the clips' paths or URLs; every machine must find them.
        keep_failed: keep rows without a label, too: files that are broken, clips too short to tell.
        mark: drop nothing, but add the columns `outcome`, `label`, `p_fake` (NaN for none) and `error` (empty for
            none).
        workers: clips at a time; set it to the cores that Ray gives the actor (`num_cpus`).
        timeout_s: see `deeptrace.inference.open_executor`.

    Raises:
        UnknownDetectorError, SettingsError, MissingExtraError, ModelError: the detector cannot be loaded.
    """

    def __init__(
        self,
        detector: str = DEFAULT_DETECTOR,
        settings: Mapping[str, Any] | None = None,
        *,
        column: str = "path",
        keep_failed: bool = False,
        mark: bool = False,
        workers: int | None = 1,
        timeout_s: float | None = None,
    ) -> None:
        self._column, self._keep_failed, self._mark = column, keep_failed, mark
        self._executor = open_executor(detector, settings, workers=workers, timeout_s=timeout_s)

    def __call__(self, batch: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The rows that stay, of a batch of columns (Ray Data's format "numpy").

        Raises:
            SettingsError: there is no such column.
        """
        if not isinstance(batch, dict) or self._column not in batch:
            found = ", ".join(batch) if isinstance(batch, dict) else type(batch).__name__
            raise SettingsError("column", f"expected a batch with a column {self._column} but got {found}")
        paths = [str(path) for path in batch[self._column]]
        verdicts = {result.index: result.verdict for result in self._executor.run(paths)}
        ordered = [verdicts[index] for index in range(len(paths))]
        if self._mark:
            return batch | {
                "outcome": np.array([one.outcome.value for one in ordered], dtype=object),
                "label": np.array([one.label.value if one.label else "" for one in ordered], dtype=object),
                "p_fake": np.array([np.nan if one.p_fake is None else one.p_fake for one in ordered]),
                "error": np.array([one.error or "" for one in ordered], dtype=object),
            }
        stays = np.array([keeps(one, keep_failed=self._keep_failed) for one in ordered], dtype=bool)
        return {name: np.asarray(values)[stays] for name, values in batch.items()}
