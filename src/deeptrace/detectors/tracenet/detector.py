"""TraceNet, the default detector: no GPU, no download, a verdict with measured reasons.

Its sentences quote what was measured inside a trace, against the rest of the picture and the time before.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

import numpy as np

from deeptrace.detectors.base import Analysis, EvidenceCurves, HeatMap
from deeptrace.detectors.curves import CHANCE, CURVES
from deeptrace.detectors.tracenet.evidence import CHANNELS, FLOW_SIDE, REFERENCE_DT_S
from deeptrace.detectors.tracenet.model import WEIGHTS_DIGITS, Segment, SegmentKeeper, TraceNetModel
from deeptrace.detectors.tracenet.temporal_extent import TemporalExtent
from deeptrace.detectors.tracenet.trace_kinds import TraceKinds, kind_features
from deeptrace.detectors.tracenet.tubes import FoundTube, TubeSettings, find_tubes, kinds_in, presence_tubes
from deeptrace.detectors.tracenet.windows import Window, read_windows
from deeptrace.errors import SettingsError, UndecidableError
from deeptrace.geometry import Box, Tube
from deeptrace.plural import plural
from deeptrace.schema import (
    MIN_FRAMES,
    Category,
    DetectorInfo,
    Flaws,
    Label,
    Outcome,
    SegmentScore,
    Trace,
    Verdict,
)
from deeptrace.video import Video

__all__ = ["UNFAMILIAR", "TraceNet", "explanation", "load"]

_AT = {name: index for index, name in enumerate(CHANNELS)}
_EPS = 0.05  # what evidence adds before it takes logarithms
_CLEAR_RATIO = 1.5
_CLEAR_FALL = 0.2
_STILL_SHARE = 0.01

_LOOKS = {
    Category.OBJECT_DISTORTION: "does not keep its shape",
    Category.SUDDEN_BLURRING: "loses sharpness",
    Category.OBJECT_TRAJECTORY: "moves in a way that such a thing hardly can",
    Category.REDUNDANT_OBJECT: "seems to gain something that was not there",
    Category.OBJECT_MERGING: "seems to fuse with what is beside it",
    Category.OBJECT_SPLITTING: "seems to come apart",
    Category.BACKGROUND_DISTORTION: "warps, though it looks like background",
    Category.OBJECT_DISAPPEARANCE: "seems to lose something that was there",
    Category.UNEXPECTED_MOVE: "moves by itself",
}


@dataclass(frozen=True)
class _Fact:
    """A measured clause and how far it stands out (1 is just worth saying)."""

    clause: str
    strength: float


def explanation(evidence: np.ndarray, times_s: np.ndarray, mask: np.ndarray, box: Box, kind: Category | None) -> str:
    """One or two plain sentences on a trace.

    Args:
        evidence: (T, channels, G, G) of the segment around it.
        times_s: (T,).
        mask: (T, G, G) bool, where and when the trace lies.
        box: its box, for the place.
        kind: the likeliest category; None when none is likely.
    """
    looks = _LOOKS[kind] if kind else "changes in a way that footage hardly does"
    where = "Nearly the whole picture" if box.nearly_everywhere else f"The region in the {box.place}"
    first = f"{where} {looks}"
    facts = sorted(_facts(evidence, times_s, mask), key=lambda fact: -fact.strength)[:2]
    if not facts:
        return f"{first}; no single measurement stands out there, the pattern as a whole does."
    return f"{first}: {' and '.join(fact.clause for fact in facts)}."


def _facts(evidence: np.ndarray, times_s: np.ndarray, mask: np.ndarray) -> list[_Fact]:
    facts = [
        _against_rest(
            evidence,
            mask,
            "residual",
            "it changes {ratio:.1f} times as much as the rest beyond what its motion explains",
        ),
        _against_rest(
            evidence,
            mask,
            "inconsistency",
            "its motion read forwards and backwards disagrees {ratio:.1f} times as much as elsewhere",
        ),
        _against_rest(
            evidence, mask, "acceleration", "it flickers {ratio:.1f} times as strongly as the rest from frame to frame"
        ),
        _sharpness_fall(evidence, times_s, mask),
        _own_motion(evidence, mask),
    ]
    return [fact for fact in facts if fact is not None]


def _against_rest(evidence: np.ndarray, mask: np.ndarray, channel: str, clause: str) -> _Fact | None:
    """A rate inside the trace over the same rate outside it, over the same moments."""
    alive = _alive_after_first(mask)
    rate = np.exp(evidence[alive, _AT[channel]]) - _EPS
    inside = mask[alive]
    if not inside.any() or inside.all():
        return None
    ratio = float(max(rate[inside].mean(), 0.0) / max(rate[~inside].mean(), 1e-2))
    if ratio < _CLEAR_RATIO:
        return None
    return _Fact(clause.format(ratio=ratio), np.log(ratio) / np.log(_CLEAR_RATIO))


def _sharpness_fall(evidence: np.ndarray, times_s: np.ndarray, mask: np.ndarray) -> _Fact | None:
    """The steepest lasting fall of fine detail within half a second."""
    region = mask.any(axis=0)
    sharpness = np.exp(evidence[:, _AT["sharpness_fine"]][:, region]).mean(axis=1)
    alive = np.flatnonzero(mask.any(axis=(1, 2)))
    best = (0.0, 0, 0)
    for start in alive[:-1]:
        for stop in alive[(alive > start) & (times_s[alive] <= times_s[start] + 0.5)]:
            after = sharpness[stop : stop + 3].mean()
            fall = 1.0 - float(after / max(sharpness[start], 1e-6))
            if fall > best[0]:
                best = (fall, int(start), int(stop))
    fall, start, stop = best
    if fall < _CLEAR_FALL:
        return None
    clause = f"its sharpness falls by {100 * fall:.0f} % from {times_s[start]:.2f} s to {times_s[stop]:.2f} s"
    return _Fact(clause, fall / _CLEAR_FALL)


def _own_motion(evidence: np.ndarray, mask: np.ndarray) -> _Fact | None:
    """Motion of its own while the camera is still, in shares of the frame's width a second."""
    alive = _alive_after_first(mask)
    if not alive.any():
        return None
    per_second = 1.0 / (FLOW_SIDE * REFERENCE_DT_S)
    own = (np.exp(evidence[alive, _AT["motion"]]) - _EPS)[mask[alive]].mean() * per_second
    camera = (np.exp(evidence[alive, _AT["camera_motion"]]) - _EPS).mean() * per_second
    if own < 3 * _STILL_SHARE or camera > _STILL_SHARE:
        return None
    clause = f"it moves by {100 * own:.0f} % of the frame a second while the camera stands still"
    return _Fact(clause, own / (3 * _STILL_SHARE) / 2)


