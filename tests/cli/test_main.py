from __future__ import annotations

import inspect
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import deeptrace
from deeptrace.detectors.tracenet import load

HEAVY = {"av", "cv2", "numpy", "onnxruntime", "pydantic", "scipy", "torch", "jinja2", "fsspec"}


def python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("module", ["deeptrace", "deeptrace.cli.main"])
def test_importing_loads_nothing_heavy(module: str) -> None:
    loaded = {name.split(".")[0] for name in python(f"import sys, {module}; print('\\n'.join(sys.modules))").split()}
    assert not HEAVY & loaded


def test_help_costs_little_more_than_its_libraries() -> None:
    def cost(*arguments: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *arguments], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    # Processor time, because a busy machine makes everything late; beside that of the libraries, the least of three of
    # each, because neighbours in the caches make even that longer. About 2.4 times as much, for the page itself.
    libraries = min(cost("-c", "import typer, rich.console, rich.table, rich.panel") for _ in range(3))
    assert min(cost("-m", "deeptrace.cli.main", "--help") for _ in range(3)) < 4 * libraries


def test_help_says_defaults_and_flows() -> None:
    shown = subprocess.run([sys.executable, "-m", "deeptrace.cli.main", "synth", "-h"], capture_output=True, text=True)
    words = " ".join(shown.stdout.replace("│", " ").split())
    assert "How many to make. [default: one per real clip]" in words
    assert "each is named; 130: stopped, what was done is kept." in words


def test_help_of_detect_names_every_setting_of_the_default_detector_and_its_default() -> None:
    shown = subprocess.run([sys.executable, "-m", "deeptrace.cli.main", "detect", "-h"], capture_output=True, text=True)
    words = " ".join(shown.stdout.replace("│", " ").split())
    settings = dict(list(inspect.signature(load).parameters.items())[1:])
    assert set(settings) == {"threshold", "min_score", "fast", "prior"}
    assert f"tracenet's is {settings['threshold'].default}" in words
    for name in ("min_score", "prior"):
        assert f"{name} ({settings[name].default}:" in words
    assert f"fast ({str(settings['fast'].default).lower()}:" in words


def test_all_holds_the_truth() -> None:
    assert deeptrace.__all__ == sorted(deeptrace.__all__)
    for name in deeptrace.__all__:
        assert getattr(deeptrace, name) is not None
    assert set(dir(deeptrace)) == set(deeptrace.__all__)
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = deeptrace.no_such_name


def test_every_public_name_is_documented() -> None:
    for name in deeptrace.__all__:
        if name != "__version__":
            assert (getattr(deeptrace, name).__doc__ or "").strip(), name


def test_the_version_is_the_package_s() -> None:
    out = subprocess.run([sys.executable, "-m", "deeptrace.cli.main", "--version"], capture_output=True, text=True)
    assert out.stdout == f"deeptrace {deeptrace.__version__}\n"


def test_a_closed_pipe_is_no_traceback() -> None:
    command = (
        f"{sys.executable} -m deeptrace.cli.main detect nope1.mp4 nope2.mp4 --workers 1 --detector baseline:d3 --json"
    )
    out = subprocess.run(["bash", "-c", f"{command} | true"], capture_output=True, text=True)
    assert "Traceback" not in out.stderr
    assert "Exception ignored" not in out.stderr


def test_a_disk_that_takes_no_more_is_one_error_that_names_the_file(tmp_path: Path) -> None:
    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))

    command = [sys.executable, "-m", "deeptrace.cli.main", "detect", "nope.mp4", "--out", str(tmp_path / "run")]
    out = subprocess.run(command, capture_output=True, text=True, preexec_fn=small_files)
    assert out.returncode == 2
    said = " ".join(out.stderr.split())
    assert said.startswith(f"error: {tmp_path / 'run' / 'manifest.json'}: File too large. ")
    assert "(ulimit -f)" in said
    assert "Traceback" not in out.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_one_error_with_the_mend() -> None:
    with open("/dev/full", "w") as full:
        out = subprocess.run(
            [sys.executable, "-m", "deeptrace.cli.main", "detectors"], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert out.returncode == 2
    said = " ".join(out.stderr.split())
    assert said == ("error: the output: No space left on device. Free some space there, and run the command again.")
