"""Whether the hub can be asked for a model: asked once and answered soon, with one line on what stands in the way.

huggingface_hub itself asks again for half a minute, and for every file anew, when the network is away.
"""

from __future__ import annotations

import logging
import sys
from functools import cache

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

__all__ = ["hub_answers"]

log = logging.getLogger(__name__)

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
        raise ModelError(name, "no such folder, and no name on the hub, where it is OWNER/MODEL") from None
    except GatedRepoError:
        why, mend = "on the hub, but not for everyone", "Ask for access on its page there, then: hf auth login"
    except RepositoryNotFoundError:
        why, mend = "no such folder, and no such model on the hub", "Is it spelled so? If it is private: hf auth login"
    except HfHubHTTPError as error:
        why, mend = f"no such folder, and the hub answers with status {error.response.status_code}", _DOWNLOAD
    except OfflineModeIsEnabled:
        why, mend = "no such folder, not downloaded before, and HF_HUB_OFFLINE is set", _DOWNLOAD
    except _connection_errors() as error:
        why, mend = f"no such folder, and the hub cannot be reached: {error}", _DOWNLOAD
        if _downloaded(name):
            log.warning("%s as downloaded: %s. HF_HUB_OFFLINE=1 saves the waiting", name, error)
    else:
        return True
    if not _downloaded(name):
        raise ModelError(name, why, mend)
    return False


def _connection_errors() -> tuple[type[Exception], ...]:
    """What huggingface_hub lets through when there is no connection: of httpx, from its version 2 of httpx2."""
    clients = [sys.modules[name] for name in ("httpx", "httpx2") if name in sys.modules]
    return (OSError, *(client.TransportError for client in clients))


def _downloaded(name: str) -> bool:
    files = ("config.json", "adapter_config.json")
    return any(isinstance(try_to_load_from_cache(name, file), str) for file in files)
