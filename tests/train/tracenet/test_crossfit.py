from __future__ import annotations

from pathlib import Path

import numpy as np
from tests.needs import needs

torch = needs("torch")

from tests.train.tracenet.made import write_measured  # noqa: E402

from deeptrace.schema import Category  # noqa: E402
from deeptrace.train.tracenet.config import TraceNetConfig  # noqa: E402
from deeptrace.train.tracenet.crossfit import NO_TRACE, SyntheticScores, score_synthetic  # noqa: E402
from deeptrace.train.tracenet.nets import PresenceNet  # noqa: E402


def test_every_member_of_a_set_is_a_row(tmp_path: Path) -> None:
    config = TraceNetConfig(data=tmp_path, out=tmp_path, variants=2, synthetic_variants=(0,))
    clips = write_measured(config)
    torch.manual_seed(0)
    net = PresenceNet().eval()
    scores = score_synthetic(net, clips, config)
    assert scores is not None
    blurring = list(Category).index(Category.SUDDEN_BLURRING)
    assert scores.category.tolist() == [NO_TRACE, NO_TRACE, NO_TRACE, blurring, blurring]
    np.testing.assert_allclose(scores.severity, [0, 0, 0, 0.3, 0.8])
    assert scores.pooled[0] == scores.pooled[1] == scores.pooled[2] != scores.pooled[3]  # the decoys change nothing
    assert ((scores.heat >= 0) & (scores.heat <= 1)).all()
    assert not scores.iou[:3].any()
    scores.save(tmp_path / "planted.npz")
    twice = SyntheticScores.joined([SyntheticScores.load(tmp_path / "planted.npz")] * 2)
    np.testing.assert_array_equal(twice.pooled, np.tile(scores.pooled, 2))


def test_clips_without_sets_give_no_scores(tmp_path: Path) -> None:
    config = TraceNetConfig(data=tmp_path, out=tmp_path, variants=2, synthetic_variants=(1,))
    assert score_synthetic(PresenceNet().eval(), write_measured(config), config) is None
