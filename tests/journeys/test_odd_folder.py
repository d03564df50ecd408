"""A folder of odd and broken files: a right answer or one clear line each, no traceback, and none stops the rest."""

from __future__ import annotations

import json
from pathlib import Path

from deeptrace.errors import VideoTooLargeError
from deeptrace.inference import read_verdicts
from deeptrace.schema import Outcome, Verdict

ODD = 25


def test_every_file_gets_its_answer(deeptrace, odd_folder, tmp_path: Path) -> None:
    folder, expected = odd_folder
    assert len(expected) >= ODD
    named = [str(folder / name) for name in expected]
    result = deeptrace("detect", *named, "--detector", "baseline:full-frame", "--json", "--out", "run", "--workers", 2)
    assert "Traceback" not in result.stderr
    verdicts = {verdict.video: verdict for verdict in map(Verdict.model_validate_json, result.stdout.splitlines())}
    assert list(verdicts) == named
    for name, wanted in expected.items():
        verdict = verdicts[str(folder / name)]
        if wanted.error is None:
            assert verdict.outcome is Outcome.SCORED, (name, verdict.error)
            assert verdict.media is not None
            assert (verdict.media.width, verdict.media.height) == wanted.size, name
        else:
            too_large = wanted.error is VideoTooLargeError
            assert verdict.outcome is (Outcome.TOO_LARGE if too_large else Outcome.DECODE_FAILED), name
            assert verdict.error, name
            assert "\n" not in verdict.error, name
            assert wanted.says.lower() in verdict.error.lower(), (name, verdict.error)
    failed = sum(wanted.error is not None for wanted in expected.values())
    assert failed
    assert result.returncode == 1
    assert f", {failed} failed; " in result.stderr
    assert read_verdicts(tmp_path / "run/verdicts.jsonl") == list(verdicts.values())


def test_decoding_every_frame_of_them_stops_nothing(deeptrace, odd_folder, tmp_path: Path) -> None:
    """The same files through a detector that reads pictures, into overlays and a report with a copy of each."""
    folder, expected = odd_folder
    result = deeptrace(
        "detect", folder, "--detector", "baseline:npr", "--json", "--report", "--overlay", "--out", "run"
    )
    assert "Traceback" not in result.stderr
    assert result.returncode == 1
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    good = {name for name, wanted in expected.items() if wanted.error is None}
    scored = {Path(line["video"]).relative_to(folder).as_posix() for line in lines if line["outcome"] == "scored"}
    assert scored <= good
    seen = {Path(line["video"]).relative_to(folder).as_posix() for line in lines}
    assert len(list((tmp_path / "run/overlays").iterdir())) == len(scored)
    assert not [line for line in lines if any("missing:" in warning for warning in line["warnings"])]
    # What is left: too small or too short for the statistic, which is said.
    for name in (good & seen) - scored:
        error = next(line["error"] for line in lines if line["video"].endswith(name))
        assert "4 x 4" in error or "too few to tell" in error, (name, error)
