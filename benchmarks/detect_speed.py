"""`deeptrace detect` against ffmpeg merely decoding the same file, one thread each, in the same run; and its memory.

    python benchmarks/detect_speed.py [--detector tracenet] [--rounds 5] [--seconds 2 5 20] [--memory 5 60 300]
        [--clips FOLDER] [--core 0]

Five seconds of camera movement over photographs with sensor noise are made at 1280x720 and 1920x1080 (x264, preset
medium, crf 23, 24 fps; see `video_decode.py`); other lengths are that file cut or repeated without encoding it anew.
`cold` is a fresh process from its start to its last line, `warm` the detector's own work in a process that has judged
a clip before. Each cell is the median of the rounds, which take turns; ratios are against ffmpeg's median. Processor
time is beside wall time because neighbours on a shared machine stretch only the latter.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2

from deeptrace.detectors import load_detector
from deeptrace.detectors.tracenet.appearance import shipped_appearance
from deeptrace.detectors.tracenet.evidence import evidence_of
from deeptrace.detectors.tracenet.model import SegmentKeeper, TraceNetModel
from deeptrace.detectors.tracenet.texture import central_square, texture_statistics
from deeptrace.detectors.tracenet.tubes import TubeSettings, find_tubes
from deeptrace.detectors.tracenet.windows import RATE_FPS, analysis_size, close_looks, read_windows
from deeptrace.video import open_video
from video_decode import SECONDS, make_clip

SIZES = ((1280, 720), (1920, 1080))


class Cost(NamedTuple):
    """What one run took."""

    wall_s: float
    cpu_s: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detector", default="tracenet", help="tracenet, or tracenet:FOLDER")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, nargs="*", default=[2, 5, 20], help="lengths of the clips")
    parser.add_argument("--memory", type=int, nargs="*", default=[5, 60, 300], help="lengths to measure memory at")
    parser.add_argument("--clips", type=Path, metavar="FOLDER", help="keep the made clips here, and use them again")
    parser.add_argument("--core", type=int, help="run everything on this core, so that all meet the same neighbours")
    asked = parser.parse_args()
    if asked.core is not None:
        os.sched_setaffinity(0, {asked.core})
    if shutil.which("ffmpeg") is None:
        print("the peer of this benchmark, the ffmpeg command, is not installed", file=sys.stderr)
        return 2
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as scratch:
        folder = asked.clips or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        kept = {size: folder / f"made_{size[1]}p.mp4" for size in SIZES}
        made = {size: path if path.is_file() else make_clip(folder, *size) for size, path in kept.items()}
        for size, clip in made.items():
            for seconds in asked.seconds:
                compare(of_length(clip, seconds), f"{size[0]}x{size[1]}, {seconds} s", asked.detector, asked.rounds)
        for size, clip in made.items():
            breakdown(clip, f"{size[0]}x{size[1]}, {SECONDS} s", asked.detector, asked.rounds)
        memory(made[SIZES[0]], asked.memory, asked.detector)
    return 0


def compare(path: Path, name: str, detector: str, rounds: int) -> None:
    """Print wall and processor time of the ways to go through one file."""
    judge = load_detector(detector)

    def warm() -> None:
        with open_video(path) as video:
            judge.detect(video)

    warm()  # the first video also pays for tables and buffers
    peer = "ffmpeg -f null (the peer)"
    ways: dict[str, Callable[[], Cost]] = {
        peer: lambda: process_cost(decode_command(path)),
        "detect, warm": lambda: own_cost(warm),
        "detect, cold process": lambda: process_cost(detect_command(path, detector)),
    }
    costs: dict[str, list[Cost]] = {way: [] for way in ways}
    for _ in range(rounds):  # interleaved, so that a busy spell does not fall on one way alone
        for way, run in ways.items():
            costs[way].append(run())
    base_wall, base_cpu = (median(costs[peer], field) for field in ("wall_s", "cpu_s"))
    print(f"\n{name}")
    print(f"{'':28}{'wall ms':>9}{'ratio':>7}{'cpu ms':>9}{'ratio':>7}")
    for way, found in costs.items():
        wall, cpu = median(found, "wall_s"), median(found, "cpu_s")
        print(f"{way:28}{wall * 1e3:9.0f}{wall / base_wall:7.2f}{cpu * 1e3:9.0f}{cpu / base_cpu:7.2f}", flush=True)


def breakdown(path: Path, name: str, detector: str, rounds: int) -> None:
    """Print the processor time of each part of TraceNet, run one after the other on what the part before gave."""
    model = TraceNetModel.load(detector.partition(":")[2] or None)
    with open_video(path) as video:
        size, closer = analysis_size(video.media), close_looks(video.media)
        windows = list(read_windows(video))

    def decode() -> list:
        with open_video(path) as video:
            return list(video.frames(max_fps=RATE_FPS, size=size, fast=True, closer=closer))

    frames = decode()
    pictures = {frame.time_s: frame.image for frame in frames}
    scores = [model.score(window) for window in windows]
    see, close_ups = shipped_appearance(), [central_square(frame.image) for frame in frames[:2]]

    def tubes() -> None:
        keeper = SegmentKeeper()
        for window, score in zip(windows, scores, strict=True):
            keeper.add(window, score)
        for segment in keeper.segments(frames[-1].time_s + 1 / RATE_FPS):
            find_tubes(segment.where, segment.times_s, segment.end_s, TubeSettings())

    parts: dict[str, Callable[[], object]] = {
        "decode and shrink": decode,
        "evidence maps": lambda: list(evidence_of(frames)),
        "texture statistics": lambda: [texture_statistics([pictures[t] for t in w.times_s]) for w in windows],
        "appearance statistics": lambda: [see([pictures[t] for t in w.times_s], close_ups) for w in windows],
        "nets": lambda: [model.score(window) for window in windows],
        "tubes": tubes,
    }
    costs: dict[str, list[Cost]] = {part: [] for part in parts}
    for _ in range(rounds):
        for part, run in parts.items():
            costs[part].append(own_cost(run))
    spent = {part: median(found, "cpu_s") for part, found in costs.items()}
    print(f"\nwhere the time goes, {name}: {len(frames)} frames in {len(windows)} windows")
    print(f"{'':28}{'cpu ms':>9}{'share':>7}")
    for part, seconds in spent.items():
        print(f"{part:28}{seconds * 1e3:9.0f}{seconds / sum(spent.values()):7.0%}", flush=True)


def memory(clip: Path, lengths: list[int], detector: str) -> None:
    """Print the peak memory of a process that judges one clip, by the clip's length."""
    print(f"\n{'clip of':28}{'peak MB':>9}")
    for seconds in lengths:
        print(f"{f'{seconds} s':28}{peak_mb(detect_command(of_length(clip, seconds), detector)):9.0f}", flush=True)


