"""A small autoencoder is trained on real footage, written, and read by what launders clips."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from tests.benchmark.test_seen_in_training import data_of
from tests.needs import needs

needs("torch", "onnxscript")

from deeptrace.errors import DataError  # noqa: E402
from deeptrace.train.autoencoder import train_autoencoder  # noqa: E402
from deeptrace.video import open_video  # noqa: E402
from deeptrace.video.transforms.launder import Autoencode  # noqa: E402

COFFEE = Path(__file__).resolve().parents[2] / "examples" / "coffee.mp4"


def test_it_learns_and_takes_any_size(tmp_path: Path) -> None:
    data = data_of(tmp_path / "data", [(COFFEE, False)] * 3)
    told: list[str] = []
    found = train_autoencoder([data], tmp_path / "made.onnx", lambda what, _n, _of: told.append(what), steps=60)
    assert found.clips == 2
    assert found.psnr_db > 17  # 6 after two steps
    assert {"clips read", "step"} <= set(told)
    with open_video(COFFEE) as video:
        picture = next(iter(video.frames(size=(150, 90)))).image
    made = Autoencode(str(found.path)).on_picture(picture, np.random.default_rng(0))
    assert made.shape == picture.shape
    assert np.abs(made.astype(int) - picture).mean() < 40


def test_without_real_clips(tmp_path: Path) -> None:
    data = data_of(tmp_path / "data", [(COFFEE, False), (COFFEE, True)])
    shutil.copyfile(__file__, data / "videos" / "0.mp4")
    with pytest.raises(DataError, match="fewer than two real clips"):
        train_autoencoder([data], tmp_path / "out.onnx", lambda _what, _n, _of: None, steps=2)
