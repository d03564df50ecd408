"""Every form that a request may have, and what is answered to those that make no sense."""

from __future__ import annotations

import base64
import io
import json
import os
import pickle
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.reward.conftest import corner_clip, expected
from tests.server.conftest import Running, near, png, pngs, running, soon

from deeptrace.schema import Verdict
from deeptrace.server import Limits

Make = Callable[[int], bytes]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, clip_bytes: Make) -> Iterator[Running]:
    tmp = tmp_path_factory.mktemp("server")
    root = tmp / "root"
    root.mkdir()
    (root / "a.mp4").write_bytes(clip_bytes(60))
    (tmp / "secret.mp4").write_bytes(clip_bytes(10))
    (root / "out.mp4").symlink_to(tmp / "secret.mp4")
    (root / "folder").mkdir()
    limits = Limits(clip_bytes=400_000, request_bytes=2_000_000, frames=40, pixels=100 * 100, duration_s=20.0, clips=8)
    with running(tmp, roots=(str(root),), limits=limits, frames_fps=8.0) as server:
        server.root = root
        yield server


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_every_form_gives_the_reward_of_its_own_clip(server: Running, clip_bytes: Make) -> None:
    found = server.score(
        {"base64": b64(clip_bytes(200)), "name": "mine"},
        {"path": str(server.root / "a.mp4")},
        {"frames": pngs(30), "fps": 16},
    )
    assert [clip["reward"] for clip in found] == [near(200), near(60), expected(30)]
    assert [clip["video"] for clip in found] == ["mine", str(server.root / "a.mp4"), "clip 2"]
    assert found[2]["media"]["fps"] == 16
    for clip in found:
        assert clip["parts"]["reward"] == clip["reward"] == pytest.approx(1 - clip["p_fake"])
        assert clip["parts"]["cost_by_category"] == {"unexpected_move": 0.0}
        assert clip["reason"] is None
        Verdict.model_validate({key: value for key, value in clip.items() if key not in ("parts", "reason")})


def test_uploads_keep_their_order_and_may_be_arrays(server: Running, clip_bytes: Make) -> None:
    buffer = io.BytesIO()
    np.save(buffer, corner_clip(77))
    reply = server.upload(("b.mp4", clip_bytes(200)), ("x.npy", buffer.getvalue()), ("c.mp4", clip_bytes(60)), fps="24")
    found = reply.json()["results"]
    assert [clip["reward"] for clip in found] == [near(200), expected(77), near(60)]
    assert [clip["video"] for clip in found] == ["b.mp4", "x.npy", "c.mp4"]
    assert found[1]["media"]["fps"] == 24


# -- a video file as the body ----------


def test_a_video_file_as_the_body_gives_what_an_upload_gives(server: Running, clip_bytes: Make) -> None:
    data = clip_bytes(200)
    reply = server.http.post("/v1/score/video", params={"name": "mine.mp4"}, content=data)
    found = reply.json()
    (uploaded,) = server.upload(("mine.mp4", data)).json()["results"]
    assert found["reward"] == found["parts"]["reward"] == near(200)
    assert (found["video"], found["outcome"], found["reason"], found["error"]) == ("mine.mp4", "scored", None, None)
    for fields in (found, uploaded):
        fields.pop("elapsed_s")
    assert found == uploaded
    for kind in ("video/mp4", "application/octet-stream", "application/x-www-form-urlencoded"):  # the last is curl's
        again = server.http.post("/v1/score/video", content=data, headers={"content-type": kind}).json()
        assert (again["reward"], again["video"]) == (near(200), "clip")
    in_pieces = server.http.post("/v1/score/video", content=iter([data[:7], data[7:5000], data[5000:]]))
    assert in_pieces.json()["reward"] == near(200), "a body without a length"


def test_what_is_no_video_is_an_outcome_as_in_an_upload(server: Running, clip_bytes: Make, tmp_path: Path) -> None:
    class Command:
        def __reduce__(self) -> tuple:
            return os.mkdir, (str(tmp_path / "was run"),)

    for name, data, outcome, reason in (
        ("text.mp4", b"hello", "decode_failed", "unreadable"),
        ("empty.mp4", b"", "decode_failed", "unreadable"),
        ("cut.mp4", clip_bytes(60)[:300], "decode_failed", "unreadable"),
        ("large.mp4", bytes(400_001), "too_large", "too_large"),
        ("pickle.mp4", pickle.dumps({"images": [Command()]}), "decode_failed", "unreadable"),
        ("KeyError.mp4", clip_bytes(60), "model_failed", "not_scored"),
    ):
        reply = server.http.post("/v1/score/video", params={"name": name}, content=data)
        found = reply.json()
        (uploaded,) = server.upload((name, data)).json()["results"]
        assert (reply.status_code, found["outcome"], found["reason"]) == (200, outcome, reason), name
        assert found["reward"] is found["parts"] is None
        assert found["error"] == uploaded["error"]
        assert "spool" not in found["error"], "paths of the server are its own"
    assert not (tmp_path / "was run").exists(), "nothing that came was unpickled"


