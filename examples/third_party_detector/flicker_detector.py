"""A detector of another package: says FAKE when a clip's brightness jumps, and names the moment."""

from itertools import pairwise

from deeptrace.schema import DetectorInfo, Label, Outcome, Trace, Verdict


class Flicker:
    """Compares each frame's brightness with the one before."""

    def __init__(self, threshold):
        self.info = DetectorInfo(name="flicker:", version="1", settings={"threshold": threshold})

    def detect(self, video):
        """FAKE from `threshold` on, as a fraction of full brightness."""
        levels = [(frame.time_s, frame.image.mean() / 255) for frame in video.frames(max_fps=12, format="gray")]
        jumps = [(abs(now - before), at) for (_, before), (at, now) in pairwise(levels)]
        jump, at = max(jumps, default=(0.0, 0.0))
        seen = jump >= self.info.settings["threshold"]
        why = f"The whole picture changes its brightness by {jump:.0%} at {at:.1f} s."
        return Verdict(
            video=video.path,
            outcome=Outcome.SCORED,
            label=Label.FAKE if seen else Label.REAL,
            traces=[Trace(onset_s=at, score=jump, explanation=why)] if seen else [],
            media=video.media,
            detector=self.info,
        )


def load(rest, *, threshold=0.2):  # noqa: ARG001  `rest` is what follows the colon in the name
    """The factory that the entry point names; `--set threshold=0.1` arrives here."""
    return Flicker(threshold)
