"""What is plotted over time beside a verdict: the curves' names for people, and where camera footage lies.

A value says little to who does not know what is usual, so pages draw the usual range behind a curve. The figures are in
`tracenet/weights/curves.json`; `benchmarks/camera_ranges.py` makes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from pydantic import BaseModel, ConfigDict

from deeptrace.schema import DetectorInfo

__all__ = ["CHANCE", "CURVES", "CameraRanges", "camera_range", "camera_ranges"]

CHANCE = "chance that this segment is generated"
CURVES: Mapping[str, str] = {
    "residual": "change that motion does not explain (grey levels)",
    "sharpness_fine": "fine detail (grey levels)",
    "inconsistency": "mismatch of motion read forwards and backwards (% of the frame)",
}
"""Evidence channel to the name of its curve, the mean over the frame. What is measured depends on no weights."""


class CameraRanges(BaseModel):
    """Where the curves of camera footage lie.

    Attributes:
        about: how the figures were made.
        clips: how many clips they were measured on; each weighs the same, however long it is.
        percentiles: the two that bound a range.
        ranges: evidence channel to (low, high), in the unit of its curve.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    about: str
    clips: int
    percentiles: tuple[float, float]
    ranges: dict[str, tuple[float, float]]


def camera_range(curve: str, detector: DetectorInfo | None = None) -> tuple[float, float] | None:
    """The range in which nine tenths of camera footage lie, by a curve's name; None where that is not known.

    Of the chance that a segment is generated it is what lies below the threshold of `detector`, if that is the one that
    one camera clip in twenty exceeds.
    """
    if curve == CHANCE:
        settings = detector.settings if detector is not None else {}
        known = settings.get("threshold_name") == "fpr_5" and isinstance(settings.get("threshold"), float)
        return (0.0, settings["threshold"]) if known else None
    channel = next((channel for channel, name in CURVES.items() if name == curve), None)
    return camera_ranges().ranges.get(channel) if channel is not None else None


@cache
def camera_ranges() -> CameraRanges:
    """The figures that come with the shipped weights."""
    text = (files("deeptrace.detectors") / "tracenet" / "weights" / "curves.json").read_text(encoding="utf-8")
    return CameraRanges.model_validate_json(text)
