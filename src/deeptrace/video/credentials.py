"""Content Credentials: the signed manifest (C2PA) that a video file may carry, found at no cost and read in safety.

Most files have none, so looking must cost nothing: the places where the standard puts a manifest are looked up in the
container's headers, a few reads a file. A manifest that is there was written by a stranger, and nested boxes, CBOR and
certificates have to be parsed: that is done in a process of its own (`c2pa_process.py`), which has limits on time and
memory and can open nothing, neither file nor connection. Whatever happens there costs one state, `UNREADABLE`.

Where it stands, by C2PA 2.2, appendix A: a `uuid` box of an MP4 or QuickTime file, a `C2PA` chunk of an AVI or WebP, an
application extension of a GIF, a `caBX` chunk of a PNG. Matroska and WebM have no place for it.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from deeptrace.errors import install_command
from deeptrace.schema import ContentCredentials, CredentialsState, StatedOrigin
from deeptrace.video.container import boxes
from deeptrace.video.source import is_url, local_path

__all__ = ["TRUST_VARIABLE", "read_credentials"]

TRUST_VARIABLE = "DEEPTRACE_C2PA_TRUST"
"""Environment variable: a PEM file of the authorities whose signers are trusted. None is shipped: lists change."""

TIMEOUT_S = 60
"""A sound file is hashed once, at the speed of the disk."""
MEMORY_BYTES = 2 << 30
_MAX_TRUST_BYTES = 4 << 20
_MAX_TEXT = 100
_HEAD_BYTES = 1 << 20
"""How far into a GIF or PNG a manifest is looked for; it stands before the pictures."""

_MANIFEST_BOX = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
_XMP_BOX = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
_ADDRESS = b"dcterms:provenance"
"""The XMP property that names the address of a manifest."""

_REASONS = (
    (("assertion.bmffHash.", "assertion.dataHash.", "assertion.boxesHash."), "the file was changed after signing"),
    (("assertion.hashedURI.", "claimSignature.mismatch"), "the manifest was changed after signing"),
    (("claimSignature.outsideValidity", "signingCredential.expired"), "signed outside the certificate's lifetime"),
    (("signingCredential.ocsp.revoked", "signingCredential.revoked"), "the certificate was revoked"),
    (("signingCredential.invalid",), "the certificate is none for this purpose"),
)
"""Beginnings of the standard's codes of failure, the most telling first."""


def read_credentials(path: str) -> ContentCredentials:
    """What is signed into the video at `path`; never an exception, never a connection.

    Args:
        path: as the user gave it. What is behind a URL is not looked at: checking it would take all of its bytes.
    """
    if is_url(path):
        return ContentCredentials(state=CredentialsState.NOT_CHECKED, reason="not a local file")
    name = local_path(path)
    try:
        with open(name, "rb") as file:
            state = _look(file)
    except OSError as error:
        return ContentCredentials(state=CredentialsState.UNREADABLE, reason=(error.strerror or "read error").lower())
    except ValueError:  # a zero byte, or half of a surrogate pair
        return ContentCredentials(state=CredentialsState.UNREADABLE, reason="no name of a file")
    if state is not None:
        return ContentCredentials(state=state)
    if importlib.util.find_spec("c2pa") is None:
        return ContentCredentials(state=CredentialsState.NOT_CHECKED, reason=f"needs {install_command('c2pa')}")
    try:
        trusted = _trust_list()
    except (OSError, ValueError):
        reason = f"the trust list in {TRUST_VARIABLE} cannot be read"
        return ContentCredentials(state=CredentialsState.NOT_CHECKED, reason=reason)
    found = _ask(name, trusted)
    return _unreadable(found) if isinstance(found, str) else _judged(found)


# -- is there one? ----------------------------------------------------------------------------------------------------


def _look(file: IO[bytes]) -> CredentialsState | None:
    """ABSENT or ELSEWHERE; None where a manifest is in the file."""
    head = file.read(16)
    here = False
    if head[:4] == b"RIFF":
        here = _in_riff(file)
    elif head[:3] == b"GIF":
        here = b"\x21\xff\x0bC2PA_GIF" in head + file.read(_HEAD_BYTES)
    elif head[:8] == b"\x89PNG\r\n\x1a\n":
        here = b"caBX" in head + file.read(_HEAD_BYTES)
    elif head[4:8].isalnum() and head[:4] != b"\x1aE\xdf\xa3":
        return _in_boxes(file)
    return None if here else CredentialsState.ABSENT


