"""Run folders: kept through kills and moves, refused by name, one run at a time."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeptrace.errors import SettingsError
from deeptrace.io.atomic import atomic_path
from deeptrace.io.journal import Lines
from deeptrace.io.run_store import RunStore, hold_folder, key_of

SETTINGS = {"detector": {"name": "a", "settings": {"threshold": 0.5, "size": [1, 2]}}, "seed": 0}
ODD_NAMES = ["a\u2028b", "a\x85b", "a\u2029b", "a\rb", "a\nb", "a\x1cb", "\udcff", "猫", '"', "a\\nb"]


def opened(folder: Path, *, resume: bool = False, kind: str = "test", **settings: object) -> RunStore:
    return RunStore(folder, kind, SETTINGS | settings, resume=resume, files=["out.jsonl", "clips"])


def start(code: str, *args: object, **options: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, args)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options)  # type: ignore[call-overload,no-any-return]


# -- one run at a time ----------------------------------------------------------------------------------------------

HOLD = """
    import sys
    from deeptrace.io.run_store import hold_folder
    with hold_folder(sys.argv[1]):
        print("held", flush=True)
        input()
"""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_names_the_file_that_was_being_written(tmp_path: Path) -> None:
    """Not the scratch file, and not nothing."""
    full = open("/dev/full", "wb", buffering=0)  # noqa: SIM115 - closed below
    with full, pytest.raises(OSError, match="No space left") as caught, atomic_path(tmp_path / "a.json"):
        full.write(b"{}")
    assert caught.value.filename == str(tmp_path / "a.json")
    with pytest.raises(FileNotFoundError) as other, atomic_path(tmp_path / "a.json"):
        (tmp_path / "gone").read_bytes()
    assert other.value.filename == str(tmp_path / "gone")  # of what else is read, the name stays
    with pytest.raises(OSError, match="No space left") as journal, Lines("/dev/full") as lines:
        lines.add({"a": 1})
    assert journal.value.filename == "/dev/full"


def test_one_run_at_a_time(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.add("k", {})
        for resume in (False, True):
            with pytest.raises(SettingsError, match=r"another run is writing into this folder\. Wait"):
                opened(tmp_path, resume=resume)
        store.close()
        opened(tmp_path, resume=True).close()
    opened(tmp_path, resume=True).close()


def test_a_killed_run_holds_nothing(tmp_path: Path) -> None:
    with start(HOLD, tmp_path) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(SettingsError, match="another run"):
            opened(tmp_path)
        other.kill()
    opened(tmp_path).close()


def test_a_folder_is_made_unless_a_file_is_in_the_way(tmp_path: Path) -> None:
    with hold_folder(tmp_path / "new/one"):
        assert (tmp_path / "new/one").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="cannot be used as a folder for results: File exists"):
        opened(tmp_path / "file")


# Has the kernel answer flock(2) with an error, as a network file system without locks does.
NO_FLOCK = """
    import ctypes, platform, struct, sys
    number = {"x86_64": 73, "aarch64": 32}[platform.machine()]
    refuse, allow = 0x00050000 | int(sys.argv[2]), 0x7FFF0000
    code = [(0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, refuse), (0x06, 0, 0, allow)]
    rules = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *one) for one in code))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(code), ctypes.addressof(rules)))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, program, 0, 0):
        sys.exit(77)
    from deeptrace.io.run_store import RunStore
    for _ in range(2):
        with RunStore(sys.argv[1], "test", {}, resume=True) as store:
            store.add("k", {"n": 1})
    print(len(open(sys.argv[1] + "/journal.jsonl").readlines()), flush=True)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="seccomp is Linux's")