def test_a_body_that_is_refused_gets_one_line_and_the_connection_goes_on(server: Running, clip_bytes: Make) -> None:
    data = clip_bytes(60)
    for call, status, says in (
        ({"files": {"files": ("a.mp4", data)}}, 422, "as multipart to /v1/score/upload"),
        ({"json": {"clips": []}}, 422, "JSON goes to /v1/score"),
        ({"content": bytes(2_000_001)}, 413, "limit of 2000000 bytes"),
        ({"content": iter([bytes(100_000)] * 40)}, 413, "limit of 2000000 bytes"),
        ({"content": data, "params": {"deadline_s": "-1"}}, 422, "deadline_s: expected a positive number but got -1.0"),
        ({"content": data, "params": {"deadline_s": "soon"}}, 422, "deadline_s: "),
    ):
        reply = server.http.post("/v1/score/video", **call)
        assert reply.status_code == status, says
        assert says in reply.json()["detail"]
        assert server.http.post("/v1/score/video", content=data).json()["reward"] == near(60)
    assert server.http.get("/v1/score/video").status_code == 405
    assert soon(lambda: server.api.middleware._body_bytes == 0)


def test_curl_as_in_the_documentation(server: Running, clip_bytes: Make, tmp_path: Path) -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("needs curl")
    (tmp_path / "a b.mp4").write_bytes(clip_bytes(60))
    address = f"{server.url}/v1/score/video?name=a%20b.mp4"
    for how in (["--data-binary", "@a b.mp4"], ["-X", "POST", "-T", "a b.mp4"]):
        done = subprocess.run(
            [curl, "-sS", "--noproxy", "*", *how, address], cwd=tmp_path, capture_output=True, timeout=60, check=True
        )
        found = json.loads(done.stdout)
        assert (found["video"], found["reward"], found["outcome"]) == ("a b.mp4", near(60), "scored")


def test_what_cannot_be_scored_is_an_outcome_beside_the_others(server: Running, clip_bytes: Make) -> None:
    tall = np.zeros((4, 400, 30, 3), np.uint8)
    buffer, objects = io.BytesIO(), io.BytesIO()
    np.save(buffer, tall)
    np.save(objects, np.array([{"a": 1}], dtype=object))
    found = server.upload(
        ("text.mp4", b"hello"),
        ("empty.mp4", b""),
        ("large.mp4", bytes(400_001)),
        ("KeyError.mp4", clip_bytes(60)),
        ("wide.npy", buffer.getvalue()),
        ("pickle.npy", objects.getvalue()),
        ("fine.mp4", clip_bytes(60)),
    ).json()["results"]
    assert [(clip["outcome"], clip["reason"]) for clip in found] == [
        ("decode_failed", "unreadable"),
        ("decode_failed", "unreadable"),
        ("too_large", "too_large"),
        ("model_failed", "not_scored"),
        ("too_large", "too_large"),
        ("decode_failed", "unreadable"),
        ("scored", None),
    ]
    for clip in found[:-1]:
        assert clip["reward"] is clip["parts"] is None
        assert clip["error"]
        assert "\n" not in clip["error"]
        assert "spool" not in clip["error"], "paths of the server are its own"


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/etc/passwd", "not_allowed"),
        ("{root}/../secret.mp4", "not_allowed"),
        ("{root}/out.mp4", "not_allowed"),
        ("{root}", "not_allowed"),
        ("{root}x/a.mp4", "not_allowed"),
        ("../secret.mp4", "not_allowed"),
        ("out.mp4", "not_allowed"),
        ("none.mp4", "not_found"),
        ("a.mp4/../../secret.mp4", "not_allowed"),
        ("file://{root}/a.mp4", "not_allowed"),
        ("{root}/a.mp4\0", "not_allowed"),
        ("/proc/self/environ", "not_allowed"),
        ("{root}/folder", "not_found"),
        ("{root}/none.mp4", "not_found"),
    ],
)
def test_paths_outside_the_roots_are_not_opened(server: Running, path: str, reason: str) -> None:
    (clip,) = server.score({"path": path.format(root=server.root)})
    assert (clip["outcome"], clip["reason"]) == ("decode_failed", reason)


