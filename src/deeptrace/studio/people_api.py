"""The routes of accounts: logging in and out, one's own password, people and their roles, the log."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from deeptrace.server.responses import RequestError, error_reply
from deeptrace.studio.accounts import LONGEST_S, MOST_PASSWORD, AccountError, Accounts, NotAdmittedError, Person, Role
from deeptrace.studio.annotations import MOST
from deeptrace.studio.guard import address_of, cookie_name, refusal, token_of

__all__ = ["Who", "account_trouble", "add_people"]


def _who(request: Request) -> Person:
    person: Person = request.state.person
    return person


Who = Annotated[Person, Depends(_who)]
"""Who asks; without accounts it is everybody who can, as the studio's author."""


def _accounts(request: Request) -> Accounts:
    found: Accounts | None = request.app.state.accounts
    if found is None:
        raise RequestError(404, "not_found", "this studio has no accounts: docs/studio.md says how to set them up")
    return found


Known = Annotated[Accounts, Depends(_accounts)]
Password = Annotated[str, Field(max_length=MOST_PASSWORD)]
Name = Annotated[str, Field(max_length=64)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class LogIn(_Body):
    """A name and a password."""

    name: Name
    password: Password


class NewPassword(_Body):
    """One's own."""

    old: Password
    new: Password


class NewPerson(_Body):
    """Somebody who is to have an account."""

    name: Name
    role: Role
    password: Password


class Change(_Body):
    """What is to be different of an account; what is not stated stays."""

    role: Role | None = None
    active: bool | None = None
    password: Password | None = None


def add_people(api: APIRouter) -> None:
    """Add the routes; but for the first, they answer 404 in a studio without accounts."""
    _add_sessions(api)
    _add_accounts(api)


def _add_sessions(api: APIRouter) -> None:
    @api.get("/session")
    def session(request: Request) -> dict[str, Any]:
        """Whether there are accounts, and who one is; nobody before the log-in."""
        accounts: Accounts | None = request.app.state.accounts
        if accounts is None:
            return {"accounts": False, "person": _shown(request.state.person)}
        token = token_of(request.scope)
        person = accounts.person_of(token) if token else None
        return {"accounts": True, "person": None if person is None else _shown(person)}

    @api.post("/session")
    def log_in(request: Request, body: LogIn, accounts: Known) -> Response:
        """Begin a session, which a cookie holds. The one that the browser had before ends."""
        address, old = address_of(request.scope), token_of(request.scope)
        try:
            person, token = accounts.log_in(body.name, body.password, address=address, old=old)
        except NotAdmittedError as error:
            return _not_admitted(error, 401)
        return _admitted(request, person, token)

    @api.delete("/session")
    def log_out(request: Request, person: Who, accounts: Known) -> Response:
        """End the session."""
        accounts.log_out(person, address=address_of(request.scope))
        answer = JSONResponse({"accounts": True, "person": None})
        _set_cookie(request, answer, "", 0)
        return answer

    @api.post("/session/password")
    def change_password(request: Request, body: NewPassword, person: Who, accounts: Known) -> Response:
        """Take another password. All one's sessions end but this one, which gets another token."""
        try:
            token = accounts.change_password(person, body.old, body.new, address=address_of(request.scope))
        except NotAdmittedError as error:
            return _not_admitted(error, 403)
        return _admitted(request, person, token)


def _add_accounts(api: APIRouter) -> None:
    @api.get("/people")
    def people(accounts: Known) -> list[dict[str, Any]]:
        """Everybody who has an account."""
        return accounts.listed()

    @api.post("/people", status_code=201)
    def add(request: Request, body: NewPerson, person: Who, accounts: Known) -> dict[str, str]:
        """Make an account."""
        name = body.name.strip().lower()
        accounts.add(name, body.role, body.password, by=person.name, address=address_of(request.scope))
        return {"name": name, "role": body.role.value}

    @api.patch("/people/{name}")
    def change(request: Request, name: str, body: Change, person: Who, accounts: Known) -> list[dict[str, Any]]:
        """Give another role or password, or lock out; who is locked out or gets a password is logged out."""
        accounts.change(name, by=person.name, address=address_of(request.scope), **body.model_dump())
        return accounts.listed()

    @api.get("/audit")
    def log(
        accounts: Known,
        before: Annotated[int | None, Query(ge=1, le=MOST)] = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 100,
    ) -> list[dict[str, Any]]:
        """What people did, the newest first."""
        return accounts.log(before=before, limit=limit)


def _shown(person: Person) -> dict[str, str]:
    return {"name": person.name, "role": person.role.value}


def _admitted(request: Request, person: Person, token: str) -> Response:
    answer = JSONResponse({"accounts": True, "person": _shown(person)})
    _set_cookie(request, answer, token, round(LONGEST_S))
    return answer


def _set_cookie(request: Request, answer: Response, token: str, seconds: int) -> None:
    secure = request.scope["scheme"] == "https"
    name = cookie_name(request.scope)
    answer.set_cookie(name, token, max_age=seconds, path="/", secure=secure, httponly=True, samesite="strict")


def _not_admitted(error: NotAdmittedError, status: int) -> Response:
    if error.wait_s:
        return refusal(429, "busy", str(error), wait_s=error.wait_s)
    return refusal(status, "wrong_password", str(error))


async def account_trouble(_request: Request, error: Exception) -> Response:
    """The answer where something cannot be done with an account."""
    assert isinstance(error, AccountError)
    return error_reply(422, "unprocessable", str(error))
