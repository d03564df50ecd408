"""Which clips are fit for a dataset: limits, with a reason for each default, and the line that says why one is not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

from deeptrace.collect.measures import Measures
from deeptrace.errors import SettingsError
from deeptrace.plural import plural

__all__ = ["Limits"]


@dataclass(frozen=True)
class Limits:
    """What a clip must have. All but size, rate and cuts are of the shot that is kept.

    Attributes:
        min_s: seconds. With less than a second there is hardly any motion to judge.
        min_side: short side in pixels. The default detector looks at 256; smaller clips would be enlarged for it.
        min_fps: frames a second. Below 6 a viewer sees pictures, not motion.
        max_cuts: scene cuts; None for any number. With a number, a clip with more is left out whole.
        max_flat: share of frames that are black or of one colour, in [0, 1].
        max_still: share of steps of an eighth of a second without any change, in [0, 1]: a frozen picture.
        min_moving: share of such steps in which something moves, in [0, 1]. The paper states no figure.
        min_sharpness: variance of the Laplacian at a short side of 256 pixels, in squared grey levels.
        max_blockiness: jumps at the borders of 8 x 8 blocks over jumps elsewhere; 1 without any blocks.
    """

    min_s: float = 1.0
    min_side: int = 256
    min_fps: float = 6.0
    max_cuts: int | None = None
    max_flat: float = 0.1
    max_still: float = 0.5
    min_moving: float = 0.2
    min_sharpness: float = 30.0
    max_blockiness: float = 1.4

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value is not None and not 0 <= value < float("inf"):
                raise SettingsError(name, f"expected 0 or more but got {value}")
        for name in ("max_flat", "max_still", "min_moving"):
            if getattr(self, name) > 1:
                raise SettingsError(name, f"expected a share from 0 to 1 but got {getattr(self, name)}")

    def refusal(self, found: Measures) -> tuple[str, str] | None:
        """The first filter that a clip fails, and why in words; None for a clip that is fit."""
        return next(self._refusals(found), None)

    def _refusals(self, found: Measures) -> Iterator[tuple[str, str]]:
        if found.facts.error is not None:
            yield "decode", found.facts.error
            return
        media, shot = found.facts.decoded, found.shot
        if media is None or shot is None:
            yield "decode", "not one frame of it was measured"
            return
        side = min(media.width, media.height)
        if side < self.min_side:
            yield "size", f"{media.width} x {media.height} pixels, short side below {self.min_side}"
        if (media.fps or 0.0) < self.min_fps:
            yield "rate", f"{media.fps or 0:.3g} frames/s, below {self.min_fps:g}"
        if self.max_cuts is not None and len(found.cuts_s) > self.max_cuts:
            at = ", ".join(f"{cut:.2f}" for cut in found.cuts_s[:5])
            yield "cuts", f"{plural(len(found.cuts_s), 'cut')} (at {at} s), more than {self.max_cuts}"
        if shot.duration_s < self.min_s:
            of = f" between {plural(len(found.cuts_s), 'cut')}" if found.cuts_s else ""
            yield "length", f"{shot.duration_s:.2f} s{of}, below {self.min_s:g}"
        if shot.flat > self.max_flat:
            yield "black", f"{shot.flat:.0%} of its frames are black or of one colour, above {self.max_flat:.0%}"
        if shot.still > self.max_still:
            yield "frozen", f"{shot.still:.0%} of its steps show no change, above {self.max_still:.0%}"
        if shot.moving < self.min_moving:
            yield "motion", f"something moves in {shot.moving:.0%} of its steps, below {self.min_moving:.0%}"
        if shot.sharpness < self.min_sharpness:
            yield "sharpness", f"sharpness {shot.sharpness:.1f}, below {self.min_sharpness:g}"
        if shot.blockiness > self.max_blockiness:
            yield "blocks", f"blockiness {shot.blockiness:.2f}, above {self.max_blockiness:g}"
