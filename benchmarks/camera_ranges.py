"""Where the evidence curves of camera footage lie: the range that pages draw behind a curve.

    python benchmarks/camera_ranges.py [--data ../shared/corpus/real] [--write]

Every clip below the folder is camera footage. Of each curve the 5th and the 95th percentile over all moments of all
clips, each clip weighing the same. `--write` puts them beside the shipped weights. About 0.5 s of one core a clip.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np

from deeptrace.detectors import Analysis
from deeptrace.detectors.curves import CURVES, CameraRanges
from deeptrace.inference import DetectRun, Job, expand_inputs

PERCENTILES = (5.0, 95.0)
_POINTS = 201
"""Percentiles that stand for one clip."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/corpus/real"))
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    with DetectRun(expand_inputs([str(asked.data)]), job=Job(evidence=True)) as run:
        found = [one for one in run.results() if one.verdict.label is not None]
    known = camera_ranges(found)
    print(f"{known.clips} clips of camera footage, percentiles {PERCENTILES[0]:g} and {PERCENTILES[1]:g}")
    for channel, (low, high) in known.ranges.items():
        print(f"{CURVES[channel]:64} {low:8.3g} {high:8.3g}")
    if asked.write:
        target = Path(str(files("deeptrace.detectors") / "tracenet" / "weights" / "curves.json"))
        target.write_text(known.model_dump_json(indent=1) + "\n", encoding="utf-8")
        print(f"written to {target}")


def camera_ranges(found: Sequence[Analysis]) -> CameraRanges:
    """The ranges over clips of camera footage, analysed with their curves."""
    ranges = {}
    for channel, name in CURVES.items():
        clips = [[value for _, value in one.curves[name]] for one in found if one.curves.get(name)]
        alike = np.concatenate([np.percentile(values, np.linspace(0, 100, _POINTS)) for values in clips])
        low, high = (float(f"{end:.3g}") for end in np.percentile(alike, PERCENTILES))
        ranges[channel] = (low, high)
    about = "benchmarks/camera_ranges.py over the clips of camera footage that the shipped weights were trained on"
    return CameraRanges(about=about, clips=len(found), percentiles=PERCENTILES, ranges=ranges)


if __name__ == "__main__":
    main()
