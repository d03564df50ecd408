"""Fetch a dataset release from a hub: listed, resumed, checked, unpacked."""

from __future__ import annotations

from deeptrace.data.download.fetch import Fetcher
from deeptrace.data.download.hub import DEFAULT_BASE_URL, DEFAULT_DATASET, RemoteFile, list_release
from deeptrace.data.download.release import download_release
from deeptrace.data.download.unpack import JoinedFile, unpack

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
