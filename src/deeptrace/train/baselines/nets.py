"""The baselines that gradients train: small nets on a frozen encoder's features, each in seconds on a CPU.

A net is trained on all clips at once, for a fixed number of steps, and handed over as arrays: see
`deeptrace.detectors.baselines.models`, whose numpy code must say what the torch code here says.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from deeptrace.detectors.baselines.models import Perceptron, StateSpace, standard
from deeptrace.train.baselines.fits import Examples

__all__ = ["demamba", "difficulty_boosting", "genconvit", "gm_df", "lsda", "qad", "ucf"]

_HIDDEN, _LATENT = 64, 32
_WIDTH, _STATE = 16, 4
_DIRECTIONS = 128
_STEPS = 150
_RATE, _DECAY = 3e-3, 0.05
_DROPPED = 0.3


class _Scaling:
    """Standardised features along their main directions: what every net is given, at a fraction of the work.

    A first layer after the directions is one layer, so nothing of it is left in the model.
    """

    def __init__(self, rows: np.ndarray) -> None:
        self.center, self.scale = rows.mean(axis=0), 1.0 / (rows.std(axis=0) + 1e-6)
        z = standard(rows, self.center, self.scale)
        _, vectors = np.linalg.eigh(z.T @ z)
        self.directions = np.asarray(vectors[:, -_DIRECTIONS:])

    def __call__(self, rows: np.ndarray) -> Tensor:
        return torch.tensor(standard(rows, self.center, self.scale) @ self.directions, dtype=torch.float32)


class _Net(nn.Module):
    """Features to hidden, to latent, to a score; what `Perceptron` computes."""

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(dimensions, _HIDDEN), nn.Linear(_HIDDEN, _LATENT)
        self.head = nn.Linear(_LATENT, 1)
        self.drop = nn.Dropout(_DROPPED)

    def latent(self, x: Tensor) -> Tensor:
        return F.relu(self.second(self.drop(F.relu(self.first(self.drop(x))))))

    def forward(self, x: Tensor, with_latent: bool = False) -> Any:
        latent = self.latent(x)
        scores = self.head(latent).squeeze(-1)
        return (scores, latent) if with_latent else scores

    def exported(self, scaling: _Scaling) -> Perceptron:
        return Perceptron(
            scaling.center,
            scaling.scale,
            w0=scaling.directions @ _array(self.first.weight).T,
            b0=_array(self.first.bias),
            w1=_array(self.second.weight).T,
            b1=_array(self.second.bias),
            w2=_array(self.head.weight)[0],
            b2=_array(self.head.bias)[0],
        )


class _Batch:
    """All clips as tensors: scaled features (N, D), labels and weights (N,)."""

    def __init__(self, examples: Examples) -> None:
        self.scaling = _Scaling(examples.rows)
        self.x = self.scaling(examples.rows)
        self.y = torch.tensor(examples.labels, dtype=torch.float32)
        self.weights = torch.tensor(examples.weights, dtype=torch.float32)

    def loss(self, scores: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(scores, self.y, self.weights)


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().numpy().astype(np.float64)


def _train(module: nn.Module, loss: Callable[[], Tensor], steps: int = _STEPS) -> None:
    """Minimise `loss`, with a rate that falls to nothing."""
    optimizer = torch.optim.AdamW(module.parameters(), lr=_RATE, weight_decay=_DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    module.train()
    for _ in range(steps):
        optimizer.zero_grad()
        loss().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    module.eval()


def lsda(examples: Examples) -> Perceptron:
    """Teachers learn the forgery space with forgeries made up between and beyond the known ones; a student follows.

    Of LSDA's augmentations: within a generator, latents are pushed away from its centre (centrifugal), turned by noise
    of its own spread (affine, additive); across generators, latents are mixed. The student's features are drawn to the
    teacher's, and it learns to tell both classes itself.
    """
    torch.manual_seed(examples.seed)
    batch = _Batch(examples)
    teacher, student = _Net(batch.x.shape[1]), _Net(batch.x.shape[1])
    fake = batch.y > 0
    names = np.array(examples.groups)[examples.labels]
    centres = torch.stack([batch.x[fake][torch.tensor(names == name)].mean(dim=0) for name in names])

    def made_up() -> Tensor:
        known = batch.x[fake]
        away = known - centres
        pushed = centres + away * (1 + torch.rand(len(known), 1)) + 0.3 * away.std(dim=0) * torch.randn_like(known)
        share = torch.rand(len(known), 1)
        mixed = share * known + (1 - share) * known[torch.randperm(len(known))]
        return torch.cat([pushed, mixed])

    def taught() -> Tensor:
        return batch.loss(teacher(batch.x)) + F.softplus(-teacher(made_up())).mean()

    _train(teacher, taught)
    with torch.no_grad():
        goal = teacher.latent(batch.x)
    _train(student, lambda: batch.loss(student(batch.x)) + F.mse_loss(student.latent(batch.x), goal))
    return student.exported(batch.scaling)


def qad(examples: Examples) -> Perceptron:
    """Latents of both qualities of a clip are made to depend on each other, under perturbed weights.

    QAD's loss: both qualities are told apart by class, and the Hilbert-Schmidt independence criterion between their
    latents is made large; weights are first moved towards where the loss is worst (adversarial weight perturbation).
    """
    torch.manual_seed(examples.seed)
    batch = _Batch(examples)
    pairs = np.stack([measured["recoded_embeddings"] for measured in examples.measured])
    high, low = batch.scaling(pairs[:, 0]), batch.scaling(pairs[:, 1])
    net = _Net(batch.x.shape[1])

    def loss(weights: Mapping[str, Tensor]) -> Tensor:
        (_, _), (_, above), (_, below) = said = [
            functional_call(net, dict(weights), (x, True)) for x in (batch.x, high, low)
        ]
        told = torch.stack([batch.loss(scores) for scores, _ in said]).mean()
        return told - 0.1 * _dependence(above, below)

    def perturbed() -> Tensor:
        weights = dict(net.named_parameters())
        slopes = torch.autograd.grad(loss(weights), list(weights.values()))
        worse = {
            name: weight + (0.01 * weight.norm() * slope / (slope.norm() + 1e-9)).detach()
            for (name, weight), slope in zip(weights.items(), slopes, strict=True)
        }
        return loss(worse)

    _train(net, perturbed)
    return net.exported(batch.scaling)


def _dependence(a: Tensor, b: Tensor) -> Tensor:
    """Hilbert-Schmidt independence criterion of two sets of latents (N, E), normalised to [0, 1] (Kornblith 2019)."""
    kernels = []
    for latents in (a, b):
        distance = torch.cdist(latents, latents) ** 2
        kernel = torch.exp(-distance / (distance.detach().mean() + 1e-6))
        kernels.append(kernel - kernel.mean(dim=0) - kernel.mean(dim=1, keepdim=True) + kernel.mean())
    above, below = kernels
    found: Tensor = (above * below).sum() / (above.norm() * below.norm() + 1e-9)
    return found


def ucf(examples: Examples) -> Perceptron:
    """Content, forgery features of one generator and those common to all are kept apart; the common ones are asked.

    UCF's losses: the common part tells both classes apart, the specific part names the generator, content of one clip
    with forgery features of another must give the other's features back where they are its own, and clips of a class
    lie closer together than those of both (contrast).
    """
    torch.manual_seed(examples.seed)
    batch = _Batch(examples)
    dimensions = batch.x.shape[1]
    names, number = np.unique(np.where(examples.labels, np.array(examples.groups), "real"), return_inverse=True)
    target = torch.tensor(number)
    net, specific, content = _Net(dimensions), _Net(dimensions), _Net(dimensions)
    namer, decoder = nn.Linear(_LATENT, len(names)), nn.Linear(3 * _LATENT, dimensions)
    whole = nn.ModuleList([net, specific, content, namer, decoder])

    def loss() -> Tensor:
        common, own, scene = net.latent(batch.x), specific.latent(batch.x), content.latent(batch.x)
        given_back = F.mse_loss(decoder(torch.cat([common, own, scene], dim=1)), batch.x)
        turned = torch.randperm(len(common))
        same = target == target[turned]
        crossed = decoder(torch.cat([common[turned], own[turned], scene], dim=1))
        crossed_loss = F.mse_loss(crossed[same], batch.x[same]) if bool(same.any()) else torch.zeros(())
        distance = (common - common[turned]).norm(dim=1)
        alike = batch.y == batch.y[turned]
        contrast = torch.where(alike, distance, F.relu(3.0 - distance)).mean()
        told = batch.loss(net.head(common).squeeze(-1))
        return told + F.cross_entropy(namer(own), target) + 0.3 * (given_back + crossed_loss) + 0.05 * contrast

    _train(whole, loss)
    return net.exported(batch.scaling)


def genconvit(examples: Examples) -> Perceptron:
    """An autoencoder and a variational one share the latent that is asked: it must give features back, and be smooth.

    GenConViT has two nets, with either generative model, whose answers are averaged; here one latent serves both
    losses, with noise while it is trained.
    """
    torch.manual_seed(examples.seed)
    batch = _Batch(examples)
    net = _Net(batch.x.shape[1])
    decoder, spread = nn.Linear(_LATENT, batch.x.shape[1]), nn.Linear(_HIDDEN, _LATENT)
    whole = nn.ModuleList([net, decoder, spread])

    def loss() -> Tensor:
        hidden = F.relu(net.first(net.drop(batch.x)))
        mean, log_variance = net.second(hidden), spread(hidden).clamp(-6, 4)
        drawn = mean + torch.randn_like(mean) * torch.exp(log_variance / 2)
        divergence = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).mean()
        told = (batch.loss(net(batch.x)) + batch.loss(net.head(F.relu(drawn)).squeeze(-1))) / 2
        back = F.mse_loss(decoder(F.relu(mean)), batch.x) + F.mse_loss(decoder(F.relu(drawn)), batch.x)
        found: Tensor = told + 0.2 * back + 0.02 * divergence
        return found

    _train(whole, loss)
    return net.exported(batch.scaling)


_MOMENTUM, _EASY, _HARDEST = 0.9, 0.5, 4.0


def difficulty_boosting(examples: Examples) -> Perceptron:
    """Clips weigh by how hard they are: a moving average of each clip's own loss, over that of all.

    Momentum difficulty boosting: an easy clip keeps at least half its weight, none has more than four times it.
    """
    torch.manual_seed(examples.seed)
    batch = _Batch(examples)
    net = _Net(batch.x.shape[1])
    difficulty = torch.full_like(batch.y, math.log(2.0))  # a clip of which nothing is known yet

    def loss() -> Tensor:
        each = F.binary_cross_entropy_with_logits(net(batch.x), batch.y, reduction="none")
        difficulty.mul_(_MOMENTUM).add_(each.detach(), alpha=1 - _MOMENTUM)
        share = (difficulty / difficulty.mean()).clamp(max=_HARDEST)
        found: Tensor = (each * batch.weights * (_EASY + (1 - _EASY) * share)).mean()
        return found

    _train(net, loss)
    return net.exported(batch.scaling)


_DOMAINS = 4
_INNER_RATE = 0.05


class _ExpertsNet(nn.Module):
    """A hidden layer that all share, a common expert, and one expert a domain; a `Perceptron` where all are asked."""

    def __init__(self, dimensions: int, domains: int) -> None:
        super().__init__()
        self.domains = domains
        self.first, self.second = nn.Linear(dimensions, _HIDDEN), nn.Linear(_HIDDEN, (domains + 1) * _LATENT)
        self.heads = nn.Parameter(torch.randn(domains + 1, _LATENT) / _LATENT**0.5)
        self.bias = nn.Parameter(torch.zeros(()))
        self.drop = nn.Dropout(_DROPPED)

    def forward(self, x: Tensor, shares: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (N,), and latents (N, E) of the common expert.

        Args:
            x: features (N, D).
            shares: (N, domains) of each domain's expert in a clip's score; they add up to 1.
        """
        hidden = F.relu(self.first(self.drop(x)))
        latents = F.relu(self.second(self.drop(hidden))).reshape(len(x), self.domains + 1, _LATENT)
        said = (latents * self.heads).sum(dim=-1)
        return (said[:, 0] + (said[:, 1:] * shares).sum(dim=1)) / 2 + self.bias, latents[:, 0]

    def exported(self, scaling: _Scaling) -> Perceptron:
        """With every domain's expert of the same share: a clip comes from none of them."""
        heads = _array(self.heads) / 2
        heads[1:] /= self.domains
        return Perceptron(
            scaling.center,
            scaling.scale,
            w0=scaling.directions @ _array(self.first.weight).T,
            b0=_array(self.first.bias),
            w1=_array(self.second.weight).T,
            b1=_array(self.second.bias),
            w2=heads.ravel(),
            b2=_array(self.bias),
        )


