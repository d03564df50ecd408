"""The shipped model: one ONNX file and its card, run with ONNX Runtime on one thread.

And which part of a video is searched for traces: all of a short one, the hottest parts of a long one.
"""

from __future__ import annotations

import hashlib
import heapq
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deeptrace.detectors.tracenet.appearance import (
    BACKBONE_NAME,
    DIMENSIONS,
    AppearanceNet,
    EncoderFacts,
    open_session,
    shipped_folder,
)
from deeptrace.detectors.tracenet.evidence import CHANNELS
from deeptrace.detectors.tracenet.flaws import FlawRanker, flaw_statistics
from deeptrace.detectors.tracenet.temporal_extent import TemporalExtent
from deeptrace.detectors.tracenet.texture import texture_names
from deeptrace.detectors.tracenet.trace_kinds import TraceKinds
from deeptrace.detectors.tracenet.windows import Window
from deeptrace.errors import ModelError
from deeptrace.metrics.logistic import expit, logit
from deeptrace.schema import DetectorInfo

__all__ = [
    "CARD_NAME",
    "FLAWS_NAME",
    "HASH_DIGITS",
    "MODEL_NAME",
    "MOST_WINDOWS",
    "WEIGHTS_DIGITS",
    "Calibration",
    "Card",
    "Segment",
    "SegmentKeeper",
    "TraceNetModel",
    "WindowScores",
    "log_odds",
    "shipped_folder",
    "shipped_learned_from",
]

MODEL_NAME, CARD_NAME, FLAWS_NAME = "tracenet.onnx", "tracenet.json", "flaws.json"
_FLOOR = 1e-4

WEIGHTS_DIGITS = 12
"""Of the weights' SHA-256, in what a detector says of itself."""

HASH_DIGITS = 16
"""Of each training clip's SHA-256, in the card: enough to know it again."""


class Calibration(BaseModel):
    """How scores become probabilities, fitted on clips whose generator or source the scoring model never saw.

    Attributes:
        texture, appearance, bias: chance that the clip as a whole is generated = sigmoid(texture * its score +
            appearance * its score + bias), with as many generated as real clips.
        edited, edited_bias: chance that footage was edited in one place = sigmoid(edited * the presence net's pooled
            logit + edited_bias), with one edited clip in twenty. p_fake is the chance of either.
        threshold_fpr_1, threshold_fpr_5, threshold_balanced: p_fake above which a clip is called FAKE: at 1 % and 5 %
            false alarms on camera footage, and where both errors are equal.
        threshold_real: p_fake below which a clip looks real; None: `threshold_balanced`.
        familiar_from: nearness of texture below which a clip is unlike all that was learned from: what one clip in a
            hundred of camera footage from elsewhere stays below. None: not known of any clip.
        heat, presence, trace_bias: a tube's score = sigmoid(heat * its mean heat + presence * its mean presence +
            trace_generated * logit(p_fake) + trace_bias): the chance that an annotator marked a trace there
            (box IoU at least 0.3).
        trace_of_generated: whether that sigmoid is the chance in a generated clip, so that p_fake is multiplied in;
            `trace_generated` has no part in it then.
        local, local_edited, local_bias: a presence tube's score = sigmoid(local * logit(its mean presence) +
            local_edited * pooled logit + local_bias): the chance that an edit lies there (box IoU at least 0.3), with
            one edited clip in five.
        sharpen: power applied to the heat before boxes are read off.
        kinds_trust, kinds_prior: chances of the categories of a tube where annotators mark = kinds ** trust * prior,
            made to add up to 1; `kinds` are those of edits, each as likely.
        category_thresholds: there a category is named from this chance on; 1 for those recognised too poorly to be
            named unless they are the likeliest.
        extent_marked, extent_edited: when a trace that an annotator would mark is there, and when an edit is; None: all
            the time that it was found in.
        kinds_in_box: which kinds a trace that an annotator would mark is of, from what was measured in it; None: as
            `kinds_prior` and `category_thresholds` say.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    texture: float
    appearance: float
    bias: float
    threshold_fpr_1: float = Field(ge=0, le=1)
    threshold_fpr_5: float = Field(ge=0, le=1)
    threshold_balanced: float = Field(ge=0, le=1)
    threshold_real: float | None = Field(default=None, ge=0, le=1)
    familiar_from: float | None = Field(default=None, ge=0, le=1)
    heat: float
    presence: float
    trace_generated: float
    trace_bias: float
    trace_of_generated: bool = False
    sharpen: float = Field(gt=0)
    edited: float = 0.0
    edited_bias: float = -60.0
    local: float = 0.0
    local_edited: float = 0.0
    local_bias: float = -60.0
    kinds_trust: float = 1.0
    kinds_prior: tuple[float, ...] = ()
    category_thresholds: tuple[float, ...] = ()
    extent_marked: TemporalExtent | None = None
    extent_edited: TemporalExtent | None = None
    kinds_in_box: TraceKinds | None = None

    @property
    def real_below(self) -> float:
        """p_fake below which a clip looks real; from there to the threshold of FAKE it is unclear."""
        return self.threshold_balanced if self.threshold_real is None else self.threshold_real

    def p_fake(self, texture: float, appearance: float, pooled: float) -> float:
        """Calibrated probability that the clip is generated, or that a part of it is."""
        whole = float(expit(self.texture * texture + self.appearance * appearance + self.bias))
        return 1.0 - (1.0 - whole) * (1.0 - self.p_edited(pooled))

    def p_edited(self, pooled: float) -> float:
        """Chance that footage was edited in one place."""
        return float(expit(self.edited * pooled + self.edited_bias))

    def local_score(self, presence: float, pooled: float) -> float:
        """See the class."""
        return float(expit(self.local * log_odds(presence) + self.local_edited * pooled + self.local_bias))

    def kinds_marked(self, kinds: np.ndarray) -> np.ndarray:
        """Chances (9,) of the categories that an annotator would name, see the class."""
        if not self.kinds_prior:
            return kinds
        chances = (kinds + 1e-3) ** self.kinds_trust * np.array(self.kinds_prior)
        return np.asarray(chances / chances.sum())

    def trace_score(self, heat: float, presence: float, p_fake: float) -> float:
        """See the class."""
        known = self.heat * heat + self.presence * presence + self.trace_bias
        if self.trace_of_generated:
            return p_fake * float(expit(known))
        return float(expit(known + self.trace_generated * log_odds(p_fake)))


class Card(BaseModel):
    """The model card: what the model is, what it was trained on, how often it errs, and its calibration.

    `encoder` is of the image encoder in the model's own folder; None: appearance is read off the shipped one.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str
    version: str
    sha256: str
    channels: tuple[str, ...]
    texture_statistics: int
    appearance_statistics: int
    encoder: EncoderFacts | None = None
    calibration: Calibration

    @property
    def learned_from(self) -> frozenset[str]:
        """The first HASH_DIGITS digits of each training clip's SHA-256; empty where the card does not list them."""
        trained_on = (self.model_extra or {}).get("trained_on")
        listed = trained_on.get("clips_sha256") if isinstance(trained_on, dict) else None
        return frozenset(map(str, listed or ()))


