"""What baselines measure in footage: each a pure function of `Footage`, its result kept by the training.

| name | result | after |
|---|---|---|
| `relations` | (252,) | NPR's neighbouring-pixel relations, as frequencies |
| `local_relations` | (n, 63) | the relations of each ninth of some frames alone |
| `patches` | (234,) | PatchCraft's contrast of rich and poor texture |
| `embeddings` | (n, 704) | a frozen image encoder, one row for each of the first frames |
| `recoded_embeddings` | (2, 704) | the mean of four frames as they are, and after a hard compression |
| `vectors` | (40,) | the codec's motion vectors: size, order, spectrum over time |
| `motion` | (26,) | dense optical flow and what it leaves unexplained |
| `geometry` | (14,) | how far that flow is the motion of one rigid scene |
| `prediction` | (26,) | how well the next frame follows from those before, in ten bands of detail |
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

import cv2
import numpy as np

from deeptrace.detectors.baselines.backbones import load_backbone
from deeptrace.detectors.baselines.footage import FLOW_SIDE, Footage, encoded_again
from deeptrace.detectors.baselines.recipes import REGIONS
from deeptrace.detectors.tracenet.appearance import shipped_appearance
from deeptrace.detectors.tracenet.evidence import looked_up, places
from deeptrace.detectors.tracenet.texture import Tally, quantised

__all__ = ["ENCODED", "FRAMES_OF", "MEASURES", "Measured", "measure"]

Measured = Mapping[str, np.ndarray]
"""What was measured of one clip, by name."""

EMBEDDED = 16
"""Frames that the encoder sees, the first ones: a clip's trajectory in two seconds."""
_REGIONED = 4
_RECODED = 4
_LOW_CRF = 36
_PATCH = 16
_GRID = 13
_BLOCK = 16
_BANDS = 10
_EVERY = 4


def measure(footage: Footage, names: Iterable[str], backbone: str | None = None) -> dict[str, np.ndarray]:
    """The named measures of footage.

    Args:
        footage: of a clip.
        names: of `MEASURES`.
        backbone: folder of the encoder whose embeddings are wanted; None for the one in the package.

    Raises:
        KeyError: no measure has that name.
        ModelError, MissingExtraError: as `load_backbone`.
    """
    if backbone is None:
        return {name: MEASURES[name](footage) for name in names}
    encoder = load_backbone(backbone)
    return {name: ENCODED[name](footage, encoder) if name in ENCODED else MEASURES[name](footage) for name in names}


# -- pixels -----------------------------------------------------------------------------------------------------------


def relations(footage: Footage) -> np.ndarray:
    """Frequencies of neighbouring-pixel relations: what a pixel's three neighbours in its cell of 2 x 2 differ by.

    NPR (Tan et al., CVPR 2024, arXiv 2312.10461, eq. 4): x minus its nearest-neighbour down- and up-sampling by two.
    """
    tally = Tally()
    for frame in footage.some(8):
        planes = cv2.split(cv2.cvtColor(frame, cv2.COLOR_RGB2YCrCb))
        for plane, name, steps in zip(planes, ("luma", "red", "blue"), ((1, 3), (1,), (1,)), strict=True):
            others = _neighbours(plane.astype(np.float32))
            for step in steps:
                tally.joint(f"{name}{step}", [other / step for other in others], 2)
    return np.asarray(np.sqrt(np.concatenate(list(tally.frequencies().values()))), np.float32)


def local_relations(footage: Footage) -> np.ndarray:
    """Relations of brightness alone in each of 3 x 3 regions of four frames, (frames * 9, 63), row by row."""
    return np.stack([_relations_of(region) for frame in footage.some(_REGIONED) for region in _regions_of(frame)])


def _regions_of(frame: np.ndarray) -> Iterator[np.ndarray]:
    luma = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32)
    side = luma.shape[0] // REGIONS // 2 * 2
    for row in range(REGIONS):
        for column in range(REGIONS):
            yield luma[row * side : (row + 1) * side, column * side : (column + 1) * side]