def of_length(clip: Path, seconds: int) -> Path:
    """The clip, cut or repeated to `seconds`, its packets as they are."""
    if seconds == SECONDS:
        return clip
    path = clip.with_name(f"{clip.stem}_{seconds}s.mp4")
    if not path.is_file():
        again = ["-stream_loop", str(-(-seconds // SECONDS) - 1)]
        cut = ["-t", str(seconds), "-c", "copy", str(path)]
        subprocess.run(["ffmpeg", "-v", "error", *again, "-i", str(clip), *cut], check=True)
    return path


def decode_command(path: Path) -> list[str]:
    return ["ffmpeg", "-v", "error", "-threads", "1", "-i", str(path), "-f", "null", "-"]


def detect_command(path: Path, detector: str) -> list[str]:
    program = str(Path(sys.executable).with_name("deeptrace"))
    return [program, "detect", "--detector", detector, "--workers", "1", "--json", str(path)]


def process_cost(command: list[str]) -> Cost:
    """Run a command to its end; all that it and its children took."""
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    said = process.stderr.read() if process.stderr else b""
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed: {said.decode(errors='replace')}")
    return Cost(wall, used.ru_utime + used.ru_stime)


def peak_mb(command: list[str]) -> float:
    """Peak memory of a command, as it reads it off itself at its end.

    What the system reports of an ended child is no use here: it counts this process's own memory, which the child
    shares until it becomes the other program.
    """
    code = (
        "import atexit, runpy, sys\n"
        "high = lambda: next(line for line in open('/proc/self/status') if line.startswith('VmHWM'))\n"
        "atexit.register(lambda: print(high(), file=sys.stderr))\n"
        "sys.argv = sys.argv[1:]\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    line = [sys.executable, "-c", code, *command]
    said = subprocess.run(line, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True).stderr
    return int(said.rpartition("VmHWM:")[2].split()[0]) / 1024


def own_cost(work: Callable[[], object]) -> Cost:
    begin, cpu = time.perf_counter(), time.process_time()
    work()
    return Cost(time.perf_counter() - begin, time.process_time() - cpu)


def median(costs: list[Cost], field: str) -> float:
    return statistics.median(getattr(cost, field) for cost in costs)


if __name__ == "__main__":
    raise SystemExit(main())
