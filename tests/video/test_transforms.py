"""Degradations: they do what their names say, repeat by seed, and keep the ground truth true."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.needs import needs
from tests.video.odd_files import picture

from deeptrace.errors import ModelError, SettingsError
from deeptrace.geometry import Box, Interval, Keyframe, Tube
from deeptrace.schema import Category, Trace
from deeptrace.video import Frame, open_video, video_from_array
from deeptrace.video.base import Video
from deeptrace.video.transforms.annotations import crop_box, crop_trace, cut_trace
from deeptrace.video.transforms.launder import Autoencode
from deeptrace.video.transforms.ops import (
    Blur,
    Chain,
    Crop,
    Cut,
    DownUp,
    FpsCap,
    Frozen,
    Jpeg,
    Noise,
    Recode,
    Reversed,
    Shuffled,
    Step,
    Still,
)
from deeptrace.video.transforms.presets import DEGRADATIONS, degrade_file, degrade_trace
from deeptrace.video.transforms.style import RegionStyle, style_of


@pytest.fixture(scope="module")
def video() -> Video:
    """One second of a textured picture that moves, 24 fps, with a size that is odd."""
    y, x = np.mgrid[:121, :161]
    texture = np.random.default_rng(0).normal(0, 12, (121, 161, 1))
    images = [
        np.clip(picture(k, 161, 121) * 0.6 + 40 * np.sin((x + 2 * k) / 5 + y / 8)[..., None] + texture, 0, 255)
        for k in range(24)
    ]
    return video_from_array(np.stack(images).astype(np.uint8), fps=24)


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_every_degradation_streams_and_repeats(video: Video, name: str) -> None:
    first = list(DEGRADATIONS[name](video.frames(), seed=5))
    again = list(DEGRADATIONS[name](video.frames(), seed=5))
    original = {frame.time_s: frame.image for frame in video.frames()}
    assert first
    assert [f.time_s for f in first] == [f.time_s for f in again]
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a.image, b.image)
        assert a.image.dtype == np.uint8
        assert a.time_s in original
    # The blur is in parts of the height, so at 121 lines there is next to none; its own test is below.
    if name not in {"fps_12", "platform", "resize_360", "blur"}:
        assert any(f.image.shape != original[f.time_s].shape or (f.image != original[f.time_s]).any() for f in first)


def test_compression_hurts_more_at_higher_factors(video: Video) -> None:
    def loss(name: str) -> float:
        pairs = zip(video.frames(), DEGRADATIONS[name](video.frames()), strict=True)
        return float(np.mean([np.abs(a.image.astype(int) - b.image).mean() for a, b in pairs]))

    losses = [loss(name) for name in ("h264_crf23", "h264_crf28", "h264_crf35")]
    assert losses == sorted(losses)
    assert 0.5 < losses[0] < losses[2] < 30


def test_the_loop_through_a_codec_is_the_file_it_would_be(video: Video, tmp_path: Path) -> None:
    degrade_file(video, tmp_path / "a.mp4", Recode("libx264", 30))
    with open_video(tmp_path / "a.mp4") as file:
        from_file = [frame.image[:121, :161] for frame in file.frames()]
    from_loop = [frame.image for frame in Recode("libx264", 30)(video.frames())]
    assert np.mean([np.abs(a.astype(int) - b).mean() for a, b in zip(from_file, from_loop, strict=True)]) < 1.0


def test_noise_has_the_strength_asked_for() -> None:
    flat = [Frame(0.0, np.full((64, 64, 3), 128, np.uint8)), Frame(0.1, np.full((64, 64, 3), 128, np.uint8))]
    a, b = (frame.image.astype(float) - 128 for frame in Noise(6.0)(flat, seed=1))
    assert a.std() == pytest.approx(6.0, rel=0.05)
    assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.05
    assert np.corrcoef(a[..., 0].ravel(), a[..., 2].ravel())[0, 1] == pytest.approx(0.5, abs=0.1)
    other = next(Noise(6.0)(flat, seed=2)).image
    assert (other != a + 128).any()


def test_pictures_change_as_named(video: Video) -> None:
    frame = next(video.frames())
    light = next(DEGRADATIONS["brighter"]([frame])).image.mean()
    dark = next(DEGRADATIONS["darker"]([frame])).image.mean()
    assert dark < frame.image.mean() < light
    detail = np.abs(np.diff(frame.image.astype(int), axis=1)).mean()
    for step in (DownUp(2.0), Blur(12.0)):
        changed = next(step([frame])).image
        assert changed.shape == frame.image.shape
        assert np.abs(np.diff(changed.astype(int), axis=1)).mean() < detail


def test_cropped_pixels_are_the_pixels_of_the_box() -> None:
    image = np.arange(40 * 60 * 3, dtype=np.uint32).astype(np.uint8).reshape(40, 60, 3)
    out = next(Crop(Box(x0=0.25, y0=0.5, x1=0.75, y1=1.0))([Frame(0.0, image)])).image
    np.testing.assert_array_equal(out, image[20:40, 15:45])


def test_files_hold_what_the_chain_says(video: Video, tmp_path: Path) -> None:
    degrade_file(video, tmp_path / "p.mp4", Chain((FpsCap(12.0), Recode("libx265", 30, "ultrafast"))))
    with av.open(str(tmp_path / "p.mp4")) as container:
        assert container.streams.video[0].codec_context.name == "hevc"
    with open_video(tmp_path / "p.mp4") as out:
        assert [f.time_s for f in out.frames()] == pytest.approx([k / 12 for k in range(12)], abs=1e-4)
    with pytest.raises(SettingsError, match="h264_crf28"):
        degrade_file(video, tmp_path / "q.mp4", "h264_crf99")


# -- ground truth ---------------------------------------------------------------------------------------------------

sides = st.tuples(st.floats(0, 1), st.floats(0, 1)).filter(lambda s: abs(s[0] - s[1]) > 0.05).map(sorted)
boxes = st.tuples(sides, sides).map(lambda s: Box(x0=s[0][0], y0=s[1][0], x1=s[0][1], y1=s[1][1]))


@st.composite
def tubes(draw: st.DrawFn) -> Tube:
    times = sorted(draw(st.sets(st.integers(0, 50), min_size=1, max_size=5)))
    keys = tuple(Keyframe(time_s=t / 10, box=draw(boxes)) for t in times)
    onset = draw(st.integers(0, times[0]))
    offset = draw(st.integers(times[-1] + 1, 60))
    return Tube(onset_s=onset / 10, offset_s=offset / 10, keyframes=keys)


@settings(deadline=None, max_examples=60)
@given(tubes(), boxes)
def test_a_cropped_trace_is_the_clipped_box_at_every_moment(tube: Tube, window: Box) -> None:
    trace = Trace.from_tube(tube, categories=[Category.SUDDEN_BLURRING], explanation="It blurs.")
    cropped = crop_trace(trace, window, min_visible=0.0)
    times = np.linspace(tube.onset_s, tube.offset_s, 41)[:-1]
    wanted = [crop_box(Box.from_fractions(*row), window) for row in tube.corners_at(times)]
    areas = [box.area if box else 0.0 for box in wanted]
    if cropped is None:
        assert max(areas) < 1e-3
        return
    assert (cropped.categories, cropped.explanation) == (trace.categories, trace.explanation)
    new = cropped.tube
    assert new is not None
    visible = [t for t, area in zip(times, areas, strict=True) if area > 1e-6]
    assert all(new.onset_s - 1e-9 <= t <= new.offset_s + 1e-9 for t in visible)
    knots = [key.time_s for key in new.keyframes]
    for t, box, area in zip(times, wanted, areas, strict=True):
        # Near a moment where the box is out of sight the nearest visible box holds, so compare where it is well seen.
        if box is not None and area > 1e-3 and knots[0] <= t <= knots[-1] and min(areas) > 1e-3:
            np.testing.assert_allclose(new.corners_at([t])[0], box.as_tuple(), atol=1e-6)


@settings(deadline=None, max_examples=60)
@given(tubes(), st.integers(0, 60), st.integers(1, 60))
def test_a_cut_trace_is_the_same_trace_in_new_time(tube: Tube, start: int, length: int) -> None:
    start_s, end_s = start / 10, (start + length) / 10
    cut = cut_trace(Trace.from_tube(tube), start_s, end_s)
    begin, stop = max(tube.onset_s, start_s), min(tube.offset_s, end_s)
    if begin >= stop:
        assert cut is None
        return
    assert cut is not None
    new = cut.tube
    assert new is not None
    assert (new.onset_s, new.offset_s) == pytest.approx((begin - start_s, stop - start_s))
    for t in np.linspace(begin, stop, 17)[:-1]:
        np.testing.assert_allclose(new.corners_at([t - start_s])[0], tube.corners_at([t])[0], atol=1e-6)


def test_traces_that_leave_the_picture_are_gone() -> None:
    left = Trace.from_tube(Tube.constant(Box(x0=0.0, y0=0.4, x1=0.12, y1=0.6), Interval(onset_s=1.0, offset_s=2.0)))
    assert degrade_trace(left, "crop_80") is None
    assert degrade_trace(left, "h264_crf28") == left
    assert Cut(0.0, 0.5).on_trace(left) is None
    still = Cut(0.5, 1.5).on_trace(left)
    assert still is not None
    assert (still.onset_s, still.offset_s) == (0.5, 1.0)
    bare = Trace(explanation="somewhere", onset_s=0.2)
    assert degrade_trace(bare, "crop_80") == bare
    boxed = Trace(box=Box(x0=0.3, y0=0.3, x1=0.5, y1=0.5))
    out = degrade_trace(boxed, "crop_80")
    assert out is not None
    assert out.box is not None
    assert out.box.as_tuple() == pytest.approx((0.25, 0.25, 0.5, 0.5))


def shown_at(video: Video, step: Step, *, seed: int = 0) -> list[int]:
    """Which of the video's frames is shown in the place of each."""
    frames = list(video.frames())
    every = [frame.image for frame in frames]
    found = list(step(frames, seed=seed))
    assert [frame.time_s for frame in found] == [frame.time_s for frame in frames]
    return [next(k for k, image in enumerate(every) if image is frame.image) for frame in found]


