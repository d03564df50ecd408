"""Content Credentials stand beside the verdict, whichever way a clip comes in, and change nothing of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.signing import EXAMPLE, Authority, change_a_picture, make_authority, sign

from deeptrace.inference import detect, run
from deeptrace.schema import CredentialsState, Outcome, StatedOrigin, Verdict
from deeptrace.video import Frame, open_video, video_from_array, write_video


@pytest.fixture(scope="module")
def authority() -> Authority:
    return make_authority()


@pytest.fixture
def clips(tmp_path: Path, authority: Authority) -> list[str]:
    """The example unsigned, signed, and changed after signing."""
    signed = sign(EXAMPLE, tmp_path / "signed.mp4", authority)
    changed = tmp_path / "changed.mp4"
    changed.write_bytes(signed.read_bytes())
    return [str(EXAMPLE), str(signed), str(change_a_picture(changed))]


STATES = [CredentialsState.ABSENT, CredentialsState.UNTRUSTED, CredentialsState.BROKEN]


@pytest.mark.parametrize("workers", [None, 2])
def test_a_signature_changes_nothing_of_the_verdict(clips: list[str], workers: int | None) -> None:
    verdicts = [detect(clip, workers=workers) for clip in clips[:1]] + detect(clips[1:], workers=workers)
    found = [verdict.content_credentials for verdict in verdicts]
    assert [one and one.state for one in found] == STATES
    assert found[1] is not None
    assert found[1].origin is StatedOrigin.GENERATED
    plain, signed, _ = verdicts
    assert plain.p_fake is not None
    assert signed.p_fake == pytest.approx(plain.p_fake, abs=1e-6)  # sums of floats differ from run to run
    assert signed.reward == pytest.approx(plain.reward, abs=1e-6)
    assert (signed.label, signed.decision) == (plain.label, plain.decision)
    assert [trace.categories for trace in signed.traces] == [trace.categories for trace in plain.traces]
    assert [Verdict.model_validate_json(one.model_dump_json()) for one in verdicts] == verdicts


def test_a_clip_without_an_answer_has_its_credentials_all_the_same(
    tmp_path: Path, authority: Authority, hostile: str
) -> None:
    with open_video(EXAMPLE) as video:
        still = next(video.frames()).image
    write_video(tmp_path / "short.mp4", iter([Frame(0.0, still), Frame(0.1, still)]), fps=10.0)
    undecided = detect(str(sign(tmp_path / "short.mp4", tmp_path / "few.mp4", authority)))
    failed = detect(str(sign(EXAMPLE, tmp_path / "KeyError.mp4", authority)), hostile)
    assert (undecided.outcome, failed.outcome) == (Outcome.UNDECIDABLE, Outcome.MODEL_FAILED)
    for verdict in (undecided, failed):
        assert verdict.content_credentials is not None
        assert verdict.content_credentials.state is CredentialsState.UNTRUSTED


def test_frames_in_memory_have_none_to_look_for() -> None:
    with open_video(EXAMPLE) as video:
        images = np.stack([frame.image for frame in video.frames(end_s=1.0)])
    (result,) = run([video_from_array(images, fps=24.0)], "baseline:all-real", inline=True)
    assert result.verdict.label is not None
    assert result.verdict.content_credentials is None
