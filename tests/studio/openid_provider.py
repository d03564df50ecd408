"""A real OpenID provider on loopback: discovery, a page to log in on, codes, signed ID tokens, its keys, userinfo."""

from __future__ import annotations

import base64
import html
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

CLIENT, SECRET = "deeptrace-studio", "only the two of us know it"


@dataclass
class OpenIdProvider:
    """What it says, to be changed by a test.

    Attributes:
        people: claims of each, by the name that they log in under.
        spoil: changes the claims and the header of an ID token, and may give another key to sign it with.
        userinfo: names of claims that are in userinfo alone.
        asked: paths of requests, in order.
    """

    issuer: str = ""
    secret: str | None = SECRET
    people: dict[str, dict[str, Any]] = field(default_factory=dict)
    spoil: Callable[[dict[str, Any], dict[str, Any]], Any] = lambda _claims, _header: None
    userinfo: tuple[str, ...] = ()
    asked: list[str] = field(default_factory=list)
    codes: dict[str, dict[str, Any]] = field(default_factory=dict)
    keys: list[Any] = field(default_factory=list)

    def renew_key(self) -> None:
        """Take a new key; tokens of the old one are none any more."""
        from joserfc.jwk import RSAKey

        number = len(self.keys)
        self.keys = [RSAKey.generate_key(2048, {"kid": f"key-{number}-{secrets.token_hex(4)}", "use": "sig"})]


@contextmanager
def openid_provider(**options: Any) -> Iterator[OpenIdProvider]:
    """The provider, in a thread, until the block ends. It is `localhost`, another site than 127.0.0.1."""
    import uvicorn

    provider = OpenIdProvider(**options)
    provider.renew_key()
    server = uvicorn.Server(uvicorn.Config(_app(provider), host="127.0.0.1", port=0, log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.02)
        provider.issuer = f"http://localhost:{server.servers[0].sockets[0].getsockname()[1]}"
        yield provider
    finally:
        server.should_exit = True
        thread.join(10)


def _app(provider: OpenIdProvider) -> Any:
    from authlib.oauth2.rfc7636 import create_s256_code_challenge
    from joserfc import jwt
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse
    from starlette.routing import Route

    async def description(_request: Request) -> Any:
        at = provider.issuer
        return JSONResponse(
            {
                "issuer": at,
                "authorization_endpoint": f"{at}/authorize",
                "token_endpoint": f"{at}/token",
                "jwks_uri": f"{at}/keys",
                "userinfo_endpoint": f"{at}/userinfo",
                "id_token_signing_alg_values_supported": ["RS256", "HS256", "none"],
                "response_types_supported": ["code"],
            }
        )

    async def authorize(request: Request) -> Any:
        asked = dict(request.query_params)
        assert (asked["response_type"], asked["client_id"], asked["code_challenge_method"]) == ("code", CLIENT, "S256")
        assert "openid" in asked["scope"].split()
        if "user" not in asked:
            fields = "".join(
                f'<input type="hidden" name="{html.escape(key)}" value="{html.escape(value)}">'
                for key, value in asked.items()
            )
            form = f'<form><label>User <input name="user"></label>{fields}<button>Continue</button></form>'
            return HTMLResponse(f"<!doctype html><title>provider</title><link rel=icon href=data:,>{form}")
        back = {"state": asked["state"], "iss": provider.issuer}
        if asked["user"] not in provider.people:
            return RedirectResponse(f"{asked['redirect_uri']}?{urlencode(back | {'error': 'access_denied'})}", 302)
        code = secrets.token_urlsafe(16)
        provider.codes[code] = asked
        return RedirectResponse(f"{asked['redirect_uri']}?{urlencode(back | {'code': code})}", 302)

    async def token(request: Request) -> Any:
        form = {key: str(value) for key, value in (await request.form()).items()}
        if provider.secret is not None:
            proof = base64.b64encode(f"{CLIENT}:{provider.secret}".encode()).decode()
            if request.headers.get("authorization") != f"Basic {proof}":
                return JSONResponse({"error": "invalid_client"}, 401)
        asked = provider.codes.pop(form.get("code", ""), None)
        right = asked is not None and (
            create_s256_code_challenge(form.get("code_verifier", "")) == asked["code_challenge"]
            and form.get("redirect_uri") == asked["redirect_uri"]
            and form.get("grant_type") == "authorization_code"
        )
        if not right:
            return JSONResponse({"error": "invalid_grant"}, 400)
        assert asked is not None
        told = {key: value for key, value in provider.people[asked["user"]].items() if key not in provider.userinfo}
        at = int(time.time())
        times = {"iat": at, "exp": at + 300}
        claims = {"iss": provider.issuer, "aud": CLIENT, "nonce": asked["nonce"], **times, **told}
        header = {"alg": "RS256", "kid": provider.keys[0].kid}
        key = provider.spoil(claims, header) or provider.keys[0]
        signed = jwt.encode(header, claims, key, algorithms=["RS256", "HS256", "none"])
        return JSONResponse({"access_token": asked["user"], "token_type": "Bearer", "id_token": signed})

    async def keys(_request: Request) -> Any:
        strange = {"kty": "of tomorrow", "kid": "x"}
        return JSONResponse({"keys": [strange, *(key.as_dict(private=False) for key in provider.keys)]})

    async def userinfo(request: Request) -> Any:
        return JSONResponse(provider.people[request.headers["authorization"].removeprefix("Bearer ")])

    def heard(route: Callable[[Request], Any]) -> Callable[[Request], Any]:
        async def answer(request: Request) -> Any:
            provider.asked.append(request.url.path)
            return await route(request)

        return answer

    routes = {
        "/.well-known/openid-configuration": description,
        "/authorize": authorize,
        "/keys": keys,
        "/userinfo": userinfo,
    }
    found = [Route(path, heard(route)) for path, route in routes.items()]
    return Starlette(routes=[*found, Route("/token", heard(token), methods=["POST"])])
