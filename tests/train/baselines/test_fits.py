"""Models on made features whose answer is known; the numpy models against torch, which trained them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.needs import needs

needs("sklearn")

from sklearn.metrics import roc_auc_score  # noqa: E402

from deeptrace.detectors.baselines.models import Likelihood, Linear, unit_steps  # noqa: E402
from deeptrace.detectors.baselines.recipes import RECIPES, SKIPS  # noqa: E402
from deeptrace.metrics import auroc  # noqa: E402
from deeptrace.train.baselines.fits import FITS, Examples, fit, scores_of, weights_of  # noqa: E402
from deeptrace.train.baselines.measured import Kept  # noqa: E402
from deeptrace.train.baselines.protocol import by_era, by_fold, calibrated, frame_auroc, one_generator  # noqa: E402
from deeptrace.train.tracenet.clips import Clip, Kind  # noqa: E402

WIDTH, FRAMES = 24, 10


def made(seed: int, *, apart: float = 3.0, groups: int = 6, each: int = 4, era: str = "old") -> Kept:
    """Sequences of embeddings; generated ones are shifted along one axis, whatever their generator."""
    rng = np.random.default_rng(seed)
    clips, measured = [], []
    for kind in (Kind.REAL, Kind.GENERATED):
        for group in range(groups):
            own = rng.standard_normal(WIDTH) * 0.5
            for number in range(each):
                rows = own + rng.standard_normal(WIDTH) + 0.3 * rng.standard_normal((FRAMES, WIDTH)).cumsum(axis=0)
                rows[:, 0] += apart * (kind is Kind.GENERATED) * 2
                name = f"{era}{seed}_{kind.name}{group}_{number}"
                clips.append(Clip(name, Path(name), kind, f"{kind.name.lower()}:{era}{group}", "", era=era))
                pair = np.stack([rows.mean(axis=0), rows.mean(axis=0) * 0.9])
                measured.append(
                    {"embeddings": rows, "recoded_embeddings": pair, "motion": rows[0], "geometry": rows[1]}
                )
    return Kept(clips, measured)


def joined(*parts: Kept) -> Kept:
    return Kept([c for p in parts for c in p.clips], [m for p in parts for m in p.measured])


def worth(name: str, learned: Kept, asked: Kept) -> float:
    labels = np.array([clip.kind is Kind.GENERATED for clip in asked.clips], int)
    return float(auroc(labels, scores_of(name, fit(name, learned), asked)))


@pytest.mark.parametrize("name", ["probe", "frame-skip", "what-matters", "stall"])
def test_a_shift_that_all_generators_share_is_learned(name: str) -> None:
    assert worth(name, made(0), made(1)) > 0.8


@pytest.mark.parametrize("name", ["lsda", "qad", "ucf", "genconvit", "demamba", "gm-df", "difficulty-boosting"])
def test_the_nets_learn_it_too(name: str) -> None:
    needs("torch")
    assert worth(name, made(0), made(1)) > 0.8


def test_stall_learns_from_real_clips_alone() -> None:
    """Generated clips of another kind make no difference to the model."""
    learned = made(0)
    other = replace(learned, measured=[dict(m, embeddings=m["embeddings"] * (3 if c.kind else 1))
                                       for c, m in zip(learned.clips, learned.measured, strict=True)])  # fmt: skip
    one, two = fit("stall", learned), fit("stall", other)
    assert isinstance(one, Likelihood)
    assert all((a == b).all() for a, b in zip(vars(one).values(), vars(two).values(), strict=True))


def test_the_joint_model_of_experts_is_the_mean_of_theirs() -> None:
    learned = made(0)
    examples = Examples(learned.clips, learned.measured, RECIPES["what-matters"])
    whole = FITS["what-matters"](examples)
    parts = []
    for at in (slice(0, WIDTH), slice(WIDTH, 2 * WIDTH), slice(2 * WIDTH, 3 * WIDTH)):
        recipe = replace(RECIPES["what-matters"], features=lambda m, at=at: RECIPES["what-matters"].features(m)[at])
        parts.append(FITS["probe"](Examples(learned.clips, learned.measured, recipe)))
    for measured in learned.measured[:5]:
        row = RECIPES["what-matters"].features(measured)
        mean = np.mean([model.score(row[i * WIDTH : (i + 1) * WIDTH]) for i, model in enumerate(parts)])
        assert whole.score(row) == pytest.approx(mean)


def test_second_order_features_of_even_motion_are_least() -> None:
    even = np.arange(10.0)[:, None] * np.ones(5)
    jerky = np.array([0, 1, 5, 6, 6, 9, 10, 16, 17, 17.0])[:, None] * np.ones(5)
    a, b = (float(RECIPES["d3"].features({"embeddings": one})[0]) for one in (even, jerky))
    assert a == pytest.approx(np.log(1e-3))
    assert b > a


def test_the_turns_of_a_straight_path_are_nothing_and_of_a_square_right_angles() -> None:
    straight = np.arange(10.0)[:, None] * np.ones(3)
    square = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0, 0.0]])
    turns = [RECIPES["restrav"].features({"embeddings": one})[11:17] for one in (straight, square)]
    assert turns[0] == pytest.approx(0.0, abs=1e-3)
    assert turns[1] == pytest.approx(np.pi / 2)


def test_samplings_of_a_short_clip_are_still_numbers() -> None:
    row = RECIPES["frame-skip"].features({"embeddings": np.ones((4, 3))})
    assert row.shape == (2 * 3 * len(SKIPS),)
    assert np.isfinite(row).all()


def test_weights_balance_classes_and_groups() -> None:
    weights = weights_of(["a"] * 9 + ["b"] + ["c"] * 4, np.array([1] * 10 + [0] * 4, bool))
    assert weights[:10].mean() == pytest.approx(1.0)
    assert weights[10:].mean() == pytest.approx(1.0)
    assert weights[9] == pytest.approx(3 * weights[0])


def test_a_likelihood_falls_with_distance() -> None:
    model = fit("stall", made(0))
    middle = made(0).measured[0]["embeddings"]
    assert model.score(middle) < model.score(middle + 5) < model.score(middle + 50)
    assert np.linalg.norm(unit_steps(middle), axis=1) == pytest.approx(1.0)


@pytest.mark.parametrize("name", ["lsda", "genconvit"])
def test_numpy_says_what_torch_does_of_a_perceptron(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = needs("torch")
    from deeptrace.train.baselines import nets

    seen = []
    exported = nets._Net.exported
    monkeypatch.setattr(nets._Net, "exported", lambda net, to: seen.append((net, to)) or exported(net, to))
    learned = made(0)
    model = fit(name, learned)
    rows = np.stack([RECIPES[name].features(m) for m in learned.measured])
    z = (rows - model.center) * model.scale
    with torch.no_grad():
        said = seen[-1][0](torch.tensor(z.clip(-6, 6) @ seen[-1][1].directions, dtype=torch.float32)).numpy()
    assert scores_of(name, model, learned) == pytest.approx(said, abs=1e-4)


def test_numpy_says_what_torch_does_of_experts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked of every domain's expert alike, as of a clip from none of them."""
    torch = needs("torch")
    from deeptrace.train.baselines import nets

    seen = []
    exported = nets._ExpertsNet.exported
    monkeypatch.setattr(nets._ExpertsNet, "exported", lambda net, to: seen.append((net, to)) or exported(net, to))
    learned = made(0)
    model = fit("gm-df", learned)
    rows = np.stack([RECIPES["gm-df"].features(m) for m in learned.measured])
    z = ((rows - model.center) * model.scale).clip(-6, 6) @ seen[-1][1].directions
    net = seen[-1][0]
    assert net.domains > 1
    with torch.no_grad():
        alike = torch.full((len(z), net.domains), 1 / net.domains)
        said, _ = net(torch.tensor(z, dtype=torch.float32), alike)
    assert scores_of("gm-df", model, learned) == pytest.approx(said.numpy(), abs=1e-4)


