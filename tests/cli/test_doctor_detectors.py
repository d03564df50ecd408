from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from deeptrace.cli import doctor
from deeptrace.cli.doctor import Check, run_checks
from deeptrace.cli.main import app
from deeptrace.detectors import families
from deeptrace.errors import install_command

runner = CliRunner()


def test_detectors_lists_every_name_with_its_state() -> None:
    rows = json.loads(runner.invoke(app, ["detectors", "--json"]).stdout)
    names = [row["name"] for row in rows]
    assert names[0] == "tracenet"
    assert [row["name"] for row in rows if row["default"]] == ["tracenet"]
    assert set(families()["baseline"].names) <= set(names)
    assert all(row["summary"] for row in rows)
    table = runner.invoke(app, ["detectors"], env={"COLUMNS": "140"})
    assert table.exit_code == 0
    assert "baseline:npr" in table.stdout


def test_doctor_tries_what_detect_needs() -> None:
    result = runner.invoke(app, ["doctor", "--json"])
    checks = {check["name"]: check for check in json.loads(result.stdout)}
    assert checks["video"]["state"] == "ok"
    assert checks["onnxruntime"]["state"] == "ok"
    assert "libx264" in checks["encoders"]["detail"]
    assert {"extra api", "extra bench", "extra remote", "extra train"} <= set(checks)
    assert result.exit_code == int(any(check["state"] == "problem" for check in checks.values()))


def test_a_check_that_breaks_is_a_problem_and_the_rest_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> list[Check]:
        raise ImportError("libGL.so.1: cannot open shared object file")

    healthy = [Check("disk", "ok", "plenty")]
    monkeypatch.setattr(doctor, "_CHECKS", (("video", broken), ("disk", lambda: healthy)))
    assert run_checks() == [
        Check("video", "problem", "ImportError: libGL.so.1: cannot open shared object file"),
        *healthy,
    ]
    result = runner.invoke(app, ["doctor"], env={"COLUMNS": "140"})
    assert result.exit_code == 1
    assert "libGL" in result.stdout


def test_a_missing_encoder_and_extra_are_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "ENCODERS", ("libx264", "no_such_codec"))
    monkeypatch.setattr("importlib.metadata.requires", lambda _: ["nope>=1; extra == 'far'", "numpy; extra == 'near'"])
    checks = {check.name: check for check in run_checks()}
    assert (checks["encoders"].state, checks["encoders"].detail) == ("optional", "missing: no_such_codec")
    assert checks["extra far"].mend == install_command("far")
    assert checks["extra near"].state == "ok"


def test_little_disk_space_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "LOW_DISK_BYTES", 1 << 62)
    assert {check.state for check in run_checks() if check.name.startswith("disk")} == {"problem"}
