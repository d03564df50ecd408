"""Write a labelled dataset from real clips: each as a positive with known traces and as a negative without.

    out/
      videos/ID.mp4         traces put in
      real_videos/ID.mp4    the same real clip, without traces; with hard negatives where asked for
      all_data.json         RewardData rows: one a trace, one a real clip; boxes are unions, in pixels of these files
      tubes.jsonl           one line a trace: box of every frame, severity, the measured numbers
      manifest.json         the recipe
      journal.jsonl         one line a finished clip, by which a broken run goes on

Every clip's content depends on the recipe, the source's bytes and name, and the clip's number alone, so neither the
order of the work nor a break in it changes what is made.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from deeptrace.data import write_reward_data
from deeptrace.errors import SettingsError, SynthError, VideoError
from deeptrace.io.jsonl import write_lines
from deeptrace.io.run_store import RunStore, key_of
from deeptrace.io.spread import Processes, Spread
from deeptrace.schema import Category, Label, Media, Sample
from deeptrace.synth.compose import Composed, negative, positive
from deeptrace.urls import file_name, same_clip
from deeptrace.video import open_video, write_video

__all__ = ["Made", "Recipe", "make_dataset", "read_clip"]

FAKES, REALS, TUBES, ROWS = "videos", "real_videos", "tubes.jsonl", "all_data.json"
_SOURCE = "deeptrace-synth"


@dataclass(frozen=True)
class Recipe:
    """What to make of each real clip.

    Attributes:
        seed: makes everything reproducible.
        categories: kinds of traces, each as likely.
        traces: fewest and most in a clip.
        severity: range from 0 to 1.
        hard_negatives: whether clips of both classes get hard negatives.
        max_s: seconds used of a clip, from its start.
        max_side: the longer side of a clip is brought down to this many pixels.
        crf: quality of the H.264 files; 18 is nearly lossless to the eye.
    """

    seed: int = 0
    categories: tuple[Category, ...] = tuple(Category)
    traces: tuple[int, int] = (1, 3)
    severity: tuple[float, float] = (0.4, 1.0)
    hard_negatives: bool = False
    max_s: float = 6.0
    max_side: int = 854
    crf: int = 18

    def __post_init__(self) -> None:
        if not self.categories:
            raise SettingsError("categories", "expected at least one")
        if not 1 <= self.traces[0] <= self.traces[1]:
            raise SettingsError("traces", f"expected 1 <= fewest <= most but got {self.traces}")
        if not 0 <= self.severity[0] <= self.severity[1] <= 1:
            raise SettingsError("severity", f"expected 0 <= least <= most <= 1 but got {self.severity}")
        if not 0 < self.max_s < float("inf") or self.max_side < 64:
            raise SettingsError("max_s, max_side", f"expected > 0 and >= 64 but got {self.max_s}, {self.max_side}")


@dataclass(frozen=True)
class Made:
    """What became of one clip.

    Attributes:
        source: path of the real clip.
        video_id: id of the positive; None when it was left out.
        traces: number of traces put in.
        problem: one line, why it was left out.
        kept: made by an earlier run.
    """

    source: str
    video_id: str | None
    traces: int = 0
    problem: str | None = None
    kept: bool = False


def make_dataset(
    sources: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    recipe: Recipe,
    *,
    clips: int | None = None,
    resume: bool = False,
    workers: int = 1,
    spread: Spread | None = None,
    on_clip: Callable[[Made], None] | None = None,
) -> list[Made]:
    """Make `clips` positives, each with its negative, going through the sources as often as that takes.

    Args:
        sources: video files or URLs.
        out: folder to write to; without `resume` one that holds no dataset.
        recipe: settings of what is made of them.
        clips: how many positives; None for one a source.
        resume: whether to go on with an earlier run of the same recipe: finished clips of unchanged sources are kept.
        workers: clips made at a time, each by a process of its own if there are several. What is made is the same.
        spread: where they are made in place of these, such as a `deeptrace.scale.RayMap` of machines that see `out`.
        on_clip: called after each clip, as they come.

    Returns:
        One entry a clip, in order; clips that cannot be read or hold no trace carry a `problem`.

    Raises:
        SettingsError: no sources, or a folder that `RunStore` refuses.
    """
    if not sources:
        raise SettingsError("sources", "expected at least one real clip")
    given = [str(source) for source in sources]
    names, count = _names(given), len(given) if clips is None else clips
    planned = [(given[n % len(given)], f"{names[given[n % len(given)]]}_{n // len(given)}") for n in range(count)]
    made: dict[int, Made] = {}

    def came(number: int, done: Made) -> None:
        made[number] = done
        if on_clip is not None:
            on_clip(done)

    with RunStore(out, "synth", asdict(recipe), resume=resume, files=(FAKES, REALS, ROWS, TUBES)) as store:
        keys = [key_of(store.content(source), video_id) for source, video_id in planned]
        try:
            for number, (source, video_id) in enumerate(planned):
                if kept := _kept(source, video_id, keys[number], store):
                    came(number, kept)
            left = [number for number in range(len(planned)) if number not in made]
            work = partial(_make, recipe=recipe, folder=store.path.absolute())
            where = spread or Processes(workers, _one_thread)
            for index, found in where.over(work, [planned[number] for number in left]):
                number = left[index]
                source, video_id = planned[number]
                if isinstance(found, str):
                    came(number, Made(source, None, problem=found))
                else:
                    store.add(keys[number], found, name=video_id)
                    came(number, Made(source, video_id, len(found["tubes"])))
        finally:  # Ctrl-C too leaves a dataset that can be read
            left_out = {planned[number][1] for number, done in made.items() if done.problem}
            _write_rows(store, [video_id for _, video_id in planned], left_out)
    return [made[number] for number in range(len(planned))]


def _kept(source: str, video_id: str, key: str | None, store: RunStore) -> Made | None:
    """What an earlier run made of the same bytes, if it is still there."""
    entry = store.find(key)
    if entry is None or not all((store.path / row["path"]).is_file() for row in entry["samples"]):
        return None
    return Made(source, video_id, len(entry["tubes"]), kept=True)


def _write_rows(store: RunStore, order: Sequence[str], left_out: set[str]) -> None:
    """Write rows and tubes of all that is made: first of clips that this run was not asked for, then in its order.

    Where nothing was ever made nothing is written, so that the folder is free for the corrected command.
    """
    entries = {name: entry for name, (_, entry) in store.named().items() if name not in left_out}
    last = [entries.pop(name) for name in dict.fromkeys(order) if name in entries]
    whole = [*entries.values(), *last]
    if not whole and not (store.path / ROWS).exists():
        return
    write_reward_data([_sample(row) for entry in whole for row in entry["samples"]], store.path / ROWS)
    write_lines([tube for entry in whole for tube in entry["tubes"]], store.path / TUBES)


# -- one clip -------------------------------------------------------------------------------------------------------


def read_clip(source: str, recipe: Recipe) -> tuple[np.ndarray, float]:
    """The first seconds of a clip at a constant rate: frames (T, H, W, 3) uint8 and frames per second.

    Clips of variable rate show, at each step, the frame that is on screen then.

    Raises:
        VideoError: it cannot be read.
    """
    with open_video(source) as video:
        media = video.media
        scale = min(1.0, recipe.max_side / max(media.width, media.height))
        size = (max(2, round(media.width * scale / 2) * 2), max(2, round(media.height * scale / 2) * 2))
        fps = min(media.fps or 25.0, 60.0)
        most = max(2, int(recipe.max_s * fps))
        frames = list(_at_steps(video.frames(size=size, end_s=recipe.max_s), fps, most))
    return np.stack(frames), fps


def _at_steps(frames: Iterator[Any], fps: float, most: int) -> Iterator[np.ndarray]:
    """The frame on screen at each multiple of 1 / fps, up to the last frame."""
    shown, step = None, 0
    for frame in frames:
        # half a millisecond: containers round times
        while shown is not None and step / fps < frame.time_s - 5e-4 and step < most:
            yield shown
            step += 1
        shown = frame.image
    if shown is not None and step < most:
        yield shown


def _one_thread() -> None:
    """As many processes as cores, each with as many threads, would be in each other's way."""
    cv2.setNumThreads(1)


