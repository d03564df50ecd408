"""Clips for an evaluation's report: which videos are worth a look, and short copies of them with boxes drawn in.

Worth a look is what was found well, missed, accused wrongly, or called but in the wrong place. A copy is H.264, small
and without sound, with prediction and ground truth drawn into the pictures.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from deeptrace.errors import DeeptraceError
from deeptrace.geometry import Tube
from deeptrace.metrics import metric_sums
from deeptrace.metrics.intervals import ratio
from deeptrace.schema import Label, Sample, Trace, Verdict
from deeptrace.video import Frame, open_video, write_video

__all__ = ["GROUPS", "Clip", "Shown", "group_of", "make_clip", "worth_a_look"]

TRUTH_RGB, PREDICTED_RGB = (60, 220, 120), (255, 80, 70)
LONGER_SIDE = 400
MAX_S = 8.0
MAX_FPS = 15.0
CRF = 28


@dataclass(frozen=True)
class Clip:
    """What a page shows of a video.

    Attributes:
        mp4: the copy; None when the video cannot be read, `note` says why.
        poster: JPEG of a moment that says something.
        width, height: of both, pixels.
        note: what differs from the video, or why it is missing.
    """

    mp4: bytes | None = None
    poster: bytes | None = None
    width: int = 0
    height: int = 0
    note: str = ""


def make_clip(path: str, *, truth: Sequence[Trace], predicted: Sequence[Trace]) -> Clip:
    """A copy of at most `MAX_S` seconds with the boxes of each moment: ground truth solid, prediction dashed."""
    try:
        with open_video(path) as video, tempfile.TemporaryDirectory() as folder:
            media = video.media
            scale = min(LONGER_SIDE / max(media.width, media.height), 1.0)
            size = (max(round(media.width * scale / 2) * 2, 2), max(round(media.height * scale / 2) * 2, 2))
            marked = [(_filled(t, media.duration_s), TRUTH_RGB, False) for t in truth]
            marked += [(_filled(t, media.duration_s), PREDICTED_RGB, True) for t in predicted]
            tubes = [(tube, rgb, dashed) for tube, rgb, dashed in marked if tube is not None]
            moment = _moment(truth or predicted, min(media.duration_s, MAX_S))
            posters: list[Frame] = []

            def frames() -> Iterator[Frame]:
                first: float | None = None
                for frame in video.frames(max_fps=MAX_FPS, size=size, end_s=MAX_S):
                    drawn = Frame(frame.time_s, _drawn(frame, tubes))
                    first = frame.time_s if first is None else first
                    if not posters or frame.time_s <= moment:
                        posters[:] = [drawn]
                    yield Frame(drawn.time_s - first, drawn.image)

            target = Path(folder) / "clip.mp4"
            write_video(target, frames(), fps=min(media.fps or 25.0, MAX_FPS), crf=CRF)
            note = f"first {MAX_S:g} s" if media.duration_s > MAX_S else ""
            return Clip(target.read_bytes(), _jpeg(posters[0].image), *size, note=note)
    except (DeeptraceError, OSError) as error:
        return Clip(note=f"The clip cannot be shown: {error}")


def _filled(trace: Trace, duration_s: float) -> Tube | None:
    """The trace's tube, a time that is left open read as from the start or to the end."""
    onset = trace.onset_s or 0.0
    offset = duration_s if trace.offset_s is None else trace.offset_s
    return trace.model_copy(update={"onset_s": min(onset, offset), "offset_s": offset}).tube


def _moment(traces: Sequence[Trace], end_s: float) -> float:
    """The middle of the first trace with a time, else of the clip."""
    for trace in traces:
        if trace.onset_s is not None:
            return min((trace.onset_s + (trace.offset_s if trace.offset_s is not None else end_s)) / 2, end_s)
    return end_s / 2


