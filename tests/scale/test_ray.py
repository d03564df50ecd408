"""A detector on a Ray cluster: a real one, of two cores, that all tests of this file share."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.benchmark.eval_sets import make_set
from tests.needs import needs
from tests.plug_ins import plug_in

from deeptrace.benchmark.run import evaluate
from deeptrace.cli.main import main
from deeptrace.errors import SettingsError, UnknownDetectorError
from deeptrace.inference import DetectRun, Input, Job, expand_inputs, read_verdicts
from deeptrace.scale import Cluster, DropGenerated, RayMap, RayRunner
from deeptrace.schema import Outcome
from deeptrace.synth.dataset import Recipe, make_dataset
from deeptrace.video import write_video

ray = needs("ray")

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
TWO = {"actors": 2, "cpus": 0.5}

DEADLY = """
    import os, signal, time
    from pathlib import Path
    from deeptrace.schema import DetectorInfo, Label, Outcome, Verdict

    class Deadly:
        def __init__(self, log):
            self.info, self._log = DetectorInfo(name="deadly:", version="1", settings={"threshold": 0.5}), Path(log)

        def detect(self, video):
            name = os.path.basename(video.path)
            with self._log.open("a") as log:
                log.write(name + "\\n")
            if "segv" in name: os.kill(os.getpid(), signal.SIGSEGV)
            if "KeyError" in name: raise KeyError("as asked")
            if "actor" in name and not (mark := self._log.with_suffix(".killed")).exists():
                mark.touch()
                os.kill(os.getppid(), signal.SIGKILL)
                time.sleep(60)
            time.sleep(0.2)
            return Verdict(video=video.path, outcome=Outcome.SCORED, label=Label.FAKE, p_fake=0.75,
                           media=video.media, detector=self.info)

    def load(rest, *, log):
        return Deadly(log)
"""
"""Writes down each clip that it sees; kills its process, and once its actor, as the file's name says."""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A cluster that is there already, whose machines know the detector `deadly:`."""
    with (
        plug_in(tmp_path_factory.mktemp("site"), "deadly", DEADLY),
        RayRunner("baseline:all-fake", cluster=Cluster("local", **TWO)),
    ):
        yield ray.get_runtime_context().gcs_address
    assert not ray.is_initialized()


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    write_video(path, (np.full((48, 64, 3), level, np.uint8) for level in range(20, 220, 25)), fps=8.0)
    return path


@pytest.fixture
def clips(clip: Path, tmp_path: Path) -> Callable[..., list[Input]]:
    """Copies of a clip under these names, each with bytes of its own at its end."""

    def make(*names: str) -> list[Input]:
        for name in names:
            shutil.copy(clip, tmp_path / f"{name}.mp4")
            with (tmp_path / f"{name}.mp4").open("ab") as file:
                file.write(name.encode())
        return [Input(str(tmp_path / f"{name}.mp4")) for name in names]

    return make


def lines(text: str | bytes) -> list[dict[str, Any]]:
    """Verdicts, without the time that each took."""
    return [json.loads(line) | {"elapsed_s": None} for line in text.splitlines()]


def near(value: Any) -> Any:
    """What is equal to a JSON value with figures that differ in the ninth digit, as the default detector's do from run
    to run of the same command.
    """
    if isinstance(value, dict):
        return {name: near(one) for name, one in value.items()}
    if isinstance(value, list):
        return [near(one) for one in value]
    return pytest.approx(value, rel=1e-6, abs=1e-7) if isinstance(value, float) else value


