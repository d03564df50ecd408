"""Logging in by an OpenID provider: the authorization code with PKCE, state and nonce, and an ID token that is checked.

OpenID Connect Core 1.0 (section 3.1) and Discovery 1.0, RFC 7636, RFC 9207. Authlib writes the requests and checks the
claims, joserfc the signature. Raises MissingExtraError on import where they are not installed.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from deeptrace.errors import MissingExtraError, SettingsError
from deeptrace.server.settings import is_loopback
from deeptrace.studio.accounts import Role
from deeptrace.studio.log_ins import Identity
from deeptrace.studio.settings import OidcSettings

try:
    import httpx
    from authlib.oauth2.auth import ClientAuth
    from authlib.oauth2.base import OAuth2Error
    from authlib.oauth2.client import OAuth2Client
    from authlib.oidc.core import CodeIDToken
    from joserfc import jwt
    from joserfc.errors import InvalidKeyIdError, JoseError
    from joserfc.jwk import KeySet, import_key
    from joserfc.jws import JWSRegistry
except ImportError as error:
    raise MissingExtraError("deeptrace studio --oidc-issuer", "oidc") from error

__all__ = ["CannotBelieveError", "NotReachedError", "Provider", "Request"]

_SCOPE = "openid profile email"
_KEPT_S = 3600.0
"""How long the provider's own description and its keys are believed."""
_MOST_BYTES = 1 << 20
_LEEWAY_S = 60
_SIGNED = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")
"""Ways to sign that need a private key; with others a public key, or none, would do."""
_NEEDS = ("authorization_endpoint", "token_endpoint", "jwks_uri")


class NotReachedError(Exception):
    """The provider does not answer; later it may."""


class CannotBelieveError(Exception):
    """The provider answers what makes no sense, or what it vouches for cannot be believed."""


@dataclass(frozen=True)
class Request:
    """What a browser is sent to the provider with; all but the URL stays here.

    Attributes:
        url: of the provider's page.
        redirect_uri: where it sends the browser back to.
        state: that has to come back with it.
        nonce: that the ID token has to hold.
        verifier: that proves to the provider who began (PKCE).
    """

    url: str
    redirect_uri: str
    state: str
    nonce: str
    verifier: str


