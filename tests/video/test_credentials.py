"""Content Credentials of real, really signed files; and of files that somebody has tampered with."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import av
import pytest
from tests.signing import (
    EXAMPLE,
    GENERATOR,
    SIGNER,
    SOURCES,
    Authority,
    change_a_picture,
    make_authority,
    sign,
)

from deeptrace.schema import ContentCredentials, CredentialsState, StatedOrigin
from deeptrace.video import c2pa_process, credentials, open_video, write_video
from deeptrace.video.credentials import TRUST_VARIABLE, read_credentials


@pytest.fixture(scope="module")
def authority() -> Authority:
    return make_authority()


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Path:
    return sign(EXAMPLE, tmp_path_factory.mktemp("signed") / "signed.mp4", authority)


def manifest_of(data: bytes) -> tuple[int, int]:
    """Start and end of the box that holds the manifest."""
    start = data.index(credentials._MANIFEST_BOX) - 8
    return start, start + struct.unpack(">I", data[start : start + 4])[0]


def first_second(target: Path, **options: str) -> Path:
    """The first second of the example in another container."""
    codec = {".apng": "apng", ".avi": "mpeg4", ".gif": "gif", ".webp": "libwebp"}.get(target.suffix, "libx264")
    pixels = {".apng": "rgb24", ".gif": "rgb8"}.get(target.suffix, "yuv420p")
    with open_video(EXAMPLE) as video, av.open(str(target), "w", options=options) as out:
        stream = out.add_stream(codec, rate=8)
        stream.width, stream.height, stream.pix_fmt = 160, 90, pixels
        for frame in video.frames(size=(160, 90), max_fps=8.0, end_s=1.0):
            picture = av.VideoFrame.from_ndarray(frame.image)
            for packet in stream.encode(picture.reformat(format=pixels)):
                out.mux(packet)
        for packet in stream.encode():
            out.mux(packet)
    return target


# -- what is there ----------------------------------------------------------------------------------------------------


def test_a_file_without_any_is_said_to_have_none() -> None:
    found = read_credentials(str(EXAMPLE))
    assert found == ContentCredentials(state=CredentialsState.ABSENT)
    assert found.summary == "Content Credentials: none"
    assert read_credentials(EXAMPLE.as_uri()) == found


def test_a_signed_file_says_who_when_with_what_and_that_it_is_generated(signed: Path) -> None:
    found = read_credentials(str(signed))
    assert found == ContentCredentials(
        state=CredentialsState.UNTRUSTED,
        signer=SIGNER,
        generator=f"{GENERATOR} 2.1",
        origin=StatedOrigin.GENERATED,
        ingredients=0,
    )
    assert found.summary == (
        f"Content Credentials: intact, signer not trusted; declared AI-generated; signed by {SIGNER}; "
        f"made with {GENERATOR} 2.1"
    )
    assert ContentCredentials.model_validate_json(found.model_dump_json()) == found


def test_a_signer_is_trusted_by_the_list_of_authorities_alone(
    signed: Path, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(authority.root)
    monkeypatch.setenv(TRUST_VARIABLE, str(trusted))
    found = read_credentials(str(signed))
    assert found.state is CredentialsState.VALID
    assert found.summary.startswith("Content Credentials: valid; declared AI-generated; signed by")
    trusted.write_bytes(make_authority().root)  # of the same name, but another one
    assert read_credentials(str(signed)).state is CredentialsState.UNTRUSTED


@pytest.mark.parametrize("content", [None, b"", b"no certificate", b"\xff\xfe"])
def test_a_trust_list_that_cannot_be_read_is_said_and_trusts_nobody(
    signed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None
) -> None:
    file = tmp_path / "list.pem"
    if content is not None:
        file.write_bytes(content)
    monkeypatch.setenv(TRUST_VARIABLE, str(file))
    found = read_credentials(str(signed))
    assert found.state is CredentialsState.NOT_CHECKED
    assert TRUST_VARIABLE in found.summary


def test_a_picture_that_was_changed_after_signing_breaks_them(signed: Path, tmp_path: Path) -> None:
    copy = tmp_path / "changed.mp4"
    copy.write_bytes(signed.read_bytes())
    change_a_picture(copy)
    with open_video(copy) as video:
        assert sum(1 for _ in video.frames()) > 4  # it still plays
        found = video.content_credentials()
    assert found is not None
    assert (found.state, found.reason) == (CredentialsState.BROKEN, "the file was changed after signing")
    assert f"naming {SIGNER} as signer" in found.summary
    assert "signed by" not in found.summary


def test_a_statement_that_was_changed_after_signing_breaks_them(signed: Path, tmp_path: Path) -> None:
    data = signed.read_bytes()
    copy = tmp_path / "changed.mp4"
    copy.write_bytes(data.replace(b"trainedAlgorithmicMedia", b"digitalCapture_________"))
    found = read_credentials(str(copy))
    assert (found.state, found.reason) == (CredentialsState.BROKEN, "the manifest was changed after signing")


@pytest.mark.parametrize("name", ["clip.apng", "clip.avi", "clip.gif", "clip.mov", "clip.webp", "fragments.mp4"])
def test_every_container_that_can_carry_them(tmp_path: Path, authority: Authority, name: str) -> None:
    fragments = {"movflags": "frag_keyframe+empty_moov"} if name.startswith("fragments") else {}
    plain = first_second(tmp_path / name, **fragments)
    assert read_credentials(str(plain)).state is CredentialsState.ABSENT
    found = read_credentials(str(sign(plain, tmp_path / f"signed_{name}", authority)))
    assert (found.state, found.origin) == (CredentialsState.UNTRUSTED, StatedOrigin.GENERATED)


def test_containers_that_cannot_have_none(tmp_path: Path) -> None:
    clip = tmp_path / "clip.webm"
    with open_video(EXAMPLE) as video:
        write_video(clip, video.frames(size=(160, 90), end_s=1.0), fps=8.0, codec="libvpx-vp9")
    assert read_credentials(str(clip)).state is CredentialsState.ABSENT


def test_what_is_generated_in_part_or_by_an_earlier_hand(tmp_path: Path, authority: Authority, signed: Path) -> None:
    def origin(name: str, source: Path, **options: object) -> StatedOrigin | None:
        return read_credentials(str(sign(source, tmp_path / name, authority, **options))).origin  # type: ignore[arg-type]

    assert origin("camera.mp4", EXAMPLE, origin="digitalCapture") is None
    assert origin("composite.mp4", EXAMPLE, origin="compositeWithTrainedAlgorithmicMedia") == "partly_generated"
    assert origin("pasted.mp4", EXAMPLE, origin="digitalCapture", parts=[signed]) == "partly_generated"
    assert origin("trimmed.mp4", signed, parent=True) == "generated"
    assert read_credentials(str(tmp_path / "pasted.mp4")).summary.endswith("; 1 ingredient")


def test_what_is_kept_elsewhere_is_not_fetched(tmp_path: Path, authority: Authority) -> None:
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/manifest.c2pa"
        clip = sign(EXAMPLE, tmp_path / "remote.mp4", authority, address=address)
        asked.clear()
        found = read_credentials(str(clip))
        answer = credentials._ask(str(clip), "")  # the library itself, past our own look at the headers
        server.shutdown()
    assert found == ContentCredentials(state=CredentialsState.ELSEWHERE)
    assert found.summary == "Content Credentials: kept elsewhere, not fetched"
    assert isinstance(answer, str)
    assert credentials._unreadable(answer) == found
    assert asked == []


def test_what_is_not_on_this_disk_is_not_checked() -> None:
    found = read_credentials("https://example.org/clip.mp4")
    assert found.summary == "Content Credentials: not checked (not a local file)"
    gone = read_credentials("gone.mp4")
    assert gone.summary == "Content Credentials: unreadable (no such file or directory)"


# -- what it costs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a\0b.mp4", "\ud800.mp4", "", "."])
def test_what_names_no_file_is_unreadable(name: str) -> None:
    assert read_credentials(name).state is CredentialsState.UNREADABLE


def test_no_process_is_started_for_a_file_without_any(signed: Path) -> None:
    code = """if True:
        import sys
        from deeptrace.video.credentials import read_credentials
        started = []
        sys.addaudithook(lambda event, args: started.append(event) if event == "subprocess.Popen" else None)
        for path in sys.argv[1:]:
            print(read_credentials(path).state.value, len(started), "c2pa" in sys.modules)
    """
    done = subprocess.run(
        [sys.executable, "-c", code, str(EXAMPLE), str(signed)], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["absent 0 False", "untrusted 1 False"]


def test_without_the_extra_a_manifest_is_seen_and_not_checked(signed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "c2pa", None)
    found = read_credentials(str(signed))
    assert found.state is CredentialsState.NOT_CHECKED
    assert found.summary == "Content Credentials: not checked (needs pip install 'deeptrace-video[c2pa]')"
    assert read_credentials(str(EXAMPLE)).state is CredentialsState.ABSENT


# -- hostile manifests ------------------------------------------------------------------------------------------------


def _cut(data: bytes, start: int, _end: int) -> bytes:
    return data[: start + 500]


def _endless(data: bytes, start: int, _end: int) -> bytes:
    return data[:start] + struct.pack(">I", 0x7FFF_FFFF) + data[start + 4 :]


def _empty(data: bytes, start: int, end: int) -> bytes:
    rest = struct.pack(">I4s", end - start - 24, b"free") + data[start + 32 : end]
    return data[:start] + struct.pack(">I", 24) + data[start + 4 : start + 24] + rest + data[end:]


def _noise(data: bytes, start: int, end: int) -> bytes:
    return data[: start + 45] + bytes(at * 131 % 256 for at in range(end - start - 45)) + data[end:]


def _not_text(data: bytes, _start: int, _end: int) -> bytes:
    return data.replace(GENERATOR.encode(), b"\xff\xfe" + GENERATOR[2:].encode())


def _boxes_in_boxes(data: bytes, start: int, end: int) -> bytes:
    return data[: start + 45] + struct.pack(">I4s", end - start - 45, b"jumb") * ((end - start - 45) // 8) + data[end:]


@pytest.mark.parametrize("damage", [_cut, _endless, _empty, _noise, _not_text, _boxes_in_boxes])
def test_a_hostile_manifest_is_unreadable_and_nothing_worse(
    signed: Path, tmp_path: Path, damage: Callable[[bytes, int, int], bytes]
) -> None:
    data = signed.read_bytes()
    clip = tmp_path / "hostile.mp4"
    clip.write_bytes(damage(data, *manifest_of(data)))
    found = read_credentials(str(clip))
    assert found.state is CredentialsState.UNREADABLE
    assert found.reason
    assert len(found.summary) < 200
    assert found.summary.isprintable()


def test_a_manifest_of_many_gigabytes_takes_neither_time_nor_memory(signed: Path, tmp_path: Path) -> None:
    data = signed.read_bytes()
    start, end = manifest_of(data)
    clip, size = tmp_path / "huge.mp4", 6 << 30
    with open(clip, "wb") as file:  # the hole in it takes no room on the disk
        file.write(data[:start] + struct.pack(">I4sQ", 1, b"uuid", size) + data[start + 8 : end])
        file.truncate(start + size)
        file.seek(0, 2)
        file.write(data[end:])
    began = time.monotonic()
    assert read_credentials(str(clip)).state is CredentialsState.UNREADABLE
    assert time.monotonic() - began < 30


def test_reading_ends_at_its_limit(signed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "TIMEOUT_S", 1)
    clip, more = tmp_path / "long.mp4", 200 << 30
    data = signed.read_bytes()
    with open(clip, "wb") as file:  # to be hashed, with a hole in it
        file.write(data + struct.pack(">I4sQ", 1, b"mdat", more))
        file.truncate(len(data) + more)
    found = read_credentials(str(clip))
    assert (found.state, found.reason) == (CredentialsState.UNREADABLE, "reading took longer than 1 s")


def test_a_reader_that_runs_out_of_memory_costs_one_state(signed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "MEMORY_BYTES", 1 << 20)
    assert read_credentials(str(signed)).state is CredentialsState.UNREADABLE


def test_words_of_a_stranger_are_one_short_line(tmp_path: Path) -> None:
    authority = make_authority("Evil\u202e\x1b[31m\nStudio <b>")
    clip = sign(EXAMPLE, tmp_path / "clip.mp4", authority, generator="A" * 5000 + "\r\n\u2028")
    found = read_credentials(str(clip))
    assert found.signer == "Evil [31m Studio <b>"
    assert found.generator is not None
    assert len(found.generator) == 100
    assert found.summary.isprintable()


STORE = {
    "active_manifest": "new",
    "validation_state": "Valid",
    "manifests": {
        "new": {
            "claim_generator": "An_Editor/25.1 (a platform)",
            "assertions": [{"label": "c2pa.actions", "data": {"actions": [None, {"digitalSourceType": 7}]}}, "none"],
            "ingredients": [
                {"relationship": "parentOf", "active_manifest": "old"},
                {"relationship": "componentOf", "active_manifest": {"not": "a label"}},
            ],
        },
        "old": {
            "assertions": [
                {"label": "c2pa.actions.v2", "data": {"actions": [{"digitalSourceType": "x/digitalCapture"}]}}
            ],
            "ingredients": [
                {"relationship": "parentOf", "active_manifest": "new"},  # round in a circle
                {"relationship": "componentOf", "active_manifest": "made"},
            ],
        },
        "made": {"assertions": [{"label": "c2pa.actions", "data": {"actions": [{"digitalSourceType": "GENERATED"}]}}]},
    },
}


def test_manifests_that_name_each_other_and_odd_shapes() -> None:
    store = json.loads(json.dumps(STORE).replace("GENERATED", SOURCES + c2pa_process.GENERATED))
    found = c2pa_process._facts(store)
    assert (found["origin"], found["ingredients"], found["generator"]) == ("partly_generated", 2, "An Editor 25.1")
    assert (found["signer"], found["time"], found["failures"]) == ("", "", [])
    assert credentials._judged(found) == ContentCredentials(
        state=CredentialsState.UNTRUSTED,
        generator="An Editor 25.1",
        origin=StatedOrigin.PARTLY_GENERATED,
        ingredients=2,
    )


def test_the_reading_process_can_open_nothing(tmp_path: Path) -> None:
    code = f"""if True:
        import json, runpy, socket
        module = runpy.run_path({c2pa_process.__file__!r})
        open_before = open({str(EXAMPLE)!r}, "rb")
        module["_confine"](2 << 30)
        refused = []
        for attempt in (socket.socket, lambda: open({str(EXAMPLE)!r}), lambda: open({str(tmp_path / "new")!r}, "w")):
            try:
                attempt()
            except OSError as error:
                refused.append(error.strerror)
        print(json.dumps([refused, len(open_before.read())]))
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    refused, read = json.loads(done.stdout)
    assert refused == ["Too many open files"] * 3
    assert read == EXAMPLE.stat().st_size
