"""One row of RewardData (`all_data.json`), read strictly and kept verbatim.

The format is that of the paper's public release. A field may be missing, null or blank, and which
of the three it was survives a round trip, as do fields that deeptrace gives no meaning (`votes`, `confidence`).
What is there must make sense, though: a box of negative width is an error that names row and field, not a guess.

Four fields of our own, written only where the format cannot hold what is known:
`faketrace_keyframes` (list of `{"time_s", "box"}`, fractions: a box over time), `faketrace_onset_s` (seconds, where the
onset does not fall on a frame of the stated rate), `faketrace_score` (how sure its annotator was, 0 to 1) and
`faketrace_gaps` (list of `{"onset_s", "offset_s"}`, seconds: when the trace is not to be seen within its life).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import PurePosixPath
from typing import Any, NoReturn

from deeptrace.errors import DataError
from deeptrace.geometry import Box, Interval, Keyframe, check_gaps
from deeptrace.schema import Category, Label, Media, Trace, categories_of_tags

__all__ = ["TRACE_FIELDS", "VIDEO_FIELDS", "RewardRow"]

VIDEO_FIELDS = (
    "video_id",
    "video_type",
    "video_path",
    "video_source",
    "video_prompt",
    "video_mime_type",
    "video_width",
    "video_height",
    "video_frame_rate",
    "video_frame_count",
    "video_duration",
    "split",
)
TRACE_FIELDS = (
    "faketrace_bbox",
    "faketrace_first_frame",
    "faketrace_duration",
    "faketrace_explanations",
    "faketrace_check_applies",
    "faketrace_onset_s",
    "faketrace_keyframes",
    "faketrace_score",
    "faketrace_gaps",
)
_LABELS = {"fake_video": Label.FAKE, "real_video": Label.REAL}


@dataclass(frozen=True)
class RewardRow:
    """One row: one trace of a generated video, or one real video.

    Attributes:
        fields: the row as it stands in the file.
        where: file and row, for messages: "RewardData/all_data.json, row 12".

    Every property reads its field when asked and raises DataError ("RewardData/all_data.json, row 12, split: ...")
    when its value is invalid; a missing, null or (for text) blank field is None.
    """

    fields: Mapping[str, Any]
    where: str = "row"

    # -- the video --------------------------------------------------------------------------------------------

    @cached_property
    def video_id(self) -> str:
        """The unique id; the stem of `video_path` where the row has none."""
        stated = self.fields.get("video_id")
        if isinstance(stated, int) and not isinstance(stated, bool):
            return str(stated)
        if found := self._text("video_id"):
            return found
        if not self.path:
            self._fail("video_id", "the row has neither a video_id nor a video_path")
        return PurePosixPath(self.path).stem

    @cached_property
    def label(self) -> Label | None:
        """REAL, FAKE, or None when not stated."""
        stated = self._text("video_type")
        if stated is None:
            return None
        if stated not in _LABELS:
            self._fail("video_type", f"expected 'fake_video' or 'real_video' but got {stated!r}")
        return _LABELS[stated]

    @cached_property
    def path(self) -> str:
        """Path of the file as stated; "" when not stated."""
        return self._text("video_path") or ""

    @cached_property
    def source(self) -> str | None:
        """Generator, or origin of a real video."""
        return self._text("video_source")

    @cached_property
    def prompt(self) -> str | None:
        """Text the video was generated from; blank text is kept apart from a missing one."""
        return self._text("video_prompt", keep_blank=True)

    @cached_property
    def split(self) -> str | None:
        """ "train", "val", "test" or another name."""
        return self._text("split")

    @cached_property
    def frame_rate(self) -> float | None:
        """Frames per second as stated, else frames over duration."""
        stated = self._number("video_frame_rate", above=0.0)
        if stated is not None:
            return stated
        frames, duration = self._number("video_frame_count", above=0.0), self._number("video_duration", above=0.0)
        return frames / duration if frames and duration else None

    @cached_property
    def media(self) -> Media | None:
        """Stated facts of the video; None unless width, height and a duration are stated or follow."""
        width, height = self._whole("video_width", above=0), self._whole("video_height", above=0)
        frames = self._whole("video_frame_count", above=-1)
        duration = self._number("video_duration", least=0.0)
        if duration is None and frames is not None and self.frame_rate:
            duration = frames / self.frame_rate
        if width is None or height is None or duration is None:
            return None
        return Media(width=width, height=height, duration_s=duration, fps=self.frame_rate, frames=frames)

    # -- the trace --------------------------------------------------------------------------------------------

    @cached_property
    def trace(self) -> Trace | None:
        """The trace, or None when the row has none: a real video, or a generated one on which nothing was agreed.

        A box that sticks out of the frame is clipped to it (`deeptrace audit` lists such boxes).
        """
        box, keyframes, onset, offset = self.box, self.keyframes, self.onset_s, self.offset_s
        if box is None and onset is None and not keyframes and not (self.explanation or self.categories):
            return None
        return Trace(
            categories=self.categories,
            onset_s=onset,
            offset_s=offset,
            score=self.score,
            box=box,
            keyframes=keyframes,
            explanation=self.explanation or "",
            gaps=self.gaps,
        )

    @cached_property
    def pixels_ltwh(self) -> tuple[float, float, float, float] | None:
        """The stated box (left, top, width, height) in pixels, not clipped."""
        stated = self.fields.get("faketrace_bbox")
        if stated is None or stated == {}:
            return None
        if not isinstance(stated, Mapping):
            self._fail(
                "faketrace_bbox", f"expected an object with left, top, width, height but got {type(stated).__name__}"
            )
        numbers = []
        for side in ("left", "top", "width", "height"):
            if stated.get(side) is None:
                self._fail("faketrace_bbox", f"has no {side}")
            numbers.append(self._finite("faketrace_bbox", stated[side], f"{side} "))
        left, top, width, height = numbers
        if width <= 0 or height <= 0:
            self._fail("faketrace_bbox", f"expected a positive width and height but got {width:g} x {height:g}")
        return left, top, width, height

    @cached_property
    def box(self) -> Box | None:
        """The box in fractions, clipped to the frame."""
        stated = self.pixels_ltwh
        if stated is None:
            return None
        width, height = self._whole("video_width", above=0), self._whole("video_height", above=0)
        if width is None or height is None:
            self._fail("faketrace_bbox", "is in pixels, but the row has no video_width and video_height")
        try:
            return Box.from_pixels_ltwh(*stated, width=width, height=height)
        except ValueError:
            left, top, box_width, box_height = stated
            self._fail(
                "faketrace_bbox",
                f"the box at ({left:g}, {top:g}) of {box_width:g} x {box_height:g} lies outside"
                f" the {width} x {height} frame",
            )

    @cached_property
    def onset_s(self) -> float | None:
        """First frame over frame rate, in seconds."""
        exact = self._number("faketrace_onset_s", least=0.0)
        if exact is not None:
            return exact
        first = self._number("faketrace_first_frame", least=0.0)
        if first is None:
            return None
        if self.frame_rate is None:
            self._fail("faketrace_first_frame", "is a frame index, but the row has no video_frame_rate")
        return first / self.frame_rate

    @cached_property
    def offset_s(self) -> float | None:
        """Onset plus duration, in seconds."""
        duration = self._number("faketrace_duration", least=0.0)
        return None if duration is None or self.onset_s is None else self.onset_s + duration

    @cached_property
    def score(self) -> float | None:
        """How sure the annotator was, where the row carries our own `faketrace_score`."""
        stated = self._number("faketrace_score", least=0.0)
        if stated is not None and stated > 1.0:
            self._fail("faketrace_score", f"expected 0 to 1 but got {stated:g}")
        return stated

    @cached_property
    def explanation(self) -> str | None:
        """The text; "" when blank, None when missing or null."""
        return self._text("faketrace_explanations", keep_blank=True)

    @cached_property
    def tags(self) -> tuple[str, ...]:
        """The annotation tool's tags, as they stand."""
        stated = self.fields.get("faketrace_check_applies")
        if stated is None:
            return ()
        if isinstance(stated, str):
            return (stated,) if stated.strip() else ()
        if not isinstance(stated, list) or not all(isinstance(tag, str) for tag in stated):
            self._fail("faketrace_check_applies", "expected a list of texts")
        return tuple(stated)

    @property
    def categories(self) -> tuple[Category, ...]:
        """The categories that the tags map to."""
        return categories_of_tags(self.tags)[0]

    @property
    def unknown_tags(self) -> tuple[str, ...]:
        """Tags that map to no category and are not "None of the above"."""
        return categories_of_tags(self.tags)[1]

    @cached_property
    def keyframes(self) -> tuple[Keyframe, ...]:
        """The box over time, where the row carries our own `faketrace_keyframes`."""
        stated = self.fields.get("faketrace_keyframes")
        if not stated:
            return ()
        try:
            keys = tuple(Keyframe.model_validate(key) for key in stated)
        except (TypeError, ValueError) as error:
            raise DataError(
                f"{self.where}, faketrace_keyframes",
                f"expected a list of {{time_s, box}} but got {str(error).splitlines()[0]}",
            ) from error
        if any(a.time_s >= b.time_s for a, b in pairwise(keys)):
            self._fail("faketrace_keyframes", "expected rising times but two are equal or out of order")
        return keys

    @cached_property
    def gaps(self) -> tuple[Interval, ...]:
        """When the trace is not to be seen within its life, where the row carries our own `faketrace_gaps`."""
        stated = self.fields.get("faketrace_gaps")
        if not stated:
            return ()
        try:
            gaps = tuple(Interval.model_validate(gap) for gap in stated)
            check_gaps(gaps)
        except (TypeError, ValueError) as error:
            self._fail("faketrace_gaps", f"expected a list of {{onset_s, offset_s}} in order, apart ({_reason(error)})")
        return gaps

    # -- reading a field --------------------------------------------------------------------------------------

    def _text(self, field: str, *, keep_blank: bool = False) -> str | None:
        stated = self.fields.get(field)
        if stated is None:
            return None
        if not isinstance(stated, str):
            self._fail(field, f"expected text but got {stated!r}")
        return stated if keep_blank or stated.strip() else None

    def _finite(self, field: str, stated: object, part: str = "") -> float:
        if isinstance(stated, bool) or not isinstance(stated, (int, float)) or not math.isfinite(stated):
            self._fail(field, f"expected a number for {part or 'it'} but got {stated!r}")
        return float(stated)

    def _number(self, field: str, *, least: float | None = None, above: float | None = None) -> float | None:
        stated = self.fields.get(field)
        if stated is None:
            return None
        number = self._finite(field, stated)
        if least is not None and number < least:
            self._fail(field, f"expected {least:g} or more but got {number:g}")
        if above is not None and number <= above:
            self._fail(field, f"expected more than {above:g} but got {number:g}")
        return number

    def _whole(self, field: str, *, above: int) -> int | None:
        number = self._number(field, above=above)
        if number is not None and number != int(number):
            self._fail(field, f"expected a whole number but got {number:g}")
        return None if number is None else int(number)

    def _fail(self, field: str, problem: str) -> NoReturn:
        raise DataError(f"{self.where}, {field}", problem)


def _reason(error: Exception) -> str:
    return str(error).splitlines()[0][:100]
