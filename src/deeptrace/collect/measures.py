"""What is measured of a clip, in one pass over its frames: cuts, and of its longest shot quality, motion, content.

Pictures are measured at a short side of 256 pixels, so that figures of a small clip and of a large one compare; only
blocks are looked for at full size, where the encoder's grid is. Motion is read from steps of an eighth of a second: a
clip of 8 frames a second that was written at 24 has two equal frames in three and is not frozen for that.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from deeptrace.audit.file_facts import FileFacts, read_facts
from deeptrace.audit.near_duplicates import HASH_MIN_CONTRAST, ClipHasher, hashes_of_segment
from deeptrace.detectors.tracenet.appearance import shipped_appearance
from deeptrace.errors import MissingExtraError, VideoError
from deeptrace.schema import Media
from deeptrace.video import Frame, open_video

__all__ = ["Measures", "Shot", "check_installed", "measure"]

SIDE = 256
HASH_SIDE = 128
STEP_S = 0.125
SAMPLE_S = 0.25  # between two looks at sharpness and blocks
LOOK_S = 0.5  # between two pictures that are kept for the look at content
MOTION_SIDE = 64
MOVING_LEVELS, MOVING_SHARE = 10, 0.005  # a fist in a wide view, and more than a camera's noise at this size
STILL_LEVELS = 4  # what encoding leaves of a frozen picture; a camera on a tripod has more somewhere
REPEAT_LEVELS = 1.0  # mean change, grey levels, up to which a frame repeats another
BLOCK = 8


@dataclass(frozen=True)
class Shot:
    """The segment of a clip that is kept, and what was measured in it.

    Attributes:
        start_s, duration_s: seconds in the file.
        sharpness: median variance of the Laplacian, squared grey levels.
        blockiness: median of jumps at borders of 8 x 8 blocks over jumps elsewhere.
        brightness, contrast: mean grey level and its standard deviation, levels of 255.
        flat: share of frames that are black or of one colour.
        still, moving: share of steps without any change, and of steps in which something moves.
        motion: mean change in a step, grey levels.
        hashes: (time in seconds, perceptual hash) of a few frames a second.
        appearance: what the content looks like to a net that learned on photographs (704 numbers).
    """

    start_s: float
    duration_s: float
    sharpness: float
    blockiness: float
    brightness: float
    contrast: float
    flat: float
    still: float
    moving: float
    motion: float
    hashes: tuple[tuple[float, int | None], ...] = field(repr=False)
    appearance: tuple[float, ...] = field(repr=False)

    def hashes_of_first(self, seconds: float) -> tuple[int | None, ...]:
        """Hashes for near-duplicates of the shot's first seconds."""
        return hashes_of_segment(self.hashes, self.start_s, min(seconds, self.duration_s))


@dataclass(frozen=True)
class Measures:
    """One clip.

    Attributes:
        facts: of the file; `decoded` is as of the pass, no further than it went.
        cuts_s: times of the first frames after a scene cut.
        shot: the longest between cuts; None when nothing could be measured.
    """

    facts: FileFacts
    cuts_s: tuple[float, ...] = ()
    shot: Shot | None = None

    @property
    def facts_of_shot(self) -> FileFacts:
        """The facts as if the file held the kept shot alone."""
        media, shot = self.facts.decoded, self.shot
        if media is None or shot is None:
            return self.facts
        frames = None if media.fps is None else round(shot.duration_s * media.fps)
        kept = media.model_copy(update={"duration_s": shot.duration_s, "frames": frames})
        return replace(self.facts, decoded=kept, hashes=shot.hashes_of_first(shot.duration_s))

    def as_json(self) -> dict[str, Any]:
        """JSON values."""
        found = asdict(self)
        found["facts"]["decoded"] = None if self.facts.decoded is None else self.facts.decoded.model_dump(mode="json")
        return found

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Measures:
        """What `as_json` gave."""
        stated = dict(found["facts"])
        if stated["decoded"] is not None:
            stated["decoded"] = Media.model_validate(stated["decoded"])
        stated |= {name: tuple(stated[name]) for name in ("warnings", "hashes")}
        shot = found["shot"]
        if shot is not None:
            hashes = tuple((time, value) for time, value in shot["hashes"])
            shot = Shot(**{**shot, "hashes": hashes, "appearance": tuple(shot["appearance"])})
        return cls(FileFacts(**stated), tuple(found["cuts_s"]), shot)


