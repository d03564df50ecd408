"""The studio's tables, and connections to them: SQLite with a write-ahead log, or PostgreSQL.

Times are seconds since 1970. Nothing of `answers`, `edits` and `audit` is ever changed or removed: what counts is the
last one. An `author` is the name of an account where there are accounts; names are never given twice.
`alembic` keeps the schema; see `migrations`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.resources import files
from pathlib import Path
from typing import Any

from deeptrace.errors import MissingExtraError, SettingsError
from deeptrace.urls import public_url

try:
    import sqlalchemy as sa
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory
    from sqlalchemy.engine import Connection
except ImportError as error:
    raise MissingExtraError("deeptrace studio", "studio") from error

__all__ = [
    "Database",
    "annotated",
    "answers",
    "assignments",
    "audit",
    "clips",
    "edits",
    "guesses",
    "honeypots",
    "identities",
    "jobs",
    "known_revisions",
    "log_ins",
    "metadata",
    "now",
    "people",
    "projects",
    "sessions",
    "verdicts",
]

_ALONE = 0x64656570
"""What those wait for who are to work one after another."""

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

clips = sa.Table(
    "clips",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(1024), nullable=False, index=True),
    sa.Column("path", sa.Text, nullable=False, unique=True),
    sa.Column("origin", sa.String(16), nullable=False),
    sa.Column("added_at", sa.Float, nullable=False),
    # what preparing finds
    sa.Column("state", sa.String(16), nullable=False, server_default="queued"),
    sa.Column("error", sa.Text),
    sa.Column("sha256", sa.String(64)),
    sa.Column("media", sa.JSON),
    sa.Column("times_s", sa.JSON),
    sa.Column("mime", sa.String(64)),
    sa.Column("play", sa.String(16)),
    sa.Column("play_note", sa.Text),
    # of the newest verdict, for lists
    sa.Column("verdict_id", sa.Integer),
    sa.Column("outcome", sa.String(32), index=True),
    sa.Column("decision", sa.String(16), index=True),
    sa.Column("p_fake", sa.Float, index=True),
    sa.Column("kinds", sa.Text, nullable=False, server_default=""),
    # of the newest answer and the annotation, for lists
    sa.Column("says", sa.String(16), index=True),
    sa.Column("answer_label", sa.String(8)),
    sa.Column("traces", sa.Integer),
)
verdicts = sa.Table(
    "verdicts",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("clip_id", sa.Integer, sa.ForeignKey("clips.id"), nullable=False, index=True),
    sa.Column("made_at", sa.Float, nullable=False),
    sa.Column("detector", sa.String(256), nullable=False),
    sa.Column("verdict", sa.JSON, nullable=False),
    sa.Column("curves", sa.JSON, nullable=False),
    sa.Column("has_heat", sa.Boolean, nullable=False, server_default=sa.false()),
)
jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("clip_id", sa.Integer, sa.ForeignKey("clips.id"), nullable=False, index=True),
    sa.Column("task", sa.String(16), nullable=False),
    sa.Column("state", sa.String(16), nullable=False, server_default="queued", index=True),
    sa.Column("priority", sa.Integer, nullable=False, server_default="0"),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("owner", sa.String(64)),
    sa.Column("leased_until", sa.Float),
    sa.Column("error", sa.Text),
    sa.Column("made_at", sa.Float, nullable=False),
    sa.Column("ended_at", sa.Float),
)
answers = sa.Table(
    "answers",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("client_id", sa.String(64), nullable=False, unique=True),
    sa.Column("clip_id", sa.Integer, sa.ForeignKey("clips.id"), nullable=False, index=True),
    sa.Column("verdict_id", sa.Integer),
    sa.Column("author", sa.String(128), nullable=False),
    sa.Column("said_at", sa.Float, nullable=False),
    sa.Column("says", sa.String(16), nullable=False),
    sa.Column("label", sa.String(8)),
    sa.Column("note", sa.Text, nullable=False, server_default=""),
)
annotated = sa.Table(
    "annotations",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("clip_id", sa.Integer, sa.ForeignKey("clips.id"), nullable=False),
    sa.Column("author", sa.String(128), nullable=False),
    sa.Column("version", sa.Integer, nullable=False, server_default="0"),
    sa.Column("objects", sa.JSON, nullable=False),
    sa.Column("imported_rows", sa.JSON),
    sa.Column("changed_at", sa.Float, nullable=False),
    # of its objects, for lists
    sa.Column("traces", sa.Integer, nullable=False, server_default="0"),
    sa.Column("done", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.UniqueConstraint("clip_id", "author"),
)
edits = sa.Table(
    "edits",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("client_id", sa.String(64), nullable=False, unique=True),
    sa.Column("annotation_id", sa.Integer, sa.ForeignKey("annotations.id"), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("author", sa.String(128), nullable=False),
    sa.Column("made_at", sa.Float, nullable=False),
    sa.Column("object_id", sa.String(64), nullable=False),
    sa.Column("before", sa.JSON),
    sa.Column("after", sa.JSON),
    sa.Column("active_s", sa.Float),  # of work, as the page measured it since the edit before; null where it did not
    sa.UniqueConstraint("annotation_id", "version"),
)
people = sa.Table(
    "people",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(64), nullable=False, unique=True),
    sa.Column("role", sa.String(16), nullable=False),
    sa.Column("password", sa.String(255), nullable=False),  # argon2's hash, with its settings; empty for none
    sa.Column("active", sa.Boolean, nullable=False, server_default=sa.true()),
    sa.Column("made_at", sa.Float, nullable=False),
)
projects = sa.Table(
    "projects",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(200), nullable=False, unique=True),
    sa.Column("guidelines", sa.Text, nullable=False, server_default=""),
    sa.Column("kinds", sa.JSON, nullable=False),  # that may be marked; empty for all
    sa.Column("prefilled_percent", sa.Integer, nullable=False, server_default="0"),
    sa.Column("wording", sa.Boolean, nullable=False, server_default=sa.true()),  # whether it may be standardised
    sa.Column("made_by", sa.String(64), nullable=False),
    sa.Column("made_at", sa.Float, nullable=False),
)
requests = sa.Table(
    "requests",
    metadata,
    sa.Column("whose", sa.String(128), primary_key=True),
    sa.Column("window", sa.Integer, primary_key=True, autoincrement=False),  # minute of the clock
    sa.Column("count", sa.Integer, nullable=False),
)
honeypots = sa.Table(
    "honeypots",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("project_id", sa.Integer, sa.ForeignKey("projects.id"), nullable=False, index=True),
    sa.Column("clip_id", sa.Integer, sa.ForeignKey("clips.id"), nullable=False, unique=True),
)
assignments = sa.Table(
    "assignments",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("clip_id", sa.Integer, sa.ForeignKey("clips.id"), nullable=False),
    sa.Column("person_id", sa.Integer, sa.ForeignKey("people.id"), nullable=False, index=True),
    sa.Column("round", sa.Integer, nullable=False),
    sa.Column("assigned_by", sa.String(64), nullable=False),
    sa.Column("assigned_at", sa.Float, nullable=False),
    sa.Column("project_id", sa.Integer, sa.ForeignKey("projects.id")),
    # whether it begins with what the detector found
    sa.Column("prefilled", sa.Boolean, nullable=False, server_default=sa.false()),
    # whether its answer is known: a decision that the person does not know of
    sa.Column("honeypot", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.UniqueConstraint("clip_id", "person_id"),
    sa.UniqueConstraint("clip_id", "round", name="uq_assignments_clip_id_round"),
)
sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("token", sa.String(64), nullable=False, unique=True),  # SHA-256 of what the browser keeps
    sa.Column("person_id", sa.Integer, sa.ForeignKey("people.id"), nullable=False, index=True),
    sa.Column("made_at", sa.Float, nullable=False),
    sa.Column("seen_at", sa.Float, nullable=False),
)
identities = sa.Table(
    "identities",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("person_id", sa.Integer, sa.ForeignKey("people.id"), nullable=False, index=True),
    sa.Column("issuer", sa.String(512), nullable=False),
    sa.Column("subject", sa.String(255), nullable=False),
    sa.UniqueConstraint("issuer", "subject"),
)
log_ins = sa.Table(  # at a provider, under way
    "log_ins",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("state", sa.String(64), nullable=False, unique=True),  # SHA-256
    sa.Column("browser", sa.String(64), nullable=False),  # SHA-256 of what the browser keeps
    sa.Column("nonce", sa.String(64), nullable=False),
    sa.Column("verifier", sa.String(128), nullable=False),
    sa.Column("redirect_uri", sa.Text, nullable=False),
    sa.Column("back_to", sa.Text, nullable=False),
    sa.Column("session", sa.String(64), nullable=False),  # that ends with it; SHA-256
    sa.Column("person_id", sa.Integer, sa.ForeignKey("people.id")),
    sa.Column("made_at", sa.Float, nullable=False),
)
guesses = sa.Table(
    "guesses",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("whose", sa.String(64), nullable=False, index=True),  # SHA-256: a name that was typed may be a password
    sa.Column("at", sa.Float, nullable=False),
)
audit = sa.Table(
    "audit",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("name", sa.String(64), nullable=False),
    sa.Column("did", sa.Text, nullable=False),
    sa.Column("address", sa.String(64), nullable=False, server_default=""),
)


def now() -> float:
    """Seconds since 1970."""
    return time.time()


_KINDS = ("sqlite", "postgresql")
_FORM = "Give postgresql+psycopg://USER@HOST/NAME, or leave it out for SQLite."


def check_kind(url: str) -> None:
    """That a database is of a kind that the studio knows.

    Raises:
        SettingsError: it is not, or `url` is no URL of a database.
    """
    try:
        kind = sa.make_url(url).get_backend_name()
    except (sa.exc.ArgumentError, ValueError):
        kind = ""
    if kind not in _KINDS:
        problem = f"is of a kind that the studio cannot use ({kind})" if kind else "is not the URL of a database"
        raise SettingsError(f"database {public_url(url)}", problem, _FORM)


class Database:
    """Connections to the tables; used from any thread.

    Args:
        url: SQLAlchemy's; `sqlite:///PATH` or `postgresql+psycopg://USER@HOST/NAME`.

    Raises:
        SettingsError: there is no such database, it is of another kind, or it was made by a newer deeptrace.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._here = threading.local()
        check_kind(url)
        try:
            self.engine = sa.create_engine(url, pool_pre_ping=not url.startswith("sqlite"))
            if self.engine.dialect.name == "sqlite":
                Path(str(self.engine.url.database)).parent.mkdir(parents=True, exist_ok=True)
                _prepare_sqlite(self.engine)
            # SQLite lets one write at a time and has the others look again and again; here they stand in a row.
            one_at_a_time = self.engine.dialect.name == "sqlite"
            self._writes: AbstractContextManager[Any] = threading.Lock() if one_at_a_time else nullcontext()
            self.migrate("head")
        except (ImportError, sa.exc.NoSuchModuleError):
            driver = sa.make_url(url).drivername
            raise SettingsError(f"database {public_url(url)}", f"there is no driver {driver} here", _FORM) from None
        except (sa.exc.SQLAlchemyError, OSError) as error:
            why = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
            raise SettingsError(f"database {public_url(url)}", f"cannot be used ({why})") from None

    def migrate(self, revision: str) -> None:
        """Bring the schema up to this version's ("head"), or back to an older revision, or to none at all ("base")."""
        config = _config()
        with self.engine.connect() as connection:
            config.attributes["connection"] = connection
            (command.upgrade if revision == "head" else command.downgrade)(config, revision)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection that sees one state of the tables."""
        with self._connected(nullcontext()) as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A connection whose changes are on the disk when the block ends well, and none of them when not."""
        with self._connected(self._writes) as connection:
            connection = connection.execution_options(studio_writes=True)
            with connection.begin():
                yield connection

    def inserting(self, table: sa.Table) -> Any:
        """An INSERT into a table that can say what is to be done where its row is there already."""
        insert: Any
        if self.engine.dialect.name == "postgresql":
            from sqlalchemy.dialects.postgresql import insert
        else:
            from sqlalchemy.dialects.sqlite import insert
        return insert(table)

    def alone(self, connection: Connection) -> None:
        """Wait until no other transaction that has called this is left, in this process or another."""
        if self.engine.dialect.name == "postgresql":  # SQLite lets one write at a time anyway
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ALONE)))

    @contextmanager
    def _connected(self, turn: AbstractContextManager[Any]) -> Iterator[Connection]:
        """The one connection of this thread, once it is its turn.

        Connections are few. Were each of many threads to hold one while it waits for a second, none would ever get it.
        """
        if getattr(self._here, "connected", False):
            raise RuntimeError("this thread has a connection to the studio's database already: hand that one on")
        self._here.connected = True
        try:
            with turn, self.engine.connect() as connection:
                yield connection
        finally:
            self._here.connected = False

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def known_revisions() -> list[str]:
    """Revisions of the schema that this version can bring up to its own, the newest first."""
    return [script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()]


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(files("deeptrace.studio") / "migrations"))
    return config


def _prepare_sqlite(engine: Any) -> None:
    def connected(raw: Any, _record: Any) -> None:
        raw.isolation_level = None  # transactions are begun below
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=20000"):
            raw.execute(f"PRAGMA {pragma}")

    def begun(connection: Any) -> None:
        # One that reads first and writes later could find that another has written in between.
        writes = connection.get_execution_options().get("studio_writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    sa.event.listen(engine, "connect", connected)
    sa.event.listen(engine, "begin", begun)
