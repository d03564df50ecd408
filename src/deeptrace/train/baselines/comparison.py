"""All detectors, all protocols, the same clips and splits: `deeptrace compare-detectors`.

What a detector says of a clip here was always learned without the clip's generator or source. TraceNet's figures are
those of its own card, which come from the same protocols (`deeptrace.train.tracenet.protocol`): the same clips, folds
and eras, where the card's model learned from the data that is compared on; where not, its row is left out and said so.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from deeptrace.detectors import Detector, load_detector
from deeptrace.detectors.baselines.backbones import backbone_digest, load_backbone
from deeptrace.detectors.baselines.footage import FOOTAGE_VERSION
from deeptrace.detectors.baselines.recipes import RECIPES
from deeptrace.detectors.tracenet.appearance import shipped_folder
from deeptrace.detectors.tracenet.model import CARD_NAME, Card
from deeptrace.errors import DataError, DeeptraceError
from deeptrace.io.jsonl import write_json
from deeptrace.io.run_store import hold_folder
from deeptrace.train.baselines.measured import Kept, measure_clips
from deeptrace.train.baselines.protocol import by_era, by_fold, calibrated, frame_auroc, one_generator
from deeptrace.train.baselines.run import MEASURED, check_clips, measures_of, recipe_names
from deeptrace.train.tracenet.clips import CAMERA, Clip, Kind, read_clips
from deeptrace.train.tracenet.protocol import Figures, eras_of, figures_of_judged
from deeptrace.video import open_video
from deeptrace.video.transforms.presets import DEGRADED

__all__ = ["Comparison", "Row", "compare_detectors"]

_TIMED = 12
_VERSION = "2"

Progress = Callable[[str, int, int], None]


class Row(BaseModel):
    """One detector.

    Attributes:
        name: of the detector.
        folds: every clip judged without its generator or source.
        eras: each data folder judged by what the others teach.
        one_generator: AUROC on all other generators, by the one that taught, with its number of clips.
        frames: AUROC of single frames by the folds' models, and its interval; None where no frame has a score.
        degraded: AUROC and its interval, by what happened to the clips; "" for the same clips as they are.
        train_s: seconds of a processor to fit on everything, without measuring.
        clip_s: seconds of a processor a clip, decoding included: mean over a dozen.
        differs: what is not as in the paper; "" where nothing need be said.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    folds: Figures
    eras: dict[str, Figures]
    one_generator: dict[str, tuple[float, int]] = {}
    frames: tuple[float, tuple[float, float] | None] | None = None
    degraded: dict[str, tuple[float, tuple[float, float] | None]] = {}
    train_s: float | None = None
    clip_s: float | None = None
    differs: str = ""


class Comparison(BaseModel):
    """The table.

    Attributes:
        data: names of the data folders.
        clips: number of clips by class.
        rows: one a detector, best by era first.
        notes: what the reader must know: detectors and clips that were left out.
    """

    model_config = ConfigDict(frozen=True)

    data: list[str]
    clips: dict[str, int]
    rows: list[Row]
    notes: list[str]


def compare_detectors(
    names: Sequence[str],
    data: Sequence[Path],
    out: Path,
    progress: Progress,
    *,
    tracenet: Path | None = None,
    edited: str = "matched",
    degraded_clips: int = 120,
    seed: int = 0,
    workers: int = 1,
    backbone: Path | None = None,
) -> Comparison:
    """Measure, judge and set side by side; what an earlier run did is not done again.

    Args:
        names: of the baselines; all where there are none.
        data: RewardData folders; with several, each is also judged by what the others teach.
        out: folder of what was measured, of a file a detector, and of comparison.json.
        progress: told what is being done, how much is done and how much there is.
        tracenet: folder of a TraceNet whose card is read; None for the shipped one.
        edited: folder of matched pairs below each data folder; "" for none.
        degraded_clips: clips under each degradation; 0 for none.
        seed: draws folds and degraded clips.
        workers: processes that measure.
        backbone: folder of the user's encoder, for baselines that see through one.

    Raises:
        SettingsError, DataError, ModelError, MissingExtraError: as `train_baselines`; and where `tracenet` has no card.
    """
    chosen, encoder = recipe_names(names, backbone), None if backbone is None else str(backbone)
    if tracenet is not None:
        _held_out(tracenet)  # rather now than after an hour of measuring
    clips = read_clips(list(data), edited)
    check_clips(clips)
    with hold_folder(out):
        kept = measure_clips(clips, measures_of(chosen), out / MEASURED, progress, workers=workers, backbone=encoder)
        worse = _degraded(kept, chosen, out, progress, degraded_clips, seed, workers, encoder)
        rows = [
            _row(name, kept, worse, out, seed, encoder, _telling(progress, number, len(chosen)))
            for number, name in enumerate(chosen)
        ]
        notes = list(kept.problems)
        if encoder is not None:
            notes.append(f"the baselines see through the {load_backbone(encoder).kind} encoder in {encoder}")
        try:
            rows.append(_tracenet_row(tracenet, kept))
        except DeeptraceError as error:
            notes.append(str(error))
        found = Comparison(
            data=[folder.resolve().name for folder in data],
            clips={kind.name.lower(): sum(clip.kind is kind for clip in kept.clips) for kind in Kind},
            rows=sorted(rows, key=_worth, reverse=True),
            notes=notes,
        )
        write_json(found.model_dump(mode="json"), out / "comparison.json")
    return found


def _telling(progress: Progress, done: int, total: int) -> Callable[[str], None]:
    return lambda what: progress(what, done, total)


