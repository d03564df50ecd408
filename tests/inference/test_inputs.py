from __future__ import annotations

import os
from pathlib import Path

import fsspec
import pytest

from deeptrace.errors import VideoNotFoundError
from deeptrace.inference.inputs import expand_inputs
from deeptrace.io.fingerprint import fingerprint


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in (
        "b.mp4",
        "a.MOV",
        "notes.txt",
        "sub/c.webm",
        "sub/deep/d.gif",
        ".hidden.mp4",
        ".git/e.mp4",
        "x[1].mp4",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def paths(*given: str) -> list[str]:
    return [item.path for item in expand_inputs(given)]


def test_a_file_is_itself_whatever_its_name(tree: Path) -> None:
    assert paths("notes.txt", "b.mp4") == ["notes.txt", "b.mp4"]


def test_a_folder_is_searched_for_videos_without_hidden_ones(tree: Path) -> None:
    assert paths(".") == [
        os.path.join(".", name) for name in ("a.MOV", "b.mp4", "sub/c.webm", "sub/deep/d.gif", "x[1].mp4")
    ]


def test_patterns_are_sorted_and_may_cross_folders(tree: Path) -> None:
    assert paths("*.mp4") == ["b.mp4", "x[1].mp4"]
    assert paths("**/*.gif") == ["sub/deep/d.gif"]
    assert paths("su?") == ["sub/c.webm", "sub/deep/d.gif"]


def test_an_existing_name_that_looks_like_a_pattern_is_a_name(tree: Path) -> None:
    assert paths("x[1].mp4") == ["x[1].mp4"]


def test_repeats_are_dropped_and_order_kept(tree: Path) -> None:
    assert paths("sub", "b.mp4", "sub/c.webm") == ["sub/c.webm", "sub/deep/d.gif", "b.mp4"]


@pytest.mark.parametrize(("given", "why"), [("empty", "no video file"), ("*.avi", "no file matches")])
def test_nothing_found_is_an_input_that_fails(tree: Path, given: str, why: str) -> None:
    (item,) = expand_inputs([given])
    assert item.path == given
    assert isinstance(item.error, VideoNotFoundError)
    assert why in str(item.error)


def test_a_folder_that_may_not_be_read_is_an_input_that_fails(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    look = os.scandir

    def scandir(folder: str):  # permissions do not stop root
        if str(folder).endswith("deep"):
            raise PermissionError(13, "Permission denied", folder)
        return look(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    readable, closed = expand_inputs(["sub"])
    assert (readable.path, readable.error) == ("sub/c.webm", None)
    assert str(closed.error) == "sub/deep: this folder cannot be read (Permission denied)"


def test_linked_folders_are_entered_once(tree: Path) -> None:
    (tree / "elsewhere").mkdir()
    (tree / "elsewhere/one.mp4").write_bytes(b"x")
    set_ = tree / "set"
    (set_ / "own").mkdir(parents=True)
    (set_ / "own/two.mp4").write_bytes(b"x")
    (set_ / "a_linked").symlink_to(tree / "elsewhere")
    (set_ / "a_loop").symlink_to(set_)
    (set_ / "a_second_name").symlink_to(set_ / "own")
    (set_ / "own/up").symlink_to("..")
    (set_ / ".hidden").symlink_to(tree / "sub")
    (set_ / "dangling").symlink_to(tree / "gone")
    assert paths("set") == [os.path.join("set", name) for name in ("a_linked/one.mp4", "own/two.mp4")]
    assert paths("set/a_linked") == ["set/a_linked/one.mp4"]


def test_a_missing_file_is_left_to_the_opener(tree: Path) -> None:
    (item,) = expand_inputs(["gone.mp4"])
    assert (item.path, item.error) == ("gone.mp4", None)


def test_web_addresses_pass_as_they_are() -> None:
    assert paths("https://example.org/a.mp4?x=[1]*") == ["https://example.org/a.mp4?x=[1]*"]


@pytest.fixture
def store():
    """A bucket in memory, listed and globbed through the same calls as s3:// and gs://."""
    fs = fsspec.filesystem("memory")
    for name in ("one.mp4", "two.mp4", "more/three.webm", "more/readme.md"):
        fs.pipe(f"/clips/{name}", b"x")
    yield fs
    fs.rm("/clips", recursive=True)


def test_object_stores_are_listed(store) -> None:
    assert paths("memory://clips") == [
        "memory:///clips/more/three.webm",
        "memory:///clips/one.mp4",
        "memory:///clips/two.mp4",
    ]
    assert paths("memory://clips/*.mp4") == ["memory:///clips/one.mp4", "memory:///clips/two.mp4"]
    assert paths("memory://clips/one.mp4") == ["memory://clips/one.mp4"]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("memory://clips/*.avi", "no object matches"),
        ("nonsense://bucket/a.mp4", "nonsense"),
    ],
)
def test_store_troubles_are_one_line(store, url: str, words: str) -> None:
    (item,) = expand_inputs([url])
    assert item.error is not None
    assert words in str(item.error)
    assert "\n" not in str(item.error)


def test_fingerprints_follow_the_content(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    assert fingerprint(str(path)) is None
    path.write_bytes(b"one")
    first = fingerprint(str(path))
    assert fingerprint(str(path)) == first
    os.utime(path, ns=(1, 1))
    touched = fingerprint(str(path))
    assert touched not in (None, first)
    path.write_bytes(b"other")
    os.utime(path, ns=(1, 1))
    assert fingerprint(str(path)) not in (None, touched)


def test_fingerprints_of_objects(store) -> None:
    first = fingerprint("memory://clips/one.mp4")
    assert first
    store.pipe("/clips/one.mp4", b"changed")
    assert fingerprint("memory://clips/one.mp4") != first
    assert fingerprint("nonsense://a") is None