def test_a_path_may_be_one_in_a_root(server: Running) -> None:
    plain, folded = server.score({"path": "a.mp4"}, {"path": "folder/../a.mp4"})
    assert [clip["reward"] for clip in (plain, folded)] == [near(60)] * 2
    assert plain["video"] == "a.mp4", "paths of the server are its own"


def test_limits_hold_for_length_frames_and_images(server: Running) -> None:
    long = [png(np.zeros((8, 8, 3), np.uint8))] * 30
    mixed = [png(np.zeros((8, 8, 3), np.uint8)), png(np.zeros((8, 9, 3), np.uint8))]
    found = server.score(
        {"frames": long, "fps": 1},
        {"frames": long + long},
        {"frames": [png(np.zeros((128, 128, 3), np.uint8))]},
        {"frames": mixed},
        {"frames": ["aGVsbG8="]},
        {"frames": ["!"]},
        {"base64": "!"},
        {"url": "http://example.org/a.mp4"},
    )
    assert [clip["reason"] for clip in found] == ["too_large"] * 3 + ["unreadable"] * 4 + ["not_allowed"]
    assert found[0]["error"] == "lasts longer than the limit of 20 s"


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ("{", 422, "Invalid JSON"),
        ("[]", 422, "the body"),
        ('{"clips": []}', 422, "clips"),
        ('{"clips": [{}]}', 422, "expected one of path, url, base64, frames but got none"),
        ('{"clips": [{"path": "a", "url": "b"}]}', 422, "but got path and url"),
        ('{"clips": [{"path": "a", "fps": 3}]}', 422, "fps is for frames"),
        ('{"clips": [{"path": "a"}], "deadline_s": -1}', 422, "deadline_s"),
        (json.dumps({"clips": [{"path": "a"}] * 9}), 413, "9 clips are more than the limit of 8 a request"),
        (json.dumps({"clips": [{"base64": "a" * 2_100_000}]}), 413, "limit of 2000000 bytes"),
    ],
)
def test_a_request_that_makes_no_sense_gets_one_line(server: Running, body: str, status: int, says: str) -> None:
    reply = server.http.post("/v1/score", content=body)
    assert reply.status_code == status
    assert says in reply.json()["detail"]
    assert "\n" not in reply.json()["detail"]
    assert reply.json()["code"] in ("unprocessable", "too_large")


def test_a_body_without_a_length_is_counted_as_it_comes(server: Running) -> None:
    reply = server.http.post("/v1/score", content=(bytes(100_000) for _ in range(40)))
    assert (reply.status_code, reply.json()["code"]) == (413, "too_large")
    assert soon(lambda: server.api.middleware._body_bytes == 0)


def test_bad_forms(server: Running) -> None:
    assert server.http.post("/v1/score/upload", content=b"x").status_code == 422
    torn = {"content-type": "multipart/form-data; boundary=x"}
    assert server.http.post("/v1/score/upload", content=b"--y", headers=torn).status_code == 400
    assert server.upload(("a.mp4", b"x"), fps="fast").json()["detail"].startswith("fps: ")
    assert server.http.get("/v1/score").json() == {"detail": "GET /v1/score: Method Not Allowed", "code": "bad_request"}


def test_dense_maps(server: Running, clip_bytes: Make) -> None:
    reply = server.http.post("/v1/dense", json={"clip": {"path": str(server.root / "a.mp4")}})
    assert reply.status_code == 422, "this detector makes no map"
    assert reply.json()["error"] == "served:: makes no map of where traces lie. Use the detector tracenet."


