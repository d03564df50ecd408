"""How long `deeptrace` takes to start and to answer, in two checkouts side by side: has a change made it slower?

    python benchmarks/start_up.py BEFORE AFTER [--rounds 7] [--clip CLIP]

`cold` is a fresh process from its start to its last line, with Python's compiled files and the disk's cache warm;
`warm` the detector's work on the clip in a process that has judged it before. Both checkouts run under the Python that
runs this, in turns; each cell is the median of the rounds. Processor time, of a command's worker processes too, is
beside wall time because neighbours on a shared machine stretch mostly the latter.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from detect_speed import Cost, process_cost

COMMAND = "import sys; from deeptrace.cli.main import main; sys.argv[0] = 'deeptrace'; main()"
WARM = """
import json, sys, time
import deeptrace
from deeptrace.detectors import load_detector

detector = load_detector("tracenet")
for _ in range(3):
    began, used = time.perf_counter(), time.process_time()
    verdict = deeptrace.detect(sys.argv[1], detector)
    costs = time.perf_counter() - began, time.process_time() - used
assert verdict.label is not None, verdict.error
print(json.dumps(costs))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--clip", type=Path, default=Path(__file__).parents[1] / "examples" / "coffee.mp4")
    asked = parser.parse_args()
    clip = str(asked.clip.resolve())
    print(f"load {os.getloadavg()[0]:.1f} on {len(os.sched_getaffinity(0))} cores, {asked.rounds} rounds\n")
    print(f"{'':24}{'wall ms':>18}{'ratio':>7}{'cpu ms':>18}{'ratio':>7}")
    ways = {
        "deeptrace --help, cold": ["-c", COMMAND, "--help"],
        "deeptrace detect, cold": ["-c", COMMAND, "detect", clip, "--json"],
        "detect, warm": ["-c", WARM, clip],
    }
    for way, arguments in ways.items():
        costs: dict[Path, list[Cost]] = {asked.before: [], asked.after: []}
        for round_ in range(asked.rounds + 1):
            for checkout, found in costs.items():
                cost = cost_in(checkout, arguments)
                if round_:  # the first compiles, and fills the disk's cache
                    found.append(cost)
        walls, cpus = ([median(found, at) for found in costs.values()] for at in (0, 1))
        cells = "".join(f"{a * 1e3:9.0f}{b * 1e3:9.0f}{b / a:7.2f}" for a, b in (walls, cpus))
        print(f"{way:24}{cells}", flush=True)


def cost_in(checkout: Path, arguments: list[str]) -> Cost:
    """What running Python with these arguments takes, `deeptrace` being that of the checkout; of WARM, what it says."""
    os.environ["PYTHONPATH"] = str((checkout / "src").resolve())
    command = [sys.executable, *arguments]
    if arguments[1] != WARM:
        return process_cost(command)
    return Cost(*json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def median(costs: list[Cost], at: int) -> float:
    return statistics.median(cost[at] for cost in costs)


if __name__ == "__main__":
    main()
