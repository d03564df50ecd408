"""`deeptrace doctor`: what this machine can run, and why not.

Each check tries the thing itself; none believes a version number alone.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from deeptrace.cli.console import EXIT_FAILED_INPUTS
from deeptrace.errors import DISTRIBUTION, DeeptraceError, install_command

__all__ = ["Check", "doctor", "run_checks"]

MIN_PYTHON = (3, 11)
LOW_DISK_BYTES = 1 << 30
DECODERS = ("h264", "hevc", "vp8", "vp9", "av1", "mpeg4", "mjpeg", "gif", "prores")
ENCODERS = ("libx264", "libx265", "libvpx-vp9", "libsvtav1")


@dataclass(frozen=True)
class Check:
    """One finding.

    Attributes:
        name: what was looked at.
        state: "ok", "optional" (missing, but only something optional needs it) or "problem".
        detail: what was found.
        mend: what to do about it; empty when nothing has to be done.
    """

    name: str
    state: Literal["ok", "optional", "problem"]
    detail: str
    mend: str = ""


def run_checks() -> list[Check]:
    """All checks, in the order a clip passes them; one that breaks is a problem, not a crash."""
    checks: list[Check] = []
    for name, check in _CHECKS:
        try:
            checks += check()
        except Exception as error:  # noqa: BLE001  the very purpose: a broken library must show here, not stop the rest
            checks.append(Check(name, "problem", f"{type(error).__name__}: {error}"))
    return checks


def _python() -> list[Check]:
    found = f"{platform.python_version()} ({sys.executable}), {platform.system()} {platform.machine()}"
    if sys.version_info[:2] < MIN_PYTHON:
        return [Check("python", "problem", found, "deeptrace needs Python 3.11 or newer.")]
    return [Check("python", "ok", found)]


def _cores() -> list[Check]:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return [Check("cores", "ok", f"{usable} usable; detect uses as many worker processes for several videos")]


def _ffmpeg() -> list[Check]:
    import av

    libraries = ", ".join(f"{name} {'.'.join(map(str, version))}" for name, version in av.library_versions.items())
    checks = [Check("ffmpeg", "ok", f"inside PyAV {av.__version__}: {libraries}")]
    for kind, names, mode in (("decoders", DECODERS, "r"), ("encoders", ENCODERS, "w")):
        missing = [name for name in names if not _has_codec(name, mode)]  # type: ignore[arg-type]
        if missing:
            checks.append(Check(kind, "optional", f"missing: {', '.join(missing)}", "Files in these cannot be used."))
        else:
            checks.append(Check(kind, "ok", ", ".join(names)))
    return checks


def _has_codec(name: str, mode: Literal["r", "w"]) -> bool:
    import av

    try:
        av.Codec(name, mode)
    except av.codec.codec.UnknownCodecError:
        return False
    return True


def _round_trip() -> list[Check]:
    """Write a short H.264 clip and read it back with its times: what every command rests on."""
    import tempfile

    import numpy as np

    from deeptrace.video import open_video, write_video

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "check.mp4"
        pictures = np.arange(8, dtype=np.uint8)[:, None, None, None] * np.full((1, 48, 64, 3), 30, np.uint8)
        write_video(path, iter(pictures), fps=8.0)
        with open_video(path) as video:
            times = [frame.time_s for frame in video.frames()]
    if len(times) != 8 or abs(times[-1] - 7 / 8) > 1e-3:
        return [Check("video", "problem", f"8 frames at 8 fps were written, but their times were read back as {times}")]
    return [Check("video", "ok", "a clip was written and read back with exact times")]


def _onnxruntime() -> list[Check]:
    import onnxruntime

    providers = ", ".join(onnxruntime.get_available_providers())
    return [Check("onnxruntime", "ok", f"{onnxruntime.__version__}, providers: {providers}")]


def _default_detector() -> list[Check]:
    """Load it, which compares its model file with the checksum on its card."""
    from deeptrace.detectors import DEFAULT_DETECTOR, load_detector

    try:
        info = load_detector(DEFAULT_DETECTOR).info
    except DeeptraceError as error:
        return [Check("default detector", "problem", str(error), "Install deeptrace again.")]
    weights = info.settings.get("weights", "unknown")
    return [
        Check(
            "default detector", "ok", f"{info.name} version {info.version}, model file matches its card ({weights}...)"
        )
    ]


def _extras() -> list[Check]:
    """One finding an extra: whether each of its requirements is installed."""
    from importlib import metadata

    try:
        requirements = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:  # a source tree that is not installed says nothing of its extras
        return [Check("extras", "optional", "not known: deeptrace runs from a source tree", "pip install .")]
    wanted: dict[str, list[str]] = {}
    for line in requirements:
        requirement, _, marker = line.partition(";")
        if "extra ==" in marker:
            extra = marker.split("extra ==")[1].strip(" '\"")
            wanted.setdefault(extra, []).append(_distribution(requirement))
    checks = []
    for extra, names in sorted(wanted.items()):
        missing = [name for name in names if not _installed(name)]
        if missing:
            checks.append(Check(f"extra {extra}", "optional", f"missing: {', '.join(missing)}", install_command(extra)))
        else:
            checks.append(Check(f"extra {extra}", "ok", ", ".join(names)))
    return checks


def _distribution(requirement: str) -> str:
    for end, char in enumerate(requirement):
        if not (char.isalnum() or char in "-_."):
            return requirement[:end]
    return requirement


def _installed(name: str) -> bool:
    from importlib import metadata

    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _gpu() -> list[Check]:
    if importlib.util.find_spec("torch") is None:
        return [Check("gpu", "optional", "torch is not installed; the default detector needs neither torch nor a GPU")]
    import torch

    if not torch.cuda.is_available():
        return [Check("gpu", "optional", f"torch {torch.__version__} sees none; the default detector needs none")]
    names = ", ".join(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))
    return [Check("gpu", "ok", f"torch {torch.__version__}: {names}")]


def _disk() -> list[Check]:
    import tempfile

    checks = []
    for name, folder in (("disk here", Path.cwd()), ("disk for temporary files", Path(tempfile.gettempdir()))):
        free = shutil.disk_usage(folder).free
        detail = f"{free / 2**30:.1f} GiB free"
        if free < LOW_DISK_BYTES:
            checks.append(Check(name, "problem", detail, "Overlays and reports need room; free at least 1 GiB."))
        else:
            checks.append(Check(name, "ok", detail))
    return checks


_CHECKS: tuple[tuple[str, Callable[[], list[Check]]], ...] = (
    ("python", _python),
    ("cores", _cores),
    ("ffmpeg", _ffmpeg),
    ("video", _round_trip),
    ("onnxruntime", _onnxruntime),
    ("default detector", _default_detector),
    ("extras", _extras),
    ("gpu", _gpu),
    ("disk", _disk),
)


_STYLES = {"ok": "green", "optional": "dim", "problem": "bold red"}


def doctor(
    json_output: Annotated[bool, typer.Option("--json", help="One JSON list on stdout, and nothing else.")] = False,
) -> None:
    """Check Python, the codecs, the runtime, the default model, the extras and the disk.

    Exit code 0: the default detector can run here; 1: something it needs is missing.
    """
    import json
    from dataclasses import asdict

    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    checks = run_checks()
    if json_output:
        typer.echo(json.dumps([asdict(check) for check in checks]))
    else:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for title in ("check", "state", "detail"):
            table.add_column(title, overflow="fold")  # a path is told whole, in as many lines as it takes
        for check in checks:
            detail = f"{check.detail}\n{check.mend}" if check.mend else check.detail
            table.add_row(check.name, Text(check.state, style=_STYLES[check.state]), Text(detail))
        Console().print(table)
    if any(check.state == "problem" for check in checks):
        raise typer.Exit(EXIT_FAILED_INPUTS)