def _alive_after_first(mask: np.ndarray) -> np.ndarray:
    """(T,) bool: moments of the trace, less the first frame, which has no frame before it to be measured against."""
    return np.asarray(mask.any(axis=(1, 2)) & (np.arange(len(mask)) > 0))


Threshold = Literal["fpr_1", "fpr_5", "balanced"]

UNFAMILIAR = "unlike anything that the detector has learned from: its answer is a guess"

_MOST_TRACES = 5
_FEW_FRAMES = 8
_SAME_PLACE = 0.5
_UNITS = {"inconsistency": 100 / FLOW_SIDE}
"""What a channel is multiplied by for its curve; 1 where not named."""


@dataclass(frozen=True)
class _Measured:
    """Everything one pass over a video gives."""

    p_fake: float | None
    pooled: float
    segments: list[Segment]
    times_s: tuple[float, ...]
    window_p: list[tuple[float, float]]
    curves: EvidenceCurves
    flaws: Flaws | None
    unfamiliar: bool


@dataclass(frozen=True)
class _Found:
    """A tube that may be named: its extent in time is still to be refined by `extent`, then its kinds by `kinds`."""

    segment: Segment
    found: FoundTube
    named: list[Category]
    score: float
    extent: TemporalExtent | None
    kinds: TraceKinds | None = None


