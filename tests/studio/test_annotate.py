"""Annotating in a real Chromium: by mouse, by keyboard alone, through conflicts, cut connections and kill -9."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.needs import needs_chromium
from tests.reports.detection_page.conftest import HEIGHT, box_of
from tests.studio.conftest import OURS, SAVED, Start, Studio, at_frame, needs_studio, until, write_square
from tests.video.test_tracking import going

from deeptrace.data import read_reward_data
from deeptrace.schema import Category, Label
from deeptrace.video import Frame, write_video

needs_studio()
needs_chromium()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    write_square(tmp_path / "clips" / "square.mp4", variable=True)
    return tmp_path / "clips"


def open_desk(one: Studio, visit: Any, **options: Any) -> tuple[Any, int, list[float]]:
    one.settle()
    number = one.clip("square.mp4")["id"]
    page = visit(one, f"/annotate/{number}", **options)
    until(page, f"{SAVED} && document.querySelector('.editor') !== null")
    page.keyboard.press("Home")
    at_frame(page, 0)
    return page, number, one.get(f"/api/clips/{number}/times")


def forward(page: Any, index: int) -> None:
    while (here := int(page.locator(".clock").get_attribute("data-index"))) < index:
        page.keyboard.press("ArrowRight")
        at_frame(page, here + 1)


def drag(page: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    """From one place to another, in fractions of the picture."""
    area = page.locator(".editor").bounding_box()
    point = [(area["x"] + x * area["width"], area["y"] + y * area["height"]) for x, y in (start, end)]
    page.mouse.move(*point[0])
    page.mouse.down()
    page.mouse.move((point[0][0] + point[1][0]) / 2, (point[0][1] + point[1][1]) / 2)
    page.mouse.move(*point[1])
    page.mouse.up()


def saved(page: Any) -> None:
    page.wait_for_timeout(50)
    until(page, SAVED)


def only_trace(one: Studio, number: int) -> dict[str, Any]:
    objects = one.get(f"/api/clips/{number}/annotation")["objects"].values()
    (trace,) = [value for value in objects if value["type"] == "trace"]
    return trace


def test_a_moving_trace_is_marked_with_the_mouse(studio: Start, place: Path, tmp_path: Path, visit) -> None:
    one = studio(place=place)
    page, number, times = open_desk(one, visit)
    first, last = box_of(times[6]).as_tuple(), box_of(times[14]).as_tuple()
    forward(page, 6)
    drag(page, first[:2], first[2:])
    page.get_by_label("The box moves").check()
    forward(page, 14)
    page.keyboard.press("o")
    middle = [(first[side] + first[side + 2]) / 2 for side in (0, 1)]
    shift = [last[side] - first[side] for side in (0, 1)]
    drag(page, (middle[0], middle[1]), (middle[0] + shift[0], middle[1] + shift[1]))
    page.get_by_role("button", name=re.compile("Unexpected move")).first.click()
    page.locator("#explanation").fill("Nothing pushes the square.")
    page.keyboard.press("Escape")
    page.get_by_label("Offset, s").fill(f"{times[15]:.4f}")
    page.keyboard.press("Enter")
    saved(page)
    trace = only_trace(one, number)
    assert trace["kinds"] == ["unexpected_move"]
    assert (trace["onset_s"], trace["offset_s"]) == (times[6], pytest.approx(times[15]))
    assert [key["time_s"] for key in trace["keys"]] == [times[6], times[14]]
    assert trace["keys"][0]["box"] == pytest.approx(first, abs=3 / HEIGHT)
    assert trace["keys"][1]["box"] == pytest.approx(last, abs=4 / HEIGHT)
    # between the keyframes the box is where the square is
    page.keyboard.press("Escape")
    page.locator("h1").click()
    page.keyboard.press("ArrowLeft")
    at_frame(page, 13)
    page.reload()
    until(page, f"{SAVED} && document.querySelectorAll('.traces li').length === 1")
    (place / "all_data.json").write_bytes(one.http.get("/api/export/all_data.json").content)
    (sample,) = read_reward_data(place)
    assert (sample.path, sample.label) == ("square.mp4", Label.FAKE)
    assert sample.traces[0].categories == (Category.UNEXPECTED_MOVE,)
    assert len(sample.traces[0].keyframes) == 2
    again = studio(place=place, store=tmp_path / "second")
    again.settle()
    exported = json.loads((place / "all_data.json").read_text())
    assert again.post("/api/import", exported)["traces"] == 1
    assert again.get("/api/export/all_data.json") == exported


COUNT_EVENTS = """() => {
    window.counted = { pointer: 0, keys: 0, frames: 0 };
    addEventListener("pointerdown", () => { counted.pointer += 1; }, true);
    addEventListener("keydown", (event) => { counted[event.key.startsWith("Arrow") ? "frames" : "keys"] += 1; }, true);
}"""


def test_a_moving_trace_takes_two_drags_and_three_keys(studio: Start, place: Path, visit) -> None:
    """The figure in docs/studio.md, beside what other tools' manuals ask for: the events that the page really gets."""
    one = studio(place=place)
    page, number, times = open_desk(one, visit)
    first, last = box_of(times[6]).as_tuple(), box_of(times[14]).as_tuple()
    page.evaluate(COUNT_EVENTS)
    forward(page, 6)
    drag(page, first[:2], first[2:])
    page.keyboard.press(str(list(Category).index(Category.UNEXPECTED_MOVE) + 1))
    forward(page, 14)
    page.keyboard.press("o")
    page.keyboard.press("f")
    middle = [(first[side] + first[side + 2]) / 2 for side in (0, 1)]
    drag(page, (middle[0], middle[1]), (middle[0] + last[0] - first[0], middle[1] + last[1] - first[1]))
    saved(page)
    trace = only_trace(one, number)
    assert trace["kinds"] == ["unexpected_move"]
    assert (trace["onset_s"], trace["offset_s"]) == (times[6], pytest.approx(times[15]))
    assert [key["time_s"] for key in trace["keys"]] == [times[6], times[14]]
    for key, wanted in zip(trace["keys"], (first, last), strict=True):
        assert key["box"] == pytest.approx(wanted, abs=4 / HEIGHT)
    assert page.evaluate("counted") == {"pointer": 2, "keys": 3, "frames": 14}


