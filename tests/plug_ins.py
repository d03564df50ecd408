"""Detectors installed for a test as a user's package would be: found by entry point, in this process and in workers."""

from __future__ import annotations

import importlib
import os
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deeptrace.detectors import registry

ROOT = Path(__file__).resolve().parents[1]


@contextmanager
def plug_in(site: Path, prefix: str, source: str, target: str = "load") -> Iterator[str]:
    """The name, `prefix:`, of a detector family whose module has this source, until the block ends."""
    module = f"{prefix}_detector"
    (site / f"{module}.py").write_text(textwrap.dedent(source))
    info = site / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[deeptrace.detectors]\n{prefix} = {module}:{target}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(site))
        patch.syspath_prepend(str(ROOT))
        patch.setenv("PYTHONPATH", os.pathsep.join([str(site), str(ROOT), os.environ.get("PYTHONPATH", "")]))
        importlib.invalidate_caches()
        registry._families.cache_clear()
        yield f"{prefix}:"
    registry._families.cache_clear()
    sys.modules.pop(module, None)
