"""A studio's work in one file, made while people go on working, and a studio made of it again elsewhere.

The file is a tar: `manifest.json`, the database (SQLite's own copy, or what `pg_dump` writes) and the store's files by
clip. The database is copied first, in one state; a clip's files are there before the database speaks of them, so all
that it speaks of comes along. The hashes of passwords do, too: only its owner may read the file.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import sqlite3
import subprocess
import tarfile
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import make_url

import deeptrace
from deeptrace.errors import DataError, SettingsError
from deeptrace.studio.database import Database, clips, edits, known_revisions, log_ins, metadata, now, people, sessions
from deeptrace.studio.settings import StudioSettings
from deeptrace.urls import public_url

__all__ = ["back_up", "restore"]

_FORMAT = 1
_MANIFEST, _DATABASE = "manifest.json", "database"
_OF_A_CLIP = re.compile(r"clips/[1-9][0-9]{0,9}/[a-z]+(\.[a-z0-9]+)?")
_KEPT = ("upload", "url")
"""Origins of clips that lie in the store itself."""


def back_up(settings: StudioSettings, target: Path) -> None:
    """Copy a studio's database and files, whether it runs or not.

    Args:
        settings: of the studio.
        target: file to write; it appears when it is whole.

    Raises:
        SettingsError: there is no such studio, the file is there already or cannot be written, or `pg_dump` is missing
            or fails.
    """
    if target.exists():
        raise SettingsError(str(target), "is there already", "Give each backup a name of its own.")
    handle, scratch = _scratch(target)
    try:
        with tempfile.TemporaryDirectory(dir=target.parent) as folder, os.fdopen(handle, "wb") as file:
            copy = Path(folder) / _DATABASE
            kind = _dialect(settings)
            revision = (_copy_sqlite if kind == "sqlite" else _dump_postgresql)(settings, copy)
            manifest = {"format": _FORMAT, "deeptrace": deeptrace.__version__, "made_at": now(), "database": kind}
            manifest |= {"schema": revision, "sha256": _digest(copy), "home": str(settings.home.absolute())}
            with tarfile.open(fileobj=file, mode="w") as tar:
                text = json.dumps(manifest, indent=1).encode()
                about = tarfile.TarInfo(_MANIFEST)
                about.size = len(text)
                tar.addfile(about, io.BytesIO(text))
                tar.add(copy, _DATABASE)
                for path in sorted((settings.home / "clips").glob("*/*")):
                    if _OF_A_CLIP.fullmatch(name := path.relative_to(settings.home).as_posix()):
                        tar.add(path, name, recursive=False)
            file.flush()
            os.fsync(file.fileno())
        os.replace(scratch, target)
    except OSError as error:
        raise SettingsError(str(target), f"cannot be written ({error.strerror or error})") from None
    finally:
        Path(scratch).unlink(missing_ok=True)


def restore(settings: StudioSettings, source: Path) -> dict[str, int]:
    """Make a studio of a backup, where none is yet; everybody has to log in anew.

    Clips of a folder are looked for in `settings.place`, by their names, where they are not at their old path.

    Args:
        settings: of the studio to be.
        source: a file that `back_up` wrote.

    Returns:
        How many `clips`, `edits` and `people` there are in it.

    Raises:
        DataError: the file is no whole backup, or one of a newer deeptrace.
        SettingsError: there is a studio already, the backup is of another kind of database, or `pg_restore` is missing
            or fails.
    """
    home = settings.home.absolute()
    own = Path(make_url(settings.database_url).database or "") if _dialect(settings) == "sqlite" else None
    if (home / "clips").exists() or (own is not None and own.exists()):
        raise SettingsError(str(home), "there is a studio already", "Restore into an empty --store.")
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home, prefix=".restore-") as name:
        folder = Path(name)
        manifest = _unpacked(source, folder)
        if manifest["database"] != _dialect(settings):
            mend = "It needs --database with a PostgreSQL URL." if manifest["database"] == "postgresql" else ""
            raise SettingsError(str(source), f"is of {manifest['database']}, not of {_dialect(settings)}", mend)
        if own is not None:
            _check_sqlite(folder / _DATABASE, source)
            own.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(folder / _DATABASE, own)
        else:
            _load_postgresql(settings, folder / _DATABASE)
        if (folder / "clips").exists():
            os.replace(folder / "clips", home / "clips")
    database = Database(settings.database_url)
    try:
        return _settled(database, settings, home)
    finally:
        database.close()


def _settled(database: Database, settings: StudioSettings, home: Path) -> dict[str, int]:
    """Clips at their new places, nobody logged in; what there is."""
    with database.writing() as connection:
        connection.execute(sa.delete(sessions))
        connection.execute(sa.delete(log_ins))
        for row in connection.execute(sa.select(clips.c.id, clips.c.name, clips.c.path, clips.c.origin)).all():
            path = row.path
            if row.origin in _KEPT:
                path = str(home / "clips" / str(row.id) / "source")
            elif row.origin == "folder" and settings.place is not None and not Path(path).exists():
                here = Path(os.path.abspath(settings.place / row.name))
                path = str(here) if here.is_file() else path
            if path != row.path:
                connection.execute(sa.update(clips).where(clips.c.id == row.id).values(path=path))
        found = {"clips": clips, "edits": edits, "people": people}
        return {name: connection.scalar(sa.select(sa.func.count()).select_from(of)) or 0 for name, of in found.items()}


def _unpacked(source: Path, folder: Path) -> dict[str, Any]:
    """The manifest of a backup whose files are in the folder now."""
    try:
        with tarfile.open(source) as tar:
            for member in tar:
                known = member.name in (_MANIFEST, _DATABASE) or _OF_A_CLIP.fullmatch(member.name)
                if not (member.isreg() and known):
                    raise DataError(str(source), f"holds {member.name[:80]!r}, which no backup does")
                tar.extract(member, folder, filter="data")
        manifest = json.loads((folder / _MANIFEST).read_text())
        if manifest["format"] != _FORMAT or manifest["schema"] not in known_revisions():
            raise DataError(str(source), f"was made by a newer deeptrace ({manifest['deeptrace']})")
        if manifest["sha256"] != _digest(folder / _DATABASE):
            raise DataError(str(source), "its database is not the one that was backed up (SHA-256)")
    except FileNotFoundError as error:
        missing = source if error.filename == str(source) else _MANIFEST
        raise DataError(str(source), "is not there" if missing is source else "is no whole backup") from None
    except (tarfile.TarError, EOFError, OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(str(source), f"is no whole backup ({error})") from None
    return dict(manifest)


def _dialect(settings: StudioSettings) -> str:
    return make_url(settings.database_url).get_backend_name()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _scratch(target: Path) -> tuple[int, str]:
    """A file that only its owner may read, beside the target."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        return tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:40]}.")
    except OSError as error:
        raise SettingsError(str(target), f"cannot be written ({error.strerror})") from None


