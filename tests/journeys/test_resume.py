"""One meaning of --resume, whatever the command: killed, gone on with, refused, each as a person runs it."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from tests.audit.conftest import Shelf
from tests.benchmark.eval_sets import make_set
from tests.plug_ins import plug_in
from tests.synth.conftest import moving_disc

from deeptrace.inference import read_verdicts
from deeptrace.io.journal import read_lines
from deeptrace.video import write_video

SLOW = """
    import os, time
    from deeptrace.schema import DetectorInfo, Label, Outcome, Trace, Verdict

    class Slow:
        def __init__(self, mood):
            self.info = DetectorInfo(name="slow:", version="1", settings={"mood": mood})

        def detect(self, video):
            time.sleep(0.1)
            with open(os.environ["SLOW_LOG"], "a") as file:
                file.write(video.path.encode("unicode_escape").decode() + "\\n")
            return Verdict(video=video.path, outcome=Outcome.SCORED, label=Label.FAKE, p_fake=0.7, media=video.media,
                           traces=(Trace(explanation="it says\\u2028two\\x85lines", score=0.5),), detector=self.info)

    def load(rest, *, mood="calm"):
        return Slow(mood)
"""


@dataclass(frozen=True)
class Case:
    """One command.

    Attributes:
        args: without --out.
        other: options that make it another run.
        named: what the error about them names.
        lines: of the journal when all is done.
        results: files that are the same whether the run was killed or not.
    """

    args: list[str]
    other: list[str]
    named: str
    lines: int
    results: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset in `set`, another with larger clips in `shelf`, and real clips in `real`."""
    folder = tmp_path_factory.mktemp("data")
    make_set(folder / "set", each=5)
    shelf = Shelf(folder / "shelf")
    for number in range(20):
        shelf.add(f"c{number}", fake=number % 2 == 0, source="s", seed=number)
    shelf.write()
    (folder / "real").mkdir()
    for number in range(5):
        frames = np.ascontiguousarray(moving_disc(12, 96, 128, seed=number)[0])
        write_video(folder / "real" / f"r\u2028{number}.mp4", frames, fps=8, crf=12)
    return folder


@pytest.fixture(params=["detect", "score", "eval", "synth", "audit --fix"])
def case(request: pytest.FixtureRequest, data: Path) -> Case:
    clips, slow = str(data / "set"), ["--detector", "slow:", "--workers", "1"]
    mood = (["--set", "mood=wild"], "detector.settings.mood")
    synthesis = ["synth", str(data / "real"), "--traces", "1", "--max-side", "128"]
    cases = {
        "detect": Case(["detect", clips, *slow, "--json"], *mood, 20),
        "score": Case(["score", clips, *slow, "--json"], *mood, 20),
        "eval": Case(
            ["eval", "--data", clips, "--split", "all", *slow, "--bootstrap", "20", "--json", "--no-report"], *mood, 20
        ),
        "synth": Case(synthesis, ["--seed", "7"], "seed", 5, ["all_data.json", "tubes.jsonl", "videos", "real_videos"]),
        "audit --fix": Case(
            ["audit", str(data / "shelf"), "--fix", "--workers", "1", "--shuffles", "1"],
            ["--fps", "4"], "fps", 21, ["all_data.json", "fix.json", "clips"],
        ),
    }  # fmt: skip
    return cases[request.param]


class Runner:
    """Runs the command in a folder, with the slow detector installed."""

    def __init__(self, command: str, folder: Path) -> None:
        self._command, self.folder = command, folder
        self.log = folder / "looked-at.txt"
        self.running: list[subprocess.Popen[str]] = []

    def start(self, *args: str) -> subprocess.Popen[str]:
        env = {**os.environ, "SLOW_LOG": str(self.log), "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(
            [self._command, *args],
            cwd=self.folder,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.running.append(process)
        return process

    def run(self, *args: str) -> tuple[int, str, str]:
        process = self.start(*args)
        out, err = process.communicate(timeout=240)
        assert "Traceback" not in err, err
        return process.returncode, out, re.sub(r"\n  (?=\S)", " ", err)  # as the lines were before they were wrapped

    def lines(self, out: str = "out") -> int:
        path = self.folder / out / "journal.jsonl"
        return path.read_bytes().count(b"\n") if path.exists() else 0

    def kill_after(self, process: subprocess.Popen[str], lines: int) -> int:
        """Kill -9 the process and all that it started once the journal has so many lines; returns how many it has."""
        deadline = time.monotonic() + 120
        while self.lines() < lines:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.002)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return self.lines()


