"""Baselines learn on clips whose difference is known, are written, loaded, and asked about new clips."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.needs import needs

needs("sklearn")

from tests.train.baselines.made import make_folder, write_clip  # noqa: E402

from deeptrace.detectors import load_detector  # noqa: E402
from deeptrace.detectors.baselines import statistic_of  # noqa: E402
from deeptrace.detectors.baselines.models import Linear  # noqa: E402
from deeptrace.detectors.baselines.recipes import RECIPES  # noqa: E402
from deeptrace.detectors.baselines.trained import class_activation, strongest_part  # noqa: E402
from deeptrace.detectors.baselines.untrained import UNTRAINED  # noqa: E402
from deeptrace.detectors.registry import BUILT_IN  # noqa: E402
from deeptrace.detectors.tracenet.appearance import CHANNELS, SIDE, shipped_appearance, shipped_stages  # noqa: E402
from deeptrace.errors import DataError, ModelError, SettingsError  # noqa: E402
from deeptrace.schema import Label, Outcome  # noqa: E402
from deeptrace.train.baselines.comparison import compare_detectors  # noqa: E402
from deeptrace.train.baselines.fits import FITS  # noqa: E402
from deeptrace.train.baselines.measured import measure_clips  # noqa: E402
from deeptrace.train.baselines.run import train_baselines  # noqa: E402
from deeptrace.train.tracenet.clips import read_clips  # noqa: E402
from deeptrace.video import open_video  # noqa: E402

PLAIN = [name for name, recipe in RECIPES.items() if not recipe.needs_torch]
SEES_PIXELS = ("npr", "patchcraft", "fakelocator")


def quiet(*_: object) -> None:
    """No progress."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("data")
    return [make_folder(root / "old", 0, "a"), make_folder(root / "new", 500, "b")]


