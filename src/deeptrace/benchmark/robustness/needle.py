"""A generated needle in a long real video: is it found, and when?

Each long video is made of pieces of camera clips, one after another, all in one size and encoding. A second one is the
same with a generated piece in one place, so that there are cuts everywhere and a cut tells nothing; what the pieces
show is drawn apart from where the needle lies (Zhao et al., "Needle In A Video Haystack", arXiv 2406.09367). Asked is
whether the long video with a needle is told from the one without; whether the detector's window with the highest chance
lies in the needle, where it shows windows; and whether the trace that it is surest of begins there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict

from deeptrace.benchmark.robustness.clips import Form, Subject
from deeptrace.benchmark.robustness.figures import FEWEST_GROUPS, Asked, Figure, Row, row_of
from deeptrace.detectors import Analysis
from deeptrace.detectors.curves import CHANCE
from deeptrace.errors import DataError, DeeptraceError
from deeptrace.inference.executor import Executor
from deeptrace.inference.one_clip import Job
from deeptrace.inference.results import HOLDS, digest
from deeptrace.io.run_store import RunStore, key_of
from deeptrace.metrics import auroc, percentile_interval
from deeptrace.metrics.intervals import bootstrap_weights
from deeptrace.schema import Label, Sample, Verdict
from deeptrace.video import Frame, open_video, write_video

__all__ = [
    "NEEDLE_S",
    "Hay",
    "Needle",
    "Piece",
    "ask_long",
    "asked_of",
    "begins_in",
    "draw_hay",
    "failed_of",
    "find_needles",
    "limits_of",
    "mean_of",
    "needle_figures",
    "read_piece",
]

WIDTH, HEIGHT, CRF = 456, 256, 23
PIECE_S, NEEDLE_S = 5.0, 4.0


@dataclass(frozen=True)
class Hay:
    """How much of it.

    Attributes:
        videos: long videos with a needle, and as many without.
        seconds: of the real part of each.
    """

    videos: int = 10
    seconds: float = 30.0


class Needle(BaseModel):
    """What came of it.

    Attributes:
        videos, seconds, needle_s: how much hay, and how long the needle is.
        row: of the long videos: "accused" are those without a needle, "found" those with one.
        window_hit: share of needles in which the detector's window with the highest chance lies; None where it shows
            no windows.
        window_by_chance: the same of a window drawn at random.
        windows: AUROC of windows in a needle against all others.
        peak: AUROC of the highest window's chance, with a needle against without.
        trace_hit: share of needles in which the trace that it is surest of begins, none being a miss; None where it
            names no time at all.
        failed: a line for each long video without an answer.
    """

    model_config = ConfigDict(frozen=True)

    videos: int
    seconds: float
    needle_s: float
    row: Row
    window_hit: Figure = Figure()
    window_by_chance: float | None = None
    windows: Figure = Figure()
    peak: Figure = Figure()
    trace_hit: Figure = Figure()
    failed: list[str] = []


@dataclass(frozen=True)
class Said:
    """What was said of one long video.

    Attributes:
        verdict: of the whole.
        windows: (start in seconds, chance) of each, in their order; empty where none are shown.
        needle: onset and offset of the generated piece in seconds; None without one.
        length_s: of the video.
    """

    verdict: Verdict
    windows: tuple[tuple[float, float], ...]
    needle: tuple[float, float] | None
    length_s: float

    @property
    def in_needle(self) -> np.ndarray:
        """(windows,) bool: more than half of it generated."""
        starts = np.array([start for start, _ in self.windows])
        if self.needle is None or not len(starts):
            return np.zeros(len(starts), bool)
        ends = np.append(starts[1:], self.length_s)
        shared = np.minimum(ends, self.needle[1]) - np.maximum(starts, self.needle[0])
        return np.asarray(shared > (ends - starts) / 2)

    @property
    def chances(self) -> np.ndarray:
        """(windows,)."""
        return np.array([chance for _, chance in self.windows])

    @property
    def trace_begins_in_it(self) -> bool:
        """Whether the trace that it is surest of begins in the needle, or up to half a second before it."""
        return self.needle is not None and begins_in(self.verdict, self.needle)


_EARLY_S = 0.5


def begins_in(verdict: Verdict, span: tuple[float, float]) -> bool:
    """Whether the surest trace that names a time begins between these seconds, or up to half a second before."""
    onset_s = next((trace.onset_s for trace in verdict.traces if trace.onset_s is not None), None)
    return onset_s is not None and span[0] - _EARLY_S <= onset_s < span[1]


def asked_of(verdicts: Sequence[tuple[Verdict, Verdict]]) -> list[Asked]:
    """Pairs of verdicts, of a long video with nothing generated in it and of the one with, as those of two clips."""
    asked = []
    for number, pair in enumerate(verdicts):
        for verdict, label in zip(pair, (Label.REAL, Label.FAKE), strict=True):
            sample = Sample(video_id=f"{number} {label}", path="", label=label, source=f"hay {number}")
            asked.append(Asked(Subject(sample, ""), verdict, verdict, changed=False))
    return asked


def failed_of(verdicts: Sequence[tuple[Verdict, Verdict]]) -> list[str]:
    """A line for each long video without an answer."""
    return [f"{one.video}: {one.error}" for pair in verdicts for one in pair if one.label is None]


@dataclass(frozen=True)
class Piece:
    """The beginning of a clip in the shape of all: its frames, times from 0, and how long it lasts."""

    frames: list[Frame]
    seconds: float


def find_needles(
    executor: Executor,
    store: RunStore,
    subjects: Sequence[Subject],
    hay: Hay,
    form: Form,
    scratch: Path,
    *,
    resamples: int,
    seed: int,
    on_done: Callable[[int, int], object],
) -> Needle:
    """Make long videos of the clips, and ask about them.

    Raises:
        DataError: no generated clip is long enough to be a needle, or none of a class can be asked about.
    """
    for fake, part in ((True, "needle"), (False, "hay")):
        if not any(one.fake is fake for one in subjects):
            kind = "generated" if fake else "real"
            raise DataError(part, f"there is none, because no {kind} clip can be asked about")
    told: list[tuple[Said, Said]] = []
    for number in range(hay.videos):
        told.append(_pair(executor, store, subjects, hay, form, scratch, seed, number))
        on_done(number + 1, hay.videos)
    return needle_figures(told, hay, resamples=resamples, seed=seed)


def needle_figures(told: Sequence[tuple[Said, Said]], hay: Hay, *, resamples: int = 1000, seed: int = 0) -> Needle:
    """The figures of what was said of each long video without its needle, and with it."""
    verdicts = [(without.verdict, with_it.verdict) for without, with_it in told]
    meaning = f"{hay.seconds:g} s of real clips, without and with {NEEDLE_S:g} s generated"
    row = row_of("needle", "needle", meaning, asked_of(verdicts), reference=True, resamples=resamples, seed=seed)
    whole = [pair for pair in told if all(said.verdict.label is not None for said in pair)]
    known: dict[str, Any] = {}
    if whole:
        weights = np.concatenate(list(bootstrap_weights(len(whole), resamples=resamples, seed=seed)))
        with_windows = all(said.windows for pair in whole for said in pair)
        if with_windows:
            hits = np.array([float(said.in_needle[said.chances.argmax()]) for _, said in whole])
            known["window_hit"] = mean_of(hits, weights)
            known["window_by_chance"] = round(float(np.mean([said.in_needle.mean() for _, said in whole])), 4)
            known["windows"] = _of_windows(whole, weights)
            peaks = [float(said.chances.max()) for pair in whole for said in pair]
            labels = np.tile([0, 1], len(whole))
            limits = limits_of(auroc(labels, peaks, weights=np.repeat(weights, 2, axis=1)), weights)
            known["peak"] = Figure(value=round(float(auroc(labels, peaks)), 4), interval=limits)
        if any(trace.onset_s is not None for pair in whole for said in pair for trace in said.verdict.traces):
            known["trace_hit"] = mean_of(np.array([float(said.trace_begins_in_it) for _, said in whole]), weights)
    return Needle(
        videos=len(told), seconds=hay.seconds, needle_s=NEEDLE_S, row=row, failed=failed_of(verdicts), **known
    )


def limits_of(resampled: np.ndarray, weights: np.ndarray) -> tuple[float, float] | None:
    """Of resamples with weights (R, videos); None of too few videos, as of too few generators."""
    return percentile_interval(resampled) if weights.shape[1] >= FEWEST_GROUPS else None


def mean_of(values: np.ndarray, weights: np.ndarray) -> Figure:
    """The mean of values (videos,), and its interval by resamples with weights (R, videos)."""
    limits = limits_of((weights @ values) / weights.sum(axis=1), weights)
    return Figure(value=round(float(values.mean()), 4), interval=limits)


def _of_windows(whole: Sequence[tuple[Said, Said]], weights: np.ndarray) -> Figure:
    both = [said for pair in whole for said in pair]
    owner = np.repeat(np.repeat(np.arange(len(whole)), 2), [len(said.windows) for said in both])
    inside = np.concatenate([said.in_needle for said in both]).astype(int)
    chances = np.concatenate([said.chances for said in both])
    if not inside.any():
        return Figure()
    limits = limits_of(auroc(inside, chances, weights=weights[:, owner]), weights)
    return Figure(value=round(float(auroc(inside, chances)), 4), interval=limits)


def _pair(
    executor: Executor,
    store: RunStore,
    subjects: Sequence[Subject],
    hay: Hay,
    form: Form,
    scratch: Path,
    seed: int,
    number: int,
) -> tuple[Said, Said]:
    """What is said of long video `number` without its needle, and with it; kept."""
    rng = np.random.default_rng((seed, number))
    real, generated = ([one for one in subjects if one.fake is fake] for fake in (False, True))
    pieces = list(draw_hay(rng, real, hay.seconds, form))
    needle = _needle(rng, generated, form)
    place = int(rng.integers(1, len(pieces))) if len(pieces) > 1 else 1
    onset = sum(piece.seconds for piece in pieces[:place])
    length_s = sum(piece.seconds for piece in pieces)
    span = (onset, onset + needle.seconds)
    about = "\n".join(sorted(one.name for one in subjects))
    found = []
    for name, parts, at in (
        ("without", pieces, None),
        ("with", [*pieces[:place], needle, *pieces[place:]], span),
    ):
        key = key_of(about, digest(executor.info), "needle", name, str(number), str(seed), repr(hay), repr(form))
        record = store.find(key)
        if record is None:
            said = ask_long(executor, parts, scratch / f"{number}-{name}.mp4", form)
            verdict = said.verdict.model_copy(update={"video": f"long video {number} {name} a needle"})
            # the last point only carries the last window's value on to the end of the video
            record = {"verdict": verdict.model_dump(mode="json"), "windows": said.curves.get(CHANCE, [])[:-1]}
            if verdict.outcome in HOLDS:
                store.add(key, record)
        windows = tuple((float(start), float(chance)) for start, chance in record["windows"])
        verdict = Verdict.model_validate(record["verdict"])
        found.append(Said(verdict, windows, at, length_s + (needle.seconds if at else 0.0)))
    return found[0], found[1]


def ask_long(executor: Executor, parts: Sequence[Piece], path: Path, form: Form, *, evidence: bool = True) -> Analysis:
    """The detector's answer on pieces put together, with its curves where they are wanted."""
    write_video(path, joined(parts), fps=form.max_fps, crf=CRF)
    try:
        return executor.submit(str(path), Job(evidence=evidence)).result()
    finally:
        path.unlink(missing_ok=True)


