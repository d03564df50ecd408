"""The routes of accounts: logging in (by a provider, too) and out, one's own password, people and roles, the log."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse
from pydantic import BaseModel, ConfigDict, Field

from deeptrace.server.responses import RequestError, error_reply
from deeptrace.studio.accounts import LONGEST_S, MOST_PASSWORD, AccountError, Accounts, NotAdmittedError, Person, Role
from deeptrace.studio.annotations import MOST
from deeptrace.studio.guard import LOG_IN_COOKIE, SESSION_COOKIE, address_of, cookie_name, cookie_of, refusal, token_of
from deeptrace.studio.log_ins import LOG_IN_S, LogIns

if TYPE_CHECKING:
    from deeptrace.studio.oidc import Provider

__all__ = ["Who", "account_trouble", "add_callback", "add_people"]

log = logging.getLogger(__name__)

CALLBACK = "/oidc/callback"


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


class AtProvider(_Body):
    """The page to come back to, one of ours."""

    back_to: Annotated[str, Field(pattern=r"^/([A-Za-z0-9?][!-~]*)?$", max_length=4000)] = "/"


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
    _add_provider(api)
    _add_accounts(api)


def _add_sessions(api: APIRouter) -> None:
    @api.get("/session")
    def session(request: Request) -> dict[str, Any]:
        """Whether there are accounts, and who one is; nobody before the log-in."""
        accounts: Accounts | None = request.app.state.accounts
        if accounts is None:
            return {"accounts": False, "person": _shown(request.state.person)}
        token, provider = token_of(request.scope), request.app.state.oidc
        person = accounts.person_of(token) if token else None
        said = {"accounts": True, "person": None if person is None else _shown(person)}
        return said if provider is None else said | {"provider": provider.host}

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


def _add_provider(api: APIRouter) -> None:
    @api.post("/session/oidc")
    def begin(request: Request, body: AtProvider, accounts: Known) -> Response:
        """Begin to log in at the provider: the address of its page. Who is logged in connects their account with it."""
        from deeptrace.studio.oidc import CannotBelieveError, NotReachedError

        provider: Provider | None = request.app.state.oidc
        if provider is None:
            raise RequestError(404, "not_found", "nobody logs in here by a provider: see --oidc-issuer")
        log_ins = LogIns(accounts)
        try:
            log_ins.may_begin(address_of(request.scope))
            host = request.headers.get("host", "")
            made = provider.begin(f"{request.scope['scheme']}://{host}{CALLBACK}")
        except NotAdmittedError as error:
            return _not_admitted(error, 401)
        except (NotReachedError, CannotBelieveError) as error:
            log.warning("%s", _line(provider, error))
            return refusal(502, "unreachable", _line(provider, error))
        browser = log_ins.begin(made, back_to=body.back_to, token=token_of(request.scope))
        answer = JSONResponse({"url": made.url})
        # Lax: it has to come along when the provider's page sends the browser back.
        _set_cookie(request, answer, browser, round(LOG_IN_S), name=LOG_IN_COOKIE, samesite="lax")
        return answer


def add_callback(app: FastAPI) -> None:
    """Add the page that a provider sends browsers back to."""

    @app.get(CALLBACK, include_in_schema=False)
    def back(request: Request, code: str = "", state: str = "", error: str = "", iss: str = "") -> Response:
        """Let in whom the provider vouches for; on to a page that says so, or why not."""
        accounts: Accounts | None = request.app.state.accounts
        provider: Provider | None = request.app.state.oidc
        browser = cookie_of(request.scope, LOG_IN_COOKIE)
        if accounts is None or provider is None:
            return RedirectResponse("/", 303)
        kept = LogIns(accounts).begun(state, browser) if browser and state else None
        if kept is None:
            return RedirectResponse("/?log-in=again", 303)
        address = address_of(request.scope)
        token, why = _let_in(accounts, provider, kept, (code, error, iss), address)
        answer = RedirectResponse(f"/?log-in={why}" if why else kept.back_to, 303)
        _set_cookie(request, answer, "", 0, name=LOG_IN_COOKIE, samesite="lax")
        if token:
            _set_cookie(request, answer, token, round(LONGEST_S))
        return answer


def _let_in(
    accounts: Accounts, provider: Provider, kept: Any, said: tuple[str, str, str], address: str
) -> tuple[str, str]:
    """The token of a session, or in a word why there is none; the log says it in a line."""
    from deeptrace.studio.oidc import CannotBelieveError, NotReachedError

    code, error, issuer = said
    try:
        if issuer not in ("", provider.settings.issuer):  # RFC 9207: another provider's answer
            raise CannotBelieveError("the answer is another issuer's")
        if error or not code:
            why = "".join(char for char in error[:60] if char.isalnum() or char in "_-") or "no code"
            accounts.note("", f"was not logged in by {provider.host}: {why}", address)
            return "", "refused"
        asked = {"redirect_uri": kept.redirect_uri, "nonce": kept.nonce, "verifier": kept.verifier}
        who = provider.vouches_for(code, **asked)
        return LogIns(accounts).let_in(who, address=address, to=kept.person_id, old=kept.session), ""
    except NotAdmittedError as refused:
        return "", refused.code
    except (NotReachedError, CannotBelieveError) as failed:
        line = _line(provider, failed)
        log.warning("%s", line)
        accounts.note("", f"was not let in by {line}", address)
        return "", "unreachable" if isinstance(failed, NotReachedError) else "not-believed"


def _line(provider: Provider, error: Exception) -> str:
    from deeptrace.studio.oidc import NotReachedError

    return f"{provider.host}: {'cannot be reached: ' if isinstance(error, NotReachedError) else ''}{error}"


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


def _set_cookie(
    request: Request,
    answer: Response,
    token: str,
    seconds: int,
    *,
    name: str = SESSION_COOKIE,
    samesite: Literal["lax", "strict"] = "strict",
) -> None:
    secure, name = request.scope["scheme"] == "https", cookie_name(request.scope, name)
    answer.set_cookie(name, token, max_age=seconds, path="/", secure=secure, httponly=True, samesite=samesite)


def _not_admitted(error: NotAdmittedError, status: int) -> Response:
    if error.wait_s:
        return refusal(429, "busy", str(error), wait_s=error.wait_s)
    return refusal(status, "wrong_password", str(error))


async def account_trouble(_request: Request, error: Exception) -> Response:
    """The answer where something cannot be done with an account."""
    assert isinstance(error, AccountError)
    return error_reply(422, "unprocessable", str(error))
