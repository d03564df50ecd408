from __future__ import annotations

import importlib
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from deeptrace.detectors import families, load_detector, registry
from deeptrace.detectors.base import AnalysingDetector, Detector
from deeptrace.errors import MissingExtraError, ModelError, SettingsError, UnknownDetectorError


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Install a package with the given module text and entry points, as pip would lay it out."""

    def install(name: str, module: str, points: str) -> None:
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(module))
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[deeptrace.detectors]\n{points}\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        importlib.invalidate_caches()

    yield install
    sys.modules.pop("acme_detector", None)


ACME = """
    from deeptrace.schema import DetectorInfo, Label, Outcome, Verdict

    class Acme:
        def __init__(self, size, strict):
            self.info = DetectorInfo(name=f"acme:{size}", version="3", settings={"strict": strict})

        def detect(self, video):
            return Verdict(video=video.path, outcome=Outcome.SCORED, label=Label.REAL, detector=self.info)

    def load(rest, *, strict=False):
        return Acme(rest, strict)

    def nothing(rest):
        return None
"""


@pytest.mark.parametrize("name", [name for name, about in families()["baseline"].names.items() if "needs" not in about])
def test_every_listed_baseline_loads_and_says_its_name(name: str) -> None:
    detector = load_detector(name)
    assert isinstance(detector, Detector)
    assert detector.info.name == name


@pytest.mark.parametrize("name", [name for name, about in families()["baseline"].names.items() if "needs" in about])
def test_a_listed_baseline_that_needs_weights_says_how_to_make_them(name: str) -> None:
    with pytest.raises(SettingsError, match="trained first"):
        load_detector(name)


def test_only_statistics_show_evidence() -> None:
    assert isinstance(load_detector("baseline:d3"), AnalysingDetector)
    assert not isinstance(load_detector("baseline:all-real"), AnalysingDetector)


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [("trcenet", "tracenet"), ("baseline:dd3", "baseline:d3"), ("base:npr", "baseline:npr"), ("", "tracenet")],
)
def test_unknown_names_suggest_near_ones(name: str, suggestion: str) -> None:
    with pytest.raises(UnknownDetectorError) as caught:
        load_detector(name)
    assert suggestion in str(caught.value)
    assert "\n" not in str(caught.value)


def test_tracenet_takes_a_folder_with_a_model_after_the_colon() -> None:
    with pytest.raises(ModelError, match=r"large: no tracenet\.json there"):
        load_detector("tracenet:large")


def test_settings_reach_the_detector_and_wrong_ones_are_named() -> None:
    assert load_detector("baseline:d3", threshold=-0.5).info.settings["threshold"] == -0.5
    with pytest.raises(SettingsError, match=r"does not take these settings: thresold\. It takes: threshold"):
        load_detector("baseline:d3", thresold=1)
    with pytest.raises(SettingsError, match=r"\(0, 1\]"):
        load_detector("baseline:center-box", size=1.5)


def test_other_packages_add_detectors(installed) -> None:
    installed("acme_detector", ACME, "acme = acme_detector:load")
    family = families()["acme"]
    assert family.origin == "acme_detector"
    detector = load_detector("acme:small", strict=True)
    assert detector.info.name == "acme:small"
    assert detector.info.settings == {"strict": True}
    with pytest.raises(SettingsError, match=r"these settings: loud\. It takes: strict\."):
        load_detector("acme:small", loud=True)


def test_nobody_takes_over_a_built_in_name(installed) -> None:
    installed("acme_detector", ACME, "baseline = acme_detector:load")
    assert families()["baseline"].origin == "deeptrace"
    assert load_detector("baseline:d3").info.name == "baseline:d3"


@pytest.mark.parametrize(
    ("point", "words"),
    [
        ("nowhere_at_all:load", "cannot be imported"),
        ("acme_detector:gone", "cannot be imported"),
        ("acme_detector:nothing", "NoneType"),
    ],
)
def test_broken_packages_fail_in_one_line_and_leave_others_alone(installed, point: str, words: str) -> None:
    installed("acme_detector", ACME, f"acme = {point}")
    with pytest.raises(ModelError, match=words):
        load_detector("acme:x")
    assert load_detector("baseline:npr").info.name == "baseline:npr"


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    family = registry.Family("far", "deeptrace.detectors.baselines:load", "far", needs=("no_such_module",), extra="api")
    monkeypatch.setattr(registry, "BUILT_IN", (*registry.BUILT_IN, family))
    with pytest.raises(MissingExtraError, match=r"deeptrace-video\[api\]"):
        load_detector("far:x")


def test_listing_families_imports_none_of_them() -> None:
    code = "import sys; from deeptrace.detectors.registry import families; families(); print('\\n'.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"onnxruntime", "torch", "deeptrace.detectors.baselines"} & set(loaded)
