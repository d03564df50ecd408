"""A generated region in a long real video: what is pasted where, what counts as found, and a run over real files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tests.train.tracenet.made import row, write_clip

from deeptrace.benchmark.robustness.needle import HEIGHT, WIDTH, Hay, Piece
from deeptrace.benchmark.robustness.pasted import AREAS, EDGE, SaidOfRegion, _placed, _size, paste, pasted_figures
from deeptrace.benchmark.robustness.run import measure_robustness
from deeptrace.errors import DataError
from deeptrace.geometry import Box
from deeptrace.io.journal import read_lines
from deeptrace.schema import Trace, Verdict
from deeptrace.video import Frame

BOX = Box(x0=0.25, y0=0.25, x1=0.5, y1=0.75)


def plain(level: int, seconds: float = 2.0) -> Piece:
    image = np.full((HEIGHT, WIDTH, 3), level, np.uint8)
    return Piece([Frame(at / 8, image) for at in range(int(seconds * 8))], seconds)


def test_what_is_pasted_is_the_box_and_its_edge_is_soft() -> None:
    mixed = paste(plain(0), plain(200), BOX, 1.0)
    first, last = mixed.frames[0].image[..., 0].astype(float), mixed.frames[-1].image
    assert not last.any()  # only for as long as it lasts
    shown = np.argwhere(first >= 100)  # half of it and more
    y0, x0, y1, x1 = *shown.min(axis=0), *(shown.max(axis=0) + 1)
    found = Box.from_pixels_xyxy(x0, y0, x1, y1, width=WIDTH, height=HEIGHT)
    assert found.iou(BOX) > 0.97
    across = first[HEIGHT // 2, : WIDTH * 3 // 8]
    assert (np.diff(across) >= 0).all()
    assert np.diff(across).max() < 2.5 * 200 / EDGE  # no hard edge
    assert (across.min(), across.max()) == (0, 200)
    outside = np.ones((HEIGHT, WIDTH), bool)
    outside[64 - EDGE : 192 + EDGE, 114 - EDGE : 228 + EDGE] = False
    assert not first[outside].any()


def test_a_donor_that_is_over_stands_still() -> None:
    mixed = paste(plain(0), plain(90, seconds=0.5), BOX, 2.0)
    assert (mixed.frames[-1].image == mixed.frames[0].image).all()


def test_regions_lie_within_the_frame_and_are_as_large_as_stated() -> None:
    rng = np.random.default_rng(0)
    boxes = [_placed(rng, _size(rng)) for _ in range(200)]
    assert all(AREAS[0] * 0.95 <= box.area <= AREAS[1] for box in boxes)
    assert len({box.x0 for box in boxes}) > 50


def said(label: str, *traces: Trace) -> SaidOfRegion:
    verdict = Verdict(video="", outcome="scored", label=label, p_fake=0.9 if label == "FAKE" else 0.1, traces=traces)
    return SaidOfRegion(verdict, BOX, (4.0, 8.0))


def test_figures_of_one_that_sees_the_region_and_of_one_that_sees_the_seam() -> None:
    there, early = Trace(box=BOX, onset_s=4.0, offset_s=8.0), Trace(box=BOX, onset_s=0.0, offset_s=4.0)
    sees = pasted_figures([(said("REAL"), said("FAKE", there)) for _ in range(2)], Hay(2, 9.0), resamples=20)
    assert (sees.box.value, sees.seam.value, sees.trace_hit.value, sees.row.auroc.value) == (1.0, 0.0, 1.0, 1.0)
    assert sees.box_by_chance is not None
    assert 0.05 < sees.box_by_chance < 0.3
    seam = pasted_figures([(said("FAKE", there), said("FAKE", there))], Hay(1, 9.0), resamples=20)
    assert (seam.box.value, seam.seam.value, seam.row.auroc.value) == (1.0, 1.0, 0.5)
    late = pasted_figures([(said("REAL"), said("FAKE", early))], Hay(1, 9.0), resamples=20)
    assert (late.box.value, late.trace_hit.value) == (0.0, 0.0)
    mute = pasted_figures([(said("REAL"), said("FAKE"))], Hay(1, 9.0), resamples=20)
    assert (mute.box.value, mute.box_by_chance, mute.trace_hit.value) == (None, None, None)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two camera clips and a generated one."""
    folder = tmp_path_factory.mktemp("data")
    rows = []
    for number, fake in enumerate((False, False, True)):
        path = f"{number}.mp4"
        write_clip(folder / path, number, seconds=3.0, flicker=fake)
        rows.append(row(path, f"s{number}", fake))
    (folder / "all_data.json").write_text(json.dumps(rows))
    return folder


def test_regions_are_pasted_into_long_videos_and_asked_about_once(data: Path, tmp_path: Path) -> None:
    how = {"split": "all", "only": ["pasted"], "workers": 1, "resamples": 20, "hay": Hay(1, 5.0)}
    found = measure_robustness(data, out=tmp_path, detector="baseline:center-box", **how)
    assert found.needle is None
    assert found.pasted is not None
    assert (found.pasted.row.real, found.pasted.row.generated) == (1, 1)
    assert found.pasted.box.value == found.pasted.seam.value  # it says the same of both
    assert found.pasted.box.value is not None
    lines = list(read_lines(tmp_path / "journal.jsonl"))
    again = measure_robustness(data, out=tmp_path, detector="baseline:center-box", resume=True, **how)
    assert again == found
    assert len(list(read_lines(tmp_path / "journal.jsonl"))) == len(lines)


def test_one_camera_clip_is_too_few(tmp_path: Path) -> None:
    rows = []
    for fake, name in ((False, "real"), (True, "generated")):
        write_clip(tmp_path / f"{name}.mp4", int(fake), seconds=2.0, flicker=fake)
        rows.append(row(f"{name}.mp4", name, fake))
    (tmp_path / "all_data.json").write_text(json.dumps(rows))
    how = {"split": "all", "detector": "baseline:all-real", "only": ["pasted"], "workers": 1}
    with pytest.raises(DataError, match="two camera clips"):
        measure_robustness(tmp_path, out=tmp_path / "run", **how)
