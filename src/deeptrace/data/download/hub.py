"""What a dataset release on a Hugging Face hub (or a mirror with its API) consists of."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

from deeptrace.data.download.fetch import Checksum, Fetcher
from deeptrace.errors import ServiceError, SettingsError

__all__ = ["DEFAULT_BASE_URL", "DEFAULT_DATASET", "RemoteFile", "list_release"]

DEFAULT_BASE_URL = "https://huggingface.co"
DEFAULT_DATASET = "DeeptraceReward/RewardData"
_NAME = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class RemoteFile:
    """One file of a release.

    Attributes:
        path: in the repository.
        url: pinned to the commit, so that a download over days is of one version.
        size: bytes.
        checksum: sha256 for large (LFS) files, git's blob id for small ones.
    """

    path: str
    url: str
    size: int | None
    checksum: Checksum | None


def list_release(
    dataset: str = DEFAULT_DATASET,
    *,
    revision: str = "main",
    base_url: str = DEFAULT_BASE_URL,
    fetcher: Fetcher | None = None,
) -> tuple[str, list[RemoteFile]]:
    """The commit that `revision` stands for now, and the files of it.

    Raises:
        SettingsError: the dataset's or the base URL's form is wrong.
        ServiceError: the hub cannot be reached or does not answer as its API says.
    """
    if not _NAME.fullmatch(dataset):
        raise SettingsError("dataset", f"expected an id like {DEFAULT_DATASET} but got {dataset!r}")
    if urlsplit(base_url).scheme not in ("http", "https"):
        raise SettingsError("base URL", f"expected http(s)://... but got {base_url!r}")
    base, fetch = base_url.rstrip("/"), fetcher or Fetcher()
    info, _ = fetch.json(f"{base}/api/datasets/{dataset}/revision/{quote(revision, safe='')}")
    commit = info.get("sha") if isinstance(info, dict) else None
    if not isinstance(commit, str) or not commit:
        raise ServiceError(f"{base}/api/datasets/{dataset}", "did not say which commit the revision is")
    files = []
    for entry in _tree(fetch, f"{base}/api/datasets/{dataset}/tree/{commit}?recursive=true"):
        if not isinstance(entry, dict) or entry.get("type") != "file" or not isinstance(entry.get("path"), str):
            continue
        path = entry["path"]
        url = f"{base}/datasets/{dataset}/resolve/{commit}/{quote(path)}"
        files.append(RemoteFile(path, url, _size(entry), _checksum(entry)))
    if not files:
        raise ServiceError(f"{base}/datasets/{dataset}", "has no files")
    return commit, files


def _tree(fetch: Fetcher, url: str) -> Iterator[Any]:
    """The entries of all pages."""
    while url:
        page, headers = fetch.json(url)
        if not isinstance(page, list):
            raise ServiceError(url, "did not answer a list of files")
        yield from page
        following = re.search(r'<([^>]+)>;\s*rel="next"', headers.get("link", ""))
        url = urljoin(url, following.group(1)) if following else ""


def _size(entry: dict[str, Any]) -> int | None:
    lfs = entry.get("lfs")
    size = lfs.get("size") if isinstance(lfs, dict) else entry.get("size")
    return size if isinstance(size, int) else None


def _checksum(entry: dict[str, Any]) -> Checksum | None:
    lfs = entry.get("lfs")
    if isinstance(lfs, dict) and isinstance(lfs.get("oid"), str):
        return Checksum("sha256", lfs["oid"].removeprefix("sha256:"))
    oid = entry.get("oid")
    return Checksum("git-sha1", oid) if isinstance(oid, str) and len(oid) == 40 else None
