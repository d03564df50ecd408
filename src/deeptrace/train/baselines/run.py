"""`deeptrace train baseline`: measure the clips once, fit, calibrate, write one file a baseline."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from deeptrace.detectors.baselines.recipes import RECIPES
from deeptrace.errors import DataError, SettingsError
from deeptrace.io.run_store import hold_folder
from deeptrace.train.baselines.measured import measure_clips
from deeptrace.train.baselines.protocol import calibrated
from deeptrace.train.tracenet.clips import Clip, Kind, read_clips

__all__ = ["MEASURED", "TrainedFiles", "check_clips", "measures_of", "recipe_names", "train_baselines"]

MEASURED = "measured"
"""Folder, below that of a training or a comparison, of what was measured."""
_LEAST_GROUPS = 3


@dataclass(frozen=True)
class TrainedFiles:
    """What a training made.

    Attributes:
        files: weights by name of the baseline.
        problems: a line for each clip that was left out.
    """

    files: dict[str, Path]
    problems: tuple[str, ...]


def train_baselines(
    names: Sequence[str],
    data: Sequence[Path],
    out: Path,
    progress: Callable[[str, int, int], None],
    *,
    edited: str = "matched",
    seed: int = 0,
    workers: int = 1,
    backbone: Path | None = None,
) -> TrainedFiles:
    """Train baselines on the same clips; what was measured before is not measured again.

    Args:
        names: of the baselines; all where there are none.
        data: RewardData folders.
        out: folder of the weights, NAME.npz, and of what was measured.
        progress: told what is being done, how much is done and how much there is.
        edited: folder of matched pairs below each data folder; "" for none.
        seed: of every random choice.
        workers: processes that measure.
        backbone: folder of the user's encoder, for baselines that see through one; None for the one in the package.

    Raises:
        SettingsError: no baseline has a name, one sees through no encoder; another run is writing into `out`.
        ModelError: the encoder cannot be loaded.
        DataError: the data cannot be read, or is too little to learn from.
        MissingExtraError: scikit-learn, or torch for some baselines, is not installed.
    """
    chosen, encoder = recipe_names(names, backbone), None if backbone is None else str(backbone)
    clips = read_clips(list(data), edited)
    check_clips(clips)
    with hold_folder(out):
        kept = measure_clips(clips, measures_of(chosen), out / MEASURED, progress, workers=workers, backbone=encoder)
        files = {}
        for done, name in enumerate(chosen):
            progress(f"fitting {name}", done, len(chosen))
            detector = calibrated(name, kept, seed=seed).detector(
                {
                    "data": [folder.resolve().name for folder in data],
                    "clips": {kind.name.lower(): count for kind, count in _counted(kept.clips).items()},
                    "groups": len({clip.group for clip in kept.clips}),
                    "seed": seed,
                },
                encoder,
            )
            files[name] = out / f"{name}.npz"
            detector.save(files[name])
    return TrainedFiles(files, kept.problems)


def recipe_names(names: Sequence[str], backbone: Path | None = None) -> list[str]:
    """The names, checked, each once; all baselines where there are none, with `backbone` all that see through one.

    Raises:
        SettingsError: no baseline has a name, or one sees through no encoder and is to have the user's.
    """
    for name in names:
        if name.removeprefix("baseline:") not in RECIPES:
            raise SettingsError(name, "is no baseline that learns", f"There are: {', '.join(RECIPES)}.")
    chosen = list(dict.fromkeys(name.removeprefix("baseline:") for name in names))
    if backbone is None:
        return chosen or list(RECIPES)
    able = [name for name, recipe in RECIPES.items() if recipe.has_encoder]
    if without := [name for name in chosen if name not in able]:
        raise SettingsError("backbone", f"{without[0]} sees through no encoder", f"Those that do: {', '.join(able)}.")
    return chosen or able


def measures_of(names: Sequence[str]) -> list[str]:
    """All that these baselines measure of the clips that they learn from."""
    return list(dict.fromkeys(m for name in names for m in (*RECIPES[name].measures, *RECIPES[name].taught_by)))


def check_clips(clips: Sequence[Clip]) -> None:
    """Raise where clips are too few, or of too few generators or sources, to be held out by those.

    Raises:
        DataError: they are.
    """
    for kind, what in ((Kind.GENERATED, "generators"), (Kind.REAL, "sources of real clips")):
        groups = {clip.group for clip in clips if clip.kind is kind}
        if len(groups) < _LEAST_GROUPS:
            raise DataError("data", f"has {len(groups)} {what}", f"At least {_LEAST_GROUPS} are needed.")


def _counted(clips: Sequence[Clip]) -> Counter[Kind]:
    return Counter(clip.kind for clip in clips)
