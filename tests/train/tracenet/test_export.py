from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch (pip install 'deeptrace[train]')")
pytest.importorskip("onnxscript", reason="needs onnxscript (pip install 'deeptrace[train]')")

from deeptrace.detectors.tracenet.evidence import CHANNELS, GRID  # noqa: E402
from deeptrace.detectors.tracenet.model import Calibration, TraceNetModel  # noqa: E402
from deeptrace.detectors.tracenet.texture import texture_names  # noqa: E402
from deeptrace.detectors.tracenet.windows import Window  # noqa: E402
from deeptrace.train.tracenet.export import export_model  # noqa: E402
from deeptrace.train.tracenet.nets import TraceNet  # noqa: E402
from deeptrace.train.tracenet.texture_fit import TextureModel  # noqa: E402

CALIBRATION = Calibration(
    texture=1.0, clip=1.0, bias=0.0, threshold_fpr_1=0.9, threshold_fpr_5=0.7, threshold_balanced=0.5,
    heat=1.0, presence=1.0, trace_generated=1.0, trace_bias=0.0, sharpen=1.4,
)  # fmt: skip


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[TraceNet, TextureModel, Path]:
    """A net of random weights that saw a batch (its norms are no identities), its texture model, and the folder."""
    torch.manual_seed(1)
    net = TraceNet().train()
    net(torch.randn(2, 4, len(CHANNELS), GRID, GRID))
    rng = np.random.default_rng(1)
    size = len(texture_names())
    texture = TextureModel(
        center=rng.random(size),
        scale=1 + rng.random(size),
        projection=rng.normal(0, size**-0.5, (size, 12)),
        support=rng.normal(0, 1, (9, 12)),
        weights=rng.normal(0, 1, 9),
        gamma=0.1,
        bias=0.3,
    )
    folder = tmp_path_factory.mktemp("export") / "model"
    export_model(net, texture, CALIBRATION, {"version": "7", "seed": 3}, folder)
    return net.eval(), texture, folder


@pytest.mark.parametrize("frames", [1, 2, 5, 24])
def test_the_file_says_what_torch_says(exported: tuple[TraceNet, TextureModel, Path], frames: int) -> None:
    net, texture, folder = exported
    rng = np.random.default_rng(frames)
    window = Window(
        np.arange(frames) / 8,
        rng.normal(0, 1, (frames, len(CHANNELS), GRID, GRID)).astype(np.float32),
        rng.random(len(texture_names())).astype(np.float32),
        0,
    )
    scores = TraceNetModel.load(folder).score(window)
    with torch.no_grad():
        generated, where, present, kinds = net(torch.from_numpy(window.evidence)[None])
    assert scores.clip == pytest.approx(float(generated[0]), abs=1e-3)
    assert scores.texture == pytest.approx(texture.score(window.texture[None]), abs=1e-3)
    np.testing.assert_allclose(scores.where, where[0].sigmoid(), atol=1e-3)
    np.testing.assert_allclose(scores.present, present[0].sigmoid(), atol=1e-3)
    np.testing.assert_allclose(scores.kinds, kinds[0].sigmoid(), atol=1e-3)


def test_the_card_says_what_it_was_told(exported: tuple[TraceNet, TextureModel, Path]) -> None:
    card = TraceNetModel.load(exported[2]).card
    assert card.version == "7"
    assert card.model_extra == {"seed": 3}
    assert card.calibration == CALIBRATION
    assert card.channels == CHANNELS


def test_nothing_is_left_lying_about(exported: tuple[TraceNet, TextureModel, Path]) -> None:
    assert sorted(path.name for path in exported[2].iterdir()) == ["tracenet.json", "tracenet.onnx"]
