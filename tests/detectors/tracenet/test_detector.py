"""The whole detector over a model that can be understood: its heat is what motion does not explain."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.detectors.tracenet.clips import FPS, flickering, frames_of, panning

from deeptrace.detectors import load_detector
from deeptrace.detectors.base import AnalysingDetector, Detector
from deeptrace.detectors.tracenet import TraceNet, load
from deeptrace.detectors.tracenet.detector import UNFAMILIAR
from deeptrace.detectors.tracenet.model import CARD_NAME, shipped_folder
from deeptrace.errors import ModelError, SettingsError, UndecidableError
from deeptrace.geometry import Box
from deeptrace.inference import analyse
from deeptrace.schema import Category, Decision, Label, Outcome, Verdict
from deeptrace.video import open_video, video_from_array, write_video

ROWS, COLUMNS, MOMENTS = slice(36, 108), slice(96, 168), slice(8, 17)
BOX = Box(x0=0.5, y0=0.25, x1=0.875, y1=0.75)


@pytest.fixture(scope="module")
def detector(model_folder: Path) -> TraceNet:
    return load(str(model_folder), threshold="balanced")


@pytest.fixture(scope="module")
def calm() -> np.ndarray:
    """(24, 144, 192, 3): three seconds of a panning camera."""
    return panning(24)


@pytest.fixture(scope="module")
def flicker(calm: np.ndarray) -> np.ndarray:
    """The same with a part that flickers from 1 s to 2.125 s."""
    return flickering(calm, ROWS, COLUMNS, MOMENTS)


def judged(detector: TraceNet, pictures: np.ndarray, fps: float = FPS) -> Verdict:
    with video_from_array(pictures, fps=fps) as video:
        return detector.detect(video)


def test_it_is_a_detector_that_shows_evidence(detector: TraceNet) -> None:
    assert isinstance(detector, Detector)
    assert isinstance(detector, AnalysingDetector)
    assert detector.info.name == "tracenet"
    assert detector.info.settings["threshold_name"] == "balanced"


def test_a_flicker_is_found_where_and_when_it_is(detector: TraceNet, flicker: np.ndarray) -> None:
    verdict = judged(detector, flicker)
    assert verdict.outcome is Outcome.SCORED
    assert verdict.label is Label.FAKE
    assert verdict.p_fake > 0.5
    best = verdict.traces[0]
    assert best.box.iou(BOX) > 0.6
    assert best.onset_s == pytest.approx(1.0, abs=0.2)
    assert best.offset_s == pytest.approx(2.125, abs=0.2)
    assert best.categories[0] is next(iter(Category))
    assert "times as much as the rest" in best.explanation or "times as strongly" in best.explanation
    assert verdict.media.sampled_times_s == tuple(k / FPS for k in range(24))


def test_a_calm_clip_is_real_and_holds_no_strong_trace(detector: TraceNet, calm: np.ndarray) -> None:
    verdict = judged(detector, calm)
    assert verdict.label is Label.REAL
    assert verdict.p_fake < 0.5
    assert all(trace.score < 0.6 for trace in verdict.traces)


def test_traces_come_strongest_first_and_few(detector: TraceNet, flicker: np.ndarray) -> None:
    scores = [trace.score for trace in judged(detector, flicker).traces]
    assert scores == sorted(scores, reverse=True)
    assert len(scores) <= 5


@pytest.mark.parametrize("count", [1, 3])
def test_too_few_frames_are_undecidable_and_never_real(detector: TraceNet, calm: np.ndarray, count: int) -> None:
    with pytest.raises(UndecidableError, match=f"only {count} frame"):
        judged(detector, calm[:count])
    found = analyse(detector, video_from_array(calm[:count], fps=8.0)).verdict
    assert (found.outcome, found.label, found.p_fake) == (Outcome.UNDECIDABLE, None, None)
    assert found.media is not None
    assert found.media.frames == count


@pytest.mark.parametrize(("count", "warns"), [(4, True), (7, True), (8, False), (30, False)])
def test_few_frames_are_judged_with_a_warning(detector: TraceNet, flicker: np.ndarray, count: int, warns: bool) -> None:
    verdict = judged(detector, np.concatenate([flicker, flicker])[:count])
    assert verdict.p_fake is not None
    assert bool(verdict.warnings) == warns


def test_a_trace_in_a_later_window_is_found_in_its_own_time(detector: TraceNet, calm: np.ndarray) -> None:
    long = np.concatenate([calm, calm[::-1], calm])
    start = 57
    verdict = judged(detector, flickering(long, ROWS, COLUMNS, slice(start, start + 9)))
    assert verdict.traces[0].box.iou(BOX) > 0.6
    assert verdict.traces[0].onset_s == pytest.approx(start / FPS, abs=0.2)
    assert verdict.traces[0].offset_s == pytest.approx((start + 9) / FPS, abs=0.2)


def test_the_same_video_gets_the_same_verdict_whatever_the_threads(detector: TraceNet, flicker: np.ndarray) -> None:
    before = cv2.getNumThreads()
    verdicts = []
    try:
        for threads in (1, 2, 1):
            cv2.setNumThreads(threads)
            verdicts.append(judged(detector, flicker).model_dump())
    finally:
        cv2.setNumThreads(before)
    assert verdicts[0] == verdicts[1] == verdicts[2]


def test_a_file_and_its_frames_in_memory_agree(detector: TraceNet, flicker: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    write_video(path, iter(flicker), fps=FPS, crf=10)
    with open_video(path) as video:
        on_disk = detector.detect(video)
    in_memory = judged(detector, flicker)
    assert on_disk.video == str(path)
    assert on_disk.label is in_memory.label
    assert on_disk.traces[0].box.iou(in_memory.traces[0].box) > 0.7


def test_evidence_is_what_the_verdict_rests_on(detector: TraceNet, flicker: np.ndarray) -> None:
    with video_from_array(flicker, fps=FPS) as video:
        found = detector.analyse(video, curves=True)
        verdict, curves = found.verdict, found.curves
    assert verdict == judged(detector, flicker)
    chance = curves["chance that this segment is generated"]
    assert chance == [(0.0, verdict.p_fake), (verdict.media.sampled_times_s[-1], verdict.p_fake)]
    residual = dict(curves["change that motion does not explain (grey levels)"])
    assert 0.0 not in residual  # the first frame has none before it
    during = np.mean([value for time, value in residual.items() if 1.0 <= time < 2.0])
    before = np.mean([value for time, value in residual.items() if time < 0.9])
    assert during > 2 * before
    scores = verdict.segment_scores
    assert [(one.onset_s, one.score) for one in scores] == chance[: len(scores)]
    assert scores[-1].offset_s == verdict.media.sampled_times_s[-1]


def test_thresholds_are_named_or_numbers(model_folder: Path) -> None:
    assert load(str(model_folder), threshold="fpr_1").info.settings["threshold"] == 0.9
    assert load(str(model_folder), threshold=0.25).info.settings["threshold"] == 0.25
    assert "threshold_name" not in load(str(model_folder), threshold=0.25).info.settings


def test_the_threshold_decides_the_label(model_folder: Path, flicker: np.ndarray, calm: np.ndarray) -> None:
    assert judged(load(str(model_folder), threshold=0.0), calm).label is Label.FAKE
    assert judged(load(str(model_folder), threshold=1.0), calm).label is Label.REAL


@pytest.mark.parametrize("prior", [0.01, 0.2, 0.9])
def test_a_prior_moves_chances_and_thresholds_alike(model_folder: Path, flicker: np.ndarray, prior: float) -> None:
    even, moved = load(str(model_folder)), load(str(model_folder), prior=prior)
    before, after = judged(even, flicker), judged(moved, flicker)
    odds = before.p_fake / (1 - before.p_fake) * prior / (1 - prior)
    assert after.p_fake == pytest.approx(odds / (1 + odds))
    assert (after.label, after.decision) == (before.label, before.decision)
    assert after.traces == before.traces
    low, high = (detector.info.thresholds for detector in (even, moved))
    assert (low < high) == (prior > 0.5)
    assert moved.info.settings["prior"] == prior
    assert "prior" not in even.info.settings


def test_a_number_is_a_threshold_of_the_chance_that_is_shown(model_folder: Path, flicker: np.ndarray) -> None:
    shown = judged(load(str(model_folder), prior=0.01), flicker).p_fake
    for step, label in ((-0.001, Label.FAKE), (0.001, Label.REAL)):
        assert judged(load(str(model_folder), prior=0.01, threshold=shown + step), flicker).label is label


def test_a_low_minimum_shows_weaker_traces(model_folder: Path, flicker: np.ndarray) -> None:
    strict = judged(load(str(model_folder), min_score=1.0, threshold=1.0), flicker)
    lax = judged(load(str(model_folder), min_score=0.0, threshold=1.0), flicker)
    assert len(strict.traces) < len(lax.traces)


def test_an_edit_is_told_by_presence_and_once(model_folder: Path, flicker: np.ndarray, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(model_folder, tmp_path / "model"))
    card = json.loads((folder / CARD_NAME).read_text())
    card["calibration"] |= {"edited": 1.0, "edited_bias": -2.0, "local": 4.0, "local_edited": 0.0, "local_bias": 0.0}
    (folder / CARD_NAME).write_text(json.dumps(card))
    before = judged(load(str(model_folder), min_score=0.0), flicker)
    verdict = judged(load(str(folder), min_score=0.0), flicker)
    assert verdict.p_fake > before.p_fake
    assert verdict.traces[0].score > before.traces[0].score  # the better of the two that lie there is named
    assert verdict.traces[0].box.iou(BOX) > 0.6
    for index, one in enumerate(verdict.traces):
        for other in verdict.traces[:index]:
            assert one.box.iou(other.box) <= 0.5 or one.interval.tiou(other.interval) == 0.0


def test_a_fake_without_a_strong_trace_names_its_best(model_folder: Path, flicker: np.ndarray) -> None:
    assert len(judged(load(str(model_folder), min_score=1.0), flicker).traces) == 1


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        *(("threshold", value) for value in ("fpr_2", 1.5, -0.1, float("nan"), None, True, [0.5])),
        *(("min_score", value) for value in (2.0, "0.5", None)),
        *(("prior", value) for value in (0, 1.0, float("nan"), "0.5", None)),
    ],
)
def test_settings_that_make_no_sense_are_named(model_folder: Path, setting: str, value: object) -> None:
    with pytest.raises(SettingsError, match=setting):
        load(str(model_folder), **{setting: value})


def test_the_registry_knows_it_by_name_and_folder(model_folder: Path, tmp_path: Path) -> None:
    assert load_detector(f"tracenet:{model_folder}").info.name == "tracenet"
    with pytest.raises(ModelError, match=r"no tracenet\.json there"):
        load_detector(f"tracenet:{tmp_path}")


def test_the_shipped_weights_judge_a_clip(calm: np.ndarray) -> None:
    if not (shipped_folder() / CARD_NAME).is_file():
        pytest.skip("this checkout holds no weights")
    verdict = judged(load(), calm)
    assert verdict.outcome is Outcome.SCORED
    assert 0.0 <= verdict.p_fake <= 1.0


def test_by_default_one_camera_clip_in_twenty_may_be_called_generated(model_folder: Path) -> None:
    assert load(str(model_folder)).info.settings["threshold_name"] == "fpr_5"


def test_what_no_camera_shows_is_unclear_whatever_its_score(tmp_path: Path) -> None:
    """Cells that are black or white by chance, which no training clip is like, against a clip of a photograph."""
    rng = np.random.default_rng(0)
    cells = rng.integers(0, 2, (24, 64, 96, 1), np.uint8) * 255
    write_video(tmp_path / "cells.mp4", frames_of(cells.repeat(4, 1).repeat(4, 2).repeat(3, 3)), fps=FPS, crf=12)
    verdicts = {}
    for path in (tmp_path / "cells.mp4", Path("examples/coffee.mp4")):
        with open_video(path) as video:
            verdicts[path.stem] = load().detect(video)
    assert verdicts["cells"].unfamiliar
    assert verdicts["cells"].decision is Decision.UNCLEAR
    assert UNFAMILIAR in verdicts["cells"].warnings
    assert not verdicts["coffee"].unfamiliar
    assert UNFAMILIAR not in verdicts["coffee"].warnings
