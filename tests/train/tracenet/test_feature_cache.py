from __future__ import annotations

import os
import time
from multiprocessing import active_children
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.train.tracenet.made import make_data

from deeptrace.detectors.tracenet.appearance import DIMENSIONS
from deeptrace.detectors.tracenet.evidence import CHANNELS, GRID
from deeptrace.detectors.tracenet.temporal_extent import coverage
from deeptrace.detectors.tracenet.texture import texture_names
from deeptrace.geometry import Box
from deeptrace.io.processes import worker_pool
from deeptrace.train.tracenet.clips import Clip, Kind, read_clips
from deeptrace.train.tracenet.config import TraceNetConfig
from deeptrace.train.tracenet.feature_cache import (
    AS_IS,
    ONE_ENCODING,
    load_measured,
    measure_all,
    synthetic_sets,
)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> TraceNetConfig:
    root = make_data(tmp_path_factory.mktemp("data"), generators=1, sources=1, each=1)
    return TraceNetConfig(data=root, edited="", out=root / "out", variants=3, injections=3, synthetic_variants=(0,))


@pytest.fixture(scope="module")
def clips(config: TraceNetConfig) -> list[Clip]:
    clips = read_clips(config.data)
    told: list[tuple[str, int, int]] = []
    assert measure_all(clips, config, lambda *what: told.append(what)) == []
    assert told == [("measured", 1, 2), ("measured", 2, 2)]
    return clips


@pytest.mark.parametrize("variant", [AS_IS, ONE_ENCODING, 2])
def test_every_variant_is_measured(clips: list[Clip], config: TraceNetConfig, variant: int) -> None:
    for clip in clips:
        measured = load_measured(clip, variant, config)
        assert measured is not None
        count = len(measured.times_s)
        assert 8 <= count <= 13
        assert measured.evidence.shape == (count, len(CHANNELS), GRID, GRID)
        assert measured.texture.shape == (1, len(texture_names()))
        assert measured.appearance.shape == (1, DIMENSIONS)
        assert np.isfinite(measured.evidence.astype(np.float32)).all()
        assert (np.diff(measured.times_s) > 0).all()


def test_variants_differ(clips: list[Clip], config: TraceNetConfig) -> None:
    as_is, encoded = (load_measured(clips[0], variant, config) for variant in (AS_IS, ONE_ENCODING))
    assert np.abs(as_is.texture - encoded.texture).max() > 0.01


def test_planted_traces_lie_where_the_target_says(clips: list[Clip], config: TraceNetConfig) -> None:
    (real,) = [clip for clip in clips if clip.kind is Kind.REAL]
    (found,) = synthetic_sets(real, config)
    assert 1 <= len(set(found.categories)) == len(found.categories) <= config.injections
    base = found.base().astype(np.float32)
    assert base.shape[1:] == (len(CHANNELS), GRID, GRID)
    for index in range(len(found.categories)):
        low, high = found.severities[index]
        assert 0.0 < low < high <= 1.0
        maps, target = found.trace(index, 1)
        assert maps.shape == base.shape
        assert target.shape == (len(base), GRID, GRID)
        change = np.abs(maps.astype(np.float32) - base).mean(axis=(0, 1))
        where = target.max(axis=0) > 0.5
        assert where.any()
        assert change[where].mean() > 2 * change[~where].mean()
    for index in range(found.hard_negatives):
        assert found.hard_negative(index).shape == base.shape


def test_generated_clips_get_no_planted_traces(clips: list[Clip], config: TraceNetConfig) -> None:
    (generated,) = [clip for clip in clips if clip.kind is Kind.GENERATED]
    assert list(synthetic_sets(generated, config)) == []


def test_what_is_measured_is_not_measured_again(clips: list[Clip], config: TraceNetConfig) -> None:
    files = {path: path.stat().st_mtime_ns for path in (config.out / "measured").iterdir()}
    assert len(files) == 2 * config.variants + len(config.synthetic_variants)
    measure_all(clips, config, lambda *_: None)
    assert {path: path.stat().st_mtime_ns for path in (config.out / "measured").iterdir()} == files


def test_the_same_seed_measures_the_same(clips: list[Clip], config: TraceNetConfig, tmp_path: Path) -> None:
    again = config.model_copy(update={"out": tmp_path})
    real = [clip for clip in clips if clip.kind is Kind.REAL]
    measure_all(real, again, lambda *_: None)
    for variant in range(config.variants):
        one, other = (load_measured(real[0], variant, c) for c in (config, again))
        np.testing.assert_array_equal(one.texture, other.texture)
        np.testing.assert_array_equal(one.appearance, other.appearance)


def test_a_damaged_clip_is_one_line_and_stops_nothing(
    clips: list[Clip], config: TraceNetConfig, tmp_path: Path
) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    bad = Clip("bad.mp4", tmp_path / "bad.mp4", Kind.GENERATED, "g", "")
    out = config.model_copy(update={"out": tmp_path / "out", "variants": 2, "injections": 0})
    problems = measure_all([bad, clips[0]], out, lambda *_: None)
    assert len(problems) == out.variants
    assert all("bad.mp4" in line and "\n" not in line for line in problems)
    assert load_measured(bad, AS_IS, out) is None
    assert load_measured(clips[0], AS_IS, out) is not None


CORNERS = st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted).filter(lambda pair: pair[1] - pair[0] > 1e-3)


@given(CORNERS, CORNERS)
def test_coverage_adds_up_to_the_area(across: list[float], down: list[float]) -> None:
    box = Box(x0=across[0], y0=down[0], x1=across[1], y1=down[1])
    share = coverage(box)
    assert share.sum() / GRID**2 == pytest.approx(box.area, abs=1e-6)
    assert 0.0 <= share.min() <= share.max() <= 1.0 + 1e-6


def test_ctrl_c_does_not_wait_for_the_jobs_at_hand() -> None:
    workers: list[int] = []

    def interrupted() -> None:
        with worker_pool(1) as pool:
            workers.append(pool.submit(os.getpid).result())
            pool.submit(time.sleep, 600)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    until_s = time.monotonic() + 60
    while set(workers) & {child.pid for child in active_children()}:
        assert time.monotonic() < until_s
        time.sleep(0.05)
