"""`openai:MODEL[@URL]`: a multimodal language model on any OpenAI-compatible server as a detector."""

from __future__ import annotations

import re
from typing import Any

from deeptrace.detectors.base import Estimate
from deeptrace.detectors.calibration import (
    Calibration,
    calibrated,
    calibration_facts,
    calibration_of,
    decided,
    limit_of,
)
from deeptrace.detectors.fusion import expert_of, verified, with_findings
from deeptrace.detectors.openai.client import ChatClient, Completion, HttpStatusError, run_blocking
from deeptrace.detectors.openai.endpoint import open_endpoint, split_name
from deeptrace.detectors.openai.frames import plan, show
from deeptrace.detectors.openai.message import request_body
from deeptrace.detectors.openai.options import Options, read_options
from deeptrace.detectors.openai.profiles import Profile, profile_of
from deeptrace.detectors.openai.reply import is_refusal, verdict_of_completion
from deeptrace.errors import RefusalError
from deeptrace.protocol import View, question
from deeptrace.trace import DetectorInfo, Media, Verdict
from deeptrace.video import Video

__all__ = ["ServedModel", "ServedPlanner", "load", "load_planner"]

VERSION = "1"

# Fields that some servers or models do not take, each with what goes along with it; the answer can be had without.
_OPTIONAL = {
    "top_logprobs": ("logprobs",),
    "logprobs": ("top_logprobs",),
    "response_format": (),
    "media_io_kwargs": (),
    "temperature": (),
    "seed": (),
}


def load(rest: str, **settings: Any) -> ServedModel:
    """The detector `openai:rest`, with settings as in `Options`.

    Raises:
        SettingsError: no model, no usable address, a key that is needed and not set, or a setting that makes no sense.
        MissingExtraError: the extra "api" is not installed.
    """
    model, base_url = split_name(rest)
    profile = profile_of(model)
    options = read_options(settings, profile)
    client = ChatClient(open_endpoint(base_url, key_env=options.key_env), options.manners, feature="detector openai:")
    return ServedModel(model, base_url, options, profile, client)


def load_planner(rest: str, **settings: Any) -> ServedPlanner:
    """What says beforehand what the detector `openai:rest` will ask; needs no key and reaches no server.

    Raises:
        SettingsError: no model, or a setting that makes no sense.
    """
    model, base_url = split_name(rest)
    profile = profile_of(model)
    return ServedPlanner(model, base_url, read_options(settings, profile), profile)


class ServedPlanner:
    """Frames, size and visual tokens of the question about a clip. Memory and time are the server's."""

    def __init__(self, model: str, base_url: str, options: Options, profile: Profile) -> None:
        self.options, self._profile = options, profile
        self.info = _info(model, base_url, options, calibration_of(options.calibration))

    def estimate(self, media: Media) -> Estimate:
        """See `Planner.estimate`."""
        budget = plan(media, self.options, self._profile)
        return Estimate(len(budget.times_s), budget.size, budget.visual_tokens)


def _info(model: str, base_url: str, options: Options, calibration: Calibration | None) -> DetectorInfo:
    settings = {"base_url": base_url, **options.recorded(), **calibration_facts(calibration, options.threshold)}
    return DetectorInfo(name=f"openai:{model}", version=VERSION, settings=settings)


class ServedModel:
    """A served model, asked one question a clip. May be called from as many threads at a time as `concurrency` says.

    Args:
        model: as the server calls it.
        base_url: of the server, for `info`.
        options: settings, complete.
        profile: what is known of the model.
        client: how it is reached.
    """

    def __init__(self, model: str, base_url: str, options: Options, profile: Profile, client: ChatClient) -> None:
        self.model, self.options = model, options
        self.concurrency = options.concurrency
        self._profile, self._client = profile, client
        # Left out for good once the server has said that it does not take them; each answer says so.
        self._left_out: dict[str, None] = {}
        self._expert = expert_of(options)
        self._calibration = calibration_of(options.calibration)
        self._limit = limit_of(options.threshold, self._calibration, verify=options.verify)
        self.info = _info(model, base_url, options, self._calibration)

    def detect(self, video: Video) -> Verdict:
        """Ask about one clip.

        Refused and unreadable answers are verdicts with that outcome, which keep the model's words and the usage.

        Raises:
            VideoError: the clip does not decode.
            ServiceError: the server gave no answer, after retries.
            RefusalError: the server declined the request for its content.
        """
        shown = show(video, self.options, self._profile)
        view = View.of(shown.media, resized=shown.size)
        measured = None if self._expert is None else self._expert.examine(video)
        asked = question(self.options.answer_form)
        if measured is not None and self.options.findings:
            asked = with_findings(asked, measured, form=self.options.answer_form, view=view)
        body = request_body(self.model, asked, shown, self.options, view)
        completion = run_blocking(self._ask(body))
        verdict = verdict_of_completion(
            completion,
            video=video.path,
            shown=shown,
            view=view,
            options=self.options,
            info=self.info,
            warnings=tuple(f"the server does not take {name}: left out" for name in tuple(self._left_out)),
        )
        verdict = decided(calibrated(verdict, self._calibration, self.options.form), self._limit)
        if measured is not None and self.options.verify:
            return verified(verdict, measured, weight=self.options.expert_weight)
        return verdict

    async def _ask(self, body: dict[str, Any]) -> Completion:
        while True:
            sent = _without(body, self._left_out)
            try:
                return await self._client.complete(sent)
            except HttpStatusError as error:
                if is_refusal(error):
                    raise RefusalError("", f"the server declined the request ({error.problem})") from None
                name = _rejected_field(error, sent)
                if name is None:
                    raise
                self._left_out[name] = None


def _without(body: dict[str, Any], left_out: dict[str, None]) -> dict[str, Any]:
    gone = {part for name in left_out for part in (name, *_OPTIONAL.get(name, ()))}
    sent = {name: value for name, value in body.items() if name not in gone}
    if "max_tokens" in gone and "max_tokens" in body:
        sent["max_completion_tokens"] = body["max_tokens"]
    return sent


def _rejected_field(error: HttpStatusError, sent: dict[str, Any]) -> str | None:
    """The optional field of the request that the server says it does not take; None when it says something else."""
    if error.status not in (400, 403, 422):
        return None
    said = f"{error.error.get('param') or ''} {error.problem}"
    # Not "max_tokens or max_completion_tokens is too large", which is about the number.
    if "max_tokens" in sent and "max_completion_tokens" in said and re.search(r"instead|not supported", said):
        return "max_tokens"
    return next((name for name in _OPTIONAL if name in sent and re.search(rf"\b{name}\b", said)), None)
