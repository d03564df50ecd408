"""RewardWeights: every number of the grounded reward, with the order of outcomes that no choice may break."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = ["CREDITS", "RewardWeights"]

CREDITS = ("box", "onset", "tiou", "viou", "explanation")
"""What a predicted trace earns against a true one, each in [0, 1]."""


class RewardWeights(BaseModel):
    """Weights of `rewards.score_answer`; the rewards lie in [-1, 1].

    Attributes:
        label: what FAKE alone earns on a generated video.
        format: what the form asked for earns; the rest, 1 - label - format, is for grounding.
        miss: cost of REAL on a generated video.
        false_alarm: cost of FAKE on a real video; above `miss` by default, for an accusation is the graver mistake.
        false_trace: cost of traces named on a real video: of n traces, n / (n + 1) of it.
        box_best: share of the grounding that the first box named earns on its own, with the true trace it fits best.
        box, onset, tiou, viou, explanation: relative weights within a matched pair of traces.
        recall: how much a true trace that is not named costs against a named one that is not true, in [0, 1): 0.5 is
            the balance of F1; 0 forgives missing ones, for models that are taught to name a single trace.
        onset_tolerance: error of an onset that earns nothing, as a fraction of the video's duration.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    label: float = Field(default=0.3, gt=0, lt=1)
    format: float = Field(default=0.05, ge=0, lt=1)
    miss: float = Field(default=0.5, gt=0, lt=1)
    false_alarm: float = Field(default=0.7, gt=0, lt=1)
    false_trace: float = Field(default=0.2, ge=0, lt=1)
    box_best: float = Field(default=0.1, ge=0, le=1)
    box: float = Field(default=0.4, ge=0)
    onset: float = Field(default=0.2, ge=0)
    tiou: float = Field(default=0.1, ge=0)
    viou: float = Field(default=0.15, ge=0)
    explanation: float = Field(default=0.15, ge=0)
    recall: float = Field(default=0.5, ge=0, lt=1)
    onset_tolerance: float = Field(default=0.25, gt=0, le=1)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.label + self.format >= 1:
            raise ValueError("expected label + format below 1, so that grounding is worth something")
        if self.false_alarm + self.false_trace >= 1:
            raise ValueError("expected false_alarm + false_trace below 1, so that an unreadable answer stays the worst")
        if self.format + self.false_trace >= 1:
            raise ValueError("expected format + false_trace below 1, so that a right REAL stays above 0")
        if sum(self.credits) <= 0:
            raise ValueError(f"expected a positive weight among {', '.join(CREDITS)}")
        return self

    @property
    def credits(self) -> tuple[float, ...]:
        """The weights within a pair, in the order of `CREDITS`."""
        return tuple(getattr(self, name) for name in CREDITS)
