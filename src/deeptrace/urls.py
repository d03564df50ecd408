"""URLs as they may be stored and shown: without user, password and signature."""

from __future__ import annotations

import hashlib
import re
from urllib.parse import unquote

__all__ = ["file_name", "public_text", "public_url", "same_clip", "shown_name"]

_WHOLE = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)(?P<host>[^/?#]*)(?P<path>[^?#]*)(?P<rest>.*)", re.DOTALL)
_IN_TEXT = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"<>()\[\]{}]+")

_EXEMPT = ("file://", "github://")
"""Where "?" is a part of a file's name, and "@" stands before a revision."""

_PREFIXES = ("x-amz-", "x-goog-", "x-oss-", "x-tos-", "x-obs-", "x-cos-", "q-sign-", "q-key-", "q-header-", "q-url-")
# fmt: off
_NAMES = frozenset([
    # Amazon S3 and CloudFront, Google Cloud Storage, Alibaba, Tencent, Akamai
    "awsaccesskeyid", "signature", "expires", "policy", "key-pair-id", "googleaccessid", "ossaccesskeyid",
    "security-token", "q-ak", "hdnea", "hdnts", "hdntl", "__gda__", "__token__",
    # what servers of one's own know a caller by
    "access_token", "access-token", "accesstoken", "api_key", "api-key", "apikey", "auth", "auth_token", "bearer",
    "authorization", "client_secret", "credential", "credentials", "jwt", "key", "pass", "passwd", "password",
    "private_token", "secret", "sessionid", "sid", "sig", "sign", "token",
])
_AZURE = frozenset([
    "se", "sip", "si", "ske", "skoid", "sks", "skt", "sktid", "skv", "sp", "spr", "sr", "srt", "ss", "st", "sv",
    "sdd", "ses", "saoid", "suoid", "scid", "rscc", "rscd", "rsce", "rscl", "rsct",
])
# fmt: on
"""The parameters of an Azure signature. Their names are short, so they count beside a `sig` only."""

_MAY_NAME_A_CLIP = frozenset({"auth", "key", "pass", "sid", "sign", "token"})
"""Parameters that prove who asks in one place and say which clip is asked for in another."""

_FILE_NAME = re.compile(r".*[/\\].*|.*\.[A-Za-z0-9]{2,4}", re.DOTALL)


def public_url(path: str) -> str:
    """A URL without user, password and what signs it; everything else, plain paths included, as it is.

    >>> public_url("https://me:pw@host/a.mp4?versionId=3&X-Amz-Expires=60&X-Amz-Signature=5f")
    'https://host/a.mp4?versionId=3'
    """
    if "::" in path and "://" in path:  # a chain of fsspec's: zip://a.mp4::https://host/b.zip
        return "::".join(public_url(part) for part in path.split("::"))
    parts = _split(path)
    if parts is None:
        return path
    query, sharp, fragment = parts["rest"].partition("#")
    host = parts["host"].rpartition("@")[2]
    return parts["scheme"] + host + parts["path"] + _without_secrets("?", query[1:]) + _without_secrets(sharp, fragment)


def public_text(text: str) -> str:
    """`text` with every URL in it as `public_url` has it: for what somebody else's errors say."""
    return _IN_TEXT.sub(lambda found: public_url(found[0]), text) if "://" in text else text


def shown_name(path: str) -> str:
    """A path or URL as it stands in verdicts: without secrets, and in UTF-8 whatever bytes a file's name has."""
    return public_url(path).encode("utf-8", "backslashreplace").decode()


def file_name(path: str) -> str:
    """The last part of a path, or of a URL without what is asked of it; for the names of files made from a clip."""
    shown = public_url(path).partition("?")[0] if "://" in path else path
    return shown.rstrip("/").rpartition("/")[2]


def same_clip(path: str) -> str:
    """A text that is equal for two URLs that differ in user, password or signature alone, and holds no secret.

    Where an address names no file, a `key` or `token` in it may be what names the clip; a hash then tells them apart.
    """
    text, parts = public_url(path), _split(path)
    if parts is None or "." in parts["path"].rpartition("/")[2]:
        return text
    asked = [item for item in parts["rest"][1:].split("&") if _name(item) in _MAY_NAME_A_CLIP and item not in text]
    return f"{text} {hashlib.sha256('&'.join(asked).encode('utf-8', 'replace')).hexdigest()}" if asked else text


def _split(path: str) -> re.Match[str] | None:
    return None if path.lower().startswith(_EXEMPT) else _WHOLE.fullmatch(path)


def _without_secrets(mark: str, query: str) -> str:
    """A query or a fragment, with `mark` before it where something of it is left."""
    items = query.split("&")
    signed = any(_name(item) == "sig" for item in items)
    kept = "&".join(item for item in items if not _is_secret(item, azure=signed))
    return mark + kept if kept else ""


def _name(item: str) -> str:
    return unquote(item.partition("=")[0]).lower()


def _is_secret(item: str, *, azure: bool) -> bool:
    name = _name(item)
    if name == "key" and _FILE_NAME.fullmatch(unquote(item.partition("=")[2])):
        return False  # an object's name in a store
    return name in _NAMES or name.startswith(_PREFIXES) or (azure and name in _AZURE)
