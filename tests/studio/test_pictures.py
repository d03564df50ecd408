"""The pictures of the documentation: the studio on the example clips, with the default detector.

`DEEPTRACE_PICTURES=docs/images pytest -m slow tests/studio/test_pictures.py` makes them anew.
"""

from __future__ import annotations

import os
import shutil
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.needs import needs_chromium
from tests.studio.conftest import OURS, PASSWORD, SAVED, Start, client, needs_studio, team, until

from deeptrace.benchmark.run import evaluate
from deeptrace.data import read_reward_data

needs_studio()
needs_chromium()

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def kept(page: Any, name: str, folder: Path) -> None:
    """Keep a picture of the page, which shows something."""
    page.wait_for_timeout(900)
    picture = Image.open(BytesIO(page.screenshot())).convert("RGB")
    picture.save(folder / f"studio-{name}.jpg", quality=86, subsampling=0, optimize=True)
    colours = picture.resize((64, 64)).getcolors(4096)
    assert colours is not None
    assert len(colours) > 50, "the page is nearly empty"


@pytest.mark.slow
def test_truth_beside_two_detectors(studio: Start, tmp_path: Path, visit) -> None:
    for name in ("coffee.mp4", "coffee_trace.mp4", "all_data.json"):
        shutil.copy(EXAMPLES / name, tmp_path)
    runs = [tmp_path / name for name in ("tracenet", "center-box")]
    for run, detector in zip(runs, ("tracenet", "baseline:center-box"), strict=True):
        evaluate(tmp_path, split="all", detector=detector, out=run, bootstrap=0)
    one = studio(data=tmp_path, predictions=tuple(runs))
    folder = Path(os.environ.get("DEEPTRACE_PICTURES", tmp_path))
    page = visit(one, "/explore?video=coffee_trace", viewport={"width": 1280, "height": 860})
    until(
        page,
        "document.querySelectorAll('.boxes rect.box').length > 1 && document.querySelector('video').readyState > 1",
    )
    kept(page, "explore", folder)


@pytest.mark.slow
def test_the_three_pages_on_the_examples(studio: Start, tmp_path: Path, visit) -> None:
    (tmp_path / "clips").mkdir()
    for name in ("coffee.mp4", "coffee_trace.mp4"):
        shutil.copy(EXAMPLES / name, tmp_path / "clips")
    one = studio(place=tmp_path / "clips", detector="tracenet")
    one.settle()
    flawed = one.clip("coffee_trace.mp4")
    assert flawed["decision"] in ("generated", "unclear")
    folder = Path(os.environ.get("DEEPTRACE_PICTURES", tmp_path))

    page = visit(one, "/triage", viewport={"width": 1280, "height": 740})
    page.locator(".traces button").first.wait_for()
    page.get_by_role("button", name="Heat map").wait_for()
    kept(page, "triage", folder)
    desk = visit(one, f"/annotate/{flawed['id']}", viewport={"width": 1280, "height": 860}, color_scheme="dark")
    until(desk, f"{SAVED} && document.querySelector('.editor') !== null")
    desk.get_by_role("button", name="Start from the detector's").click()
    desk.locator(".traces button", has_text="blurring").click()
    kept(desk, "annotate", folder)
    phone = visit(one, f"/clip/{flawed['id']}", viewport={"width": 390, "height": 844})
    phone.locator(".traces button").first.wait_for(state="attached")
    kept(phone, "phone", folder)


@pytest.mark.slow
def test_two_rounds_of_the_example(studio: Start, tmp_path: Path, visit) -> None:
    from deeptrace.studio.accounts import Role

    (tmp_path / "clips").mkdir()
    shutil.copy(EXAMPLES / "coffee_trace.mp4", tmp_path / "clips")
    one = studio(place=tmp_path / "clips", **team(tmp_path, more={"ines": Role.ANNOTATOR, "jonas": Role.ANNOTATOR}))
    one.settle()
    (true,) = (trace for sample in read_reward_data(EXAMPLES) for trace in sample.traces)
    x0, y0, x1, y1 = true.box.as_tuple()
    near = (x0 + 0.02, y0 + 0.05, x1 + 0.03, y1 - 0.03)
    wanted = [
        ((x0, y0 + 0.02, x1, y1), true.onset_s, true.offset_s, true.explanation),
        (near, true.onset_s + 0.2, true.offset_s - 0.4, ""),
    ]
    for name, (box, onset, offset, words) in zip(("ines", "jonas"), wanted, strict=True):
        trace = {"type": "trace", "kinds": ["sudden_blurring"], "onset_s": onset, "offset_s": offset}
        trace |= {"keys": [{"time_s": onset, "box": box}], "explanation": words}
        made = {f"{name}1": trace, "clip": {"type": "clip", "label": "FAKE", "done": True}}
        changes = [{"id": f"{name}-{key}", "object": key, "after": value} for key, value in made.items()]
        with client(one, name) as http:
            said = http.post("/api/clips/1/annotation/edits", json={"version": 0, "edits": changes}, headers=OURS)
            assert said.status_code == 200
    page = visit(one, "/review/1", viewport={"width": 1280, "height": 900})
    page.get_by_label("Name").fill("reviewer")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("button", name="Take", exact=True).first.click()
    until(page, f"{SAVED} && document.querySelector('video').readyState > 1")
    until(page, "document.querySelectorAll('.boxes rect.box').length === 3")
    page.evaluate("scrollTo(0, 0)")
    kept(page, "review", Path(os.environ.get("DEEPTRACE_PICTURES", tmp_path)))
