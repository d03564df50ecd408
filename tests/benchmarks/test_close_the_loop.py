"""The parts of the closed loop, and a run of it at tiny size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.needs import needs

torch = needs("torch")
needs("skimage")


@pytest.fixture(scope="module")
def scene():
    from closing_the_loop.world import draw_prompt, render

    prompts = [draw_prompt(np.random.default_rng(seed), "test") for seed in range(3)]
    return prompts, [render(prompt) for prompt in prompts]


def test_a_render_shows_its_things_where_the_prompt_says(scene):
    from closing_the_loop.world import FRAMES, SIDE

    for prompt, right in zip(*scene, strict=True):
        assert right.frames.shape == (FRAMES, SIDE, SIDE, 3)
        x, y = prompt.things[-1].centers()[-1]  # the one in front
        ys, xs = np.nonzero(right.masks[-1, -1] > 0.5)
        assert abs(xs.mean() - x) < 1.5
        assert abs(ys.mean() - y) < 2.5  # a triangle's middle is not its mean
        still = right.masks.max(axis=(0, 1)) == 0
        assert (right.frames[:, still] == right.background[still]).all()


def test_checks_are_perfect_for_the_render_and_fall_with_every_flaw(scene):
    from closing_the_loop.measures import check

    right = scene[1][0]
    perfect = check(right.frames, right)
    assert perfect["error"] == perfect["off path"] == 0
    assert perfect["consistency"] == pytest.approx(1)
    gone = np.repeat(right.background[None], len(right.frames), axis=0)
    shifted = np.roll(right.frames, 3, axis=2)
    blurred = np.stack([np.full_like(f, f.mean(axis=(0, 1)).astype(np.uint8)) for f in right.frames])
    assert check(gone, right)["shape"] == 0
    assert check(shifted, right)["off path"] > 2
    assert check(blurred, right)["texture"] < 0.1
    assert all(check(flawed, right)["consistency"] < 0.9 for flawed in (gone, shifted, blurred))


def test_the_training_of_the_adapted_reward_is_one_that_tracenet_takes(tmp_path):
    from closing_the_loop.adapt import training_of

    config = training_of(tmp_path / "data", tmp_path / "out", steps=3)
    assert config.steps == 3
    assert set(config.synthetic_variants) <= set(range(config.variants))


def test_frechet_distance_is_zero_for_the_same_clips_and_grows_with_blur():
    from closing_the_loop.measures import frechet
    from closing_the_loop.world import draw_prompt, render

    rng = np.random.default_rng(0)
    clips = [render(draw_prompt(rng, "test")).frames for _ in range(20)]
    still = [np.repeat(c[:1], len(c), axis=0) for c in clips]
    assert frechet(clips, clips) == pytest.approx(0, abs=1e-3)
    assert frechet(still, clips) > 1


def test_data_and_clips_are_one_another(scene):
    from closing_the_loop.generator import condition_of, to_clips, to_data

    prompts, renders = scene
    frames = np.stack([r.frames for r in renders])
    data = to_data(torch.from_numpy(frames).permute(0, 1, 4, 2, 3).float() / 255)
    assert (to_clips(data, condition_of(prompts, renders)) == frames).all()


def test_the_sde_keeps_the_marginals_of_the_ode():
    """For data of one point the exact velocity is known, and both samplers end in that point from any noise."""
    from closing_the_loop.generator import CELLS, Condition, sample_sde
    from closing_the_loop.world import FRAMES, SIDE

    class Exact(torch.nn.Module):
        def forward(self, x, t, condition):  # towards the point 0.7: data - noise
            return (0.7 - x) / (1 - t)[:, None, None, None, None]

    blank = Condition(
        torch.zeros(2, 3, SIDE, SIDE), torch.zeros(2, 2, FRAMES, SIDE, SIDE), torch.zeros(2, FRAMES, 3, SIDE, SIDE)
    )
    path = sample_sde(Exact(), blank, seed=1, steps=6, noise=0.5)
    assert path.data.shape == (2, FRAMES, 48, CELLS, CELLS)
    assert torch.allclose(path.data, torch.full_like(path.data, 0.7), atol=1e-4)
    for at, state in enumerate(path.states[1:-1], 1):  # noise and point are mixed as the flow says, within the step
        assert float(state.std()) == pytest.approx(1 - at / 6, abs=0.15)


def judged(rewards, maps):
    from types import SimpleNamespace

    from closing_the_loop.judge import Judged

    return Judged([SimpleNamespace(reward=r) for r in rewards], np.asarray(maps, np.float32))


def test_the_map_credits_places_and_the_scalar_credits_clips():
    from closing_the_loop.improve import advantages_of

    maps = np.ones((4, 2, 3, 3))
    maps[0, 1, 2, 2] = 0.0  # one flaw of one clip
    got = judged([0.4, 0.8, 0.5, 0.5], maps)
    scalar, dense = (advantages_of(got, 2, dense=dense) for dense in (False, True))
    assert scalar.shape == dense.shape == maps.shape
    assert (scalar[0] < 0).all()
    assert (scalar[1] > 0).all()
    assert (scalar[2:] == 0).all()
    assert dense[0, 1, 2, 2] < 0 < dense[1, 1, 2, 2]
    dense[:2, 1, 2, 2] = 0
    assert (dense == 0).all()


def test_pretraining_goes_on_where_it_stopped(tmp_path: Path):
    from closing_the_loop.pretrain import load_generator, pretrain

    said: list[str] = []
    whole = pretrain(tmp_path / "a", 2, batch=1, keep=(1,), log=said.append)
    assert said
    before = whole.stat().st_mtime_ns
    assert pretrain(tmp_path / "a", 2, batch=1, log=said.append).stat().st_mtime_ns == before
    assert len(said) == 1
    one, two = load_generator(tmp_path / "a" / "step1.pt"), load_generator(whole)
    assert any(not torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


@pytest.mark.slow
def test_the_whole_loop_runs_and_keeps_its_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    from close_the_loop import study
    from closing_the_loop.improve import Dpo, Grpo
    from closing_the_loop.study import Sizes

    sizes = Sizes(
        pretraining=2, checkpoints=(1,), prompts=3, renders=14, best_of=2, every=1,
        dpo=Dpo(prompts=3, samples=2, pairs=1, steps=1, batch=2),
        grpo=Grpo(prompts=2, samples=2, steps=1, walk=2, credited=1),
    )  # fmt: skip
    figures = study(tmp_path, sizes, ["shipped"])
    assert set(figures["shipped"]["ways"]) == {"dpo", "grpo, scalar", "grpo, map"}
    assert list(tmp_path.glob("curve_*.svg"))
    capsys.readouterr()
    again = study(tmp_path, sizes, ["shipped"])
    assert again == figures
    assert "update" not in capsys.readouterr().out.split("Samples of the test prompts")[0]
