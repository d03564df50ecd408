"""Only benchmarks that train, run a net of torch's or start Ray need them: the others run on the base install."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
HEAVY = {
    "close_the_loop",
    "close_the_loop_on_footage",
    "constrained_decoding",
    "detect_unseen",
    "mllm_speed",
    "scale_throughput",
    "sft_prepare",
    "sft_speed",
}
PROGRAM = """
import importlib, sys
class Refused:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "ray"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Refused())
for name in sys.argv[1:]:
    importlib.import_module(name)
"""


@pytest.mark.parametrize("heavy", [False, True])
def test_benchmarks_import_torch_and_ray_only_where_they_need_them(heavy: bool) -> None:
    """Both ways: a benchmark that needs neither any more is taken off the list."""
    names = sorted(path.stem for path in FOLDER.glob("*.py"))
    asked = [[name] for name in names if name in HEAVY] if heavy else [[name for name in names if name not in HEAVY]]
    for group in asked:
        done = subprocess.run([sys.executable, "-c", PROGRAM, *group], cwd=FOLDER, capture_output=True, text=True)
        assert (done.returncode != 0) is heavy, done.stderr[-2000:]
        assert not heavy or "No module named 'torch" in done.stderr or "No module named 'ray" in done.stderr