@pytest.mark.parametrize("error", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_written_to_without(tmp_path: Path, error: int) -> None:
    process = start(NO_FLOCK, tmp_path, error, stderr=subprocess.PIPE)
    out, err = process.communicate(timeout=60)
    if process.returncode == 77:
        pytest.skip("no seccomp filter may be set here")
    assert (process.returncode, out, err) == (0, "2\n", "")


# -- whose folder it is ---------------------------------------------------------------------------------------------


def test_what_is_done_is_kept_and_a_second_run_has_to_say_that_it_goes_on(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.add("k", {"n": 1}, name="a")
    with pytest.raises(SettingsError, match=r"holds results of an earlier run\. Go on with it \(--resume\)"):
        opened(tmp_path)
    with opened(tmp_path, resume=True) as store:
        assert store.find("k") == {"n": 1}
        assert store.find("other") is None
        assert store.find(None) is None
        assert store.named() == {"a": ("k", {"n": 1})}


def test_a_run_that_did_nothing_is_in_nobodys_way(tmp_path: Path) -> None:
    opened(tmp_path).close()
    opened(tmp_path, seed=4, resume=True, kind="other").close()
    with opened(tmp_path, seed=5) as store:
        store.add("k", {})
    with pytest.raises(SettingsError, match="another seed"):
        opened(tmp_path, resume=True)
    opened(tmp_path, resume=True, seed=5).close()


def test_a_run_that_came_to_nothing_leaves_its_folder_to_others_of_its_kind(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.add("k", {"n": 1})
        store.free()
    with pytest.raises(SettingsError, match="holds results"):
        opened(tmp_path, kind="other")
    with opened(tmp_path, seed=5) as store:
        assert store.find("k") == {"n": 1}
    with pytest.raises(SettingsError, match="holds results"):
        opened(tmp_path, seed=5)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"seed": 1}, "another seed."),
        ({"more": 1}, "another more."),
        ({"detector": {"name": "b", "settings": {"threshold": 0.5}}}, "another detector.name, detector.settings.size."),
        ({"detector": None, "seed": None}, "another detector, seed."),
    ],
)
def test_another_setting_is_named(tmp_path: Path, changed: dict[str, object], named: str) -> None:
    with opened(tmp_path) as store:
        store.add("k", {})
    with pytest.raises(SettingsError, match="holds a run with another") as caught:
        opened(tmp_path, resume=True, **changed)
    assert named in str(caught.value)
    opened(tmp_path, resume=True, detector=json.loads(json.dumps(SETTINGS["detector"]))).close()


