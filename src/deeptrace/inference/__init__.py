"""The one place where a detector meets clips: `run`, `detect`, runs kept on disk, and the executors behind them.

Names are loaded when first used, so that a command can start its worker processes before it imports what they need.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deeptrace.lazy import lazy_names

if TYPE_CHECKING:
    from deeptrace.inference.detect_run import DetectRun
    from deeptrace.inference.executor import Executor, Result, Runner, detect, open_executor, run
    from deeptrace.inference.inputs import Input, expand_inputs
    from deeptrace.inference.one_clip import Clip, Job, analyse
    from deeptrace.inference.results import read_verdicts

__all__ = [
    "Clip",
    "DetectRun",
    "Executor",
    "Input",
    "Job",
    "Result",
    "Runner",
    "analyse",
    "detect",
    "expand_inputs",
    "open_executor",
    "read_verdicts",
    "run",
]

__getattr__ = lazy_names(
    __name__,
    {
        "deeptrace.inference.executor": ("Executor", "Result", "Runner", "detect", "open_executor", "run"),
        "deeptrace.inference.inputs": ("Input", "expand_inputs"),
        "deeptrace.inference.one_clip": ("Clip", "Job", "analyse"),
        "deeptrace.inference.results": ("read_verdicts",),
        "deeptrace.inference.detect_run": ("DetectRun",),
    },
)
