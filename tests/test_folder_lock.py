from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from deeptrace.errors import SettingsError
from deeptrace.folder_lock import FolderLock

HOLD = "import sys; from deeptrace.folder_lock import FolderLock; f = FolderLock(sys.argv[1]); print(1); input()"


def test_one_run_at_a_time(tmp_path: Path) -> None:
    first = FolderLock(tmp_path)
    with pytest.raises(SettingsError, match=r"another run is writing into this folder\. Wait"):
        FolderLock(tmp_path)
    first.release()
    first.release()
    FolderLock(tmp_path).release()


def test_a_killed_run_holds_nothing(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdin=-1, stdout=-1) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"1\n"
        with pytest.raises(SettingsError, match="another run"):
            FolderLock(tmp_path)
        other.kill()
    FolderLock(tmp_path).release()


def test_a_folder_is_made_unless_a_file_is_in_the_way(tmp_path: Path) -> None:
    with FolderLock(tmp_path / "new/one"):
        assert (tmp_path / "new/one").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="cannot be used as a folder for results: File exists"):
        FolderLock(tmp_path / "file")
