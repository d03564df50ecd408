"""A baseline that was trained: `baseline:NAME` with `weights=FILE`, as `deeptrace train baseline NAME` made it."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from deeptrace.detectors.baselines.backbones import backbone_digest, load_backbone
from deeptrace.detectors.baselines.footage import FOOTAGE_VERSION, Footage, read_footage
from deeptrace.detectors.baselines.measures import FRAMES_OF, Measured, measure
from deeptrace.detectors.baselines.models import Linear, Model, Regions, chances, model_of
from deeptrace.detectors.baselines.recipes import RECIPES, REGIONS, Recipe
from deeptrace.detectors.tracenet.appearance import shipped_stages
from deeptrace.detectors.tracenet.texture import central_square
from deeptrace.detectors.tracenet.windows import analysis_size
from deeptrace.errors import ModelError, SettingsError
from deeptrace.geometry import Box, Interval, Tube
from deeptrace.io.atomic import atomic_path
from deeptrace.io.fingerprint import sha256_of
from deeptrace.schema import DetectorInfo, Label, Media, Outcome, SegmentScore, Trace, Verdict
from deeptrace.video import Video

__all__ = ["BaselineCard", "TrainedBaseline"]

FORMAT = 1
_CARD = "card"
_DIGITS = 12
_ACTIVATED = 4  # frames whose activation is looked at


class BaselineCard(BaseModel):
    """What must be known of a trained baseline beside its arrays.

    Attributes:
        name: of its recipe.
        kind: of its model.
        slope, bias: the probability is sigmoid(slope * score + bias).
        thresholds: probability that counts as generated, by name: "balanced", "fpr_5", "fpr_1".
        trained_on: clips by class, and what else says where the weights come from.
        footage: version of what clips are brought into.
        form: of the file.
        backbone: digits of the user's encoder that it learned with; "" for the one in the package.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    kind: str
    slope: float
    bias: float
    thresholds: dict[str, float]
    trained_on: dict[str, Any]
    footage: str = FOOTAGE_VERSION
    form: int = FORMAT
    backbone: str = ""


