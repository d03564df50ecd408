"""`deeptrace train tracenet`, killed in the middle again and again: what is done stays, and the model is the same."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.needs import needs

torch = needs("torch", "onnxscript", "sklearn")

from deeptrace.io.run_store import MANIFEST  # noqa: E402
from deeptrace.train.tracenet.clips import read_clips  # noqa: E402
from deeptrace.train.tracenet.config import TraceNetConfig  # noqa: E402
from deeptrace.train.tracenet.feature_cache import measure_all  # noqa: E402
from deeptrace.video import open_video, write_video  # noqa: E402

EXAMPLES = Path(__file__).parents[3] / "examples"
SIZE, FPS, HALF_S = (160, 90), 12.0, 2.0
SMALL = {
    "edited": "", "variants": 2, "injections": 2, "synthetic_variants": [0], "folds": 2, "heads": 1, "head_steps": 20,
    "head_batch": 2, "steps": 20, "generated": 1, "real": 1, "synthetic": 1, "frames": 4, "flaw_clips": 1,
    "workers": 2,
}  # fmt: skip


def make_data(folder: Path) -> Path:
    """The example clips, small, in halves and mirrored: two generators and two sources of two clips each."""
    rows = []
    for row in json.loads((EXAMPLES / "all_data.json").read_text()):
        for half in range(2):
            with open_video(EXAMPLES / row["video_path"]) as video:
                start = half * HALF_S
                taken = video.frames(max_fps=FPS, size=SIZE, start_s=start, end_s=start + HALF_S)
                frames = [frame.image for frame in taken]
            for mirrored in range(2):
                name = f"{row['video_id']}{half}{mirrored}"
                pictures = [np.ascontiguousarray(frame[:, ::-1]) if mirrored else frame for frame in frames]
                write_video(folder / f"{name}.mp4", iter(pictures), fps=FPS, crf=18)
                facts = {"video_width": SIZE[0], "video_height": SIZE[1], "video_frame_rate": FPS}
                facts |= {"video_frame_count": len(frames), "video_duration": len(frames) / FPS}
                facts |= {"video_id": name, "video_path": f"{name}.mp4", "video_source": f"half{half}"}
                bare = {key: value for key, value in row.items() if not key.startswith("faketrace_")}
                rows.append({**bare, **facts, "split": "train"})
    (folder / "all_data.json").write_text(json.dumps(rows))
    return folder


def command(config: Path) -> subprocess.Popen[bytes]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    line = [sys.executable, "-m", "deeptrace.cli.main", "train", "tracenet", str(config)]
    return subprocess.Popen(line, env=environment, stderr=subprocess.DEVNULL)


def children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in found.split()]


def kill_when(process: subprocess.Popen[bytes], reached: Callable[[], bool]) -> None:
    """kill -9 to the command alone, as soon as something is there; its workers have to end with it."""
    while not reached():
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.01)
    workers = children(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(workers) >= 2
    for _ in range(1000):
        if not [pid for pid in workers if Path(f"/proc/{pid}").exists()]:
            return
        time.sleep(0.01)
    raise AssertionError("a worker lives on after its parent was killed")


def files(out: Path) -> dict[Path, int]:
    """What is done, with the time at which it was."""
    kinds = ("measured/*.npz", "fits/*.npz", "fits/*.pt", "scores/*.npz")
    whole = [path for kind in kinds for path in out.glob(kind) if not path.name.startswith(".")]  # not half-written
    return {path: path.stat().st_mtime_ns for path in whole}


def differing(ours: Path, theirs: Path) -> list[str]:
    """The names of arrays in two files that are not the same to the last bit."""
    if ours.suffix == ".pt":
        a, b = (torch.load(one, weights_only=True) for one in (ours, theirs))
        assert a.keys() == b.keys()
        return [name for name in a if not torch.equal(a[name], b[name])]
    with np.load(ours) as a, np.load(theirs) as b:
        assert a.files == b.files
        return [name for name in a.files if not np.array_equal(a[name], b[name])]


def begun_with(measured: Path, out: Path) -> None:
    """A run that has measured its clips and no more."""
    shutil.copytree(measured / "measured", out / "measured")
    shutil.copyfile(measured / MANIFEST, out / MANIFEST)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc: Linux")
def test_killed_at_every_stage_it_ends_in_the_same_model(tmp_path: Path) -> None:
    data, out, whole = make_data(tmp_path), tmp_path / "killed", tmp_path / "whole"
    for one in (out, whole):
        one.with_suffix(".json").write_text(json.dumps({**SMALL, "data": str(data), "out": str(one)}))
    stages = (
        lambda: any(path.parent.name == "measured" for path in files(out)),  # in the middle of measuring
        lambda: any(path.parent.name == "fits" for path in files(out)),  # in the middle of the first fits
        lambda: any(path.parent.name == "scores" for path in files(out)),  # some clips are scored, others are not
    )
    done: dict[Path, int] = {}
    for reached in stages:
        kill_when(command(out.with_suffix(".json")), reached)
        kept = files(out)
        assert kept.items() >= done.items(), "something that was done was lost, or done again"
        assert not (out / "model").exists()
        done = kept
    assert command(out.with_suffix(".json")).wait() == 0
    assert files(out).items() >= done.items()

    # Against one that is not killed, of the same measurements: measured anew, one number in 300,000 may differ in its
    # last bit, killed or not.
    begun_with(out, whole)
    assert command(whole.with_suffix(".json")).wait() == 0
    ours, theirs = ({path.relative_to(one): path for path in files(one)} for one in (out, whole))
    assert ours.keys() == theirs.keys()
    assert {name: found for name in ours if (found := differing(ours[name], theirs[name]))} == {}
    for name in ("tracenet.onnx", "tracenet.json"):
        assert (out / "model" / name).read_bytes() == (whole / "model" / name).read_bytes(), name


@pytest.mark.slow
def test_clips_measured_anew_are_the_same_but_for_the_last_bit(tmp_path: Path) -> None:
    data = make_data(tmp_path)
    configs = [TraceNetConfig.model_validate({**SMALL, "data": data, "out": tmp_path / name}) for name in ("a", "b")]
    clips = read_clips(data)[:3]
    for config in configs:
        assert measure_all(clips, config, lambda *_: None) == []
    for path in files(configs[0].out):
        with np.load(path) as a, np.load(configs[1].out / "measured" / path.name) as b:
            for name in a.files:
                assert np.allclose(a[name], b[name], rtol=2**-9, atol=1e-6), (path.name, name)
                assert np.mean(a[name] != b[name]) < 1e-4
