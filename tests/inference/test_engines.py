"""A model that takes several videos at once: bucketed, in order, and every failure its own."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeptrace.benchmark.predict import DetectorRunner
from deeptrace.errors import AnswerError, NoFramesError, SettingsError
from deeptrace.inference import Job, detect
from deeptrace.inference.executor import open_executor
from deeptrace.inference.executors.engines import next_batch
from deeptrace.schema import DetectorInfo, Label, Outcome, Sample, Verdict
from deeptrace.video import Video, write_video


@dataclass(frozen=True)
class Clip:
    path: str
    level: float
    length: int


class Brightness:
    """Says FAKE of bright videos, in batches, and keeps the names of each batch."""

    info = DetectorInfo(name="brightness", version="1")

    def __init__(self, batch_size: int = 3) -> None:
        self.batch_size, self.batches = batch_size, list[list[str]]()

    def prepare(self, video: Video) -> Clip:
        if "undecodable" in video.path:
            raise NoFramesError(video.path, "as asked")
        frames = list(video.frames())
        return Clip(video.path, float(np.mean([frame.image.mean() for frame in frames])), len(frames))

    def detect_batch(self, prepared: list[Clip]) -> list[Verdict]:
        self.batches.append([os.path.basename(clip.path) for clip in prepared])
        if any("poison" in clip.path for clip in prepared):
            raise AnswerError("", "unreadable, as asked")
        return [self._verdict(clip) for clip in prepared]

    def detect(self, video: Video) -> Verdict:
        return self.detect_batch([self.prepare(video)])[0]

    def _verdict(self, clip: Clip) -> Verdict:
        label = Label.FAKE if clip.level > 100 else Label.REAL
        return Verdict(video="?", outcome=Outcome.SCORED, label=label, p_fake=clip.level / 255, detector=self.info)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips a.mp4 to h.mp4 of 2 or 7 frames, dark to bright; one that does not open; one that does not decode."""
    made = tmp_path_factory.mktemp("batches")
    for at, name in enumerate("abcdefgh"):
        frames = (np.full((32, 32, 3), 20 + 30 * at, np.uint8) for _ in range(7 if at % 2 else 2))
        write_video(made / f"{name}.mp4", frames, fps=4.0)
    (made / "broken.mp4").write_bytes(b"no video")
    shutil.copy(made / "a.mp4", made / "undecodable.mp4")
    return made


def paths(folder: Path, *names: str) -> list[str]:
    return [str(folder / f"{name}.mp4") for name in names]


def test_every_video_gets_its_own_verdict_whatever_the_batch(folder: Path) -> None:
    asked = paths(folder, *"abcd", "broken", *"efgh", "undecodable")
    batched, single = Brightness(3), Brightness(1)
    with open_executor(batched) as executor:
        found = {result.name: result for result in executor.run(asked)}
    assert set(found) == set(asked)
    alone = {path: detect(path, single) for path in asked}
    for path in asked:
        one = found[path].verdict
        kept = {"elapsed_s": None}
        assert one.model_copy(update=kept) == alone[path].model_copy(update=kept)
        assert one.elapsed_s is not None
    assert sorted(path for path in asked if found[path].verdict.label is None) == paths(folder, "broken", "undecodable")
    assert max(map(len, batched.batches)) == 3
    assert sorted(name for batch in batched.batches for name in batch) == [f"{name}.mp4" for name in "abcdefgh"]


def test_a_batch_that_fails_is_asked_one_by_one(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "a.mp4", tmp_path / "poison.mp4")
    asked = [*paths(folder, "a", "b"), str(tmp_path / "poison.mp4")]
    verdicts = detect(asked, Brightness(3))
    assert [verdict.outcome for verdict in verdicts] == [Outcome.SCORED, Outcome.SCORED, Outcome.PARSE_FAILED]
    assert "unreadable, as asked" in verdicts[2].error


def test_overlays_are_drawn_and_repeats_are_judged_once(folder: Path, tmp_path: Path) -> None:
    with open_executor(Brightness(2)) as executor:
        assert len(list(executor.run(paths(folder, "a", "b"), Job(overlay_dir=str(tmp_path / "o"))))) == 2
    assert len(list((tmp_path / "o").glob("*.mp4"))) == 2
    verdicts = detect(paths(folder, "a", "h", "a"), Brightness(2))
    assert [verdict.label for verdict in verdicts] == [Label.REAL, Label.FAKE, Label.REAL]


def test_a_loaded_detector_works_in_batches_in_eval_too(folder: Path) -> None:
    detector = Brightness(4)
    samples = [Sample(video_id=name, path=f"{name}.mp4") for name in "abcdefgh"]
    with DetectorRunner(detector, {}) as runner:
        verdicts = runner.run(samples, str(folder))
    assert [verdict.video for verdict in verdicts] == [f"{name}.mp4" for name in "abcdefgh"]
    assert [verdict.label for verdict in verdicts] == [Label.REAL] * 3 + [Label.FAKE] * 5
    assert len(detector.batches) < 8


def test_what_cannot_be_had_in_this_process_is_said() -> None:
    with pytest.raises(SettingsError, match="cannot be had in this process"):
        open_executor(Brightness(), timeout_s=3.0)
    with pytest.raises(SettingsError, match="by name"):
        open_executor(Brightness(), {"batch_size": 2})
    with pytest.raises(SettingsError, match="positive"):
        open_executor(Brightness(), workers=0)


@dataclass(eq=False)
class Waits:
    prepared: Clip


@given(st.lists(st.integers(1, 50), min_size=1, max_size=30), st.integers(1, 8))
def test_a_batch_holds_the_oldest_and_its_nearest(lengths: list[int], size: int) -> None:
    waiting = [Waits(Clip("", 0.0, length)) for length in lengths]
    oldest, before = waiting[0], list(waiting)
    batch = next_batch(waiting, size)  # type: ignore[arg-type]
    assert oldest in batch
    assert len(batch) == min(size, len(before))
    assert sorted(map(id, batch + waiting)) == sorted(map(id, before))
    inside = sorted(one.prepared.length for one in batch)
    everything = sorted(lengths)
    spreads = [
        everything[i + len(batch) - 1] - everything[i]
        for i in range(len(everything) - len(batch) + 1)
        if oldest.prepared.length in everything[i : i + len(batch)]
    ]
    assert inside[-1] - inside[0] == min(spreads)