@dataclass(frozen=True)
class TrainedBaseline:
    """A recipe, its model, and what makes a probability of the model's score.

    Attributes:
        recipe: what is measured.
        model: what scores it.
        card: what else must be known.
        threshold: "balanced", "fpr_5" or "fpr_1"; or a probability.
        weights: digits of the file's SHA-256; "" before it is written.
        backbone: folder of the user's encoder; None for the one in the package.
    """

    recipe: Recipe
    model: Model
    card: BaselineCard
    threshold: str | float = "balanced"
    weights: str = ""
    backbone: str | None = None

    def __post_init__(self) -> None:
        known = isinstance(self.threshold, str) and self.threshold in self.card.thresholds
        if not known and not (isinstance(self.threshold, (int, float)) and 0 <= self.threshold <= 1):
            names = ", ".join(self.card.thresholds)
            raise SettingsError("threshold", f"expected {names} or a probability but got {self.threshold!r}")

    @classmethod
    def load(
        cls,
        name: str,
        path: str | Path,
        *,
        threshold: str | float = "balanced",
        backbone: str | Path | None = None,
    ) -> TrainedBaseline:
        """The baseline in a file.

        Raises:
            ModelError: the file cannot be read, or holds no baseline of that name that this version can run; or the
                encoder cannot be loaded.
            SettingsError: no such threshold, or not the encoder that it learned with.
            MissingExtraError: the encoder needs what is not installed.
        """
        try:
            with np.load(path, allow_pickle=False) as data:
                arrays = dict(data)
            card = BaselineCard.model_validate_json(arrays.pop(_CARD).item())
            model = model_of(card.kind, arrays)
        except (OSError, KeyError, TypeError, ValueError, ValidationError, zipfile.BadZipFile) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else "not a baseline's weights"
            mend = f"Make it with: deeptrace train baseline {name}."
            raise ModelError(str(path), f"cannot be read: {why}", mend) from None
        if card.name != name:
            raise ModelError(str(path), f"holds baseline:{card.name}, not baseline:{name}")
        if card.footage != FOOTAGE_VERSION or card.form != FORMAT:
            raise ModelError(str(path), "was made by another version", "Train it again; it takes minutes.")
        _check_backbone(str(path), card, backbone)
        place = None if backbone is None else str(backbone)
        return cls(RECIPES[name], model, card, threshold, sha256_of(Path(path))[:_DIGITS], place)

    def save(self, path: Path) -> None:
        """Write the file that `load` reads, whole or not at all."""
        with atomic_path(path) as scratch:
            np.savez_compressed(
                scratch, allow_pickle=False, **{_CARD: np.array(self.card.model_dump_json())}, **vars(self.model)
            )

    @property
    def info(self) -> DetectorInfo:
        """Name, version and settings."""
        settings = {"weights": self.weights, "threshold": self.threshold, "at": self._limit}
        if self.card.backbone:
            settings["backbone"] = self.card.backbone
        return DetectorInfo(name=f"baseline:{self.recipe.name}", version=str(FORMAT), settings=settings)

    def detect(self, video: Video) -> Verdict:
        """The verdict: a label, a calibrated probability, and one trace where the model tells regions apart.

        Raises:
            UndecidableError: fewer than four frames.
            VideoError: the clip cannot be decoded.
        """
        footage = read_footage(video)
        measured = measure(footage, self.recipe.measures, self.backbone)
        features = self.recipe.features(measured)
        score = self.model.score(features)
        p_fake = float(chances([score], self.card.slope, self.card.bias)[0])
        label = Label.FAKE if p_fake >= self._limit else Label.REAL
        return Verdict(
            video=video.path,
            outcome=Outcome.SCORED,
            label=label,
            p_fake=p_fake,
            traces=self._traces(footage, features, p_fake, video.media) if label is Label.FAKE else (),
            media=video.media.model_copy(update={"sampled_times_s": tuple(footage.times_s.tolist())}),
            detector=self.info,
            raw=json.dumps({"statistic": score, "threshold": self._limit}),
            segment_scores=self._frame_scores(footage, measured),
        )

    def _frame_scores(self, footage: Footage, measured: Measured) -> tuple[SegmentScore, ...]:
        """The chance by each frame alone, from the same model; nothing where recipe or encoder sees no frame alone."""
        if self.recipe.frames is None or self.backbone is not None:
            return ()
        times = footage.times_s[FRAMES_OF[self.recipe.measures[0]](footage)].tolist()
        scores = [self.model.score(one) for one in self.recipe.frames(measured)]
        likely = chances(scores, self.card.slope, self.card.bias).tolist()
        return tuple(SegmentScore(onset_s=time, offset_s=time, score=p) for time, p in zip(times, likely, strict=True))

    @property
    def _limit(self) -> float:
        return self.card.thresholds[self.threshold] if isinstance(self.threshold, str) else float(self.threshold)

    def _traces(self, footage: Footage, features: np.ndarray, p_fake: float, media: Media) -> tuple[Trace, ...]:
        """What looks most generated, over the whole clip, where the model tells places apart."""
        if isinstance(self.model, Regions):
            scores = self.model.scores(features).reshape(-1, REGIONS, REGIONS).mean(axis=0)
            likely = chances(scores, self.card.slope, self.card.bias)
            row, column = (int(place) for place in np.unravel_index(int(likely.argmax()), likely.shape))
            found, score = (column / REGIONS, row / REGIONS, (column + 1) / REGIONS, (row + 1) / REGIONS), likely.max()
            said = "Of nine regions, the one whose pixels look most generated."
        elif self.recipe.activated and self.backbone is None and isinstance(self.model, Linear):
            inner = central_square(footage.frames[0]).shape[0] / footage.frames.shape[1]  # what the encoder sees of it
            parts = strongest_part(class_activation(self.model, footage.some(_ACTIVATED)))
            x0, y0, x1, y1 = ((1 - inner) / 2 + inner * edge for edge in parts)
            found, score = (x0, y0, x1, y1), p_fake
            said = "The part of the picture whose appearance speaks most for a generated clip."
        else:
            return ()
        tube = Tube.constant(_box_in_frame(found, media), Interval(onset_s=0.0, offset_s=media.duration_s))
        return (Trace.from_tube(tube, score=float(score), explanation=said),)


