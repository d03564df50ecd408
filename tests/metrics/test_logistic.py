"""The logistic function against scipy's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import special

from deeptrace.metrics.logistic import expit, logit


@given(arrays(np.float64, array_shapes(max_dims=3), elements=st.floats(allow_nan=False)))
def test_expit_is_scipys(x: np.ndarray) -> None:
    assert expit(x).shape == x.shape
    assert expit(x) == pytest.approx(special.expit(x), rel=1e-12, abs=1e-300)


@given(arrays(np.float64, array_shapes(max_dims=3), elements=st.floats(0, 1)))
def test_logit_is_scipys(p: np.ndarray) -> None:
    assert logit(p).shape == p.shape
    assert logit(p) == pytest.approx(special.logit(p), rel=1e-9, abs=1e-15)


@given(st.floats(-30, 30))
def test_each_undoes_the_other(x: float) -> None:
    assert float(logit(expit(x))) == pytest.approx(x, abs=1e-2 if x > 20 else 1e-6)
