"""The trained baselines: what each measures, what its model is given, and the paper that it follows.

Each is small, trains on a CPU in minutes, and is not the original: `differs` says in what. How each learns stands
beside its name in `deeptrace.train.baselines.fits`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:  # what measures loads ONNX Runtime, which constant answers do without
    from deeptrace.detectors.baselines.measures import Measured

__all__ = ["RECIPES", "REGIONS", "SKIPS", "Recipe"]

REGIONS = 3
"""Regions across and down the picture."""

SKIPS = (1, 2, 4)
"""Frames from one to the next in the samplings of the frame-skipping ensemble."""
_LEAK = 0.6
_FIRST = 7


@dataclass(frozen=True)
class Recipe:
    """One trained baseline.

    Attributes:
        name: after "baseline:".
        idea: in a line.
        paper: whose idea.
        differs: what is not as in the paper.
        measures: what is measured of a clip.
        features: what the model is given, from the measures.
        needs_torch: whether its training does; asking it never does.
        taught_by: what else is measured of the clips that it learns from.
        frames: (n, ...) the features of each frame that its first measure is taken of, alone; None where it is
            judged by motion, or by all frames at once.
        activated: whether its place is that which speaks most for "generated" in the encoder's maps, by a linear model
            whose first features are the mean embedding.
    """

    name: str
    idea: str
    paper: str
    differs: str
    measures: tuple[str, ...]
    features: Callable[[Measured], np.ndarray]
    needs_torch: bool = False
    taught_by: tuple[str, ...] = ()
    frames: Callable[[Measured], np.ndarray] | None = None
    activated: bool = False

    @property
    def has_encoder(self) -> bool:
        """Whether it sees frames through an encoder, which may be the user's."""
        return any("embeddings" in name for name in self.measures)


def _one(name: str) -> Callable[[Measured], np.ndarray]:
    return lambda measured: measured[name]


def _mean_embedding(measured: Measured) -> np.ndarray:
    return np.asarray(measured["embeddings"].mean(axis=0))


def _each_embedding(measured: Measured) -> np.ndarray:
    return np.asarray(measured["embeddings"])


def _each_frames_regions(measured: Measured) -> np.ndarray:
    rows = measured["local_relations"]
    return rows.reshape(-1, REGIONS * REGIONS, rows.shape[-1])


def _second_order(measured: Measured) -> np.ndarray:
    """D3's statistic: the spread of the changes of the distance from frame to frame."""
    distances = np.linalg.norm(np.diff(measured["embeddings"], axis=0), axis=1)
    return np.array([np.log(np.diff(distances).std() + 1e-3)])


def _trajectory(measured: Measured) -> np.ndarray:
    """Distances and turns along the path through the embeddings: the first ones, then mean, spread, least and most.

    A clip of fewer frames has its mean in the places of those that are missing.
    """
    steps = np.diff(measured["embeddings"], axis=0)
    distances = np.linalg.norm(steps, axis=1)
    cosines = (steps[1:] * steps[:-1]).sum(axis=1) / np.maximum(distances[1:] * distances[:-1], 1e-6)
    turns = np.arccos(np.clip(cosines, -1.0, 1.0))
    parts: list[np.ndarray] = []
    for series, count in ((np.log1p(distances), _FIRST), (turns, _FIRST - 1)):
        first = np.full(count, series.mean())
        first[: len(series)] = series[:count]
        parts += [first, np.array([series.mean(), series.std(), series.min(), series.max()])]
    return np.concatenate(parts)


def _experts(measured: Measured) -> np.ndarray:
    return np.concatenate([_mean_embedding(measured), measured["motion"], measured["geometry"]])


def _skipping(measured: Measured) -> np.ndarray:
    """For each sampling, the last state of a leaky memory and the mean size of a step: (samplings * 2 * D,)."""
    parts = []
    for skip in SKIPS:
        chosen = measured["embeddings"][::skip]
        state = chosen[0]
        for row in chosen[1:]:
            state = _LEAK * state + (1.0 - _LEAK) * row
        steps = np.abs(np.diff(chosen, axis=0)) if len(chosen) > 1 else np.zeros_like(chosen)
        parts += [state, steps.mean(axis=0)]
    return np.concatenate(parts)