def _relations_of(luma: np.ndarray) -> np.ndarray:
    tally = Tally()
    tally.joint("luma", _neighbours(luma), 2)
    return np.asarray(np.sqrt(tally.frequencies()["luma"]), np.float32)


def _neighbours(pixels: np.ndarray) -> list[np.ndarray]:
    """Right, lower and diagonal neighbour in every cell of 2 x 2, less the corner that down-sampling keeps."""
    corner = pixels[::2, ::2]
    return [cv2.subtract(pixels[down::2, across::2], corner) for down, across in ((0, 1), (1, 0), (1, 1))]


_RESIDUALS: tuple[tuple[str, np.ndarray, float], ...] = (
    ("across", np.array([[0, -1, 1]], np.float32), 1),
    ("across3", np.array([[0, -1, 1]], np.float32), 3),
    ("down", np.array([[0], [-1], [1]], np.float32), 1),
    ("second", np.array([[1, -2, 1]], np.float32), 2),
    ("square", np.array([[-1, 2, -1], [2, -4, 2], [-1, 2, -1]], np.float32), 4),
    ("edge", np.array([[-1, 2, -1], [2, -4, 2], [0, 0, 0]], np.float32), 4),
)
"""High-pass filters of rich models of images (Fridrich and Kodovsky 2012), and the step that levels have."""


def patches(footage: Footage) -> np.ndarray:
    """Contrast of inter-pixel correlation between the richest and the poorest third of a picture's patches.

    PatchCraft (Zhong et al., arXiv 2311.12397): texture diversity (eq. 1) sorts patches; the residuals of the rich and
    of the poor ones are compared. Generators draw poor regions with a correlation that rich ones do not have.
    """
    tally = Tally()
    for frame in footage.some(6):
        luma = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32)
        order = np.argsort(_diversity(luma), kind="stable")
        third = len(order) // 3
        for name, kernel, step in _RESIDUALS:
            levels = _patches_of(quantised(cv2.filter2D(luma, -1, kernel), step))
            for side, chosen in (("poor", order[:third]), ("rich", order[-third:])):
                rows = np.ascontiguousarray(levels[chosen].reshape(-1, _PATCH))
                tally.triples(f"{side}.{name}", rows, 1)
    found = {name: np.sqrt(shares) for name, shares in tally.frequencies().items()}
    contrast = [found[f"rich.{name}"] - found[f"poor.{name}"] for name, _, _ in _RESIDUALS]
    return np.concatenate(contrast).astype(np.float32)


def _diversity(luma: np.ndarray) -> np.ndarray:
    """(patches,) sum of absolute differences to the neighbours in four directions."""
    total = np.zeros_like(luma)
    for down, across in ((0, 1), (1, 0), (1, 1), (1, -1)):
        total += np.abs(luma - np.roll(luma, (-down, -across), axis=(0, 1)))
    return np.asarray(_patches_of(total).sum(axis=(1, 2)))


def _patches_of(picture: np.ndarray) -> np.ndarray:
    """(patches, _PATCH, _PATCH); what is left over at the right and below is not used."""
    rows, columns = picture.shape[0] // _PATCH, picture.shape[1] // _PATCH
    cut = picture[: rows * _PATCH, : columns * _PATCH].reshape(rows, _PATCH, columns, _PATCH)
    return np.asarray(cut.transpose(0, 2, 1, 3).reshape(-1, _PATCH, _PATCH))


# -- a frozen encoder -------------------------------------------------------------------------------------------------


Encoder = Callable[[np.ndarray], np.ndarray]
"""Frames (T, S, S, 3) uint8 to rows (n, D), rising in time."""


def embeddings(footage: Footage, encoder: Encoder | None = None) -> np.ndarray:
    """(n, 704) what the image encoder in the package says of each of the first frames; (n, D) by another encoder."""
    return (encoder or _embedded)(footage.frames[:EMBEDDED])


