"""Who may use a studio: people with a role and a password, their sessions, and the log of what they did.

Passwords are kept as argon2 makes them, sessions as the SHA-256 of a random token that only the browser has. A name
that nobody has takes as long to refuse as a wrong password, and both are refused in the same words. Nobody is removed,
only locked out: a name that stands on answers and annotations is never given to somebody else.
"""

from __future__ import annotations

import hashlib
import ipaddress
import math
import re
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from deeptrace.errors import MissingExtraError
from deeptrace.studio.database import Database, audit, guesses, now, people, sessions

try:
    from pwdlib import PasswordHash
except ImportError as error:
    raise MissingExtraError("deeptrace studio", "studio") from error

__all__ = [
    "LONGEST_S",
    "AccountError",
    "Accounts",
    "NotAdmittedError",
    "Person",
    "Role",
    "admins",
    "digest",
    "neighbourhood",
]

IDLE_S = 12 * 3600.0
"""A session ends when nothing was asked in it for so long."""
LONGEST_S = 7 * 86400.0
"""And when it is so old."""
LEAST_PASSWORD, MOST_PASSWORD = 12, 1000
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_SEEN_EVERY_S = 60.0
_GUESSES = {"address": (10, 60.0), "name": (100, 3600.0), "begun by": (30, 60.0)}
"""How many wrong passwords are looked at, and log-ins begun, and the seconds over which they are counted."""
_WRONG = "the name or the password is wrong"
_REFUSED = "was refused at the log-in"


class Role(StrEnum):
    """What somebody may do; each may do what those before it may."""

    VIEWER = "viewer"
    ANNOTATOR = "annotator"
    REVIEWER = "reviewer"
    ADMIN = "admin"

    def includes(self, least: Role) -> bool:
        """Whether this role may do what `least` may."""
        order = list(Role)
        return order.index(self) >= order.index(least)


@dataclass(frozen=True)
class Person:
    """Who asks.

    Attributes:
        name: of the account, which answers and annotations carry.
        role: what they may do.
        id: of the account; 0 in a studio without accounts.
        session: of the session.
    """

    name: str
    role: Role
    id: int = 0
    session: int = 0


class AccountError(ValueError):
    """What cannot be done with an account, in one line."""


class NotAdmittedError(Exception):
    """A wrong name or password, too many of them, or somebody whom a provider vouches for in vain.

    Args:
        wait_s: seconds until the next try is looked at; 0 where this one was.
        code: "wrong_password"; "taken" or "locked" for the last.
    """

    def __init__(self, wait_s: int = 0, code: str = "wrong_password") -> None:
        self.wait_s, self.code = wait_s, code
        super().__init__(f"too many wrong passwords or log-ins: try again in {wait_s} s" if wait_s else _WRONG)


