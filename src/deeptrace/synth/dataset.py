"""Write a labelled dataset from real clips: each as a positive with known traces and as a negative without.

    out/
      videos/ID.mp4         traces put in
      real_videos/ID.mp4    the same real clip, without traces; with decoys where asked for
      all_data.json         RewardData rows: one a trace, one a real clip; boxes are unions, in pixels of these files
      tubes.jsonl           one line a trace: box of every frame, severity, the measured numbers
      clips.jsonl           the journal: one line a finished clip, by which a broken run goes on

Every clip's content depends on the seed, the source's path below its folder and the clip's number alone, so neither
the order of the work nor a break in it changes what is made.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deeptrace.data import write_reward_data
from deeptrace.data.jsonio import atomic_path, write_lines
from deeptrace.errors import SettingsError, SynthError, VideoError
from deeptrace.folder_lock import FolderLock
from deeptrace.synth.compose import Composed, negative, positive
from deeptrace.trace import Category, Label, Media, Sample
from deeptrace.video import open_video, write_video

__all__ = ["Made", "Recipe", "make_dataset", "read_clip"]

JOURNAL, TUBES, ROWS, RECIPE = "clips.jsonl", "tubes.jsonl", "all_data.json", "recipe.json"
_SOURCE = "deeptrace-synth"


@dataclass(frozen=True)
class Recipe:
    """What to make of each real clip.

    Attributes:
        seed: makes everything reproducible.
        categories: kinds of traces, each as likely.
        traces: fewest and most in a clip.
        severity: range from 0 to 1.
        decoys: whether clips of both kinds get decoys.
        max_s: seconds used of a clip, from its start.
        max_side: the longer side of a clip is brought down to this many pixels.
        crf: quality of the H.264 files; 18 is nearly lossless to the eye.
    """

    seed: int = 0
    categories: tuple[Category, ...] = tuple(Category)
    traces: tuple[int, int] = (1, 3)
    severity: tuple[float, float] = (0.4, 1.0)
    decoys: bool = False
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
        if self.max_s <= 0 or self.max_side < 64:
            raise SettingsError("max_s, max_side", f"expected > 0 and >= 64 but got {self.max_s}, {self.max_side}")


@dataclass(frozen=True)
class Made:
    """What became of one clip.

    Attributes:
        source: path of the real clip.
        video_id: id of the positive; None when it was left out.
        traces: how many were put in.
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
    on_clip: Callable[[Made], None] | None = None,
) -> list[Made]:
    """Make `clips` positives, each with its negative, going through the sources as often as that takes.

    Args:
        sources: video files or URLs.
        out: folder to write to; must be empty or absent unless `resume`.
        recipe: what to make of them.
        clips: how many positives; None for one a source.
        resume: go on with an earlier run of the same recipe: finished clips are kept.
        on_clip: called after each clip.

    Returns:
        One entry a clip, in order; clips that cannot be read or hold no trace carry a `problem`.

    Raises:
        SettingsError: no sources, another recipe than the run to resume, a folder that holds something or that
            another run is writing into, or one that cannot be written.
    """
    if not sources:
        raise SettingsError("sources", "expected at least one real clip")
    folder = Path(out)
    _check_folder(folder, recipe, resume)
    names = _names([str(source) for source in sources])
    made: list[Made] = []
    with _journal(folder, recipe) as journal:
        for number in range(len(sources) if clips is None else clips):
            source = str(sources[number % len(sources)])
            video_id = f"{names[source]}_{number // len(sources)}"
            entry = journal.get(video_id)
            done = (
                Made(source, video_id, len(entry["tubes"]), kept=True)
                if entry is not None
                else _make(source, video_id, recipe, folder, journal)
            )
            made.append(done)
            if on_clip is not None:
                on_clip(done)
    return made


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


