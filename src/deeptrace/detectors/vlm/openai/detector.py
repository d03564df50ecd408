"""`openai:MODEL[@URL]`: a multimodal language model on any OpenAI-compatible server as a detector."""

from __future__ import annotations

from typing import Any

from deeptrace.detectors.base import Estimate, Execution
from deeptrace.detectors.vlm.calibration import (
    Calibration,
    calibrated,
    calibration_facts,
    calibration_of,
    decided,
    limit_of,
)
from deeptrace.detectors.vlm.fusion import expert_of, verified, with_findings
from deeptrace.detectors.vlm.openai.budget import plan, show
from deeptrace.detectors.vlm.openai.profiles import Profile, profile_of
from deeptrace.detectors.vlm.openai.request import request_body
from deeptrace.detectors.vlm.openai.response import is_refusal, text_of_completion, verdict_of_completion
from deeptrace.detectors.vlm.openai.settings import Options, read_options
from deeptrace.errors import RefusalError
from deeptrace.net.background import run_blocking
from deeptrace.net.chat_client import ChatClient, Completion, HttpStatusError
from deeptrace.net.endpoint import open_endpoint, split_name
from deeptrace.prompts import View, question
from deeptrace.schema import DetectorInfo, Media, Verdict
from deeptrace.video import Video

__all__ = ["ServedModel", "ServedPlanner", "load", "load_planner"]

VERSION = "1"


def load(rest: str, **settings: Any) -> ServedModel:
    """The detector `openai:rest`, with settings as in `Options`.

    Raises:
        SettingsError: no model, no usable address, a key that is needed and not set, or a setting that is invalid.
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
        SettingsError: no model, or a setting that is invalid.
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
        profile: known facts about the model.
        client: connection to the server.
    """

    execution = Execution.THREADS

    def __init__(self, model: str, base_url: str, options: Options, profile: Profile, client: ChatClient) -> None:
        self.model, self.options = model, options
        self.concurrency = options.concurrency
        self._profile, self._client = profile, client
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
            warnings=tuple(f"the server does not take {name}: left out" for name in self._client.left_out.names),
        )
        verdict = decided(calibrated(verdict, self._calibration, self.options.form), self._limit)
        if measured is not None and self.options.verify:
            return verified(verdict, measured, weight=self.options.expert_weight)
        return verdict

    def ask(self, video: Video, question: str) -> str:
        """See `AskableDetector.ask`; shown are the frames that `detect` would show."""
        shown = show(video, self.options, self._profile)
        plain = self.options.model_copy(update={"schema_": False, "logprobs": False})
        body = request_body(self.model, question, shown, plain, View.of(shown.media, resized=shown.size))
        return text_of_completion(run_blocking(self._ask(body)), max_tokens=self.options.max_tokens)

    async def _ask(self, body: dict[str, Any]) -> Completion:
        try:
            return await self._client.complete_without(body, final=is_refusal)
        except HttpStatusError as error:
            if is_refusal(error):
                raise RefusalError("", f"the server declined the request ({error.problem})") from None
            raise
