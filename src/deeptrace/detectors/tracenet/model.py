"""The shipped model: one ONNX file and its card, run with ONNX Runtime on one thread."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import onnxruntime
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deeptrace.detectors.tracenet.appearance import DIMENSIONS
from deeptrace.detectors.tracenet.evidence import CHANNELS
from deeptrace.detectors.tracenet.lives import Lives
from deeptrace.detectors.tracenet.sessions import open_session, shipped_folder
from deeptrace.detectors.tracenet.texture import texture_names
from deeptrace.detectors.tracenet.windows import Window
from deeptrace.errors import ModelError

__all__ = ["CARD_NAME", "MODEL_NAME", "Calibration", "Card", "TraceNetModel", "WindowScores", "shipped_folder"]

MODEL_NAME, CARD_NAME = "tracenet.onnx", "tracenet.json"


class Calibration(BaseModel):
    """How scores become probabilities, fitted on clips whose generator or source the scoring model never saw.

    Attributes:
        texture, appearance, bias: chance that the clip as a whole is generated = sigmoid(texture * its score +
            appearance * its score + bias), with as many generated as real clips.
        edited, edited_bias: chance that footage was edited in one place = sigmoid(edited * the presence net's pooled
            logit + edited_bias), with one edited clip in twenty. p_fake is the chance of either.
        threshold_fpr_1, threshold_fpr_5, threshold_balanced: p_fake above which a clip is called FAKE: at 1 % and 5 %
            false alarms on camera footage, and where both errors are equal.
        heat, presence, trace_bias: a tube's score = sigmoid(heat * its mean heat + presence * its mean presence +
            trace_generated * logit(p_fake) + trace_bias): the chance that an annotator marked a trace there
            (box IoU at least 0.3).
        local, local_edited, local_bias: a presence tube's score = sigmoid(local * logit(its mean presence) +
            local_edited * pooled logit + local_bias): the chance that an edit lies there (box IoU at least 0.3), with
            one edited clip in five.
        sharpen: power applied to the heat before boxes are read off.
        kinds_trust, kinds_prior: chances of the categories of a tube where annotators mark = kinds ** trust * prior,
            made to add up to 1; `kinds` are those of edits, each as likely.
        category_thresholds: there a category is named from this chance on; 1 for those told too badly to be named
            unless they are the likeliest.
        lives_marked, lives_edited: when a trace that an annotator would mark is there, and when an edit is; None: all
            the time that it was found in.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    texture: float
    appearance: float
    bias: float
    threshold_fpr_1: float = Field(ge=0, le=1)
    threshold_fpr_5: float = Field(ge=0, le=1)
    threshold_balanced: float = Field(ge=0, le=1)
    heat: float
    presence: float
    trace_generated: float
    trace_bias: float
    sharpen: float = Field(gt=0)
    edited: float = 0.0
    edited_bias: float = -60.0
    local: float = 0.0
    local_edited: float = 0.0
    local_bias: float = -60.0
    kinds_trust: float = 1.0
    kinds_prior: tuple[float, ...] = ()
    category_thresholds: tuple[float, ...] = ()
    lives_marked: Lives | None = None
    lives_edited: Lives | None = None

    def p_fake(self, texture: float, appearance: float, pooled: float) -> float:
        """Calibrated probability that the clip is generated, or that a part of it is."""
        whole = _sigmoid(self.texture * texture + self.appearance * appearance + self.bias)
        return 1.0 - (1.0 - whole) * (1.0 - self.p_edited(pooled))

    def p_edited(self, pooled: float) -> float:
        """Chance that footage was edited in one place."""
        return _sigmoid(self.edited * pooled + self.edited_bias)

    def local_score(self, presence: float, pooled: float) -> float:
        """See the class."""
        return _sigmoid(self.local * _logit(presence) + self.local_edited * pooled + self.local_bias)

    def kinds_marked(self, kinds: np.ndarray) -> np.ndarray:
        """Chances (9,) of the categories that an annotator would name, see the class."""
        if not self.kinds_prior:
            return kinds
        chances = (kinds + 1e-3) ** self.kinds_trust * np.array(self.kinds_prior)
        return np.asarray(chances / chances.sum())

    def trace_score(self, heat: float, presence: float, p_fake: float) -> float:
        """See the class."""
        known = self.heat * heat + self.presence * presence + self.trace_generated * _logit(p_fake)
        return _sigmoid(known + self.trace_bias)


