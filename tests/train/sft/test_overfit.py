"""Tiny models learn a few planted clips by heart, as `deeptrace eval --detector hf:FOLDER` measures it."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from tests.detectors.transformers.tiny import save_tiny
from tests.train.sft.made import config_fields, write_planted

from deeptrace.evaluate.run import evaluate
from deeptrace.train.sft.config import SftConfig
from deeptrace.train.sft.run import train_sft


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["qwen2_5_vl", "video_llama_3"])
def test_planted_clips_are_learned_by_heart(kind: str, tmp_path: Path) -> None:
    base, data = save_tiny(kind, tmp_path / "base"), write_planted(tmp_path)
    changes = {"epochs": 90, "pack_tokens": 4000, "batch": 1, "learning_rate": 6e-3, "schedule": "linear"}
    trained = train_sft(SftConfig.model_validate(config_fields(base, data, tmp_path / "out", **changes)))
    found = evaluate(data, split="all", detector=f"hf:{trained.folder}", bootstrap=0).result
    assert found["per_video"]["accuracy"] == 100.0
    assert found["paper"]["bbox_iou"] > 80.0
    assert found["paper"]["time_distance"] < 10.0
