"""Sized frames are the same pixels, or as near as can be, whatever form the clip has."""

from __future__ import annotations

import tracemalloc
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace
from hypothesis import given
from hypothesis import strategies as st

from deeptrace.video import open_video, video_from_array, write_video
from deeptrace.video.scaling import Coding, Scaler

FPS = 8
MATRICES = {Colorspace.ITU601: 6, Colorspace.ITU709: 1}


def scene(count: int, width: int, height: int, seed: int = 0) -> np.ndarray:
    """(T, H, W, 3) uint8: coloured texture of all sizes that moves, with bright and dark places that clip."""
    rng = np.random.default_rng(seed)
    wide = sum(
        amplitude
        * cv2.resize(rng.normal(0, 1, (n, 2 * n, 3)), (width + 40, height + 40), interpolation=cv2.INTER_CUBIC)
        for n, amplitude in ((4, 60), (16, 22), (64, 8))
    )
    whole = np.clip(118 + wide, 0, 255).astype(np.uint8)
    return np.stack([whole[k : k + height, 2 * k : 2 * k + width] for k in range(count)])


def encode(path: Path, images: np.ndarray, codec: str, pixels: str, *, matrix: Colorspace, full: bool = False) -> Path:
    """A lossless file; RGB codecs take the pixels as they are."""
    options = {"qp": "0", "preset": "ultrafast"} if codec.startswith("libx264") else {}
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=FPS, options=options)
        stream.width, stream.height, stream.pix_fmt = images.shape[2], images.shape[1], pixels
        stream.time_base = Fraction(1, FPS)
        if pixels.startswith("yuv"):
            stream.codec_context.colorspace = MATRICES[matrix]
            stream.codec_context.color_range = ColorRange.JPEG if full else ColorRange.MPEG
        for index, image in enumerate(images):
            frame = VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            if pixels.startswith("yuv"):
                frame = frame.reformat(
                    format=pixels,
                    dst_colorspace=matrix,
                    dst_color_range=ColorRange.JPEG if full else ColorRange.MPEG,
                )
            frame.pts, frame.time_base = index, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def frames_of(path: Path, size: tuple[int, int] | None = None, pixels: str = "rgb") -> np.ndarray:
    with open_video(path) as video:
        return np.stack([frame.image for frame in video.frames(size=size, format=pixels)])


def differing(one: np.ndarray, other: np.ndarray) -> float:
    """The share of pixels that are not the same."""
    assert one.shape == other.shape
    return float((one != other).any(axis=-1).mean())


@pytest.mark.parametrize("matrix", list(MATRICES))
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize(("width", "height"), [(256, 144), (321, 180), (200, 300)])
def test_the_array_of_a_files_frames_has_the_files_sized_frames(
    tmp_path: Path, matrix: Colorspace, full: bool, width: int, height: int
) -> None:
    path = encode(tmp_path / "a.mkv", scene(3, width, height), "ffv1", "yuv420p", matrix=matrix, full=full)
    memory = video_from_array(frames_of(path), fps=FPS)
    assert Scaler((8, 8), "rgb").coding_of(frames_of(path)[0]) == Coding(matrix, full)
    for size in ((114, 64), (width, height), (2 * width, 2 * height)):
        for kind in ("rgb", "gray"):
            file, array = (
                frames_of(path, size, kind),
                np.stack([f.image for f in memory.frames(size=size, format=kind)]),
            )
            assert np.abs(file.astype(int) - array).mean() < 0.15, (size, kind)
            assert kind == "gray" or differing(file, array) < 0.1, size


def test_of_an_odd_height_the_frames_are_near(tmp_path: Path) -> None:
    # FFmpeg decodes those in another way. They are rare: H.264 has none.
    path = encode(tmp_path / "a.mkv", scene(3, 256, 143), "ffv1", "yuv420p", matrix=Colorspace.ITU601)
    memory = video_from_array(frames_of(path), fps=FPS)
    near = np.stack([f.image for f in memory.frames(size=(114, 64))])
    assert np.abs(frames_of(path, (114, 64)).astype(int) - near).mean() < 3


