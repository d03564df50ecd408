"""Write a copy of a dataset in which metadata gives nothing away. Safe to stop and run again."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deeptrace.data.audit.encode import write_constant
from deeptrace.data.audit.facts import gather
from deeptrace.data.audit.plan import Crop, FixPlan, make_plan, map_trace
from deeptrace.data.jsonio import atomic_path
from deeptrace.data.media import join_media
from deeptrace.data.rewarddata import annotations_path, read_reward_data, write_reward_data
from deeptrace.errors import DataError, SettingsError, VideoError
from deeptrace.folder_lock import FolderLock
from deeptrace.trace import Label, Media, Sample
from deeptrace.video import Video, open_video

__all__ = ["Fixed", "fix_dataset"]

PLAN_NAME = "fix.json"
FOLDER = "clips"


@dataclass(frozen=True)
class Fixed:
    """What was written.

    Attributes:
        folder: the new dataset.
        plan: what every clip was made to be.
        written, kept: clips encoded now, and found there from an earlier run.
        traces, traces_lost: of the old ones, how many remain and how many the crop or cut removed.
        fakes_without_trace: fake clips that had a trace before.
        left_out: how many clips of each label are not in the copy.
    """

    folder: Path
    plan: FixPlan
    written: int
    kept: int
    traces: int
    traces_lost: int
    fakes_without_trace: int
    left_out: dict[str, int]


def fix_dataset(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    root: str | os.PathLike[str] | None = None,
    size: tuple[int, int] | None = None,
    fps: int | None = None,
    bit_rate: int | None = None,
    workers: int = 1,
    on_file: Callable[[str, int, int], None] | None = None,
) -> Fixed:
    """Re-encode every clip to one size, rate and bit rate, without sound, lengths matched; map boxes and times.

    Args:
        path: the dataset's folder or annotation file.
        out: folder of the copy; a run that was stopped goes on there.
        root: folder that paths are relative to.
        size, fps, bit_rate: see `make_plan`.
        workers: clips at a time.
        on_file: called with ("read" or "written", files done, files in all).

    Raises:
        DataError: the dataset cannot be read, or no clip can be used.
        SettingsError: `out` is the dataset itself, or holds a copy made with other settings, or one that another
            run is writing.
    """
    file, target = annotations_path(path), Path(out)
    base = Path(file).parent if root is None else Path(root)
    if target.resolve() == base.resolve():
        raise SettingsError(str(out), "is the dataset itself", "Write the copy to another folder.")
    samples = read_reward_data(file)
    join = join_media(samples, base)
    with FolderLock(target):
        plan = _planned(file, target, samples, join.found, (size, fps, bit_rate), workers, on_file)
        chosen = [sample for sample in samples if sample.video_id in plan.frames]
        made = _fix_clips(chosen, join.found, target, plan, workers, on_file)
        write_reward_data((sample for sample, _ in made), target / "all_data.json")
    before = sum(len(sample.traces) for sample in chosen)
    after = sum(len(sample.traces) for sample, _ in made)
    return Fixed(
        folder=target,
        plan=plan,
        written=sum(new for _, new in made),
        kept=sum(not new for _, new in made),
        traces=after,
        traces_lost=before - after,
        fakes_without_trace=sum(
            bool(old.traces) and not new.traces and old.label is Label.FAKE
            for old, (new, _) in zip(chosen, made, strict=True)
        ),
        left_out=dict(Counter(str(s.label or "unknown") for s in samples if s.video_id in plan.left_out)),
    )


def _planned(
    file: str,
    target: Path,
    samples: list[Sample],
    found: dict[str, Path],
    asked: tuple[tuple[int, int] | None, int | None, int | None],
    workers: int,
    on_file: Callable[[str, int, int], None] | None,
) -> FixPlan:
    """The plan of an earlier run in `target`, or a new one, written there first."""
    files = sorted((v, p.stat().st_size) for v, p in found.items())
    content = hashlib.sha256(Path(file).read_bytes()).hexdigest()
    key = hashlib.sha256(json.dumps([content, files, asked]).encode()).hexdigest()
    state = target / PLAN_NAME
    if state.is_file():
        stated = json.loads(state.read_text(encoding="utf-8"))
        if stated.get("key") != key:
            raise SettingsError(
                str(target), "holds a copy of another dataset or of other settings", "Use a new folder."
            )
        return FixPlan(**stated["plan"])
    known = [sample for sample in samples if sample.video_id in found]
    done = 0

    def count(_: object) -> None:
        nonlocal done
        done += 1
        if on_file is not None:
            on_file("read", done, len(known))

    facts = gather([found[sample.video_id] for sample in known], workers=workers, on_done=count)
    by_id = {sample.video_id: item for sample, item in zip(known, facts, strict=True)}
    plan = make_plan(samples, by_id, size=asked[0], fps=asked[1], bit_rate=asked[2])
    with atomic_path(state) as scratch:
        scratch.write_text(json.dumps({"key": key, "plan": asdict(plan)}, indent=2) + "\n", encoding="utf-8")
    return plan


def _fix_clips(
    samples: list[Sample],
    found: dict[str, Path],
    target: Path,
    plan: FixPlan,
    workers: int,
    on_file: Callable[[str, int, int], None] | None,
) -> list[tuple[Sample, bool]]:
    """`_fix_clip` of each sample, `workers` at a time."""
    done = 0

    def make(sample: Sample) -> tuple[Sample, bool]:
        nonlocal done
        made = _fix_clip(sample, found[sample.video_id], target, plan)
        done += 1
        if on_file is not None:
            on_file("written", done, len(samples))
        return made

    with ThreadPoolExecutor(max(workers, 1)) as pool:
        return list(pool.map(make, samples))


def _fix_clip(sample: Sample, source: Path, target: Path, plan: FixPlan) -> tuple[Sample, bool]:
    """The sample as it is in the copy, and whether its file was written now."""
    relative = f"{FOLDER}/{_file_name(sample.video_id)}"
    path = target / relative
    count = plan.frames[sample.video_id]
    try:
        with open_video(source) as video:
            crop = Crop.cover(video.media.width, video.media.height, (plan.width, plan.height))
            new = not path.is_file()  # files are put in place whole
            if new:
                write_constant(path, _images(video, crop, plan.fps, count), fps=plan.fps, bit_rate=plan.bit_rate)
    except VideoError as error:
        raise DataError(f"video {sample.video_id}", f"could be read before and cannot now: {error}") from error
    duration = count / plan.fps
    media = Media(width=plan.width, height=plan.height, duration_s=duration, fps=plan.fps, frames=count)
    traces = [kept for trace in sample.traces if (kept := map_trace(trace, crop, duration))]
    extra = {**sample.extra, "video_mime_type": "video/mp4"}
    return (
        sample.model_copy(update={"path": relative, "media": media, "traces": tuple(traces), "extra": extra}),
        new,
    )


def _images(video: Video, crop: Crop, fps: int, count: int) -> Iterator[NDArray[np.uint8]]:
    """The picture on screen at 0, 1/fps, 2/fps ..., `count` of them; the last one is held if the clip ends early."""
    given, last = 0, None
    for frame in video.frames(size=crop.scaled):
        while last is not None and given < count and given / fps < frame.time_s - 1e-6:
            yield last
            given += 1
        if given == count:
            return
        last = crop.image(frame.image)
    while last is not None and given < count:
        yield last
        given += 1


def _file_name(video_id: str) -> str:
    plain = re.sub(r"[^\w.-]", "_", video_id).lstrip(".")[:120]
    if plain != video_id:  # two ids may become one name
        plain += "-" + hashlib.sha256(video_id.encode()).hexdigest()[:8]
    return f"{plain}.mp4"
