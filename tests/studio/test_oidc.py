"""Logging in by an OpenID provider: a real one, which signs with real keys, over loopback and in a real browser."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.needs import needs, needs_chromium
from tests.studio.conftest import OURS, PASSWORD, Start, Studio, client, needs_studio, team
from tests.studio.openid_provider import CLIENT, SECRET, OpenIdProvider, openid_provider

sa = needs_studio()
needs("authlib", "joserfc", "starlette", command="make test")

from deeptrace.errors import SettingsError  # noqa: E402
from deeptrace.studio.database import Database, log_ins, sessions  # noqa: E402
from deeptrace.studio.settings import SECRET_VARIABLE, OidcSettings, read_secret  # noqa: E402

PEOPLE = {
    "ann": {"sub": "1001", "preferred_username": "Ann", "groups": ["everybody"]},
    "bob": {"sub": "1002", "preferred_username": "bob@example.org", "realm": {"roles": ["videos", "lab"]}},
    "eve": {"sub": "1003", "preferred_username": "admin"},
}


@pytest.fixture
def provider() -> Iterator[OpenIdProvider]:
    with openid_provider(people={name: dict(claims) for name, claims in PEOPLE.items()}) as found:
        yield found


def known_by(provider: OpenIdProvider, **more: Any) -> OidcSettings:
    return OidcSettings(**({"issuer": provider.issuer, "client": CLIENT, "secret": SECRET} | more))


def browser_of(one: Studio, **headers: str) -> httpx.Client:
    return httpx.Client(base_url=one.url, headers=OURS | headers, trust_env=False, timeout=30)


def go_and_come_back(http: httpx.Client, user: str, *, change: Callable[[str], str] = str) -> httpx.Response:
    """What a browser does: begin, log in on the provider's page, come back; to what `change` makes of the address."""
    begun = http.post("/api/session/oidc", json={"back_to": "/work?x=1"})
    assert begun.status_code == 200, begun.text
    answer = httpx.get(f"{begun.json()['url']}&user={user}", trust_env=False)
    assert answer.status_code == 302
    return http.get(change(answer.headers["location"]))


def where(answer: httpx.Response) -> str:
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


def log_of(one: Studio) -> list[tuple[str, str]]:
    with client(one, "admin") as http:
        return [(line["name"], line["did"]) for line in http.get("/api/audit").json()]


def test_the_first_log_in_makes_the_account_and_who_is_locked_out_stays_out(
    studio: Start, tmp_path: Path, provider: OpenIdProvider
) -> None:
    one = studio(**team(tmp_path), oidc=known_by(provider))
    host = provider.issuer.removeprefix("http://")
    with browser_of(one) as http:
        assert http.get("/api/session").json() == {"accounts": True, "person": None, "provider": host}
        answer = go_and_come_back(http, "ann")
        assert where(answer) == "/work?x=1"
        assert "log-in" not in str(http.cookies)  # what was for the way there is gone
        cookie = SimpleCookie(answer.headers.get_list("set-cookie")[-1])["deeptrace-studio"]
        assert (cookie["httponly"], cookie["samesite"]) == (True, "strict")
        assert "content-security-policy" in answer.headers
        assert http.get("/api/session").json()["person"] == {"name": "ann", "role": "viewer"}
        # no password gets in as somebody who has none
        for tried in ("", PASSWORD):
            said = http.post("/api/session", json={"name": "ann", "password": tried})
            assert said.status_code == 401
        with client(one, "admin") as admin:
            assert admin.patch("/api/people/ann", json={"role": "annotator"}).status_code == 200
        # as what the provider calls them changes, and a session ends with the next
        provider.people["ann"]["preferred_username"] = "anna"
        old = http.cookies["deeptrace-studio"]
        assert where(go_and_come_back(http, "ann")) == "/work?x=1"
        assert http.get("/api/session").json()["person"] == {"name": "ann", "role": "annotator"}
        assert http.cookies["deeptrace-studio"] != old
        assert one.api.accounts.person_of(old) is None
        with client(one, "admin") as admin:
            assert admin.patch("/api/people/ann", json={"active": False}).status_code == 200
        http.cookies.clear()
        assert where(go_and_come_back(http, "ann")) == "/?log-in=locked"
        assert http.get("/api/session").json()["person"] is None
        # a name is no proof of who somebody is
        assert where(go_and_come_back(http, "eve")) == "/?log-in=taken"
        assert where(go_and_come_back(http, "nobody")) == "/?log-in=refused"
    said = log_of(one)
    for line in (
        ("ann", f"got an account as viewer at the first log-in by {host}"),
        ("ann", f"logged in by {host}"),
        ("ann", f"was refused at the log-in by {host}: locked out"),
        ("admin", f"was refused at the log-in by {host}: the name is somebody else's"),
        ("", f"was not logged in by {host}: access_denied"),
    ):
        assert line in said
    with one.workshop.database.reading() as connection:
        assert connection.execute(sa.select(log_ins)).all() == []


