"""Fetch a dataset release from a hub: listed, resumed, checked, unpacked."""

from __future__ import annotations

from deeptrace.data.download.release import (
    DEFAULT_BASE_URL,
    DEFAULT_DATASET,
    RemoteFile,
    download_release,
    list_release,
)
from deeptrace.data.download.unpack import JoinedFile, unpack
from deeptrace.net.download import Fetcher

__all__ = [
    "DEFAULT_BASE_URL",
    "DEFAULT_DATASET",
    "Fetcher",
    "JoinedFile",
    "RemoteFile",
    "download_release",
    "list_release",
    "unpack",
]
