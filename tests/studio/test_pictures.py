"""The pictures of the documentation: the studio on the example clips, with the default detector.

`DEEPTRACE_PICTURES=docs/images pytest -m slow tests/studio/test_pictures.py` makes them anew.
"""

from __future__ import annotations

import os
import shutil
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from tests.needs import needs_chromium
from tests.studio.conftest import SAVED, Start, needs_studio, until

needs_studio()
needs_chromium()

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


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

    def keep(page, name: str) -> None:
        page.wait_for_timeout(900)
        picture = Image.open(BytesIO(page.screenshot())).convert("RGB")
        picture.save(folder / f"studio-{name}.jpg", quality=86, subsampling=0, optimize=True)
        colours = picture.resize((64, 64)).getcolors(4096)
        assert colours is not None
        assert len(colours) > 50, "the page is nearly empty"

    page = visit(one, "/triage", viewport={"width": 1280, "height": 740})
    page.locator(".traces button").first.wait_for()
    page.get_by_role("button", name="Heat map").wait_for()
    keep(page, "triage")
    desk = visit(one, f"/annotate/{flawed['id']}", viewport={"width": 1280, "height": 860}, color_scheme="dark")
    until(desk, f"{SAVED} && document.querySelector('.editor') !== null")
    desk.get_by_role("button", name="Start from the detector's").click()
    desk.locator(".traces button", has_text="blurring").click()
    keep(desk, "annotate")
    phone = visit(one, f"/clip/{flawed['id']}", viewport={"width": 390, "height": 844})
    phone.locator(".traces button").first.wait_for(state="attached")
    keep(phone, "phone")
