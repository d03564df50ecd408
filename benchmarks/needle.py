"""A generated needle in a long real video: is it found, and when?

    deeptrace train tracenet CONFIG     # on other folders than FOLDER, so that no clip here was learned from
    python benchmarks/needle.py FOLDER --model out/tracenet/model [--videos 40] [--seconds 60] [--out out/needle]

FOLDER is RewardData. Each long video is made of pieces of its camera clips, one after another, all in one size and
encoding, none faster than 8 frames a second. A second one is the same with a generated piece in one place, so that
there are cuts everywhere and a cut tells nothing. Both go through the same `analyse` that users' clips go through, and
what is asked is:

- told: AUROC of `p_fake` of the long videos with a needle against those without, and of those called AI-generated;
- found: whether the window with the highest chance lies in the needle, beside a window drawn at random;
- windows: AUROC of the chance of windows that lie in a needle against all others, as if each were a clip.

Seeded; answers are kept in --out, so that a second run only prints.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from deeptrace.detectors import load_detector
from deeptrace.detectors.base import AnalysingDetector
from deeptrace.detectors.curves import CHANCE
from deeptrace.detectors.tracenet.model import CARD_NAME, HASH_DIGITS, Card, shipped_folder
from deeptrace.detectors.tracenet.windows import LENGTH, RATE_FPS
from deeptrace.errors import DataError, DeeptraceError
from deeptrace.io.fingerprint import sha256_of
from deeptrace.io.journal import Lines
from deeptrace.metrics import auroc
from deeptrace.schema import Decision
from deeptrace.train.tracenet.clips import CAMERA, Clip, Kind, read_clips
from deeptrace.video import Frame, open_video, write_video

WIDTH, HEIGHT, CRF = 456, 256, 23
PIECE_S = 5.0
NEEDLE_S = 4.0
"""More than half of some window lies in it wherever it begins: windows are 3 s long, one after another."""


@dataclass(frozen=True)
class Piece:
    """The beginning of a clip.

    Attributes:
        frames: (HEIGHT, WIDTH) pixels, times from 0.
        seconds: how long it lasts.
    """

    frames: list[Frame]
    seconds: float


@dataclass(frozen=True)
class Answer:
    """What was said of one long video.

    Attributes:
        p_fake: of the whole.
        decision: what people are told.
        windows: (start in seconds, chance) of each.
        needle: onset and offset of the generated piece in seconds; None without one.
    """

    p_fake: float
    decision: str
    windows: list[tuple[float, float]]
    needle: tuple[float, float] | None

    @property
    def in_needle(self) -> np.ndarray:
        """(windows,) bool: more than half of it generated."""
        starts = np.array([start for start, _ in self.windows])
        if self.needle is None:
            return np.zeros(len(starts), bool)
        shared = np.minimum(starts + LENGTH / RATE_FPS, self.needle[1]) - np.maximum(starts, self.needle[0])
        return shared > LENGTH / RATE_FPS / 2

    @property
    def chances(self) -> np.ndarray:
        """(windows,)."""
        return np.array([chance for _, chance in self.windows])


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", type=Path, help="folder of a model; the shipped one otherwise")
    parser.add_argument("--videos", type=int, default=40, help="long videos with a needle, and as many without")
    parser.add_argument("--seconds", type=float, default=60.0, help="length of the real part")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out/needle"))
    asked = parser.parse_args(arguments)
    asked.out.mkdir(parents=True, exist_ok=True)
    try:
        clips = unseen(read_clips(asked.folder), asked.model or shipped_folder())
        pairs = [answers_of(number, clips, asked) for number in range(asked.videos)]
    except DeeptraceError as error:
        print(error, file=sys.stderr)
        return 1
    figures = figures_of(*zip(*pairs, strict=True))
    (asked.out / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")
    print(
        f"{asked.videos} videos of {asked.seconds:g} s, each without and with {NEEDLE_S:g} s of generated video in it\n"
    )
    for name, value in figures.items():
        print(f"{name:58}{value:8.3f}")
    return 0


def unseen(clips: list[Clip], model: Path) -> list[Clip]:
    """Camera and generated clips that the model has not learned from.

    Raises:
        DataError: one class has none.
    """
    learned = Card.model_validate_json((model / CARD_NAME).read_bytes()).learned_from
    kept = [
        clip
        for clip in clips
        if (clip.kind is Kind.GENERATED or (clip.kind is Kind.REAL and clip.footage == CAMERA))
        and sha256_of(clip.path)[:HASH_DIGITS] not in learned
    ]
    if {clip.kind for clip in kept} != {Kind.REAL, Kind.GENERATED}:
        raise DataError(str(model), "has learned from all clips of a class", "Name a model of other clips.")
    return kept


def answers_of(number: int, clips: list[Clip], asked: argparse.Namespace) -> tuple[Answer, Answer]:
    """What is said of long video `number` without its needle, and with it."""
    rng = np.random.default_rng((asked.seed, number))
    real = [clip for clip in clips if clip.kind is Kind.REAL]
    generated = [clip for clip in clips if clip.kind is Kind.GENERATED]
    pieces = list(hay(rng, real, asked.seconds))
    needle = needle_of(rng, generated)
    place = int(rng.integers(1, len(pieces)))
    onset = sum(piece.seconds for piece in pieces[:place])
    about = {"number": number, "seed": asked.seed, "seconds": asked.seconds, "model": str(asked.model or "")}
    found = []
    for name, parts, span in (
        ("without", pieces, None),
        ("with", [*pieces[:place], needle, *pieces[place:]], (onset, onset + needle.seconds)),
    ):
        kept = Lines(asked.out / f"{name}.jsonl")
        row = next((row for row in kept.read() if row.items() >= about.items()), None)
        if row is None:
            row = {**about, **ask(asked, name, parts)}
            kept.add(row)
        windows = [(float(start), float(chance)) for start, chance in row["windows"]]
        found.append(Answer(row["p_fake"], row["decision"], windows, span))
    return found[0], found[1]


def ask(asked: argparse.Namespace, name: str, parts: list[Piece]) -> dict[str, object]:
    """The detector's answer on pieces put together."""
    detector = load_detector(f"tracenet:{asked.model}" if asked.model else "tracenet")
    assert isinstance(detector, AnalysingDetector)
    path = asked.out / f"{name}.mp4"
    write_video(path, joined(parts), fps=RATE_FPS, crf=CRF)
    with open_video(path) as video:
        analysis = detector.analyse(video, curves=True)
    path.unlink()
    assert analysis.verdict.p_fake is not None
    # the last point only carries the last window's value on to the end of the video
    windows = list(analysis.curves[CHANCE])[:-1]
    return {"p_fake": analysis.verdict.p_fake, "decision": str(analysis.verdict.decision), "windows": windows}


