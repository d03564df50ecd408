"""The frame store: decoded once, exact times, whole files or none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.needs import needs

needs("torch", "transformers")

from tests.detectors.vlm.hf.tiny import save_tiny  # noqa: E402

from deeptrace.detectors.vlm.hf.processors import Processor, load_processor  # noqa: E402
from deeptrace.detectors.vlm.hf.settings import Options  # noqa: E402
from deeptrace.train.vlm import frame_store  # noqa: E402
from deeptrace.train.vlm.frame_store import FrameStore  # noqa: E402
from deeptrace.train.vlm.settings import FormSettings, ViewSettings, detector_settings  # noqa: E402
from deeptrace.video import open_video, write_video  # noqa: E402


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny("qwen2_5_vl", tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def clip_file(tmp_path: Path) -> Path:
    ramp = np.linspace(0, 255, 90, dtype=np.uint8)
    images = np.stack([np.broadcast_to(np.roll(ramp, k)[None, :, None], (60, 90, 3)) for k in range(30)])
    write_video(tmp_path / "a.mp4", images, fps=12.5)
    return tmp_path / "a.mp4"


def store(folder: Path, cache: Path | None, **changes: object) -> FrameStore:
    view = ViewSettings(max_frame_pixels=84 * 56, fps=3.0, cache=cache, **changes)
    processor: Processor = load_processor(folder, request=view)
    return FrameStore(view, processor)


def test_kept_frames_are_the_decoded_ones(folder: Path, clip_file: Path, tmp_path: Path) -> None:
    plain = store(folder, None).clip(str(clip_file))
    exact = store(folder, tmp_path / "png", cache_quality=101)
    exact.clip(str(clip_file))
    kept = exact.clip(str(clip_file))
    assert kept.times_s == plain.times_s
    assert (kept.size, kept.duration_s) == (plain.size, plain.duration_s)
    assert (kept.frames == plain.frames).all()
    lossy = store(folder, tmp_path / "jpeg")
    first, second = lossy.clip(str(clip_file)), lossy.clip(str(clip_file))
    assert (first.frames == second.frames).all()
    assert first.times_s == plain.times_s
    assert np.abs(first.frames.astype(int) - plain.frames).mean() < 4
    with open_video(clip_file) as video:
        times = {frame.time_s for frame in video.frames()}
    assert set(plain.times_s) <= times
    for name in ("jpeg", "png"):
        assert sum(p.stat().st_size for p in (tmp_path / name).rglob("*.npz")) < plain.frames.nbytes


def test_a_clip_is_decoded_once(folder: Path, clip_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store(folder, tmp_path / "cache").clip(str(clip_file))

    def never(*_: object, **__: object) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr(frame_store, "open_video", never)
    store(folder, tmp_path / "cache").clip(str(clip_file))
    with pytest.raises(AssertionError):
        store(folder, tmp_path / "cache", max_frames=2).clip(str(clip_file))  # another sampling, another entry


def test_a_fixed_number_of_frames_is_shown_and_asked_about_alike(folder: Path, clip_file: Path) -> None:
    view = ViewSettings(frames=40)  # more than the clip has: some are shown twice
    shown = FrameStore(view, load_processor(folder, request=view)).clip(str(clip_file))
    assert len(shown.times_s) == 40
    assert len(set(shown.times_s)) == 30
    asked = Options(**detector_settings(view, FormSettings()))
    assert asked.moments(shown.duration_s) == view.moments(shown.duration_s)


@pytest.mark.parametrize("harm", [b"", b"PK\x03\x04 torn", None])
def test_a_damaged_file_is_made_again(folder: Path, clip_file: Path, tmp_path: Path, harm: bytes | None) -> None:
    kept = store(folder, tmp_path / "cache")
    before = kept.clip(str(clip_file))
    (file,) = (tmp_path / "cache").rglob("*.npz")
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2] if harm is None else harm)
    assert (kept.clip(str(clip_file)).frames == before.frames).all()
    assert file.read_bytes() == whole


def test_filling_goes_on_past_what_is_broken(folder: Path, clip_file: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    done: list[int] = []
    found = store(folder, tmp_path / "cache").fill([str(broken), str(clip_file), str(clip_file)], done.append)
    assert list(found) == [str(broken)]
    assert done == [1, 2]
    assert len(list((tmp_path / "cache").rglob("*.npz"))) == 1
