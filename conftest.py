"""What the collector must not import for its doctests."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

# Plug-ins that are only importable inside their host program.
collect_ignore = [f"src/deeptrace/reward/adapters/{name}.py" for name in ("cosmos_rl", "flow_factory", "unirl_service")]
collect_ignore.append("src/deeptrace/benchmark/vlmevalkit.py")
collect_ignore.append("src/deeptrace/scale/curator.py")  # its base class is NeMo Curator's; tests/scale runs it there
collect_ignore.append("src/deeptrace/studio/migrations")  # inside alembic
if importlib.util.find_spec("sqlalchemy") is None:
    collect_ignore.append("src/deeptrace/studio")

WITHOUT_TORCH = importlib.util.find_spec("torch") is None
NEEDS_TORCH = re.compile(r"^(?:import|from) (?:torch|transformers)\b", re.MULTILINE)


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Without torch, leave alone what has no example to run or cannot run it; with torch, every module is imported."""
    if not WITHOUT_TORCH or collection_path.suffix != ".py" or collection_path.name.startswith("test_"):
        return None
    text = collection_path.read_text(encoding="utf-8")
    return True if ">>>" not in text or NEEDS_TORCH.search(text) else None
