"""A studio's work copied while people go on working, and a studio made of the copy elsewhere."""

from __future__ import annotations

import io
import json
import os
import stat
import tarfile
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from tests.studio.conftest import OURS, Start, client, needs_studio, team, usual_database, write_square
from typer.testing import CliRunner

from deeptrace.errors import DataError, SettingsError
from deeptrace.studio import StudioSettings

sa = needs_studio()

from deeptrace.cli.main import app  # noqa: E402
from deeptrace.studio.accounts import Accounts  # noqa: E402
from deeptrace.studio.backup import back_up, restore  # noqa: E402
from deeptrace.studio.database import Database, clips, sessions  # noqa: E402


@pytest.fixture
def empty_url(request: pytest.FixtureRequest, database_url: str, tmp_path: Path) -> str:
    """A second database of the same kind, to restore into."""
    if database_url.startswith("sqlite"):
        return f"sqlite:///{tmp_path / 'elsewhere' / 'studio.sqlite'}"
    return str(request.getfixturevalue("postgresql")(f"r{abs(hash(request.node.nodeid)):x}"[:40]))


class Writer(threading.Thread):
    """Somebody who marks one trace after another, and knows which of them were confirmed."""

    def __init__(self, one: Any, clip: int) -> None:
        super().__init__()
        self.confirmed: list[str] = []
        self.done = threading.Event()
        self._one, self._path = one, f"/api/clips/{clip}/annotation/edits"
        self.start()

    def run(self) -> None:
        while not self.done.is_set():
            number = len(self.confirmed)
            trace = {"type": "trace", "onset_s": 0.0, "offset_s": 1.0, "explanation": str(number)}
            edit = {"id": f"e{number}", "object": f"o{number}", "after": trace}
            said = self._one.http.post(self._path, json={"version": number, "edits": [edit]}, headers=OURS)
            assert said.status_code == 200, said.text
            self.confirmed.append(edit["id"])

    def wait(self, count: int) -> None:
        deadline = time.monotonic() + 60
        while len(self.confirmed) < count:
            assert self.is_alive()
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_a_backup_during_writes_has_all_that_was_confirmed_before_it(
    studio: Start, tmp_path: Path, database_url: str, empty_url: str
) -> None:
    settings = {"place": tmp_path / "clips", "database": database_url, "store": tmp_path / "store"}
    write_square(tmp_path / "clips" / "square.mp4")
    one = studio(**settings)
    sent = (tmp_path / "clips" / "square.mp4").read_bytes()
    uploaded = one.http.post("/api/uploads", params={"name": "sent.mp4"}, content=sent, headers=OURS).json()["id"]
    one.settle()
    number = one.clip("square.mp4")["id"]
    writer = Writer(one, number)
    try:
        writer.wait(10)
        before = list(writer.confirmed)
        back_up(StudioSettings(**settings), tmp_path / "copy.tar")
        writer.wait(len(writer.confirmed) + 5)  # nobody had to stop for it
    finally:
        writer.done.set()
        writer.join(60)
    assert stat.S_IMODE((tmp_path / "copy.tar").stat().st_mode) == 0o600
    os.rename(tmp_path / "clips", tmp_path / "moved")
    there = {"place": tmp_path / "moved", "database": empty_url, "store": tmp_path / "elsewhere"}
    found = restore(StudioSettings(**there), tmp_path / "copy.tar")
    history = one.get(f"/api/clips/{number}/annotation/edits")
    again = studio(**there)
    kept = again.get(f"/api/clips/{number}/annotation/edits")
    assert len(before) <= len(kept) == found["edits"] < len(history)
    assert kept == history[: len(kept)]  # one state of it, not a piece here and a piece there
    assert list(again.get(f"/api/clips/{number}/annotation")["objects"]) == [edit["object_id"] for edit in kept]
    assert again.http.get(f"/api/clips/{uploaded}/media").content == sent
    assert again.http.get(f"/api/clips/{number}/media").content == sent
    assert again.http.get(f"/api/clips/{number}/poster.jpg").status_code == 200
    assert again.get("/api/studio")["clips"]["all"] == found["clips"] == 2  # the folder's is the same clip, moved
    with pytest.raises(SettingsError, match="there is a studio already"):
        restore(StudioSettings(**there), tmp_path / "copy.tar")
    with pytest.raises(SettingsError, match="there is a studio already"):
        restore(StudioSettings(**there | {"store": tmp_path / "third"}), tmp_path / "copy.tar")