def _check_backbone(path: str, card: BaselineCard, backbone: str | Path | None) -> None:
    """Raise unless the encoder is the one that was learned with."""
    if backbone is None and card.backbone:
        raise SettingsError(path, "learned with an encoder of yours", "Name its folder: --set backbone=FOLDER.")
    if backbone is None:
        return
    if not card.backbone:
        raise SettingsError("backbone", f"{path} learned with the encoder in the package", "Leave the setting out.")
    if backbone_digest(backbone) != card.backbone:
        raise SettingsError("backbone", f"{backbone} is not the encoder that {path} learned with")
    load_backbone(str(backbone))  # what cannot be loaded is said now, and not of every clip


def class_activation(model: Linear, frames: np.ndarray) -> np.ndarray:
    """How much each place adds to a linear model's score by the mean embedding, (rows, columns), mean of some frames.

    Grad-CAM (Selvaraju et al., arXiv 1610.02391, eq. 1 and 2) of a linear head on channel means, whose gradients are
    its weights, over the four stages that the embedding is made of; what a channel has on average adds nothing.

    Args:
        model: whose first features are the embedding.
        frames: (N, S, S, 3) uint8, RGB.
    """
    maps, weights = [], model.scale * model.weights
    for frame in frames:
        stages, at = shipped_stages(frame), 0
        found = np.zeros(stages[0].shape[1:], np.float32)
        for stage in stages:
            mine = slice(at, at := at + len(stage))
            share = np.einsum("crk,c->rk", stage - model.center[mine, None, None], weights[mine])
            found += cv2.resize(share.astype(np.float32), found.shape[::-1], interpolation=cv2.INTER_LINEAR)
        maps.append(found)
    return np.asarray(np.mean(maps, axis=0))


def strongest_part(heat: np.ndarray) -> tuple[float, float, float, float]:
    """The box, as fractions of a map (rows, columns), around the connected part above half its peak that has most.

    >>> strongest_part(np.array([[0.0, 0.0, 0.0, 0.0], [0.9, 0.0, 1.0, 0.8], [0.0, 0.0, 0.7, 0.1]]))
    (0.5, 0.3333333333333333, 1.0, 1.0)
    """
    above = (heat >= max(float(heat.max()), 0.0) / 2).astype(np.uint8)
    count, parts = cv2.connectedComponents(above, connectivity=4)
    sums = [heat[parts == number].sum() for number in range(1, count)]
    if not sums:  # nothing speaks for it anywhere
        return (0.0, 0.0, 1.0, 1.0)
    rows, columns = np.nonzero(parts == 1 + int(np.argmax(sums)))
    high, wide = heat.shape
    low_x, low_y = float(columns.min() / wide), float(rows.min() / high)
    return low_x, low_y, float((columns.max() + 1) / wide), float((rows.max() + 1) / high)


def _box_in_frame(found: tuple[float, float, float, float], media: Media) -> Box:
    """Where a part (x0, y0, x1, y1) of the central square, as fractions of it, lies in the frame."""
    width, height = analysis_size(media)
    side = central_square(np.zeros((height, width, 3), np.uint8)).shape[0]
    left, top = (width - side) // 2, (height - side) // 2
    x0, y0, x1, y1 = (side * edge for edge in found)
    return Box(x0=(left + x0) / width, y0=(top + y0) / height, x1=(left + x1) / width, y1=(top + y1) / height)