def shipped_learned_from(info: DetectorInfo) -> frozenset[str]:
    """What the shipped weights have learned from (see `Card.learned_from`), where `info` is theirs; else nothing."""
    if info.name != "tracenet":
        return frozenset()
    card = Card.model_validate_json((shipped_folder() / CARD_NAME).read_bytes())
    return card.learned_from if card.sha256[:WEIGHTS_DIGITS] == info.settings.get("weights") else frozenset()


@dataclass(frozen=True)
class WindowScores:
    """What the nets say of one window.

    Attributes:
        texture, appearance: scores of the kernel machines; None where the window is too short for them.
        clip: the presence net's pooled logit: was something done to footage?
        where: (T, GRID, GRID) chance that a trace lies there, given that there is one.
        present: (T, GRID, GRID) chance that a trace lies there.
        kinds: (T, 9, GRID / 2, GRID / 2) chance of each category of edits.
        flaws: (F,) see `flaw_statistics`; None where the window is too short for them, or no ranker is there.
        nearness: how like the nearest clip that was learned from its texture is, 0 to 1; None where the window is too
            short for it, or the model does not say.
    """

    texture: float | None
    appearance: float | None
    clip: float
    where: np.ndarray
    present: np.ndarray
    kinds: np.ndarray
    flaws: np.ndarray | None = None
    nearness: float | None = None