def check_installed() -> None:
    """Raise MissingExtraError when the cut detector is not installed."""
    _scenedetect()


def measure(path: str | os.PathLike[str], *, max_s: float, scan_s: float, cuts: bool = True) -> Measures:
    """Measure one clip; one that cannot be read has facts with an `error`, and no exception.

    Args:
        path: of the file.
        max_s: most seconds that are kept of a shot, from its start.
        scan_s: most seconds that are looked at, from the file's start.
        cuts: whether to look for scene cuts; without, the whole clip is one shot.

    Raises:
        MissingExtraError: the cut detector is not installed.
        ModelError: the shipped net cannot be run.
    """
    facts = read_facts(path, decode=False)
    if facts.error is not None:
        return Measures(facts)
    watch = _Pass(cuts)
    try:
        with open_video(path) as video:
            for frame in video.frames(end_s=scan_s):
                watch.see(frame)
            media, warnings = video.media, tuple(video.warnings)
    except VideoError as error:
        return Measures(replace(facts, error=error.problem))
    duration = min(media.duration_s, scan_s)
    frames = len(watch.times)
    seen = (
        media if duration == media.duration_s else media.model_copy(update={"duration_s": duration, "frames": frames})
    )
    facts = replace(facts, decoded=seen, warnings=warnings)
    return Measures(facts, tuple(watch.cuts), watch.longest(duration, max_s))


class _Pass:
    """Takes note of frames as they stream by, in times and numbers, and keeps two small pictures a second."""

    def __init__(self, cuts: bool) -> None:
        self._cutter = _Cutter() if cuts else None
        self.cuts: list[float] = []
        self.times: list[float] = []
        self.levels: list[tuple[float, float]] = []  # mean and standard deviation of each frame
        self.quality: list[tuple[float, float, float]] = []  # time, sharpness, blockiness
        self.steps: list[tuple[float, float, float, bool]] = []  # time, mean change, share that moves, still
        self.looks: list[tuple[float, NDArray[np.uint8]]] = []
        self._hasher = ClipHasher()
        self._before: tuple[float, NDArray[np.uint8]] | None = None

    def see(self, frame: Frame) -> None:
        """Take note of an RGB frame of full size."""
        time_s, small = frame.time_s, _at_side(frame.image, SIDE)
        gray = _gray(small)
        self.times.append(time_s)
        self.levels.append((float(gray.mean()), float(gray.std())))
        self._hasher.see(Frame(time_s, _sized(gray, (HASH_SIDE, HASH_SIDE))))
        if self._cutter is not None and (cut := self._cutter.cut(time_s, small)) is not None:
            self.cuts.append(cut)
        if not self.quality or time_s - self.quality[-1][0] >= SAMPLE_S - 1e-6:
            full = _gray(frame.image)
            self.quality.append((time_s, float(cv2.Laplacian(gray, cv2.CV_64F).var()), blockiness(full)))
        if not self.looks or time_s - self.looks[-1][0] >= LOOK_S - 1e-6:
            self.looks.append((time_s, small))
        self._step(time_s, gray)

    def _step(self, time_s: float, gray: NDArray[np.uint8]) -> None:
        if self._before is not None and time_s - self._before[0] < STEP_S - 1e-6:
            return
        tiny = _at_side(gray, MOTION_SIDE)
        if self._before is not None:
            change = cv2.absdiff(tiny, self._before[1])
            moving = float((change >= MOVING_LEVELS).mean())
            self.steps.append((time_s, float(change.mean()), moving, bool(change.max() <= STILL_LEVELS)))
        self._before = (time_s, tiny)

    def longest(self, duration_s: float, max_s: float) -> Shot | None:
        """The longest shot, cut to its first `max_s` seconds; None without a frame."""
        if not self.times:
            return None
        bounds = [self.times[0] if self.times[0] < duration_s else 0.0, *self.cuts, duration_s]
        start, end = max(pairwise(bounds), key=lambda pair: pair[1] - pair[0])
        end = min(end, start + max_s)
        inside = np.array([start <= time < end for time in self.times])
        levels = np.array(self.levels)[inside]
        # In a shot shorter than the time between two looks, what was seen last before its end stands for it.
        quality = np.array(
            [(sharp, blocks) for time, sharp, blocks in self.quality if start <= time < end]
            or [(sharp, blocks) for time, sharp, blocks in self.quality if time < end][-1:]
        )
        # A step belongs to the shot in which it begins and ends: the one over a cut is no motion.
        steps = [step for step in self.steps if start + STEP_S / 2 < step[0] < end]
        looks = [picture for time, picture in self.looks if start <= time < end]
        looks = looks or [picture for time, picture in self.looks if time < end][-1:]
        if not len(levels) or not len(quality) or not looks:
            return None
        hashes = tuple((time, value) for time, value in self._hasher.found if start <= time < end)
        return Shot(
            start_s=start,
            duration_s=end - start,
            sharpness=_rounded(np.median(quality[:, 0])),
            blockiness=_rounded(np.median(quality[:, 1])),
            brightness=_rounded(levels[:, 0].mean()),
            contrast=_rounded(levels[:, 1].mean()),
            flat=_rounded((levels[:, 1] < HASH_MIN_CONTRAST).mean()),
            still=_rounded(np.mean([still for *_, still in steps]) if steps else 1.0),
            moving=_rounded(np.mean([share >= MOVING_SHARE for _, _, share, _ in steps]) if steps else 0.0),
            motion=_rounded(np.mean([change for _, change, _, _ in steps]) if steps else 0.0),
            hashes=hashes,
            appearance=tuple(_rounded(value) for value in shipped_appearance().of_middle([*looks, looks[-1]])),
        )