def place_of(store: Path) -> list[str]:
    """The options of the command for a studio of the tests: its store, and its database where that is elsewhere."""
    database = usual_database(store)
    return ["--store", str(store), *(["--database", database] if database else [])]


def test_the_command_copies_and_restores_and_old_sessions_end(studio: Start, tmp_path: Path) -> None:
    one = studio(**team(tmp_path))
    runner = CliRunner()
    with client(one, "annotator") as http:
        (token,) = http.cookies.values()
    store, target = place_of(tmp_path / "store"), str(tmp_path / "copy.tar")
    made = runner.invoke(app, ["studio", *store, "--backup", target])
    assert made.exit_code == 0, made.output
    again = runner.invoke(app, ["studio", *store, "--backup", target])
    assert isinstance(again.exception, SettingsError)
    assert "is there already" in str(again.exception)
    elsewhere = place_of(tmp_path / "elsewhere")
    said = runner.invoke(app, ["studio", *elsewhere, "--restore", target])
    assert said.exit_code == 0, said.output
    assert "0 clips, 0 edits, 4 accounts" in " ".join(said.output.split())
    there = tmp_path / "elsewhere"
    restored = Database(StudioSettings(store=there, database=usual_database(there)).database_url)
    assert one.api.accounts.person_of(token).name == "annotator"
    assert Accounts(restored).person_of(token) is None
    with restored.reading() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(sessions)) == 0
    restored.close()
    none = runner.invoke(app, ["studio", "--store", str(tmp_path / "none"), "--backup", str(tmp_path / "x.tar")])
    assert isinstance(none.exception, SettingsError)
    assert not list(tmp_path.glob("*x.tar*"))


def changed(source: Path, target: Path, change: Any) -> Path:
    """A backup with other members: `change` gets their bytes by name."""
    with tarfile.open(source) as tar:
        members = {member.name: tar.extractfile(member).read() for member in tar}
    change(members)
    with tarfile.open(target, "w") as tar:
        for name, data in members.items():
            about = tarfile.TarInfo(name)
            about.size = len(data)
            tar.addfile(about, io.BytesIO(data))
    return target


def test_a_file_that_is_no_whole_backup_makes_no_studio(tmp_path: Path) -> None:
    settings = StudioSettings(store=tmp_path / "store")
    database = Database(settings.database_url)
    with database.writing() as connection:
        rows = [{"name": f"{n}", "path": f"/{n}", "origin": "path", "added_at": 0.0} for n in range(500)]
        connection.execute(sa.insert(clips), rows)
    database.close()
    good = tmp_path / "good.tar"
    back_up(settings, good)

    def newer(members: dict[str, bytes]) -> None:
        members["manifest.json"] = json.dumps(json.loads(members["manifest.json"]) | {"schema": "9999"}).encode()

    def spoilt(members: dict[str, bytes]) -> None:
        """Of the same digest as the manifest says, so that SQLite itself has to notice."""
        import hashlib

        bytes_ = bytearray(members["database"])
        bytes_[8192:40960] = b"\x5a" * 32768
        members["database"] = bytes(bytes_)
        manifest = json.loads(members["manifest.json"]) | {"sha256": hashlib.sha256(bytes_).hexdigest()}
        members["manifest.json"] = json.dumps(manifest).encode()

    wrong = {
        "made by a newer deeptrace": newer,
        "is damaged": spoilt,
        "SHA-256": lambda members: members.update(database=members["database"][:-1] + b"x"),
        "which no backup does": lambda members: members.update({"../evil": b"x"}),
        "is no whole backup": lambda members: members.pop("database"),
    }
    for at, (why, change) in enumerate(wrong.items()):
        with pytest.raises(DataError, match=why):
            restore(StudioSettings(store=tmp_path / f"r{at}"), changed(good, tmp_path / f"{at}.tar", change))
        assert list((tmp_path / f"r{at}").iterdir()) == []
    assert not (tmp_path / "evil").exists()
    (tmp_path / "half.tar").write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    for name, why in (("half.tar", "is no whole backup"), ("none.tar", "is not there")):
        with pytest.raises(DataError, match=why):
            restore(StudioSettings(store=tmp_path / "r"), tmp_path / name)
    assert restore(StudioSettings(store=tmp_path / "r"), good)["clips"] == 500