def test_settings_that_are_known_later_are_compared_too(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.pin(plan="1", size=(3, 4))
        store.add("k", {})
    with opened(tmp_path, resume=True) as store:
        store.pin(plan="1", size=(3, 4))
        with pytest.raises(SettingsError, match="another plan"):
            store.pin(plan="2", size=(3, 4))
    assert json.loads((tmp_path / "manifest.json").read_text())["pinned"] == {"plan": "1", "size": [3, 4]}


def test_other_peoples_folders_and_those_of_earlier_versions_are_refused(tmp_path: Path) -> None:
    for name in ("out.jsonl", "clips/a.mp4", "journal.jsonl"):
        folder = tmp_path / name.replace("/", "-")
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text("something")
        for resume in (False, True):
            with pytest.raises(SettingsError, match=f"holds {name.split('/')[0]}, and no run that this version"):
                opened(folder, resume=resume)
        assert (folder / name).read_text() == "something"
        assert not (folder / "manifest.json").exists()
    old = tmp_path / "old"
    old.mkdir()
    for text in ('{"run": "1234", "data": {}}', "[]"):
        (old / "manifest.json").write_text(text)
        with pytest.raises(SettingsError, match=r"of another version of deeptrace, or of another program\."):
            opened(old, resume=True)
    (old / "manifest.json").write_text('{"kind": "te')
    with pytest.raises(SettingsError, match=r"manifest\.json: cannot be read"):
        opened(old, resume=True)
    (tmp_path / "fresh").mkdir()
    (tmp_path / "fresh/notes.txt").write_text("mine")  # in nobody's way
    with opened(tmp_path / "fresh") as store:
        store.add("k", {})
    with pytest.raises(SettingsError, match="holds another kind of run: test"):
        opened(tmp_path / "fresh", resume=True, kind="other")


# -- what a kill leaves ---------------------------------------------------------------------------------------------

WRITE = """
    import sys
    from deeptrace.io.run_store import RunStore
    with RunStore(sys.argv[1], "test", {}, resume=True) as store:
        for number in range(100_000):
            store.add(str(number), {"text": "x" * (number % 50) * 40}, name=f"n{number}")
            print(number, flush=True)
"""


@pytest.mark.parametrize("delay_s", [0.01, 0.05, 0.2])
def test_kill_9_loses_nothing_that_was_said_to_be_done(tmp_path: Path, delay_s: float) -> None:
    with start(WRITE, tmp_path, start_new_session=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(delay_s)
        process.send_signal(signal.SIGKILL)
        done = [0, *(int(line) for line in process.stdout.read().splitlines())]
    with RunStore(tmp_path, "test", {}, resume=True) as store:
        kept = [int(name[1:]) for name in store.named()]
        assert kept[: len(done)] == done
        assert len(kept) - len(done) <= 1  # written, and killed before it could say so
        store.add("after", {"n": 1}, name="after")
    with RunStore(tmp_path, "test", {}, resume=True) as store:
        assert len(store.named()) == len(kept) + 1


@given(st.integers(0, 10_000), st.sampled_from(ODD_NAMES))
def test_a_journal_cut_off_anywhere_keeps_its_whole_lines(
    tmp_path_factory: pytest.TempPathFactory, cut: int, odd: str
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    with opened(folder) as store:
        for number in range(4):
            store.add(f"k{number}", {"n": number, "said": odd}, name=f"{odd}{number}")
    path = folder / "journal.jsonl"
    data = path.read_bytes()
    left = data[: cut % (len(data) + 1)]
    path.write_bytes(left)
    ends = [at + 1 for at, byte in enumerate(data) if byte == ord("\n")]
    whole = sum(end - 1 <= len(left) for end in ends)  # a line that lacks nothing but its end is whole
    with opened(folder, resume=True) as store:
        assert store.named() == {f"{odd}{n}": (f"k{n}", {"n": n, "said": odd}) for n in range(whole)}
        store.add("new", {"n": 9}, name="new")
    with opened(folder, resume=True) as store:
        assert [record["n"] for _, record in store.named().values()] == [*range(whole), 9]


def test_names_and_texts_of_any_kind_come_back(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        for name in ODD_NAMES:
            store.add(name, {"said": name}, name=name)
    assert (tmp_path / "journal.jsonl").read_bytes().count(b"\n") == len(ODD_NAMES)
    with opened(tmp_path, resume=True) as store:
        assert store.named() == {name: (name, {"said": name}) for name in ODD_NAMES}


# The disk takes half a line; then there is room again.
FULL = """
    import resource, signal, sys
    from deeptrace.io.run_store import RunStore
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    store = RunStore(sys.argv[1], "test", {}, resume=False)
    store.add("a", {"text": "x" * 50})
    resource.setrlimit(resource.RLIMIT_FSIZE, (150, resource.RLIM_INFINITY))
    try:
        store.add("b", {"text": "y" * 200})
    except OSError as error:
        print(error.strerror, flush=True)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert store.find("b") is None
    store.add("c", {"text": "z"})
    store.close()
"""


def test_a_full_disk_costs_one_line(tmp_path: Path) -> None:
    out, _ = start(FULL, tmp_path).communicate(timeout=60)
    assert out == "File too large\n"
    with RunStore(tmp_path, "test", {}, resume=True) as store:
        assert [store.find(key) is not None for key in "abc"] == [True, False, True]


def test_scratch_files_of_a_killed_run_are_removed(tmp_path: Path) -> None:
    opened(tmp_path).close()
    kill_while_writing = """
        import os, signal, sys
        from deeptrace.io.atomic import atomic_path
        for path in sys.argv[1:]:
            with atomic_path(path) as scratch:
                scratch.write_text("half")
                if path == sys.argv[-1]:
                    os.kill(os.getpid(), signal.SIGKILL)
    """
    for name in ("a.mp4", "clips/b.mp4"):
        start(kill_while_writing, tmp_path / name).wait()
    (tmp_path / ".mine").write_text("stays")
    assert len(list(tmp_path.rglob("*.part.mp4"))) == 2
    opened(tmp_path, resume=True).close()
    assert not list(tmp_path.rglob("*.part*"))
    assert (tmp_path / ".mine").exists()


# -- content --------------------------------------------------------------------------------------------------------


def opens(path: Path) -> list[str]:
    """Every file that this process opens from now on whose name begins with `path`."""
    seen: list[str] = []

    def watch(event: str, args: tuple[object, ...]) -> None:
        if event == "open" and isinstance(args[0], str) and args[0].startswith(str(path)):
            seen.append(args[0])

    sys.addaudithook(watch)
    return seen


def settle(path: Path) -> None:
    """Wait until what is read of the file may be remembered."""
    time.sleep(max(0.0, path.stat().st_ctime + 2.05 - time.time()))


def test_files_are_read_once_and_again_when_they_change(tmp_path: Path) -> None:
    clips = tmp_path / "films"
    clips.mkdir()
    for number in range(3):
        (clips / f"{number}.mp4").write_bytes(bytes([number]) * 1000)
    settle(clips / "2.mp4")
    seen = opens(clips)
    paths = [str(path) for path in sorted(clips.iterdir())]
    with opened(tmp_path / "run") as store:
        first = [store.content(path) for path in paths]
        assert len(set(first)) == len(seen) == 3
        assert [store.content(path) for path in paths] == first
        assert len(seen) == 3
    with opened(tmp_path / "run", resume=True) as store:
        assert [store.content(path) for path in paths] == first
        assert len(seen) == 3  # not one was read again
        times = os.stat(paths[1])
        Path(paths[1]).write_bytes(b"\x09" * 1000)  # as long as before
        os.utime(paths[1], ns=(times.st_atime_ns, times.st_mtime_ns))  # and as old
        changed = store.content(paths[1])
        assert changed not in (None, first[1])
        os.rename(paths[2], tmp_path / "elsewhere.mp4")
        assert store.content(paths[2]) is None
        assert store.content(str(tmp_path / "elsewhere.mp4")) == first[2]
        assert store.content(str(clips)) is None  # no file


def test_a_file_that_is_still_changing_is_not_remembered(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"1" * 100)
    seen = opens(path)
    with opened(tmp_path / "run") as store:
        assert store.content(str(path)) == store.content(str(path))
    assert len(seen) == 2


def test_a_run_and_its_clips_may_be_moved(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    (here / "films").mkdir(parents=True)
    (here / "films/a.mp4").write_bytes(b"a film")
    with opened(here / "run") as store:
        key = key_of(store.content(str(here / "films/a.mp4")), "detector")
        store.add(key, {"p": 0.5}, name="films/a.mp4")
    shutil.move(here, there)
    os.rename(there / "films/a.mp4", there / "films/b.mp4")
    with opened(there / "run", resume=True) as store:
        key = key_of(store.content(str(there / "films/b.mp4")), "detector")
        assert store.find(key) == {"p": 0.5}
        assert store.find(key_of(store.content(str(there / "films/b.mp4")), "another")) is None
        assert key is not None
        store.rename(key, "films/b.mp4")
    with opened(there / "run", resume=True) as store:
        assert store.named() == {"films/a.mp4": (key, {"p": 0.5}), "films/b.mp4": (key, {"p": 0.5})}
    assert key_of(None, "detector") is None


# -- files that are replaced whole ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.mp4", "a", ".hidden", "猫" * 80 + ".json", "x" * 250 + ".mkv"])
def test_a_scratch_path_ends_as_the_file_does(tmp_path: Path, name: str) -> None:
    target = tmp_path / "new" / name
    with atomic_path(target, synced=True) as scratch:
        assert scratch.parent == target.parent
        assert scratch.suffix == (target.suffix or ".part")
        scratch.write_bytes(b"whole")
    assert target.read_bytes() == b"whole"
    with pytest.raises(FileNotFoundError), atomic_path(target) as scratch:
        scratch.write_bytes((tmp_path / "nothing").read_bytes() or b"half")
    assert [path.read_bytes() for path in target.parent.iterdir()] == [b"whole"]
    umask = os.umask(0)
    os.umask(umask)
    assert target.stat().st_mode & 0o777 == 0o666 & ~umask


def test_pipes_and_open_files_are_written_to_and_never_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as reader:
        read = reader.submit(pipe.read_bytes)
        with atomic_path(pipe) as scratch:
            scratch.write_bytes(b"whole")
        assert read.result(30) == b"whole"
    assert pipe.is_fifo()
    with open(tmp_path / "redirected", "wb") as out, atomic_path(f"/proc/self/fd/{out.fileno()}") as scratch:
        scratch.write_bytes(b"whole")
    assert (tmp_path / "redirected").read_bytes() == b"whole"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pipe", "redirected"]


def test_what_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name, reason in (("file/a.json", "(Not a directory|File exists)"), ("folder", "Is a directory")):
        (tmp_path / "folder/full").mkdir(parents=True, exist_ok=True)
        with (
            pytest.raises(SettingsError, match=rf"{name}: cannot be written \({reason}\)"),
            atomic_path(tmp_path / name, error=SettingsError),
        ):
            pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]