def test_time_can_stand_still_stumble_and_run_backwards(video: Video) -> None:
    assert set(shown_at(video, Still())) == {12}
    assert shown_at(video, Frozen(0.25)) == [6 * (k // 6) for k in range(24)]
    assert shown_at(video, Reversed()) == list(range(24))[::-1]
    order = shown_at(video, Shuffled(), seed=3)
    assert sorted(order) == list(range(24))
    assert order not in (list(range(24)), shown_at(video, Shuffled(), seed=4))
    pieces = shown_at(video, Shuffled(0.25), seed=1)
    assert sorted(pieces[::6]) == [0, 6, 12, 18]
    assert all(here + 1 == there for k, (here, there) in enumerate(pairwise(pieces), 1) if k % 6)


def test_after_time_is_disturbed_nobody_knows_when_a_trace_is(video: Video) -> None:
    key = Keyframe(time_s=0.5, box=Box(x0=0, y0=0, x1=0.5, y1=0.5))
    trace = Trace(onset_s=0.2, offset_s=0.8, box=key.box, keyframes=(key,))
    left = Shuffled().on_trace(trace)
    assert left is not None
    assert (left.onset_s, left.offset_s, left.keyframes, left.box) == (None, None, (), key.box)


def test_jpeg_loses_what_jpeg_loses(video: Video) -> None:
    first = next(iter(video.frames())).image
    good, bad = (next(iter(Jpeg(quality)(video.frames()))).image for quality in (95, 10))
    error = [float(np.abs(made.astype(int) - first).mean()) for made in (good, bad)]
    assert 0 < error[0] < error[1] < 30


def test_a_region_takes_on_a_style_and_the_rest_does_not(video: Video) -> None:
    bright = video_from_array(np.full((8, 60, 80, 3), 230, np.uint8), fps=8)
    box = Box(x0=0.25, y0=0.25, x1=0.75, y1=0.75)
    made = list(RegionStyle(box, style_of(bright), strength=1.0)(video.frames()))
    before = np.stack([frame.image for frame in video.frames()]).astype(int)
    after = np.stack([frame.image for frame in made]).astype(int)
    middle, edge = (slice(None), slice(45, 75), slice(60, 100)), (slice(None), slice(0, 20))
    assert after[middle].mean() > 200 > before[middle].mean() + 40
    assert np.abs(after[edge] - before[edge]).mean() < 2  # to Lab and back


def autoencoder(path: Path, *, gain: float = 1.0) -> str:
    """An ONNX file that gives a picture back, times `gain`."""
    onnx = needs("onnx")
    shape = [1, 3, "rows", "columns"]
    value = onnx.helper.make_tensor_value_info
    node = onnx.helper.make_node("Mul", ["picture", "gain"], ["made"])
    gains = onnx.numpy_helper.from_array(np.array(gain, np.float32), "gain")
    ends = [value(name, onnx.TensorProto.FLOAT, shape) for name in ("picture", "made")]
    graph = onnx.helper.make_graph([node], "g", ends[:1], ends[1:], [gains])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    path.write_bytes(model.SerializeToString())
    return str(path)


@pytest.mark.parametrize("low", [0.0, -1.0])
def test_an_autoencoder_is_shown_its_own_range(video: Video, tmp_path: Path, low: float) -> None:
    frames = [frame.image for frame in video.frames()][:2]
    same = Autoencode(autoencoder(tmp_path / "same.onnx"), low)
    half = Autoencode(autoencoder(tmp_path / "half.onnx", gain=0.5), low)
    rng = np.random.default_rng(0)
    assert np.array_equal(same.on_picture(frames[0], rng), frames[0])  # of an odd size
    wanted = frames[1] / 2 if low == 0 else frames[1] / 2 + 255 / 4
    assert np.abs(half.on_picture(frames[1], rng) - wanted).max() <= 0.51


def test_what_is_no_autoencoder_is_said(tmp_path: Path) -> None:
    (tmp_path / "no.onnx").write_bytes(b"nothing")
    picture = np.zeros((8, 8, 3), np.uint8)
    for name, problem in (("no.onnx", "is no autoencoder"), ("gone.onnx", "no such file")):
        with pytest.raises(ModelError, match=problem):
            Autoencode(str(tmp_path / name)).on_picture(picture, np.random.default_rng(0))