class TraceNet:
    """The default detector.

    Args:
        model: loaded.
        threshold: where FAKE begins: the p_fake that 1 % or 5 % of camera footage exceeds, or where both errors are
            equal; or a number from 0 to 1.
        min_score: traces below this score are left out of a REAL verdict; a FAKE verdict names its best trace even
            when that trace alone would not convince.
        fast: let the decoder leave out frames that no other frame needs.
        prior: the share of clips that are generated where this is used. `p_fake`, and the thresholds that have names,
            are moved to it by Bayes' rule from the one half that they are calibrated for; which clips are called
            generated does not change, nor do scores of traces.
    """

    def __init__(
        self,
        model: TraceNetModel,
        *,
        threshold: Threshold | float = "fpr_5",
        min_score: float = 0.35,
        fast: bool = True,
        prior: float = 0.5,
    ) -> None:
        if not _is_share(prior) or prior in (0, 1):
            raise SettingsError("prior", f"expected a share between 0 and 1 but got {prior}")
        self._model, self._fast, self._min_score, self._prior = model, fast, min_score, prior
        self._limit = _limit(model, threshold, prior)
        self._tubes = TubeSettings()
        if not _is_share(min_score):
            raise SettingsError("min_score", f"expected a number from 0 to 1 but got {min_score}")
        low = min(at_prior(model.card.calibration.real_below, prior), self._limit)
        settings: dict[str, Any] = {"threshold": round(self._limit, 6), "real_below": round(low, 6)}
        settings |= {"min_score": min_score, "fast": fast}
        if isinstance(threshold, str):
            settings["threshold_name"] = threshold
        if prior != 0.5:  # runs of before there was such a setting go on
            settings["prior"] = prior
        self._info = DetectorInfo(
            name="tracenet",
            version=model.card.version,
            settings=settings | {"weights": model.card.sha256[:WEIGHTS_DIGITS], "tubes": asdict(self._tubes)},
        )

    @property
    def info(self) -> DetectorInfo:
        """See `Detector.info`."""
        return self._info

    def detect(self, video: Video) -> Verdict:
        """The verdict on one video; see `Detector.detect`.

        Raises:
            UndecidableError: fewer than 4 sampled frames, which show no motion to measure.
            VideoError: the video cannot be decoded.
        """
        return self.analyse(video).verdict

    def analyse(self, video: Video, *, curves: bool = False, heat: bool = False) -> Analysis:
        """See `AnalysingDetector.analyse`; the heat is what the traces were read off.

        Raises:
            UndecidableError, VideoError: as `detect`.
        """
        measured = self._measure(video)
        verdict = self._verdict(video, measured)
        chances = [(time_s, at_prior(p, self._prior)) for time_s, p in measured.window_p]
        if chances and measured.times_s[-1] > chances[-1][0]:
            # A window's value holds for all of its frames, so the curve goes on to the last of them.
            chances.append((measured.times_s[-1], chances[-1][1]))
        return Analysis(
            verdict,
            {CHANCE: chances, **measured.curves} if curves else {},
            tuple(HeatMap(one.times_s, one.where) for one in measured.segments) if heat else (),
        )

    def _verdict(self, video: Video, measured: _Measured) -> Verdict:
        media = video.media.model_copy(update={"sampled_times_s": measured.times_s})
        warnings = list(video.warnings)
        if measured.p_fake is None:
            raise UndecidableError.of_frames(video.path, len(measured.times_s), MIN_FRAMES)
        if len(measured.times_s) < _FEW_FRAMES:
            warnings.append(f"only {plural(len(measured.times_s), 'frame')} to go by: the answer means little")
        p_fake = at_prior(measured.p_fake, self._prior)
        is_fake = p_fake >= self._limit
        traces = self._traces(measured, is_fake)
        if is_fake and not traces:
            warnings.append("looks generated as a whole, but no single trace was found")
        if measured.unfamiliar:
            warnings.append(UNFAMILIAR)
        return Verdict(
            video=video.path,
            outcome=Outcome.SCORED,
            label=Label.FAKE if is_fake else Label.REAL,
            p_fake=p_fake,
            traces=tuple(traces),
            flaws=measured.flaws,
            unfamiliar=measured.unfamiliar,
            media=media,
            detector=self._info,
            warnings=tuple(warnings),
            segment_scores=self._segment_scores(measured),
        )

    def _segment_scores(self, measured: _Measured) -> tuple[SegmentScore, ...]:
        """The chance of each window, to where the next begins; the last to the last frame."""
        starts = [start for start, _ in measured.window_p]
        ends = [*starts[1:], max(measured.times_s[-1], starts[-1])] if starts else []
        return tuple(
            SegmentScore(onset_s=start, offset_s=end, score=at_prior(p, self._prior))
            for (start, p), end in zip(measured.window_p, ends, strict=True)
        )

    def _measure(self, video: Video) -> _Measured:
        calibration = self._model.card.calibration
        keeper = SegmentKeeper()
        statistics: list[tuple[float, float]] = []
        nearness: list[float] = []
        clips: list[float] = []
        times: list[float] = []
        window_p: list[tuple[float, float]] = []
        curves: EvidenceCurves = {label: [] for label in CURVES.values()}
        flawed: list[tuple[int, np.ndarray]] = []
        for window in read_windows(video, fast=self._fast, encoder=self._model.encoder):
            scores = self._model.score(window)
            clips.append(scores.clip)
            if scores.texture is not None and scores.appearance is not None:
                statistics.append((scores.texture, scores.appearance))
                p = calibration.p_fake(scores.texture, scores.appearance, scores.clip)
                window_p.append((float(window.times_s[window.fresh]), p))
            if scores.nearness is not None:
                nearness.append(scores.nearness)
            if scores.flaws is not None:
                flawed.append((len(window.times_s), scores.flaws))
            _extend(curves, times, window)
            times.extend(float(t) for t in window.times_s[window.fresh :])
            keeper.add(window, scores)
        pooled = max(clips, default=0.0)  # an edit in one segment is an edit
        p_fake = None
        if statistics:
            texture, appearance = np.mean(statistics, axis=0).tolist()
            p_fake = calibration.p_fake(texture, appearance, pooled)
        end_s = max(video.media.duration_s, times[-1] if times else 0.0)
        limit = calibration.familiar_from
        unfamiliar = bool(limit is not None and nearness and float(np.mean(nearness)) < limit)
        segments, flaws = keeper.segments(end_s), self._flaws(flawed)
        return _Measured(p_fake, pooled, segments, tuple(times), window_p, curves, flaws, unfamiliar)

    def _flaws(self, windows: list[tuple[int, np.ndarray]]) -> Flaws | None:
        """The flaws of windows, each with its number of frames; None where this model does not measure them."""
        if self._model.flaws is None or not windows:
            return None
        frames, statistics = zip(*windows, strict=True)
        return self._model.flaws.flaws(np.average(np.stack(statistics), axis=0, weights=frames))

    def _traces(self, measured: _Measured, is_fake: bool) -> list[Trace]:
        assert measured.p_fake is not None
        found: list[_Found] = []
        for segment in measured.segments:
            found += self._marked(segment, measured.p_fake, is_fake)
            found += self._edited(segment, measured.pooled, is_fake)
        found.sort(key=lambda trace: -trace.score)
        strong = [trace for trace in found if trace.score >= self._min_score]
        named = [_told(_alive(trace)) for trace in strong or (found[:1] if is_fake else [])]
        return [_explained(trace, weak=trace.score < self._min_score) for trace in _apart(named)[:_MOST_TRACES]]

    def _marked(self, segment: Segment, p_fake: float, is_fake: bool) -> list[_Found]:
        """Traces where an annotator would mark a generated clip."""
        calibration = self._model.card.calibration
        heat = segment.where**calibration.sharpen
        most = calibration.trace_score(float(heat.max()), float(segment.present.max()), p_fake)
        if not is_fake and most < self._min_score:
            return []
        found = []
        for tube in find_tubes(heat, segment.times_s, segment.end_s, self._tubes):
            presence = float(segment.present[tube.mask].mean())
            chances = calibration.kinds_marked(kinds_in(segment.kinds, tube.mask))
            limits = calibration.category_thresholds or (0.5,) * len(chances)
            order = np.argsort(-chances)
            named = [list(Category)[i] for i in order if chances[i] >= limits[i]][:3] or [list(Category)[order[0]]]
            score = calibration.trace_score(tube.heat, presence, p_fake)
            extent, kinds_in_box = calibration.extent_marked, calibration.kinds_in_box
            found.append(_Found(segment, tube, named, score, extent, kinds_in_box))
        return found

    def _edited(self, segment: Segment, pooled: float, is_fake: bool) -> list[_Found]:
        """Traces where something was done to footage."""
        calibration = self._model.card.calibration
        if not is_fake and calibration.local_score(float(segment.present.max()), pooled) < self._min_score:
            return []
        found = []
        for tube in presence_tubes(segment.present, segment.times_s, segment.end_s):
            kind = list(Category)[int(kinds_in(segment.kinds, tube.mask).argmax())]
            score = calibration.local_score(tube.heat, pooled)
            found.append(_Found(segment, tube, [kind], score, calibration.extent_edited))
        return found


