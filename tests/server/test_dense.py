"""Maps over HTTP: the default detector behind a real server gives the map that `Reward` gives in this process."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from tests.server.conftest import Running, running

from deeptrace.reward import DenseReward, Reward
from deeptrace.server import Limits

CLIP = Path(__file__).resolve().parents[2] / "examples" / "coffee_trace.mp4"
SIZE = (45, 80)
TIMES_S = [0.0, 1.5, 3.9]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    limits = Limits(clip_s=60.0, map_values=100 * 45 * 80)
    tmp = tmp_path_factory.mktemp("server")
    with running(tmp, detector="tracenet", detector_settings={}, roots=(str(CLIP.parent),), limits=limits) as server:
        yield server


@pytest.fixture(scope="module")
def here() -> DenseReward:
    return Reward().dense(str(CLIP), size=SIZE)


def arrays(reply: httpx.Response) -> tuple[np.ndarray, np.ndarray, dict]:
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"] == "application/x-npz"
    with np.load(io.BytesIO(reply.content), allow_pickle=False) as found:
        assert sorted(found.files) == ["map", "result", "times_s"]
        return found["map"], found["times_s"], json.loads(found["result"].tobytes())


def test_the_map_is_the_one_of_this_process(server: Running, here: DenseReward) -> None:
    body = {"clip": {"path": str(CLIP)}, "size": SIZE}
    values, times_s, result = arrays(server.http.post("/v1/dense", json=body))
    assert (values.dtype, values.shape) == (np.float16, (96, *SIZE))
    np.testing.assert_allclose(values, here.map, atol=2e-3)
    np.testing.assert_allclose(times_s, here.times_s)
    assert values.min() < 0.9 < values.max(), "a map of one value would prove little"
    assert result["reward"] == pytest.approx(here.result.reward, abs=1e-6)
    assert (result["video"], result["outcome"], result["reason"]) == (str(CLIP), "scored", None)


def test_an_uploads_map_at_chosen_times(server: Running, here: DenseReward) -> None:
    values, times_s, result = arrays(
        server.http.post(
            "/v1/dense/upload",
            files={"files": ("mine.mp4", CLIP.read_bytes())},
            data={"size": json.dumps(SIZE), "times_s": json.dumps(TIMES_S)},
        )
    )
    assert times_s.tolist() == TIMES_S
    nearest = [int(np.abs(here.times_s - time_s).argmin()) for time_s in TIMES_S]
    np.testing.assert_allclose(values, here.map[nearest], atol=0.02)
    assert result["video"] == "mine.mp4"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({}, "its map has more than 360000 values"),
        ({"size": [0, 80]}, "size"),
        ({"size": SIZE, "times_s": []}, "times_s"),
        ({"clip": {"path": "/etc/passwd"}}, "is not below a folder that this server reads from"),
    ],
)
def test_a_map_that_cannot_be_made_says_why_in_one_line(server: Running, change: dict[str, object], says: str) -> None:
    reply = server.http.post("/v1/dense", json={"clip": {"path": str(CLIP)}} | change)
    said = reply.json()
    line = said.get("error") or said["detail"]
    assert reply.status_code == 422
    assert says in line
    assert "\n" not in line
