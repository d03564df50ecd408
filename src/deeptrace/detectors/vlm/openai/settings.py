"""The settings of a served model, checked; what of them changes an answer, and what does not."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from deeptrace.detectors.vlm.openai.profiles import Profile
from deeptrace.detectors.vlm.settings import QuestionOptions, read_settings
from deeptrace.net.chat_client import Manners

__all__ = ["Options", "read_options"]


class Options(QuestionOptions):
    """Settings of `openai:` beside those of the question; None means what the model's profile says.

    Attributes:
        multiple_of: sides of frames are multiples of this.
        part: frames as images with their times between them, or as one video part (vLLM's list of JPEGs).
        image: encoding of frames.
        quality: of JPEG, 1 to 100.
        detail: `detail` of image parts (OpenAI: low, high, auto).
        max_tokens: longest answer.
        temperature, seed: of the model's choice of words; None to leave it to the server.
        logprobs: ask for the probabilities of the answer's words, for `p_fake`.
        calibration: file or folder with a temperature for `p_fake` and thresholds, as training and `deeptrace
            calibrate` write it, or the temperature itself; None to leave it as the model says.
        schema: constrain a JSON answer by its schema.
        extra: further fields of the request; recorded, so no place for secrets.
        key_env: name of the environment variable with the key.
        concurrency: questions in flight.
        requests_per_minute: at most so many, evenly spaced.
        attempts, attempt_s, deadline_s, backoff_s, give_up_after: see `Manners`.
        price_in, price_out: price of a million tokens in and out, in the currency of your choice.
    """

    multiple_of: int | None = Field(default=None, ge=1, le=256)
    part: Literal["frames", "video"] = "frames"
    image: Literal["jpeg", "png"] = "jpeg"
    quality: int = Field(default=92, ge=1, le=100)
    detail: Literal["low", "high", "auto"] | None = None
    max_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=0.0, ge=0)
    seed: int | None = 0
    logprobs: bool = True
    calibration: str | float | None = None
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

    def recorded(self) -> dict[str, Any]:
        """What changes an answer, for verdicts and manifests."""
        kept = set(type(self).model_fields) - _NOT_RECORDED
        return self.model_dump(mode="json", include=kept, by_alias=True)

    def cost(self, prompt_tokens: int | None, completion_tokens: int | None) -> float | None:
        """Price of an answer; None without prices or without the server's counts."""
        if None in (self.price_in, self.price_out, prompt_tokens, completion_tokens):
            return None
        assert self.price_in is not None
        assert self.price_out is not None
        return ((prompt_tokens or 0) * self.price_in + (completion_tokens or 0) * self.price_out) / 1e6


_NOT_RECORDED = {
    *("key_env", "concurrency", "requests_per_minute", "attempts", "attempt_s", "deadline_s", "backoff_s"),
    *("give_up_after", "price_in", "price_out", "calibration", "threshold"),
}


def read_options(settings: dict[str, Any], profile: Profile) -> Options:
    """The settings, with what was left open filled in from the model's profile.

    Raises:
        SettingsError: one is invalid.
    """
    given = read_settings(Options, "openai", settings).completed(space=profile.space, sampling=profile.sampling)
    limits = {
        "multiple_of": given.multiple_of or profile.multiple_of,
        "max_tokens": given.max_tokens or profile.max_tokens,
        "min_frame_pixels": given.min_frame_pixels if "min_frame_pixels" in settings else profile.min_pixels,
    }
    return given.model_copy(update=limits)
