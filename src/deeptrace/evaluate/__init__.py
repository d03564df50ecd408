"""Runs: a detector over many videos, kept on disk, shown as a page."""

from __future__ import annotations

from deeptrace.evaluate.detect import Job, Judged, detect, judge
from deeptrace.evaluate.detect_folder import read_verdicts
from deeptrace.evaluate.detect_inputs import Input, expand_inputs
from deeptrace.evaluate.detect_run import DetectRun

__all__ = ["DetectRun", "Input", "Job", "Judged", "detect", "expand_inputs", "judge", "read_verdicts"]
