"""Clicks and keys that annotations take in `deeptrace studio`, counted in Chromium, beside what other tools ask for.

    python benchmarks/studio_clicks.py [--data ../shared/corpus] [--clips 10]

On ten generated clips, one of each generator, every true trace is marked anew by mouse and keyboard: go to its first
frame, draw the box, press its kinds, go to its last frame, `O`; where the box before is in the way of the drawing,
`Esc` first. The page counts each press of the mouse and each key that it gets, but for the steps through the frames
(arrows, Home), which every tool needs. Explanations are not written. What is saved is compared with the trace that was
to be marked: box to within 3 pixels of the screen, times to the frame.

Of the others it is what their manuals say, by a formula (read on 2026-11-30; nobody has counted them at work):

CVAT, "Track mode (basics)": rectangle, label (a list to open, a choice), *Track*, draw: 5 clicks; 1 for each kind
    beyond the first (a checkbox), 1 for each further keyframe (adjust the box); `O` for outside at the end: 1 key.
Label Studio, "Video Object Detection and Tracking": label, draw, *Toggle Interpolation* at the end: 3 clicks; 1 for
    each kind beyond the first, 1 for each further keyframe.

Needs the studio's extra, playwright and a Chromium.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from deeptrace.data import read_reward_data
from deeptrace.schema import Category, Label, Sample, Trace
from deeptrace.studio import StudioSettings

COUNT = """() => {
    window.counted = { pointer: 0, keys: 0 };
    addEventListener("pointerdown", () => { counted.pointer += 1; }, true);
    addEventListener("keydown", (event) => { if (!/^(Arrow|Home|Shift)/.test(event.key)) counted.keys += 1; }, true);
}"""
SHOWN = "Number(document.querySelector('.clock')?.dataset.index ?? -1)"
SAVED = "document.querySelector('.saved')?.dataset.state === 'saved'"
LIMIT_S = 180.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "corpus")
    parser.add_argument("--clips", type=int, default=10)
    asked = parser.parse_args()
    if not (asked.data / "all_data.json").is_file():
        print(f"{asked.data}: no annotated clips there. Name them with --data.", file=sys.stderr)
        return 2
    chosen = chosen_clips(asked.data, asked.clips)
    rows = counted_clips(chosen, asked.data)
    show(chosen, rows)
    return 0


def chosen_clips(root: Path, most: int) -> list[Sample]:
    """The first generated clip of each generator whose traces all have a box and times, by name."""
    found: dict[str, Sample] = {}
    for sample in sorted(read_reward_data(root), key=lambda one: one.path):
        whole = bool(sample.traces) and all(one.box and one.interval and one.categories for one in sample.traces)
        if sample.label is Label.FAKE and whole and (root / sample.path).is_file():
            found.setdefault(sample.source or "", sample)
    return list(found.values())[:most]


def counted_clips(chosen: list[Sample], root: Path) -> list[tuple[int, int]]:
    """Clicks and keys that each clip took."""
    import httpx
    import uvicorn
    from playwright.sync_api import sync_playwright

    from deeptrace.studio.app import StudioApi
    from deeptrace.studio.workshop import Workshop

    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch) / "clips"
        place.mkdir()
        for sample in chosen:
            shutil.copy(root / sample.path, place / Path(sample.path).name)
        api = StudioApi(Workshop(StudioSettings(place=place, detector="baseline:center-box")))
        server = uvicorn.Server(uvicorn.Config(api.asgi, port=0, log_config=None, lifespan="on"))
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            while not server.started:
                time.sleep(0.05)
            url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
            with httpx.Client(base_url=url, timeout=60, trust_env=False) as http, sync_playwright() as playwright:
                while {"queued", "running"} & api.workshop.queue.counts().keys():
                    time.sleep(0.2)
                numbers = {clip["name"]: clip["id"] for clip in http.get("/api/clips").json()["clips"]}
                browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
                page = browser.new_page(viewport={"width": 1280, "height": 800})
                page.set_default_timeout(LIMIT_S * 1000)
                rows = []
                for sample in chosen:
                    rows.append(annotated(page, http, url, numbers[Path(sample.path).name], sample))
                    print(f"{sample.video_id}: {len(sample.traces)} traces, {rows[-1]}", file=sys.stderr)
                browser.close()
                return rows
        finally:
            server.should_exit = True
            thread.join(30)


def annotated(page: Any, http: Any, url: str, number: int, sample: Sample) -> tuple[int, int]:
    """Mark every trace of a clip; clicks and keys."""
    page.goto(f"{url}/annotate/{number}")
    until(page, f"{SAVED} && document.querySelector('.editor') !== null && {SHOWN} === 0")
    page.evaluate(COUNT)
    times = http.get(f"/api/clips/{number}/times").json()
    before: tuple[Trace, int, int] | None = None
    for trace in sorted(sample.traces, key=lambda one: (one.onset_s or 0.0, one.offset_s or 0.0)):
        first, last = frames_of(trace, times)
        to_frame(page, first)
        x0, y0, x1, y1 = trace.box.as_tuple()  # type: ignore[union-attr]
        if before is not None and before[1] <= first <= before[2]:
            bx0, by0, bx1, by1 = before[0].box.as_tuple()  # type: ignore[union-attr]
            if bx0 - 0.02 <= x0 <= bx1 + 0.02 and by0 - 0.02 <= y0 <= by1 + 0.02:
                page.keyboard.press("Escape")
        drag(page, (x0, y0), (x1, y1))
        for kind in trace.categories:
            page.keyboard.press(str(list(Category).index(kind) + 1))
        to_frame(page, last)
        page.keyboard.press("o")
        before = (trace, first, last)
    until(page, SAVED)
    time.sleep(0.3)
    until(page, SAVED)
    check(http.get(f"/api/clips/{number}/annotation").json()["objects"], sample, times, page)
    counted = page.evaluate("counted")
    return counted["pointer"], counted["keys"]


def check(objects: dict[str, Any], sample: Sample, times: list[float], page: Any) -> None:
    """What was saved is what was to be marked; else the figures would be of something else."""
    area = page.locator(".editor").bounding_box()
    made = [value for value in objects.values() if value["type"] == "trace"]
    assert len(made) == len(sample.traces), (sample.video_id, len(made))
    for trace in sample.traces:
        first, last = frames_of(trace, times)
        end_s = times[last + 1] if last + 1 < len(times) else None
        same = [
            one
            for one in made
            if one["onset_s"] == times[first]
            and (end_s is None or abs(one["offset_s"] - end_s) < 1e-4)
            and one["kinds"] == [kind.value for kind in trace.categories]
            and all(
                abs(a - b) * area["width"] <= 3
                for a, b in zip(one["keys"][0]["box"], trace.box.as_tuple(), strict=True)  # type: ignore[union-attr]
            )
        ]
        assert same, (sample.video_id, trace, made)


def frames_of(trace: Trace, times: list[float]) -> tuple[int, int]:
    """The first frame on the screen at its onset, and the last before its end."""
    first = max(at for at, time_s in enumerate(times) if time_s <= (trace.onset_s or 0.0) + 1e-3)
    end = trace.offset_s or 0.0
    return first, max([at for at, time_s in enumerate(times) if time_s < end - 1e-3] + [first])


def to_frame(page: Any, index: int) -> None:
    """By steps of ten frames and of one, forward or back."""
    deadline = time.monotonic() + LIMIT_S
    while (here := int(page.evaluate(SHOWN))) != index:
        assert time.monotonic() < deadline, (here, index)
        ten, way = abs(index - here) >= 10, 1 if index > here else -1
        page.keyboard.press(f"{'Shift+' if ten else ''}Arrow{'Right' if way > 0 else 'Left'}")
        until(page, f"{SHOWN} === {here + way * (10 if ten else 1)} && !document.querySelector('video').seeking")


def drag(page: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    area = page.locator(".editor").bounding_box()
    edge = 0.5  # of a pixel: a press on the very border belongs to what is beside it
    points = [
        (
            area["x"] + min(max(x * area["width"], edge), area["width"] - edge),
            area["y"] + min(max(y * area["height"], edge), area["height"] - edge),
        )
        for x, y in (start, end)
    ]
    page.mouse.move(*points[0])
    page.mouse.down()
    page.mouse.move((points[0][0] + points[1][0]) / 2, (points[0][1] + points[1][1]) / 2)
    page.mouse.move(*points[1])
    page.mouse.up()
    time.sleep(0.1)


def until(page: Any, expression: str) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, expression
        page.wait_for_timeout(20)


def show(chosen: list[Sample], rows: list[tuple[int, int]]) -> None:
    """The table, in all and a trace."""
    traces = sum(len(sample.traces) for sample in chosen)
    further = sum(len(trace.categories) - 1 for sample in chosen for trace in sample.traces)
    keyframes = sum(max(len(trace.keyframes) - 1, 0) for sample in chosen for trace in sample.traces)
    here = (sum(row[0] for row in rows), sum(row[1] for row in rows))
    tools = {
        "here, counted": here,
        "CVAT, by its manual": (5 * traces + further + keyframes, traces),
        "Label Studio, by its manual": (3 * traces + further + keyframes, 0),
    }
    print(f"{len(chosen)} clips, {traces} traces, {traces + further} kinds")
    print(f"{'':28s}{'clicks':>8s}{'keys':>8s}{'a trace':>16s}")
    for name, (clicks, keys) in tools.items():
        print(f"{name:28s}{clicks:8d}{keys:8d}{clicks / traces:9.1f} +{keys / traces:5.1f}")


if __name__ == "__main__":
    sys.exit(main())
