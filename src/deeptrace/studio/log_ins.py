"""Logging in at a provider: what is kept while a browser is away there, and whose account comes back with it."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from deeptrace.studio.accounts import Accounts, NotAdmittedError, Role, admins, digest, neighbourhood
from deeptrace.studio.database import identities, log_ins, people

__all__ = ["LOG_IN_S", "Identity", "LogIns"]

LOG_IN_S = 600.0
"""How long somebody may take to log in at a provider."""


@dataclass(frozen=True)
class Identity:
    """Who somebody is at a provider that vouches for them.

    Attributes:
        issuer: of the provider, its URL.
        subject: which it never gives to anybody else.
        name: that it calls them by; people may be able to change it, so that no account is known by it.
        role: that it gives; None where roles are given in the studio.
        host: of the provider, as people see it.
    """

    issuer: str
    subject: str
    name: str
    role: Role | None
    host: str


class LogIns:
    """Log-ins of one studio at a provider; used from any thread.

    Args:
        accounts: of the studio.
    """

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    def may_begin(self, address: str) -> None:
        """Nothing; log-ins at a provider are begun by the dozen, not by the thousand.

        Raises:
            NotAdmittedError: too many were begun from this address.
        """
        self._accounts.counted(**{"begun by": neighbourhood(address)})

    def begin(self, request: Any, *, back_to: str, token: str | None) -> str:
        """Keep what a browser is sent to a provider with; what that browser is to keep meanwhile.

        Args:
            request: `oidc.Request`.
            back_to: page to come back to.
            token: of the session that the browser has; whoever it is wants to log in by the provider from now on.
        """
        browser, person = secrets.token_urlsafe(32), self._accounts.person_of(token) if token else None
        kept = {name: getattr(request, name) for name in ("redirect_uri", "nonce", "verifier")}
        whose = {"state": digest(request.state), "browser": digest(browser), "session": digest(token or "")}
        who = None if person is None else person.id
        values = {**kept, **whose, "back_to": back_to, "person_id": who, "made_at": self._accounts.clock()}
        with self._accounts.database.writing() as connection:
            connection.execute(sa.delete(log_ins).where(log_ins.c.made_at <= self._accounts.clock() - LOG_IN_S))
            connection.execute(sa.insert(log_ins).values(**values))
        return browser

    def begun(self, state: str, browser: str) -> Any | None:
        """What was kept of a log-in that a browser comes back from, once; None where this browser did not begin it."""
        with self._accounts.database.writing() as connection:
            row = connection.execute(sa.select(log_ins).where(log_ins.c.state == digest(state))).first()
            if row is None or not secrets.compare_digest(row.browser, digest(browser)):
                return None
            if connection.execute(sa.delete(log_ins).where(log_ins.c.id == row.id)).rowcount != 1:
                return None
        return row if row.made_at > self._accounts.clock() - LOG_IN_S else None

    def let_in(self, who: Identity, *, address: str, to: int | None = None, old: str = "") -> str:
        """Begin a session for somebody whom a provider vouches for; the first makes the account. The session's token.

        Args:
            who: that is.
            address: of the caller.
            to: account that they log in by the provider to from now on; None for the one that they have or get.
            old: SHA-256 of the token of the session that ends with it.

        Raises:
            NotAdmittedError: they are locked out, or their name is somebody else's here.
        """
        with self._accounts.database.writing() as connection:
            self._accounts.database.alone(connection)
            row = self._known(connection, who, address, to)
            if row is not None and row.active:
                self._follow(connection, row, who, address)
                self._accounts.end_session(connection, old)
                self._accounts.note_on(connection, row.name, f"logged in by {who.host}", address)
                return self._accounts.begin_session(connection, row.id)
            name, why = (who.name, "the name is somebody else's") if row is None else (row.name, "locked out")
            self._accounts.note_on(connection, name, f"was refused at the log-in by {who.host}: {why}", address)
        raise NotAdmittedError(code="taken" if row is None else "locked")

    def _known(self, connection: Any, who: Identity, address: str, to: int | None) -> Any | None:
        """The account of an identity, made or connected where there is none; None where that cannot be."""
        query = sa.select(people).join(identities, identities.c.person_id == people.c.id)
        mine = (identities.c.issuer == who.issuer) & (identities.c.subject == who.subject)
        row = connection.execute(query.where(mine).with_for_update()).first()
        if row is not None:
            return row if to in (None, row.id) else None
        if to is None:
            name = re.sub(r"[^a-z0-9._-]+", "-", who.name.strip().lower()).lstrip("._-")[:64]
            taken = sa.select(people.c.id).where(people.c.name == name)
            if not name or connection.scalar(taken) is not None:
                return None
            role = who.role or Role.VIEWER
            values = {
                "name": name,
                "role": role.value,
                "password": "",
                "active": True,
                "made_at": self._accounts.clock(),
            }
            to = connection.execute(sa.insert(people).values(**values).returning(people.c.id)).scalar_one()
            did = f"got an account as {role.value} at the first log-in by {who.host}"
        else:
            name = connection.scalar(sa.select(people.c.name).where(people.c.id == to))
            did = f"logs in by {who.host}, too, from now on"
        values = {"person_id": to, "issuer": who.issuer, "subject": who.subject}
        connection.execute(sa.insert(identities).values(**values))
        self._accounts.note_on(connection, name, did, address)
        return connection.execute(sa.select(people).where(people.c.id == to)).one()

    def _follow(self, connection: Any, row: Any, who: Identity, address: str) -> None:
        """Give the role that the provider states; but for the last admin's, so that somebody leads."""
        if who.role is None or who.role.value == row.role or admins(connection, locked=True) == {row.id}:
            return
        connection.execute(sa.update(people).where(people.c.id == row.id).values(role=who.role.value))
        self._accounts.note_on(connection, who.host, f"made {row.name} {who.role.value} (was {row.role})", address)
