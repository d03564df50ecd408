"""The script that says what the detector is worth on a folder of clips, on made clips and through the real detector."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from tests.needs import needs

needs("sklearn")

from sklearn.metrics import roc_auc_score  # noqa: E402
from tests.train.tracenet.made import row, write_clip  # noqa: E402

from deeptrace.detectors.tracenet.model import CARD_NAME, HASH_DIGITS, shipped_folder  # noqa: E402
from deeptrace.errors import DataError  # noqa: E402
from deeptrace.io.fingerprint import sha256_of  # noqa: E402
from deeptrace.video.transforms.presets import DEGRADED  # noqa: E402
from detect_unseen import clips_of, main  # noqa: E402

NAMES = ("generated/New/a", "generated/New/b", "generated/Known/c", "generated/alone", "real/cam/d", "real/cam/e",
         "real/f")  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("own")
    for seed, name in enumerate(NAMES):
        write_clip(root / f"{name}.mp4", seed, seconds=1.0, flicker=name.startswith("generated"))
    return root


def model_that_knows(folder: Path, clip: Path) -> Path:
    """The shipped model, whose card lists the clip and a generator `Known` as well."""
    shutil.copytree(shipped_folder(), folder)
    card = json.loads((folder / CARD_NAME).read_text())
    card["trained_on"]["clips_sha256"].append(sha256_of(clip)[:HASH_DIGITS])
    card["trained_on"]["generated"]["generated:Known"] = 1
    (folder / CARD_NAME).write_text(json.dumps(card))
    return folder


def test_figures_are_those_of_the_verdicts_without_clips_learned_from(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = model_that_knows(tmp_path / "model", folder / "generated/New/b.mp4")
    asked = [str(folder), "--model", str(model), "--out", str(tmp_path / "out"), "--degraded", "9"]
    assert main(asked) == 0
    printed = capsys.readouterr().out
    (figures_path,) = (tmp_path / "out").glob("*.json")
    figures = json.loads(figures_path.read_text())
    assert figures["learned_from"] == 1
    limits = json.loads((model / CARD_NAME).read_text())["calibration"]
    for title, variant in (("as they are", 0), ("in one encoding", 1)):
        (journal,) = (tmp_path / "out").glob(f"*.{variant}.jsonl")
        verdicts = [json.loads(line) for line in journal.read_text().splitlines()]
        p = {verdict["video"]: verdict["p_fake"] for verdict in verdicts}
        assert sorted(p) == sorted(f"{name.replace('/', '__')}.mp4" for name in NAMES if name != "generated/New/b")
        fake = np.array([name.startswith("generated") for name in p])
        values = np.array(list(p.values()))
        found = figures["rows"][title]
        assert (found["generated"], found["real"]) == (3, 3)
        assert found["auroc"] == pytest.approx(roc_auc_score(fake, values), abs=1e-4)
        assert found["false_alarms"] == pytest.approx((values[~fake] >= limits["threshold_fpr_5"]).mean(), abs=1e-4)
        assert figures["rows"][f"{title}, new names"]["generated"] == 2
        told = figures["decisions"][title]
        assert told["generated"]["looks real"] == pytest.approx(
            (values[fake] < limits["threshold_real"]).mean(), abs=1e-4
        )
        for shares in told.values():
            assert sum(shares.values()) - shares["clips"] == pytest.approx(1, abs=1e-3)
        assert f"{title:31}{found['auroc']:6.3f}" in printed
    for name in DEGRADED:
        (journal,) = (tmp_path / "out").glob(f"*.{name}.jsonl")
        p = {verdict["video"]: verdict["p_fake"] for verdict in map(json.loads, journal.read_text().splitlines())}
        assert not any("Known" in clip or "New__b" in clip for clip in p)
        fake, found = np.array([clip.startswith("generated") for clip in p]), figures["degraded"][name]
        assert found["auroc"] == pytest.approx(roc_auc_score(fake, list(p.values())), abs=1e-9)
        assert found["change"] == pytest.approx(found["auroc"] - figures["degraded"]["none"]["auroc"], abs=1e-9)
        assert len(p) == 5
    main(asked)  # judges nothing again
    assert capsys.readouterr().out == printed


def test_footage_that_is_no_camera_footage_is_counted_apart(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("generated/alone", "real/cam/d", "real/f")
    rows = [row(f"{name}.mp4", name.split("/")[-1], name.startswith("generated")) for name in names]
    rows[-1] |= {"kind": "game"}
    data = tmp_path / "data"
    shutil.copytree(folder, data)
    (data / "all_data.json").write_text(json.dumps(rows))
    assert main([str(data), "--headers-of", str(data), "--out", str(tmp_path / "out")]) == 0
    figures = json.loads(next((tmp_path / "out").glob("*.json")).read_text())
    assert figures["rows"]["as they are"]["real"] == 1
    assert figures["decisions"]["as they are"]["game"]["clips"] == 1
    assert figures["rows"]["headers alone, as they are"]["generated"] == 1
    assert "headers alone" in capsys.readouterr().out


def test_what_cannot_be_measured_is_said(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DataError, match="no folder generated/"):
        clips_of(tmp_path)
    assert main([str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    (tmp_path / "generated").mkdir()
    shutil.copytree(folder / "real", tmp_path / "real")
    assert main([str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    shutil.copy(folder / "real/f.mp4", tmp_path / "generated/g.mp4")
    shutil.rmtree(tmp_path / "real")
    (tmp_path / "real").mkdir()
    assert main([str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "Traceback" not in capsys.readouterr().err