def test_where_nothing_is_clipped_not_one_pixel_differs(tmp_path: Path) -> None:
    soft = (scene(3, 256, 144) // 2 + 64).astype(np.uint8)
    path = encode(tmp_path / "a.mkv", soft, "ffv1", "yuv420p", matrix=Colorspace.ITU601)
    memory = video_from_array(frames_of(path), fps=FPS)
    assert np.array_equal(frames_of(path, (114, 64)), np.stack([f.image for f in memory.frames(size=(114, 64))]))


@pytest.mark.parametrize(
    ("codec", "pixels", "name"),
    [
        ("ffv1", "bgr0", "a.mkv"),
        ("libx264rgb", "rgb24", "a.mp4"),
        ("png", "rgb24", "a.mov"),
        ("png", "rgba", "a.mov"),
        ("apng", "rgb24", "a.apng"),
        ("qtrle", "rgb24", "a.mov"),
        ("ffv1", "gray", "a.mkv"),
    ],
)
@pytest.mark.parametrize("decoded", [False, True])
def test_rgb_files_go_the_way_of_arrays(tmp_path: Path, codec: str, pixels: str, name: str, decoded: bool) -> None:
    images = scene(3, 256, 144)
    if decoded:
        images = frames_of(encode(tmp_path / "b.mkv", images, "ffv1", "yuv420p", matrix=Colorspace.ITU601))
    path = encode(tmp_path / name, images, codec, pixels, matrix=Colorspace.ITU601)
    shown = frames_of(path)
    assert pixels == "gray" or np.array_equal(shown, images)
    memory = video_from_array(shown, fps=FPS)
    assert np.array_equal(frames_of(path, (114, 64)), np.stack([f.image for f in memory.frames(size=(114, 64))]))


@pytest.mark.parametrize("pixels", ["yuv420p10le", "yuv422p", "yuv444p", "yuv422p10le", "yuv444p12le"])
def test_finer_planes_give_the_frames_of_plain_ones(tmp_path: Path, pixels: str) -> None:
    plain = encode(tmp_path / "a.mkv", scene(3, 257, 143), "ffv1", "yuv420p", matrix=Colorspace.ITU709)
    finer = tmp_path / "b.mkv"
    with av.open(str(plain)) as source, av.open(str(finer), "w") as container:
        stream = container.add_stream("ffv1", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = 257, 143, pixels
        stream.codec_context.colorspace = MATRICES[Colorspace.ITU709]
        for frame in source.decode(video=0):
            finest = blown_up(frame, pixels)
            finest.pts, finest.time_base = frame.pts, frame.time_base
            container.mux(stream.encode(finest))
        container.mux(stream.encode(None))
    with av.open(str(finer)) as written:
        assert written.streams.video[0].codec_context.pix_fmt == pixels
    assert np.array_equal(frames_of(plain, (114, 64)), frames_of(finer, (114, 64)))


def blown_up(frame: VideoFrame, pixels: str) -> VideoFrame:
    """The same planes in a finer format: samples repeated, levels multiplied."""
    out = VideoFrame(frame.width, frame.height, pixels)
    out.colorspace, out.color_range = frame.colorspace, frame.color_range
    bits = out.format.components[0].bits
    for old, new in zip(frame.planes, out.planes, strict=True):
        levels = np.frombuffer(memoryview(old), np.uint8).reshape(-1, old.line_size)[: old.height, : old.width]
        if new.width != old.width:
            levels = np.repeat(levels, 2, axis=1)[:, : new.width]
        if new.height != old.height:
            levels = np.repeat(levels, 2, axis=0)[: new.height]
        kind = np.dtype(np.uint8 if bits == 8 else np.uint16)
        rows = np.zeros((new.height, new.line_size // kind.itemsize), kind)
        rows[:, : new.width] = levels.astype(kind) << (bits - 8)
        data = rows.tobytes()
        new.update(data + bytes(new.buffer_size - len(data)))
    return out


@given(
    st.integers(1, 40), st.integers(1, 40), st.integers(1, 70), st.integers(1, 70),
    st.sampled_from(["rgb", "gray"]), st.sampled_from(["noise", "flat", "grey"]), st.integers(0, 255),
)  # fmt: skip
def test_every_size_has_frames(
    width: int, height: int, to_width: int, to_height: int, pixels: str, kind: str, level: int
) -> None:
    rng = np.random.default_rng(level)
    images = rng.integers(0, 256, (2, height, width, 3), np.uint8)
    if kind == "flat":
        images[...] = level
    elif kind == "grey":
        images[...] = images[..., :1]
    frames = list(video_from_array(images, fps=4).frames(size=(to_width, to_height), format=pixels))
    assert [f.image.shape[:2] for f in frames] == [(to_height, to_width)] * 2
    assert all(f.image.flags.c_contiguous and f.image.dtype == np.uint8 for f in frames)
    if kind == "flat":
        assert np.abs(frames[0].image.astype(int) - level).max() <= 4


def test_a_black_beginning_does_not_hide_what_the_rest_was_decoded_from(tmp_path: Path) -> None:
    images = scene(9, 256, 144)
    images[:3] = 0
    path = encode(tmp_path / "a.mkv", images, "ffv1", "yuv420p", matrix=Colorspace.ITU709)
    memory = video_from_array(frames_of(path), fps=FPS)
    assert differing(frames_of(path, (114, 64)), np.stack([f.image for f in memory.frames(size=(114, 64))])) < 0.1


def test_at_their_own_size_arrays_go_the_way_of_files_unless_they_are_to_stay(tmp_path: Path) -> None:
    images = scene(2, 64, 48)
    path = encode(tmp_path / "a.mkv", images, "ffv1", "yuv420p", matrix=Colorspace.ITU601)
    like_a_file, as_is = video_from_array(images, fps=FPS), video_from_array(images, fps=FPS, as_is=True)
    at_own = [np.stack([f.image for f in video.frames(size=(64, 48))]) for video in (like_a_file, as_is)]
    assert np.abs(at_own[0].astype(int) - frames_of(path, (64, 48))).mean() < 1.5
    assert np.abs(images.astype(int) - at_own[0]).mean() > 3, "this scene's chroma was finer"
    assert np.array_equal(at_own[1], images)
    for video in (like_a_file, as_is):
        assert np.array_equal(np.stack([f.image for f in video.frames()]), images)
    halves = [np.stack([f.image for f in video.frames(size=(32, 24))]) for video in (like_a_file, as_is)]
    assert np.array_equal(*halves)


def test_a_see_through_film_is_scaled_over_black(tmp_path: Path) -> None:
    images = np.full((2, 48, 64, 4), 200, np.uint8)
    images[:, :, 32:, 3] = 0
    with av.open(str(tmp_path / "a.mov"), "w") as container:
        stream = container.add_stream("png", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "rgba"
        for image in images:
            container.mux(stream.encode(VideoFrame.from_ndarray(image, format="rgba")))
        container.mux(stream.encode(None))
    shown = frames_of(tmp_path / "a.mov", (32, 24))[0]
    assert np.abs(shown[:, :14].astype(int) - round(200 * 200 / 255)).max() <= 60  # straight alpha of 200
    assert shown[:, 18:].max() <= 3


def test_a_large_frame_takes_little_more_memory_than_itself() -> None:
    images = np.zeros((1, 2160, 3840, 3), np.uint8)
    images[0] = cv2.resize(scene(1, 480, 270)[0], (3840, 2160), interpolation=cv2.INTER_CUBIC)
    video = video_from_array(images, fps=1)
    tracemalloc.start()
    try:
        list(video.frames(size=(456, 256)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2.5 * images.nbytes


def test_written_and_read_again_without_loss_the_frames_stay(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", scene(4, 256, 144), fps=FPS, crf=0)
    first = frames_of(tmp_path / "a.mp4", (114, 64))
    with av.open(str(tmp_path / "a.mp4")) as source, av.open(str(tmp_path / "b.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = 256, 144, "yuv420p"
        stream.codec_context.colorspace = source.streams.video[0].codec_context.colorspace
        for frame in source.decode(video=0):
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert differing(first, frames_of(tmp_path / "b.mkv", (114, 64))) == 0