class TraceNetModel:
    """An ONNX session with its card.

    Attributes:
        card: see `Card`.
        flaws: how bad a clip's flaws are; None where the folder has no ranker.
        encoder: what appearance is read off; None: the shipped net.
    """

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        card: Card,
        flaws: FlawRanker | None = None,
        encoder: AppearanceNet | None = None,
    ) -> None:
        self._session, self.card, self.flaws, self.encoder = session, card, flaws, encoder
        sizes = (card.texture_statistics, card.appearance_statistics)
        self._nothing = tuple(np.zeros(size, np.float32) for size in sizes)

    @classmethod
    def load(cls, folder: str | Path | None = None) -> Self:
        """Load the shipped model, or one that `deeptrace train tracenet` exported to `folder`.

        Raises:
            ModelError: a file is missing, damaged, or made for other evidence than this version measures. A folder
                without `flaws.json` measures no flaws.
        """
        base = Path(str(folder)) if folder is not None else shipped_folder()
        mend = (
            "Reinstall deeptrace." if folder is None else "Name a folder that `deeptrace train tracenet` has written."
        )
        try:
            card = Card.model_validate_json((base / CARD_NAME).read_bytes())
            weights = (base / MODEL_NAME).read_bytes()
        except FileNotFoundError as error:
            raise ModelError(str(base), f"no {Path(str(error.filename)).name} there", mend) from None
        except OSError as error:
            raise ModelError(str(base), f"cannot be read: {error.strerror}") from None
        except ValidationError as error:
            raise ModelError(str(base / CARD_NAME), f"not a model card: {error.errors()[0]['msg']}") from None
        if hashlib.sha256(weights).hexdigest() != card.sha256:
            raise ModelError(str(base / MODEL_NAME), "the file is not the one its card describes", mend)
        encoder = AppearanceNet(base / BACKBONE_NAME, card.encoder) if card.encoder else None
        sizes = (card.texture_statistics, card.appearance_statistics)
        if card.channels != CHANNELS or sizes != (len(texture_names()), encoder.dimensions if encoder else DIMENSIONS):
            raise ModelError(
                str(base), "the model was trained on other evidence than this version measures", "Retrain."
            )
        return cls(open_session(base / MODEL_NAME, weights), card, _flaws_of(base / FLAWS_NAME), encoder)

    def score(self, window: Window) -> WindowScores:
        """Run the nets on one window."""
        known = window.texture is not None and window.appearance is not None
        texture, appearance = (window.texture, window.appearance) if known else self._nothing
        given = {"evidence": window.evidence, "texture": texture, "appearance": appearance}
        clip, of_texture, where, present, kinds, of_appearance, *nearness = self._session.run(
            None, {name: np.asarray(values, np.float32) for name, values in given.items()}
        )
        return WindowScores(
            texture=float(of_texture) if known else None,
            appearance=float(of_appearance) if known else None,
            clip=float(clip),
            where=where,
            present=present,
            kinds=kinds,
            flaws=flaw_statistics(
                window.evidence, window.times_s, clip=float(clip), present=present, where=where, kinds=kinds
            )
            if known and self.flaws is not None
            else None,
            nearness=float(nearness[0]) if known and nearness else None,  # models of version 3 do not say
        )


def _flaws_of(path: Path) -> FlawRanker | None:
    try:
        return FlawRanker.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ModelError(str(path), f"cannot be read: {error.strerror}") from None
    except ValidationError as error:
        raise ModelError(str(path), f"not a flaw ranker: {error.errors()[0]['msg']}", "Train again.") from None


def log_odds(chance: float | NDArray[np.float64]) -> NDArray[np.float64]:
    """ln(p / (1 - p)) of chances, of any shape; finite, for they are drawn a ten-thousandth towards even odds."""
    return np.asarray(logit((chance + _FLOOR) / (1 + 2 * _FLOOR)))


MOST_WINDOWS = 40
"""Windows kept for the search (2 minutes of video): memory does not grow with the video."""


@dataclass(frozen=True)
class Segment:
    """Neighbouring windows joined; shapes as in `WindowScores` and `Window`, over all their frames.

    Attributes:
        end_s: when its last frame leaves the screen.
    """

    times_s: np.ndarray
    evidence: np.ndarray
    where: np.ndarray
    present: np.ndarray
    kinds: np.ndarray
    end_s: float


@dataclass(frozen=True)
class _Kept:
    number: int
    arrays: tuple[np.ndarray, ...]


class SegmentKeeper:
    """Keeps the MOST_WINDOWS windows that hold the strongest signs of a trace."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, _Kept]] = []
        self._starts: list[float] = []

    def add(self, window: Window, scores: WindowScores) -> None:
        """Offer one window; windows come in order."""
        number = len(self._starts)
        self._starts.append(float(window.times_s[window.fresh]))
        fresh = slice(window.fresh, None)
        arrays = (
            window.times_s[fresh],
            window.evidence[fresh],
            scores.where[fresh],
            scores.present[fresh],
            scores.kinds[fresh],
        )
        entry = (float(scores.present.mean()), -number, _Kept(number, arrays))
        if len(self._heap) < MOST_WINDOWS:
            heapq.heappush(self._heap, entry)
        else:
            heapq.heappushpop(self._heap, entry)

    def segments(self, end_s: float) -> list[Segment]:
        """What was kept, neighbours joined, in order of time.

        Args:
            end_s: end of the video.
        """
        runs: list[list[_Kept]] = []
        for kept in sorted((entry[2] for entry in self._heap), key=lambda kept: kept.number):
            if runs and runs[-1][-1].number == kept.number - 1:
                runs[-1].append(kept)
            else:
                runs.append([kept])
        return [self._join(run, end_s) for run in runs]

    def _join(self, run: list[_Kept], end_s: float) -> Segment:
        following = run[-1].number + 1
        joined = [np.concatenate(parts) for parts in zip(*(kept.arrays for kept in run), strict=True)]
        end = self._starts[following] if following < len(self._starts) else end_s
        times, evidence, where, present, kinds = joined
        return Segment(times, evidence, where, present, kinds, end)