def test_a_box_follows_what_is_in_it(studio: Start, tmp_path: Path, visit) -> None:
    import httpx

    frames = going(36)
    pictures = [Frame(frame.time_s, np.repeat(frame.image[..., None], 3, axis=2)) for frame, _ in frames]
    (tmp_path / "clips").mkdir()
    write_video(tmp_path / "clips" / "square.mp4", pictures, fps=25, crf=8)
    one = studio(place=tmp_path / "clips")
    page, number, times = open_desk(one, visit)
    first = frames[0][1].as_tuple()
    drag(page, first[:2], first[2:])
    forward(page, 34)
    page.keyboard.press("o")
    page.keyboard.press("Home")
    at_frame(page, 0)
    page.keyboard.press("v")
    page.get_by_text(f"followed to {times[34]:.2f} s").wait_for()
    saved(page)
    trace = only_trace(one, number)
    assert trace["keys"][0]["time_s"] == 0
    assert trace["keys"][-1]["time_s"] == times[34]
    assert {key["time_s"] for key in trace["keys"]} <= set(times)
    assert 2 < len(trace["keys"]) < 20
    for key in trace["keys"]:
        assert key["box"] == pytest.approx(frames[times.index(key["time_s"])][1].as_tuple(), abs=0.03)
    page.keyboard.press("Control+z")  # all of it is one step
    saved(page)
    assert len(only_trace(one, number)["keys"]) == 1
    # it ends where the box is off, which stays as it is
    at_frame(page, 0)
    forward(page, 12)
    page.keyboard.press("h")
    page.keyboard.press("v")
    page.get_by_text("the box is off here").wait_for()
    page.keyboard.press("Home")
    at_frame(page, 0)
    page.keyboard.press("v")
    page.get_by_text(f"followed to {times[11]:.2f} s").wait_for()
    saved(page)
    keys = only_trace(one, number)["keys"]
    assert [key["time_s"] for key in keys if key.get("off")] == [times[12]] == [keys[-1]["time_s"]]
    assert len(keys) > 2
    refused = {"key": {"time_s": 1e5, "box": [0.1, 0.1, 0.5, 0.5]}, "until_s": 1e5 + 1}
    assert one.post(f"/api/clips/{number}/track", refused)["keys"] == []
    # whoever asks for many at once does not have the server's threads to themselves
    many = {"key": {"time_s": 0, "box": [0, 0, 1, 1]}, "until_s": 9}

    def asked(_number: int) -> int:
        return int(httpx.post(f"{one.url}/api/clips/{number}/track", json=many, headers=OURS, timeout=60).status_code)

    with ThreadPoolExecutor(30) as pool:
        said = list(pool.map(asked, range(30)))
    assert set(said) == {200, 429}
    assert one.post(f"/api/clips/{number}/track", many)["until_s"] == times[-1]