def test_unirls_shape(server: Running, clip_bytes: Make) -> None:
    def item(**last: str) -> dict:
        turns = [{"text": "a cat", "image_b64": "xx"}, {"text": "a cat", **last}]
        return {"history": turns, "required_rewards": ["deeptrace"], "metadata": None, "sample_id": None}

    batch = [
        item(video_b64=b64(clip_bytes(200))) | {"sample_id": "s1", "group_id": "g", "policy_version": 3},
        item(video_path="/etc/passwd"),
        item(video_path=str(server.root / "a.mp4")) | {"idempotency_key": "k"},
        item(image_b64="xx"),
        item(video_path="/x") | {"required_rewards": []},
    ]
    reply = server.http.post("/score", json={"protocol_version": "1", "requests": batch}).json()
    assert sorted(reply) == ["errors", "identities", "protocol_version", "results"]
    assert list(reply["results"][0]["deeptrace"]) == ["reward", "authenticity", "trace_factor"]
    assert reply["results"][0]["deeptrace"]["reward"] == near(200)
    assert reply["results"][2]["deeptrace"]["reward"] == near(60)
    assert [sorted(errors) for errors in reply["errors"]] == [[], ["deeptrace"], [], ["deeptrace"], []]
    assert reply["results"][1] == reply["results"][3] == reply["results"][4] == {}
    assert reply["identities"][0]["sample_id"] == "s1"
    assert reply["identities"][0]["policy_version"] == 3
    assert reply["identities"][2]["idempotency_key"] == "k"
    health = server.http.get("/health").json()
    assert health["status"] == "ok"
    assert list(health["rewards"]) == server.http.get("/rewards").json()["rewards"] == ["deeptrace"]
    for wrong, says in (
        ({"protocol_version": "2", "requests": []}, "protocol_version"),
        ({"requests": [item(image_b64="x") | {"required_rewards": ["hpsv3"]}]}, "unknown reward: hpsv3"),
        ({"requests": [{"history": [], "required_rewards": ["deeptrace"]}]}, "history"),
    ):
        refused = server.http.post("/score", json=wrong)
        assert refused.status_code == 400
        assert says in refused.json()["detail"]
    assert server.http.post("/score", json={"requests": [item()]}).status_code == 422
    assert server.http.post("/score", json={"requests": []}).json()["results"] == []


def test_flow_factorys_shape(server: Running) -> None:
    rest = {"image": None, "condition_images": None, "condition_videos": None}
    reply = server.http.post("/compute", json={"prompt": ["a", "b"], "video": [pngs(30), pngs(90)], **rest})
    assert reply.json() == {"rewards": [expected(30), expected(90)], "error": None}
    bad = [png(np.zeros((8, 8, 3), np.uint8))]
    reply = server.http.post("/compute", json={"prompt": ["a", "b"], "video": [pngs(30), bad], **rest})
    assert reply.status_code == 200, "an HTTP error would have its client send all again"
    assert reply.json()["rewards"] == [expected(30), None]
    assert reply.json()["error"].startswith("1 of 2 clips could not be scored; clip 1: shows only 1 frame,")
    assert server.http.post("/compute", json={"prompt": ["a"], "video": None, **rest}).status_code == 422
    assert server.http.post("/compute", json={"prompt": ["a"], "video": [[]], **rest}).status_code == 422


def test_health_and_metrics(server: Running) -> None:
    server.score({"path": str(server.root / "a.mp4")})
    assert server.http.get("/health/live").json() == {"status": "ok"}
    assert server.http.get("/health/ready").status_code == 200
    lines = server.http.get("/metrics").text.splitlines()
    values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    assert values["deeptrace_serve_workers_ready"] == "1.0"
    assert values["deeptrace_serve_queue_depth"] == "0.0"
    assert float(values['deeptrace_serve_clips_total{outcome="scored",reason=""}']) >= 1
    assert float(values['deeptrace_serve_requests_total{route="/v1/score",status="200"}']) >= 1
    assert float(values['deeptrace_serve_request_seconds_bucket{le="+Inf",route="/v1/score"}']) >= 1
    assert values['deeptrace_serve_worker_restarts_total{cause="crashed"}'] == "0.0"


def test_what_it_says_of_itself_is_true(server: Running) -> None:
    said = server.http.get("/openapi.json").json()
    schemas = said["components"]["schemas"]
    for path, methods in said["paths"].items():
        for method, operation in methods.items():
            text = json.dumps(operation)
            for name in {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}:
                assert name in schemas, f"{method} {path} names {name}"
            if method == "post":
                assert "requestBody" in operation
                assert "429" in operation["responses"]
    (clip,) = server.score({"path": str(server.root / "a.mp4")})
    assert set(clip) == set(schemas["ClipResult"]["properties"])
    assert set(schemas["ClipRef"]["properties"]) == {"path", "url", "base64", "frames", "fps", "name"}
    assert set(server.http.post("/v1/score", content="{").json()) == set(schemas["ApiError"]["properties"])


def test_nothing_lies_around_afterwards(server: Running, clip_bytes: Make, tmp_path: Path) -> None:
    server.upload(("a.mp4", clip_bytes(60)), ("bad.mp4", b"x"))
    (scratch,) = server.scratch.iterdir()
    assert [entry.name for entry in scratch.iterdir()] == [".lock"]
    assert scratch.stat().st_mode & 0o077 == 0
