"""The clips of the shared cases that were once read wrongly, made by their own script, each with the right value."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deeptrace.video import open_video

BITS = 10
COFFEE = {"size": (640, 360), "frames": 96, "fps": 24.0, "duration_s": 4.0, "times_s": [k / 24 for k in range(96)]}
BASE = {"frames": 60, "fps": 10.0, "duration_s": 6.0, "times_s": [k / 10 for k in range(60)], "numbers": [*range(60)]}
TWELVE = {"frames": 12, "fps": 10.0, "duration_s": 1.2, "numbers": [*range(12)]}
SKIPS = [*range(20), *range(20, 60, 4)]

RIGHT: dict[str, dict[str, Any]] = {
    "f2_raw.h264": COFFEE
    | {"fps": 25.0, "duration_s": 3.84, "times_s": [k / 25 for k in range(96)], "says": "assumed"},
    "f2_raw.hevc": COFFEE | {"says": "without a timestamp"},
    "f3_b.avi": BASE,
    "f3_coffee.avi": COFFEE,
    "f4_matrix8.mp4": BASE | {"says": "matrix 8"},
    "f4_matrix10.mp4": BASE | {"says": "matrix 10"},
    "f4_matrix14.mp4": BASE | {"says": "matrix 14"},
    "f5_pause.mp4": {
        "size": (640, 360),
        "frames": 96,
        "duration_s": 9.0,
        "times_s": [k / 24 + 5 * (k > 84) for k in range(96)],
    },
    "f6_whole.mp4": BASE,
    "f7_stale_tag.mkv": BASE,
    "f7_midstream.ts": BASE | {"frames": 30, "duration_s": 3.0, "times_s": None, "numbers": [*range(30, 60)]},
    "f8_anim.avif": TWELVE,
    "f9_anim.webp": TWELVE,
    "f10_fast.gif": TWELVE,
    "f11_vp8.webm": {"frames": 20, "duration_s": 2.0, "top_left": (0, 0, 0)},
    "f11_vp9.webm": {"frames": 20, "duration_s": 2.0, "top_left": (0, 0, 0)},
    "f11_prores.mov": {"frames": 20, "duration_s": 2.0, "top_left": (0, 0, 0)},
    "f12_trimmed.mp4": {"frames": 42, "duration_s": 4.2, "numbers": [*range(18, 60)]},
    "f12_skips.avi": {"frames": 30, "duration_s": 5.7, "times_s": [k / 10 for k in SKIPS], "numbers": SKIPS},
    "f13_crop.mkv": {"size": (240, 180), "frames": 60, "duration_s": 6.0},
    "f14_real/a.mp4": BASE,
    "f15_still_first.mkv": BASE,
    "f16_strip.mkv": {"size": (2, 2000), "frames": 10, "duration_s": 1.0},
    "f16_hourly.mp4": {"frames": 8, "duration_s": 28_800.0, "times_s": [3600.0 * k for k in range(8)]},
}


@pytest.fixture(scope="module")
def cases(shared_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the shared script makes; the test is skipped where it or its tools are absent."""
    script = shared_dir / "cases/video/make_inputs.py"
    missing = [tool for tool in ("ffmpeg", "mkvpropedit") if shutil.which(tool) is None]
    if missing or not script.is_file():
        pytest.skip(f"needs {' and '.join(missing) or 'the script of the shared cases'}")
    folder = tmp_path_factory.mktemp("cases")
    examples = Path(__file__).parents[2] / "examples"
    subprocess.run([sys.executable, str(script), str(folder), str(examples)], check=True, capture_output=True)
    return folder


def _number(image: np.ndarray) -> int:
    row = image[image.shape[0] // 2 - 2 : image.shape[0] // 2 + 2].astype(float).mean(axis=(0, 2))
    return sum(1 << bit for bit in range(BITS) if row[int((bit + 0.5) * image.shape[1] / BITS)] > 128)


@pytest.mark.parametrize("name", RIGHT)
def test_the_right_value(cases: Path, name: str) -> None:
    want = RIGHT[name]
    with open_video(cases / name) as video:
        opened = video.media
        frames = list(video.frames())
        media, warnings = video.media, video.warnings
    assert (media.width, media.height) == want.get("size", (320, 180))
    assert len(frames) == want["frames"]
    assert media.frames in (None, want["frames"])
    assert opened.frames in (None, want["frames"])
    for facts in (opened, media):
        assert facts.duration_s == pytest.approx(want["duration_s"], abs=0.051)  # an edit within a picture
    if "fps" in want:
        assert media.fps == pytest.approx(want["fps"])
    if want.get("times_s"):
        assert [frame.time_s for frame in frames] == pytest.approx(want["times_s"], abs=0.0011)
    if "numbers" in want:
        assert [_number(frame.image) for frame in frames] == want["numbers"]
    if "top_left" in want:
        np.testing.assert_allclose(frames[0].image[10, 10], want["top_left"], atol=3)
    if "says" in want:
        assert any(want["says"] in line for line in warnings)
    assert not any("cut off" in line for line in warnings)


def test_damage_in_the_middle_shifts_nothing(cases: Path) -> None:
    with open_video(cases / "f6_hurt.mp4") as video:
        frames = list(video.frames())
        assert video.media.duration_s == pytest.approx(6.0)
    right = {round(frame.time_s * 10): _number(frame.image) for frame in frames}
    for number in (*range(13), *range(30, 60)):
        assert right[number] == number