class _Cutter:
    """PySceneDetect's detector of cuts by the ratio of a frame's change to that of its neighbours.

    Frames that repeat the one before are kept from it: beside them every other frame would stand out as a cut does, in
    a clip of 8 frames a second that was written at 24.
    """

    def __init__(self) -> None:
        self._timecode, detector = _scenedetect()
        self._detector = detector(min_scene_len=2)
        self._times: list[float] = []
        self._last: NDArray[np.uint8] | None = None

    def cut(self, time_s: float, picture: NDArray[np.uint8]) -> float | None:
        """The time of the first frame after a cut that is certain now; None without one."""
        small = _at_side(picture, HASH_SIDE)
        if self._last is not None and cv2.absdiff(small, self._last).mean() < REPEAT_LEVELS:
            return None
        self._last = small
        number = len(self._times)
        self._times.append(time_s)
        bgr = np.ascontiguousarray(small[..., ::-1])
        # Its clock counts frames: times of variable rate are ours.
        cuts = self._detector.process_frame(self._timecode(number, 25.0), bgr)
        return self._times[cuts[0].frame_num] if cuts else None


def blockiness(gray: NDArray[np.uint8]) -> float:
    """Mean jump between neighbours over borders of 8 x 8 blocks, over that elsewhere; gray (H, W) uint8."""
    ratios = []
    for picture in (gray, gray.T):
        jumps = cv2.absdiff(np.ascontiguousarray(picture[:, 1:]), np.ascontiguousarray(picture[:, :-1])).mean(axis=0)
        if len(jumps) < 2 * BLOCK:
            return 1.0
        border = np.arange(1, len(jumps) + 1) % BLOCK == 0
        ratios.append((jumps[border].mean() + 0.1) / (jumps[~border].mean() + 0.1))
    return float(np.mean(ratios))


def _at_side(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """The picture with a short side of `side` pixels."""
    height, width = image.shape[:2]
    scale = side / min(height, width)
    size = (max(round(width * scale), side), max(round(height * scale), side))
    return _sized(image, size)


def _sized(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    way = cv2.INTER_AREA if size[0] < image.shape[1] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, size, interpolation=way), np.uint8)


def _gray(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)


def _rounded(value: Any) -> float:
    return round(float(value), 4)


@cache
def _scenedetect() -> tuple[Any, Any]:
    try:
        from scenedetect import FrameTimecode
        from scenedetect.detectors import AdaptiveDetector
    except ImportError as error:
        raise MissingExtraError("`deeptrace collect`", "collect") from error
    return FrameTimecode, AdaptiveDetector