# -- SQLite ------------------------------------------------------------------------------------------------------------


def _copy_sqlite(settings: StudioSettings, copy: Path) -> str:
    """One state of it, by SQLite's online backup: writers go on. Returns the schema's revision."""
    path = make_url(settings.database_url).database or ""
    if not Path(path).is_file():
        raise SettingsError(path, "there is no studio", "Name the folder that it shows, or its --store.")
    with closing(sqlite3.connect(path, timeout=20)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
        target.execute("PRAGMA journal_mode=DELETE")  # one file, without a log beside it
        return str(target.execute("SELECT version_num FROM alembic_version").fetchone()[0])


def _check_sqlite(path: Path, source: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        try:
            said = [row[0] for row in connection.execute("PRAGMA integrity_check(1)")]
            broken = connection.execute("PRAGMA foreign_key_check").fetchone()
        except sqlite3.DatabaseError as error:
            said, broken = [str(error)], None
    if said != ["ok"] or broken is not None:
        raise DataError(
            str(source), f"its database is damaged ({said[0] if said != ['ok'] else 'rows without parents'})"
        )


# -- PostgreSQL, by its own tools --------------------------------------------------------------------------------------


def _dump_postgresql(settings: StudioSettings, copy: Path) -> str:
    """One state of the studio's tables; returns the schema's revision."""
    engine = sa.create_engine(settings.database_url)
    try:
        with engine.connect() as connection:
            revision = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
    except sa.exc.SQLAlchemyError as error:
        why = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        raise SettingsError(public_url(settings.database_url), f"holds no studio ({why})") from None
    finally:
        engine.dispose()
    tables = [f"--table={name}" for name in ("alembic_version", *metadata.tables)]
    _tool(settings, "pg_dump", "--format=custom", "--no-owner", "--no-privileges", *tables, f"--file={copy}")
    return str(revision)


def _load_postgresql(settings: StudioSettings, dump: Path) -> None:
    engine = sa.create_engine(settings.database_url)
    try:
        taken = set(sa.inspect(engine).get_table_names()) & {"alembic_version", *metadata.tables}
    finally:
        engine.dispose()
    if taken:
        raise SettingsError(
            public_url(settings.database_url), "there is a studio already", "Restore into an empty one."
        )
    _tool(settings, "pg_restore", "--exit-on-error", "--single-transaction", "--no-owner", "--no-privileges", str(dump))


def _tool(settings: StudioSettings, name: str, *arguments: str) -> None:
    """Run one of PostgreSQL's tools on the database; the password does not stand in the list of processes."""
    tool = shutil.which(name)
    if tool is None:
        raise SettingsError(name, "is not installed", "Install PostgreSQL's client, of the server's version or newer.")
    url = make_url(settings.database_url)
    shown = url.set(drivername="postgresql", password=None).render_as_string(hide_password=False)
    secret = {} if url.password is None else {"PGPASSWORD": str(url.password)}
    words = [tool, "--no-password", f"--dbname={shown}", *arguments]
    done = subprocess.run(words, env=os.environ | secret, capture_output=True, text=True, errors="replace")
    if done.returncode:
        why = (done.stderr.strip().splitlines() or ["without a word"])[-1]
        raise SettingsError(public_url(settings.database_url), f"{name} failed ({why.removeprefix(f'{name}: ')[:300]})")