def joined(parts: Sequence[Piece]) -> Iterator[Frame]:
    """One after another."""
    begun = 0.0
    for part in parts:
        for frame in part.frames:
            yield Frame(begun + frame.time_s, frame.image)
        begun += part.seconds


def draw_hay(rng: np.random.Generator, clips: Sequence[Subject], seconds: float, form: Form) -> Iterator[Piece]:
    """Pieces of different clips, `seconds` in all, as far as there are clips; what does not decode is passed over."""
    left = seconds
    for index in rng.permutation(len(clips)):
        if left <= 0:
            return
        try:
            piece = read_piece(clips[index], min(PIECE_S, left), form)
        except (DeeptraceError, OSError):
            continue
        if piece.seconds >= 1.0 or piece.seconds >= left:
            yield piece
            left -= piece.seconds


def _needle(rng: np.random.Generator, clips: Sequence[Subject], form: Form) -> Piece:
    """The first NEEDLE_S of a generated clip that is as long.

    Raises:
        DataError: none is.
    """
    for index in rng.permutation(len(clips)):
        try:
            piece = read_piece(clips[index], NEEDLE_S, form)
        except (DeeptraceError, OSError):
            continue
        if piece.seconds >= NEEDLE_S:
            return piece
    raise DataError(clips[0].path, f"no generated clip lasts {NEEDLE_S:g} s: there is no needle", "Leave `needle` out.")


def read_piece(clip: Subject, seconds: float, form: Form) -> Piece:
    """The first `seconds` of a clip, or all of it; its middle, in the shape of all pieces."""
    frames = []
    with open_video(clip.path) as video:
        scale = max(WIDTH / video.media.width, HEIGHT / video.media.height)
        size = (max(round(video.media.width * scale), WIDTH), max(round(video.media.height * scale), HEIGHT))
        for frame in video.frames(max_fps=form.max_fps, end_s=seconds):
            shown = cv2.resize(frame.image, size, interpolation=cv2.INTER_AREA)
            x, y = (size[0] - WIDTH) // 2, (size[1] - HEIGHT) // 2
            frames.append(Frame(frame.time_s, np.asarray(shown[y : y + HEIGHT, x : x + WIDTH], np.uint8)))
        return Piece(
            [Frame(frame.time_s - frames[0].time_s, frame.image) for frame in frames],
            min(seconds, video.media.duration_s),
        )