def _drawn(frame: Frame, tubes: Sequence[tuple[Tube, tuple[int, int, int], bool]]) -> np.ndarray:
    image = frame.image.copy()
    height, width = image.shape[:2]
    for tube, rgb, dashed in tubes:
        off = any(gap.onset_s <= frame.time_s < gap.offset_s for gap in tube.gaps)
        if off or not tube.onset_s <= frame.time_s < max(tube.offset_s, tube.onset_s + 0.2):
            continue
        x0, y0, x1, y1 = tube.corners_at([frame.time_s])[0] * (width - 1, height - 1, width - 1, height - 1)
        for start, end in (((x0, y0), (x1, y0)), ((x1, y0), (x1, y1)), ((x1, y1), (x0, y1)), ((x0, y1), (x0, y0))):
            _line(image, np.array(start), np.array(end), rgb, dashed)
    return image


def _line(image: np.ndarray, start: np.ndarray, end: np.ndarray, rgb: tuple[int, int, int], dashed: bool) -> None:
    """A line on a dark rim, so that it shows on any ground; dashes of 8 pixels."""
    count = max(int(np.hypot(*(end - start)) // 8), 1) if dashed else 1
    for part in range(0, count, 2):
        a, b = start + (end - start) * part / count, start + (end - start) * min((part + 1) / count, 1.0)
        ends = tuple(round(float(v)) for v in a), tuple(round(float(v)) for v in b)
        cv2.line(image, *ends, (0, 0, 0), 4, cv2.LINE_AA)
        cv2.line(image, *ends, rgb, 2, cv2.LINE_AA)


def _jpeg(image: np.ndarray) -> bytes:
    buffer = BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=82)
    return buffer.getvalue()


GROUPS = {
    "found": "Found, and in the right place",
    "misplaced": "Called FAKE, but in the wrong place",
    "missed": "Missed: generated, called REAL",
    "accused": "False alarms: real, called FAKE",
    "failed": "No answer",
}


@dataclass(frozen=True, slots=True)
class Shown:
    """One video to show.

    Attributes:
        group: key of `GROUPS`.
        sample: the ground truth.
        verdict: the answer; None when there is none.
        quality: of its traces, 0 to 1 (see `deeptrace.metrics.traces`); None where the ground truth has none.
    """

    group: str
    sample: Sample
    verdict: Verdict | None
    quality: float | None

    @property
    def title(self) -> str:
        """Of its group."""
        return GROUPS[self.group]


def worth_a_look(samples: Sequence[Sample], verdicts: Sequence[Verdict | None], *, each: int = 3) -> list[Shown]:
    """At most `each` videos a group, the clearest first: best quality, or most confidently wrong."""
    num, den = metric_sums(samples, verdicts)["grounded.trace_quality"]
    quality = ratio(num, den)
    groups: dict[str, list[tuple[float, Shown]]] = {name: [] for name in GROUPS}
    for sample, verdict, value in zip(samples, verdicts, quality.tolist(), strict=True):
        known = None if np.isnan(value) else value
        placed = group_of(sample, verdict, known)
        if placed is not None:
            group, rank = placed
            groups[group].append((rank, Shown(group, sample, verdict, known)))
    return [
        shown
        for found in groups.values()
        for _, shown in sorted(found, key=lambda pair: (pair[0], pair[1].sample.video_id))[:each]
    ]


def group_of(sample: Sample, verdict: Verdict | None, quality: float | None) -> tuple[str, float] | None:
    """Group (a key of `GROUPS`) of a video and its rank in it, lowest first; None where it belongs to none.

    Args:
        sample, verdict: the ground truth, and the answer.
        quality: of the answer's traces (see `Shown`).
    """
    if verdict is None or verdict.label is None:
        return "failed", 0.0
    p_fake = verdict.p_fake if verdict.p_fake is not None else float(verdict.label is Label.FAKE)
    if sample.label is Label.REAL:
        return ("accused", -p_fake) if verdict.label is Label.FAKE else None
    if sample.label is not Label.FAKE:
        return None
    if verdict.label is Label.REAL:
        return "missed", p_fake
    if quality is None or not verdict.traces:
        return None
    return ("found", -quality) if quality > 0 else ("misplaced", -p_fake)
