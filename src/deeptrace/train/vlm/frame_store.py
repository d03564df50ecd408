"""Frames of clips, decoded once: on the disk with their exact times, in the size that the model sees."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import cv2
import numpy as np

from deeptrace.detectors.vlm.frame_sampling import take_frames
from deeptrace.detectors.vlm.hf.processors import Processor
from deeptrace.detectors.vlm.hf.processors.pixels import resize
from deeptrace.errors import DataError, DeeptraceError, ModelError
from deeptrace.io.atomic import atomic_path
from deeptrace.io.fingerprint import fingerprint
from deeptrace.train.vlm.augment import Clip
from deeptrace.train.vlm.settings import ViewSettings
from deeptrace.video import open_video

__all__ = ["FrameStore"]

_FORMAT = 1
_LOSSLESS = 101


class FrameStore:
    """Clips as a model is shown them, each decoded once and kept in the cache folder of `view`, where it names one.

    A clip's file is a zip of its times (float64, exact) and its frames as JPEG (or PNG) in the size that `encoder`
    gives them, named by what it depends on: the file's size and modification time (the store's key of a URL), the
    sampling, the size, the quality. It appears whole or not at all, so runs can share a folder, and one that was broken
    off goes on.

    Args:
        view: frames that are seen of a clip.
        processor: of the model.
    """

    def __init__(self, view: ViewSettings, processor: Processor) -> None:
        self.view, self.processor = view, processor

    def clip(self, path: str) -> Clip:
        """The frames of a clip.

        Raises:
            VideoError: it does not decode.
            DataError: the cache folder cannot be written.
        """
        kept = self._file(path)
        if kept is not None and (clip := _read(kept)) is not None:
            return clip
        clip = self._decode(path)
        if kept is not None:
            _write(kept, clip, self.view.cache_quality)
            if self.view.cache_quality != _LOSSLESS:  # what the first epoch sees is what the others see
                clip = _read(kept) or clip
        return clip

    def fill(
        self, paths: Iterable[str], on_done: Callable[[int], object] = lambda _done: None
    ) -> dict[str, DeeptraceError]:
        """Decode every clip that is not kept yet; returns what cannot be decoded, with the reason."""
        broken: dict[str, DeeptraceError] = {}
        for done, path in enumerate(dict.fromkeys(paths), 1):
            kept = self._file(path)
            try:
                if kept is None or not kept.is_file():
                    self.clip(path)
            except DeeptraceError as error:
                broken[path] = error
            on_done(done)
        return broken

    def _decode(self, path: str) -> Clip:
        with open_video(path) as video:
            times = self.view.moments(video.media.duration_s)
            taken = take_frames(video, times, repeats=self.view.frames is not None)
        media = taken.media
        frames = np.stack([frame.image for frame in taken.frames])
        plan = self.processor.plan(len(frames), media.width, media.height)
        shown = resize(frames, plan.width, plan.height).permute(0, 2, 3, 1).contiguous().numpy()
        return Clip(shown, media.sampled_times_s, (media.width, media.height), media.duration_s)

    def _file(self, path: str) -> Path | None:
        if self.view.cache is None or (content := fingerprint(path)) is None:
            return None
        # The size of the frames follows from the clip's own by these, so it need not be known to look the file up.
        depends = (_FORMAT, path, content, self.view.model_dump_json(exclude={"cache"}), _sizes(self.processor))
        name = hashlib.sha256(repr(depends).encode()).hexdigest()[:32]
        return self.view.cache / name[:2] / f"{name}.npz"


def _sizes(processor: Processor) -> tuple[tuple[int, int], ...]:
    """Sizes of frame that a processor gives to a few clips: two processors that agree on them have one rule."""
    sizes = []
    for frames, width, height in ((1, 640, 360), (2, 111, 97), (40, 1920, 1080), (7, 360, 640)):
        try:
            plan = processor.plan(frames, width, height)
        except ModelError:  # it takes another number of frames only
            plan = processor.plan(_FIXED_FRAMES, width, height)
        sizes.append((plan.width, plan.height))
    return tuple(sizes)


_FIXED_FRAMES = 8
"""What the models with a fixed number of frames take (Video-LLaVA)."""


def _write(file: Path, clip: Clip, quality: int) -> None:
    suffix, flags = (".jpg", [cv2.IMWRITE_JPEG_QUALITY, quality])
    if quality == _LOSSLESS:
        suffix, flags = (".png", [cv2.IMWRITE_PNG_COMPRESSION, 3])
    images = []
    for frame in clip.frames:
        done, data = cv2.imencode(suffix, cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), flags)
        if not done:
            raise DataError(str(file), f"a frame of {frame.shape[1]}x{frame.shape[0]} cannot be encoded")
        images.append(data)
    with atomic_path(file) as scratch, open(scratch, "wb") as out:
        np.savez(
            out,
            times_s=np.asarray(clip.times_s, dtype=np.float64),
            facts=np.asarray([*clip.size, clip.duration_s], dtype=np.float64),
            lengths=np.asarray([len(image) for image in images], dtype=np.int64),
            images=np.concatenate(images),
        )


def _read(file: Path) -> Clip | None:
    """A kept clip; None when there is none, or it was damaged and has to be made again."""
    try:
        with np.load(file) as stored:
            times, facts, lengths = (stored[name] for name in ("times_s", "facts", "lengths"))
            images = np.split(stored["images"], np.cumsum(lengths)[:-1])
    except (FileNotFoundError, zipfile.BadZipFile, KeyError, ValueError, EOFError):
        return None
    decoded = [cv2.imdecode(image, cv2.IMREAD_COLOR) for image in images]
    whole = [cv2.cvtColor(image, cv2.COLOR_BGR2RGB) for image in decoded if image is not None]
    if len(whole) < len(times):
        return None
    frames = np.stack(whole)
    width, height, duration_s = facts.tolist()
    return Clip(frames, tuple(times.tolist()), (width, height), duration_s)