def test_who_has_an_account_connects_it(studio: Start, tmp_path: Path, provider: OpenIdProvider) -> None:
    one = studio(**team(tmp_path), oidc=known_by(provider))
    with client(one, "admin") as http, browser_of(one) as later, client(one, "viewer") as other:
        assert where(go_and_come_back(http, "eve")) == "/work?x=1"
        assert http.get("/api/session").json()["person"] == {"name": "admin", "role": "admin"}
        go_and_come_back(later, "eve")
        assert later.get("/api/session").json()["person"] == {"name": "admin", "role": "admin"}
        # and nobody takes somebody else's
        assert where(go_and_come_back(other, "eve")) == "/?log-in=taken"


def spoilt(**claims: Any) -> Callable[[dict[str, Any], dict[str, Any]], Any]:
    def spoil(told: dict[str, Any], _header: dict[str, Any]) -> None:
        for name, value in claims.items():
            told.pop(name, None)
            if value is not None:
                told[name] = value(told) if callable(value) else value

    return spoil


def foreign_key(_claims: dict[str, Any], _header: dict[str, Any]) -> Any:
    from joserfc.jwk import RSAKey

    return RSAKey.generate_key(2048)


def symmetric(_claims: dict[str, Any], header: dict[str, Any]) -> Any:
    from joserfc.jwk import OctKey

    header["alg"] = "HS256"
    return OctKey.import_key(SECRET)


WRONG: dict[str, Any] = {
    "nonce of another log-in": spoilt(nonce="another"),
    "no nonce": spoilt(nonce=None),
    "for somebody else": spoilt(aud="another-studio"),
    "for somebody else, too, and theirs": spoilt(aud=[CLIENT, "another-studio"], azp="another-studio"),
    "expired": spoilt(exp=int(time.time()) - 3600, iat=int(time.time()) - 7200),
    "never expires": spoilt(exp=None),
    "of tomorrow": spoilt(nbf=int(time.time()) + 86400),
    "of another issuer": spoilt(iss="https://id.example.org"),
    "of no issuer": spoilt(iss=None),
    "of nobody": spoilt(sub=None),
    "signed by somebody else": foreign_key,
    "signed with what both know": symmetric,
    "no name": spoilt(preferred_username=None),
}


@pytest.fixture(scope="module")
def shared_provider() -> Iterator[OpenIdProvider]:
    with openid_provider(people={name: dict(claims) for name, claims in PEOPLE.items()}) as found:
        yield found


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory, shared_provider: OpenIdProvider) -> Iterator[Studio]:
    from tests.studio.conftest import running

    from deeptrace.studio import StudioSettings

    settings = team(tmp_path_factory.mktemp("patient"))
    with running(StudioSettings(**settings, detector="baseline:all-real", oidc=known_by(shared_provider))) as one:
        yield one


@pytest.mark.parametrize("what", WRONG)
def test_a_token_that_is_not_right_lets_nobody_in(patient: Studio, shared_provider: OpenIdProvider, what: str) -> None:
    if what == "no name":
        shared_provider.userinfo = ("preferred_username",)
        shared_provider.people["bob"] = {"sub": "1002"}
    shared_provider.spoil = WRONG[what]
    with patient.workshop.database.writing() as connection:
        before = connection.scalar(sa.select(sa.func.count()).select_from(sessions))
    with browser_of(patient) as http:
        assert where(go_and_come_back(http, "bob")) == "/?log-in=not-believed"
        assert http.get("/api/session").json()["person"] is None
    with patient.workshop.database.reading() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(sessions)) == before
    shared_provider.spoil = lambda _claims, _header: None
    shared_provider.people["bob"], shared_provider.userinfo = dict(PEOPLE["bob"]), ()


