"""Where a served model is, and the key for it: out of the environment alone, for one address alone.

| address | key |
|---|---|
| any | the variable that the setting `key_env` names, else DEEPTRACE_API_KEY |
| api.openai.com, or the one in OPENAI_BASE_URL | OPENAI_API_KEY |
| generativelanguage.googleapis.com | GEMINI_API_KEY, GOOGLE_API_KEY |
| any other | none |

A key is in no `repr`, setting, manifest, log line or error, and is never sent to an address it was not meant for.
"""

from __future__ import annotations

import os
import string
from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit

from deeptrace.errors import SettingsError

__all__ = ["GEMINI_URL", "OPENAI_URL", "Endpoint", "checked_url", "key_from", "open_endpoint", "split_name"]

OPENAI_URL = "https://api.openai.com/v1"
GEMINI_URL = "https://generativelanguage.googleapis.com/v1beta/openai"
_KEYS_OF_HOST = {
    "api.openai.com": ("OPENAI_API_KEY",),
    "generativelanguage.googleapis.com": ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
}
_DETECTOR = "openai:"
_FORM = "MODEL@http://HOST:PORT/v1"
_KEY_CHARS = frozenset(string.ascii_letters + string.digits + string.punctuation)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server.

    Attributes:
        base_url: up to and without `/chat/completions`; carries no credentials.
        key: sent as `Authorization: Bearer`; None to send none.
    """

    base_url: str
    key: str | None = field(default=None, repr=False)

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine (then proxies of the environment do not apply)."""
        host = urlsplit(self.base_url).hostname or ""
        return host in ("localhost", "::1") or host.startswith("127.")

    def cleaned(self, text: str) -> str:
        """`text` without the key, should a server have repeated it."""
        return text.replace(self.key, "***") if self.key and len(self.key) >= 8 else text


def split_name(rest: str, *, before: str = _DETECTOR, usual: bool = True) -> tuple[str, str]:
    """Model and address of `MODEL` or `MODEL@http(s)://...`.

    Without an address: OPENAI_BASE_URL, else Gemini's endpoint for a model called `gemini-...`, else OpenAI's.

    Args:
        rest: the name.
        before: what the user wrote before it, for messages: "openai:" or an option.
        usual: whether the address may be left out.

    Raises:
        SettingsError: no model, or no usable address.
    """
    model, at, address = rest.partition("@http")
    if not model or not (at or usual):
        lacks = "no model is named" if not model else "no address is named"
        form = f"{before}MODEL or " if usual else ""
        raise SettingsError(before.strip(), lacks, f"Use {form}{before}{_FORM}.")
    if at:
        return model, checked_url(f"http{address}", before=before)
    url = GEMINI_URL if model.startswith("gemini-") else OPENAI_URL
    return model, checked_url(os.environ.get("OPENAI_BASE_URL") or url, before=before)


def checked_url(url: str, *, before: str = _DETECTOR) -> str:
    """`url` without a slash at its end.

    Args:
        url: an address.
        before: see `split_name`.

    Raises:
        SettingsError: it is no http(s) address, or carries credentials; the message does not repeat it.
    """
    try:
        parts = urlsplit(url)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fits = False
    if not fits:
        raise SettingsError(before.strip(), "the address is not an http(s) address", f"Use {before}{_FORM}.")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise SettingsError(
            before.strip(), "the address carries credentials or a query", "Put the key into the environment instead."
        )
    return urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/"), "", ""))


def open_endpoint(base_url: str, *, key_env: str | None = None, before: str = _DETECTOR) -> Endpoint:
    """The endpoint at `base_url` with its key.

    Args:
        base_url: see `Endpoint`.
        key_env: variable of the environment that has the key; None for the usual ones.
        before: see `split_name`.

    Raises:
        SettingsError: a key is needed and not set, or is no key; the message names the variable alone.
    """
    if key_env is not None:
        if (key := key_from(key_env)) is None:
            raise SettingsError(f"key_env={key_env}", "the environment has no such variable", "Set it, then try again.")
        return Endpoint(base_url, key)
    host = urlsplit(base_url).hostname or ""
    usual = (os.environ.get("OPENAI_BASE_URL") or OPENAI_URL).rstrip("/")
    names = _KEYS_OF_HOST.get(host, ("OPENAI_API_KEY",) if base_url == usual else ())
    key = next((found for name in ("DEEPTRACE_API_KEY", *names) if (found := key_from(name))), None)
    if key is None and host in _KEYS_OF_HOST:
        raise SettingsError(before.strip(), f"{host} needs a key", f"Set {names[0]} in the environment.")
    return Endpoint(base_url, key)


def key_from(variable: str) -> str | None:
    """The key in an environment variable; None when it is unset or blank.

    Raises:
        SettingsError: it holds something that cannot be sent in a header.
    """
    key = os.environ.get(variable, "").strip()
    if not set(key) <= _KEY_CHARS:  # an HTTP library would repeat such a header in its error
        raise SettingsError(variable, "is not a key: it has spaces or letters that no header can carry")
    return key or None
