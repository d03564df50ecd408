"""What every language model is asked, served or local: the settings of question, boxes and frames."""

from __future__ import annotations

from typing import Any, Literal, Self, TypeVar

from pydantic import BaseModel, ValidationError

from deeptrace.detectors.vlm.fusion import FusionOptions
from deeptrace.errors import SettingsError
from deeptrace.prompts import FINE_TUNING, JSON, ZERO_SHOT, AnswerForm, coordinate_space
from deeptrace.video.sampling import MAX_FRAMES, FrameRequest

__all__ = ["QuestionOptions", "read_settings"]

_FORMS = {"zero-shot": ZERO_SHOT, "fine-tuning": FINE_TUNING, "json": JSON}
T = TypeVar("T", bound=BaseModel)


class QuestionOptions(FusionOptions, FrameRequest):
    """Settings of the question beside those of fusion and of the frames shown; None means what is known of the model.

    Attributes:
        form: the question: the paper's zero-shot one, that of its fine-tuned checkpoints, or one for a JSON object.
        without: parts that are not asked for, of "box", "time" and "explanation" (the paper's ablations).
        space: coordinate space of the answer's boxes (`deeptrace.prompts.SPACES`).
        threshold: where FAKE begins, on the calibrated probability: a name in the model's calibration ("balanced",
            "fpr_1", "fpr_5"), or a number from 0 to 1; None for the label that the model writes.
    """

    form: Literal["zero-shot", "fine-tuning", "json"] = "zero-shot"
    without: tuple[Literal["box", "time", "explanation"], ...] = ()
    space: str | None = None
    threshold: float | str | None = None

    @property
    def answer_form(self) -> AnswerForm:
        """The form of question and answer, in the space of the boxes."""
        form = _FORMS[self.form].without(*self.without)
        return form.in_space(coordinate_space(self.space or "resized_pixels"))

    def completed(self, *, space: str, sampling: FrameRequest) -> Self:
        """These settings with what was left open filled in.

        Args:
            space: of the model's boxes. The checkpoints that the fine-tuning question is for answer in pixels of the
                original video, whatever they were made from.
            sampling: which frames suit the model.

        Raises:
            SettingsError: no coordinate space has the name given.
        """
        name = self.space or ("pixels" if self.form == "fine-tuning" else space)
        coordinate_space(name)
        frames = self.frames if self.frames is not None or self.fps is not None else sampling.frames
        rate = self.fps or sampling.fps
        most = self.max_frames or sampling.max_frames or MAX_FRAMES
        found: dict[str, Any] = {"space": name, "frames": frames}
        found |= {"fps": None, "max_frames": None} if frames is not None else {"fps": rate, "max_frames": most}
        return self.model_copy(update=found)


def read_settings(kind: type[T], family: str, settings: dict[str, Any]) -> T:
    """The settings as `kind`.

    Raises:
        SettingsError: one is invalid; the message does not repeat its value, which may be a key put there by
            mistake.
    """
    try:
        return kind(**settings)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "settings"
        if first["type"] == "extra_forbidden":
            takes = ", ".join(field.alias or name for name, field in kind.model_fields.items())
            raise SettingsError(family, f"does not take these settings: {where}", f"It takes: {takes}.") from None
        raise SettingsError(f"{family}: {where}", first["msg"]) from None
