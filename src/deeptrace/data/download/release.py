"""From what a hub (or a mirror with its API) lists to a folder that `read_reward_data` and `join_media` work on."""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

from deeptrace.data.download.unpack import unpack
from deeptrace.errors import DataError, ServiceError, SettingsError
from deeptrace.io.atomic import atomic_path
from deeptrace.io.run_store import hold_folder
from deeptrace.net.download import Checksum, Fetcher

__all__ = [
    "DEFAULT_BASE_URL",
    "DEFAULT_DATASET",
    "RELEASE_FILES",
    "STATE_NAME",
    "RemoteFile",
    "download_release",
    "list_release",
]

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
    """The entries of all pages.

    Raises:
        ServiceError: a page is not a list of files, or names an earlier one as the next.
    """
    seen: set[str] = set()
    while url:
        if url in seen:
            raise ServiceError(url, "its list of files goes round in a circle")
        seen.add(url)
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


RELEASE_FILES = ("all_data.json", "real_videos.zip", "videos.zip", "videos.zip.[0-9]*")
STATE_NAME = "download.json"
_PART = re.compile(r"(?P<stem>.+\.zip)\.(?P<number>\d+)")


def download_release(
    folder: str | os.PathLike[str],
    *,
    dataset: str = DEFAULT_DATASET,
    revision: str = "main",
    base_url: str = DEFAULT_BASE_URL,
    files: Sequence[str] = RELEASE_FILES,
    unpacked: bool = True,
    keep_archives: bool = True,
    fetcher: Fetcher | None = None,
    on_unpack: Callable[[str, int, int], None] | None = None,
) -> Path:
    """Fetch a release into `folder`, check every file, and unpack its zips beside them. Safe to run again.

    `download.json` in the folder says which commit and files it is of, with their checksums; a later run goes on with
    that commit even when the hub has moved on, and fetches only what is missing.

    Args:
        folder: folder to write to.
        dataset: id on the hub.
        revision: branch, tag or commit.
        base_url: the hub or a mirror with its API.
        files: name patterns; others of the repository are left.
        unpacked: whether to unpack zips; `videos.zip.001` and its like are read as one without joining them on disk.
        keep_archives: whether to keep the zips afterwards.
        fetcher: downloads one file.
        on_unpack: called with (name, files done, files in all).

    Returns:
        `folder`.

    Raises:
        ServiceError: the hub cannot be reached, or a file is wrong even after a fresh start.
        DataError: no file matches, a part of a zip is missing, a zip is damaged, or the disk is full.
        SettingsError: another download is writing into `folder`, or it cannot be written.
    """
    base, fetch = Path(folder), fetcher or Fetcher()
    with hold_folder(base):
        state = _state(base, dataset)
        pinned = state["commit"] if state.get("revision") == revision else revision
        commit, found = list_release(dataset, revision=pinned, base_url=base_url, fetcher=fetch)
        wanted = [file for file in found if any(fnmatch.fnmatchcase(file.path, pattern) for pattern in files)]
        if not wanted:
            raise DataError(dataset, f"has no file like {', '.join(files)}")
        _safe(wanted)
        if state.get("commit") != commit:
            state = {"dataset": dataset, "revision": revision, "commit": commit, "files": {}, "unpacked": []}
        todo = [file for file in wanted if _archive_of(file.path) not in state["unpacked"] or keep_archives]
        _check_space(todo, base)
        for file in todo:
            fetch.file(file.url, base / file.path, size=file.size, checksum=file.checksum)
            state["files"][file.path] = {"size": file.size, "checksum": file.checksum and file.checksum.value}
            _write_state(base, state)
        if unpacked:
            for archive, parts in _archives(wanted).items():
                if archive not in state["unpacked"]:
                    _unpack_one(base, archive, parts, state, keep=keep_archives, on_unpack=on_unpack)
    return base


def _unpack_one(
    base: Path,
    archive: str,
    parts: list[str],
    state: dict[str, Any],
    *,
    keep: bool,
    on_unpack: Callable[[str, int, int], None] | None,
) -> None:
    """Unpack one zip beside its parts and note it; the parts go only when the note is on the disk."""
    expect = PurePosixPath(archive).name.split(".", 1)[0]
    unpack([base / part for part in parts], (base / archive).parent, expect=expect, on_progress=on_unpack)
    state["unpacked"].append(archive)
    _write_state(base, state)
    if not keep:
        for part in parts:
            (base / part).unlink(missing_ok=True)


def _archives(files: Sequence[RemoteFile]) -> dict[str, list[str]]:
    """Paths of each zip's parts in order, by the path of the zip that they make."""
    numbered: dict[str, dict[int, str]] = defaultdict(dict)
    for file in files:
        if match := _PART.fullmatch(file.path):
            numbered[match["stem"]][int(match["number"])] = file.path
        elif file.path.endswith(".zip"):
            numbered[file.path][1] = file.path
    archives = {}
    for stem, parts in sorted(numbered.items()):
        first, last = min(parts), max(parts)
        missing = [number for number in range(min(first, 1), last + 1) if number not in parts]
        if missing:
            raise DataError(stem, f"part {missing[0]:03d} is missing from the release")
        archives[stem] = [parts[number] for number in sorted(parts)]
    return archives


def _archive_of(path: str) -> str:
    match = _PART.fullmatch(path)
    return match["stem"] if match else path


def _safe(files: Sequence[RemoteFile]) -> None:
    for file in files:
        path = PurePosixPath(file.path)
        if path.is_absolute() or ".." in path.parts or "\\" in file.path:
            raise ServiceError(file.url, f"names a file that leads out of the folder: {file.path!r}")


def _check_space(files: Sequence[RemoteFile], base: Path) -> None:
    def missing(file: RemoteFile) -> int:
        target = base / file.path
        part = target.with_name(f"{target.name}.part")
        there = next((path.stat().st_size for path in (target, part) if path.is_file()), 0)
        return max((file.size or 0) - there, 0)

    needed, free = sum(missing(file) for file in files), shutil.disk_usage(base).free
    if needed > free:
        raise DataError(str(base), f"the download needs {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free")


def _state(base: Path, dataset: str) -> dict[str, Any]:
    path = base / STATE_NAME
    if not path.is_file():
        return {}
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(str(path), f"not JSON: {error}", "Delete it to start over.") from error
    if isinstance(state, dict):
        state.setdefault("files", {})
        state.setdefault("unpacked", [])
    if not isinstance(state, dict) or state.get("dataset", dataset) != dataset:
        raise DataError(str(path), f"is of another dataset, {state.get('dataset')!r}", "Choose another folder.")
    return state


def _write_state(base: Path, state: dict[str, Any]) -> None:
    with atomic_path(base / STATE_NAME) as scratch:
        scratch.write_text(json.dumps(state, indent=2) + "\n", encoding="utf-8")