def _worth(row: Row) -> float:
    """What rows are sorted by: the mean over eras, or the folds where there is one data folder."""
    return float(np.mean([figures.auroc for figures in row.eras.values()] or [row.folds.auroc]))


def _degraded(
    kept: Kept,
    names: Sequence[str],
    out: Path,
    progress: Progress,
    count: int,
    seed: int,
    workers: int,
    encoder: str | None,
) -> dict[str, Kept]:
    """Some clips after each degradation, and the same clips as they are under "untouched"."""
    used = [clip for clip in kept.clips if clip.kind is not Kind.EDITED]
    chosen = [used[i] for i in np.random.default_rng(seed).permutation(len(used))[:count]]
    if not chosen:
        return {}
    asked = list(dict.fromkeys(measure for name in names for measure in RECIPES[name].measures))
    found = {
        change: measure_clips(chosen, asked, out / MEASURED, progress, change=change, workers=workers, backbone=encoder)
        for change in DEGRADED
    }
    names_of = {clip.name for clip in chosen}
    return {"untouched": kept.of(np.array([clip.name in names_of for clip in kept.clips]))} | found


def _row(
    name: str,
    kept: Kept,
    worse: dict[str, Kept],
    out: Path,
    seed: int,
    encoder: str | None,
    tell: Callable[[str], None],
) -> Row:
    """The row of a baseline, kept in a file of its own."""
    key = hashlib.sha256(
        "\n".join(
            [_VERSION, FOOTAGE_VERSION, name, str(seed), *sorted(clip.name for clip in kept.clips)]
            + [f"{change}:{clip.name}" for change, one in worse.items() for clip in one.clips]
            + ([] if encoder is None else [backbone_digest(encoder)])
        ).encode()
    ).hexdigest()[:12]
    path = out / "rows" / f"{name}.{key}.json"
    try:
        return Row.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        pass
    tell(f"{name}: folds")
    judged = by_fold(name, kept, worse, seed=seed)
    tell(f"{name}: eras")
    eras = {era: by_era(name, kept, era, seed=seed) for era in eras_of(list(kept.clips))}
    tell(f"{name}: one generator")
    single = one_generator(name, kept, seed=seed)
    started = time.process_time()
    model = calibrated(name, kept, seed=seed)
    fitted = time.process_time() - started
    figures = {what: figures_of_judged(one, one.as_they_are) for what, one in judged.judged.items()}
    row = Row(
        name=f"baseline:{name}",
        folds=figures.pop(""),
        eras={era: figures_of_judged(one, one.as_they_are) for era, one in eras.items()},
        one_generator=single,
        frames=frame_auroc(judged),
        degraded={what: (one.auroc, one.interval) for what, one in figures.items()},
        train_s=round(fitted, 2),
        clip_s=_seconds_a_clip(model.detector({}, encoder), kept.clips),
        differs=RECIPES[name].differs,
    )
    path.parent.mkdir(exist_ok=True)
    write_json(row.model_dump(mode="json"), path)
    return row


# -- TraceNet ---------------------------------------------------------------------------------------------------------


def _tracenet_row(folder: Path | None, kept: Kept) -> Row:
    """What TraceNet's card says of the same protocols on the same data.

    Raises:
        DataError: the card knows no protocol, or one on other clips.
    """
    path, held_out = _held_out(folder)
    folds = _in_one_encoding(held_out["by_fold"][0])
    eras = {era: _in_one_encoding(both) for era, both in held_out["by_era"].items()}
    mine = _counted(kept.clips)
    if (folds.real, folds.generated) != mine:
        raise DataError(
            str(path),
            f"was held out on {folds.real} real and {folds.generated} generated clips, not on these {mine[0]} and "
            f"{mine[1]}",
            "TraceNet's row is left out: train it on the data that is compared on.",
        )
    detector = load_detector(f"tracenet:{folder}" if folder else "tracenet")
    return Row(name="tracenet", folds=folds, eras=eras, clip_s=_seconds_a_clip(detector, kept.clips))


def _held_out(folder: Path | None) -> tuple[Path, dict[str, Any]]:
    """The card of a TraceNet, and what it says of clips held out.

    Raises:
        DataError: there is none, or it says nothing of them.
    """
    path = (folder or shipped_folder()) / CARD_NAME
    try:
        card = Card.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        raise DataError(str(path), "is no card of a TraceNet") from None
    held_out = (card.model_extra or {}).get("protocol")
    if not held_out:
        raise DataError(str(path), "says nothing of clips held out", "Train TraceNet with its nets kept.")
    return path, held_out


def _counted(clips: Sequence[Clip]) -> tuple[int, int]:
    """Real clips of camera footage, and generated ones: those that figures count."""
    real = sum(clip.kind is Kind.REAL and clip.footage == CAMERA for clip in clips)
    return real, sum(clip.kind is Kind.GENERATED for clip in clips)


def _in_one_encoding(both: dict[str, Any]) -> Figures:
    return Figures.model_validate(both["in one encoding"])


def _seconds_a_clip(detector: Detector, clips: Sequence[Clip]) -> float:
    """Mean seconds of a processor that a detector takes for a clip, over some of them; the same for every detector."""
    chosen = clips[:: max(len(clips) // _TIMED, 1)][:_TIMED]
    started = 0.0
    for number, clip in enumerate([chosen[0], *chosen]):  # the first time loads what is loaded once
        if number == 1:
            started = time.process_time()
        with open_video(clip.path) as video:
            detector.detect(video)
    return round((time.process_time() - started) / len(chosen), 3)