def _make(planned: tuple[str, str], recipe: Recipe, folder: Path) -> dict[str, Any] | str:
    """Make and write one positive and its negative: their entry in the journal, or why there is none."""
    source, video_id = planned
    try:
        frames, fps = read_clip(source, recipe)
        times = np.arange(len(frames)) / fps
        rng = np.random.default_rng([recipe.seed, zlib.crc32(video_id.encode())])
        fake = positive(
            frames,
            times,
            rng,
            categories=recipe.categories,
            traces=recipe.traces,
            severity=recipe.severity,
            hard_negatives=recipe.hard_negatives,
        )
        real = negative(frames, times, rng, hard_negatives=recipe.hard_negatives)
    except SynthError as error:  # knows frames, not where they are from
        return str(SynthError(source, f"{error.subject}: {error.problem}", error.mend))
    except VideoError as error:
        return str(error)
    entry = _entry(source, video_id, fake, real, fps)
    for composed, row in zip((fake, real), entry["samples"], strict=True):
        write_video(folder / row["path"], composed.frames, fps=fps, crf=recipe.crf)
    return entry


def _entry(source: str, video_id: str, fake: Composed, real: Composed, fps: float) -> dict[str, Any]:
    count, height, width = fake.frames.shape[:3]
    media = Media(width=width, height=height, duration_s=count / fps, fps=fps, frames=count)
    # every clip of one source goes to one split, so that no footage is on both sides
    name = file_name(source)
    share = zlib.crc32(name.encode()) % 10
    split = "test" if share == 0 else "val" if share == 1 else "train"
    common = {"media": media, "split": split}
    extra = {"synth_source": name}
    positive_row = Sample(
        video_id=video_id,
        path=f"{FAKES}/{video_id}.mp4",
        label=Label.FAKE,
        source=_SOURCE,
        traces=tuple(trace.model_copy(update={"keyframes": ()}) for trace in fake.traces),
        extra={**extra, "synth_decoys": list(fake.hard_negatives)},
        **common,
    )
    negative_row = Sample(
        video_id=f"{video_id}_real",
        path=f"{REALS}/{video_id}_real.mp4",
        label=Label.REAL,
        source=name,
        extra={**extra, "synth_decoys": list(real.hard_negatives)},
        **common,
    )
    tubes = [
        {
            "video_id": video_id,
            "trace": number,
            "severity": severity,
            "measures": measures,
            **trace.model_dump(mode="json", exclude={"score"}),
        }
        for number, (trace, severity, measures) in enumerate(
            zip(fake.traces, fake.severities, fake.measures, strict=True)
        )
    ]
    return {"samples": [row.model_dump(mode="json") for row in (positive_row, negative_row)], "tubes": tubes}


def _sample(stored: dict[str, Any]) -> Sample:
    return Sample.model_validate(stored)


def _names(sources: list[str]) -> dict[str, str]:
    """A short unique name for each source: its stem, with a mark where two have the same."""
    names: dict[str, str] = {}
    for source in sources:
        stem = os.path.splitext(file_name(source))[0] or "clip"
        safe = "".join(char if char.isalnum() or char in "-_" else "-" for char in stem)
        taken = set(names.values())
        mark = zlib.crc32(same_clip(source).encode("utf-8", "backslashreplace"))
        names.setdefault(source, safe if safe not in taken else f"{safe}-{mark:08x}")
    return names