def recoded_embeddings(footage: Footage, encoder: Encoder | None = None) -> np.ndarray:
    """(2, 704) mean over some frames as they are, and after a hard compression: a pair of qualities of one content."""
    chosen, encode = footage.some(_RECODED), encoder or _embedded
    low, _, _ = encoded_again(list(chosen), _LOW_CRF)
    return np.stack([encode(chosen).mean(axis=0), encode(low).mean(axis=0)])


def _embedded(frames: np.ndarray) -> np.ndarray:
    encoder = shipped_appearance()  # takes two pictures and says their mean, so each is given twice
    return np.stack([encoder.of_middle([frame, frame]) for frame in frames])


# -- motion -----------------------------------------------------------------------------------------------------------


def vectors(footage: Footage) -> np.ndarray:
    """Statistics of the codec's motion vectors, and the spectrum over time of what they and the bits say.

    After "Temporal Realism Evaluation of Generated Videos Using Compressed-Domain Motion Vectors" (Kurban Intelligence
    Lab, 2025): generated motion has other vectors than filmed motion. That trains nets on maps of them; here they are
    summed up.
    """
    side = footage.frames.shape[1]
    grids = [_vector_grid(found, side) for found in footage.vectors[1:]]
    speeds = np.stack([np.hypot(grid[..., 0], grid[..., 1]) for grid in grids])
    unknown = np.isnan(speeds)
    rows = [_vector_row(grid, before) for grid, before in zip(grids[1:], grids, strict=False)]
    table = np.array(rows)
    mean_speed = np.log1p(np.where(unknown, 0.0, speeds).mean(axis=(1, 2)))
    bits = np.log(footage.sizes[1:].astype(np.float64))
    return np.concatenate(
        [
            table.mean(axis=0),
            table.std(axis=0),
            _spectrum(mean_speed),
            _spectrum(bits),
            [unknown.mean(), (speeds == 0).mean(), bits.mean(), bits.std(), np.abs(np.diff(bits)).mean()],
            [np.log(float(footage.sizes[0])) - bits.mean()],
        ]
    ).astype(np.float32)


