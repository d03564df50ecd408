"""The blocks of docs/reward.md marked "python", run as they stand there; those marked "py" need a host program."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from tests.reward.conftest import corner_clip

from deeptrace.detectors.tracenet.model import CARD_NAME, shipped_folder
from deeptrace.geometry import Box
from deeptrace.schema import Label, Media, Outcome, Trace, Verdict
from deeptrace.video import write_video

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reward.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_every_block_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not (shipped_folder() / CARD_NAME).is_file():
        pytest.skip("needs the weights of the default detector")
    monkeypatch.chdir(tmp_path)
    frames = corner_clip(60, frames=8, height=48, width=64)
    write_video("a.mp4", frames, fps=8.0)
    media = Media(width=64, height=48, duration_s=4.0)
    trace = Trace(score=0.8, onset_s=1, offset_s=2, box=Box(x0=0, y0=0, x1=0.75, y1=0.5))
    verdict = Verdict(
        video="a.mp4", outcome=Outcome.SCORED, label=Label.REAL, p_fake=0.25, media=media, traces=(trace,)
    )
    names: dict[str, object] = {"frames": frames, "verdict": verdict}
    assert len(BLOCKS) >= 6
    for block in BLOCKS:
        exec(compile(block, str(PAGE), "exec"), names)  # our own page
    assert names["parts"].reward == pytest.approx(0.556, abs=5e-4), "the case worked in the text"
    assert names["dense"].map.shape == (8, 48, 64)
    scores, _ = names["score"](np.stack([frames]).transpose(0, 1, 4, 2, 3) / 255.0, ["a cat"], [{}])
    assert scores == [pytest.approx(names["result"].reward)]


def test_links_to_notes_and_modules_exist() -> None:
    text = PAGE.read_text(encoding="utf-8")
    root = PAGE.parents[1]
    for path in re.findall(r"`((?:docs|notes)/[\w/.]+)`", text):
        assert (root / path).is_file(), path
    for module in set(re.findall(r"deeptrace\.reward\.adapters\.(\w+)", text)):
        assert (root / "src/deeptrace/reward/adapters" / f"{module}.py").is_file(), module
