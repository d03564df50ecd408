"""A needle that fills a part of the frame: a generated region in a long real video, so that *where* can be asked, too.

Each long video is made of pieces of camera clips, as for the whole needle (`deeptrace.benchmark.robustness.needle`).
Into one piece a region of a generated clip is pasted, with a soft edge, for as long as the piece or the needle lasts.
The video that it is told from is the same with a region of another camera clip in the same place at the same time:
seam, cut and moving foreign content are in both, and what differs is who made the region. How far the surest trace's
box goes to that one as well says what of the finding is owed to the seam.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from deeptrace.benchmark.robustness.clips import Form, Subject
from deeptrace.benchmark.robustness.figures import Figure, Row, row_of
from deeptrace.benchmark.robustness.needle import (
    HEIGHT,
    NEEDLE_S,
    WIDTH,
    Hay,
    Piece,
    ask_long,
    asked_of,
    begins_in,
    draw_hay,
    failed_of,
    mean_of,
    read_piece,
)
from deeptrace.errors import DataError, DeeptraceError
from deeptrace.geometry import Box
from deeptrace.inference.executor import Executor
from deeptrace.inference.results import HOLDS, digest
from deeptrace.io.run_store import RunStore, key_of
from deeptrace.metrics.intervals import bootstrap_weights
from deeptrace.schema import Trace, Verdict
from deeptrace.video import Frame

__all__ = ["Pasted", "find_pasted", "pasted_figures"]

AREAS = (0.08, 0.25)
"""Share of the frame that a region fills, least and most."""
EDGE = 12
"""Pixels of WIDTH x HEIGHT over which the region fades in; its true box is where half of it shows."""
SHORTEST_S = 2.0
"""Of a piece that a region is pasted into, if there is one so long."""
_DRAWS = 400


class Pasted(BaseModel):
    """What came of it.

    Attributes:
        videos, seconds, needle_s: how much hay, and how long a region lasts at most.
        row: of the long videos: "accused" are those with a region of a camera clip, "found" with a generated one.
        box: IoU of the box of the trace that it is surest of with the generated region, 0 where there is no box or it
            is over before the region begins, or begins after it; None where no box is named at all.
        box_by_chance: the same of a box of that size that lies anywhere.
        seam: as `box`, where the region is of a camera clip.
        trace_hit: share of regions in whose time the surest trace begins; None where no time is named at all.
        failed: a line for each long video without an answer.
    """

    model_config = ConfigDict(frozen=True)

    videos: int
    seconds: float
    needle_s: float
    row: Row
    box: Figure = Figure()
    box_by_chance: float | None = None
    seam: Figure = Figure()
    trace_hit: Figure = Figure()
    failed: list[str] = []


@dataclass(frozen=True)
class SaidOfRegion:
    """What was said of one long video with a region in it.

    Attributes:
        verdict: of the whole.
        box: where the region is.
        span: onset and offset of it in seconds.
    """

    verdict: Verdict
    box: Box
    span: tuple[float, float]

    @property
    def iou(self) -> float:
        """Of the surest trace's box with the region, 0 where they share no time."""
        trace = next((one for one in self.verdict.traces if one.box is not None), None)
        if trace is None or trace.box is None or not _shares_time(trace, self.span):
            return 0.0
        return trace.box.iou(self.box)

    @property
    def trace_begins_in_it(self) -> bool:
        """Whether the trace that it is surest of begins while the region is there, or up to half a second before."""
        return begins_in(self.verdict, self.span)


def _shares_time(trace: Trace, span: tuple[float, float]) -> bool:
    begins = trace.onset_s is None or trace.onset_s < span[1]
    return begins and (trace.offset_s is None or trace.offset_s > span[0])


def find_pasted(
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
) -> Pasted:
    """Make long videos with regions in them, and ask about them.

    Raises:
        DataError: none of a class can be asked about, or there is only one camera clip.
    """
    for fake, least in ((True, 1), (False, 2)):
        if sum(one.fake is fake for one in subjects) < least:
            kind = "generated clip" if fake else "two camera clips"
            raise DataError("pasted", f"there is no region, because no {kind} can be asked about")
    told = []
    for number in range(hay.videos):
        told.append(_pair(executor, store, subjects, hay, form, scratch, seed, number))
        on_done(number + 1, hay.videos)
    return pasted_figures(told, hay, resamples=resamples, seed=seed)


def pasted_figures(
    told: Sequence[tuple[SaidOfRegion, SaidOfRegion]], hay: Hay, *, resamples: int = 1000, seed: int = 0
) -> Pasted:
    """The figures of what was said of each long video with a camera's region, and with a generated one."""
    verdicts = [(without.verdict, with_it.verdict) for without, with_it in told]
    meaning = f"{hay.seconds:g} s of real clips, with a region of a camera clip and of a generated one"
    row = row_of("pasted", "pasted", meaning, asked_of(verdicts), reference=True, resamples=resamples, seed=seed)
    whole = [pair for pair in told if all(said.verdict.label is not None for said in pair)]
    known: dict[str, Any] = {}
    if whole:
        weights = np.concatenate(list(bootstrap_weights(len(whole), resamples=resamples, seed=seed)))
        traces = [trace for pair in whole for said in pair for trace in said.verdict.traces]
        if any(trace.box is not None for trace in traces):
            known["seam"], known["box"] = (
                mean_of(np.array([pair[side].iou for pair in whole]), weights) for side in (0, 1)
            )
            chance = np.mean([_by_chance(said.box, number) for number, (_, said) in enumerate(whole)])
            known["box_by_chance"] = round(float(chance), 4)
        if any(trace.onset_s is not None for trace in traces):
            known["trace_hit"] = mean_of(np.array([float(said.trace_begins_in_it) for _, said in whole]), weights)
    return Pasted(
        videos=len(told), seconds=hay.seconds, needle_s=NEEDLE_S, row=row, failed=failed_of(verdicts), **known
    )


