"""What tells the kind of a trace is measured in its box, over its life."""

from __future__ import annotations

import numpy as np

from deeptrace.detectors.tracenet.evidence import CHANNELS, GRID
from deeptrace.detectors.tracenet.trace_kinds import KIND_FEATURES, kind_features
from deeptrace.geometry import Box, Interval

BOX = Box(x0=0.25, y0=0.25, x1=0.5, y1=0.5)
TIMES = np.arange(16) / 8
RESIDUAL = CHANNELS.index("residual")
PER_CHANNEL = len(CHANNELS)


def features_of(evidence: np.ndarray, life: Interval, box: Box = BOX) -> np.ndarray:
    return kind_features(evidence, np.full((16, GRID, GRID), 0.5), box, TIMES, life, 2.0)


def test_what_is_higher_in_the_box_and_rises_there_is_seen() -> None:
    evidence = np.zeros((16, PER_CHANNEL, GRID, GRID), np.float32)
    evidence[8:, RESIDUAL, 8:16, 8:16] = 2.0
    whole, late = (features_of(evidence, Interval(onset_s=a, offset_s=2.0)) for a in (0.0, 1.0))
    assert len(whole) == KIND_FEATURES
    assert late[RESIDUAL] > whole[RESIDUAL] > 0  # the excess
    rise = 3 * PER_CHANNEL + RESIDUAL
    assert whole[rise] > 0 == late[rise]
    elsewhere = features_of(evidence, Interval(onset_s=0.0, offset_s=2.0), Box(x0=0.6, y0=0.6, x1=0.9, y1=0.9))
    assert elsewhere[RESIDUAL] < 0 == elsewhere[rise]


def test_a_trace_between_two_frames_is_read_over_the_whole_segment() -> None:
    evidence = np.random.default_rng(0).normal(0, 1, (16, PER_CHANNEL, GRID, GRID)).astype(np.float32)
    blink, whole = (features_of(evidence, Interval(onset_s=a, offset_s=b)) for a, b in ((0.51, 0.52), (0.0, 2.0)))
    np.testing.assert_allclose(blink[: 5 * PER_CHANNEL], whole[: 5 * PER_CHANNEL])
    assert np.isfinite(blink).all()
