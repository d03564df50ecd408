"""Tiny models learn a few planted clips by heart, as `deeptrace eval --detector hf:FOLDER` measures it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.needs import needs

needs("torch", "transformers", "accelerate")

from tests.detectors.vlm.hf.tiny import save_tiny  # noqa: E402
from tests.train.sft.made import config_fields, write_synthetic  # noqa: E402
from tests.train.sft.small import LEARNED  # noqa: E402

from deeptrace.benchmark.run import evaluate  # noqa: E402
from deeptrace.data import read_reward_data, write_reward_data  # noqa: E402
from deeptrace.detectors.vlm.calibration import read_calibration  # noqa: E402
from deeptrace.schema import Label  # noqa: E402
from deeptrace.train.sft.config import SftConfig  # noqa: E402
from deeptrace.train.sft.run import train_sft  # noqa: E402


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["qwen2_5_vl", "video_llama_3"])
def test_planted_clips_are_learned_by_heart(kind: str, tmp_path: Path) -> None:
    base, data = save_tiny(kind, tmp_path / "base"), write_synthetic(tmp_path)
    changes = LEARNED | {"epochs": 90}
    if kind == "qwen2_5_vl":
        changes |= {"validation": {"path": str(many_times(data, 4)), "split": "val"}}
    trained = train_sft(SftConfig.model_validate(config_fields(base, data, tmp_path / "out", **changes)))
    settings = {"threshold": "balanced"} if kind == "qwen2_5_vl" else None
    found = evaluate(data, split="all", detector=f"hf:{trained.folder}", settings=settings, bootstrap=0)
    assert found.result.as_json()["per_video"]["accuracy"] == 100.0
    assert found.result.as_json()["paper"]["bbox_iou"] > 80.0
    assert found.result.as_json()["paper"]["time_distance"] < 10.0
    if kind == "qwen2_5_vl":
        kept = read_calibration(trained.folder)
        assert (kept.videos, kept.fitted_on) == (24, "validation, split val")
        for verdict in found.verdicts:
            assert verdict.detector.settings["calibration"] == kept.model_dump(mode="json")
            assert verdict.detector.settings["threshold"] == kept.thresholds["balanced"]
            assert (verdict.label is Label.FAKE) == (verdict.p_fake >= kept.thresholds["balanced"])


def many_times(data: Path, count: int) -> Path:
    """The clips as `count` times as many validation videos: fewer than 20 would calibrate nothing."""
    samples = read_reward_data(data)
    again = [
        sample.model_copy(update={"video_id": f"{sample.video_id}-{k}", "split": "val"})
        for k in range(count)
        for sample in samples
    ]
    write_reward_data(again, data / "validation.json")
    return data / "validation.json"
