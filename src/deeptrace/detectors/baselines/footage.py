"""What every trained baseline is shown of a clip: the same frames, in the same encoding, whatever file they came in.

DeepfakeBench's first lesson (Yan et al., NeurIPS 2023, arXiv 2307.01426) is that detectors can only be compared after
one preprocessing. Files tell generators apart by size, rate and codec long before a picture is looked at, so a clip is
first brought into one form: at most 8 frames a second, the central square of the picture at 216 pixels, encoded anew as
H.264. What is measured is measured on that. The encoder's motion vectors come with it, for every clip alike.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np

from deeptrace.detectors.tracenet.evidence import optical_flow
from deeptrace.detectors.tracenet.texture import central_square
from deeptrace.detectors.tracenet.windows import RATE_FPS, analysis_size
from deeptrace.errors import UndecidableError
from deeptrace.schema import MIN_FRAMES
from deeptrace.video import Video, write_video

__all__ = ["FLOW_SIDE", "FOOTAGE_VERSION", "MOST_FRAMES", "Footage", "encoded_again", "read_footage"]

FOOTAGE_VERSION = "1"
MOST_FRAMES = 32
FLOW_SIDE = 112
_CRF = 23


@dataclass(frozen=True)
class Footage:
    """The start of a clip, up to MOST_FRAMES frames, in the one form.

    Attributes:
        frames: (T, S, S, 3) uint8, RGB.
        vectors: T arrays (blocks, 5) float32 of what the codec predicted each frame from: column and row of the block's
            centre, its motion across and down since the frame before, its area; pixels. A block that the codec could
            not predict is missing; the first frame has none.
        sizes: (T,) bytes of each coded frame.
        times_s: (T,) when the frames are shown in the clip.
    """

    frames: np.ndarray
    vectors: tuple[np.ndarray, ...]
    sizes: np.ndarray
    times_s: np.ndarray

    @cached_property
    def grey(self) -> np.ndarray:
        """(T, FLOW_SIDE, FLOW_SIDE) uint8."""
        small = [cv2.resize(frame, (FLOW_SIDE, FLOW_SIDE), interpolation=cv2.INTER_AREA) for frame in self.frames]
        return np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in small])

    @cached_property
    def flows(self) -> np.ndarray:
        """(T - 1, FLOW_SIDE, FLOW_SIDE, 2) float32: where each pixel of a frame lies in the next, as offsets."""
        return np.stack([optical_flow(here, there) for here, there in zip(self.grey, self.grey[1:], strict=False)])

    def some(self, count: int) -> np.ndarray:
        """(count, S, S, 3): frames spread evenly over all; all where there are fewer."""
        return np.asarray(self.frames[self.spread(count)])

    def spread(self, count: int) -> np.ndarray:
        """(count,) indices of frames spread evenly over all; all where there are fewer."""
        return np.unique(np.linspace(0, len(self.frames) - 1, count).round().astype(int))


def read_footage(video: Video) -> Footage:
    """The start of a clip in the one form.

    Raises:
        UndecidableError: the clip shows fewer than MIN_FRAMES frames.
        VideoError: it cannot be decoded.
    """
    sampled = video.frames(max_fps=RATE_FPS, size=analysis_size(video.media), fast=True)
    taken = list(islice(sampled, MOST_FRAMES))
    if len(taken) < MIN_FRAMES:
        raise UndecidableError.of_frames(video.path, len(taken), MIN_FRAMES)
    pictures = [np.ascontiguousarray(central_square(frame.image)) for frame in taken]
    frames, vectors, sizes = encoded_again(pictures, _CRF)
    return Footage(frames, vectors, sizes, np.array([frame.time_s for frame in taken]))


def encoded_again(pictures: list[np.ndarray], crf: int) -> tuple[np.ndarray, tuple[np.ndarray, ...], np.ndarray]:
    """Pictures (H, W, 3) uint8 as H.264 of that quality gives them back; frames, vectors and sizes of `Footage`."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "clip.mp4"
        write_video(path, pictures, fps=RATE_FPS, crf=crf, preset="veryfast", b_frames=False)
        decoded = list(_decoded(path))
    frames, vectors, sizes = zip(*decoded, strict=True)
    return np.stack(frames), vectors, np.array(sizes)


def _decoded(path: Path) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    """Each frame with its motion vectors and bytes; without reordered frames, a packet is a frame."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        stream.codec_context.options = {"flags2": "+export_mvs"}
        sizes = []
        number = 0
        for packet in container.demux(stream):
            if packet.size:
                sizes.append(packet.size)
            for frame in packet.decode():
                assert isinstance(frame, av.VideoFrame)
                yield frame.to_ndarray(format="rgb24"), _vectors_of(frame), sizes[number]
                number += 1


def _vectors_of(frame: av.VideoFrame) -> np.ndarray:
    found = frame.side_data.get("MOTION_VECTORS")
    if found is None:
        return np.zeros((0, 5), np.float32)
    rows = found.to_ndarray()
    scale = np.maximum(rows["motion_scale"].astype(np.float32), 1.0)
    # FFmpeg points to where the block came from; the block's own motion is the other way
    across, down = -rows["motion_x"] / scale, -rows["motion_y"] / scale
    area = rows["w"].astype(np.float32) * rows["h"]
    return np.stack([rows["dst_x"], rows["dst_y"], across, down, area], axis=1).astype(np.float32)
