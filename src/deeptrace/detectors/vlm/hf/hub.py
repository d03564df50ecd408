"""What is known of a checkpoint before transformers is loaded: whether it is there, and its small files on the disk.

A hub is asked once, and answers soon or with one line on what stands in the way: huggingface_hub itself asks again for
half a minute, and again for every file, when the network is away.
"""

from __future__ import annotations

import json
import logging
import sys
from functools import cache
from pathlib import Path
from typing import Any

from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)

from deeptrace.errors import ModelError

__all__ = ["SETTINGS_FILE", "hub_answers", "is_downloaded", "kept_settings", "read_object"]

log = logging.getLogger(__name__)

SETTINGS_FILE = "deeptrace_detector.json"
"""Settings that a checkpoint or adapter was trained with, kept beside it: a JSON object of `--set` keys."""

PATIENCE_S = 10.0
_DOWNLOAD = "Name a local folder, or download it once where the hub can be reached."


@cache
def hub_answers(name: str) -> bool:
    """Whether the hub gives out files of the model `name`; if not, they are in its cache on this machine.

    Raises:
        ModelError: neither; says what the hub answered, or why it could not.
    """
    try:
        get_hf_file_metadata(hf_hub_url(name, "config.json"), timeout=PATIENCE_S)
    except EntryNotFoundError:
        return True  # the model is there, and an adapter has no such file
    except HFValidationError:
        raise ModelError(name, "no such folder, and not a name on the hub (OWNER/MODEL)") from None
    except GatedRepoError:
        why, mend = "on the hub, but access is restricted", "Ask for access on its page there, then: hf auth login"
    except RepositoryNotFoundError:
        why, mend = (
            "no such folder, and no such model on the hub",
            "Check the spelling. If it is private: hf auth login",
        )
    except HfHubHTTPError as error:
        why, mend = f"no such folder, and the hub answers with status {error.response.status_code}", _DOWNLOAD
    except OfflineModeIsEnabled:
        why, mend = "no such folder, not downloaded before, and HF_HUB_OFFLINE is set", _DOWNLOAD
    except _connection_errors() as error:
        why, mend = f"no such folder, and the hub cannot be reached: {error}", _DOWNLOAD
        if is_downloaded(name):
            log.warning("%s as downloaded: %s. HF_HUB_OFFLINE=1 saves the waiting", name, error)
    else:
        return True
    if not is_downloaded(name):
        raise ModelError(name, why, mend)
    return False


def _connection_errors() -> tuple[type[Exception], ...]:
    """What huggingface_hub lets through when there is no connection: of httpx, from its version 2 of httpx2."""
    clients = [sys.modules[name] for name in ("httpx", "httpx2") if name in sys.modules]
    return (OSError, *(client.TransportError for client in clients))


def is_downloaded(name: str) -> bool:
    """Whether the model `name` of the hub is in its cache on this machine."""
    files = ("config.json", "adapter_config.json")
    return any(isinstance(try_to_load_from_cache(name, file), str) for file in files)


def kept_settings(folder: str) -> dict[str, Any]:
    """The settings kept beside a checkpoint; none for a model on the hub.

    Raises:
        ModelError: the file is no JSON object.
    """
    return read_object(Path(folder) / SETTINGS_FILE, f"{folder}/{SETTINGS_FILE}") or {}


def read_object(path: Path, name: str) -> dict[str, Any] | None:
    """The JSON object in a file; None where there is no such file.

    Args:
        path: of the file.
        name: of it, for errors.

    Raises:
        ModelError: it is no JSON object.
    """
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(name, f"not JSON: {error}") from error
    if not isinstance(found, dict):
        raise ModelError(name, "not a JSON object")
    return found
