"""The stage in a pipeline of NeMo Curator 1.4, run by its own executor on a local Ray."""

from __future__ import annotations

import logging
from pathlib import Path
from uuid import UUID

import pytest
from tests.needs import needs

needs("nemo_curator", "ray")

import ray  # noqa: E402
from nemo_curator.backends.ray_data import RayDataExecutor  # noqa: E402
from nemo_curator.pipeline import Pipeline  # noqa: E402
from nemo_curator.tasks.video import Clip, Video, VideoTask  # noqa: E402

from deeptrace.scale.curator import DropGeneratedStage  # noqa: E402

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def clip(number: int, content: bytes | None) -> Clip:
    return Clip(uuid=UUID(int=number), source_video="film.mp4", span=(4.0 * number, 4.0 * number + 4), buffer=content)


def test_generated_clips_leave_the_pipeline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that look real go on; the others stand among the filtered ones; a whole video that looks so is left out."""
    real, fake = (EXAMPLES / name for name in ("coffee.mp4", "coffee_trace.mp4"))
    cut = [clip(0, real.read_bytes()), clip(1, fake.read_bytes()), clip(2, b"no video"), clip(3, None)]
    tasks = [
        VideoTask(dataset_name="films", data=Video(input_video=Path("film.mp4"), clips=cut)),
        VideoTask(dataset_name="films", data=Video(input_video=fake)),
        VideoTask(dataset_name="films", data=Video(input_video=real)),
    ]
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(
        address="local", num_cpus=2, object_store_memory=200 << 20, include_dashboard=False, logging_level=logging.ERROR
    )
    stage = DropGeneratedStage(settings={"threshold": 0.9}, cpus=0.5)
    found = Pipeline(name="curate", stages=[stage]).run(RayDataExecutor(), initial_tasks=tasks)  # which ends Ray
    assert not ray.is_initialized()
    assert found is not None
    films = {str(task.data.input_video): task.data for task in found}
    assert films.keys() == {"film.mp4", str(real)}
    film = films["film.mp4"]
    assert [one.uuid.int for one in film.clips] == [0]
    assert [one.uuid.int for one in film.filtered_clips] == [1, 2, 3]
    said = [one.errors["deeptrace_drop_generated"] for one in film.filtered_clips]
    assert said[0].startswith("looks AI-generated: p_fake 0.9")
    assert said[1:] == ["no verdict: decode_failed"] * 2


def test_clips_without_a_verdict_may_stay() -> None:
    task = VideoTask(dataset_name="films", data=Video(input_video=Path("film.mp4"), clips=[clip(0, b"no video")]))
    stage = DropGeneratedStage(detector="baseline:all-fake", keep_failed=True)
    try:
        assert stage.process(task) is task
    finally:
        stage.teardown()
    assert len(task.data.clips) == 1
    assert not task.data.filtered_clips
