"""The settings of a served model, checked; what of them changes an answer, and what does not."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, ValidationError

from deeptrace.detectors.frames import MAX_FRAMES
from deeptrace.detectors.fusion import FusionOptions
from deeptrace.detectors.openai.client import Manners
from deeptrace.detectors.openai.profiles import Profile
from deeptrace.detectors.paper_models import Sampling
from deeptrace.errors import SettingsError
from deeptrace.protocol import FINE_TUNING, JSON, ZERO_SHOT, AnswerForm, coordinate_space

__all__ = ["Options", "read_options"]

_FORMS = {"zero-shot": ZERO_SHOT, "fine-tuning": FINE_TUNING, "json": JSON}


class Options(FusionOptions):
    """Settings of `openai:`; None means what the model's profile says.

    Attributes:
        form: the question: the paper's zero-shot one, that of its fine-tuned checkpoints, or one for a JSON object.
        space: coordinate space of the answer's boxes (`deeptrace.protocol.SPACES`).
        fps: frames a second shown.
        max_frames: at most so many, spread evenly over longer clips.
        frames: exactly so many, spread evenly, instead of `fps`.
        max_frame_pixels: largest area of a frame sent.
        max_total_pixels: largest area of all frames of a clip together; frames shrink to keep it.
        multiple_of: sides of frames are multiples of this.
        part: frames as images with their times between them, or as one video part (vLLM's list of JPEGs).
        image: encoding of frames.
        quality: of JPEG, 1 to 100.
        detail: `detail` of image parts (OpenAI: low, high, auto).
        max_tokens: longest answer.
        temperature, seed: of the model's choice of words; None to leave it to the server.
        logprobs: ask for the probabilities of the answer's words, for `p_fake`.
        schema: constrain a JSON answer by its schema.
        extra: further fields of the request; recorded, so no place for secrets.
        findings, verify, expert, expert_weight: see `FusionOptions`.
        key_env: name of the environment variable with the key.
        concurrency: questions in flight.
        requests_per_minute: at most so many, evenly spaced.
        attempts, attempt_s, deadline_s, backoff_s, give_up_after: see `Manners`.
        price_in, price_out: price of a million tokens in and out, in the currency of your choice.
    """

    form: Literal["zero-shot", "fine-tuning", "json"] = "zero-shot"
    space: str | None = None
    fps: float | None = Field(default=None, gt=0)
    max_frames: int | None = Field(default=None, ge=1)
    frames: int | None = Field(default=None, ge=1)
    max_frame_pixels: int = Field(default=602_112, ge=28 * 28)
    max_total_pixels: int = Field(default=12_845_056, ge=28 * 28)
    multiple_of: int | None = Field(default=None, ge=1, le=256)
    part: Literal["frames", "video"] = "frames"
    image: Literal["jpeg", "png"] = "jpeg"
    quality: int = Field(default=92, ge=1, le=100)
    detail: Literal["low", "high", "auto"] | None = None
    max_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=0.0, ge=0)
    seed: int | None = 0
    logprobs: bool = True
    schema_: bool = Field(default=True, alias="schema")
    extra: dict[str, Any] = Field(default_factory=dict)
    key_env: str | None = None
    concurrency: int = Field(default=8, ge=1, le=512)
    requests_per_minute: float | None = Field(default=None, gt=0)
    attempts: int = Field(default=5, ge=1, le=100)
    attempt_s: float | None = Field(default=120.0, gt=0)
    deadline_s: float = Field(default=300.0, gt=0)
    backoff_s: float = Field(default=0.25, ge=0)
    give_up_after: int = Field(default=8, ge=1)
    price_in: float | None = Field(default=None, ge=0)
    price_out: float | None = Field(default=None, ge=0)

    @property
    def manners(self) -> Manners:
        """How the server is treated."""
        return Manners(
            deadline_s=self.deadline_s,
            attempt_s=self.attempt_s,
            attempts=self.attempts,
            backoff_s=self.backoff_s,
            concurrency=self.concurrency,
            per_minute=self.requests_per_minute,
            give_up_after=self.give_up_after,
        )

    @property
    def sampling(self) -> Sampling:
        """Which frames are shown."""
        return Sampling(fps=self.fps, max_frames=self.max_frames, frames=self.frames)

    @property
    def answer_form(self) -> AnswerForm:
        """The form of question and answer, in the space of the boxes."""
        return _FORMS[self.form].in_space(coordinate_space(self.space or "resized_pixels"))

    def recorded(self) -> dict[str, Any]:
        """What changes an answer, for verdicts and manifests."""
        kept = set(type(self).model_fields) - _NOT_RECORDED
        return self.model_dump(include=kept, by_alias=True)

    def cost(self, prompt_tokens: int | None, completion_tokens: int | None) -> float | None:
        """Price of an answer; None without prices or without the server's counts."""
        if None in (self.price_in, self.price_out, prompt_tokens, completion_tokens):
            return None
        assert self.price_in is not None
        assert self.price_out is not None
        return ((prompt_tokens or 0) * self.price_in + (completion_tokens or 0) * self.price_out) / 1e6


_NOT_RECORDED = {
    *("key_env", "concurrency", "requests_per_minute", "attempts", "attempt_s", "deadline_s", "backoff_s"),
    *("give_up_after", "price_in", "price_out"),
}


def read_options(settings: dict[str, Any], profile: Profile) -> Options:
    """The settings, with what was left open filled in from the model's profile.

    Raises:
        SettingsError: one makes no sense; the message does not repeat its value, which may be a key put there by
            mistake.
    """
    try:
        given = Options(**settings)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "settings"
        raise SettingsError(f"openai: {where}", first["msg"]) from None
    # The checkpoints that the fine-tuning question is for answer in pixels of the original video.
    space = given.space or ("pixels" if given.form == "fine-tuning" else profile.space)
    coordinate_space(space)
    sampling = profile.sampling
    frames = given.frames if given.frames is not None or given.fps is not None else sampling.frames
    return given.model_copy(
        update={
            "space": space,
            "frames": frames,
            "fps": None if frames is not None else given.fps or sampling.fps,
            "max_frames": None if frames is not None else given.max_frames or sampling.max_frames or MAX_FRAMES,
            "multiple_of": given.multiple_of or profile.multiple_of,
            "max_tokens": given.max_tokens or profile.max_tokens,
        }
    )
