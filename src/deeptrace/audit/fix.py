"""Write a copy of a dataset in which metadata gives nothing away. A run that was stopped can be gone on with.

The copies are H.264 at a constant bit rate with filler, so that the files differ in nothing but the pictures: with the
usual constant quality, the size of a file tells how hard its pictures were to encode, and generated ones are easier.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace
from av.video.stream import VideoStream
from numpy.typing import NDArray

from deeptrace.audit.file_facts import gather
from deeptrace.audit.fix_plan import Crop, FixPlan, make_plan, map_trace
from deeptrace.data.media_join import join_media
from deeptrace.data.rewarddata import annotations_path, read_reward_data, write_reward_data
from deeptrace.errors import DataError, SettingsError, VideoError
from deeptrace.io.atomic import atomic_path
from deeptrace.io.jsonl import write_json
from deeptrace.io.run_store import RunStore, key_of
from deeptrace.schema import Label, Media, Sample
from deeptrace.video import Video, open_video

__all__ = ["FOLDER", "Fixed", "fix_dataset", "write_clips"]

PLAN_NAME, FOLDER, ROWS = "fix.json", "clips", "all_data.json"


def write_constant(
    path: str | os.PathLike[str], images: Iterable[NDArray[np.uint8]], *, fps: int, bit_rate: int
) -> int:
    """Encode (H, W, 3) uint8 RGB images of even size to an MP4 without sound; returns how many.

    Args:
        path: replaced whole, or not at all.
        images: of one size.
        fps: frames per second, every frame as long as the next.
        bit_rate: bits per second, held by filler where the pictures need fewer.

    Raises:
        VideoError: no image, or the file cannot be written.
    """
    count = 0
    try:
        with (
            atomic_path(path, error=VideoError) as scratch,
            av.open(str(scratch), "w", options={"movflags": "+faststart"}) as container,
        ):
            stream: VideoStream | None = None
            for image in images:
                if stream is None:
                    stream = _stream(container, image, fps, bit_rate)
                picture = VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24").reformat(
                    format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
                )
                picture.pts, picture.time_base = count, Fraction(1, fps)
                container.mux(stream.encode(picture))
                count += 1
            if stream is None:
                raise VideoError(str(path), "expected at least one frame to write but got none")
            container.mux(stream.encode(None))
    except (av.error.FFmpegError, OSError) as error:
        raise VideoError(str(path), f"cannot be written ({getattr(error, 'strerror', None) or error})") from error
    return count


def _stream(container: av.container.OutputContainer, image: NDArray[np.uint8], fps: int, bit_rate: int) -> VideoStream:
    rate = str(bit_rate)
    group = 2 * fps
    timing = f"nal-hrd=cbr:force-cfr=1:keyint={group}:min-keyint={group}:scenecut=0:bframes=0:vbv-init=0.5"
    options = {
        "preset": "veryfast",
        # x264 165 looking ahead at a constant rate writes, one time in hundreds, other bytes for the same pictures
        "x264-params": f"{timing}:rc-lookahead=0:mbtree=0",
        "minrate": rate,
        "maxrate": rate,
        "bufsize": str(bit_rate // 2),
    }
    stream = container.add_stream("libx264", rate=fps, options=options)
    assert isinstance(stream, VideoStream)
    stream.height, stream.width = image.shape[:2]
    stream.pix_fmt, stream.bit_rate = "yuv420p", bit_rate
    context = stream.codec_context
    context.time_base, context.thread_count = Fraction(1, fps), 1
    context.color_range, context.colorspace = ColorRange.MPEG, Colorspace.ITU709
    context.color_primaries, context.color_trc = 1, 1  # BT.709
    return stream


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
    resume: bool = False,
    workers: int = 1,
    on_file: Callable[[str, int, int], None] | None = None,
) -> Fixed:
    """Re-encode every clip to one size, rate and bit rate, without sound, lengths matched; map boxes and times.

    Args:
        path: the dataset's folder or annotation file.
        out: folder of the copy.
        root: folder that paths are relative to.
        size, fps, bit_rate: see `make_plan`.
        resume: whether to go on with what `out` holds.
        workers: clips at a time.
        on_file: called with ("read" or "written", files done, files in all).

    Raises:
        DataError: the dataset cannot be read, or no clip can be used.
        SettingsError: `out` is the dataset itself, or a folder that `RunStore` refuses.
    """
    file, target = annotations_path(path), Path(out)
    base = Path(file).parent if root is None else Path(root)
    if target.resolve() == base.resolve():
        raise SettingsError(str(out), "is the dataset itself", "Write the copy to another folder.")
    samples = read_reward_data(file)
    join = join_media(samples, base)
    asked = {"size": size, "fps": fps, "bit_rate": bit_rate}
    settings = {"dataset": _dataset_digest(file, join.found), **asked}
    with RunStore(target, "audit --fix", settings, resume=resume, files=(FOLDER, ROWS, PLAN_NAME)) as store:
        plan = _planned(store, samples, join.found, asked, workers, on_file)
        chosen = [sample for sample in samples if sample.video_id in plan.frames]
        made = write_clips(chosen, join.found, store, plan, workers=workers, on_file=on_file)
        write_reward_data((sample for sample, _ in made), target / ROWS)
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


def _dataset_digest(file: str, found: dict[str, Path]) -> str:
    """What changes with the rows and with the sizes of the files: a plan is made for all clips together."""
    sizes = sorted((video_id, path.stat().st_size) for video_id, path in found.items())
    content = hashlib.sha256(Path(file).read_bytes()).hexdigest()
    return hashlib.sha256(json.dumps([content, sizes]).encode()).hexdigest()


def _planned(
    store: RunStore,
    samples: list[Sample],
    found: dict[str, Path],
    asked: dict[str, Any],
    workers: int,
    on_file: Callable[[str, int, int], None] | None,
) -> FixPlan:
    """The plan of the run to go on with, or a new one."""
    if (kept := store.find(PLAN_NAME)) is not None:
        return FixPlan(**kept)
    known = [sample for sample in samples if sample.video_id in found]
    done = 0

    def count(_: object) -> None:
        nonlocal done
        done += 1
        if on_file is not None:
            on_file("read", done, len(known))

    facts = gather([found[sample.video_id] for sample in known], workers=workers, on_done=count)
    by_id = {sample.video_id: item for sample, item in zip(known, facts, strict=True)}
    plan = make_plan(samples, by_id, **asked)
    store.add(PLAN_NAME, asdict(plan))
    write_json({"plan": asdict(plan)}, store.path / PLAN_NAME)
    return plan


def write_clips(
    samples: Sequence[Sample],
    found: Mapping[str, Path],
    store: RunStore,
    plan: FixPlan,
    *,
    starts_s: Mapping[str, float] | None = None,
    workers: int = 1,
    on_file: Callable[[str, int, int], None] | None = None,
) -> list[tuple[Sample, bool]]:
    """Write each clip as the plan says into the folder `FOLDER` of a run; what is there already is kept.

    Args:
        samples: those that the plan has frames for.
        found: file of each, by video id.
        store: of the run.
        plan: what every clip is made to be.
        starts_s: where in its file a clip begins, by video id; at its start where it is not named.
        workers: clips at a time.
        on_file: called with ("written", files done, files in all).

    Returns:
        Each sample as it is in the copy, its traces moved along, and whether its file was written now.

    Raises:
        DataError: a clip cannot be read.
    """
    done = 0

    def make(sample: Sample) -> tuple[Sample, bool]:
        nonlocal done
        start_s = (starts_s or {}).get(sample.video_id, 0.0)
        made = _write_clip(sample, found[sample.video_id], store, plan, start_s)
        done += 1
        if on_file is not None:
            on_file("written", done, len(samples))
        return made

    with ThreadPoolExecutor(max(workers, 1)) as pool:
        return list(pool.map(make, samples))


def _write_clip(sample: Sample, source: Path, store: RunStore, plan: FixPlan, start_s: float) -> tuple[Sample, bool]:
    """The sample as it is in the copy, and whether its file was written now."""
    relative = f"{FOLDER}/{_file_name(sample.video_id)}"
    path = store.path / relative
    count = plan.frames[sample.video_id]
    how = f"{plan.width}x{plan.height} {plan.fps} fps {plan.bit_rate} bit/s, {count} frames from {start_s!r} s"
    key = key_of(store.content(str(source)), relative, how)
    try:
        with open_video(source) as video:
            crop = Crop.cover(video.media.width, video.media.height, (plan.width, plan.height))
            new = store.find(key) is None or not path.is_file()
            if new:
                images = _images(video, crop, plan.fps, count, start_s)
                write_constant(path, images, fps=plan.fps, bit_rate=plan.bit_rate)
                store.add(key, {"frames": count}, name=relative)
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


def _images(video: Video, crop: Crop, fps: int, count: int, start_s: float) -> Iterator[NDArray[np.uint8]]:
    """The picture on screen at 0, 1/fps, 2/fps ... after `start_s`, `count` of them; the last one is held if the clip
    ends early.
    """
    given, last = 0, None
    for frame in video.frames(size=crop.scaled, start_s=start_s):
        while last is not None and given < count and given / fps < frame.time_s - start_s - 1e-6:
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