def test_a_following_process_that_is_killed_costs_nobody_an_answer(studio: Start, squares: Path) -> None:
    one = studio(place=squares)
    one.settle()
    clip = next(clip["id"] for clip in one.get("/api/clips")["clips"] if "constant" in clip["name"])
    asked = {"key": {"time_s": 0, "box": [0.1, 0.1, 0.5, 0.5]}, "until_s": 2}
    before = one.post(f"/api/clips/{clip}/track", asked)
    following = one.workshop._following
    (pid,) = following.pids
    os.kill(pid, signal.SIGSTOP)  # in the middle of its work, however quick it is
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(one.post, f"/api/clips/{clip}/track", asked)
        deadline = time.monotonic() + 30
        while not following.busy:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.kill(pid, signal.SIGKILL)
        assert answer.result(60) == before, "another process took it up"
    assert pid not in following.pids
    assert one.get(f"/api/clips/{clip}/annotation")["version"] == 0, "what is followed is not kept by itself"


def test_a_box_is_off_for_a_while(studio: Start, place: Path, visit) -> None:
    """One trace: marked, off from one frame to another, undone and done again, followed up to where it is off."""
    one = studio(place=place)
    page, number, times = open_desk(one, visit)
    box = box_of(times[4]).as_tuple()
    forward(page, 4)
    drag(page, box[:2], box[2:])
    forward(page, 18)
    page.keyboard.press("o")
    page.keyboard.press("Home")
    at_frame(page, 0)
    forward(page, 8)
    shown = page.locator("rect.box")
    assert shown.count() == 1
    page.keyboard.press("h")
    until(page, "document.querySelector('rect.box') === null")
    forward(page, 12)
    assert shown.count() == 0
    page.get_by_role("button", name="Off: on from here").click()
    shown.wait_for(state="attached")
    saved(page)
    keys = only_trace(one, number)["keys"]
    assert [(key["time_s"], key.get("off", False)) for key in keys] == [
        (times[4], False), (times[8], True), (times[12], False),
    ]  # fmt: skip
    assert f"off {times[8]:.2f}–{times[12]:.2f} s" in page.locator(".traces button").text_content()
    # the timeline is thin where it is off: the pixels above that line are those of an empty lane
    tints = """(seconds) => {
        const canvas = document.querySelector(".timeline canvas"), scale = canvas.width / canvas.clientWidth;
        const row = canvas.getContext("2d").getImageData(0, Math.round(20 * scale), canvas.width, 1).data;
        const end = Number(canvas.getAttribute("aria-valuemax"));
        const at = (time) => 4 * Math.round(canvas.width * time / end);
        return seconds.map((time) => [...row.slice(at(time), at(time) + 4)].join());
    }"""
    on, off, back, empty = page.evaluate(tints, [times[at] + 0.02 for at in (6, 10, 14, 19)])
    assert on == back != off == empty
    # all of it is undone and done again step by step
    page.locator("h1").click()
    for _ in range(2):
        page.keyboard.press("Control+z")
    saved(page)
    assert len(only_trace(one, number)["keys"]) == 1
    for _ in range(2):
        page.keyboard.press("Control+Shift+z")
    saved(page)
    assert only_trace(one, number)["keys"] == keys
    # a box that only comes and goes stands still: where it is moved to, it is all the time
    page.keyboard.press("d")
    saved(page)
    after = only_trace(one, number)["keys"]
    assert [key["box"][0] for key in after] == [pytest.approx(box[0] + 0.01, abs=4 / HEIGHT)] * 3
    assert [key.get("off") for key in after] == [None, True, None]
    # pressed twice on one frame, it was nothing
    forward(page, 15)
    page.keyboard.press("h")
    page.keyboard.press("h")
    saved(page)
    assert only_trace(one, number)["keys"] == after
    page.keyboard.press("?")
    page.get_by_text("the box is off from this frame").wait_for()


def test_a_small_box_is_drawn_on_a_larger_picture(studio: Start, place: Path, visit) -> None:
    one = studio(place=place)
    page, number, _ = open_desk(one, visit)
    before = page.locator(".stage").bounding_box()
    page.get_by_label("Zoom").select_option("4")
    page.keyboard.press("Escape")
    page.locator(".zoom.in").wait_for()
    after = page.locator(".stage").bounding_box()
    assert after["width"] == pytest.approx(4 * page.locator(".zoom").bounding_box()["width"], rel=0.01)
    assert after["width"] > 2.5 * before["width"]
    # in the middle of what is seen: the middle of the picture
    drag(page, (0.48, 0.48), (0.52, 0.53))
    saved(page)
    assert only_trace(one, number)["keys"][0]["box"] == pytest.approx([0.48, 0.48, 0.52, 0.53], abs=0.002)
    page.locator("h1").click()
    for _ in range(6):
        page.keyboard.press("-")
    until(page, "document.querySelector('.zoom.in') === null")
    page.keyboard.press("+")
    page.locator(".zoom.in").wait_for()


