"""The copy that metadata cannot tell apart: one encoding, matched lengths, boxes where the pictures went."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.audit.conftest import Shelf, pictures

from deeptrace.audit import audit, read_facts
from deeptrace.audit.fix import fix_dataset
from deeptrace.audit.fix_plan import Crop, map_trace
from deeptrace.data import join_media, read_reward_data
from deeptrace.errors import DataError, SettingsError
from deeptrace.geometry import Box, Keyframe
from deeptrace.io.run_store import hold_folder
from deeptrace.schema import Trace
from deeptrace.video import open_video


def biased(fake: bool, source: int, i: int) -> dict[str, Any]:
    """Sound, size, rate and length all give the label away."""
    if fake:
        return {"size": (96, 64) if source else (112, 64), "fps": 8, "frames": 8 + i % 5}
    return {"size": (128, 72), "fps": 25, "frames": 40 + i % 20, "audio": True}


def test_the_fixed_copy_gives_nothing_away(balanced: Callable[..., Path], tmp_path: Path) -> None:
    root = balanced("biased", biased)
    before = audit(root, shuffles=20, decode=False)
    assert before.shortcuts.joint_auc == 1.0
    fixed = fix_dataset(root, tmp_path / "copy", workers=2)
    assert fixed.plan.left_out == {}
    assert (fixed.plan.width, fixed.plan.height, fixed.plan.fps) == (96, 64, 8)
    after = audit(tmp_path / "copy", shuffles=40)
    assert after.findings == ()
    assert len(after.samples) == 48
    assert not after.shortcuts.found
    assert after.shortcuts.joint_auc is not None
    assert after.shortcuts.joint_auc < 0.7
    assert ("clips are matched" in after.shortcuts.summary) == (after.shortcuts.joint_auc < 0.4)
    constant = {feature.name for feature in after.shortcuts.features if feature.constant}
    assert constant >= {
        "resolution", "aspect ratio", "frame rate", "codec", "pixel format", "audio track", "container",
        "container tags", "file extension",
    }  # fmt: skip
    lengths = {True: [], False: []}
    for sample in after.samples:
        lengths[sample.label == "FAKE"].append(after.facts[sample.video_id].decoded.frames)
    assert np.abs(np.sort(lengths[True]) - np.sort(lengths[False])).max() <= 1


def test_boxes_go_where_the_pictures_went(shelf: Shelf, tmp_path: Path) -> None:
    images = np.full((24, 120, 160, 3), 60, np.uint8)
    images[6:, 30:60, 60:100] = 250  # what the trace is about, from 0.5 s on
    row = {
        "faketrace_bbox": {"left": 60, "top": 30, "width": 40, "height": 30},
        "faketrace_first_frame": 6,
        "faketrace_duration": 1.5,
    }
    shelf.add("square", fake=True, source="Pika", seed=0, fps=12, images=images, row=row)
    fix_dataset(shelf.write(), tmp_path / "copy", size=(64, 64), fps=6, bit_rate=400_000)
    (sample,) = read_reward_data(tmp_path / "copy")
    (trace,) = sample.traces
    assert trace.onset_s == pytest.approx(0.5)
    assert trace.box is not None
    path = join_media([sample], tmp_path / "copy").found["square"]
    with open_video(path) as video:
        frames = list(video.frames())
    assert len(frames) == 12
    for frame in frames:
        bright = frame.image.mean(axis=-1) > 150
        if frame.time_s < 0.5 - 1e-6:
            assert not bright.any()
            continue
        ys, xs = np.nonzero(bright)
        seen = Box.from_fractions(xs.min() / 64, ys.min() / 64, (xs.max() + 1) / 64, (ys.max() + 1) / 64)
        assert seen.iou(trace.box) > 0.85
    assert read_facts(path).has_audio is False


def test_a_stopped_run_goes_on_and_other_settings_need_another_folder(shelf: Shelf, tmp_path: Path) -> None:
    for i in range(4):
        shelf.add(f"f{i}", fake=i % 2 == 0, source="s", seed=i)
    root, out = shelf.write(), tmp_path / "copy"

    class StopError(Exception):
        pass

    def stop(stage: str, done: int, total: int) -> None:
        if stage == "written" and done == 2:
            raise StopError

    with pytest.raises(StopError):
        fix_dataset(root, out, on_file=stop)
    there = {path: path.stat().st_mtime_ns for path in (out / "clips").iterdir()}
    assert len(there) >= 2
    assert not (out / "all_data.json").exists()
    with pytest.raises(SettingsError, match=r"holds results of an earlier run\. Go on with it \(--resume\)"):
        fix_dataset(root, out)
    fixed = fix_dataset(root, out, resume=True)
    assert (fixed.written, fixed.kept) == (4 - len(there), len(there))
    assert {path: path.stat().st_mtime_ns for path in there} == there
    assert len(read_reward_data(out)) == 4
    assert fix_dataset(root, out, resume=True).written == 0
    (out / "clips/f1.mp4").unlink()
    assert fix_dataset(root, out, resume=True).written == 1
    with hold_folder(out), pytest.raises(SettingsError, match="another run is writing"):
        fix_dataset(root, out, resume=True)
    with pytest.raises(SettingsError, match="holds a run with another bit_rate, fps"):
        fix_dataset(root, out, fps=4, bit_rate=100_000, resume=True)
    shelf.rows[0]["video_source"] = "another"
    with pytest.raises(SettingsError, match="holds a run with another dataset"):
        fix_dataset(shelf.write(), out, resume=True)
    with pytest.raises(SettingsError, match="is the dataset itself"):
        fix_dataset(root, root)


def test_nothing_is_enlarged_or_made_up(shelf: Shelf, tmp_path: Path) -> None:
    shelf.add("small", fake=True, source="Pika", seed=1, size=(96, 64), fps=12, frames=12)
    shelf.add("slow", fake=True, source="Pika", seed=2, size=(160, 96), fps=5, frames=6)
    shelf.add("fine", fake=False, source="A", seed=3, size=(160, 96), fps=12, frames=12)
    shelf.add("ntsc", fake=True, source="Pika", seed=4, size=(160, 96), fps=11.988, frames=12)
    fixed = fix_dataset(shelf.write(), tmp_path / "copy", size=(128, 96), fps=12)
    assert set(fixed.plan.frames) == {"fine", "ntsc"}
    assert "enlarged" in fixed.plan.left_out["small"]
    assert "made up" in fixed.plan.left_out["slow"]
    assert fixed.left_out == {"FAKE": 2}
    state = json.loads((tmp_path / "copy/fix.json").read_text())
    assert state["plan"]["left_out"] == fixed.plan.left_out
    with pytest.raises(DataError, match="no clip can be made"):
        fix_dataset(shelf.root, tmp_path / "other", size=(640, 480))


def test_hard_and_easy_pictures_make_files_of_one_size(shelf: Shelf, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    flat = np.full((16, 64, 96, 3), 90, np.uint8)
    noise = np.clip(pictures(1, 16, (96, 64)).astype(int) + rng.normal(0, 25, (16, 64, 96, 1)), 0, 255).astype(np.uint8)
    shelf.add("flat", fake=True, source="g", seed=0, images=flat)
    shelf.add("noise", fake=False, source="r", seed=0, images=noise)
    fix_dataset(shelf.write(), tmp_path / "copy")
    sizes = [path.stat().st_size for path in (tmp_path / "copy/clips").iterdir()]
    assert max(sizes) < 1.25 * min(sizes)
    before = [(shelf.root / row["video_path"]).stat().st_size for row in shelf.rows]
    assert max(before) > 5 * min(before)


@given(st.integers(64, 2000), st.integers(64, 2000), st.floats(0, 0.8), st.floats(0, 0.8))
def test_the_crop_covers_and_its_boxes_agree_with_its_pixels(width: int, height: int, x: float, y: float) -> None:
    crop = Crop.cover(width, height, (64, 64))
    assert min(crop.scaled) >= 64
    assert 64 in crop.scaled
    box = Box.from_fractions(x, y, x + 0.2, y + 0.2)
    mapped = crop.box(box)
    if mapped is not None:
        left = mapped.x0 * 64 + crop.left
        assert left == pytest.approx(max(box.x0 * crop.scaled[0], crop.left), abs=1e-6)


def test_traces_beyond_the_crop_or_the_cut_are_dropped_and_others_clipped() -> None:
    crop = Crop.cover(200, 100, (64, 64))
    keys = tuple(Keyframe(time_s=t, box=Box(x0=0.3 + t / 20, y0=0.2, x1=0.5 + t / 20, y1=0.6)) for t in (1.0, 3.0, 5.0))
    trace = Trace(box=Box(x0=0.3, y0=0.2, x1=0.75, y1=0.6), onset_s=1.0, offset_s=5.0, keyframes=keys)
    kept = map_trace(trace, crop, 4.0)
    assert kept is not None
    assert (kept.onset_s, kept.offset_s) == (1.0, 4.0)
    assert [key.time_s for key in kept.keyframes] == [1.0, 3.0, 4.0]
    assert map_trace(trace, crop, 1.0) is None
    edge = Trace(box=Box(x0=0.0, y0=0.0, x1=0.2, y1=1.0), onset_s=0.0)
    assert map_trace(edge, crop, 4.0) is None