_FROZEN = "the encoder is EfficientNet-Lite0, as in the package"

_ALL = (
    Recipe(
        "probe",
        "a linear probe of a frozen image encoder",
        "Ojha et al., Towards Universal Fake Image Detectors that Generalize Across Generative Models, CVPR 2023, "
        "arXiv 2302.10174",
        f"{_FROZEN} instead of CLIP; frames are averaged",
        ("embeddings",),
        _mean_embedding,
        frames=_each_embedding,
    ),
    Recipe(
        "npr",
        "relations of neighbouring pixels, left by up-sampling",
        "Tan et al., Rethinking the Up-Sampling Operations in CNN-based Generative Network for Generalizable Deepfake "
        "Detection, CVPR 2024, arXiv 2312.10461",
        "frequencies of the relations go to a linear model, where the paper trains a ResNet on their map",
        ("relations",),
        _one("relations"),
    ),
    Recipe(
        "patchcraft",
        "contrast of rich and poor texture",
        "Zhong et al., PatchCraft: Exploring Texture Patch for Efficient AI-generated Image Detection, "
        "arXiv 2311.12397",
        "frequencies of residuals go to a linear model, where the paper trains a small CNN on mosaics of patches",
        ("patches",),
        _one("patches"),
    ),
    Recipe(
        "fakelocator",
        "a map of how generated each region looks, from up-sampling traces",
        "Huang et al., FakeLocator: Robust Localization of GAN-Based Face Manipulations, arXiv 2001.09598",
        "learned from labels of clips and not from masks, on 3 x 3 regions, without attention to faces",
        ("local_relations",),
        _one("local_relations"),
        frames=_each_frames_regions,
    ),
    Recipe(
        "d3",
        "evenness of second-order differences in a frozen encoder's features",
        "Zheng et al., D3: Training-Free AI-Generated Video Detection Using Second-Order Features, ICCV 2025, "
        "arXiv 2508.00701",
        f"{_FROZEN}; sign and threshold are learned",
        ("embeddings",),
        _second_order,
    ),
    Recipe(
        "restrav",
        "how straight the path through a frozen encoder's features is",
        "Internò et al., AI-Generated Video Detection via Perceptual Straightening, arXiv 2507.00583",
        f"{_FROZEN} instead of DINOv2; a kernel-like linear model instead of a small net",
        ("embeddings",),
        _trajectory,
    ),
    Recipe(
        "stall",
        "likelihood of frames and of steps among real footage alone",
        "Ben Hayun et al., Training-free Detection of Generated Videos via Spatial-Temporal Likelihoods, CVPR 2026, "
        "arXiv 2603.15026",
        f"{_FROZEN} instead of DINOv3; the footage that calibrates it is that of the training",
        ("embeddings",),
        _one("embeddings"),
    ),
    Recipe(
        "motion-vectors",
        "the codec's motion vectors and their spectrum over time",
        "Temporal Realism Evaluation of Generated Videos Using Compressed-Domain Motion Vectors, Kurban Intelligence "
        "Lab, 2025",
        "statistics of the vectors instead of nets on maps of them; every clip is encoded alike first",
        ("vectors",),
        _one("vectors"),
    ),
    Recipe(
        "what-matters",
        "experts on appearance, motion and geometry, averaged",
        "Chang et al., What Matters in Detecting AI-Generated Videos like Sora?, arXiv 2406.19568",
        "linear experts instead of 3-D CNNs; geometry is epipolar instead of estimated depth; "
        "Grad-CAM of the appearance expert alone",
        ("embeddings", "motion", "geometry"),
        _experts,
        activated=True,
    ),
    Recipe(
        "prediction",
        "how the next frame differs from what was to be expected",
        "Feng et al., Convolutional Transformer based Dual Discriminator Generative Adversarial Networks for Video "
        "Anomaly Detection, ACM MM 2021, arXiv 2107.13720",
        "motion is continued evenly instead of predicted by a net; what is learned is how the error looks",
        ("prediction",),
        _one("prediction"),
    ),
    Recipe(
        "frame-skip",
        "several samplings of a clip, each with a memory, under a meta-model",
        "Muhammad et al., Deep Ensemble Learning with Frame Skipping for Face Anti-Spoofing, arXiv 2307.02858",
        f"{_FROZEN}; leaky memories with linear models instead of recurrent nets",
        ("embeddings",),
        _skipping,
    ),
    Recipe(
        "lsda",
        "forgeries made up in the space of features, then distilled",
        "Yan et al., Transcending Forgery Specificity with Latent Space Augmentation for Generalizable Deepfake "
        "Detection, CVPR 2024, arXiv 2311.11278",
        f"{_FROZEN}, for teacher and student alike; generators are the forgery types",
        ("embeddings",),
        _mean_embedding,
        frames=_each_embedding,
        needs_torch=True,
    ),
    Recipe(
        "qad",
        "one model for all qualities, whose features of both depend on each other",
        "Le and Woo, Quality-Agnostic Deepfake Detection with Intra-model Collaborative Learning, ICCV 2023, "
        "arXiv 2309.05911",
        f"{_FROZEN}; two qualities; weights are perturbed in the small net only",
        ("embeddings",),
        _mean_embedding,
        frames=_each_embedding,
        needs_torch=True,
        taught_by=("recoded_embeddings",),
    ),
    Recipe(
        "ucf",
        "forgery features common to all generators, apart from content and from what is one generator's own",
        "Yan et al., UCF: Uncovering Common Features for Generalizable Deepfake Detection, ICCV 2023, arXiv 2304.13949",
        f"{_FROZEN}; features are put together again, not pictures",
        ("embeddings",),
        _mean_embedding,
        frames=_each_embedding,
        needs_torch=True,
    ),
    Recipe(
        "genconvit",
        "features together with what an autoencoder and a variational one make of them",
        "Wodajo et al., Deepfake Video Detection Using Generative Convolutional Vision Transformer, arXiv 2307.07036",
        f"{_FROZEN} instead of ConvNeXt and Swin; features are encoded, not pictures",
        ("embeddings",),
        _mean_embedding,
        frames=_each_embedding,
        needs_torch=True,
    ),
    Recipe(
        "demamba",
        "a selective state space over the frames' features",
        "Chen et al., DeMamba: AI-Generated Video Detection on Million-Scale GenVideo Benchmark, arXiv 2405.19707",
        f"{_FROZEN}, unlike CLIP not trained on; one token a frame instead of one a region",
        ("embeddings",),
        _one("embeddings"),
        needs_torch=True,
    ),
    Recipe(
        "gm-df",
        "an expert for each domain beside a common one, meta-learned so that what some teach holds on another",
        "Lai et al., GM-DF: Generalized Multi-Scenario Deepfake Detection, arXiv 2406.20078",
        f"{_FROZEN} instead of CLIP with texts; domains are data folders, or parts of one folder's generators and "
        "sources; features are masked, not pictures; slopes of the first order",
        ("embeddings",),
        _mean_embedding,
        frames=_each_embedding,
        needs_torch=True,
    ),
    Recipe(
        "difficulty-boosting",
        "clips weigh by how hard they are, as a moving average says",
        "Bhattacharyya et al., Diffusion Deepfake, arXiv 2404.01579 (momentum difficulty boosting)",
        f"{_FROZEN}, under a small net; weights grow with a moving average of each clip's own loss, after the paper's "
        "idea and not its formula",
        ("embeddings",),
        _mean_embedding,
        frames=_each_embedding,
        needs_torch=True,
    ),
)

RECIPES: dict[str, Recipe] = {recipe.name: recipe for recipe in _ALL}
"""Every trained baseline by name."""