def load(
    rest: str = "",
    *,
    threshold: Threshold | float = "fpr_5",
    min_score: float = 0.35,
    fast: bool = True,
    prior: float = 0.5,
) -> TraceNet:
    """The detector behind the names `tracenet` and `tracenet:FOLDER` (a folder that `train tracenet` exported to).

    Raises:
        ModelError: the model cannot be loaded.
        SettingsError: a setting is invalid.
    """
    model = TraceNetModel.load(rest or None)
    return TraceNet(model, threshold=threshold, min_score=min_score, fast=fast, prior=prior)


def at_prior(chance: float, prior: float) -> float:
    """A chance that holds where half of all clips are generated, where the share `prior` of them is (Bayes' rule).

    Examples:
        >>> round(at_prior(0.9, 0.5), 6), round(at_prior(0.9, 0.01), 3), round(at_prior(0.9, 0.99), 4)
        (0.9, 0.083, 0.9989)
        >>> at_prior(0.0, 0.01), at_prior(1.0, 0.01)
        (0.0, 1.0)
    """
    generated, real = chance * prior, (1.0 - chance) * (1.0 - prior)
    return generated / (generated + real)


def _limit(model: TraceNetModel, threshold: Threshold | float, prior: float) -> float:
    names = get_args(Threshold)
    if isinstance(threshold, str):
        if threshold not in names:
            raise SettingsError("threshold", f"expected one of {', '.join(names)} or a number but got {threshold!r}")
        return at_prior(float(getattr(model.card.calibration, f"threshold_{threshold}")), prior)
    if not _is_share(threshold):
        raise SettingsError("threshold", f"expected a number from 0 to 1 but got {threshold}")
    return float(threshold)


