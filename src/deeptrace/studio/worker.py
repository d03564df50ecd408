"""What the studio's worker processes do: the server's limits around a stranger's clip, and all that a page shows of it.

Two kinds of process: one detects, one prepares (timestamps, pictures, an H.264 copy, overlays, reports). Neither a clip
that crashes a decoder nor one that never ends takes the studio along.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.error import FFmpegError
from PIL import Image

from deeptrace.detectors import Analysis, Detector
from deeptrace.errors import DeeptraceError
from deeptrace.geometry import Box
from deeptrace.inference.executors.engines import Task
from deeptrace.inference.executors.wire import Blob, Message, analysis_of, message_of
from deeptrace.inference.one_clip import Job
from deeptrace.reports.detection import write_report
from deeptrace.schema import Media
from deeptrace.server.limits import LimitedVideo, open_work
from deeptrace.server.schemas import Work
from deeptrace.server.worker import WorkHandler
from deeptrace.video import write_video
from deeptrace.video.overlay import draw_overlay
from deeptrace.video.source import COMMON_FORMATS
from deeptrace.video.tracking import follow_box, thinned

__all__ = ["TILES", "DetectHandler", "PrepareHandler", "plain_analysis", "playable"]

TILES = 8
"""Pictures in a strip."""
_TILE_WIDTH, _POSTER_WIDTH = 192, 384
_PROXY_SIDE = 1920
_TRACKED_WIDTH = 640
_SAME_S = 1e-3

_PLAYED = {"h264", "vp8", "vp9", "av1"}
_PLAYED_FORMATS = {"yuv420p", "yuvj420p"}
_CONTAINERS = {"mov": "video/mp4", "mp4": "video/mp4", "webm": "video/webm"}


class DetectHandler(WorkHandler):
    """Sends back a verdict with its evidence and heat; opens clips within the limits."""

    def task(self, message: Message, _blobs: Sequence[bytes]) -> Task:
        """See `Handler.task`."""
        work = Work.from_json(message["work"])
        return Task(work.name, Job(evidence=True, heat=True), lambda: open_work(work, self._limits))

    def result(self, detector: Detector, message: Message, found: Analysis) -> tuple[Message, Sequence[Blob]]:  # noqa: ARG002
        """See `Handler.result`."""
        return message_of(found)


class PrepareHandler(WorkHandler):
    """Makes what a page shows of a clip; the detector beside it only opens the clip."""

    def task(self, message: Message, _blobs: Sequence[bytes]) -> Task:
        """See `Handler.task`."""
        work = Work.from_json(message["work"])
        return Task(work.name, Job(), lambda: open_work(work, self._limits))

    def result(self, detector: Detector, message: Message, found: Analysis) -> tuple[Message, Sequence[Blob]]:  # noqa: ARG002
        """See `Handler.result`; a failure is `{"error": one line}`."""
        work, folder = Work.from_json(message["work"]), Path(message["folder"])
        if found.verdict.label is None:
            return {"error": (found.verdict.error or "cannot be read").replace(work.path, work.name)}, ()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with open_work(work, self._limits) as video:
                return _TASKS[message["task"]](video, work, folder, message), ()
        except (DeeptraceError, OSError, MemoryError) as error:
            text = str(error) or type(error).__name__
            return {"error": text.replace(work.path, work.name).removeprefix(f"{work.name}: ")}, ()


def _prepare(video: LimitedVideo, work: Work, folder: Path, _message: Message) -> Message:
    """Facts, the time of every frame, and two small pictures."""
    media = video.media
    step_s = media.duration_s / TILES
    times_s: list[float] = []
    tiles: list[Image.Image] = []
    for frame in video.frames(size=_fitting(media, _POSTER_WIDTH)):
        if len(tiles) < TILES and frame.time_s >= len(tiles) * step_s:
            tiles.append(Image.fromarray(frame.image))
        times_s.append(frame.time_s)
    _save_pictures(tiles, folder, _fitting(media, _TILE_WIDTH))
    with open(work.path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    can = playable(work.path, times_s)
    return {
        "media": video.media.model_dump(mode="json", exclude={"sampled_times_s"}),
        "times_s": [round(time_s, 7) for time_s in times_s],
        "sha256": digest,
        "mime": can.mime,
        "play": "direct" if can.mime else "proxy",
        "play_note": can.note,
    }


def _save_pictures(tiles: list[Image.Image], folder: Path, size: tuple[int, int]) -> None:
    tiles[min(len(tiles) // 2, len(tiles) - 1)].save(folder / "poster.jpg", quality=82)
    strip = Image.new("RGB", (size[0] * len(tiles), size[1]))
    for index, tile in enumerate(tiles):
        strip.paste(tile.resize(size), (index * size[0], 0))
    strip.save(folder / "strip.jpg", quality=75)


def _fitting(media: Media, width: int) -> tuple[int, int]:
    """A size of about that width, or height for pictures that are higher than wide."""
    scale = min(width / media.width, width / media.height, 1.0)
    return max(round(media.width * scale), 1), max(round(media.height * scale), 1)


def _proxy(video: LimitedVideo, _work: Work, folder: Path, _message: Message) -> Message:
    """The clip as H.264 with the same times, without sound."""
    media = video.media
    scale = min(_PROXY_SIDE / max(media.width, media.height), 1.0)
    size = (max(round(media.width * scale / 2) * 2, 2), max(round(media.height * scale / 2) * 2, 2))
    frames = video.frames(size=None if (media.width, media.height) == size else size)
    write_video(folder / "proxy.mp4", frames, fps=media.fps or 25.0, crf=18)
    return {}


def _overlay(video: LimitedVideo, _work: Work, folder: Path, message: Message) -> Message:
    draw_overlay(video, analysis_of(message["analysis"], ()).verdict, folder / "overlay.mp4")
    return {}


def _report(_video: LimitedVideo, work: Work, folder: Path, message: Message) -> Message:
    found = analysis_of(message["analysis"], ())
    write_report([found], folder / "report.html", addresses={found.verdict.video: work.path})
    return {}


def _track(video: LimitedVideo, _work: Work, _folder: Path, message: Message) -> Message:
    """Where a box goes from a moment on, until another or until it is lost."""
    since_s, until_s = float(message["since_s"]), float(message["until_s"])
    size = _fitting(video.media, _TRACKED_WIDTH)
    frames = video.frames(start_s=max(since_s - _SAME_S, 0.0), end_s=until_s, size=size, format="gray")
    found = follow_box(frames, Box.from_fractions(*message["box"]))
    return {
        "keys": [{"time_s": round(key.time_s, 7), "box": list(key.box.as_tuple())} for key in thinned(found)],
        "until_s": round(found[-1].time_s, 7) if found else None,
    }


_TASKS = {"track": _track, "prepare": _prepare, "proxy": _proxy, "overlay": _overlay, "report": _report}


@dataclass(frozen=True)
class Playable:
    """Whether browsers play a file as it is.

    Attributes:
        mime: what to serve it as; empty when they do not.
        note: why not.
    """

    mime: str
    note: str = ""


def playable(path: str, times_s: Sequence[float]) -> Playable:
    """Whether a browser can play the file and shows its frames at the times that deeptrace reads.

    Args:
        path: of a local file that has been decoded.
        times_s: of its frames, in seconds after the first.
    """
    try:
        with av.open(f"file:{path}", options={"format_whitelist": ",".join(COMMON_FORMATS)}) as container:
            streams = container.streams.video
            name = next((mime for kind, mime in _CONTAINERS.items() if kind in container.format.name.split(",")), "")
            codec, pixels = streams[0].codec_context.name, streams[0].codec_context.pix_fmt
            if "matroska" in container.format.name and codec == "h264":
                name = ""
            if codec == "libdav1d":
                codec = "av1"
            if not name:
                return Playable("", "browsers do not play its container")
            if codec not in _PLAYED or pixels not in _PLAYED_FORMATS:
                return Playable("", f"browsers do not play its codec ({codec}, {pixels})")
            if len(streams) > 1:
                return Playable("", "it has several picture streams")
            stamps = sorted(
                float(packet.pts * packet.time_base)
                for packet in container.demux(streams[0])
                if packet.pts is not None and packet.time_base is not None and not packet.is_discard
            )
    except (FFmpegError, OSError, ValueError) as error:
        return Playable("", f"its packets cannot be read ({type(error).__name__})")
    shown = np.asarray(stamps) - (stamps[0] if stamps else 0.0)
    if len(shown) != len(times_s) or np.abs(shown - np.asarray(times_s)).max(initial=0.0) > _SAME_S:
        return Playable("", "its timestamps had to be mended")
    if not -_SAME_S <= stamps[0] <= 0.25:
        return Playable("", "its clock does not begin at zero")
    return Playable(name)


def plain_analysis(verdict: dict[str, Any], curves: dict[str, Any]) -> Message:
    """A stored verdict for `overlay` and `report`."""
    return {"verdict": verdict, "curves": curves, "heat": []}