def test_an_answer_that_was_not_asked_for_lets_nobody_in(patient: Studio, shared_provider: OpenIdProvider) -> None:
    shared_provider.spoil = lambda _claims, _header: None
    with browser_of(patient) as http, browser_of(patient) as other:
        for change in (
            lambda url: re.sub(r"state=[^&]+", "state=another", url),
            lambda url: re.sub(r"state=[^&]+&", "", url),
        ):
            assert where(go_and_come_back(http, "bob", change=change)) == "/?log-in=again"
        # a code of somebody else's log-in, in a browser that did not begin it
        kept: list[str] = []
        go_and_come_back(http, "bob", change=lambda url: kept.append(url) or "/")  # type: ignore[func-returns-value]
        assert where(other.get(kept[0])) == "/?log-in=again"
        assert where(http.get(kept[0])) == "/work?x=1"
        assert where(http.get(kept[0])) == "/?log-in=again"  # once
        # another provider's answer, and a code that this one never gave
        foreign = go_and_come_back(http, "bob", change=lambda url: re.sub(r"iss=[^&]+", "iss=https%3A%2F%2Fe.org", url))
        assert where(foreign) == "/?log-in=not-believed"
        strange = go_and_come_back(http, "bob", change=lambda url: re.sub(r"code=[^&]+", "code=1", url))
        assert where(strange) == "/?log-in=not-believed"
        for back_to in ("//evil.example", "https://evil.example", "/\\evil.example", "/x\nSet-Cookie: a=b"):
            assert http.post("/api/session/oidc", json={"back_to": back_to}).status_code == 422
        # what browsers leave as it is in an address that somebody searched by
        assert http.post("/api/session/oidc", json={"back_to": "/triage?q=*.mp4|~'(a)"}).status_code == 200
        # nor does another site begin one
        assert http.post("/api/session/oidc", json={}, headers={"X-Deeptrace-Studio": "0"}).status_code == 403
        # and it is told before it is asked for too often
        said = [http.post("/api/session/oidc", json={}).status_code for _ in range(40)]
        assert said[-1] == 429


def test_roles_follow_what_the_provider_states(studio: Start, tmp_path: Path, provider: OpenIdProvider) -> None:
    roles = {"lab": "reviewer", "videos": "annotator", "chief": "admin"}
    asked = known_by(provider, roles_claim="realm.roles", roles=roles)
    one = studio(store=tmp_path / "store", oidc=asked)  # nobody is an admin yet, and somebody may become one
    provider.userinfo = ("realm",)  # some providers say it there alone
    with browser_of(one) as http:

        def role() -> str:
            assert where(go_and_come_back(http, "bob")) == "/work?x=1"
            return http.get("/api/session").json()["person"]

        assert role() == {"name": "bob-example.org", "role": "reviewer"}
        assert "/userinfo" in provider.asked
        provider.people["bob"]["realm"] = {"roles": ["videos", "unknown"]}
        assert role()["role"] == "annotator"
        provider.people["bob"]["realm"] = {"roles": "chief"}
        assert role()["role"] == "admin"
        provider.people["bob"].pop("realm")  # the last admin's stays, so that somebody leads
        assert role()["role"] == "admin"
        with browser_of(one) as other:
            go_and_come_back(other, "ann")
            assert other.get("/api/session").json()["person"] == {"name": "ann", "role": "viewer"}
        provider.renew_key()  # providers do
        assert role()["name"] == "bob-example.org"


def test_what_is_no_provider_is_one_line(studio: Start, tmp_path: Path, provider: OpenIdProvider) -> None:
    settings = team(tmp_path)
    for issuer, why in (
        (provider.issuer + "/", "says it is"),
        (f"{provider.issuer}/elsewhere", "answers HTTP 404"),
        ("http://id.example.org", "expected a URL with https"),
        (studio(store=tmp_path / "other").url, "no JSON object|answers HTTP"),
    ):
        with pytest.raises(SettingsError, match=why) as caught:
            studio(**settings, oidc=OidcSettings(issuer, CLIENT))
        assert str(caught.value).count("\n") == 0
    with pytest.raises(SettingsError, match="needs --oidc-roles"):
        OidcSettings(provider.issuer, CLIENT, roles={"a": "admin"})
    with pytest.raises(SettingsError, match="expected VALUE="):
        studio(**settings, oidc=known_by(provider, roles_claim="x", roles={"a": "boss"}))


def test_the_secret_is_in_a_file_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SECRET_VARIABLE, SECRET)
    assert read_secret(None) == SECRET
    assert SECRET_VARIABLE not in os.environ
    assert read_secret(None) == ""
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    assert read_secret(tmp_path / "secret") == SECRET
    assert SECRET not in repr(OidcSettings("https://id.example.org", CLIENT, SECRET))
    (tmp_path / "empty").write_text("\n")
    for name, why in (("empty", "is empty"), ("none", "cannot be read")):
        with pytest.raises(SettingsError, match=why):
            read_secret(tmp_path / name)


