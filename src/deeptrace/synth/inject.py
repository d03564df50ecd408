"""Put one known trace into a clip."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import numpy as np

from deeptrace.errors import SettingsError, SynthError
from deeptrace.geometry import Box, Keyframe, Tube
from deeptrace.schema import Category, Trace
from deeptrace.synth.canvas import Stage
from deeptrace.synth.effects.blurs import sudden_blurring
from deeptrace.synth.effects.cutouts import object_disappearance, object_trajectory, redundant_object, unexpected_move
from deeptrace.synth.effects.joins import object_merging, object_splitting
from deeptrace.synth.effects.warps import background_distortion, object_distortion
from deeptrace.synth.explain import Finding
from deeptrace.synth.grain import Grain
from deeptrace.synth.regions import Want, choose_region, held
from deeptrace.synth.scene import Scene
from deeptrace.synth.timing import MIN_FRAMES, Span, choose_span

__all__ = ["Injection", "inject", "prepare"]

_TRIES = 7  # places that are tried before a clip is said to offer nothing


@dataclass(frozen=True)
class Injection:
    """A clip with one trace in it, and the complete ground truth about that trace.

    Attributes:
        frames: (T, H, W, 3) uint8. Outside of `mask` every byte is the input's.
        trace: where, when, which kind, why; one keyframe for each frame that it touches.
        mask: (T, H, W) bool, the pixels that were written.
        severity: as asked for.
        measures: the numbers that the explanation quotes, before rounding.
    """

    frames: np.ndarray
    trace: Trace
    mask: np.ndarray
    severity: float
    measures: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class _Kind:
    """How a category picks its region: what it wants, how soft its border is, and what it does."""

    want: tuple[Want, ...]
    feather: float
    act: Callable[[Stage, float], Finding]
    largest: float = 0.5


_KINDS: dict[Category, _Kind] = {
    Category.OBJECT_DISTORTION: _Kind(("moving", "any", "any"), 4.0, object_distortion),
    Category.SUDDEN_BLURRING: _Kind(("moving", "any"), 2.5, sudden_blurring),
    Category.OBJECT_TRAJECTORY: _Kind(("moving", "moving", "any"), 1.6, object_trajectory, 0.25),
    Category.REDUNDANT_OBJECT: _Kind(("moving", "any"), 1.6, redundant_object, 0.2),
    Category.OBJECT_MERGING: _Kind(("moving", "any"), 1.8, object_merging, 0.35),
    Category.OBJECT_SPLITTING: _Kind(("moving", "any"), 1.8, object_splitting, 0.3),
    Category.BACKGROUND_DISTORTION: _Kind(("moving", "moving", "any"), 2.0, background_distortion, 0.25),
    Category.OBJECT_DISAPPEARANCE: _Kind(("moving", "any"), 1.6, object_disappearance, 0.25),
    Category.UNEXPECTED_MOVE: _Kind(("still",), 5.0, unexpected_move, 0.3),
}


def inject(
    frames: np.ndarray,
    times_s: np.ndarray,
    category: Category,
    *,
    severity: float,
    rng: np.random.Generator,
    avoid: np.ndarray | None = None,
    scene: Scene | None = None,
) -> Injection:
    """Put one trace of `category` into a clip.

    Place, time, shape and manner are drawn from `rng` and do not depend on `severity`: the same generator state
    gives the same trace at another strength, and the same state and severity the same bytes.

    Args:
        frames: (T, H, W, 3) uint8 RGB.
        times_s: (T,) seconds, rising.
        category: which of the nine kinds.
        severity: 0 (nearly invisible) to 1 (gross).
        rng: source of every choice.
        avoid: (T, H, W) bool, pixels that the trace should stay off, such as an earlier trace's mask.
        scene: `Scene.of(frames, times_s)`, where the caller has it already.

    Raises:
        SettingsError: the arrays or the severity are not as stated.
        SynthError: the clip has nothing to attach a trace to: no shot of 4 frames, or no texture anywhere that is free.
    """
    if not 0.0 <= severity <= 1.0:
        raise SettingsError("severity", f"expected a number from 0 to 1 but got {severity}")
    category = Category(category)
    scene = scene if scene is not None else Scene.of(frames, times_s)
    if min(scene.frames.shape[1:3]) < 32:
        raise SynthError(category.value, f"a frame of {scene.frames.shape[2]}x{scene.frames.shape[1]} is too small")
    for _ in range(_TRIES):
        stage = _set_up(scene, category, rng, avoid)
        if stage is None:
            continue
        finding = _KINDS[category].act(stage, severity)
        found = _record(stage, category, finding)
        if found is not None:
            return Injection(stage.out, found, stage.mask, severity, finding.measures)
    raise SynthError(
        category.value,
        "the clip has nothing to attach such a trace to",
        f"Use clips with texture and shots of at least {MIN_FRAMES} frames.",
    )


def _set_up(scene: Scene, category: Category, rng: np.random.Generator, avoid: np.ndarray | None) -> Stage | None:
    kind = _KINDS[category]
    span = choose_span(scene, category, rng)
    if span is None:
        return None
    anchor = span.start if rng.random() < 0.5 else (span.start + span.stop) // 2
    # boxes of marked traces: median 13 % of the frame, 5th percentile 2 %, 95th 53 %; a mask fills about half its box
    area = float(np.clip(np.exp(rng.normal(np.log(0.085), 0.7)), 0.015, 0.6 * kind.largest))
    want = kind.want[int(rng.integers(len(kind.want)))]
    taken = None
    if avoid is not None:
        union = np.asarray(avoid[span.start : span.stop].any(axis=0), dtype=np.uint8)
        height, width = scene.gray[0].shape
        taken = cv2.resize(union, (width, height), interpolation=cv2.INTER_AREA) > 0
    feather = kind.feather * float(np.clip(np.sqrt(area / 0.06), 0.6, 1.6))
    return prepare(scene, span, want, area, feather, rng, anchor=anchor, avoid=taken, hold=True)


def prepare(
    scene: Scene,
    span: Span,
    want: Want,
    area: float,
    feather: float,
    rng: np.random.Generator,
    *,
    anchor: int | None = None,
    avoid: np.ndarray | None = None,
    hold: bool = False,
) -> Stage | None:
    """A stage with a region chosen in it.

    Args:
        scene: the clip.
        span: when something is to happen.
        want, area, feather, avoid: see `choose_region`.
        rng: source of every choice.
        anchor: the frame at which the region is chosen; None for the middle of the span.
        hold: shorten the span to the frames in which the region still shows the same thing.

    Returns:
        None when there is nothing to attach it to.
    """
    middle = (span.start + span.stop) // 2 if anchor is None else anchor
    region = choose_region(scene, span.shot, middle, want, rng, area=area, feather=feather, avoid=avoid)
    if region is None:
        return None
    if hold:
        start, stop = held(scene, region, span.start, span.stop)
        if stop - start < min(3, span.stop - span.start):
            return None
        span = span.within(start, stop)
    return Stage(scene, span, region, rng, Grain(scene.frames, rng))


def _record(stage: Stage, category: Category, finding: Finding) -> Trace | None:
    """The trace as it was painted; None when not one pixel was."""
    width, height = stage.frame_size
    touched = [i for i in sorted(stage.seen) if stage.mask[i].any()]
    if not touched:
        return None
    keys = tuple(
        Keyframe(
            time_s=float(stage.scene.times_s[i]), box=Box.from_pixels_xyxy(*stage.seen[i], width=width, height=height)
        )
        for i in touched
    )
    onset, offset = float(stage.scene.times_s[touched[0]]), stage.scene.end_s(touched[-1])
    tube = Tube(onset_s=onset, offset_s=offset, keyframes=keys)
    sentence = finding.sentence.format(where=tube.box.place, begin=f"{onset:.2f} s", end=f"{offset:.2f} s")
    return Trace.from_tube(tube, categories=(category,), explanation=sentence)