def test_the_lines_are_those_of_one_machine(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Results, refusals and broken files, in the same order, on stdout and in the folder; nothing is done twice."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(EXAMPLES, "clips", ignore=shutil.ignore_patterns("*.json", "*.py", "*.md", "third*"))
    Path("clips/broken.mp4").write_bytes((EXAMPLES / "coffee.mp4").read_bytes()[:2000])
    Path("clips/empty.mp4").touch()
    write_video("clips/short.mp4", [np.zeros((48, 64, 3), np.uint8)] * 2, fps=8.0)
    said = {}

    def detect(*options: str) -> None:
        monkeypatch.setattr(sys, "argv", ["deeptrace", "detect", "clips", "gone.mp4", "no*.mp4", "--json", *options])
        main()

    for out, more in (("one", []), ("ray", ["--ray", address, "--ray-actors", "2", "--ray-cpus", "0.5"])):
        with pytest.raises(SystemExit) as end:
            detect("--out", out, *more)
        assert end.value.code == 1
        said[out] = capsys.readouterr()
        assert lines(said[out].out) == lines(Path(out, "verdicts.jsonl").read_bytes())
    assert lines(Path("ray/verdicts.jsonl").read_bytes()) == near(lines(Path("one/verdicts.jsonl").read_bytes()))
    outcomes = Counter(verdict.outcome for verdict in read_verdicts("ray/verdicts.jsonl"))
    assert outcomes == {Outcome.SCORED: 2, Outcome.UNDECIDABLE: 1, Outcome.DECODE_FAILED: 4}
    assert "2 actors" in said["ray"].err
    manifests = [json.loads(Path(out, "manifest.json").read_text())["settings"] for out in ("one", "ray")]
    assert manifests[0] == manifests[1]

    # The folder of one goes on with the other: what holds is kept, what failed is tried again.
    with pytest.raises(SystemExit):
        detect("--out", "ray", "--resume")
    assert "3 of 7 were analysed before" in " ".join(capsys.readouterr().err.split())
    assert lines(Path("ray/verdicts.jsonl").read_bytes()) == near(lines(Path("one/verdicts.jsonl").read_bytes()))


def test_clips_that_kill_and_an_actor_that_dies(
    address: str, clips: Callable[..., list[Input]], tmp_path: Path
) -> None:
    """A clip that crashes the detector is one outcome, as on one machine; an actor that dies loses and adds nothing."""
    inputs = clips("a", "segv", "b", "KeyError", "c", "actor", *(f"z{number}" for number in range(6)))
    log = tmp_path / "log"
    log.with_suffix(".killed").touch()
    with DetectRun(inputs, detector="deadly:", settings={"log": str(log)}, out=tmp_path / "one") as run:
        expected = [found.verdict.outcome for found in run.results()]
    assert Counter(expected) == {Outcome.SCORED: 10, Outcome.CRASHED: 1, Outcome.MODEL_FAILED: 1}

    log.unlink()
    log.with_suffix(".killed").unlink()
    runner = RayRunner("deadly:", {"log": str(log)}, cluster=Cluster(address, **TWO))
    with DetectRun(inputs, runner=runner, out=tmp_path / "ray", job=Job(evidence=True)) as run:
        assert [found.verdict.outcome for found in run.results()] == expected
    assert log.with_suffix(".killed").exists()
    assert lines((tmp_path / "ray/verdicts.jsonl").read_bytes()) == lines(
        (tmp_path / "one/verdicts.jsonl").read_bytes()
    )
    journal = [json.loads(line) for line in (tmp_path / "ray/journal.jsonl").read_bytes().splitlines()]
    assert len(journal) == len({line["key"] for line in journal}) == len(inputs)


def test_a_run_that_was_killed_goes_on(address: str, clips: Callable[..., list[Input]], tmp_path: Path) -> None:
    """After a kill -9 of the process that began it: what was done is kept and not done again, the rest is done once."""
    inputs = clips(*(f"clip{number:02}" for number in range(40)))
    log, out = tmp_path / "log", tmp_path / "run"
    command = [sys.executable, "-m", "deeptrace.cli.main", "detect", str(tmp_path), "--out", str(out), "--json"]
    command += ["--detector", "deadly:", "--set", f"log={log}", "--ray", address]
    command += ["--ray-actors", "2", "--ray-cpus", "0.5"]
    journal = out / "journal.jsonl"
    driver = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while not journal.exists() or journal.read_bytes().count(b"\n") < 8:
        assert driver.poll() is None, driver.stderr and driver.stderr.read().decode()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(driver.pid, signal.SIGKILL)
    driver.communicate()
    kept = [json.loads(line) for line in journal.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
    assert 8 <= len(kept) < len(inputs)
    time.sleep(2)  # the actors of a dead driver end; what they still write down is not of the run that goes on
    log.unlink()

    runner = RayRunner("deadly:", {"log": str(log)}, cluster=Cluster(address, **TWO))
    with DetectRun(expand_inputs([str(tmp_path)]), runner=runner, out=out, resume=True) as run:
        assert run.kept == len(kept)
        assert all(found.verdict.outcome is Outcome.SCORED for found in run.results())
    names = [Path(item.path).name for item in inputs]
    done_before = {Path(line["name"]).name for line in kept}
    assert Counter(log.read_text().split()) == Counter(set(names) - done_before)
    assert [Path(verdict.video).name for verdict in read_verdicts(out / "verdicts.jsonl")] == names
    keys = [json.loads(line)["key"] for line in journal.read_bytes().splitlines()]
    assert len(set(keys)) == len(inputs) == len(keys)


def test_an_evaluation_is_that_of_one_machine(address: str, tmp_path: Path) -> None:
    data = make_set(tmp_path / "set")
    alone = evaluate(data, split="all", detector="baseline:center-box", bootstrap=0)
    runner = RayRunner("baseline:center-box", cluster=Cluster(address, **TWO))
    on_ray = evaluate(data, split="all", runner=runner, bootstrap=0, out=tmp_path / "run")
    assert on_ray.result.as_json()["paper"] == alone.result.as_json()["paper"]
    assert [one and one.video for one in on_ray.verdicts] == [one and one.video for one in alone.verdicts]
    again = evaluate(data, split="all", detector="baseline:center-box", bootstrap=0, out=tmp_path / "run", resume=True)
    assert again.kept == len({one.video for one in alone.verdicts if one})


def test_an_audit_is_that_of_one_machine(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Decoded facts of every file, the broken one too, with paths that are relative to this folder."""
    make_set(tmp_path / "set")
    monkeypatch.chdir(tmp_path)
    first = sorted(Path("set").rglob("*.mp4"))[0]
    first.write_bytes(first.read_bytes()[:500])
    found = []
    for more in ([], ["--ray", address, "--ray-actors", "2", "--ray-cpus", "0.5"]):
        monkeypatch.setattr(sys, "argv", ["deeptrace", "audit", "set", "--json", "--shuffles", "5", *more])
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code == 1
        found.append(json.loads(capsys.readouterr().out))
    assert found[1] == found[0]
    assert found[0]["integrity"]["counts"]


def test_a_synthetic_dataset_is_that_of_one_machine(address: str, tmp_path: Path) -> None:
    sources = [str(EXAMPLES / "coffee.mp4"), str(tmp_path / "gone.mp4")]
    recipe = Recipe(seed=3, max_s=1.0, max_side=160)
    alone = make_dataset(sources, tmp_path / "one", recipe, clips=4)
    with RayMap(Cluster(address, **TWO)) as spread:
        assert make_dataset(sources, tmp_path / "ray", recipe, clips=4, spread=spread) == alone
    assert [one.problem is None for one in alone] == [True, False, True, False]
    for path in [*sorted((tmp_path / "one").rglob("*.mp4")), tmp_path / "one" / "all_data.json"]:
        assert (tmp_path / "ray" / path.relative_to(tmp_path / "one")).read_bytes() == path.read_bytes()


def _killed_once(name: str, mark: Path) -> str:
    """The name; the first process that comes by kills itself."""
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        return name
    os.kill(os.getpid(), signal.SIGKILL)
    return name


def test_work_whose_actor_is_killed_is_done_all_the_same_and_once(address: str, tmp_path: Path) -> None:
    names = [f"{number}" for number in range(40)]
    with RayMap(Cluster(address, **TWO), relative=False) as spread:
        found = dict(spread.over(partial(_killed_once, mark=tmp_path / "killed"), names))
    assert (tmp_path / "killed").exists()
    assert [found[index] for index in range(40)] == names


def test_a_dataset_without_generated_clips(address: str, clip: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    paths = [str(path) for path in (EXAMPLES / "coffee.mp4", EXAMPLES / "coffee_trace.mp4", tmp_path / "broken.mp4")]
    rows = ray.data.from_items([{"clip": path, "caption": Path(path).stem} for path in paths], override_num_blocks=1)
    how: dict[str, Any] = {"compute": ray.data.ActorPoolStrategy(size=1), "num_cpus": 0.5}
    strict = {"column": "clip", "settings": {"threshold": 0.9}}
    stay = rows.map_batches(DropGenerated, fn_constructor_kwargs=strict, **how).take_all()
    assert [row["caption"] for row in stay] == ["coffee"]
    marked = rows.map_batches(DropGenerated, fn_constructor_kwargs=strict | {"mark": True}, **how).take_all()
    assert [(row["label"], row["outcome"]) for row in marked] == [
        ("REAL", "scored"),
        ("FAKE", "scored"),
        ("", "decode_failed"),
    ]
    assert marked[1]["p_fake"] > 0.9 > marked[0]["p_fake"]
    assert np.isnan(marked[2]["p_fake"])
    assert marked[2]["error"]


def test_what_is_wrong_is_said_in_one_line(address: str) -> None:
    with pytest.raises(UnknownDetectorError, match="tracenett"):
        RayRunner("tracenett", cluster=Cluster(address, **TWO))
    with pytest.raises(SettingsError, match="room for 2 actors of 1 cores"):
        RayRunner(cluster=Cluster("local", actors=3))
    with pytest.raises(SettingsError, match="at least one actor"):
        Cluster(actors=0)
    with pytest.raises(SettingsError, match="with a column clip but got path"):
        DropGenerated("baseline:all-fake", column="clip")({"path": np.array(["a.mp4"])})