def _is_share(value: object) -> bool:
    """Whether a setting, of whatever type JSON has, is a number from 0 to 1; `bool` is none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0.0 <= value <= 1.0


def _alive(trace: _Found) -> _Found:
    """The trace over its likeliest life."""
    if trace.extent is None:
        return trace
    segment = trace.segment
    lived = trace.extent.over_extent(trace.found, segment.evidence, segment.present, segment.times_s, segment.end_s)
    return replace(trace, found=lived)


def _told(trace: _Found) -> _Found:
    """The trace, over its life already, by the kinds that what was measured in it speaks for."""
    if trace.kinds is None:
        return trace
    segment, tube = trace.segment, trace.found.tube
    features = kind_features(segment.evidence, segment.present, tube.box, segment.times_s, tube.interval, segment.end_s)
    return replace(trace, named=trace.kinds.named(features))


def _explained(trace: _Found, *, weak: bool) -> Trace:
    segment, tube = trace.segment, trace.found.tube
    why = explanation(segment.evidence, segment.times_s, trace.found.mask, tube.box, trace.named[0])
    named = Trace.from_tube(tube, categories=trace.named, score=trace.score, explanation=why)
    return named.model_copy(update={"weak": weak})


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
    for channel, label in CURVES.items():
        maps = np.exp(window.evidence[window.fresh :, CHANNELS.index(channel)]).mean(axis=(1, 2))
        maps *= _UNITS.get(channel, 1.0)
        skip = 0 if times or channel == "sharpness_fine" else 1  # the first frame has no motion yet
        points = zip(window.times_s[window.fresh :][skip:], maps[skip:], strict=True)
        curves[label].extend((float(time), float(value)) for time, value in points)
