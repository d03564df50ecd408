"""A process that reads the manifest of one file; a script that `deeptrace.video.credentials` runs, imported by nobody.

A request comes on stdin as JSON: the file's path, where packages lie, the trust list, the limits. The answer goes to
stdout as JSON: what `_facts` gives, or {"error": one line}. It imports nothing of deeptrace, so that it starts in a
tenth of a second. Before it looks at the manifest it gives up the right to open anything, file or connection.
"""

from __future__ import annotations

import contextlib
import json
import resource
import signal
import sys
from collections.abc import Iterator
from typing import Any

MAX_TEXT = 400
MAX_CODES = 16
GENERATED, PARTLY = "trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia"
"""IPTC's digital source types of media made by a trained model, and of media made with one in part."""


def main() -> None:
    """Answer one request."""
    request = json.load(sys.stdin)
    signal.alarm(request["seconds"])
    sys.path[:] = request["packages"]
    import c2pa

    settings = {
        "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
        "core": {"allowed_network_hosts": []},
        **({"trust": {"trust_anchors": request["trust_anchors"]}} if request["trust_anchors"] else {}),
    }
    with open(request["path"], "rb") as file:
        context = c2pa.Context(c2pa.Settings.from_dict(settings))
        _confine(request["memory_bytes"])
        try:
            with c2pa.Reader(None, file, context=context) as reader:
                answer = _facts(json.loads(reader.json()))
        except (c2pa.C2paError, ValueError, KeyError, RecursionError, MemoryError) as error:
            answer = {"error": (str(error) or type(error).__name__)[:MAX_TEXT]}
    print(json.dumps(answer))


def _confine(memory_bytes: int) -> None:
    """From here on: no new file or socket, no byte written to a file, bounded memory. Open ones stay open."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(ValueError, OSError):  # macOS knows no such limit
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))


def _facts(store: dict[str, Any]) -> dict[str, Any]:
    """What a manifest store says, cut to a size that is safe to hand on."""
    manifest = store["manifests"][store["active_manifest"]]
    signature = manifest.get("signature_info") or {}
    checked = store.get("validation_results") or {}
    failures = [*_of(checked.get("activeManifest"), "failure")]
    for delta in _of(checked, "ingredientDeltas"):
        failures += _of(delta.get("validationDeltas"), "failure")
    return {
        "state": store.get("validation_state"),
        "failures": [_text(failure.get("code")) for failure in failures[:MAX_CODES]],
        "signer": _text(signature.get("issuer") or signature.get("common_name")),
        "time": _text(signature.get("time")),
        "generator": _generator(manifest),
        "origin": _origin(store),
        "ingredients": len(_of(manifest, "ingredients")),
    }


def _of(record: Any, name: str) -> list[dict[str, Any]]:
    """The objects in the list under a name; what is something else is left out."""
    found = record.get(name) if isinstance(record, dict) else None
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _text(value: Any) -> str:
    return value[:MAX_TEXT] if isinstance(value, str) else ""


def _generator(manifest: dict[str, Any]) -> str:
    """Name and version of the program, as the manifest has them."""
    for program in _of(manifest, "claim_generator_info"):
        return f"{_text(program.get('name'))} {_text(program.get('version'))}".strip()
    return _text(manifest.get("claim_generator")).partition(" ")[0].replace("_", " ").replace("/", " ")


def _origin(store: dict[str, Any]) -> str | None:
    """What is stated: "generated", "partly_generated", or None."""
    stated = set(_sources(store))
    if (GENERATED, True) in stated:
        return "generated"
    return "partly_generated" if any(source in (GENERATED, PARTLY) for source, _ in stated) else None


def _sources(store: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    """Each source type that is stated, and whether of the whole video: by its own manifest, or by that of the file that
    it is a later state of ("parentOf"). What other ingredients were made by holds for a part.
    """
    manifests = store["manifests"]
    todo, seen = [(store["active_manifest"], True)], set()
    while todo:
        label, whole = todo.pop()
        manifest = manifests.get(label) if isinstance(label, str) else None
        if not isinstance(manifest, dict) or (label, whole) in seen:
            continue
        seen.add((label, whole))
        for assertion in _of(manifest, "assertions"):
            if str(assertion.get("label")).startswith("c2pa.actions"):
                for action in _of(assertion.get("data"), "actions"):
                    yield _text(action.get("digitalSourceType")).rpartition("/")[2], whole
        for ingredient in _of(manifest, "ingredients"):
            parent = ingredient.get("relationship") == "parentOf"
            todo.append((ingredient.get("active_manifest"), whole and parent))


if __name__ == "__main__":
    main()
