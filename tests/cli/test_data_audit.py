"""`deeptrace data` and `deeptrace audit` as a person runs them."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from pathlib import Path

import pytest
from tests.audit.conftest import Shelf
from tests.data.hub_server import Hub, serve
from tests.data.test_download import release
from tests.data.test_importers import CVAT, labelbox_row, write_ndjson
from typer.testing import CliRunner

from deeptrace.cli.main import app
from deeptrace.data import iter_rows, read_reward_data
from deeptrace.errors import DataError, MissingExtraError, SettingsError

ROWS = [
    {
        "video_id": f"{'f' if fake else 'r'}{i}",
        "video_type": "fake_video" if fake else "real_video",
        "video_path": f"{'videos' if fake else 'real_videos'}/{i}.mp4",
        "video_source": ("Pika", "Kling")[i % 2] if fake else "LLaVA",
        "split": "train",
    }
    for fake in (True, False)
    for i in range(20)
]


def run(*args: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    if isinstance(result.exception, Exception):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.stdout


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "all_data.json").write_text(json.dumps(ROWS))
    return tmp_path / "all_data.json"


def test_split_by_video_then_no_leaks(data: Path, tmp_path: Path) -> None:
    run("data", "split", data, "--out", tmp_path / "split.json", "--seed", 3)
    parts = Counter(sample.split for sample in read_reward_data(tmp_path / "split.json"))
    assert parts == {"train": 32, "val": 4, "test": 4}
    assert run("data", "leaks", tmp_path / "split.json") == ""


def test_leaks_are_listed_and_fail(data: Path, tmp_path: Path) -> None:
    rows = [*ROWS, ROWS[0] | {"split": "test"}]
    (tmp_path / "leaky.json").write_text(json.dumps(rows))
    listed = run("data", "leaks", tmp_path / "leaky.json", code=1)
    assert "video f0 is in test and train\n" in listed
    first, *_ = map(json.loads, run("data", "leaks", tmp_path / "leaky.json", "--json", code=1).splitlines())
    assert first == {"kind": "video", "value": "f0", "splits": ["test", "train"], "videos": ["f0"]}


def test_folds_leave_one_generator_out(data: Path, tmp_path: Path) -> None:
    run("data", "split", data, "--by", "generator-folds", "--out", tmp_path / "folds")
    for name in ("Pika", "Kling"):
        parts = read_reward_data(tmp_path / f"folds/without_{name}.json")
        assert {s.source for s in parts if s.split == "test" and s.label == "FAKE"} == {name}
        assert name not in {s.source for s in parts if s.split == "train"}


@pytest.mark.parametrize(
    ("to", "name", "rows"),
    [("jsonl", "a.jsonl", 40), ("parquet", "a.parquet", 40), ("swift", "a.jsonl", 40), ("llamafactory", "a.json", 40)],
)
def test_export(data: Path, tmp_path: Path, to: str, name: str, rows: int) -> None:
    out = tmp_path / "out" / name
    run("data", "export", data, "--to", to, "--out", out)
    assert sum(1 for _ in iter_rows(out)) == rows if to in ("jsonl", "parquet") else out.is_file()
    with pytest.raises(SettingsError, match=r"ends in \.json"):
        run("data", "export", data, "--to", "json", "--out", tmp_path / "x.txt")
    with pytest.raises(SettingsError, match="expected parts of"):
        run("data", "export", data, "--to", "swift", "--out", out, "--without", "sound")


def test_import_from_both_tools(tmp_path: Path) -> None:
    export = write_ndjson(tmp_path / "export.ndjson", labelbox_row())
    run("data", "import", export, "--from", "labelbox", "--out", tmp_path / "l.json", "--rounds", tmp_path / "p.jsonl")
    traces = read_reward_data(tmp_path / "l.json")[0].traces
    assert [len(trace.gaps) for trace in traces] == [1, 0]  # what was marked twice, with a gap, is one trace
    assert (tmp_path / "p.jsonl").is_file()
    (tmp_path / "annotations.xml").write_text(CVAT, encoding="utf-8")
    run("data", "import", tmp_path / "annotations.xml", "--from", "cvat", "--fps", 24, "--out", tmp_path / "c.json")
    (trace,) = read_reward_data(tmp_path / "c.json")[0].traces
    assert len(trace.gaps) == 1


def test_download_from_a_mirror(tmp_path: Path) -> None:
    hub = Hub(release())
    server = serve(hub)
    try:
        run("data", "download", tmp_path / "set", "--base-url", hub.url, "--drop-archives")
    finally:
        server.shutdown()
        server.server_close()
    assert len(list((tmp_path / "set/videos").iterdir())) == 6
    assert not list((tmp_path / "set").glob("*.zip*"))


def test_audit_speaks_json_writes_its_page_and_fails_on_errors(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "set")
    for i in range(4):
        shelf.add(f"v{i}", fake=i % 2 == 0, source="s", seed=i)
    root = shelf.write()
    found = json.loads(run("audit", root, "--json", "--out", tmp_path / "out", "--shuffles", 1))
    assert found["videos"] == found["videos_with_file"] == 4
    assert found["integrity"]["counts"] == {}
    assert json.loads((tmp_path / "out/audit.json").read_text()) == found
    assert "Audit of set" in (tmp_path / "out/audit.html").read_text()
    (root / "videos/v0.mp4").unlink()
    assert "missing media (1)" in run("audit", root, "--shuffles", 1, "--no-decode", code=1)
    with pytest.raises(DataError, match=r"has no all_data\.json"):
        run("audit", tmp_path / "out")


def test_audit_fix_writes_and_audits_the_copy(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "set")
    for i in range(4):
        shelf.add(f"v{i}", fake=i % 2 == 0, source="s", seed=i, audio=i % 2 == 1, fps=8 if i % 2 else 12, frames=12)
    found = json.loads(run("audit", shelf.write(), "--fix", "--out", tmp_path / "copy", "--size", "96x64", "--json"))
    assert found["dataset"] == str(tmp_path / "copy")
    assert found["integrity"]["counts"] == {}
    for option in (("--fix",), ("--size", "96x64"), ("--fix", "--out", tmp_path / "c2", "--size", "big")):
        with pytest.raises(SettingsError):
            run("audit", shelf.root, *option)


def test_audit_without_its_extra_says_so_before_the_work(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.tree", None)
    monkeypatch.setattr("deeptrace.audit.run.gather", lambda *_, **__: pytest.fail("files were read"))
    with pytest.raises(MissingExtraError, match=r"shortcut audit.*deeptrace-video\[bench\]"):
        run("audit", data)


@pytest.mark.parametrize(
    ("stopped_in", "options", "said"),
    [
        ("run.gather", (), "stopped: half an audit says nothing, so nothing of it is kept; run the same command again"),
        ("run.gather", ("--fix",), "the copy in copy is complete; run the same command with --resume"),
        ("fix._write_clip", ("--fix",), "stopped: the clips written are kept in copy; go on with --resume"),
    ],
)
def test_ctrl_c_says_what_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopped_in: str, options: tuple[str, ...], said: str
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    shelf = Shelf(tmp_path / "set")
    for i in range(2):
        shelf.add(f"v{i}", fake=i % 2 == 0, source="s", seed=i)
    monkeypatch.setattr(f"deeptrace.audit.{stopped_in}", stop)
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["audit", str(shelf.write()), *options, "--out", "copy"])
    assert result.exit_code == 130
    assert said in " ".join(result.stderr.split())


@pytest.mark.parametrize("tool", ["cvat", "label-studio", "coco", "fiftyone"])
def test_a_dataset_goes_to_a_tool_and_comes_back(tmp_path: Path, tool: str) -> None:
    marked = ROWS[0] | {
        "video_width": 1280,
        "video_height": 720,
        "video_frame_rate": 24,
        "video_frame_count": 48,
        "faketrace_bbox": {"left": 128, "top": 72, "width": 640, "height": 360},
        "faketrace_first_frame": 12,
        "faketrace_duration": 0.5,
        "faketrace_explanations": "It melts.",
        "faketrace_check_applies": ["merging"],
    }
    marked["video_path"] = "videos/f0.mp4"
    (tmp_path / "all_data.json").write_text(json.dumps([marked, ROWS[1]]))
    out, back = tmp_path / ("coco.json" if tool == "coco" else "out"), tmp_path / "back.json"
    arguments = ["data", "export", tmp_path, "--to", tool, "--out", out]
    said = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert said.exit_code == 0
    assert "video f1: states no frame size or no frame rate and was left out" in " ".join(said.stderr.split())
    assert f"{out}: 1 video, 1 trace; 1 video left out" in " ".join(said.stderr.split())
    run("data", "import", out, "--from", tool, "--out", back, *(["--fps", 24] if tool == "cvat" else []))
    (before, _), (after,) = read_reward_data(tmp_path), read_reward_data(back)
    assert (after.video_id, after.path, after.label, after.split) == ("f0", "videos/f0.mp4", "FAKE", "train")
    (ours,), (theirs,) = after.traces, before.traces
    assert ours.box is not None
    assert theirs.box is not None
    assert ours.box.as_tuple() == pytest.approx(theirs.box.as_tuple())
    assert ours.model_dump(exclude={"box"}) == theirs.model_dump(exclude={"box"})


def test_an_import_of_which_one_video_fails_is_written_and_leaves_with_one(tmp_path: Path) -> None:
    failed = {"data_row": {"external_id": "c.mp4"}, "errors": ["could not export"]}
    export = write_ndjson(tmp_path / "e.ndjson", labelbox_row(), failed)
    arguments = ["data", "import", str(export), "--from", "labelbox", "--out", str(tmp_path / "a.json")]
    said = CliRunner().invoke(app, arguments)
    assert said.exit_code == 1
    assert "left out: e.ndjson, row 2, videos/c.mp4: was not exported: could not export." in " ".join(
        said.stderr.split()
    )
    assert len(read_reward_data(tmp_path / "a.json")) == 1


@pytest.mark.parametrize("tool", ["labelbox", "label-studio", "coco", "fiftyone", "artifact-bench"])
def test_an_import_of_nothing_is_an_error_and_writes_nothing(tmp_path: Path, tool: str) -> None:
    empty = {"coco": '{"videos": [], "images": [], "annotations": [], "categories": []}', "labelbox": "\n"}
    fiftyone = {"type": "eta.core.datasets.LabeledVideoDataset", "index": []}
    file = tmp_path / ("manifest.json" if tool == "fiftyone" else "labels.json")
    file.write_text(json.dumps(fiftyone) if tool == "fiftyone" else empty.get(tool, "[]"))
    out = tmp_path / "rows.json"
    path = tmp_path if tool == "fiftyone" else file
    said = CliRunner().invoke(app, ["data", "import", str(path), "--from", tool, "--out", str(out)])
    assert isinstance(said.exception, DataError)
    assert re.match("holds no video with annotations|has no rows|has no videos", said.exception.problem)
    assert not out.exists()


@pytest.mark.parametrize(("to", "file"), [("vlmevalkit", "set.tsv"), ("lmms-eval", "task/deeptrace.yaml")])
def test_export_for_the_evaluation_kits(data: Path, tmp_path: Path, to: str, file: str) -> None:
    out = tmp_path / file.partition("/")[0]
    run("data", "export", data, "--to", to, "--out", out, "--root", tmp_path)
    assert (tmp_path / file).is_file()
