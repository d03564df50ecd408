"""The studio's routes, over HTTP."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
from tests.needs import needs
from tests.reports.detection_page.conftest import COUNT, FPS, HOSTILE_TEXT, moving_square, verdict_on
from tests.studio.conftest import OURS, Start, needs_studio, write_run, write_square

from deeptrace.benchmark.run import evaluate
from deeptrace.data import read_reward_data
from deeptrace.schema import Label, Verdict
from deeptrace.video import open_video, write_video

needs_studio()

from deeptrace.studio.permissions import ROUTES  # noqa: E402


def test_a_folder_is_prepared_and_analysed(studio: Start, tmp_path: Path) -> None:
    place = tmp_path / "clips"
    direct = write_square(place / "sub" / "variable.mp4", variable=True)
    write_square(place / "hevc.mp4", codec="libx265")
    (place / "broken.mp4").write_bytes(b"no video at all")
    one = studio(place=place)
    one.settle()
    clip = one.clip("sub/variable.mp4")
    assert clip["sha256"] == hashlib.sha256(direct.read_bytes()).hexdigest()
    assert (clip["play"], clip["decision"], clip["outcome"]) == ("direct", "generated", "scored")
    with open_video(direct) as video:
        shown = [frame.time_s for frame in video.frames()]
    assert one.get(f"/api/clips/{clip['id']}/times") == pytest.approx(shown, abs=1e-6)
    assert one.http.get(f"/api/clips/{clip['id']}/strip.jpg").content[:2] == b"\xff\xd8"
    broken = one.clip("broken.mp4")
    assert broken["state"] == "failed"
    assert "no video container" in broken["error"]
    assert broken["outcome"] == "decode_failed"


def test_a_codec_that_browsers_do_not_play_gets_a_copy_with_the_same_times(studio: Start, tmp_path: Path) -> None:
    clip_path = write_square(tmp_path / "clips" / "hevc.mp4", codec="libx265", variable=True)
    one = studio(place=clip_path.parent)
    one.settle()
    clip = one.clip("hevc.mp4")
    assert clip["play"] == "ready"
    assert "hevc" in clip["play_note"]
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(one.http.get(f"/api/clips/{clip['id']}/media").content)
    with open_video(copy) as video:
        shown = [frame.time_s for frame in video.frames()]
    assert shown == pytest.approx(one.get(f"/api/clips/{clip['id']}/times"), abs=1e-4)
    assert len(shown) == COUNT - COUNT // 3


def test_media_comes_by_ranges(studio: Start, squares: Path) -> None:
    one = studio(place=squares)
    one.settle()
    clip = next(clip for clip in one.get("/api/clips")["clips"] if clip["name"].endswith("constant.mp4"))
    whole = (squares.parent / "constant.mp4").read_bytes()
    address = f"/api/clips/{clip['id']}/media"
    part = one.http.get(address, headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, whole[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(whole)}"
    assert part.headers["content-type"] == "video/mp4"
    assert part.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in part.headers["content-security-policy"]
    assert one.http.get(address, headers={"Range": f"bytes={len(whole)}-"}).status_code == 416


def test_an_upload_is_kept_analysed_and_forgotten_by_nobody(studio: Start, tmp_path: Path) -> None:
    data = write_square(tmp_path / "up.mp4").read_bytes()
    one = studio()
    clip_id = one.http.post("/api/uploads", params={"name": "../../etc/up.mp4"}, content=data, headers=OURS).json()[
        "id"
    ]
    one.settle()
    clip = one.get(f"/api/clips/{clip_id}")
    assert (clip["name"], clip["outcome"], clip["path"]) == ("up.mp4", "scored", None)
    assert clip["verdict"]["video"] == "up.mp4"
    kept = [path for path in (tmp_path / "store").rglob("*") if path.is_file() and path.read_bytes() == data]
    assert [path.name for path in kept] == ["source"]
    assert one.http.post("/api/uploads", content=b"", headers=OURS).status_code == 422


def test_uploads_stop_at_the_limit(studio: Start, tmp_path: Path) -> None:
    from deeptrace.studio.settings import studio_limits

    one = studio(limits=studio_limits(max_mb=0.01))
    stated = one.http.post("/api/uploads", content=b"x" * 20_000, headers=OURS)
    assert (stated.status_code, stated.json()["code"]) == (413, "too_large")

    def unstated():
        yield from (b"x" * 1000 for _ in range(20))

    assert one.http.post("/api/uploads", content=unstated(), headers=OURS).status_code == 413
    assert list((tmp_path / "store" / "incoming").iterdir()) == []
    assert one.get("/api/clips")["total"] == 0


def test_only_named_folders_and_hosts_are_read(studio: Start, tmp_path: Path) -> None:
    inside = write_square(tmp_path / "clips" / "in.mp4")
    outside = write_square(tmp_path / "out.mp4")
    (tmp_path / "clips" / "link.mp4").symlink_to(outside)
    one = studio(place=inside.parent, hosts=("media.example.org",))
    for path in (outside, inside.parent / ".." / "out.mp4", inside.parent / "link.mp4", Path("/etc/passwd")):
        assert "not below a folder" in one.post("/api/clips", {"path": str(path)}, 403)["detail"]
    assert one.post("/api/clips", {"path": str(inside.parent / "none.mp4")}, 404)
    for url in ("http://169.254.169.254/x", "http://localhost/x", "file:///etc/passwd", "http://elsewhere.org/a.mp4"):
        assert one.http.post("/api/clips", json={"url": url}, headers=OURS).status_code in (403, 404, 422), url
    assert one.post("/api/clips", {"path": "a", "url": "b"}, 422)
    assert one.post("/api/clips", {"path": str(inside)}, 201)["id"] == one.clip("in.mp4")["id"]


@pytest.mark.parametrize(
    "path",
    ["/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2f..%2fapp.py", "/api/clips/1/..%2f..%2fsource.jpg"],
)
def test_no_path_leads_out(studio: Start, path: str) -> None:
    import http.client

    one = studio()
    connection = http.client.HTTPConnection(one.url.removeprefix("http://"))
    connection.request("GET", path)  # httpx would tidy the path up
    assert connection.getresponse().status in (404, 422)


def test_other_sites_cannot_use_the_readers_browser(studio: Start) -> None:
    one = studio()
    body = {"path": "/etc/passwd"}
    assert one.http.post("/api/clips", json=body).status_code == 403
    foreign = {**OURS, "Origin": "https://evil.example"}
    assert "own page" in one.http.post("/api/clips", json=body, headers=foreign).json()["detail"]
    assert one.http.get("/api/session", headers={"Host": "192.168.1.7"}).status_code == 403
    assert one.get("/api/session") == {"accounts": False, "person": {"name": "me", "role": "admin"}}
    assert "no accounts" in one.get("/api/people", 404)["detail"]
    rebound = one.http.get("/api/studio", headers={"Host": "evil.example:7870"})
    assert (rebound.status_code, rebound.json()["code"]) == (403, "bad_request")
    preflight = one.http.options("/api/clips", headers={"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in preflight.headers


def test_numbers_addresses_and_bodies_that_make_no_sense_are_declined(studio: Start, squares: Path) -> None:
    one = studio(place=squares)
    for path in (f"/api/clips/{2**63}", f"/api/clips/{2**63}/media", f"/api/clips/{2**31}/annotation"):
        assert one.http.get(path).status_code == 404
    assert one.http.get("/api/clips", params={"offset": 2**63}).status_code == 422
    edit = {"id": "e", "object": "o", "after": {"type": "trace"}}
    for body in ({"version": 2**63, "edits": [edit]}, {"version": 0, "edits": [edit, edit]}):
        assert one.post("/api/clips/1/annotation/edits", body, 422)
    deep = one.http.post("/api/import", content=b"[" * 100_000, headers=OURS)
    assert (deep.status_code, deep.json()["code"]) == (422, "unprocessable")
    for headers in ({"Host": "["}, {**OURS, "Origin": "http://["}):
        assert one.http.post("/api/import", content=b"[]", headers=headers).status_code == 403


def test_every_answer_carries_a_strict_policy(studio: Start) -> None:
    one = studio()
    for path in ("/", "/api/studio", "/static/app.css", "/nowhere"):
        policy = one.http.get(path).headers["content-security-policy"]
        assert "default-src 'none'; script-src 'self'" in policy
        assert "unsafe" not in policy


def test_clips_are_listed_by_p_filtered_and_paged(studio: Start, squares: Path, tmp_path: Path) -> None:
    base = verdict_on(squares.parent / "constant.mp4")
    several = [
        base.model_copy(update={"video": f"/clips/{number}%_.mp4", "p_fake": number / 10}) for number in range(10)
    ]
    real = Verdict.model_validate(several[0].model_dump() | {"video": "/clips/real.mp4", "label": "REAL", "traces": ()})
    one = studio(place=write_run(tmp_path / "run", [*several, real]))
    found = one.get("/api/clips", params={"limit": 4})
    assert found["total"] == 11
    assert [clip["p_fake"] for clip in found["clips"]] == [0.9, 0.8, 0.7, 0.6]
    assert one.get("/api/clips", params={"offset": 9, "order": "up"})["clips"][-1]["p_fake"] == 0.9
    assert one.get("/api/clips", params={"q": "3%_"})["total"] == 1
    assert one.get("/api/clips", params={"decision": "real"})["total"] == 1
    assert one.get("/api/clips", params={"kind": "unexpected_move"})["total"] == 10
    assert one.get("/api/clips", params={"kind": "unexpected"})["total"] == 0
    one.get("/api/clips", 422, params={"sort": "path; drop table clips"})


def test_answers_become_labels_that_eval_reads(studio: Start, squares: Path, tmp_path: Path) -> None:
    one = studio(place=squares)
    one.settle()
    constant, variable = sorted(one.get("/api/clips")["clips"], key=lambda clip: clip["name"])
    said = {"id": "a1", "says": "disagree", "note": "=1+1, a real one"}
    for _ in range(2):  # sent twice, kept once
        assert one.post(f"/api/clips/{constant['id']}/answers", said, 201)["label"] == "REAL"
    one.post(f"/api/clips/{variable['id']}/answers", {"id": "a2", "says": "agree"}, 201)
    one.post(f"/api/clips/{variable['id']}/answers", {"id": "a3", "says": "maybe"}, 422)
    out = tmp_path / "labels"
    out.mkdir()
    (out / "all_data.json").write_bytes(one.http.get("/api/export/all_data.json").content)
    samples = {Path(sample.path).name: sample for sample in read_reward_data(out)}
    assert {name: sample.label for name, sample in samples.items()} == {
        "constant.mp4": Label.REAL,
        "variable.mp4": Label.FAKE,
    }
    assert Path(samples["constant.mp4"].path).is_file()
    table = list(csv.DictReader(io.StringIO(one.http.get("/api/export/verdicts.csv").text)))
    assert [row["answer"] for row in table] == ["disagree", "agree"]
    assert table[0]["note"] == "'=1+1, a real one"  # no formula
    assert table[0]["sha256"] == hashlib.sha256((squares.parent / "constant.mp4").read_bytes()).hexdigest()
    lines = one.http.get("/api/export/verdicts.jsonl").text.splitlines()
    assert [Verdict.model_validate_json(line).label for line in lines] == [Label.FAKE, Label.FAKE]
    (tmp_path / "verdicts.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    measured = evaluate(out, split="all", predictions=tmp_path / "verdicts.jsonl", bootstrap=0)
    assert measured.result.per_video.accuracy == 50.0
    one.post(f"/api/clips/{variable['id']}/answers", {"id": "a4", "says": "none"}, 201)
    assert len(one.get("/api/export/all_data.json")) == 1


def test_annotations_go_out_and_come_back_the_same(studio: Start, tmp_path: Path) -> None:
    place = tmp_path / "clips"
    write_square(place / "a.mp4", variable=True)
    write_square(place / "sub" / "b.mp4")
    one = studio(place=place)
    one.settle()
    ids = {clip["name"]: clip["id"] for clip in one.get("/api/clips")["clips"]}
    moving = {
        "type": "trace",
        "kinds": ["unexpected_move", "object_merging"],
        "onset_s": 0.3,
        "offset_s": 1.1,
        "keys": [{"time_s": 0.3, "box": [0.1, 0.2, 0.3, 0.41]}, {"time_s": 1.0, "box": [0.2, 0.2, 0.4, 1 / 3]}],
        "explanation": HOSTILE_TEXT,
    }
    still = moving | {"kinds": [], "onset_s": 1 / 3, "offset_s": 1.7, "keys": moving["keys"][:1], "explanation": ""}
    placeless = still | {"keys": [], "kinds": ["sudden_blurring"]}
    changes = [{"id": f"e{n}", "object": f"o{n}", "after": value} for n, value in enumerate((moving, still, placeless))]
    changes.append({"id": "e9", "object": "clip", "after": {"type": "clip", "label": "FAKE", "done": True}})
    one.post(f"/api/clips/{ids['a.mp4']}/annotation/edits", {"version": 0, "edits": changes})
    real = [{"id": "r", "object": "clip", "after": {"type": "clip", "label": "REAL"}}]
    one.post(f"/api/clips/{ids['sub/b.mp4']}/annotation/edits", {"version": 0, "edits": real})
    sent = one.http.get("/api/export/all_data.json").text
    (place / "all_data.json").write_text(sent)
    sample = next(sample for sample in read_reward_data(place) if sample.path == "a.mp4")
    assert [trace.explanation for trace in sample.traces] == [HOSTILE_TEXT, "", ""]
    assert sample.traces[0].keyframes[1].box.as_tuple() == pytest.approx(moving["keys"][1]["box"])
    assert (sample.traces[0].onset_s, sample.traces[0].offset_s) == (0.3, pytest.approx(1.1))

    other = studio(place=place, store=tmp_path / "second")
    other.settle()
    said = other.post("/api/import", json.loads(sent))
    assert said == {"imported": 2, "traces": 3, "unmatched": [], "kept": 0, "refused": []}
    assert other.http.get("/api/export/all_data.json").text == sent
    assert other.post("/api/import", json.loads(sent))["kept"] == 2
    assert "row 1, faketrace_bbox" in other.post("/api/import", [{"video_id": "x", "faketrace_bbox": 3}], 422)["detail"]
    assert other.post("/api/import", [{"video_id": "nobody's"}])["unmatched"] == ["nobody's"]


def test_a_second_tab_is_told_of_the_first(studio: Start, squares: Path) -> None:
    one = studio(place=squares)
    clip_id = one.get("/api/clips")["clips"][0]["id"]
    address = f"/api/clips/{clip_id}/annotation/edits"
    trace = {"type": "trace", "onset_s": 0.0, "offset_s": 1.0}
    one.post(address, {"version": 0, "edits": [{"id": "one", "object": "o", "after": trace}]})
    late = {"version": 0, "edits": [{"id": "two", "object": "o", "after": trace | {"offset_s": 2.0}}]}
    said = one.post(address, late, 409)
    assert said["code"] == "conflict"
    assert (said["current"]["objects"]["o"]["offset_s"], said["yours"]["o"]["offset_s"]) == (1.0, 2.0)
    assert [change["client_id"] for change in one.get(address)] == ["one"]


def test_an_id_of_another_clip_is_declined_in_a_plain_line(studio: Start, squares: Path) -> None:
    one = studio(place=squares.parent)
    one.settle()
    first, second = (clip["id"] for clip in one.get("/api/clips")["clips"][:2])
    change = {"version": 0, "edits": [{"id": "one", "object": "o", "after": {"type": "trace", "onset_s": 0.0}}]}
    one.post(f"/api/clips/{first}/annotation/edits", change)
    said = one.post(f"/api/clips/{second}/annotation/edits", change, 422)
    assert said["detail"] == "edit id 'one' belongs to another annotation: give every edit an id of its own"
    one.post(f"/api/clips/{first}/answers", {"id": "a1", "says": "agree"}, 201)
    assert (
        "'a1' belongs to another clip"
        in one.post(f"/api/clips/{second}/answers", {"id": "a1", "says": "agree"}, 422)["detail"]
    )


def test_overlay_and_report_are_made_when_asked_for(studio: Start, squares: Path, tmp_path: Path) -> None:
    one = studio(place=squares)
    one.settle()
    clip_id = one.get("/api/clips")["clips"][0]["id"]
    assert one.http.get(f"/api/clips/{clip_id}/overlay.mp4").status_code == 404
    for task in ("overlay", "report"):
        one.post(f"/api/clips/{clip_id}/jobs/{task}", status=202)
    one.settle()
    assert one.get(f"/api/clips/{clip_id}")["made"] == ["overlay.mp4", "report.html"]
    (tmp_path / "o.mp4").write_bytes(one.http.get(f"/api/clips/{clip_id}/overlay.mp4").content)
    with open_video(tmp_path / "o.mp4") as video:
        assert len(list(video.frames(size=(16, 16)))) == COUNT
    report = one.http.get(f"/api/clips/{clip_id}/report.html")
    assert "attachment" in report.headers["content-disposition"]
    assert b"The square is too square." in report.content


def test_work_survives_a_restart(studio: Start, tmp_path: Path) -> None:
    from tests.studio.conftest import running

    from deeptrace.studio import StudioSettings

    place = tmp_path / "clips"
    write_square(place / "a.mp4")
    settings = StudioSettings(place=place, detector="baseline:full-frame")
    with running(settings) as one:
        one.settle()
        one.post(f"/api/clips/{one.clip('a.mp4')['id']}/answers", {"id": "x", "says": "agree", "note": "sure"}, 201)
    write_video(place / "b.mp4", moving_square(np.arange(8) / FPS), fps=FPS)
    with running(settings) as again:
        again.settle()
        assert again.clip("a.mp4")["note"] == "sure"
        assert again.get("/api/studio")["clips"] == {"all": 2, "analysed": 2, "answered": 1}
    assert settings.home == place / ".deeptrace-studio"


def test_metrics_count_by_our_own_routes_and_never_by_what_callers_write(studio: Start, tmp_path: Path) -> None:
    parser = needs("prometheus_client.parser")
    write_square(tmp_path / "clips" / "square.mp4")
    (tmp_path / "clips" / "spoilt.mp4").write_bytes(b"no video at all")
    one = studio(place=tmp_path / "clips")
    one.settle()
    number = one.clip("square.mp4")["id"]
    for path in ("/api/clips/77", "/api/clips/78", "/made/up", "/api/clips?q=made-up", "/static/made-up.js"):
        one.http.get(path)
    one.http.request("MADEUP", "/api/clips")
    trace = {"id": "made-up", "object": "o", "after": {"type": "trace", "onset_s": 0.0, "offset_s": 1.0}}
    for version in (0, 5):  # the second one is kept already
        one.post(f"/api/clips/{number}/annotation/edits", {"version": version, "edits": [trace]})
    said = one.http.get("/metrics")
    assert said.headers["content-type"].startswith("text/plain")
    assert "made" not in said.text
    samples = [sample for family in parser.text_string_to_metric_families(said.text) for sample in family.samples]
    value = {(sample.name, *sorted(sample.labels.items())): sample.value for sample in samples}
    assert {sample.labels["route"] for sample in samples if "route" in sample.labels} <= {*ROUTES, "other"}
    for route, status, count in (
        ("GET /api/clips/{clip_id}", "404", 2),
        ("POST /api/clips/{clip_id}/annotation/edits", "200", 2),
        ("GET /static/{path:path}", "404", 1),
        ("other", "404", 1),
        ("other", "403", 1),  # what is no GET has to come from our own page
    ):
        key = ("route", route), ("status", status)
        assert value["deeptrace_studio_requests_total", *key] == count, route
        answered = [found for name, found in value.items() if name[0].endswith("requests_total") and key[0] in name]
        assert value["deeptrace_studio_request_seconds_count", key[0]] == sum(answered)
    assert value["deeptrace_studio_edits",] == 1
    assert [value[f"deeptrace_studio_jobs_{state}",] for state in ("queued", "running")] == [0, 0]
    failed = one.workshop.queue.counts()["failed"]
    assert value["deeptrace_studio_jobs_failed",] == failed > 0