class Card(BaseModel):
    """The model card: what the model is, what it was trained on, how often it errs, and its calibration."""

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str
    version: str
    sha256: str
    channels: tuple[str, ...]
    texture_statistics: int
    appearance_statistics: int
    calibration: Calibration


@dataclass(frozen=True)
class WindowScores:
    """What the nets say of one window.

    Attributes:
        texture, appearance: scores of the kernel machines; None where the window is too short for them.
        clip: the presence net's pooled logit: was something done to footage?
        where: (T, GRID, GRID) chance that a trace lies there, given that there is one.
        present: (T, GRID, GRID) chance that a trace lies there.
        kinds: (T, 9, GRID / 2, GRID / 2) chance of each category of edits.
    """

    texture: float | None
    appearance: float | None
    clip: float
    where: np.ndarray
    present: np.ndarray
    kinds: np.ndarray


class TraceNetModel:
    """An ONNX session with its card.

    Attributes:
        card: see `Card`.
    """

    def __init__(self, session: onnxruntime.InferenceSession, card: Card) -> None:
        self._session, self.card = session, card
        self._nothing = (np.zeros(card.texture_statistics, np.float32), np.zeros(DIMENSIONS, np.float32))

    @classmethod
    def load(cls, folder: str | Path | None = None) -> Self:
        """Load the shipped model, or one that `deeptrace train tracenet` exported to `folder`.

        Raises:
            ModelError: a file is missing, damaged, or made for other evidence than this version measures.
        """
        base = Path(str(folder)) if folder is not None else shipped_folder()
        try:
            card = Card.model_validate_json((base / CARD_NAME).read_bytes())
            weights = (base / MODEL_NAME).read_bytes()
        except FileNotFoundError as error:
            raise ModelError(str(base), f"no {Path(str(error.filename)).name} there", "Reinstall deeptrace.") from None
        except OSError as error:
            raise ModelError(str(base), f"cannot be read: {error.strerror}") from None
        except ValidationError as error:
            raise ModelError(str(base / CARD_NAME), f"not a model card: {error.errors()[0]['msg']}") from None
        if hashlib.sha256(weights).hexdigest() != card.sha256:
            raise ModelError(
                str(base / MODEL_NAME), "the file is not the one its card describes", "Reinstall deeptrace."
            )
        sizes = (card.texture_statistics, card.appearance_statistics)
        if card.channels != CHANNELS or sizes != (len(texture_names()), DIMENSIONS):
            raise ModelError(
                str(base), "the model was trained on other evidence than this version measures", "Retrain."
            )
        return cls(open_session(base / MODEL_NAME, weights), card)

    def score(self, window: Window) -> WindowScores:
        """Run the nets on one window."""
        known = window.texture is not None and window.appearance is not None
        texture, appearance = (window.texture, window.appearance) if known else self._nothing
        given = {"evidence": window.evidence, "texture": texture, "appearance": appearance}
        clip, of_texture, where, present, kinds, of_appearance = self._session.run(
            None, {name: np.asarray(values, np.float32) for name, values in given.items()}
        )
        return WindowScores(
            texture=float(of_texture) if known else None,
            appearance=float(of_appearance) if known else None,
            clip=float(clip),
            where=where,
            present=present,
            kinds=kinds,
        )


def _logit(chance: float) -> float:
    return math.log((chance + 1e-4) / (1 - chance + 1e-4))


def _sigmoid(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-min(max(x, -60.0), 60.0)))
