"""What a test needs beyond the tools that `make test` installs, and the command that runs it."""

from __future__ import annotations

import importlib
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

COMMAND = "make test TORCH=1"
"""Installs every extra and every test tool."""


def needs(*modules: str, command: str = COMMAND) -> Any:
    """The first of `modules`, imported.

    Where one is not installed, the test is skipped (the whole file, when called while it is imported), and the reason
    names the command that runs it. A module that is there but broken fails, as it should. `command` is another one for
    a peer that no extra brings.
    """
    __tracebackhide__ = True  # the skip is of the caller's file; pytest-xdist would count those of one place once
    for name in modules:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name.partition(".")[0]:
                raise
            pytest.skip(f"needs {error.name}: {command}", allow_module_level=True)
    return importlib.import_module(modules[0])


def needs_torchvision() -> None:
    """Skip where torchvision does not import; one of another build than torch does not."""
    try:
        importlib.import_module("torchvision")
    except (ImportError, RuntimeError) as error:
        why = str(error).partition("\n")[0]
        pytest.skip(f"needs a torchvision of the same build as torch, then {COMMAND} ({why})")


def needs_chromium() -> str:
    """The path of a Chromium; skips, a whole file too, where there is none."""
    __tracebackhide__ = True
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("needs a browser: sudo apt-get install chromium, then make test", allow_module_level=True)
    return found


def needs_postgresql() -> Path:
    """The folder of PostgreSQL's tools; skips where it is not installed, or where root has no user to run it as."""
    __tracebackhide__ = True
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    initdb = str(found[-1]) if found else shutil.which("initdb")
    if initdb is None:
        pytest.skip("needs PostgreSQL: sudo apt-get install postgresql, then make test")
    if os.geteuid() == 0 and (shutil.which("runuser") is None or not _is_user("postgres")):
        pytest.skip("needs a user to run PostgreSQL as: run the tests as another one than root")
    return Path(initdb).parent


def _is_user(name: str) -> bool:
    import pwd

    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
