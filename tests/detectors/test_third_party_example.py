"""The package in examples/third_party_detector, built and installed as a user would, in a folder of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.needs import needs

from deeptrace.video import write_video

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "third_party_detector"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package installed in it."""
    needs("pip", "hatchling")
    source = shutil.copytree(EXAMPLE, tmp_path_factory.mktemp("source") / "package")
    site = tmp_path_factory.mktemp("site")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*install, "--target", str(site), str(source)], check=True, capture_output=True, text=True)
    return site


def deeptrace(site: Path, *args: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), *sys.path])}
    command = [sys.executable, "-c", "from deeptrace.cli.main import main; main()", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_the_example_is_listed_and_judges(site: Path, tmp_path: Path) -> None:
    rows = {row["name"]: row for row in json.loads(deeptrace(site, "detectors", "--json").stdout)}
    assert rows["flicker:..."]["origin"] == "flicker-detector"
    levels = [40, 40, 40, 40, 190, 190, 190, 190]
    write_video(tmp_path / "jump.mp4", (np.full((48, 64, 3), level, np.uint8) for level in levels), fps=8.0)
    write_video(tmp_path / "still.mp4", (np.full((48, 64, 3), 90, np.uint8) for _ in range(8)), fps=8.0)
    ran = deeptrace(
        site, "detect", tmp_path, "--detector", "flicker:", "--json", "--workers", 1, "--set", "threshold=0.3"
    )
    assert ran.returncode == 0, ran.stderr
    jump, still = (json.loads(line) for line in ran.stdout.splitlines())
    assert (jump["label"], still["label"]) == ("FAKE", "REAL")
    assert jump["traces"][0]["onset_s"] == pytest.approx(0.5)
    assert jump["detector"]["settings"] == {"threshold": 0.3}


def test_the_example_is_as_short_as_promised() -> None:
    lines = (EXAMPLE / "flicker_detector.py").read_text().splitlines()
    assert len([line for line in lines if line.strip()]) <= 30