def test_a_trace_is_marked_by_keyboard_alone(studio: Start, place: Path, visit) -> None:
    one = studio(place=place)
    page, number, times = open_desk(one, visit)
    forward(page, 4)
    page.keyboard.press("t")
    for key in ("2", "5", "d", "d", "w", "S"):
        page.keyboard.press(key)
    forward(page, 9)
    page.keyboard.press("o")
    page.keyboard.press("x")
    page.keyboard.type("g r 1: letters here are letters")
    page.keyboard.press("Escape")
    forward(page, 10)
    page.keyboard.press("f")
    page.keyboard.press("a")
    page.keyboard.press("r")
    saved(page)
    trace = only_trace(one, number)
    assert trace["kinds"] == ["sudden_blurring", "object_merging"]
    assert (trace["onset_s"], trace["offset_s"]) == (times[4], pytest.approx(times[10]))
    assert trace["explanation"] == "g r 1: letters here are letters"
    assert trace["keys"][0]["box"] == pytest.approx([0.37, 0.34, 0.67, 0.65], abs=1e-6)
    assert trace["keys"][1] == {"time_s": times[10], "box": pytest.approx([0.36, 0.34, 0.66, 0.65], abs=1e-6)}
    assert one.get(f"/api/clips/{number}/annotation")["objects"]["clip"]["label"] == "REAL"
    page.keyboard.press("Delete")
    saved(page)
    assert [v["type"] for v in one.get(f"/api/clips/{number}/annotation")["objects"].values()] == ["clip"]
    page.keyboard.press("Control+z")
    saved(page)
    assert only_trace(one, number) == trace
    for _ in range(30):
        page.keyboard.press("Control+z")
    saved(page)
    assert one.get(f"/api/clips/{number}/annotation")["objects"] == {}
    for _ in range(30):
        page.keyboard.press("Control+Shift+z")
    saved(page)
    # the removal is the last of what is done again
    assert list(one.get(f"/api/clips/{number}/annotation")["objects"]) == ["clip"]


def test_the_detectors_traces_are_taken_over_and_marked_as_such(studio: Start, place: Path, visit) -> None:
    one = studio(place=place)
    page, number, _ = open_desk(one, visit)
    page.get_by_role("button", name="Start from the detector's").click()
    saved(page)
    assert only_trace(one, number)["by"] == "detector"
    assert "(detector)" in page.locator(".traces button").text_content()


def test_nothing_can_be_marked_before_the_annotation_is_here(studio: Start, place: Path, visit) -> None:
    """An edit made earlier would not know its version, and the server would refuse it."""
    one = studio(place=place)
    one.settle()
    number = one.clip("square.mp4")["id"]
    page = visit(one, "/triage")
    held: list[Any] = []
    page.route("**/annotation", lambda route: held.append(route))
    page.goto(one.url + f"/annotate/{number}")
    take_over = page.get_by_role("button", name="Start from the detector's")
    take_over.wait_for()
    assert take_over.is_disabled()
    assert page.get_by_role("button", name="New trace").is_disabled()
    until(page, "document.querySelector('.saved').dataset.state === 'loading'")
    page.keyboard.press("t")
    page.keyboard.press("g")
    while not held:
        page.wait_for_timeout(20)
    held[0].continue_()
    take_over.click()
    saved(page)
    assert only_trace(one, number)["by"] == "detector"
    assert one.get(f"/api/clips/{number}/annotation")["version"] == 2


def test_two_tabs_lose_nothing(studio: Start, place: Path, visit) -> None:
    one = studio(place=place)
    conflict = {"allowed": "409"}
    first, number, _ = open_desk(one, visit, **conflict)
    second = visit(one, f"/annotate/{number}", context=first.context, **conflict)
    until(second, SAVED)
    first.keyboard.press("t")
    saved(first)
    second.keyboard.press("t")
    second.get_by_text("This annotation was changed elsewhere").wait_for()
    assert second.locator(".versions tbody tr").count() >= 2
    second.get_by_role("button", name="Put mine on top").click()
    saved(second)
    objects = one.get(f"/api/clips/{number}/annotation")["objects"]
    assert sorted(value["type"] for value in objects.values()) == ["clip", "trace", "trace"]
    first.keyboard.press("2")
    first.get_by_text("This annotation was changed elsewhere").wait_for()
    first.get_by_role("button", name="Take what is saved there").click()
    saved(first)
    assert first.locator(".traces li").count() == 2
    assert one.get(f"/api/clips/{number}/annotation")["objects"] == objects