def test_domains_are_folders_or_whole_groups_of_both_classes() -> None:
    needs("torch")
    from deeptrace.train.baselines.nets import domains_of

    learned = made(0)
    examples = Examples(learned.clips, learned.measured, RECIPES["gm-df"])
    parts = domains_of(examples)
    groups = np.array(examples.groups)
    assert all(len(set(parts[groups == name])) == 1 for name in groups)
    assert set(parts) == set(range(int(parts.max()) + 1))
    assert all(len(set(examples.labels[parts == part])) == 2 for part in set(parts))
    halves = [replace(clip, era="ab"[number % 2]) for number, clip in enumerate(learned.clips)]
    assert domains_of(Examples(halves, learned.measured, RECIPES["gm-df"])).tolist() == [
        number % 2 for number in range(len(halves))
    ]


def test_hard_clips_come_to_weigh_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """In two places lie twelve clips of one class and four of the other: boosted, the four count for more."""
    needs("torch")
    from deeptrace.train.baselines import nets

    clips, measured = [], []
    for number in range(32):
        place, odd = number % 2, number % 8 < 2
        kind = Kind.GENERATED if bool(place) != odd else Kind.REAL
        clips.append(Clip(f"c{number}", Path(f"c{number}"), kind, f"{kind.name}{number}", ""))
        measured.append({"embeddings": np.full((4, 3), float(place))})
    kept = Kept(clips, measured)

    def gap() -> float:
        scores = scores_of("difficulty-boosting", fit("difficulty-boosting", kept), kept)
        return float(scores[1] - scores[0])

    boosted = gap()
    monkeypatch.setattr(nets, "_EASY", 1.0)
    plain = gap()
    assert 0 < boosted < 0.8 * plain