@pytest.fixture(scope="module")
def trained(data: list[Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return train_baselines(PLAIN, data, tmp_path_factory.mktemp("trained"), quiet).files


@pytest.fixture(scope="module")
def unseen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("unseen")
    for name, doubled in (("real", False), ("generated", True)):
        write_clip(folder / f"{name}.mp4", 9000, doubled=doubled)
    return {path.stem: path for path in folder.glob("*.mp4")}


def test_every_recipe_has_a_training_a_name_and_a_paper() -> None:
    family = next(family for family in BUILT_IN if family.prefix == "baseline")
    assert set(FITS) == set(RECIPES)
    assert {name.removeprefix("baseline:") for name in family.names} == {*RECIPES, *UNTRAINED}
    for recipe in RECIPES.values():
        assert recipe.paper
        assert recipe.differs


@pytest.mark.parametrize("name", PLAIN)
def test_what_is_trained_can_be_asked(name: str, trained: dict[str, Path], unseen: dict[str, Path]) -> None:
    detector = load_detector(f"baseline:{name}", weights=str(trained[name]))
    verdicts = {}
    for kind, path in unseen.items():
        with open_video(path) as video:
            verdicts[kind] = detector.detect(video)
    assert all(one.outcome is Outcome.SCORED and one.p_fake is not None for one in verdicts.values())
    assert verdicts["real"].detector is not None
    assert verdicts["real"].detector.name == f"baseline:{name}"
    assert all(np.isfinite(statistic_of(one)) for one in verdicts.values())  # type: ignore[arg-type]
    for one in verdicts.values():
        seen = one.segment_scores
        assert bool(seen) == (RECIPES[name].frames is not None)
        assert one.media is not None
        assert {said.onset_s for said in seen} <= set(one.media.sampled_times_s)
        if name == "probe":  # its chance is that of the mean of the frames' features
            assert min(said.score for said in seen) - 0.02 <= one.p_fake <= max(said.score for said in seen) + 0.02
    if name in SEES_PIXELS:
        assert (verdicts["real"].label, verdicts["generated"].label) == (Label.REAL, Label.FAKE)
        assert verdicts["real"].p_fake < 0.5 < verdicts["generated"].p_fake


def test_a_map_of_regions_says_where(trained: dict[str, Path], unseen: dict[str, Path], tmp_path: Path) -> None:
    """Real footage with a doubled corner: the box is there."""
    with open_video(unseen["real"]) as real, open_video(unseen["generated"]) as fake:
        mixed = [frame.image.copy() for frame in real.frames()]
        for picture, other in zip(mixed, fake.frames(), strict=True):
            picture[:120, :160] = other.image[:120, :160]
    from deeptrace.video import video_from_array

    detector = load_detector("baseline:fakelocator", weights=str(trained["fakelocator"]), threshold=0.0)
    (trace,) = detector.detect(video_from_array(np.stack(mixed), fps=8.0)).traces
    assert trace.box is not None
    assert trace.box.x0 < 0.4
    assert trace.box.y1 < 0.5
    assert trace.box.area < 0.12


def test_what_speaks_for_a_generated_clip_is_found_in_the_picture() -> None:
    """A model of which noise is the mark, and a picture with noise in one corner."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    plain = np.full_like(noise, 128)

    def embedded(picture: np.ndarray) -> np.ndarray:
        return np.concatenate([stage.mean((1, 2)) for stage in shipped_stages(picture)])

    assert embedded(noise) == pytest.approx(shipped_appearance().of_middle([noise, noise]), abs=1e-4)
    model = Linear(
        center=embedded(plain),
        scale=np.full(CHANNELS, 0.01),
        weights=embedded(noise) - embedded(plain),
        bias=np.array(0.0),
        directions=np.zeros((0, 0)),
        phases=np.zeros(0),
    )
    mixed = plain.copy()
    mixed[SIDE // 2 :, SIDE // 2 :] = noise[SIDE // 2 :, SIDE // 2 :]
    x0, y0, x1, y1 = strongest_part(class_activation(model, np.stack([mixed, mixed])))
    assert min(x0, y0) > 0.35
    assert min(x1, y1) > 0.85
    assert strongest_part(np.full((3, 3), -1.0)) == (0.0, 0.0, 1.0, 1.0), "nothing speaks for it"


def test_experts_say_where_a_generated_clip_looks_so(trained: dict[str, Path], unseen: dict[str, Path]) -> None:
    for limit, traces in ((0.0, 1), (1.0, 0)):
        detector = load_detector("baseline:what-matters", weights=str(trained["what-matters"]), threshold=limit)
        with open_video(unseen["generated"]) as video:
            verdict = detector.detect(video)
        assert len(verdict.traces) == traces
    with open_video(unseen["generated"]) as video:
        (trace,) = (
            load_detector("baseline:what-matters", weights=str(trained["what-matters"]), threshold=0.0)
            .detect(video)
            .traces
        )
    assert trace.box is not None
    assert (trace.onset_s, trace.score) == (0.0, verdict.p_fake)


def test_a_threshold_decides(trained: dict[str, Path], unseen: dict[str, Path]) -> None:
    for limit, label in ((0.0, Label.FAKE), (1.0, Label.REAL)):
        with open_video(unseen["real"]) as video:
            verdict = load_detector("baseline:npr", weights=str(trained["npr"]), threshold=limit).detect(video)
        assert verdict.label is label
    with pytest.raises(SettingsError, match="balanced"):
        load_detector("baseline:npr", weights=str(trained["npr"]), threshold="lucky")


def test_wrong_weights_are_one_clear_line(trained: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="trained first"):
        load_detector("baseline:stall")
    with pytest.raises(ModelError, match=r"baseline:npr, not baseline:stall"):
        load_detector("baseline:stall", weights=str(trained["npr"]))
    (tmp_path / "text.npz").write_text("hello")
    for path in (tmp_path / "text.npz", tmp_path / "gone.npz"):
        with pytest.raises(ModelError, match="cannot be read"):
            load_detector("baseline:npr", weights=str(path))
    with pytest.raises(SettingsError, match="does not take"):
        load_detector("baseline:npr", weights=str(trained["npr"]), tempo=3)


def test_what_is_measured_is_kept(data: list[Path], tmp_path: Path) -> None:
    """A second run decodes nothing: its files may be gone. A broken clip is a line, not the end."""
    clips = read_clips(data[0])
    first = measure_clips(clips, ["relations"], tmp_path, quiet)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    more = measure_clips(clips, ["relations", "patches"], tmp_path, quiet)
    again = measure_clips(clips, ["relations"], tmp_path, quiet)
    assert len(times) == len(clips)
    assert all((a["relations"] == b["relations"]).all() for a, b in zip(first.measured, again.measured, strict=True))
    assert all("patches" in one for one in more.measured)
    stamps = {path: path.stat().st_mtime_ns for path in times}
    measure_clips(clips, ["patches"], tmp_path, quiet)
    assert stamps == {path: path.stat().st_mtime_ns for path in times}


def test_a_broken_clip_is_left_out_and_named(data: list[Path], tmp_path: Path) -> None:
    root = make_folder(tmp_path / "broken", 900, "c", each=1)
    clips = read_clips(root)
    Path(clips[0].path).write_bytes(b"no video")
    kept = measure_clips(clips, ["relations"], tmp_path / "kept", quiet)
    assert len(kept.clips) == len(clips) - 1
    assert len(kept.problems) == 1
    assert clips[0].path.name in kept.problems[0]


def test_too_few_groups_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="2 generators"):
        train_baselines(["npr"], [make_folder(tmp_path / "few", 0, "a", groups=2, each=1)], tmp_path / "out", quiet)


def test_the_comparison_holds_out_and_resumes(data: list[Path], tmp_path: Path) -> None:
    """NPR sees what was planted, in both eras; D3, which looks at motion, cannot see it in equal pans."""
    found = compare_detectors(["npr", "d3", "fakelocator"], data, tmp_path, quiet, degraded_clips=2)
    rows = {row.name: row for row in found.rows}
    assert rows["baseline:npr"].folds.auroc > 0.95
    assert all(figures.auroc > 0.95 for figures in rows["baseline:npr"].eras.values())
    assert set(rows["baseline:npr"].eras) == {"old", "new"}
    assert "blur" in rows["baseline:npr"].degraded
    assert rows["baseline:fakelocator"].frames is not None
    assert rows["baseline:fakelocator"].frames[0] > 0.9
    assert rows["baseline:npr"].frames is rows["baseline:d3"].frames is None, "neither sees a frame by itself"
    assert any("held out on" in line for line in found.notes)  # TraceNet's card is of other clips: no row, and said so
    assert "tracenet" not in rows
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "rows").iterdir()}
    assert compare_detectors(["npr", "d3", "fakelocator"], data, tmp_path, quiet, degraded_clips=2) == found
    assert stamps == {path: path.stat().st_mtime_ns for path in (tmp_path / "rows").iterdir()}


def test_what_cannot_be_compared_is_said_before_anything_is_read(tmp_path: Path) -> None:
    nowhere = [tmp_path / "nowhere"]
    with pytest.raises(SettingsError, match="nprr: is no baseline that learns"):
        compare_detectors(["nprr"], nowhere, tmp_path / "out", quiet)
    with pytest.raises(DataError, match="is no card of a TraceNet"):
        compare_detectors(["npr"], nowhere, tmp_path / "out", quiet, tracenet=tmp_path)
    assert not (tmp_path / "out").exists()


def test_the_commands(data: list[Path], tmp_path: Path) -> None:
    """One command trains, one prints the table; both on the same folder."""
    arguments = [part for folder in data for part in ("--data", str(folder))]
    program = [sys.executable, "-m", "deeptrace.cli.main"]
    done = subprocess.run(
        [*program, "train", "baseline", "npr", *arguments, "--out", str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "baseline:npr --set weights=" in " ".join(done.stderr.split())
    shown = subprocess.run(
        [*program, "compare-detectors", "npr", *arguments, "--out", str(tmp_path), "--degraded-clips", "0"],
        capture_output=True,
        text=True,
    )
    assert shown.returncode == 0, shown.stderr
    assert max(map(len, shown.stdout.splitlines())) <= 80
    assert "baseline:npr" in shown.stdout
    figures = json.loads((tmp_path / "comparison.json").read_text())["rows"][0]
    assert f"{figures['folds']['auroc']:.3f}" in shown.stdout
    wrong = subprocess.run([*program, "train", "baseline", "nprr", *arguments], capture_output=True, text=True)
    assert wrong.returncode == 2
    assert "no baseline that learns" in wrong.stderr
