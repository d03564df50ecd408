"""Constant answers, and one number that a threshold turns into a label; nothing is learned.

None of them gives a probability, so `p_fake` is None. `d3` and `npr` put their statistic into `raw` as
`{"statistic": ..., "threshold": ...}` with fake as the positive direction (higher means more likely generated);
`statistic_of` reads it back, for ranking metrics. Both are the *idea* of the published method without its trained
parts. Both are weak: on 232 clips of 24 generators and 175 of camera footage, ROC AUC 0.57 (`d3`) and 0.54 (`npr`);
the default thresholds are those with the best balanced accuracy there (0.57 both).
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from deeptrace.detectors.base import Analysis, Detector
from deeptrace.errors import ModelError, SettingsError, UndecidableError
from deeptrace.geometry import Box, Interval, Tube
from deeptrace.schema import DetectorInfo, Label, Media, Outcome, SegmentScore, Trace, Verdict
from deeptrace.video import Video

__all__ = [
    "UNTRAINED",
    "ConstantBaseline",
    "PixelRelationBaseline",
    "SecondOrderBaseline",
    "pixel_relation",
    "statistic_of",
]

VERSION = "1"


def statistic_of(verdict: Verdict) -> float | None:
    """The statistic that a baseline's verdict rests on, higher is more likely generated; None for any other verdict."""
    if verdict.raw is None or verdict.detector is None or not verdict.detector.name.startswith("baseline:"):
        return None
    return float(json.loads(verdict.raw)["statistic"])


# -- constant answers -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ConstantBaseline:
    """One answer for every video.

    Attributes:
        name: after `baseline:`.
        label: the label that it always gives.
        box: the box of its one trace, over the whole clip; None for no trace.
    """

    name: str
    label: Label
    box: Box | None = None

    @property
    def info(self) -> DetectorInfo:
        """Name, version and settings."""
        settings = {} if self.box is None else {"box": list(self.box.as_tuple())}
        return DetectorInfo(name=f"baseline:{self.name}", version=VERSION, settings=settings)

    def detect(self, video: Video) -> Verdict:
        """The constant verdict; only the file's header is read."""
        traces: tuple[Trace, ...] = ()
        if self.box is not None:
            life = Interval(onset_s=0.0, offset_s=video.media.duration_s)
            traces = (
                Trace.from_tube(
                    Tube.constant(self.box, life), score=1.0, explanation="A constant answer, not a finding."
                ),
            )
        return Verdict(
            video=video.path,
            outcome=Outcome.SCORED,
            label=self.label,
            traces=traces,
            media=video.media,
            detector=self.info,
        )


def _center_box(size: float = 0.5) -> ConstantBaseline:
    """A box of `size` times the frame's width and height in its middle."""
    if not 0 < size <= 1:
        raise SettingsError("size", f"expected a fraction of the frame in (0, 1] but got {size}")
    box = Box(x0=0.5 - size / 2, y0=0.5 - size / 2, x1=0.5 + size / 2, y1=0.5 + size / 2)
    return ConstantBaseline("center-box", Label.FAKE, box)


# -- statistics -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _StatisticBaseline(ABC):
    """A curve over time, folded into one number that a threshold turns into a label."""

    threshold: float
    max_fps: float

    name = ""
    curve_name = ""

    @property
    def info(self) -> DetectorInfo:
        """Name, version and settings."""
        settings = {"threshold": self.threshold, "max_fps": self.max_fps}
        return DetectorInfo(name=f"baseline:{self.name}", version=VERSION, settings=settings)

    @abstractmethod
    def curve(self, video: Video) -> tuple[np.ndarray, np.ndarray, list[float]]:
        """Times (N,), values (N,) and the times of all frames read."""

    @abstractmethod
    def fold(self, values: np.ndarray) -> float:
        """One statistic of the curve; higher means more likely generated."""

    def frame_scores(self, times: np.ndarray, values: np.ndarray) -> tuple[SegmentScore, ...]:  # noqa: ARG002
        """What the curve says of single frames; nothing, unless a frame alone has a statistic."""
        return ()

    def detect(self, video: Video) -> Verdict:
        """The verdict: no trace, no probability, the statistic in `raw`.

        Raises:
            UndecidableError: the clip has too few frames for the statistic.
        """
        return self.analyse(video).verdict

    def analyse(self, video: Video, *, curves: bool = False, heat: bool = False) -> Analysis:  # noqa: ARG002
        """The verdict of `detect`, and the curve behind its statistic.

        Raises:
            UndecidableError: the clip has too few frames for the statistic.
        """
        times, values, seen = self.curve(video)
        statistic = self.fold(values)
        verdict = Verdict(
            video=video.path,
            outcome=Outcome.SCORED,
            label=Label.FAKE if statistic >= self.threshold else Label.REAL,
            media=_with_times(video.media, seen),
            detector=self.info,
            raw=json.dumps({"statistic": statistic, "threshold": self.threshold}),
            segment_scores=self.frame_scores(times, values),
        )
        if not curves:
            return Analysis(verdict)
        return Analysis(verdict, {self.curve_name: list(zip(times.tolist(), values.tolist(), strict=True))})