def test_the_command_goes_on_without_the_provider_and_believes_a_proxy(tmp_path: Path) -> None:
    where = team(tmp_path)
    with openid_provider(people=dict(PEOPLE)) as provider:
        issuer = provider.issuer
    line = [sys.executable, "-m", "deeptrace.cli.main", "studio", "--store", str(tmp_path / "store"), "--port", "0"]
    line += ["--database", where["database"]] if where["database"] else []
    refused = subprocess.run([*line, "--oidc-issuer", issuer], capture_output=True, text=True, timeout=60)
    assert refused.returncode == 2
    assert "belong together" in refused.stderr
    options = ("--proxy", "127.0.0.1", "--name", "team.example", "--oidc-issuer", issuer, "--oidc-client", CLIENT)
    process = subprocess.Popen([*line, *options], stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        said = ""
        while (url := re.search(r"the studio is at (\S+)", said)) is None:
            said += (process.stderr.readline() or pytest.fail(said)).replace("\n", " ")
        line_of_it = r"issuer http://localhost:\d+: cannot be reached \(.+\): until it can, only passwords let in"
        assert re.search(line_of_it, " ".join(said.split()))
        through = {"Host": "team.example", "X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.9"}
        with httpx.Client(base_url=url[1], headers=OURS | through, trust_env=False, timeout=30) as http:
            said = http.post("/api/session/oidc", json={})
            assert (said.status_code, said.json()["code"]) == (502, "unreachable")
            assert http.post("/api/session", json={"name": "admin", "password": PASSWORD}).status_code == 200
    finally:
        process.terminate()
        process.wait(30)


def test_behind_a_proxy_the_way_back_is_that_of_the_proxy(
    studio: Start, tmp_path: Path, provider: OpenIdProvider
) -> None:
    from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

    one = studio(**team(tmp_path), names=("team.example",), oidc=known_by(provider))
    transport = httpx.ASGITransport(ProxyHeadersMiddleware(one.api.asgi, trusted_hosts="127.0.0.1"))
    import asyncio

    async def ask() -> None:
        through = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.9"}
        async with httpx.AsyncClient(
            transport=transport, base_url="http://team.example", headers=OURS | through
        ) as http:
            begun = await http.post("/api/session/oidc", json={})
            asked = httpx.URL(begun.json()["url"]).params
            assert asked["redirect_uri"] == "https://team.example/oidc/callback"
            kept = SimpleCookie(begun.headers["set-cookie"])["__Host-deeptrace-studio-log-in"]
            assert (kept["secure"], kept["httponly"], kept["samesite"], kept["path"]) == (True, True, "lax", "/")
            answer = httpx.get(f"{begun.json()['url']}&user=ann", trust_env=False)
            way = httpx.URL(answer.headers["location"])
            cookie = {"Cookie": f"__Host-deeptrace-studio-log-in={kept.value}"}
            back = await http.get(way.raw_path.decode(), headers=cookie)
            assert back.headers["location"] == "/"
            assert "__Host-deeptrace-studio=" in back.headers.get_list("set-cookie")[-1]

    asyncio.run(ask())
    with client(one, "admin") as admin:
        line = next(one for one in admin.get("/api/audit").json() if one["did"].startswith("logged in by"))
    assert line["address"] == "203.0.113.9"


def test_the_tables_of_log_ins_go_and_come_back(database_url: str) -> None:
    database = Database(database_url)
    database.migrate("0005")
    assert not {"identities", "log_ins"} & set(sa.inspect(database.engine).get_table_names())
    database.migrate("head")
    assert {"identities", "log_ins"} <= set(sa.inspect(database.engine).get_table_names())
    database.close()


def test_somebody_logs_in_by_the_provider_in_a_browser(
    studio: Start, tmp_path: Path, provider: OpenIdProvider, visit: Callable[..., Any]
) -> None:
    needs_chromium()
    one = studio(**team(tmp_path), oidc=known_by(provider))
    host = provider.issuer.removeprefix("http://")
    page = visit(one, "/", also=provider.issuer)
    page.get_by_role("button", name=f"Log in with {host}").click()
    page.get_by_label("User").fill("nobody")
    page.get_by_role("button", name="Continue").click()
    page.get_by_text(f"{host} did not log you in").wait_for()
    page.get_by_role("button", name=f"Log in with {host}").click()
    page.get_by_label("User").fill("ann")
    page.get_by_role("button", name="Continue").click()
    page.locator(".who").wait_for()
    assert page.locator(".who").text_content() == "ann"
    assert "code=" not in page.url
    page.locator(".who").click()
    page.get_by_role("button", name="Log out").click()
    page.locator("input[name=name]:focus").wait_for()
    # a session that ends over a page: back to that very page
    page.goto(one.url + "/people")
    page.get_by_role("button", name=f"Log in with {host}").click()
    page.get_by_label("User").fill("ann")
    page.get_by_role("button", name="Continue").click()
    page.locator(".who").wait_for()
    assert page.url == one.url + "/people"
