"""What is done to clips: each change by its name, with the part of the table that it belongs to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from deeptrace.benchmark.robustness.clips import Subject
from deeptrace.errors import MissingExtraError, SettingsError
from deeptrace.geometry import Box
from deeptrace.io.fingerprint import sha256_of
from deeptrace.schema import Decision, Verdict
from deeptrace.video import Video, open_video
from deeptrace.video.faces import BlurFaces, face_finder, find_faces
from deeptrace.video.transforms.launder import Autoencode
from deeptrace.video.transforms.ops import Frozen, Jpeg, Reversed, Shuffled, Step, Still
from deeptrace.video.transforms.presets import DEGRADATIONS
from deeptrace.video.transforms.style import RegionStyle, Style, style_of

__all__ = ["PARTS", "Change", "Context", "Tools", "changes_of", "strongest_box"]


@dataclass(frozen=True)
class Tools:
    """Files that the user has, for what cannot be done without.

    Attributes:
        face_model: YuNet's ONNX file; None for a finder that is installed (see `deeptrace.video.faces`).
        autoencoder: ONNX file of `deeptrace train autoencoder`.
        vae: ONNX file of a diffusion model's autoencoder, decoder after encoder, pictures in [-1, 1].
    """

    face_model: str | None = None
    autoencoder: str | None = None
    vae: str | None = None

    def recorded(self) -> dict[str, str]:
        """What decides the answers: the files' contents."""
        return {name: sha256_of(path) for name, path in vars(self).items() if path is not None and Path(path).is_file()}


@dataclass(frozen=True)
class Context:
    """What a change may look at beside the clip's frames.

    Attributes:
        subject: the clip.
        before: what the detector says of it as it is.
        donor: file of a clip of the other class.
        end_s: so much of the clip is asked about.
    """

    subject: Subject
    before: Verdict
    donor: str
    end_s: float


StepOf = Callable[[Video, Context], Step | None]
"""Makes the step for one clip; None where there is nothing in it to change."""


@dataclass(frozen=True)
class Change:
    """One thing that is done to every clip.

    Attributes:
        name: for the table.
        part: of the table.
        meaning: one clause on what is done.
        step: what is done to a clip; the same for all, or made for each. Only one that is the same for all may move
            things in the picture.
    """

    name: str
    part: str
    meaning: str
    step: Step | StepOf

    def step_for(self, video: Video, context: Context) -> Step | None:
        """What is done to one clip; None where there is nothing in it to change."""
        return self.step if isinstance(self.step, Step) else self.step(video, context)


def _files(name: str, meaning: str) -> Change:
    return Change(name, "files", meaning, DEGRADATIONS[name])


_FILES = (
    _files("h264_crf28", "encoded at a modest rate"),
    _files("h264_crf35", "encoded at a low rate"),
    _files("down_up_2x", "shrunk to half and enlarged again"),
    _files("crop_80", "the middle 80 % of each side"),
    _files("blur", "a slight blur"),
    _files("noise", "sensor noise of 6 grey levels"),
    _files("darker", "half of the light"),
    _files("platform", "as a video site encodes it"),
)
_TIME = (
    Change("still", "time", "the middle frame alone, for as long", Still()),
    Change("frozen_1s", "time", "a new frame once a second", Frozen(1.0)),
    Change("shuffled", "time", "the frames in random order", Shuffled()),
    Change("pieces_shuffled", "time", "pieces of half a second in random order", Shuffled(0.5)),
    Change("reversed", "time", "backwards", Reversed()),
)

PARTS = ("files", "privacy", "laundering", "style", "time", "attack", "needle", "pasted")
"""Parts of the table, in its order; the last three are not changes of single clips."""
_NEEDS = {"autoencoder": "--autoencoder", "vae": "--vae"}
_MIDDLE = Box(x0=0.3, y0=0.3, x1=0.7, y1=0.7)


def changes_of(only: Sequence[str], tools: Tools | None = None) -> list[Change]:
    """The changes of the parts or names given; all that can be done with the tools where there are none.

    Raises:
        SettingsError: no part and no change has one of the names, or one that is named needs a tool.
        MissingExtraError: faces are asked for, and nothing can find them.
        ModelError: a file is no autoencoder.
    """
    given = tools or Tools()
    every = _every(given)
    known = {*PARTS, *(change.name for change in every)}
    if unknown := [name for name in only if name not in known]:
        listed = ", ".join((*PARTS, *(change.name for change in every)))
        raise SettingsError(", ".join(unknown), "is no part and no change", f"There are: {listed}.")
    chosen = [change for change in every if not only or change.part in only or change.name in only]
    for name, option in _NEEDS.items():
        if name in only and getattr(given, name) is None:
            raise SettingsError(name, "needs the file of an autoencoder", f"Name it: {option} FILE.")
    chosen = [change for change in chosen if change.name not in _NEEDS or getattr(given, change.name) is not None]
    for change in chosen:
        if isinstance(change.step, Autoencode):  # a file that is none is said now, and not of every clip
            change.step.on_picture(np.zeros((16, 24, 3), np.uint8), np.random.default_rng(0))
    if any(change.part == "privacy" for change in chosen):
        try:
            face_finder(given.face_model)
        except MissingExtraError:
            if only:
                raise
            chosen = [change for change in chosen if change.part != "privacy"]
    return chosen


def _every(tools: Tools) -> tuple[Change, ...]:
    def faces(video: Video, context: Context) -> Step | None:
        found = find_faces(video, tools.face_model, end_s=context.end_s)
        return BlurFaces(tuple(found)) if found else None

    laundered = Autoencode(tools.autoencoder or ""), Autoencode(tools.vae or "", low=-1.0)
    return (
        *_FILES,
        Change("faces_blurred", "privacy", "every face that is found is blurred", faces),
        Change("jpeg_30", "laundering", "each frame through JPEG of quality 30", Jpeg(30)),
        Change("autoencoder", "laundering", "each frame through the autoencoder given", laundered[0]),
        Change("vae", "laundering", "each frame through the autoencoder of a generator", laundered[1]),
        Change("style_region", "style", "the box that it named, restyled after a clip of the other label", _restyled),
        Change("style_middle", "style", "the middle of the picture, restyled likewise", _restyled_middle),
        *_TIME,
    )


def _restyled(video: Video, context: Context) -> Step | None:  # noqa: ARG001 - every step is made of both
    """What the detector pointed at takes on the style of the other class; None where it pointed at nothing."""
    box = strongest_box(context.before)
    return None if box is None else RegionStyle(box, _style(context.donor))


def _restyled_middle(video: Video, context: Context) -> Step:  # noqa: ARG001 - every step is made of both
    return RegionStyle(_MIDDLE, _style(context.donor))


@cache
def _style(path: str) -> Style:
    with open_video(path) as video:
        return style_of(video)


def strongest_box(verdict: Verdict) -> Box | None:
    """The box of the first trace that stands behind a verdict which is not "real"."""
    asserted = [trace for trace in verdict.traces if not trace.weak] if verdict.decision is not Decision.REAL else []
    return next((trace.box for trace in asserted if trace.box is not None), None)
