"""Only benchmarks that train or run a net of torch's need torch: a reader of the others has the base install."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
NEED_TORCH = {
    "close_the_loop",
    "close_the_loop_on_footage",
    "constrained_decoding",
    "detect_unseen",
    "mllm_speed",
    "sft_prepare",
    "sft_speed",
}
PROGRAM = """
import importlib, sys
class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError("No module named 'torch'", name="torch")
sys.meta_path.insert(0, NoTorch())
for name in sys.argv[1:]:
    importlib.import_module(name)
"""


@pytest.mark.parametrize("needing", [False, True])
def test_benchmarks_import_torch_only_where_they_need_it(needing: bool) -> None:
    """Both ways: a benchmark that no longer needs torch is taken off the list."""
    names = sorted(path.stem for path in FOLDER.glob("*.py"))
    asked = [[name] for name in names if name in NEED_TORCH] if needing else [[n for n in names if n not in NEED_TORCH]]
    for group in asked:
        done = subprocess.run([sys.executable, "-c", PROGRAM, *group], cwd=FOLDER, capture_output=True, text=True)
        assert (done.returncode != 0) is needing, done.stderr[-2000:]
        assert not needing or "torch" in done.stderr.splitlines()[-1]