@pytest.fixture
def runner(command: str, tmp_path: Path) -> Iterator[Runner]:
    site = tmp_path / "site"
    site.mkdir()
    with plug_in(site, "slow", SLOW):
        found = Runner(command, tmp_path)
        yield found
        for process in found.running:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()


def contents(folder: Path, names: list[str]) -> dict[str, bytes]:
    paths = [path for name in names for path in [folder / name, *(folder / name).rglob("*")] if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def test_killed_refused_and_gone_on_with(runner: Runner, case: Case) -> None:
    out, journal = ["--out", "out"], runner.folder / "out/journal.jsonl"
    done = runner.kill_after(runner.start(*case.args, *out), 3)
    assert 3 <= done < case.lines
    with journal.open("ab") as file:
        file.write(b'{"key": "cut o')  # as if the kill had come in the middle of a line

    code, _, err = runner.run(*case.args, *out)
    assert (code, "Go on with it (--resume), or name another folder." in " ".join(err.split())) == (2, True), err
    code, _, err = runner.run(*case.args, *out, *case.other, "--resume")
    assert code == 2
    assert f"out: holds a run with another {case.named}" in " ".join(err.split())
    assert len(list(read_lines(journal))) == done

    code, _, err = runner.run(*case.args, *out, "--resume")
    assert code == 0, err
    whole = list(read_lines(journal))
    assert len(whole) == case.lines, "what was done was not done again"
    assert len({line["key"] for line in whole}) == case.lines
    assert not [path for path in (runner.folder / "out").rglob(".*") if ".part" in path.name]

    before = contents(runner.folder / "out", case.results)
    code, _, err = runner.run(*case.args, *out, "--resume")  # nothing is left to do
    assert (code, len(list(read_lines(journal)))) == (0, case.lines), err
    assert contents(runner.folder / "out", case.results) == before
    if case.results:
        assert runner.run(*case.args, "--out", "at-once")[0] == 0
        assert contents(runner.folder / "at-once", case.results) == before


def test_two_runs_in_one_folder(runner: Runner, case: Case) -> None:
    first = runner.start(*case.args, "--out", "out")
    deadline = time.monotonic() + 120
    while not runner.lines():
        assert time.monotonic() < deadline
        time.sleep(0.002)
    os.killpg(first.pid, signal.SIGSTOP)  # alive, and it stays in the middle
    try:
        for more in ([], ["--resume"]):
            code, _, err = runner.run(*case.args, "--out", "out", *more)
            assert code == 2
            assert "out: another run is writing into this folder" in err
    finally:
        os.killpg(first.pid, signal.SIGCONT)
    _, err = first.communicate(timeout=240)
    assert first.returncode == 0, err
    assert runner.lines() == case.lines


def test_a_folder_of_an_earlier_version_is_one_clear_line(runner: Runner, case: Case) -> None:
    (runner.folder / "out").mkdir()
    for name in ("verdicts.jsonl", "all_data.json"):
        (runner.folder / "out" / name).write_text("{}\n")
    (runner.folder / "out/manifest.json").write_text('{"run": "0123", "format": 1}')  # as eval wrote it
    code, _, err = runner.run(*case.args, "--out", "out", "--resume")
    assert code == 2
    assert "error: out: holds a manifest.json of another version of deeptrace" in " ".join(err.split())
    (runner.folder / "out/manifest.json").unlink()
    (runner.folder / "out/journal.jsonl").write_text('{"fingerprint": "size:1"}\n')
    code, _, err = runner.run(*case.args, "--out", "out", "--resume")
    assert code == 2
    assert "holds journal.jsonl, and no run that this version of deeptrace can go on with" in " ".join(err.split())


# -- signed addresses -----------------------------------------------------------------------------------------------


class SignedStore(BaseHTTPRequestHandler):
    """Gives clips to those who know user, password and a signature that holds."""

    clips: ClassVar[dict[str, bytes]] = {}
    valid: ClassVar[set[str]] = set()

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        parts = urlsplit(self.path)
        login = base64.b64encode(b"me:pass-word").decode()
        signed = set(parse_qs(parts.query).get("X-Amz-Signature", [])) & self.valid
        if not signed or self.headers.get("Authorization") != f"Basic {login}":
            self.send_error(403)
            return
        data = self.clips[parts.path]
        first, last = 0, len(data) - 1
        if asked := self.headers.get("Range"):
            start, end = asked.removeprefix("bytes=").split("-")
            first, last = int(start), min(int(end or last), last)
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(last - first + 1))
        self.end_headers()
        if body:
            self.wfile.write(data[first : last + 1])

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def signed(data: Path) -> Iterator[Callable[[str, str], str]]:
    """Addresses on a loopback server by clip and signature; two of them hold."""
    pytest.importorskip("aiohttp", reason="http:// paths need the extra 'remote'")
    clips = sorted((data / "set").rglob("*.mp4"))[:3]
    SignedStore.clips = {f"/clips/{number}.mp4": path.read_bytes() for number, path in enumerate(clips)}
    SignedStore.valid = {"5ec2e7a", "5ec2e7b"}
    server = ThreadingHTTPServer(("127.0.0.1", 0), SignedStore)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def address(clip: str, signature: str) -> str:
        host = f"me:pass-word@127.0.0.1:{server.server_port}"
        return f"http://{host}/clips/{clip}.mp4?versionId=1&X-Amz-Expires=60&X-Amz-Signature={signature}"

    yield address
    server.shutdown()
    server.server_close()


