"""Measures of flaws that need no mark: each rises with its flaw, and not with what is none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from deeptrace.detectors.tracenet.evidence import evidence_of
from deeptrace.detectors.tracenet.flaw_measures import (
    MEASURES,
    broken_trajectory,
    expected_of,
    frame_flicker,
    identity_drift,
)
from deeptrace.detectors.tracenet.model import FLAWS_NAME, TraceNetModel, shipped_folder
from deeptrace.detectors.tracenet.windows import read_windows
from deeptrace.errors import ModelError
from deeptrace.metrics.reward import explain_reward
from deeptrace.schema import Verdict
from deeptrace.video import Frame, video_from_array

COUNT, SIZE = 20, 192
TIMES = np.arange(COUNT) / 8


def clip(x: np.ndarray, colours: np.ndarray | None = None) -> np.ndarray:
    """(COUNT, SIZE, SIZE, 3): a textured patch over a textured ground, at columns `x` (COUNT,), times `colours`."""
    rng = np.random.default_rng(3)
    ground, skin = (cv2.GaussianBlur(rng.normal(0, 1, (n, n, 3)), (0, 0), 2.0) for n in (SIZE, 64))
    frames = np.repeat((110 + 160 * ground)[None], COUNT, axis=0)
    for index, column in enumerate(np.round(x).astype(int)):
        tint = np.ones(3) if colours is None else colours[index]
        frames[index, 60:124, column : column + 64] = (np.array([200, 150, 70]) + 200 * skin) * tint
    return np.clip(frames, 0, 255).astype(np.uint8)


def maps(frames: np.ndarray) -> np.ndarray:
    return np.stack([one.maps for one in evidence_of(Frame(t, f) for t, f in zip(TIMES, frames, strict=True))])


STEADY = clip(10 + 5 * np.arange(COUNT))


def test_a_picture_whose_brightness_goes_up_and_down_flickers_and_a_brighter_one_does_not():
    unsteady = STEADY * np.where(np.arange(COUNT) % 2, 0.9, 1.0)[:, None, None, None]
    usual = frame_flicker(maps(STEADY))
    assert frame_flicker(maps(unsteady.astype(np.uint8))) > 0.1 > 10 * usual
    darker = frame_flicker(maps((unsteady * 0.8).astype(np.uint8)))
    assert darker == pytest.approx(frame_flicker(maps(unsteady.astype(np.uint8))), rel=0.05)


def test_what_jumps_to_and_fro_breaks_its_trajectory_and_what_goes_on_does_not():
    jumping = clip(60 + 8 * np.where(np.arange(COUNT) % 2, 1, -1))
    assert broken_trajectory(maps(jumping), TIMES) > 2 * broken_trajectory(maps(STEADY), TIMES)


def test_what_changes_its_colours_on_the_way_drifts():
    way = 60 + np.arange(COUNT)
    fading = clip(way, np.linspace([1, 1, 1], [0.3, 1.2, 2.0], COUNT))
    assert identity_drift(maps(fading), TIMES) > 1.5 * identity_drift(maps(clip(way)), TIMES)


@pytest.mark.parametrize("name", MEASURES)
def test_a_clip_in_which_nothing_happens_shows_none_of_them(name: str):
    still = np.repeat(STEADY[:1], COUNT, axis=0)
    assert MEASURES[name](maps(still), TIMES) == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("name", MEASURES)
def test_two_frames_are_too_few_and_no_error(name: str):
    assert MEASURES[name](maps(STEADY)[:2], TIMES[:2]) == 0


def test_what_is_expected_takes_the_motion_out():
    rng = np.random.default_rng(0)
    motion = rng.normal(-1, 1, 400)
    camera = np.stack([0.3 + slope * motion + rng.normal(0, 0.2, 400) for slope in (0.0, 0.8, -0.5)] + [motion], axis=1)
    found = expected_of(camera)
    for column, one in zip(camera.T[:3], found.values(), strict=True):
        beyond = np.array([one.beyond(value, moved) for value, moved in zip(column, motion, strict=True)])
        assert one.spread == pytest.approx(0.2, rel=0.1)
        assert abs(beyond.mean()) < 1e-6
        assert abs(np.corrcoef(beyond, motion)[0, 1]) < 1e-6
    assert expected_of(camera[:3]) == {}


def flaws_by(model: TraceNetModel):
    (window,) = read_windows(video_from_array(STEADY, times_s=list(TIMES)), encoder=model.encoder)
    assert model.flaws is not None
    return model.flaws.flaws(model.score(window).flaws)


def test_measures_are_shown_beside_the_severity_and_have_no_share_in_it():
    flaws = flaws_by(TraceNetModel.load())
    assert set(flaws.measures) == set(MEASURES)
    assert not set(flaws.measures) & set(flaws.parts)
    assert flaws.severity == pytest.approx(sum(flaws.parts.values()))
    verdict = Verdict(video="a", outcome="scored", label="FAKE", p_fake=0.5, flaws=flaws)
    without = verdict.model_copy(update={"flaws": flaws.model_copy(update={"measures": {}})})
    assert explain_reward(verdict).measures == flaws.measures
    assert explain_reward(verdict).reward == explain_reward(without).reward


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(str(shipped_folder()), tmp_path / "model"))


def test_a_ranker_of_before_there_were_measures_is_read_and_shows_none(folder: Path):
    ranker = json.loads((folder / FLAWS_NAME).read_text())
    (folder / FLAWS_NAME).write_text(json.dumps({k: v for k, v in ranker.items() if k != "expected"}))
    flaws = flaws_by(TraceNetModel.load(folder))
    assert flaws.measures == {}
    assert flaws.severity == pytest.approx(flaws_by(TraceNetModel.load()).severity, rel=1e-4)


def test_a_measure_that_this_version_does_not_know_is_an_error_that_names_it(folder: Path):
    ranker = json.loads((folder / FLAWS_NAME).read_text())
    ranker["expected"]["smell"] = ranker["expected"]["frame_flicker"]
    (folder / FLAWS_NAME).write_text(json.dumps(ranker))
    with pytest.raises(ModelError, match="smell"):
        TraceNetModel.load(folder)