def _vector_grid(found: np.ndarray, side: int) -> np.ndarray:
    """(rows, columns, 2) motion of each block of 16 pixels, parts of it by their area; NaN where not predicted."""
    cells = side // _BLOCK
    at = np.minimum((found[:, :2] // _BLOCK).astype(int), cells - 1)
    place = at[:, 1] * cells + at[:, 0]
    weight = np.bincount(place, weights=found[:, 4], minlength=cells * cells)
    with np.errstate(invalid="ignore"):
        parts = [
            np.bincount(place, weights=found[:, 4] * found[:, k], minlength=cells * cells) / weight for k in (2, 3)
        ]
    return np.stack(parts, axis=-1).reshape(cells, cells, 2)


def _vector_row(grid: np.ndarray, before: np.ndarray) -> list[float]:
    """What one frame's vectors say: size, spread, order in space and time."""
    speed = np.hypot(grid[..., 0], grid[..., 1])
    moving = speed[~np.isnan(speed) & (speed > 0)]
    apart = [np.hypot(*np.moveaxis(np.diff(grid, axis=axis), -1, 0)) for axis in (0, 1)]
    change = np.hypot(*np.moveaxis(grid - before, -1, 0))
    return [
        *(np.log1p(_or_zero(moving, f)) for f in (np.mean, np.std, np.max)),
        _direction_entropy(grid),
        *(np.log1p(_or_zero(one[~np.isnan(one)], np.mean)) for one in apart),
        np.log1p(_or_zero(change[~np.isnan(change)], np.mean)),
        np.log1p(_or_zero(change[~np.isnan(change)], np.std)),
        float(np.isnan(speed).mean()),
        moving.size / speed.size,
        float((grid == before).all(axis=-1).mean()),
    ]


def _direction_entropy(grid: np.ndarray) -> float:
    """Of the directions of motion in eight sectors, by size; 0 where nothing moves or all moves one way, at most 1."""
    known = grid[~np.isnan(grid).any(axis=-1)]
    sectors = (np.arctan2(known[:, 1], known[:, 0]) / (np.pi / 4)).round().astype(int) % 8
    shares = np.bincount(sectors, weights=np.hypot(known[:, 0], known[:, 1]), minlength=8)
    shares = shares[shares > 0] / max(shares.sum(), 1e-9)
    return float(-(shares * np.log(shares)).sum() / np.log(8)) if len(shares) else 0.0


def _spectrum(series: np.ndarray) -> np.ndarray:
    """(6,) share of a series' variance in bands of frequency, from slow to as fast as frames show."""
    power = np.abs(np.fft.rfft(series - series.mean())) ** 2
    frequency = np.linspace(0, 1, len(power))
    bands = np.minimum((frequency * 6).astype(int), 5)
    sums = np.bincount(bands[1:], weights=power[1:], minlength=6)
    return np.asarray(sums / max(sums.sum(), 1e-9))


def _or_zero(values: np.ndarray, fold: Callable[[np.ndarray], float]) -> float:
    return float(fold(values)) if values.size else 0.0


def motion(footage: Footage) -> np.ndarray:
    """Optical flow's size, smoothness and change, and what it leaves unexplained: mean and spread over time.

    The motion expert of "What Matters in Detecting AI-Generated Videos like Sora?" (Chang et al., arXiv 2406.19568),
    which trains a 3-D CNN on flow.
    """
    rows = np.array(list(_flow_rows(footage)))
    return np.concatenate([rows.mean(axis=0), rows.std(axis=0)]).astype(np.float32)


def _flow_rows(footage: Footage) -> Iterator[list[float]]:
    before = footage.flows[0]
    for flow, here, there in zip(footage.flows, footage.grey, footage.grey[1:], strict=False):
        speed = np.hypot(flow[..., 0], flow[..., 1])
        (u_y, u_x), (v_y, v_x) = (np.gradient(flow[..., k]) for k in (0, 1))
        left = np.abs(looked_up(there, places(FLOW_SIDE) + flow).astype(np.float32) - here)
        still = np.abs(there.astype(np.float32) - here)
        yield np.log1p(
            [
                speed.mean(), speed.std(), *np.quantile(speed, (0.1, 0.5, 0.9)),
                np.abs(u_x + v_y).mean(), np.abs(v_x - u_y).mean(), np.hypot(u_x, v_y).std(),
                left.mean(), np.quantile(left, 0.95), still.mean(), left.mean() / (still.mean() + 1e-3),
                np.abs(flow - before).mean(),
            ]
        ).tolist()  # fmt: skip
        before = flow


def geometry(footage: Footage) -> np.ndarray:
    """How far the flow is that of one plane, and of one rigid scene seen by one camera: mean and spread over time.

    The geometry expert of "What Matters" reads depth off a pretrained net; without one, this asks what depth would have
    to obey: epipolar geometry (the share of points that one fundamental matrix explains, and how well).
    """
    rows = np.array([_rigid_row(flow) for flow in footage.flows[::_EVERY]])
    return np.concatenate([rows.mean(axis=0), rows.std(axis=0)]).astype(np.float32)


def _rigid_row(flow: np.ndarray) -> list[float]:
    line = np.linspace(4, FLOW_SIDE - 5, _GRID).astype(int)
    points = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2).astype(np.float32)
    moved = points + flow[points[:, 1].astype(int), points[:, 0].astype(int)]
    plane, on_plane = cv2.findHomography(points, moved, cv2.RANSAC, 0.5)
    scene, in_scene = cv2.findFundamentalMat(points, moved, cv2.FM_RANSAC, 0.5, 0.99)
    if plane is None or on_plane is None:
        away, flat = np.zeros(len(points)), 0.0
    else:
        away, flat = _off_plane(plane, points, moved), float(on_plane.mean())
    rigid = 0.0 if in_scene is None or scene is None or scene.shape != (3, 3) else float(in_scene.mean())
    return [flat, rigid, rigid - flat, *np.log1p([away.mean(), np.median(away), away.max()]).tolist(), _turn(plane)]


def _off_plane(plane: np.ndarray, points: np.ndarray, moved: np.ndarray) -> np.ndarray:
    """(N,) pixels between where a plane's motion takes points, and where they went; at most the picture's side."""
    taken = cv2.perspectiveTransform(points[None], plane)[0]
    away = np.hypot(*(taken - moved).T)
    return np.asarray(np.clip(np.nan_to_num(away, nan=FLOW_SIDE), 0, FLOW_SIDE))


def _turn(plane: np.ndarray | None) -> float:
    """How much a plane's motion turns, scales and shears."""
    return 0.0 if plane is None else float(min(np.abs(plane[:2, :2] - np.eye(2)).sum(), 4.0))


def prediction(footage: Footage) -> np.ndarray:
    """What is left of each frame after predicting it from the two before along their motion, by band of detail.

    The idea of CT-D2GAN (Feng et al., ACM MM 2021, arXiv 2107.13720): a model of what comes next errs more where
    something is not as footage is. There a convolutional transformer learns to predict; here motion is continued
    evenly (constant velocity), and what is learned is how footage errs.
    """
    rows = np.array(list(_prediction_rows(footage)))
    return np.concatenate([rows.mean(axis=0), rows.std(axis=0)]).astype(np.float32)


def _prediction_rows(footage: Footage) -> Iterator[list[float]]:
    grey = footage.grey.astype(np.float32)
    for index in range(2, len(grey)):
        back = -footage.flows[index - 2]  # even motion: the next frame came from where this one would have come from
        expected = looked_up(grey[index - 1], places(FLOW_SIDE) + back)
        error, step = grey[index] - expected, grey[index] - grey[index - 1]
        scale = float(np.abs(step).mean()) + 0.5
        bands = _band_powers(error) - _band_powers(grey[index])
        yield [*bands.tolist(), float(np.log(np.abs(error).mean() / scale + 1e-3)), _kurtosis(error), _kurtosis(step)]


def _band_powers(picture: np.ndarray) -> np.ndarray:
    """(_BANDS,) log of the mean power in rings of frequency, from coarse to fine."""
    power = np.abs(np.fft.rfft2(picture - picture.mean())) ** 2
    y, x = np.fft.fftfreq(picture.shape[0])[:, None], np.fft.rfftfreq(picture.shape[1])
    ring = np.minimum((np.hypot(x, y) / 0.5 * _BANDS).astype(int), _BANDS - 1)
    sums = np.bincount(ring.ravel(), weights=power.ravel(), minlength=_BANDS)
    return np.asarray(np.log(sums / np.bincount(ring.ravel(), minlength=_BANDS) + 1.0))


def _kurtosis(values: np.ndarray) -> float:
    spread = float(values.std()) + 1e-3
    return float(np.log1p((((values - values.mean()) / spread) ** 4).mean()))


MEASURES: dict[str, Callable[[Footage], np.ndarray]] = {
    "relations": relations,
    "local_relations": local_relations,
    "patches": patches,
    "embeddings": embeddings,
    "recoded_embeddings": recoded_embeddings,
    "vectors": vectors,
    "motion": motion,
    "geometry": geometry,
    "prediction": prediction,
}
"""Every measure by name."""

ENCODED: dict[str, Callable[[Footage, Encoder], np.ndarray]] = {
    "embeddings": embeddings,
    "recoded_embeddings": recoded_embeddings,
}
"""Those that an encoder makes, which the user may choose."""

FRAMES_OF: dict[str, Callable[[Footage], np.ndarray]] = {
    "embeddings": lambda footage: np.arange(min(EMBEDDED, len(footage.frames))),
    "local_relations": lambda footage: footage.spread(_REGIONED),
}
"""(n,) which frames a measure has rows of, where it has a row, or as many as there are regions, for each."""
