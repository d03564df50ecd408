"""The example in docs/detectors.md, run as it stands there."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from deeptrace.detectors import AnalysingDetector, load_detector
from deeptrace.schema import Label
from deeptrace.video import video_from_array

PAGE = Path(__file__).resolve().parents[2] / "docs" / "detectors.md"


@pytest.fixture
def dark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    text = PAGE.read_text()
    (code,) = re.findall(r"```python\n# dark_detector.py\n(.*?)```", text, flags=re.S)
    (points,) = re.findall(
        r'```toml\n# pyproject.toml\n\[project\.entry-points\."deeptrace\.detectors"\]\n(.*?)```', text, re.S
    )
    assert len(code.splitlines()) <= 30
    (tmp_path / "dark_detector.py").write_text(code)
    info = tmp_path / "dark_detector-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: dark_detector\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[deeptrace.detectors]\n{points}".replace('"', ""))
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    yield
    sys.modules.pop("dark_detector", None)


@pytest.mark.parametrize(("level", "label"), [(20, Label.FAKE), (230, Label.REAL)])
def test_the_example_works(dark, level: int, label: Label) -> None:
    video = video_from_array(np.full((8, 32, 32, 3), level, np.uint8), fps=8.0)
    detector = load_detector("dark:", threshold=0.7)
    verdict = detector.detect(video)
    assert verdict.label is label
    assert verdict.p_fake == pytest.approx(1 - level / 255, abs=0.02)
    assert isinstance(detector, AnalysingDetector)
    curves = detector.analyse(video, curves=True).curves
    assert [at for at, _ in curves["brightness"]] == pytest.approx([0.0, 0.25, 0.5, 0.75])