def _by_chance(box: Box, number: int) -> float:
    """Mean IoU of a box with others of its size, drawn as its own place was."""
    rng = np.random.default_rng(number)
    size = (round((box.x1 - box.x0) * WIDTH), round((box.y1 - box.y0) * HEIGHT))
    return float(np.mean([box.iou(_placed(rng, size)) for _ in range(_DRAWS)]))


def _pair(
    executor: Executor,
    store: RunStore,
    subjects: Sequence[Subject],
    hay: Hay,
    form: Form,
    scratch: Path,
    seed: int,
    number: int,
) -> tuple[SaidOfRegion, SaidOfRegion]:
    """What is said of long video `number` with a camera's region, and with a generated one; kept."""
    rng = np.random.default_rng((seed, number, 1))
    real, generated = ([one for one in subjects if one.fake is fake] for fake in (False, True))
    pieces = list(draw_hay(rng, real, hay.seconds, form))
    long_enough = [at for at, piece in enumerate(pieces) if piece.seconds >= SHORTEST_S]
    place = int(rng.choice(long_enough or [int(np.argmax([piece.seconds for piece in pieces]))]))
    host = pieces[place]
    lasts = min(host.seconds, NEEDLE_S)
    onset = sum(piece.seconds for piece in pieces[:place])
    box = _placed(rng, _size(rng))
    about = "\n".join(sorted(one.name for one in subjects))
    found = []
    for side, (name, clips) in enumerate((("camera", real), ("generated", generated))):
        key = key_of(about, digest(executor.info), "pasted", name, str(number), str(seed), repr(hay), repr(form))
        record = store.find(key)
        if record is None:
            own = np.random.default_rng((seed, number, 2 + side))  # the same whatever is kept already
            mixed = paste(host, _donor(own, clips, lasts, form, host), box, lasts)
            parts = [*pieces[:place], mixed, *pieces[place + 1 :]]
            said = ask_long(executor, parts, scratch / f"{number}-{name}.mp4", form, evidence=False)
            verdict = said.verdict.model_copy(update={"video": f"long video {number}, region of a {name}"})
            record = {"verdict": verdict.model_dump(mode="json")}
            if verdict.outcome in HOLDS:
                store.add(key, record)
        found.append(SaidOfRegion(Verdict.model_validate(record["verdict"]), box, (onset, onset + lasts)))
    return found[0], found[1]


def _size(rng: np.random.Generator) -> tuple[int, int]:
    """Width and height in pixels of a region."""
    area = rng.uniform(*AREAS) * WIDTH * HEIGHT
    shape = np.exp(rng.uniform(-0.4, 0.4))
    return int(np.sqrt(area * shape)), int(np.sqrt(area / shape))


def _placed(rng: np.random.Generator, size: tuple[int, int]) -> Box:
    """A box of that size in pixels, somewhere with room for its edge."""
    margin = EDGE // 2
    left = int(rng.integers(margin, WIDTH - size[0] - margin + 1))
    top = int(rng.integers(margin, HEIGHT - size[1] - margin + 1))
    return Box.from_pixels_ltwh(left, top, *size, width=WIDTH, height=HEIGHT)


def _donor(rng: np.random.Generator, clips: Sequence[Subject], seconds: float, form: Form, host: Piece) -> Piece:
    """The beginning of a clip that is not the host; as long, if there is one.

    Raises:
        DataError: there is none that can be read.
    """
    best: Piece | None = None
    for index in rng.permutation(len(clips)):
        try:
            piece = read_piece(clips[index], seconds, form)
        except (DeeptraceError, OSError):
            continue
        if np.array_equal(piece.frames[0].image, host.frames[0].image):
            continue
        if piece.seconds >= seconds:
            return piece
        best = piece if best is None or piece.seconds > best.seconds else best
    if best is None:
        raise DataError(clips[0].path, "no clip beside it can be read to take a region from", "Leave `pasted` out.")
    return best


def paste(host: Piece, donor: Piece, box: Box, seconds: float) -> Piece:
    """The host with the donor's pixels of the box in its place for the first `seconds`, fading at the edge.

    A donor that is over stands still at its last frame.
    """
    alpha = soft_mask(box)[..., None]
    times = np.array([frame.time_s for frame in donor.frames])
    frames = []
    for frame in host.frames:
        if frame.time_s >= seconds:
            frames.append(frame)
            continue
        other = donor.frames[max(int(np.searchsorted(times, frame.time_s + 1e-6)) - 1, 0)]
        mixed = alpha * other.image + (1.0 - alpha) * frame.image
        frames.append(Frame(frame.time_s, np.asarray(np.rint(mixed), np.uint8)))
    return Piece(frames, host.seconds)


def soft_mask(box: Box) -> np.ndarray:
    """(HEIGHT, WIDTH) float64 in [0, 1]: one half on the box's edges, 1 and 0 from half of EDGE within and without."""
    sides = []
    for low, high, count in ((box.x0, box.x1, WIDTH), (box.y0, box.y1, HEIGHT)):
        middle = np.arange(count) + 0.5
        inside = np.minimum(
            middle - low * count, high * count - middle
        )  # pixels from the nearer edge, negative outside
        step = np.clip(inside / EDGE + 0.5, 0.0, 1.0)
        sides.append(step * step * (3.0 - 2.0 * step))
    return np.outer(sides[1], sides[0])
