"""A black-box attack with a budget of questions, on the user's own clips: how soon does a detector give way?

Square attack (Andriushchenko et al., ECCV 2020, arXiv 1912.00049): random squares of +-epsilon are tried and kept where
they move the detector's score the way that the attacker wants; nothing but the score is looked at. Theirs is of
pictures; here every frame carries the same pattern, as a fixed overlay would. The clip is handed over in memory, as
pixels: nobody's encoder takes the pattern out again, which is what an attacker who chooses his file can arrange.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeptrace.benchmark.robustness.clips import Form, Subject
from deeptrace.benchmark.robustness.figures import Asked, Row, row_of, score_of
from deeptrace.errors import DeeptraceError
from deeptrace.inference.executor import Executor
from deeptrace.inference.one_clip import failure
from deeptrace.inference.results import HOLDS, digest
from deeptrace.io.run_store import RunStore, key_of
from deeptrace.schema import Decision, Verdict
from deeptrace.video import open_video, video_from_array

__all__ = ["Attack", "attack_rows", "square"]

_SHORT_SIDE = 256
_FIRST_SHARE = 0.3
"""Of the picture that the first squares cover; the paper's p, which shrinks as the budget is spent."""
_HALVED_AT = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)
"""Shares of the budget after which p is halved: the paper's schedule."""


@dataclass(frozen=True)
class Attack:
    """What an attacker may do.

    Attributes:
        epsilon: most grey levels by which a pixel may differ.
        budgets: numbers of questions after which is looked at, rising.
    """

    epsilon: int = 8
    budgets: tuple[int, ...] = (10, 25, 50)