def secrets_in(text: str) -> list[str]:
    return [secret for secret in ("pass-word", "5ec2e7", "X-Amz") if secret in text]


def told_and_kept(runner: Runner, *texts: str) -> dict[str, list[str]]:
    """Where a secret is told: in what was printed, and in any file of the run."""
    files = {
        str(path): path.read_bytes().decode("utf-8", "replace")
        for path in (runner.folder / "out").rglob("*")
        if path.is_file()
    }
    told = {f"text {number}": text for number, text in enumerate(texts)} | files
    return {where: found for where, text in told.items() if (found := secrets_in(text))}


def test_signed_addresses_are_opened_and_told_nobody(runner: Runner, signed: Callable[[str, str], str]) -> None:
    args = ["detect", "--detector", "slow:", "--out", "out", "--report", "--overlay"]
    first = [signed("0", "5ec2e7a"), signed("0", "5ec2e7b"), signed("1", "5ec2e7a"), signed("2", "5ec2e7bad")]
    code, out, err = runner.run("--verbose", *args, *first, "--json")
    assert code == 1, err
    verdicts = [json.loads(line) for line in out.split("\n") if line]  # no other end of a line ends one
    names = [f"127.0.0.1:{urlsplit(first[0]).port}/clips/{number}.mp4?versionId=1" for number in range(3)]
    assert [verdict["video"] for verdict in verdicts] == [f"http://{name}" for name in names]
    assert [verdict["outcome"] for verdict in verdicts] == ["scored", "scored", "decode_failed"]
    assert "access was denied" in verdicts[2]["error"]
    page = (runner.folder / "out/report.html").read_text()
    assert page.count('"mp4":"AAAA') == 2, "the page shows the clips, read from where they are"
    assert len(list((runner.folder / "out/overlays").glob("*.mp4"))) == 2
    assert told_and_kept(runner, out, err) == {}

    looked_at = runner.log.read_text().split()
    code, out, err = runner.run(*args, *(signed(clip, "5ec2e7b") for clip in "012"), "--resume")
    assert code == 0, err
    assert "2 of 3 were analysed before" in " ".join(err.split())
    assert len(runner.log.read_text().split()) == len(looked_at) + 1  # the one that was denied
    kept = read_verdicts(runner.folder / "out/verdicts.jsonl")
    assert [verdict.video for verdict in kept] == [f"http://{name}" for name in names]
    assert told_and_kept(runner, out, err) == {}


def test_signed_addresses_in_the_other_commands(
    runner: Runner, signed: Callable[[str, str], str], tmp_path: Path
) -> None:
    rows = [{"video": signed(clip, "5ec2e7a"), "prompt": "a cat"} for clip in "012"]
    (tmp_path / "clips.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    said = runner.run(
        "score", "--clips", "clips.jsonl", "--detector", "slow:", "--best-of", "3", "--pairs", "--out", "out"
    )
    assert said[0] == 0, said
    said += runner.run("score", "--clips", "clips.jsonl", "--detector", "baseline:d3", "--best-of", "3", "--json")
    assert said[3] == 0, said
    wrong = [signed("0", "5ec2e7bad"), signed("1", "5ec2e7a")]
    said += runner.run("synth", *wrong, "--out", "out/synth", "--traces", "1", "--max-side", "64")
    assert said[6] == 1, said
    table = runner.run("detect", wrong[0], "--detector", "slow:")
    dry = runner.run("detect", *wrong, "--detector", "hf:Qwen/Qwen2.5-VL-3B-Instruct", "--dry-run", "--json")
    assert told_and_kept(runner, *(str(one) for one in (*said, *table, *dry))) == {}