class Provider:
    """One OpenID provider; used from any thread.

    Args:
        settings: of it, and of what is made of what it says.
        clock: seconds, rising.

    Attributes:
        host: of it, as people see it.

    Raises:
        SettingsError: no role of the mapping, or an issuer that everybody on the way could speak for.
    """

    def __init__(self, settings: OidcSettings, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.settings, self._clock = settings, clock
        parts = urlsplit(settings.issuer)
        self.host = parts.netloc.rpartition("@")[2]
        self._subject = f"issuer {settings.issuer}"
        if not (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))):
            raise SettingsError(self._subject, "expected a URL with https (or of this machine)")
        try:
            self._roles = {value: Role(role) for value, role in settings.roles.items()}
        except ValueError:
            raise SettingsError("--oidc-role", f"expected VALUE={'|'.join(Role)}") from None
        # A proxy of the environment is not asked for this machine.
        outside = not is_loopback(parts.hostname or "")
        self._http = httpx.Client(timeout=httpx.Timeout(10.0), trust_env=outside)
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[float, dict[str, Any]]] = {}

    @property
    def makes_admins(self) -> bool:
        """Whether what it says can make somebody an admin."""
        return bool(self.settings.roles_claim) and Role.ADMIN in (self._roles or dict.fromkeys(Role)).values()

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def described(self) -> Mapping[str, Any]:
        """What the provider says of itself.

        Raises:
            NotReachedError: it does not answer.
            CannotBelieveError: that is no OpenID provider, or another one.
        """
        url = f"{self.settings.issuer.rstrip('/')}/.well-known/openid-configuration"
        found = self._json(url, kept=True)
        if found.get("issuer") != self.settings.issuer:
            raise CannotBelieveError(f"{url} says it is {str(found.get('issuer'))[:200]!r}")
        for name in _NEEDS:
            parts = urlsplit(str(found.get(name, "")))
            if not (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))):
                raise CannotBelieveError(f"{url} has no {name} with https")
        return found

    def begin(self, redirect_uri: str) -> Request:
        """What to send a browser to the provider with. Raises what `described` does."""
        made = {"state": secrets.token_urlsafe(32), "nonce": secrets.token_urlsafe(32)}
        verifier = secrets.token_urlsafe(48)
        client = self._client(redirect_uri)
        endpoint = self.described()["authorization_endpoint"]
        url, _ = client.create_authorization_url(endpoint, code_verifier=verifier, **made)
        return Request(str(url), redirect_uri, verifier=verifier, **made)

    def vouches_for(self, code: str, *, redirect_uri: str, nonce: str, verifier: str) -> Identity:
        """Whom the provider sent the browser back as.

        Args:
            code: that the browser came back with.
            redirect_uri: see `Request`, as the two that follow.
            nonce: of the same.
            verifier: of the same.

        Raises:
            NotReachedError: it does not answer.
            CannotBelieveError: it does not know the code, or its ID token is not for us, not for this log-in, too old,
                from another issuer, or not signed by it.
        """
        answer = self._token(code, redirect_uri, verifier)
        claims = self._claims(str(answer.get("id_token", "")), str(answer.get("access_token", "")), nonce)
        wanted = [name for name in (self.settings.name_claim, self.settings.roles_claim) if name]
        endpoint = self.described().get("userinfo_endpoint")
        if endpoint and any(_at(claims, name) is None for name in wanted):
            more = self._json(str(endpoint), headers={"Authorization": f"Bearer {answer.get('access_token', '')}"})
            if more.get("sub") != claims["sub"]:
                raise CannotBelieveError("what it says of a person is of another one")
            claims = {**more, **claims}
        name = _at(claims, self.settings.name_claim)
        if not isinstance(name, str) or not name:
            raise CannotBelieveError(f"it states no {self.settings.name_claim!r} to take a name from")
        return Identity(self.settings.issuer, claims["sub"], name, self._role(claims), self.host)

    def _role(self, claims: Mapping[str, Any]) -> Role | None:
        """The highest role that the claims give; None where roles are given in the studio."""
        if not self.settings.roles_claim:
            return None
        said = _at(claims, self.settings.roles_claim)
        values = [said] if isinstance(said, str) else said if isinstance(said, list) else []
        known = self._roles or {role.value: role for role in Role}
        found = [known[value] for value in values if isinstance(value, str) and value in known]
        return max(found, key=list(Role).index, default=Role.VIEWER)

    def _client(self, redirect_uri: str) -> Any:
        made = OAuth2Client(
            self._http,
            self.settings.client,
            self.settings.secret or None,
            scope=_SCOPE,
            redirect_uri=redirect_uri,
            code_challenge_method="S256",
            token_endpoint_auth_method=self._proves(),
        )
        made.client_auth_class = _HttpxAuth
        return made

    def _proves(self) -> str:
        """How we say who we are at the token endpoint (Discovery 1.0, section 3: basic where nothing is said)."""
        if not self.settings.secret:
            return "none"
        known = self.described().get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        return "client_secret_basic" if "client_secret_basic" in known else "client_secret_post"

    def _token(self, code: str, redirect_uri: str, verifier: str) -> dict[str, Any]:
        client, endpoint = self._client(redirect_uri), self.described()["token_endpoint"]
        try:
            return dict(
                client.fetch_token(endpoint, code=code, code_verifier=verifier, grant_type="authorization_code")
            )
        except OAuth2Error as error:
            raise CannotBelieveError(f"it does not take the code ({str(error.error)[:100]})") from None
        except httpx.TransportError as error:
            raise NotReachedError(_why(error)) from None
        except (httpx.HTTPError, ValueError) as error:
            raise CannotBelieveError(f"{endpoint} answers no token ({str(error)[:200]})") from None

    def _claims(self, token: str, access_token: str, nonce: str) -> dict[str, Any]:
        """What an ID token says, once it is known to be the provider's, for us, and of this log-in."""
        options: dict[str, Any] = {
            "iss": {"essential": True, "value": self.settings.issuer},
            "aud": {"essential": True, "value": self.settings.client},
            "sub": {"essential": True},
        }
        known = {"nonce": nonce, "client_id": self.settings.client, "access_token": access_token}
        try:
            try:
                signed = self._proven(token, fresh=False)
            except InvalidKeyIdError:  # it may have taken a new key since
                signed = self._proven(token, fresh=True)
            claims = CodeIDToken(signed.claims, signed.header, options, known)
            claims.validate(leeway=_LEEWAY_S)
        except (JoseError, ValueError, TypeError) as error:
            raise CannotBelieveError(f"its ID token is not to be believed ({str(error)[:200]})") from None
        return dict(claims)

    def _proven(self, token: str, *, fresh: bool) -> jwt.Token:
        supported = self.described().get("id_token_signing_alg_values_supported") or ["RS256"]
        algorithms = [name for name in _SIGNED if name in supported]
        keys = KeySet(list(_keys(self._json(str(self.described()["jwks_uri"]), kept=not fresh).get("keys"))))
        return jwt.decode(token, keys, registry=JWSRegistry(algorithms=algorithms, strict_check_header=False))

    def _json(self, url: str, *, kept: bool = False, headers: dict[str, str] | None = None) -> dict[str, Any]:
        """An object of the provider's; with `kept` one that was asked for within the hour."""
        with self._lock:
            at, found = self._kept.get(url, (0.0, {}))
        if kept and found and self._clock() - at < _KEPT_S:
            return found
        body = b""
        try:
            with self._http.stream("GET", url, headers=headers) as response:
                for chunk in response.iter_bytes():
                    body += chunk
                    if len(body) > _MOST_BYTES:
                        raise CannotBelieveError(f"{url} answers more than {_MOST_BYTES} bytes")
        except httpx.TransportError as error:
            raise NotReachedError(_why(error)) from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise CannotBelieveError(f"{url} cannot be read ({_why(error)})") from None
        if response.status_code >= 500:
            raise NotReachedError(f"{url} answers HTTP {response.status_code}")
        try:
            said = json.loads(body) if response.status_code == 200 else None
        except (ValueError, RecursionError):
            said = None
        if not isinstance(said, dict):
            raise CannotBelieveError(f"{url} answers HTTP {response.status_code}, and no JSON object")
        if headers is None:
            with self._lock:
                self._kept[url] = (self._clock(), said)
        return said


class _HttpxAuth(httpx.Auth, ClientAuth):  # type: ignore[misc]  # Authlib has no types
    """How Authlib proves who we are, for httpx."""

    requires_request_body = True

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        headers = {name: value for name, value in request.headers.items() if name != "content-length"}
        url, headers, body = self.prepare(request.method, str(request.url), headers, request.content.decode())
        yield httpx.Request(request.method, url, headers=headers, content=body)


def _keys(said: Any) -> Iterable[Any]:
    """The keys of a set that something can be signed with; those of kinds that are not known here are left out."""
    for one in said if isinstance(said, list) else []:
        try:
            if one.get("use", "sig") == "sig" and one.get("kty") != "oct":
                yield import_key(one)
        except (JoseError, ValueError, TypeError, AttributeError):
            continue


def _at(claims: Mapping[str, Any], name: str) -> Any:
    """A claim by its name, or by its way through objects ("realm_access.roles"); None for none."""
    if name in claims:
        return claims[name]
    found: Any = claims
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _why(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]
