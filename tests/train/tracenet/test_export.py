from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.needs import needs

torch = needs("torch")
needs("onnxscript")

from deeptrace.detectors.tracenet.appearance import DIMENSIONS, VIEWS  # noqa: E402
from deeptrace.detectors.tracenet.evidence import CHANNELS, GRID  # noqa: E402
from deeptrace.detectors.tracenet.model import Calibration, TraceNetModel  # noqa: E402
from deeptrace.detectors.tracenet.texture import texture_names  # noqa: E402
from deeptrace.detectors.tracenet.windows import Window  # noqa: E402
from deeptrace.train.tracenet.export import (  # noqa: E402
    export_model,
    export_with_kept_nets,
    export_with_new_heads,
)
from deeptrace.train.tracenet.kernel_machine import KernelMachine, in_bytes  # noqa: E402
from deeptrace.train.tracenet.nets import HeatMapHead, Places, TraceNet  # noqa: E402

Exported = tuple[TraceNet, KernelMachine, KernelMachine, Path]
CALIBRATION = Calibration(
    texture=1.0, appearance=1.0, bias=0.0, threshold_fpr_1=0.9, threshold_fpr_5=0.7, threshold_balanced=0.5,
    heat=1.0, presence=1.0, trace_generated=1.0, trace_bias=0.0, sharpen=1.4,
)  # fmt: skip


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """A net of random weights that saw a batch (its norms are no identities), its kernel machines, and the folder."""
    torch.manual_seed(1)
    net = TraceNet(2).train()
    net(torch.randn(2, 4, len(CHANNELS), GRID, GRID))
    rng = np.random.default_rng(1)
    texture, appearance = random_machine(rng, len(texture_names()), 1), random_machine(rng, DIMENSIONS, VIEWS)
    folder = tmp_path_factory.mktemp("export") / "model"
    export_model(net, texture, appearance, CALIBRATION, {"version": "7", "seed": 3}, folder)
    return net.eval(), texture, appearance, folder


def random_machine(rng: np.random.Generator, size: int, views: int) -> KernelMachine:
    return KernelMachine(
        center=rng.random(size),
        scale=1 + rng.random(size),
        projection=rng.normal(0, (size / views) ** -0.5, (views, size // views, 12)),
        **in_bytes(rng.normal(0, 1, (9, views, 12))),
        weights=rng.normal(0, 1, 9),
        gamma=rng.uniform(0.05, 0.2, views),
        bias=0.3,
    )


@pytest.mark.parametrize("frames", [1, 2, 5, 24])
def test_the_file_says_what_torch_says(exported: Exported, frames: int) -> None:
    net, texture, appearance, folder = exported
    rng = np.random.default_rng(frames)
    window = Window(
        np.arange(frames) / 8,
        rng.normal(0, 1, (frames, len(CHANNELS), GRID, GRID)).astype(np.float32),
        rng.random(len(texture_names())).astype(np.float32),
        rng.random(DIMENSIONS).astype(np.float32),
        0,
    )
    scores = TraceNetModel.load(folder).score(window)
    with torch.no_grad():
        generated, where, present, kinds = net(torch.from_numpy(window.evidence)[None])
    assert scores.clip == pytest.approx(float(generated[0]), abs=1e-3)
    assert scores.texture == pytest.approx(texture.score(window.texture[None]), abs=1e-3)
    assert scores.appearance == pytest.approx(appearance.score(window.appearance[None]), abs=1e-3)
    assert scores.nearness == pytest.approx(texture.window_nearness(window.texture[None])[0], abs=1e-3)
    np.testing.assert_allclose(scores.where, where[0].sigmoid(), atol=1e-3)
    np.testing.assert_allclose(scores.present, present[0].sigmoid(), atol=1e-3)
    np.testing.assert_allclose(scores.kinds, kinds[0].softmax(1), atol=1e-3)


def test_the_card_says_what_it_was_told(exported: Exported) -> None:
    card = TraceNetModel.load(exported[-1]).card
    assert card.version == "7"
    assert card.model_extra == {"seed": 3}
    assert card.calibration == CALIBRATION
    assert card.channels == CHANNELS


def test_nothing_is_left_lying_about(exported: Exported) -> None:
    assert sorted(path.name for path in exported[-1].iterdir()) == ["tracenet.json", "tracenet.onnx"]


def test_nets_are_kept_to_the_bit_beside_new_machines(exported: Exported, tmp_path: Path) -> None:
    _, _, _, kept = exported
    rng = np.random.default_rng(5)
    texture, appearance = random_machine(rng, len(texture_names()), 1), random_machine(rng, DIMENSIONS, VIEWS)
    export_with_kept_nets(kept, texture, appearance, CALIBRATION, {"version": "8"}, tmp_path / "model")
    window = Window(
        np.arange(24) / 8,
        rng.normal(0, 1, (24, len(CHANNELS), GRID, GRID)).astype(np.float32),
        rng.random(len(texture_names())).astype(np.float32),
        rng.random(DIMENSIONS).astype(np.float32),
        0,
    )
    before, after = TraceNetModel.load(kept).score(window), TraceNetModel.load(tmp_path / "model").score(window)
    assert (after.where == before.where).all()
    assert (after.present == before.present).all()
    assert (after.kinds == before.kinds).all()
    assert after.clip == before.clip
    assert after.texture == pytest.approx(texture.score(window.texture[None]), abs=1e-3)
    assert after.appearance == pytest.approx(appearance.score(window.appearance[None]), abs=1e-3)
    assert after.nearness == pytest.approx(texture.window_nearness(window.texture[None])[0], abs=1e-3)
    assert after.nearness != before.nearness


def test_new_heads_stand_beside_all_else_and_stay_when_the_machines_go(exported: Exported, tmp_path: Path) -> None:
    net, texture, appearance, kept = exported
    torch.manual_seed(4)
    heads = [HeatMapHead().eval() for _ in range(2)]
    rng = np.random.default_rng(6)
    evidence = rng.normal(0, 1, (24, len(CHANNELS), GRID, GRID)).astype(np.float32)
    statistics = (rng.random(size).astype(np.float32) for size in (len(texture_names()), DIMENSIONS))
    window = Window(np.arange(24) / 8, evidence, *statistics, 0)
    export_with_new_heads(kept, heads, CALIBRATION, {"version": "8"}, tmp_path / "heads")
    export_with_kept_nets(tmp_path / "heads", texture, appearance, CALIBRATION, {"version": "9"}, tmp_path / "both")
    export_with_new_heads(tmp_path / "both", net.heads, CALIBRATION, {"version": "10"}, tmp_path / "back")
    before, new, both, back = (
        TraceNetModel.load(folder).score(window)
        for folder in (kept, *(tmp_path / name for name in ("heads", "both", "back")))
    )
    with torch.no_grad():
        wanted = Places(heads)(torch.from_numpy(evidence)).numpy()
    np.testing.assert_allclose(new.where, wanted, atol=1e-3)
    assert np.abs(new.where - before.where).max() > 0.01
    for other in (new, both, back):
        assert (other.present == before.present).all()
        assert (other.kinds == before.kinds).all()
        assert other.clip == before.clip
        assert other.texture == pytest.approx(before.texture, abs=1e-5)
    assert (both.where == new.where).all()
    np.testing.assert_allclose(back.where, before.where, atol=1e-3)