def test_numpy_says_what_torch_does_of_a_state_space(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = needs("torch")
    from deeptrace.train.baselines import nets

    made_nets = []
    build = nets._StateSpaceNet
    monkeypatch.setattr(nets, "_StateSpaceNet", lambda *a: made_nets.append(build(*a)) or made_nets[-1])
    learned = made(0)
    learned.measured[3] = dict(learned.measured[3], embeddings=learned.measured[3]["embeddings"][:5])  # a shorter clip
    model = fit("demamba", learned)
    every = np.concatenate([measured["embeddings"] for measured in learned.measured])
    standardised = ((every - model.center) * model.scale).clip(-6, 6)
    for index in (0, 3):
        rows = learned.measured[index]["embeddings"]
        z = ((rows - model.center) * model.scale).clip(-6, 6)
        _, vectors = np.linalg.eigh(standardised.T @ standardised)
        x = torch.tensor(z @ vectors, dtype=torch.float32)[None]
        with torch.no_grad():
            said = float(made_nets[0](x, torch.tensor([len(rows)])))
        assert model.score(rows) == pytest.approx(said, abs=1e-4)


def test_one_seed_gives_one_model() -> None:
    a, b = fit("frame-skip", made(0)), fit("frame-skip", made(0))
    assert isinstance(a, Linear)
    assert (a.weights == b.weights).all()


# -- protocols --------------------------------------------------------------------------------------------------------


def test_folds_never_see_the_group_that_they_judge() -> None:
    """A mark that each generator has to itself would be learned by heart; held out, it says nothing.

    Of a few groups a mark may lie on the right side by chance: so that is asked of the mean of several draws.
    """
    held_out = []
    for seed in range(8):
        kept = made(0, apart=0.0)
        rng = np.random.default_rng(seed)
        marks = {group: rng.standard_normal(WIDTH) * 6 for group in sorted({clip.group for clip in kept.clips})}
        marked = [
            dict(m, embeddings=m["embeddings"] + marks[c.group]) for c, m in zip(kept.clips, kept.measured, strict=True)
        ]
        kept = Kept(kept.clips, marked)
        labels = np.array([clip.kind is Kind.GENERATED for clip in kept.clips], int)
        assert auroc(labels, scores_of("probe", fit("probe", kept), kept)) > 0.99
        judged = by_fold("probe", kept).judged[""]
        told = np.array([clip.kind is Kind.GENERATED for clip in judged.clips], int)
        held_out.append(float(auroc(told, judged.as_they_are)))
    assert np.mean(held_out) < 0.7


def test_single_frames_are_judged_by_models_that_saw_none_of_their_group() -> None:
    kept = made(0, apart=1.0)
    found = by_fold("probe", kept)
    clips = found.judged[""].clips
    of_name = {clip.name: measured["embeddings"] for clip, measured in zip(kept.clips, kept.measured, strict=True)}
    assert [len(one) for one in found.frames] == [len(of_name[clip.name]) for clip in clips]
    labels = np.concatenate([[c.kind is Kind.GENERATED] * len(f) for c, f in zip(clips, found.frames, strict=True)])
    area, interval = frame_auroc(found) or (0.0, None)
    assert area == pytest.approx(roc_auc_score(labels, np.concatenate(found.frames)), abs=1e-4)
    assert interval is not None
    assert interval[0] < area < interval[1]
    clip_area = auroc(np.array([c.kind is Kind.GENERATED for c in clips], int), found.judged[""].as_they_are)
    assert area < clip_area, "a frame says less than all of its clip"
    assert frame_auroc(by_fold("d3", kept)) is None, "motion has no frame"


def test_an_era_is_judged_by_the_others_and_a_generator_teaches_alone() -> None:
    kept = joined(made(0, era="old"), made(1, era="new"))
    judged = by_era("probe", kept, "new")
    assert {clip.era for clip in judged.clips} == {"new"}
    labels = np.array([clip.kind is Kind.GENERATED for clip in judged.clips], int)
    assert auroc(labels, judged.as_they_are) > 0.8
    single = one_generator("probe", joined(*(made(seed, groups=3, each=6, era="x") for seed in (0, 1))))
    assert set(single) == {"x0", "x1", "x2"}
    assert all(size == 12 and value > 0.6 for value, size in single.values())


def test_probabilities_and_limits_come_from_held_out_groups() -> None:
    model = calibrated("probe", made(0))
    asked = made(2)
    judged = model.judged(asked)
    labels = np.array([clip.kind is Kind.GENERATED for clip in asked.clips])
    assert judged.as_they_are[labels].mean() > 0.6 > 0.4 > judged.as_they_are[~labels].mean()
    assert (judged.as_they_are[~labels] >= judged.limit_fpr_5[~labels]).mean() < 0.3
    assert model.thresholds["fpr_1"] >= model.thresholds["fpr_5"]