def _in_boxes(file: IO[bytes]) -> CredentialsState | None:
    """See `_look`; of an MP4 or QuickTime file, whose manifest may stand between any two of its outermost boxes."""
    elsewhere = False
    total = file.seek(0, os.SEEK_END)
    for kind, start, stop in boxes(file, 0, total):
        if kind != b"uuid":
            continue
        file.seek(start)
        known = file.read(16)
        if known == _MANIFEST_BOX:
            return None
        if known == _XMP_BOX:
            elsewhere = elsewhere or _ADDRESS in file.read(min(stop - start, _HEAD_BYTES))
    return CredentialsState.ELSEWHERE if elsewhere else CredentialsState.ABSENT


def _in_riff(file: IO[bytes]) -> bool:
    at, total = 12, file.seek(0, os.SEEK_END)
    for _ in range(10_000):
        file.seek(at)
        head = file.read(8)
        if len(head) < 8 or at >= total:
            return False
        if head[:4] == b"C2PA":
            return True
        size = int.from_bytes(head[4:], "little")
        at += 8 + size + size % 2
    return False


# -- what does it say? ------------------------------------------------------------------------------------------------


def _trust_list() -> str:
    """The certificates in the file that `TRUST_VARIABLE` names; empty when it names none.

    Raises:
        OSError, ValueError: there is no such file, or it is not one of certificates.
    """
    name = os.environ.get(TRUST_VARIABLE, "")
    if not name:
        return ""
    with open(name, encoding="ascii") as file:
        text = file.read(_MAX_TRUST_BYTES)
    if "BEGIN CERTIFICATE" not in text:
        raise ValueError("no certificate in it")
    return text


def _ask(name: str, trusted: str) -> dict[str, Any] | str:
    """What the process of its own says of the file, or why it says nothing."""
    request = {
        "path": os.path.abspath(name),
        "packages": [folder for folder in sys.path if folder],
        "trust_anchors": trusted,
        "seconds": TIMEOUT_S,
        "memory_bytes": MEMORY_BYTES,
    }
    script = Path(__file__).with_name("c2pa_process.py")
    try:
        done = subprocess.run(
            [sys.executable, "-I", str(script)],
            input=json.dumps(request).encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=TIMEOUT_S + 10,
            check=False,
        )
        found = json.loads(done.stdout) if done.returncode == 0 else None
    except (OSError, ValueError, MemoryError, subprocess.TimeoutExpired) as error:
        return type(error).__name__
    if isinstance(found, dict):
        return found if "error" not in found else str(found["error"])
    if done.returncode == -signal.SIGALRM:
        return f"reading took longer than {TIMEOUT_S} s"
    return f"its reader ended with code {done.returncode}"


def _judged(found: dict[str, Any]) -> ContentCredentials:
    """The credentials from what `c2pa_process.py` prints."""
    failures = found["failures"]
    state = {"Trusted": CredentialsState.VALID, "Valid": CredentialsState.UNTRUSTED}.get(
        found["state"], CredentialsState.BROKEN
    )
    return ContentCredentials(
        state=state,
        reason=_reason(failures) if state is CredentialsState.BROKEN else None,
        signer=_plain(found["signer"]),
        signed_at=_time(found["time"]),
        generator=_plain(found["generator"]),
        origin=None if found["origin"] is None else StatedOrigin(found["origin"]),
        ingredients=found["ingredients"],
    )


def _reason(failures: list[str]) -> str:
    for beginnings, reason in _REASONS:
        if any(code.startswith(beginnings) for code in failures):
            return reason
    return _plain(next((code for code in failures if code != "signingCredential.untrusted"), "")) or "not valid"


def _unreadable(why: str) -> ContentCredentials:
    if why.startswith("Remote"):
        return ContentCredentials(state=CredentialsState.ELSEWHERE)
    return ContentCredentials(
        state=CredentialsState.UNREADABLE, reason=_plain(why.removeprefix("Other: ")) or "no reason given"
    )


def _plain(text: str | None) -> str | None:
    """A stranger's words on one short line, without what turns or hides text; None when nothing is left."""
    shown = "".join(letter if letter.isprintable() else " " for letter in text or "")
    line = " ".join(shown.split())
    return (line if len(line) <= _MAX_TEXT else f"{line[: _MAX_TEXT - 1]}…") or None


def _time(text: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
