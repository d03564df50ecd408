"""`detect --ray local` with one and with two actors, beside the same clips on one machine without Ray; and its memory.

    python benchmarks/scale_throughput.py CLIPS... [--rounds 3] [--most 200] [--memory 0] [--keep 0]

CLIPS are files and folders; `--most` takes so many of them, evenly. Each row is `deeptrace.inference.DetectRun` with a
fresh folder for its results; the peer is the same with as many worker processes. Ways take turns; each figure is the
median of the rounds. Seconds are from the first clip asked for to the last verdict on the disk, so they hold the start
of the actors (each loads the detector), but neither that of Ray nor the imports, which are said on their own.
The load of the machine stands beside each run: above the number of actors, others were at work.

`--memory N` gives N inputs (the clips again and again, under other names) and prints the resident memory of this
process and of the largest actor with its worker at ten points on the way. `--keep N` measures what the process that
began the run does alone: it keeps N results of the first clip under N contents, as fast as the disk takes them, and
cuts N paths into blocks.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import ray

import deeptrace
from deeptrace.detectors import Analysis
from deeptrace.inference import DetectRun, Input, expand_inputs
from deeptrace.inference.results import RunFolder
from deeptrace.io.fingerprint import Read
from deeptrace.plural import plural
from deeptrace.scale import Cluster, RayRunner

MIB = 1 << 20


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="+", metavar="CLIPS")
    parser.add_argument("--detector", default="tracenet")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--most", type=int, default=200, help="clips of those that are there")
    parser.add_argument("--memory", type=int, default=0, metavar="N", help="inputs of the measurement of memory")
    parser.add_argument("--keep", type=int, default=0, metavar="N", help="results of the measurement of keeping them")
    asked = parser.parse_args()
    found = expand_inputs(asked.clips)
    inputs = found[:: max(1, len(found) // asked.most)][: asked.most]
    began = time.perf_counter()
    ray_start = RayRunner(asked.detector, cluster=Cluster("local", 1))  # the cluster of all that follow
    print(f"Ray with the detector's description: {time.perf_counter() - began:.1f} s; load {os.getloadavg()[0]:.1f}")
    with ray_start:
        if asked.rounds:
            throughput(inputs, asked.detector, asked.rounds)
        if asked.memory:
            memory(inputs, asked.detector, asked.memory)
        if asked.keep:
            keeping(inputs[0], asked.detector, asked.keep)
    return 0


def throughput(inputs: list[Input], detector: str, rounds: int) -> None:
    """Print clips a second of each way."""
    ways = [(peer, count) for peer in (True, False) for count in (1, 2)]
    took: dict[tuple[bool, int], list[float]] = {way: [] for way in ways}
    for number in range(rounds):
        for way in ways:
            took[way].append(one_run(inputs, detector, *way))
            print(
                f"round {number + 1}, {name_of(*way)}: {took[way][-1]:.1f} s, load {os.getloadavg()[0]:.1f}",
                file=sys.stderr,
            )
    print(f"{plural(len(inputs), 'clip')}, medians of {plural(rounds, 'round')}, {os.cpu_count()} cores")
    print(f"{'':38}{'seconds':>9}{'clips/s':>9}{'ratio':>7}")
    for peer in (True, False):
        alone = statistics.median(took[peer, 1])
        for count in (1, 2):
            seconds = statistics.median(took[peer, count])
            print(f"{name_of(peer, count):38}{seconds:9.1f}{len(inputs) / seconds:9.2f}{alone / seconds:7.2f}")


def name_of(peer: bool, count: int) -> str:
    return (
        plural(count, "worker process", "worker processes") + " (the peer)"
        if peer
        else f"Ray, {plural(count, 'actor')}"
    )


def one_run(inputs: list[Input], detector: str, peer: bool, count: int) -> float:
    """Seconds of one way over the clips."""
    runner = None if peer else RayRunner(detector, cluster=Cluster("local", count))
    with tempfile.TemporaryDirectory() as out:
        began = time.perf_counter()
        with DetectRun(inputs, detector=detector, workers=count, runner=runner, out=Path(out) / "run") as run:
            assert sum(1 for _ in run.results()) == len(inputs)
        return time.perf_counter() - began


def memory(inputs: list[Input], detector: str, wanted: int) -> None:
    """Print resident memory on the way through a long list."""
    with tempfile.TemporaryDirectory() as folder:
        names = []
        for number in range(wanted):
            source = Path(inputs[number % len(inputs)].path)
            name = Path(folder) / f"{number:07}{source.suffix}"
            name.symlink_to(source.resolve())
            names.append(Input(str(name)))
        print(f"{plural(wanted, 'input')} of {plural(len(inputs), 'clip')}, two actors")
        print(f"{'done':>8}{'this process MiB':>18}{'actor MiB':>11}{'its worker MiB':>16}")
        with DetectRun(names, runner=RayRunner(detector, cluster=Cluster("local", 2))) as run:
            for done, _ in enumerate(run.results(), 1):
                if done % max(1, wanted // 10) == 0:
                    actor, worker = actors_mib()
                    print(f"{done:8}{resident(os.getpid()) / MIB:18.0f}{actor:11.0f}{worker:16.0f}", flush=True)


def keeping(one: Input, detector: str, wanted: int) -> None:
    """Print how fast results are kept, in how much memory, and what handing out as many paths takes."""
    found = Analysis(deeptrace.detect(one.path, detector))
    info = found.verdict.detector
    assert info is not None
    with tempfile.TemporaryDirectory() as out:
        folder = RunFolder(out, info, resume=False)
        before, began = resident(os.getpid()), time.perf_counter()
        for number in range(wanted):
            path = f"/clips/{number:09}.mp4"
            folder.learn(path, Read(f"{number:064}"))
            folder.add(path, found, evidence=False)
        took, grown = time.perf_counter() - began, resident(os.getpid()) - before
        size = sum(file.stat().st_size for file in Path(out).iterdir())
    print(
        f"{wanted} results kept: {wanted / took:.0f} a second, {grown / wanted / 1024:.1f} KiB of memory and ", end=""
    )
    print(f"{size / wanted / 1024:.1f} KiB of disk each")
    began = time.perf_counter()
    table = pa.table({"path": [f"/clips/{number:09}.mp4".encode() for number in range(wanted)]})
    blocks = ray.data.from_arrow([table.slice(at, 16) for at in range(0, wanted, 16)])
    took = time.perf_counter() - began
    print(f"{wanted} paths in {blocks.num_blocks()} blocks: {took:.1f} s")


def resident(pid: int | str) -> int:
    """Bytes of a process in memory; 0 when it has gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def actors_mib() -> tuple[float, float]:
    """The largest actor of this machine, and the largest child of one."""
    actors, children = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes()
                parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
            except OSError:
                continue
            if command.startswith(b"ray::MapWorker"):
                actors[entry.name] = resident(entry.name)
            else:
                children[entry.name] = parent
    workers = [resident(pid) for pid, parent in children.items() if parent in actors]
    return max(actors.values(), default=0) / MIB, max(workers, default=0) / MIB


if __name__ == "__main__":
    sys.exit(main())