def domains_of(examples: Examples) -> np.ndarray:
    """(N,) the domain of each clip, from 0: its data folder; of one folder alone, a part of its generators and sources.

    At most four parts, each with generators and sources, whole, as evenly as their sizes allow.
    """
    eras = np.array([clip.era for clip in examples.clips])
    names = np.unique(eras)
    if len(names) > 1 and all(len(set(examples.labels[eras == name])) == 2 for name in names):
        return np.searchsorted(names, eras)
    found = np.zeros(len(examples.clips), int)
    groups = np.array(examples.groups)
    for fake in (False, True):
        sizes = Counter(groups[examples.labels == fake].tolist())
        filled = np.zeros(_DOMAINS)
        for name, size in sorted(sizes.items(), key=lambda pair: (-pair[1], pair[0])):
            least = int(filled.argmin())
            filled[least] += size
            found[(groups == name) & (examples.labels == fake)] = least
    return np.unique(found, return_inverse=True)[1]


def gm_df(examples: Examples) -> Perceptron:
    """Domains have an expert each beside a common one; what is learned from some must hold, at once, on another.

    GM-DF's parts: experts for domains and one for what they share, features masked and given back, and meta-learning:
    in each step the weights are moved by some domains' loss, and judged where they arrive by a domain left out, asked
    of the others' experts; latents of the domain left out are drawn to those of the rest, class by class, in mean and
    spread (domain alignment).
    """
    torch.manual_seed(examples.seed)
    batch = _Batch(examples)
    domain = torch.tensor(domains_of(examples))
    count = int(domain.max()) + 1
    net, decoder = _ExpertsNet(batch.x.shape[1], count), nn.Linear(_LATENT, batch.x.shape[1])
    rng = np.random.default_rng(examples.seed)
    own = F.one_hot(domain, count).float()

    def told(scores: Tensor, chosen: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(scores[chosen], batch.y[chosen], batch.weights[chosen])

    def loss() -> Tensor:
        left_out = int(rng.integers(count))
        away = domain == left_out
        if not bool((~away).any()):  # one domain alone: nothing to leave out
            return told(net(batch.x, own)[0], away)
        others = (1 - F.one_hot(torch.tensor(left_out), count).float()) / max(count - 1, 1)
        weights: dict[str, Tensor] = dict(net.named_parameters())
        scores, _ = functional_call(net, weights, (batch.x, own))
        known = told(scores, ~away)
        slopes = torch.autograd.grad(known, list(weights.values()), retain_graph=True)
        moved = {
            name: weight - _INNER_RATE * slope.detach()
            for (name, weight), slope in zip(weights.items(), slopes, strict=True)
        }
        asked, latents = functional_call(net, moved, (batch.x, torch.where(away[:, None], others, own)))
        held = told(asked, away)
        kept = (torch.rand_like(batch.x) > 0.3).float()
        back = F.mse_loss(decoder(net(batch.x * kept, own)[1]), batch.x)
        found: Tensor = known + held + 0.1 * _apart(latents, batch.y, away) + 0.1 * back
        return found

    _train(nn.ModuleList([net, decoder]), loss)
    return net.exported(batch.scaling)


def _apart(latents: Tensor, labels: Tensor, away: Tensor) -> Tensor:
    """How far the latents of some clips are from the others', class by class: squares of mean and spread."""
    total = torch.zeros(())
    for value in (0.0, 1.0):
        mine, rest = latents[away & (labels == value)], latents[~away & (labels == value)]
        if len(mine) > 1 and len(rest) > 1:
            total = total + F.mse_loss(mine.mean(dim=0), rest.mean(dim=0))
            total = total + F.mse_loss(mine.std(dim=0), rest.std(dim=0))
    return total


class _StateSpaceNet(nn.Module):
    """What `StateSpace` computes, for batches of sequences (N, T, D)."""

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        self.inward = nn.Parameter(torch.randn(dimensions, _WIDTH) / dimensions**0.5)
        self.pace = nn.Parameter(torch.randn(_WIDTH, _WIDTH) * 0.1)
        self.pace_bias = nn.Parameter(torch.full((_WIDTH,), -2.0))
        self.decay = nn.Parameter(torch.log(torch.arange(1, _STATE + 1, dtype=torch.float32)).repeat(_WIDTH, 1))
        self.write = nn.Parameter(torch.randn(_WIDTH, _STATE) / _WIDTH**0.5)
        self.read = nn.Parameter(torch.randn(_WIDTH, _STATE) / _WIDTH**0.5)
        self.skip = nn.Parameter(torch.ones(_WIDTH))
        self.outward = nn.Parameter(torch.randn(_WIDTH) * 0.1)
        self.bias = nn.Parameter(torch.zeros(()))
        self.drop = nn.Dropout(_DROPPED)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        u = torch.tanh(self.drop(x) @ self.inward)
        step = F.softplus(u @ self.pace + self.pace_bias)
        rate, total = -torch.exp(self.decay), torch.zeros(len(x), _WIDTH)
        state = torch.zeros(len(x), _WIDTH, _STATE)
        for at in range(x.shape[1]):
            now, length = u[:, at], step[:, at]
            written = (now @ self.write)[:, None, :]
            state = state * torch.exp(length[..., None] * rate) + (length * now)[..., None] * written
            said = (state * (now @ self.read)[:, None, :]).sum(dim=-1) + self.skip * now
            total = total + torch.where((at < lengths)[:, None], said, 0.0)
        mean = total / lengths[:, None]
        found: Tensor = F.relu(mean) @ self.outward + self.bias
        return found


def demamba(examples: Examples) -> StateSpace:
    """A selective state-space layer over the frames, their mean, and a score."""
    torch.manual_seed(examples.seed)
    scaling = _Scaling(np.concatenate(examples.features).astype(np.float64))
    lengths = torch.tensor([len(one) for one in examples.features])
    x = torch.zeros(len(examples.features), int(lengths.max()), scaling.directions.shape[1])
    for place, one in enumerate(examples.features):
        x[place, : len(one)] = scaling(one)
    y, weights = (torch.tensor(v, dtype=torch.float32) for v in (examples.labels, examples.weights))
    net = _StateSpaceNet(x.shape[2])
    _train(net, lambda: F.binary_cross_entropy_with_logits(net(x, lengths), y, weights), steps=80)
    arrays = {name: _array(value) for name, value in net.named_parameters()}
    return StateSpace(scaling.center, scaling.scale, **(arrays | {"inward": scaling.directions @ arrays["inward"]}))