def square(
    images: NDArray[np.uint8],
    loss: Callable[[NDArray[np.uint8]], float],
    *,
    epsilon: int,
    budget: int,
    rng: np.random.Generator,
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """The best clip so far after each question, with their number; the attacker wants a small loss.

    Args:
        images: (T, H, W, 3) uint8.
        loss: asks about a clip of that shape; each call is one question.
        epsilon: most grey levels by which a pixel may differ.
        budget: number of questions.
        rng: draws the squares.
    """
    height, width = images.shape[1:3]
    # stripes to begin with: what a detector reacts to most, says the paper
    pattern = np.repeat(rng.choice([-epsilon, epsilon], size=(1, width, 3)), height, axis=0).astype(np.int16)
    best, least = images, np.inf
    for asked in range(1, budget + 1):
        tried = pattern.copy()
        if asked > 1:
            share = _FIRST_SHARE * 0.5 ** sum(asked / budget > part for part in _HALVED_AT)
            side = int(np.clip(round(np.sqrt(share * height * width)), 1, min(height, width)))
            top, left = rng.integers(0, height - side + 1), rng.integers(0, width - side + 1)
            tried[top : top + side, left : left + side] = rng.choice([-epsilon, epsilon], size=3)
        shown = np.clip(images.astype(np.int16) + tried, 0, 255).astype(np.uint8)
        if (found := loss(shown)) < least:
            best, least, pattern = shown, found, tried
        yield asked, best


def attack_rows(
    executor: Executor,
    store: RunStore,
    subjects: Sequence[Subject],
    form: Form,
    attack: Attack,
    *,
    resamples: int,
    seed: int,
    on_done: Callable[[int, int], object],
) -> list[Row]:
    """The clips in memory as they are, and after so many questions of an attacker.

    A real clip is attacked until it is called AI-generated, a generated one until it is not. An attack that has won
    asks no further. A detector that states no probability is attacked through what it gives in its place.
    """
    detector = digest(executor.info)
    keys = {one.name: _key(store, detector, one, attack, seed) for one in subjects}
    found: dict[str, list[Verdict]] = {}
    stop = threading.Event()
    with ThreadPoolExecutor(max_workers=max(executor.room, 1)) as pool:
        waiting = {}
        for one in subjects:
            record = store.find(keys[one.name])
            if record is not None:
                found[one.name] = [Verdict.model_validate(row) for row in record["verdicts"]]
            else:
                waiting[pool.submit(_attacked, executor, one, form, attack, seed, stop)] = one
        on_done(len(found), len(subjects))
        try:
            for future in as_completed(waiting):
                one = waiting[future]
                found[one.name] = future.result()
                if all(verdict.outcome in HOLDS for verdict in found[one.name]):
                    kept = [verdict.model_dump(mode="json") for verdict in found[one.name]]
                    store.add(keys[one.name], {"verdicts": kept})
                on_done(len(found), len(subjects))
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    how: dict[str, Any] = {"resamples": resamples, "seed": seed}
    plain = [Asked(one, found[one.name][0], found[one.name][0], changed=False) for one in subjects]
    rows = [row_of("as_pixels", "attack", "as they are, small and in memory", plain, reference=True, **how)]
    for number, budget in enumerate(attack.budgets, 1):
        asked = [Asked(one, found[one.name][0], found[one.name][number]) for one in subjects]
        meaning = f"squares of {attack.epsilon} grey levels, after {budget} questions"
        rows.append(row_of(f"square_{budget}", "attack", meaning, asked, **how))
    return rows


def _key(store: RunStore, detector: str, one: Subject, attack: Attack, seed: int) -> str | None:
    return key_of(store.content(one.path), detector, "square", repr(attack), str(seed), one.name)


def _attacked(
    executor: Executor, one: Subject, form: Form, attack: Attack, seed: int, stop: threading.Event
) -> list[Verdict]:
    """The verdict on the clip as it is, and on the best clip after each budget; all failed where the first is."""
    try:
        images, fps = _pixels(one, form)
    except (DeeptraceError, OSError, MemoryError) as error:
        return [failure(one.path, error, info=executor.info).verdict] * (len(attack.budgets) + 1)

    def ask(shown: NDArray[np.uint8]) -> Verdict:
        return executor.submit(video_from_array(shown, fps=fps, name=one.name)).result().verdict

    first = ask(images)
    wish = 1.0 if one.fake else -1.0
    if first.label is None or _won(one, first):
        return [first] * (len(attack.budgets) + 1)
    best, least = first, wish * score_of(first)
    verdicts: list[Verdict] = [first]

    def loss(shown: NDArray[np.uint8]) -> float:
        nonlocal best, least
        said = ask(shown)
        value = np.inf if said.label is None else wish * score_of(said)
        if value < least or (said.label is not None and _won(one, said) and not _won(one, best)):
            best, least = said, value
        return float(value)

    rng = np.random.default_rng((seed, one.seed))
    for asked, _ in square(images, loss, epsilon=attack.epsilon, budget=max(attack.budgets), rng=rng):
        if asked in attack.budgets:
            verdicts.append(best)
        if _won(one, best) or stop.is_set():
            break
    return verdicts + [best] * (len(attack.budgets) + 1 - len(verdicts))


def _won(one: Subject, said: Verdict) -> bool:
    """Whether the attacker has nothing left to do."""
    return one.fake is not (said.decision is Decision.GENERATED)


def _pixels(one: Subject, form: Form) -> tuple[NDArray[np.uint8], float]:
    """The clip's frames (T, H, W, 3) at a small size, and their rate.

    Raises:
        VideoError: it cannot be decoded.
    """
    with open_video(one.path) as video:
        media = video.media
        scale = min(_SHORT_SIDE / min(media.width, media.height), 1.0)
        size = (max(round(media.width * scale / 2) * 2, 2), max(round(media.height * scale / 2) * 2, 2))
        frames = list(video.frames(max_fps=form.max_fps, size=size, end_s=form.seconds))
    rate = (len(frames) - 1) / (frames[-1].time_s - frames[0].time_s) if len(frames) > 1 else form.max_fps
    return np.stack([frame.image for frame in frames]), rate