@dataclass(frozen=True)
class SecondOrderBaseline(_StatisticBaseline):
    """Evenness of motion: minus the spread of second-order temporal differences.

    The idea of D3 (Zheng et al., "D3: Training-Free AI-Generated Video Detection Using Second-Order Features",
    ICCV 2025, arXiv 2508.00701): distances between the features of successive frames, their differences in time, and
    the standard deviation of those; real footage fluctuates more, so the sign is turned. D3 takes its features from a
    pretrained encoder (XCLIP among others); here a frame is a `side` x `side` colour thumbnail, so that nothing has to
    be downloaded.
    """

    threshold: float = -0.0123
    max_fps: float = 8.0
    side: int = 32

    name = "d3"
    curve_name = "change of the frame-to-frame change"

    def curve(self, video: Video) -> tuple[np.ndarray, np.ndarray, list[float]]:
        """Second differences of frame distances, at the time of the middle frame of three."""
        before: np.ndarray | None = None
        times, steps = [], []
        for frame in video.frames(max_fps=self.max_fps):
            now = cv2.resize(frame.image, (self.side, self.side), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
            if before is not None:
                steps.append(float(np.sqrt(np.mean((now - before) ** 2))))
            times.append(frame.time_s)
            before = now
        if len(times) < 4:
            raise UndecidableError.of_frames(video.path, len(times), 4)
        return np.array(times[1:-1]), np.diff(steps), times

    def fold(self, values: np.ndarray) -> float:
        """Minus the standard deviation."""
        return -float(values.std())


@dataclass(frozen=True)
class PixelRelationBaseline(_StatisticBaseline):
    """Likeness of neighbouring pixels: minus the neighbouring-pixel relation over the local contrast.

    The idea of NPR (Tan et al., "Rethinking the Up-Sampling Operations in CNN-based Generative Network for
    Generalizable Deepfake Detection", CVPR 2024, arXiv 2312.10461): x minus its nearest-neighbour down- and
    up-sampling by two, which shows the traces of a generator's up-sampling. NPR trains a ResNet on that map; here its
    mean magnitude is taken, over the contrast in a neighbourhood twice as wide so that flat scenes do not count as
    generated. Frames keep their own size: resizing would wipe the relation out.
    """

    threshold: float = -0.397
    max_fps: float = 2.0

    name = "npr"
    curve_name = "neighbouring-pixel relation over local contrast"

    def curve(self, video: Video) -> tuple[np.ndarray, np.ndarray, list[float]]:
        """The relation of each sampled frame."""
        pairs = list(self._relations(video))
        if not pairs:
            raise ModelError(video.path, "baseline:npr needs frames of at least 4 x 4 pixels but got none")
        times, values = zip(*pairs, strict=True)
        return np.array(times), np.array(values), list(times)

    def _relations(self, video: Video) -> Iterator[tuple[float, float]]:
        for frame in video.frames(max_fps=self.max_fps):
            if min(frame.image.shape[:2]) >= 4:
                yield frame.time_s, pixel_relation(frame.image)

    def fold(self, values: np.ndarray) -> float:
        """Minus the mean."""
        return -float(values.mean())

    def frame_scores(self, times: np.ndarray, values: np.ndarray) -> tuple[SegmentScore, ...]:
        """Minus the relation of each frame."""
        return tuple(
            SegmentScore(onset_s=time, offset_s=time, score=-value)
            for time, value in zip(times.tolist(), values.tolist(), strict=True)
        )


def pixel_relation(image: np.ndarray) -> float:
    """Mean |x - up(down(x, 2))| over mean |x - up(down(x, 4))|, nearest neighbour both, of an image (H, W, 3) uint8.

    0 when pixels repeat in 2 x 2 cells (nearest-neighbour up-sampling by two), about 0.8 for white noise, lower the
    smoother the image is at the scale of one pixel. A frame without any contrast has 0.
    """
    height, width = (side // 4 * 4 for side in image.shape[:2])
    x = image[:height, :width].astype(np.int16)
    fine, coarse = (np.abs(x - x[::step, ::step].repeat(step, axis=0).repeat(step, axis=1)).mean() for step in (2, 4))
    return float(fine / coarse) if coarse > 0 else 0.0


def _with_times(media: Media, times: list[float]) -> Media:
    return media.model_copy(update={"sampled_times_s": tuple(times)})


UNTRAINED: dict[str, Callable[..., Detector]] = {
    "all-fake": lambda: ConstantBaseline("all-fake", Label.FAKE),
    "all-real": lambda: ConstantBaseline("all-real", Label.REAL),
    "center-box": _center_box,
    "d3": SecondOrderBaseline,
    "full-frame": lambda: ConstantBaseline("full-frame", Label.FAKE, Box(x0=0, y0=0, x1=1, y1=1)),
    "npr": PixelRelationBaseline,
}
"""What makes each, by the name after "baseline:"."""