def joined(parts: list[Piece]) -> Iterator[Frame]:
    """One after another."""
    begun = 0.0
    for part in parts:
        for frame in part.frames:
            yield Frame(begun + frame.time_s, frame.image)
        begun += part.seconds


def hay(rng: np.random.Generator, clips: list[Clip], seconds: float) -> Iterator[Piece]:
    """Pieces of different camera clips, `seconds` in all."""
    left = seconds
    for index in rng.permutation(len(clips)):
        if left <= 0:
            return
        piece = piece_of(clips[index], min(PIECE_S, left))
        if piece.seconds >= 1.0 or piece.seconds >= left:
            yield piece
            left -= piece.seconds


def needle_of(rng: np.random.Generator, clips: list[Clip]) -> Piece:
    """The first NEEDLE_S of a generated clip that is as long.

    Raises:
        DataError: none is.
    """
    for index in rng.permutation(len(clips)):
        piece = piece_of(clips[index], NEEDLE_S)
        if piece.seconds == NEEDLE_S:
            return piece
    raise DataError(str(clips[0].path.parent), f"no generated clip lasts {NEEDLE_S:g} s")


def piece_of(clip: Clip, seconds: float) -> Piece:
    """The first `seconds` of a clip, or all of it; its middle, in the shape of all pieces."""
    frames = []
    with open_video(clip.path) as video:
        scale = max(WIDTH / video.media.width, HEIGHT / video.media.height)
        size = (max(round(video.media.width * scale), WIDTH), max(round(video.media.height * scale), HEIGHT))
        for frame in video.frames(max_fps=RATE_FPS, end_s=seconds):
            shown = cv2.resize(frame.image, size, interpolation=cv2.INTER_AREA)
            x, y = (size[0] - WIDTH) // 2, (size[1] - HEIGHT) // 2
            frames.append(Frame(frame.time_s, shown[y : y + HEIGHT, x : x + WIDTH]))
        return Piece(
            [Frame(frame.time_s - frames[0].time_s, frame.image) for frame in frames],
            min(seconds, video.media.duration_s),
        )


def figures_of(without: tuple[Answer, ...], with_needle: tuple[Answer, ...]) -> dict[str, float]:
    """See the module."""
    told = [answer.p_fake for answer in (*without, *with_needle)]
    labels = np.repeat([0, 1], [len(without), len(with_needle)])
    hits = [float(answer.in_needle[answer.chances.argmax()]) for answer in with_needle]
    by_chance = [float(answer.in_needle.mean()) for answer in with_needle]
    windows = np.concatenate([answer.chances for answer in (*without, *with_needle)])
    inside = np.concatenate([answer.in_needle for answer in (*without, *with_needle)])
    peaks = [float(answer.chances.max()) for answer in (*without, *with_needle)]
    return {
        "AUROC of p_fake, with a needle against without": float(auroc(labels, np.array(told))),
        "AUROC of the highest window's chance": float(auroc(labels, np.array(peaks))),
        "called AI-generated, without": float(np.mean([a.decision == Decision.GENERATED for a in without])),
        "called AI-generated, with": float(np.mean([a.decision == Decision.GENERATED for a in with_needle])),
        "highest window lies in the needle": float(np.mean(hits)),
        "a window drawn at random does": float(np.mean(by_chance)),
        "AUROC of windows in a needle against all others": float(auroc(inside.astype(int), windows)),
    }


if __name__ == "__main__":
    sys.exit(main())
