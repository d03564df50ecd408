from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from deeptrace.detectors import load_detector
from deeptrace.detectors.baselines import pixel_relation, statistic_of
from deeptrace.errors import ModelError, UndecidableError
from deeptrace.schema import Label, Outcome, Verdict
from deeptrace.video import open_video, video_from_array, write_video


def panning(steps: list[float], side: int = 96) -> np.ndarray:
    """Frames of a smooth pattern shifted by the running sum of `steps` pixels."""
    x = np.arange(side)
    offsets = np.concatenate([[0.0], np.cumsum(steps)])
    rows = [127 + 100 * np.sin((x[None, :] + shift) / 7) * np.cos(x[:, None] / 9) for shift in offsets]
    return np.repeat(np.array(rows)[..., None], 3, axis=-1).astype(np.uint8)


def statistic(name: str, frames: np.ndarray, **times: object) -> float:
    verdict = load_detector(name).detect(video_from_array(frames, **times))  # type: ignore[arg-type]
    value = statistic_of(verdict)
    assert value is not None
    return value


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clips") / "pan.mp4"
    write_video(path, iter(panning([2.0] * 15)), fps=8.0)
    return path


@pytest.mark.parametrize(
    ("name", "label", "box"),
    [
        ("all-real", Label.REAL, None),
        ("all-fake", Label.FAKE, None),
        ("full-frame", Label.FAKE, (0.0, 0.0, 1.0, 1.0)),
        ("center-box", Label.FAKE, (0.25, 0.25, 0.75, 0.75)),
    ],
)
def test_constant_answers(clip: Path, name: str, label: Label, box: tuple[float, ...] | None) -> None:
    with open_video(clip) as video:
        verdict = load_detector(f"baseline:{name}").detect(video)
    assert (verdict.outcome, verdict.label, verdict.p_fake) == (Outcome.SCORED, label, None)
    assert [trace.box.as_tuple() for trace in verdict.traces if trace.box] == ([] if box is None else [box])
    for trace in verdict.traces:
        assert (trace.onset_s, trace.offset_s) == (0.0, pytest.approx(2.0, abs=0.01))
    assert Verdict.model_validate_json(verdict.model_dump_json()) == verdict


def test_even_motion_is_more_suspicious_to_d3_than_jerky_motion() -> None:
    jerky = np.random.default_rng(0).uniform(0, 6, 23).tolist()
    assert statistic("baseline:d3", panning([3.0] * 23), fps=8.0) > statistic("baseline:d3", panning(jerky), fps=8.0)


def test_d3_on_frames_with_known_distances() -> None:
    # Flat frames at levels 0, 10, 30, 60, 100: steps 10..40 of 255, second differences all 10/255, so no spread at all.
    frames = np.array([0, 10, 30, 60, 100], np.uint8)[:, None, None, None] * np.ones((1, 40, 40, 3), np.uint8)
    video = video_from_array(frames, fps=4.0)
    detector = load_detector("baseline:d3")
    assert statistic_of(detector.detect(video)) == pytest.approx(0.0, abs=1e-6)
    (curve,) = detector.analyse(video, curves=True).curves.values()  # type: ignore[attr-defined]
    assert curve == [(pytest.approx(t), pytest.approx(10 / 255, rel=1e-4)) for t in (0.25, 0.5, 0.75)]


def test_d3_counts_fast_clips_at_its_own_rate() -> None:
    verdict = load_detector("baseline:d3").detect(video_from_array(panning([1.0] * 59), fps=60.0))
    assert verdict.media is not None
    times = np.array(verdict.media.sampled_times_s)
    assert len(times) == 8
    assert np.diff(times).min() > 0.1


def test_d3_says_what_it_lacks_on_a_short_clip() -> None:
    with pytest.raises(UndecidableError, match="only 3 frames"):
        load_detector("baseline:d3").detect(video_from_array(panning([1.0] * 2), fps=8.0))


def test_upsampled_frames_are_more_suspicious_to_npr_than_fresh_noise() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), np.uint8)
    doubled = noise[:, :32, :32].repeat(2, axis=1).repeat(2, axis=2)
    assert statistic("baseline:npr", doubled, fps=2.0) == pytest.approx(0.0, abs=1e-12)
    assert statistic("baseline:npr", noise, fps=2.0) < -0.7
    frames = load_detector("baseline:npr").detect(video_from_array(noise, fps=2.0)).segment_scores
    assert [one.onset_s for one in frames] == [0.0, 0.5, 1.0, 1.5]
    assert np.mean([one.score for one in frames]) == pytest.approx(statistic("baseline:npr", noise, fps=2.0))


def test_pixel_relation_of_white_noise() -> None:
    # Independent pixels differ by d on average; 3 of 4 do at step 2 and 15 of 16 at step 4: (3/4) / (15/16) = 0.8.
    noise = np.random.default_rng(1).integers(0, 256, (512, 512, 3), np.uint8)
    assert pixel_relation(noise) == pytest.approx(0.8, abs=0.01)


@settings(max_examples=50, deadline=None)
@given(arrays(np.uint8, st.tuples(st.integers(4, 23), st.integers(4, 23), st.just(3))))
def test_pixel_relation_is_finite_and_blind_to_brightness(image: np.ndarray) -> None:
    value = pixel_relation(image)
    assert np.isfinite(value)
    assert value >= 0
    darker = (image // 2).astype(np.uint8)
    assert pixel_relation(darker + 60) == pytest.approx(pixel_relation(darker))


def test_npr_skips_what_is_too_small() -> None:
    with pytest.raises(ModelError, match="4 x 4"):
        load_detector("baseline:npr").detect(video_from_array(np.zeros((3, 2, 2, 3), np.uint8), fps=2.0))


@pytest.mark.parametrize("name", ["baseline:d3", "baseline:npr"])
def test_the_threshold_decides_the_label(name: str) -> None:
    video = video_from_array(panning([2.0] * 11), fps=8.0)
    value = statistic_of(load_detector(name).detect(video))
    assert value is not None
    assert load_detector(name, threshold=value).detect(video).label is Label.FAKE
    assert load_detector(name, threshold=np.nextafter(value, 1).item()).detect(video).label is Label.REAL


@pytest.mark.corpus
def test_the_stated_direction_holds_on_real_footage(corpus_dir: Path) -> None:
    """D3's claim on clips of one rate: real footage at 24 to 30 fps fluctuates more than generated footage."""

    def median(pattern: str) -> float:
        values = []
        for path in sorted(corpus_dir.glob(pattern))[:12]:
            with open_video(path) as video:
                value = statistic_of(load_detector("baseline:d3").detect(video))
                assert value is not None
                values.append(value)
        return float(np.median(values))

    assert median("generated/Pika_*") > median("real/Panda*")
