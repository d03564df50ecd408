"""The overlay: boxes on the right frames at the right place, a strip that tells the time."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from deeptrace.geometry import Box, Keyframe, Tube
from deeptrace.schema import CAVEAT, Category, DetectorInfo, Label, Media, Outcome, Trace, Verdict
from deeptrace.video import Frame, open_video, video_from_array
from deeptrace.video.overlay import Overlay, box_at, draw_overlay, tick_step
from deeptrace.video.overlay_style import CATEGORY_COLORS, color_of, name_of, tag

MOVING = Trace.from_tube(
    Tube(
        onset_s=1.0,
        offset_s=2.0,
        keyframes=(
            Keyframe(time_s=1.0, box=Box(x0=0.1, y0=0.3, x1=0.3, y1=0.5)),
            Keyframe(time_s=2.0, box=Box(x0=0.7, y0=0.3, x1=0.9, y1=0.5)),
        ),
    ),
    categories=[Category.SUDDEN_BLURRING],
    score=0.8,
)
FAKE = Verdict(
    video="a.mp4",
    outcome=Outcome.SCORED,
    label=Label.FAKE,
    p_fake=0.9,
    traces=(MOVING,),
    detector=DetectorInfo(name="tracenet", version="1"),
)
MEDIA = Media(width=640, height=360, duration_s=4.0, fps=10.0)


def _blank(width: int = 640, height: int = 360) -> np.ndarray:
    return np.full((height, width, 3), 128, np.uint8)


def _columns_of(picture: np.ndarray, trace: Trace, rows: slice) -> np.ndarray:
    return np.flatnonzero((picture[rows] == color_of(trace)).all(axis=2).any(axis=0))


@pytest.mark.parametrize("time_s", [1.0, 1.25, 1.5, 1.9])
def test_the_box_is_where_the_tube_is(time_s: float) -> None:
    drawn = Overlay(FAKE, MEDIA).draw(Frame(time_s, _blank()))
    columns = _columns_of(drawn, MOVING, slice(140, 170))  # between the box's upper and lower side
    x0, _, x1, _ = MOVING.tube.corners_at([time_s])[0]  # type: ignore[union-attr]
    assert columns.min() == pytest.approx(x0 * 639, abs=2)
    assert columns.max() == pytest.approx(x1 * 639, abs=2)


@pytest.mark.parametrize("time_s", [0.0, 0.99, 2.0, 3.9])
def test_no_box_while_the_trace_does_not_live(time_s: float) -> None:
    drawn = Overlay(FAKE, MEDIA).draw(Frame(time_s, _blank()))
    np.testing.assert_array_equal(drawn[:360], _blank())


def test_the_strip_shows_life_and_time() -> None:
    overlay = Overlay(FAKE, MEDIA)
    strips = [overlay.draw(Frame(t, _blank()))[360:] for t in (0.0, 2.0, 4.0)]
    bar = _columns_of(strips[0], MOVING, slice(None))
    assert bar.min() == pytest.approx(640 * 0.25, abs=12)
    assert bar.max() == pytest.approx(640 * 0.5, abs=12)
    heads = [np.flatnonzero((strip[60] >= 240).all(axis=1)).mean() for strip in strips]
    assert heads[0] < 20
    assert heads[1] == pytest.approx(320, abs=4)
    assert heads[2] > 620


def _middle_of_top_side(trace: Trace) -> np.ndarray:
    """Which columns of the box's upper side, at 1.5 s, have the trace's colour."""
    verdict = FAKE.model_copy(update={"traces": (trace,)})
    drawn = Overlay(verdict, MEDIA).draw(Frame(1.5, _blank()))
    assert trace.tube is not None
    x0, y0, x1, _ = trace.tube.corners_at([1.5])[0]
    row = drawn[round(y0 * 359), round(x0 * 639) + 4 : round(x1 * 639) - 4]
    return (row == color_of(trace)).all(axis=1)


def test_a_weak_trace_is_dashed_and_called_a_guess() -> None:
    weak = MOVING.model_copy(update={"weak": True})
    assert _middle_of_top_side(MOVING).all()
    assert 0.2 < _middle_of_top_side(weak).mean() < 0.8
    assert name_of(MOVING, 2) == "2 Sudden blurring 0.80"
    assert name_of(weak, 2) == "2 weak guess: Sudden blurring 0.80"


LIMITS = DetectorInfo(name="tracenet", version="1", settings={"real_below": 0.3, "threshold": 0.7})


@pytest.mark.parametrize(
    ("label", "p_fake", "words"),
    [
        (Label.FAKE, 0.9, "AI-generated"),
        (Label.REAL, 0.5, "unclear"),
        (Label.REAL, 0.1, "looks real"),
    ],
)
def test_the_strip_says_the_decision_and_the_caveat(label: Label, p_fake: float, words: str) -> None:
    """What is on the strip is compared with the same words set by the same font, cut out of it."""
    verdict = FAKE.model_copy(update={"label": label, "p_fake": p_fake, "detector": LIMITS, "traces": ()})
    assert verdict.decision is not None
    assert verdict.decision.display_name == words
    strip = Overlay(verdict, MEDIA).draw(Frame(0.5, _blank()))[360:]
    assert _is_on(strip, words)
    assert _is_on(strip, CAVEAT)
    assert not _is_on(strip, "FAKE")
    assert not _is_on(strip, "REAL")


def _is_on(strip: np.ndarray, words: str) -> bool:
    """Whether the letters stand somewhere on the strip, in any of its sizes and colours."""
    paper = strip[-1, -1]
    inked = (np.abs(strip.astype(int) - paper).max(axis=2)).astype(np.float32)
    for letters in range(9, 15):
        line = tag(words, letters, (255, 255, 255), (0, 0, 0), 640).astype(np.float32).max(axis=2)
        columns = np.flatnonzero(line.any(axis=0))
        letters_only = line[np.flatnonzero(line.any(axis=1))][:, columns.min() : columns.max() + 1]
        if cv2.matchTemplate(inked, letters_only, cv2.TM_CCOEFF_NORMED).max() > 0.95:
            return True
    return False


@pytest.mark.parametrize("size", [(64, 48), (160, 284), (256, 256), (641, 361), (1920, 1080)])
def test_every_size_gives_a_canvas_that_can_be_read_and_encoded(size: tuple[int, int]) -> None:
    media = MEDIA.model_copy(update={"width": size[0], "height": size[1]})
    overlay = Overlay(FAKE, media)
    drawn = overlay.draw(Frame(1.5, _blank(*size)))
    assert drawn.shape == (overlay.size[1], overlay.size[0], 3)
    assert drawn.shape[0] % 2 == drawn.shape[1] % 2 == 0
    assert drawn.shape[1] >= 480
    assert len(_columns_of(drawn, MOVING, slice(None))) > 0


@pytest.mark.parametrize(
    "verdict",
    [
        Verdict.failed("a.mp4", Outcome.MODEL_FAILED, "out of memory"),
        Verdict(video="a.mp4", outcome=Outcome.SCORED, label=Label.REAL, p_fake=0.1),
        FAKE.model_copy(update={"traces": tuple(MOVING.model_copy(update={"score": k / 10}) for k in range(9))}),
        FAKE.model_copy(update={"traces": (Trace(explanation="somewhere"), Trace(onset_s=3.99))}),
    ],
)
def test_every_verdict_can_be_drawn(verdict: Verdict) -> None:
    for media in (MEDIA, MEDIA.model_copy(update={"duration_s": 0.0})):
        drawn = Overlay(verdict, media).draw(Frame(1.5, _blank()))
        assert drawn[360:].std() > 0


def test_a_file_with_its_times(tmp_path: Path) -> None:
    times = [0.0, 0.1, 0.5, 1.2, 1.5, 2.5]
    video = video_from_array(np.stack([_blank(320, 180)] * 6), times_s=times)
    draw_overlay(video, FAKE, tmp_path / "o.mp4")
    with open_video(tmp_path / "o.mp4") as drawn:
        frames = list(drawn.frames())
    assert [frame.time_s for frame in frames] == pytest.approx(times, abs=1e-4)
    touched = [bool((np.abs(frame.image[:340].astype(int) - 128) > 40).any()) for frame in frames]
    assert touched == [False, False, False, True, True, False]


def test_what_is_not_known_is_not_invented() -> None:
    box = Box(x0=0.1, y0=0.1, x1=0.2, y1=0.2)
    assert box_at(Trace(box=box), 3.0) == box
    assert box_at(Trace(box=box, onset_s=2.0), 1.0) is None
    assert box_at(Trace(box=box, onset_s=2.0), 9.0) == box
    assert box_at(Trace(onset_s=0.0, offset_s=9.0), 1.0) is None


def test_labels_fit() -> None:
    wide = tag("1 Background distortion 0.93", 12, (0, 0, 0), (255, 255, 255), 1000)
    narrow = tag("1 Background distortion 0.93", 12, (0, 0, 0), (255, 255, 255), 60)
    assert narrow.shape[1] <= 60 < wide.shape[1]
    assert len(set(CATEGORY_COLORS.values())) == len(Category)
    assert tick_step(0.001, 5) == 0.1
    assert 3600 / tick_step(3600.0, 8.0) <= 8


SHAPES = [(2, 2000), (3000, 1), (1, 1), (1, 9000), (9000, 4), (100, 400)]


@pytest.mark.parametrize(("width", "height"), SHAPES)
def test_any_shape_can_be_drawn_on(tmp_path: Path, width: int, height: int) -> None:
    video = video_from_array(np.full((2, height, width, 3), 128, np.uint8), fps=2)
    draw_overlay(video, FAKE, tmp_path / "a.mp4")
    with open_video(tmp_path / "a.mp4") as drawn:
        frames = list(drawn.frames())
    assert [frame.time_s for frame in frames] == [0.0, 0.5]
    shown = frames[0].image
    # Wide enough for the labels, and not many times the picture itself.
    assert shown.shape[1] >= 480
    assert max(shown.shape) <= max(9000, 4 * 480)
    assert abs(int(shown[0, 0].mean()) - 128) <= 12 or min(width, height) < 4


@pytest.mark.parametrize("fps", [1 / 86_400, 1 / 3600, 0.3, 1000.0, 100_000.0])
def test_any_rate_can_be_drawn_on(tmp_path: Path, fps: float) -> None:
    video = video_from_array(np.full((5, 90, 160, 3), 128, np.uint8), fps=fps)
    draw_overlay(video, FAKE, tmp_path / "a.mp4")
    with open_video(tmp_path / "a.mp4") as drawn:
        times = [frame.time_s for frame in drawn.frames(size=(16, 9))]
        assert times == pytest.approx([k / fps for k in range(5)], rel=1e-3)
        assert drawn.media.duration_s == pytest.approx(5 / fps, rel=1e-3)
        assert drawn.warnings == []


def test_a_strip_keeps_its_box_beside_which_its_label_stands() -> None:
    media = Media(width=40, height=2000, duration_s=4.0, fps=10.0)
    drawn = Overlay(FAKE, media).draw(Frame(1.0, _blank(40, 2000)))
    columns = _columns_of(drawn, MOVING, slice(700, 900))
    x0, _, x1, _ = MOVING.tube.corners_at([1.0])[0]  # type: ignore[union-attr]
    assert (columns.min(), columns.max()) == (pytest.approx(x0 * 39, abs=2), pytest.approx(x1 * 39, abs=2))
    label = _columns_of(drawn, MOVING, slice(540, 600))
    assert label.max() > 60
