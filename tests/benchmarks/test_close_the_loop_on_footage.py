"""The parts of the closed loop on footage, on camera clips made here, and a run of it at tiny size."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from tests.needs import needs

torch = needs("torch")
needs("skimage")


def walk(seed: int, count: int = 24) -> np.ndarray:
    """(count, 72, 100, 3) uint8: the camera moves over a photograph."""
    from skimage import data

    photo = data.coffee()
    x, y = 20 + 40 * seed % 300, 30 + 17 * seed % 200
    return np.stack([photo[y : y + 72, x + 3 * k : x + 3 * k + 100] for k in range(count)])


@pytest.fixture(scope="module")
def footage():
    from closing_the_loop.footage import Footage

    return Footage([walk(seed) for seed in range(6)])


def test_crops_move_and_the_condition_carries_the_first_frame_to_where_the_camera_goes(footage):
    from closing_the_loop.world import FRAMES, SIDE

    scenes = footage.draw(np.random.default_rng(0), 8)
    assert scenes.clips.shape == (8, FRAMES, SIDE, SIDE, 3)
    right = scenes.clips.astype(float) / 255
    still = right[:, :1].repeat(FRAMES, axis=1)
    carried = (scenes.condition.first[:, None] + scenes.condition.carried).permute(0, 1, 3, 4, 2).numpy()
    inside = slice(10, -10)  # what the camera uncovers at the border cannot be carried there
    errors = [np.abs(one - right)[:, 4, inside, inside].mean() for one in (carried, still)]
    assert errors[0] < 0.5 * errors[1]
    assert np.allclose(carried[:, 0], right[:, 0], atol=1e-5)


def test_the_same_part_is_cut_out_of_both_clips(footage):
    from closing_the_loop.footage import cropped

    clip = footage.clips[0]
    one, other = cropped((clip, 255 - clip), np.random.default_rng(1))
    assert np.abs(one.astype(int) + other - 255).max() <= 1


def test_nothing_of_footage_is_left_when_all_is_done_anew_and_nearly_all_when_little_is():
    """For data of one point the exact velocity is known: what is redone ends there, the rest of the way is kept."""
    from closing_the_loop.generator import CELLS, Condition, regenerated, sample
    from closing_the_loop.world import FRAMES, SIDE

    class Still(torch.nn.Module):
        def forward(self, x, t, condition):
            return torch.zeros_like(x)

    blank = Condition(
        torch.zeros(1, 3, SIDE, SIDE), torch.zeros(1, 2, FRAMES, SIDE, SIDE), torch.zeros(1, FRAMES, 3, SIDE, SIDE)
    )
    data = torch.full((1, FRAMES, 48, CELLS, CELLS), 3.0)
    assert torch.equal(regenerated(Still(), data, blank, 5, redone=8), sample(Still(), blank, 5))
    assert float(regenerated(Still(), data, blank, 5, redone=2).mean()) == pytest.approx(3 * 6 / 8, abs=0.02)


def test_frechet_distance_is_that_of_normal_distributions():
    from closing_the_loop.unseen import frechet_of

    rng = np.random.default_rng(0)
    one, other = rng.normal(0, 1, (20000, 3)), rng.normal([3, 0, 0], 2, (20000, 3))
    assert frechet_of(one, one) == pytest.approx(0, abs=1e-4)
    assert frechet_of(one, other) == pytest.approx((9 + 3 * (2 - 1) ** 2) / 2**2, rel=0.05)


def test_every_change_leaves_a_clip_of_its_shape_and_all_but_one_change_it():
    from closing_the_loop.unseen import CHANGES, changed
    from closing_the_loop.world import FRAMES, SIDE

    rng = np.random.default_rng(2)
    clip, other = (rng.integers(0, 256, (FRAMES, SIDE, SIDE, 3)).astype(np.uint8) for _ in range(2))
    for change in CHANGES:
        made = changed(clip, other, change, rng)
        assert made.shape == clip.shape
        assert np.array_equal(made, clip) == (change == "as it is")


def test_the_rule_stops_where_what_is_watched_falls_and_not_where_it_wavers():
    from closing_the_loop.footage_tables import stop_at

    rng = np.random.default_rng(3)
    start = rng.normal(0, 1, (50, 2))
    noise = [rng.normal(0, 0.1, (50, 2)) * [1, 0] for _ in range(4)]
    rising = [start + np.array([0.2, 0.0]) * k + e for k, e in enumerate(noise)]
    assert stop_at(rising) == 3
    assert stop_at([*rising[:2], start - 1 + noise[2], start + 5 + noise[3]]) == 1
    assert stop_at([start, start - 1 + noise[0]]) == 0
    stilled = start + np.array([5.0, -1.0])
    assert stop_at([start, start + np.array([0.5, 0.0]), stilled]) == 1


def test_win_rates_count_the_pairs_that_were_told_apart():
    from closing_the_loop.blind import win_rates

    judged = [("dpo", "A", "A"), ("dpo", "B", "A"), ("dpo", "same", "B"), ("grpo", "B", "B"), ("grpo", "A", "A")]
    found = win_rates(judged)
    assert found["dpo"][0] == 0.5
    assert found["dpo"][3] == 1
    assert found["grpo"][0] == 1
    assert found["all"][0] == 0.75
    assert all(low <= rate <= high for rate, low, high, _ in found.values())


def test_sheets_hide_which_side_is_which_and_answers_find_it_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    from closing_the_loop.blind import read_answers, write_sheets

    dark, light = (np.full((12, 48, 48, 3), level, np.uint8) for level in (40, 200))
    write_sheets({"dpo": [(dark, light)] * 9, "grpo": [(dark, light)] * 3}, tmp_path, seed=1)
    key = json.loads((tmp_path / "key.json").read_text())
    assert {row["after"] for row in key} == {"A", "B"}
    assert len(list(tmp_path.glob("sheet_*.png"))) == 3
    with (tmp_path / "answers.csv").open(newline="") as file:
        assert [row["pair"] for row in csv.DictReader(file)] == [str(number) for number in range(1, 13)]
    with pytest.raises(ValueError, match="pair, but not for 1, 2"):
        read_answers(tmp_path / "answers.csv", tmp_path / "key.json")
    brighter = [("pair", "better"), *((row["pair"], _brighter(tmp_path, row["pair"])) for row in key)]
    with (tmp_path / "answers.csv").open("w", newline="") as file:
        csv.writer(file).writerows(brighter)
    assert read_answers(tmp_path / "answers.csv", tmp_path / "key.json")["all"][0] == 1
    assert "dpo" in capsys.readouterr().out


def _brighter(folder: Path, pair: int) -> str:
    """Which side of a pair is the brighter one, as its sheet shows it."""
    import cv2

    sheet = cv2.imread(str(folder / f"sheet_{(pair - 1) // 5 + 1:02d}.png"))
    assert sheet is not None
    high = (2 * 144 + 10) * ((pair - 1) % 5)
    one, other = (sheet[high + start : high + start + 144, 100:].mean() for start in (0, 144))
    return "A" if one > other else "B"


@pytest.mark.slow
def test_the_whole_loop_runs_and_keeps_its_results(footage, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    from close_the_loop_on_footage import QUICK, pairs, study
    from closing_the_loop.footage import PARTS
    from closing_the_loop.footage_study import CONTROLS, TRAINED

    parts = dict.fromkeys(PARTS, footage)
    figures = study(parts, tmp_path, QUICK, ["adapted"])
    assert set(figures["adapted"]["ways"]) == {*TRAINED, *CONTROLS}
    assert list((tmp_path / "adapted").glob("curve_*.svg"))
    capsys.readouterr()
    assert study(parts, tmp_path, QUICK, ["adapted"]) == figures
    assert "update" not in capsys.readouterr().out.split("One sample of each test prompt")[0]
    pairs(footage, QUICK, tmp_path, "adapted", 8)
    assert len(json.loads((tmp_path / "pairs" / "key.json").read_text())) == 8