def _make(source: str, video_id: str, recipe: Recipe, folder: Path, journal: dict[str, Any]) -> Made:
    """Make, write and note one positive and its negative."""
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
            decoys=recipe.decoys,
        )
        real = negative(frames, times, rng, decoys=recipe.decoys)
    except (VideoError, SynthError) as error:
        return Made(source, None, problem=str(error))
    write_video(folder / "videos" / f"{video_id}.mp4", fake.frames, fps=fps, crf=recipe.crf)
    write_video(folder / "real_videos" / f"{video_id}_real.mp4", real.frames, fps=fps, crf=recipe.crf)
    entry = _entry(source, video_id, fake, real, fps)
    journal[video_id] = entry
    with open(folder / JOURNAL, "a", encoding="utf-8") as file:
        file.write(json.dumps({"video_id": video_id, **entry}, ensure_ascii=False) + "\n")
    return Made(source, video_id, len(fake.traces))


def _entry(source: str, video_id: str, fake: Composed, real: Composed, fps: float) -> dict[str, Any]:
    count, height, width = fake.frames.shape[:3]
    media = Media(width=width, height=height, duration_s=count / fps, fps=fps, frames=count)
    # every clip of one source goes to one split, so that no footage is on both sides
    share = zlib.crc32(os.path.basename(source).encode()) % 10
    split = "test" if share == 0 else "val" if share == 1 else "train"
    common = {"media": media, "split": split}
    extra = {"synth_source": os.path.basename(source)}
    positive_row = Sample(
        video_id=video_id,
        path=f"videos/{video_id}.mp4",
        label=Label.FAKE,
        source=_SOURCE,
        traces=tuple(trace.model_copy(update={"keyframes": ()}) for trace in fake.traces),
        extra={**extra, "synth_decoys": list(fake.decoys)},
        **common,
    )
    negative_row = Sample(
        video_id=f"{video_id}_real",
        path=f"real_videos/{video_id}_real.mp4",
        label=Label.REAL,
        source=os.path.basename(source),
        extra={**extra, "synth_decoys": list(real.decoys)},
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


# -- names and resuming ---------------------------------------------------------------------------------------------


def _names(sources: list[str]) -> dict[str, str]:
    """A short unique name for each source: its stem, with a mark where two have the same."""
    names: dict[str, str] = {}
    for source in sources:
        stem = os.path.splitext(os.path.basename(source.rstrip("/")))[0] or "clip"
        safe = "".join(char if char.isalnum() or char in "-_" else "-" for char in stem)
        taken = set(names.values())
        names.setdefault(source, safe if safe not in taken else f"{safe}-{zlib.crc32(source.encode()):08x}")
    return names


def _check_folder(folder: Path, recipe: Recipe, resume: bool) -> None:
    """Raise SettingsError unless the folder is new, or empty, or holds a run of the same recipe to go on with."""
    try:
        if not folder.is_dir() or not any(folder.iterdir()):
            return
        if not resume:
            raise SettingsError(str(folder), "the folder is not empty", "Choose another one, or resume.")
        before = json.loads((folder / RECIPE).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError) as error:
        raise SettingsError(str(folder), "holds no run that could be resumed", "Use a new folder.") from error
    stated = _stated(recipe)
    if before != stated:
        changed = sorted(key for key in stated if stated[key] != before.get(key))
        raise SettingsError(str(folder), f"was made with another {', '.join(changed)}", "Use a new folder.")


def _stated(recipe: Recipe) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(asdict(recipe)))
    return plain


@contextmanager
def _journal(folder: Path, recipe: Recipe) -> Iterator[dict[str, Any]]:
    """What earlier runs finished, by id, to be added to; in the end, however it comes, the rows and tubes of all."""
    with FolderLock(folder):
        with atomic_path(folder / RECIPE) as scratch:
            scratch.write_text(json.dumps(_stated(recipe), indent=2) + "\n", encoding="utf-8")
        journal = _read_journal(folder / JOURNAL)
        try:
            yield journal
        finally:  # Ctrl-C too leaves a dataset that can be read
            entries = journal.values()
            write_reward_data([_sample(row) for entry in entries for row in entry["samples"]], folder / ROWS)
            write_lines([tube for entry in entries for tube in entry["tubes"]], folder / TUBES)


def _read_journal(path: Path) -> dict[str, Any]:
    """The finished clips; a line cut off by a crash is dropped, and its clip made again."""
    if not path.is_file():
        return {}
    found, whole = {}, []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        found[entry.pop("video_id")] = entry
        whole.append(line)
    path.write_text("".join(line + "\n" for line in whole), encoding="utf-8")
    return found
