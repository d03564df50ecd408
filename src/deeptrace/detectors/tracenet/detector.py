"""TraceNet, the default detector: no GPU, no download, a verdict with measured reasons."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

import numpy as np

from deeptrace.detectors.base import EvidenceCurves
from deeptrace.detectors.tracenet.evidence import CHANNELS
from deeptrace.detectors.tracenet.explain import explanation
from deeptrace.detectors.tracenet.lives import Lives
from deeptrace.detectors.tracenet.model import TraceNetModel
from deeptrace.detectors.tracenet.stretches import Stretch, StretchKeeper
from deeptrace.detectors.tracenet.tubes import FoundTube, TubeSettings, find_tubes, kinds_in, presence_tubes
from deeptrace.detectors.tracenet.windows import Window, read_windows
from deeptrace.errors import SettingsError
from deeptrace.geometry import Tube
from deeptrace.trace import Category, DetectorInfo, Label, Outcome, Trace, Verdict
from deeptrace.video import Video

__all__ = ["Threshold", "TraceNet", "load"]

Threshold = Literal["fpr_1", "fpr_5", "balanced"]

_MOST_TRACES = 5
_FEW_FRAMES = 8
_SAME_PLACE = 0.5
_CURVES = {
    "residual": "change that motion does not explain (grey levels)",
    "sharpness_fine": "fine detail (grey levels)",
    "inconsistency": "disagreement of motion read both ways (pixels of 112)",
}


@dataclass(frozen=True)
class _Judged:
    """Everything one pass over a video gives."""

    p_fake: float | None
    pooled: float
    stretches: list[Stretch]
    times_s: tuple[float, ...]
    window_p: list[tuple[float, float]]
    curves: EvidenceCurves


@dataclass(frozen=True)
class _Found:
    """A tube that may be named, its life not yet looked for (with `lives`) and not yet put into words."""

    stretch: Stretch
    found: FoundTube
    named: list[Category]
    score: float
    lives: Lives | None


class TraceNet:
    """The default detector.

    Args:
        model: loaded.
        threshold: where FAKE begins: the p_fake that 1 % or 5 % of camera footage exceeds, or where both errors are
            equal; or a number from 0 to 1.
        min_score: traces below this score are left out of a REAL verdict; a FAKE verdict names its best trace even
            when that trace alone would not convince.
        fast: let the decoder leave out frames that no other frame needs.
    """

    def __init__(
        self,
        model: TraceNetModel,
        *,
        threshold: Threshold | float = "fpr_5",
        min_score: float = 0.35,
        fast: bool = True,
    ) -> None:
        self._model, self._fast, self._min_score = model, fast, min_score
        self._limit = _limit(model, threshold)
        self._tubes = TubeSettings()
        if not 0.0 <= min_score <= 1.0:
            raise SettingsError("min_score", f"expected a number from 0 to 1 but got {min_score}")
        settings: dict[str, Any] = {"threshold": round(self._limit, 6), "min_score": min_score, "fast": fast}
        if isinstance(threshold, str):
            settings["threshold_name"] = threshold
        self._info = DetectorInfo(
            name="tracenet",
            version=model.card.version,
            settings=settings | {"weights": model.card.sha256[:12], "tubes": asdict(self._tubes)},
        )

    @property
    def info(self) -> DetectorInfo:
        """See `Detector.info`."""
        return self._info

    def detect(self, video: Video) -> Verdict:
        """Judge one video; see `Detector.detect`.

        A video of fewer than 4 sampled frames offers no motion to measure: it is called REAL without a probability,
        with a warning that says so.
        """
        return self._verdict(video, self._judge(video))

    def detect_with_heat(self, video: Video) -> tuple[Verdict, list[Stretch]]:
        """The verdict of `detect` and, from the same pass, the heat that its traces were read off.

        Raises:
            VideoError: as `detect`.
        """
        judged = self._judge(video)
        return self._verdict(video, judged), judged.stretches

    def detect_with_evidence(self, video: Video) -> tuple[Verdict, EvidenceCurves]:
        """See `EvidenceDetector.detect_with_evidence`."""
        judged = self._judge(video)
        curves = {"chance that this stretch is generated": judged.window_p, **judged.curves}
        return self._verdict(video, judged), curves

    def _verdict(self, video: Video, judged: _Judged) -> Verdict:
        media = video.media.model_copy(update={"sampled_times_s": judged.times_s})
        warnings = list(video.warnings)
        if len(judged.times_s) < _FEW_FRAMES:
            warnings.append(f"only {len(judged.times_s)} frames to judge by: the answer says little")
        is_fake = judged.p_fake is not None and judged.p_fake >= self._limit
        traces = self._traces(judged, is_fake)
        if is_fake and not traces:
            warnings.append("looks generated as a whole, but no single trace was found")
        return Verdict(
            video=video.path,
            outcome=Outcome.SCORED,
            label=Label.FAKE if is_fake else Label.REAL,
            p_fake=judged.p_fake,
            traces=tuple(traces),
            media=media,
            detector=self._info,
            warnings=tuple(warnings),
        )

    def _judge(self, video: Video) -> _Judged:
        calibration = self._model.card.calibration
        keeper = StretchKeeper()
        judged: list[tuple[float, float]] = []
        clips: list[float] = []
        times: list[float] = []
        window_p: list[tuple[float, float]] = []
        curves: EvidenceCurves = {label: [] for label in _CURVES.values()}
        for window in read_windows(video, fast=self._fast):
            scores = self._model.score(window)
            clips.append(scores.clip)
            if scores.texture is not None and scores.appearance is not None:
                judged.append((scores.texture, scores.appearance))
                p = calibration.p_fake(scores.texture, scores.appearance, scores.clip)
                window_p.append((float(window.times_s[window.fresh]), p))
            _extend(curves, times, window)
            times.extend(float(t) for t in window.times_s[window.fresh :])
            keeper.add(window, scores)
        pooled = max(clips, default=0.0)  # an edit in one stretch is an edit
        p_fake = None
        if judged:
            texture, appearance = np.mean(judged, axis=0).tolist()
            p_fake = calibration.p_fake(texture, appearance, pooled)
        end_s = max(video.media.duration_s, times[-1] if times else 0.0)
        return _Judged(p_fake, pooled, keeper.stretches(end_s), tuple(times), window_p, curves)

    def _traces(self, judged: _Judged, is_fake: bool) -> list[Trace]:
        if judged.p_fake is None:
            return []
        found: list[_Found] = []
        for stretch in judged.stretches:
            found += self._marked(stretch, judged.p_fake, is_fake)
            found += self._edited(stretch, judged.pooled, is_fake)
        found.sort(key=lambda trace: -trace.score)
        strong = [trace for trace in found if trace.score >= self._min_score]
        named = [_alive(trace) for trace in strong or (found[:1] if is_fake else [])]
        return [_explained(trace) for trace in _apart(named)[:_MOST_TRACES]]

    def _marked(self, stretch: Stretch, p_fake: float, is_fake: bool) -> list[_Found]:
        """Traces where an annotator would mark a generated clip."""
        calibration = self._model.card.calibration
        heat = stretch.where**calibration.sharpen
        most = calibration.trace_score(float(heat.max()), float(stretch.present.max()), p_fake)
        if not is_fake and most < self._min_score:
            return []
        found = []
        for tube in find_tubes(heat, stretch.times_s, stretch.end_s, self._tubes):
            presence = float(stretch.present[tube.mask].mean())
            chances = calibration.kinds_marked(kinds_in(stretch.kinds, tube.mask))
            limits = calibration.category_thresholds or (0.5,) * len(chances)
            order = np.argsort(-chances)
            named = [list(Category)[i] for i in order if chances[i] >= limits[i]][:3] or [list(Category)[order[0]]]
            score = calibration.trace_score(tube.heat, presence, p_fake)
            found.append(_Found(stretch, tube, named, score, calibration.lives_marked))
        return found

    def _edited(self, stretch: Stretch, pooled: float, is_fake: bool) -> list[_Found]:
        """Traces where something was done to footage."""
        calibration = self._model.card.calibration
        if not is_fake and calibration.local_score(float(stretch.present.max()), pooled) < self._min_score:
            return []
        found = []
        for tube in presence_tubes(stretch.present, stretch.times_s, stretch.end_s):
            kind = list(Category)[int(kinds_in(stretch.kinds, tube.mask).argmax())]
            score = calibration.local_score(tube.heat, pooled)
            found.append(_Found(stretch, tube, [kind], score, calibration.lives_edited))
        return found


def load(
    rest: str = "",
    *,
    threshold: Threshold | float = "fpr_5",
    min_score: float = 0.35,
    fast: bool = True,
) -> TraceNet:
    """The detector behind the names `tracenet` and `tracenet:FOLDER` (a folder that `train tracenet` exported to).

    Raises:
        ModelError: the model cannot be loaded.
        SettingsError: a setting makes no sense.
    """
    return TraceNet(TraceNetModel.load(rest or None), threshold=threshold, min_score=min_score, fast=fast)


def _limit(model: TraceNetModel, threshold: Threshold | float) -> float:
    names = get_args(Threshold)
    if isinstance(threshold, str):
        if threshold not in names:
            raise SettingsError("threshold", f"expected one of {', '.join(names)} or a number but got {threshold!r}")
        return float(getattr(model.card.calibration, f"threshold_{threshold}"))
    if not 0.0 <= threshold <= 1.0:
        raise SettingsError("threshold", f"expected a number from 0 to 1 but got {threshold}")
    return float(threshold)


def _alive(trace: _Found) -> _Found:
    """The trace over its likeliest life."""
    if trace.lives is None:
        return trace
    stretch = trace.stretch
    lived = trace.lives.over_life(trace.found, stretch.evidence, stretch.present, stretch.times_s, stretch.end_s)
    return replace(trace, found=lived)


def _explained(trace: _Found) -> Trace:
    stretch, tube = trace.stretch, trace.found.tube
    why = explanation(stretch.evidence, stretch.times_s, trace.found.mask, tube.box, trace.named[0])
    return Trace.from_tube(tube, categories=trace.named, score=trace.score, explanation=why)


def _apart(traces: list[_Found]) -> list[_Found]:
    """Those that no better one (they come best first) says already: same place at the same time."""
    kept: list[_Found] = []
    for trace in traces:
        if not any(_same(trace.found.tube, other.found.tube) for other in kept):
            kept.append(trace)
    return kept


def _same(one: Tube, other: Tube) -> bool:
    return one.box.iou(other.box) > _SAME_PLACE and one.interval.tiou(other.interval) > 0.0


def _extend(curves: EvidenceCurves, times: list[float], window: Window) -> None:
    for channel, label in _CURVES.items():
        maps = np.exp(window.evidence[window.fresh :, CHANNELS.index(channel)]).mean(axis=(1, 2))
        skip = 0 if times or channel == "sharpness_fine" else 1  # the first frame has no motion yet
        points = zip(window.times_s[window.fresh :][skip:], maps[skip:], strict=True)
        curves[label].extend((float(time), float(value)) for time, value in points)
