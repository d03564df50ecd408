from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from tests.plug_ins import plug_in

import deeptrace
from deeptrace.detectors import load_detector
from deeptrace.errors import UnknownDetectorError
from deeptrace.inference import Job, analyse, detect
from deeptrace.inference.one_clip import failed_verdict, overlay_name
from deeptrace.reward import scalar_reward
from deeptrace.schema import Label, Outcome, Verdict
from deeptrace.video import open_video

TELLING_THE_WAY = """
    import traceback
    from deeptrace.errors import ModelError
    from deeptrace.schema import DetectorInfo

    class TellingTheWay:
        info = DetectorInfo(name="way:", version="1")

        def detect(self, video):
            frames = [frame.name for frame in traceback.extract_stack() if "/deeptrace/" in frame.filename]
            raise ModelError("way", " > ".join(name for name in frames if not name.startswith("<")))

    def load(rest): return TellingTheWay()
"""


def test_one_path_gives_one_verdict_filled_in(clip: Path) -> None:
    verdict = deeptrace.detect(clip, "baseline:center-box", size=0.4)
    assert (verdict.outcome, verdict.label) == (Outcome.SCORED, Label.FAKE)
    assert verdict.video == str(clip)
    assert verdict.media is not None
    assert (verdict.media.width, verdict.media.height) == (64, 48)
    assert verdict.elapsed_s is not None
    assert verdict.elapsed_s > 0
    assert verdict.reward == scalar_reward(verdict)
    assert verdict.traces[0].box is not None
    assert verdict.traces[0].box.width == pytest.approx(0.4)
    assert Verdict.model_validate_json(verdict.model_dump_json()) == verdict


def test_several_paths_give_a_list_in_order(clip: Path, tmp_path: Path) -> None:
    detector = load_detector("baseline:all-real")
    verdicts = detect([tmp_path / "gone.mp4", clip], detector)
    assert [verdict.outcome for verdict in verdicts] == [Outcome.DECODE_FAILED, Outcome.SCORED]
    assert verdicts[0].error == "no such file. Check the path."
    assert verdicts[0].detector == detector.info


def test_three_calls_lead_to_the_detector_here_and_in_a_worker(clip: Path, tmp_path: Path) -> None:
    with plug_in(tmp_path, "way", TELLING_THE_WAY) as name:
        (here,), there = detect([clip], load_detector(name)), detect(clip, name, workers=1)
    assert here.error is not None
    assert here.error.endswith("detect > run > analyse")
    assert there.error is not None
    assert there.error.endswith("main > put > analyse")


def test_an_unknown_detector_raises(clip: Path) -> None:
    with pytest.raises(UnknownDetectorError):
        detect(clip, "baseline:none-such")


@pytest.mark.parametrize(
    ("kind", "outcome"),
    [
        ("ModelError", Outcome.MODEL_FAILED),
        ("ServiceError", Outcome.MODEL_FAILED),
        ("KeyError", Outcome.MODEL_FAILED),
        ("RefusalError", Outcome.REFUSED),
        ("AnswerError", Outcome.PARSE_FAILED),
        ("NoFramesError", Outcome.DECODE_FAILED),
        ("MemoryError", Outcome.TOO_LARGE),
        ("VideoTooLargeError", Outcome.TOO_LARGE),
        ("UndecidableError", Outcome.UNDECIDABLE),
    ],
)
def test_every_failure_is_an_outcome(clip: Path, tmp_path: Path, hostile: str, kind: str, outcome: Outcome) -> None:
    path = tmp_path / f"{kind}.mp4"
    shutil.copy(clip, path)
    verdict = detect(path, hostile)
    assert verdict.outcome is outcome
    assert verdict.label is None
    assert verdict.p_fake is None
    assert verdict.reward is None
    assert verdict.error
    assert str(path) not in verdict.error
    assert "\n" not in verdict.error


@pytest.mark.parametrize(
    ("name", "words"), [("nothing", "expected a Verdict of the detector but got NoneType"), ("surrogate", "as JSON")]
)
def test_what_no_file_can_hold_costs_one_clip(clip: Path, tmp_path: Path, hostile: str, name: str, words: str) -> None:
    paths = [tmp_path / f"{name}.mp4", tmp_path / "sound.mp4"]
    for path in paths:
        shutil.copy(clip, path)
    failed, sound = detect(paths, hostile)
    assert (failed.outcome, sound.outcome) == (Outcome.MODEL_FAILED, Outcome.SCORED)
    assert words in str(failed.error)
    assert failed.detector == sound.detector
    assert Verdict.model_validate_json(failed.model_dump_json()) == failed


def test_an_error_that_quotes_all_it_was_given_is_cut() -> None:
    error = failed_verdict("a.mp4", Outcome.MODEL_FAILED, "a.mp4: " + "x" * 100_000).error
    assert error == "x" * 1999 + "…"


def test_a_name_that_is_no_utf8_is_an_outcome(clip: Path, tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/caf\xe9.mp4"
    shutil.copy(os.fsencode(clip), path)
    verdict = detect(os.fsdecode(path), "baseline:all-real")
    assert verdict.outcome is Outcome.DECODE_FAILED
    assert "UTF-8" in (verdict.error or "")
    assert Verdict.model_validate_json(verdict.model_dump_json()) == verdict


def test_evidence_comes_when_asked_for_without_what_json_cannot_carry(clip: Path, hostile: str) -> None:
    detector = load_detector(hostile)
    assert analyse(detector, str(clip)).curves == {}
    assert analyse(detector, str(clip), Job(evidence=True)).curves == {"steps": [(0.0, 1.0), (1.0, 2.0)]}


def test_an_overlay_is_the_clip_with_the_box_drawn_in(clip: Path, tmp_path: Path) -> None:
    found = analyse(load_detector("baseline:center-box"), str(clip), Job(overlay_dir=str(tmp_path / "over")))
    assert found.verdict.warnings == ()
    with open_video(clip) as video:
        plain = list(video.frames())
    with open_video(tmp_path / "over" / overlay_name(str(clip))) as video:
        drawn = list(video.frames())
    assert [frame.time_s for frame in drawn] == pytest.approx([frame.time_s for frame in plain], abs=1e-4)
    # The clip is one even grey: whatever differs from it was drawn. The box's left edge is at a quarter of the width.
    picture = drawn[4].image[: drawn[4].image.shape[1] * 48 // 64].astype(int)
    differs = np.abs(picture - plain[4].image[0, 0].astype(int)).max(axis=2) > 40
    height, width = differs.shape
    edge = round(width * 0.25)
    assert differs[height // 2, edge - 4 : edge + 5].any()
    assert not differs[height // 2, round(width * 0.35) : round(width * 0.65)].any()


def test_an_overlay_that_fails_is_a_warning_not_a_failure(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "over").write_text("a file where a folder should be")
    found = analyse(load_detector("baseline:center-box"), str(clip), Job(overlay_dir=str(tmp_path / "over")))
    assert found.verdict.outcome is Outcome.SCORED
    assert "overlay is missing" in found.verdict.warnings[0]


def test_overlay_names_are_safe_and_never_meet() -> None:
    names = [
        overlay_name(path) for path in ("a/clip.mp4", "b/clip.mp4", "s3://x/../../etc/clip.mp4", "a/<b>&.mp4", "...")
    ]
    assert len(set(names)) == 5
    for name in names:
        assert Path(name).name == name
        assert name.endswith(".mp4")
        assert not name.startswith(".")
        assert name.isascii()
