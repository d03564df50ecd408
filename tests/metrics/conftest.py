"""Made-up runs with known structure, for the tests of the metrics."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from deeptrace.geometry import Box, Keyframe
from deeptrace.schema import Category, Label, Media, Outcome, Sample, Trace, Verdict

Run = tuple[list[Sample], list[Verdict]]
MEDIA = Media(width=1280, height=720, duration_s=5.0)
WORDS = ("hand", "melts", "into", "cup", "the", "face", "blurs", "wall", "ripples", "leg", "splits", "extra", "arm")


def random_trace(rng: np.random.Generator, *, score: bool, moving: bool = False) -> Trace:
    x, y = rng.uniform(0, 0.6, 2)
    w, h = rng.uniform(0.1, 0.4, 2)
    onset = float(rng.uniform(0, 3))
    offset = onset + float(rng.uniform(0.2, 2))
    keys = tuple(
        Keyframe(time_s=onset + (offset - onset) * i / 3, box=Box(x0=x, y0=y, x1=x + w * (i + 1) / 3, y1=y + h))
        for i in range(3)
    )
    return Trace(
        box=Box(x0=x, y0=y, x1=x + w, y1=y + h),
        keyframes=keys if moving else (),
        onset_s=onset,
        offset_s=offset,
        score=float(rng.uniform()) if score else None,
        categories=(list(Category)[rng.integers(9)],),
        explanation=" ".join(rng.choice(WORDS, 8)),
    )


@pytest.fixture(scope="session")
def make_run() -> Callable[..., Run]:
    """A run of `videos` videos, half of them generated, with predictions that are somewhat right."""

    def make(videos: int, *, seed: int = 0, moving: bool = False) -> Run:
        rng = np.random.default_rng(seed)
        samples: list[Sample] = []
        verdicts: list[Verdict] = []
        for i in range(videos):
            fake = bool(i % 2)
            true = tuple(random_trace(rng, score=False) for _ in range(rng.integers(1, 4))) if fake else ()
            samples.append(
                Sample(
                    video_id=f"v{i}",
                    path=f"v{i}.mp4",
                    label=Label.FAKE if fake else Label.REAL,
                    source=f"generator-{i % 6}" if fake else "camera",
                    media=MEDIA,
                    traces=true,
                )
            )
            p = float(np.clip(rng.normal(0.6 if fake else 0.4, 0.2), 0, 1))
            guesses = [random_trace(rng, score=True, moving=moving) for _ in range(rng.integers(0, 3))]
            near = [t.model_copy(update={"score": float(rng.uniform())}) for t in true if rng.uniform() < 0.5]
            verdicts.append(
                Verdict(
                    video=f"v{i}.mp4",
                    outcome=Outcome.SCORED,
                    label=Label.FAKE if p >= 0.5 else Label.REAL,
                    p_fake=p,
                    traces=tuple(guesses + near),
                )
            )
        return samples, verdicts

    return make