def test_a_cut_connection_and_a_closed_tab_lose_nothing(studio: Start, place: Path, visit) -> None:
    one = studio(place=place)
    page, number, _ = open_desk(one, visit, allowed="net::ERR_")
    page.context.set_offline(True)
    page.keyboard.press("t")
    page.keyboard.press("3")
    until(page, "document.querySelector('.saved').textContent.includes('3 changes kept in this browser')")
    context = page.context
    page.close()
    context.set_offline(False)
    assert one.get(f"/api/clips/{number}/annotation")["version"] == 0
    again = visit(one, f"/annotate/{number}", context=context)
    until(again, f"{SAVED} && Number(document.querySelector('.saved').dataset.version) >= 3")
    assert only_trace(one, number)["kinds"] == ["object_trajectory"]


def test_what_a_tab_could_not_send_is_taken_over_when_it_closes(studio: Start, place: Path, visit) -> None:
    """The other tab is open already: it may not ask only once, as it loads, whether the first one still lives."""
    one = studio(place=place)
    first, number, _ = open_desk(one, visit, allowed="net::ERR_")
    first.route("**/annotation/edits", lambda route: route.abort())
    first.keyboard.press("t")
    first.keyboard.press("3")
    until(first, "document.querySelector('.saved').textContent.includes('3 changes kept in this browser')")
    second = visit(one, f"/annotate/{number}", context=first.context)
    until(second, SAVED)
    assert second.locator(".saved").get_attribute("data-version") == "0"
    first.close()
    until(second, f"{SAVED} && Number(document.querySelector('.saved').dataset.version) >= 3")
    assert only_trace(one, number)["kinds"] == ["object_trajectory"]


@pytest.mark.slow
def test_what_was_confirmed_survives_kill_9(place: Path, tmp_path: Path) -> None:
    """Twenty kills of the whole server at random moments, with edits on their way."""
    import httpx

    rng = random.Random(20261129)
    confirmed: dict[str, dict[str, Any]] = {}
    sent: set[str] = set()
    version = 0
    for attempt in range(20):
        process, url, number = start_command(place)
        with httpx.Client(base_url=url, headers={"X-Deeptrace-Studio": "1"}, trust_env=False, timeout=5) as http:
            address = f"/api/clips/{number}/annotation"
            found = http.get(address).json()
            assert confirmed.items() <= found["objects"].items(), f"lost at kill {attempt}"
            assert set(found["objects"]) <= sent
            version, until_s = found["version"], time.monotonic() + rng.uniform(0.02, 0.4)
            killer = subprocess.Popen(["sh", "-c", f"sleep {until_s - time.monotonic():.3f}; kill -9 {process.pid}"])
            try:
                while True:
                    name = f"o{len(sent)}"
                    trace = {"type": "trace", "onset_s": 0.0, "offset_s": rng.uniform(0.1, 2.0)}
                    sent.add(name)
                    body = {"version": version, "edits": [{"id": f"e-{name}", "object": name, "after": trace}]}
                    said = http.post(f"{address}/edits", json=body)
                    assert said.status_code == 200, said.text
                    version, confirmed[name] = said.json()["version"], said.json()["objects"][name]
            except httpx.TransportError:
                pass  # killed; what this last one came to, nobody was told
            killer.wait()
            process.wait()
    assert len(confirmed) > 40


def start_command(place: Path) -> tuple[subprocess.Popen[str], str, int]:
    """`deeptrace studio` as a process of its own; its address, and the number of its first clip."""
    import httpx

    line = [
        sys.executable,
        "-m",
        "deeptrace.cli.main",
        "studio",
        str(place),
        "--port",
        "0",
        "--detector",
        "baseline:full-frame",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(line, stderr=subprocess.PIPE, text=True, env=environment)
    assert process.stderr is not None
    said = process.stderr.readline()
    url = re.search(r"http://\S+", said)
    assert url is not None, said
    clips = httpx.get(f"{url[0]}/api/clips", trust_env=False).json()["clips"]
    return process, url[0], clips[0]["id"]


def test_the_command_says_where_it_is_and_ends_when_asked(place: Path) -> None:
    process, url, number = start_command(place)
    assert url.startswith("http://127.0.0.1:")
    assert number == 1
    process.send_signal(signal.SIGINT)
    assert process.wait(20) in (0, -signal.SIGINT, 130)
    assert process.stderr is not None
    assert "Traceback" not in process.stderr.read()