class Accounts:
    """The accounts of one studio; used from any thread.

    Args:
        database: of the studio.
        clock: seconds since 1970.
        hasher: makes and proves hashes of passwords; argon2id with the settings that pwdlib recommends by default.

    Attributes:
        database: the same.
        clock: the same.
    """

    def __init__(
        self, database: Database, *, clock: Callable[[], float] = now, hasher: PasswordHash | None = None
    ) -> None:
        self.database, self.clock = database, clock
        self._hasher = hasher or PasswordHash.recommended()
        # Each takes 64 MiB and a core; a crowd at the door must not take them all.
        self._hashing = threading.BoundedSemaphore(2)
        self._nobodys = ""

    # -- people --------------------------------------------------------------------------------------------------------

    def any(self) -> bool:
        """Whether there is an account at all."""
        with self.database.reading() as connection:
            return connection.scalar(sa.select(people.c.id).limit(1)) is not None

    def prepare(self, *, led: bool = False) -> None:
        """Make ready to let people in.

        Args:
            led: whether somebody becomes an admin by logging in.

        Raises:
            AccountError: nobody is an admin.
        """
        with self.database.reading() as connection:
            if not led and not admins(connection):
                raise AccountError("nobody is an admin")
        self._nobodys = self._hasher.hash(secrets.token_hex())

    def listed(self) -> list[dict[str, Any]]:
        """Everybody by name: `name`, `role`, `active`, `made_at`, and when they were last `seen_at`."""
        seen = sa.select(sa.func.max(sessions.c.seen_at)).where(sessions.c.person_id == people.c.id).scalar_subquery()
        query = sa.select(people.c.name, people.c.role, people.c.active, people.c.made_at, seen.label("seen_at"))
        with self.database.reading() as connection:
            return [dict(row._mapping) for row in connection.execute(query.order_by(people.c.name))]

    def add(self, name: str, role: Role, password: str, *, by: str, address: str = "") -> None:
        """Make an account.

        Raises:
            AccountError: the name or password cannot be one, or the name is taken.
        """
        if not _NAME.fullmatch(name):
            raise AccountError(
                f"name {name[:80]!r}: expected at most 64 of a-z, 0-9, '.', '_', '-', a letter or digit first"
            )
        hashed = self._hashed(password)
        values = {"name": name, "role": role.value, "password": hashed, "active": True, "made_at": self.clock()}
        try:
            with self.database.writing() as connection:
                connection.execute(sa.insert(people).values(**values))
                self.note_on(connection, by, f"added {name} as {role.value}", address)
        except sa.exc.IntegrityError:
            raise AccountError(f"{name} has an account already") from None

    def change(
        self,
        name: str,
        *,
        by: str,
        role: Role | None = None,
        active: bool | None = None,
        password: str | None = None,
        address: str = "",
    ) -> None:
        """Give somebody another role or password, or lock them out or let them in again.

        Who is locked out or gets another password is logged out everywhere. What is None stays as it is.

        Raises:
            AccountError: there is no such account, the password cannot be one, or nobody would be left as admin.
        """
        hashed = None if password is None else self._hashed(password)
        with self.database.writing() as connection:
            # Locked, so that two admins cannot each take the other's role away at one moment.
            leads = admins(connection, locked=True)
            row = connection.execute(sa.select(people).where(people.c.name == name).with_for_update()).first()
            if row is None:
                raise AccountError(f"there is no account {name[:80]!r}")
            if leads == {row.id} and (role not in (None, Role.ADMIN) or active is False):
                raise AccountError(f"{name} is the only admin: make somebody else one first")
            wanted = {"role": None if role is None else role.value, "active": active, "password": hashed}
            values = {key: value for key, value in wanted.items() if value is not None}
            if values:
                connection.execute(sa.update(people).where(people.c.id == row.id).values(**values))
            if active is False or hashed is not None:
                connection.execute(sa.delete(sessions).where(sessions.c.person_id == row.id))
            if role is not None and role.value != row.role:
                self.note_on(connection, by, f"made {name} {role.value} (was {row.role})", address)
            if active is not None and active != row.active:
                self.note_on(
                    connection, by, f"{'let' if active else 'locked'} {name} {'in' if active else 'out'}", address
                )
            if hashed is not None:
                self.note_on(connection, by, f"set a password for {name}", address)

    def _hashed(self, password: str) -> str:
        if not LEAST_PASSWORD <= len(password) <= MOST_PASSWORD:
            raise AccountError(f"password: expected at least {LEAST_PASSWORD} characters, and at most {MOST_PASSWORD}")
        with self._hashing:
            return str(self._hasher.hash(password))

    # -- sessions ------------------------------------------------------------------------------------------------------

    def log_in(self, name: str, password: str, *, address: str, old: str | None = None) -> tuple[Person, str]:
        """Begin a session; who it is, and the token that the browser is to keep.

        Args:
            name: as it was typed.
            password: as it was typed.
            address: of the caller.
            old: the token that the browser has; its session ends. The new one is never the same.

        Raises:
            NotAdmittedError: the name or password is wrong, or too many were.
        """
        name = name.strip().lower()
        row = self._proven(name, password, address)
        with self.database.writing() as connection:
            self.end_session(connection, digest(old or ""))
            # In the meantime the account may have been locked, or its password changed.
            still = sa.select(people.c.password, people.c.active).where(people.c.id == row.id).with_for_update()
            if connection.execute(still).one() != (row.password, True):
                raise NotAdmittedError
            self.note_on(connection, name, "logged in", address)
            return Person(row.name, Role(row.role), row.id), self.begin_session(connection, row.id)

    def end_session(self, connection: Any, digested: str) -> None:
        """End a session by the SHA-256 of its token, and those whose time is over."""
        at = self.clock()
        gone = (sessions.c.made_at <= at - LONGEST_S) | (sessions.c.seen_at <= at - IDLE_S)
        connection.execute(sa.delete(sessions).where(gone | (sessions.c.token == digested)))

    def person_of(self, token: str) -> Person | None:
        """Who has this session; None where it is none, or has ended."""
        at = self.clock()
        query = (
            sa.select(people.c.name, people.c.role, people.c.id, sessions.c.id.label("session"), sessions.c.seen_at)
            .join(people, people.c.id == sessions.c.person_id)
            .where(sessions.c.token == digest(token), people.c.active)
            .where(sessions.c.made_at > at - LONGEST_S, sessions.c.seen_at > at - IDLE_S)
        )
        with self.database.reading() as connection:
            row = connection.execute(query).first()
        if row is None:
            return None
        if at - row.seen_at > _SEEN_EVERY_S:
            with self.database.writing() as connection:
                connection.execute(sa.update(sessions).where(sessions.c.id == row.session).values(seen_at=at))
        return Person(row.name, Role(row.role), row.id, row.session)

    def log_out(self, person: Person, *, address: str = "") -> None:
        """End the session that somebody asks in."""
        with self.database.writing() as connection:
            connection.execute(sa.delete(sessions).where(sessions.c.id == person.session))
            self.note_on(connection, person.name, "logged out", address)

    def change_password(self, person: Person, old: str, new: str, *, address: str) -> str:
        """Somebody's own new password. All their sessions end; the token of a new one is returned.

        Raises:
            NotAdmittedError: the old one is wrong, or too many were.
            AccountError: the new one cannot be a password.
        """
        row = self._proven(person.name, old, address)
        hashed = self._hashed(new)
        with self.database.writing() as connection:
            same = sa.update(people).where(people.c.id == row.id, people.c.password == row.password, people.c.active)
            if connection.execute(same.values(password=hashed)).rowcount != 1:
                raise NotAdmittedError
            connection.execute(sa.delete(sessions).where(sessions.c.person_id == row.id))
            self.note_on(connection, person.name, "changed their password", address)
            return self.begin_session(connection, row.id)

    def _proven(self, name: str, password: str, address: str) -> Any:
        """The account whose password this is.

        A try counts before it is looked at, so that many at one moment are many.
        """
        counted = self.counted(address=neighbourhood(address), name=name)
        with self.database.reading() as connection:
            row = connection.execute(sa.select(people).where(people.c.name == name)).first()
        with self._hashing:
            self._nobodys = self._nobodys or self._hasher.hash(secrets.token_hex())
            hashed = row.password if row is not None and row.active and row.password else self._nobodys
            right = self._hasher.verify(password[: MOST_PASSWORD + 1], hashed)
        if not right or hashed == self._nobodys:
            with self.database.writing() as connection:
                # A name that nobody has may be a password in the wrong field.
                self.note_on(connection, name if row is not None else "", _REFUSED, address)
            raise NotAdmittedError
        with self.database.writing() as connection:
            connection.execute(sa.delete(guesses).where(guesses.c.id.in_(counted)))
        return row

    def counted(self, **whose: str) -> list[int]:
        """Count a try of each of these; the numbers under which they are counted, for those that turn out right.

        Every server of the studio counts in the same table, one after another.

        Raises:
            NotAdmittedError: too many of one of them were wrong of late.
        """
        at, keys = self.clock(), {kind: digest(f"{kind} {key}") for kind, key in whose.items()}
        with self.database.writing() as connection:
            self.database.alone(connection)
            longest = max(period_s for _, period_s in _GUESSES.values())
            connection.execute(sa.delete(guesses).where(guesses.c.at <= at - longest))
            wait_s = 0
            for kind, key in keys.items():
                tries, period_s = _GUESSES[kind]
                recent = sa.select(guesses.c.at).where(guesses.c.whose == key, guesses.c.at > at - period_s)
                found = list(connection.scalars(recent.order_by(guesses.c.at.desc()).limit(tries)))
                if len(found) == tries:
                    wait_s = max(wait_s, math.ceil(found[-1] + period_s - at), 1)
            if wait_s:
                raise NotAdmittedError(wait_s)
            made = [sa.insert(guesses).values(whose=key, at=at).returning(guesses.c.id) for key in keys.values()]
            return [int(connection.execute(one).scalar_one()) for one in made]

    def begin_session(self, connection: Any, person_id: int) -> str:
        """Begin a session; its token, of which only the SHA-256 is kept."""
        token, at = secrets.token_urlsafe(32), self.clock()
        values = {"token": digest(token), "person_id": person_id, "made_at": at, "seen_at": at}
        connection.execute(sa.insert(sessions).values(**values))
        return token

    # -- the log -------------------------------------------------------------------------------------------------------

    def note(self, name: str, did: str, address: str = "") -> None:
        """Write down what somebody did."""
        with self.database.writing() as connection:
            self.note_on(connection, name, did, address)

    def note_on(self, connection: Any, name: str, did: str, address: str) -> None:
        """Write down what somebody did, in the transaction in which it is done."""
        values = {"at": self.clock(), "name": name[:64], "did": did, "address": address[:64]}
        connection.execute(sa.insert(audit).values(**values))

    def log(self, *, before: int | None = None, limit: int = 100) -> list[dict[str, Any]]:
        """What people did, the newest first: `id`, `at`, `name`, `did`, `address`."""
        query = sa.select(audit).order_by(audit.c.id.desc()).limit(limit)
        if before is not None:
            query = query.where(audit.c.id < before)
        with self.database.reading() as connection:
            return [dict(row._mapping) for row in connection.execute(query)]


def admins(connection: Any, *, locked: bool = False) -> set[int]:
    """Those who lead; `locked`, so that nobody else changes that before the transaction ends."""
    query = sa.select(people.c.id).where(people.c.role == Role.ADMIN.value, people.c.active)
    return set(connection.scalars(query.with_for_update() if locked else query))


def digest(token: str) -> str:
    """The SHA-256 of a secret, which is kept in its place."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def neighbourhood(address: str) -> str:
    """An address; of IPv6 the network, of which one machine has as many addresses as it likes."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    return str(found.ipv4_mapped or ipaddress.ip_network((found, 64), strict=False))
