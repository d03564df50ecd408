"""`hf:MODEL_OR_FOLDER`: a multimodal language model run here as a detector."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from deeptrace.detectors.vlm.calibration import (
    Calibration,
    calibrated,
    calibration_facts,
    calibration_of,
    decided,
    limit_of,
)
from deeptrace.detectors.vlm.frame_sampling import Taken, decode_size, take_frames
from deeptrace.detectors.vlm.fusion import expert_of, verified, with_findings
from deeptrace.detectors.vlm.hf.checkpoint import Source, resolve
from deeptrace.detectors.vlm.hf.generation import Said, Writer
from deeptrace.detectors.vlm.hf.processors import ModelInputs, Processor, load_processor
from deeptrace.detectors.vlm.hf.settings import Options
from deeptrace.detectors.vlm.hf.weights import load_model
from deeptrace.errors import AnswerError
from deeptrace.prompts import View, question, verdict_of_text
from deeptrace.schema import DetectorInfo, Media, Usage, Verdict
from deeptrace.video import Video

__all__ = ["Clip", "LocalModel", "load", "processor_of"]

VERSION = "1"
log = logging.getLogger(__name__)


def load(rest: str, **settings: Any) -> LocalModel:
    """The detector `hf:rest`, with settings as in `Options`.

    Raises:
        SettingsError: no model is named, or a setting is invalid.
        ModelError: there is no model there, or it cannot be loaded.
    """
    source = resolve(rest, settings)
    options = source.options
    processor, calibration = processor_of(source), calibration_of(options.calibration, options.adapter, source.base)
    limit_of(options.threshold, calibration, verify=options.verify)  # what is wrong with it is said before loading
    model = load_model(source)
    return LocalModel(model, processor, options, name=source.name, weights=source.digest, calibration=calibration)


def processor_of(source: Source) -> Processor:
    """The processor of a source, with the sizes of its settings."""
    options = source.options
    return load_processor(source.base, request=options, times=options.times, compress=options.compress)


@dataclass(frozen=True)
class Clip:
    """A clip as the model takes it.

    Attributes:
        path: of the video.
        model_inputs: tokens and pixels.
        media: the clip, with the times of the frames shown.
        view: what the answer's numbers refer to.
        warnings: remarks for the reader.
        measured: the expert's verdict, with fusion (see `deeptrace.detectors.vlm.fusion`).
    """

    path: str
    model_inputs: ModelInputs
    media: Media
    view: View
    warnings: tuple[str, ...] = ()
    measured: Verdict | None = None

    @property
    def length(self) -> int:
        """Tokens of the question with its frames."""
        return len(self.model_inputs.input_ids)


class LocalModel:
    """A loaded model as a detector, in batches (see `deeptrace.detectors.BatchDetector`).

    Args:
        model: of transformers, loaded.
        processor: of its checkpoint.
        options: settings; None for those of the fine-tuned question.
        name: for people and records.
        weights: what the weights are called in records; None where they change, as in training.
        calibration: of `p_fake`; None to leave it as the model says.

    Raises:
        SettingsError: the calibration has no threshold of the name asked for.
    """

    def __init__(
        self,
        model: Any,
        processor: Processor,
        options: Options,
        *,
        name: str,
        weights: str | None = None,
        calibration: Calibration | None = None,
    ) -> None:
        self.options = options
        self._processor, self._calibration = processor, calibration
        self._limit = limit_of(options.threshold, calibration)
        self._form, self._question = options.answer_form, question(options.answer_form)
        self._expert = expert_of(options)
        self._writer = Writer(model, processor, options)
        self._free_writer = Writer(model, processor, options.model_copy(update={"constrained": False}))
        dtype = str(model.dtype).removeprefix("torch.")
        settings = {**options.recorded(), "dtype": dtype, "weights": weights}
        settings |= calibration_facts(calibration, options.threshold)
        self.info = DetectorInfo(name=f"hf:{name}", version=VERSION, settings=settings)

    @property
    def batch_size(self) -> int:
        """Clips at a time; one where words are drawn by chance, so that a clip's answer does not depend on others."""
        return 1 if self.options.temperature > 0 else self.options.batch_size

    def prepare(self, video: Video) -> Clip:
        """Decode what the model will see, and prepare its inputs.

        Raises:
            VideoError: the clip does not decode.
            ModelError: the model cannot take it.
        """
        frames, taken = self._taken(video)
        plan = self._processor.plan(len(frames), frames.shape[2], frames.shape[1])
        view = View.of(taken.media, resized=(plan.width, plan.height), shown=plan.shown)
        measured = None if self._expert is None else self._expert.examine(video)
        asked = self._question
        if measured is not None and self.options.findings:
            asked = with_findings(asked, measured, form=self._form, view=view)
        model_inputs = self._processor.process(frames, taken.media.sampled_times_s, asked)
        return Clip(video.path, model_inputs, taken.media, view, (*taken.warnings, *model_inputs.warnings), measured)

    def _taken(self, video: Video) -> tuple[np.ndarray, Taken]:
        """The frames that the settings ask for, (T, H, W, 3) uint8, and what is known of them."""
        times = self.options.moments(video.media.duration_s)
        size = (video.media.width, video.media.height)
        taken = take_frames(video, times, size=decode_size(size, len(times)), repeats=self.options.frames is not None)
        return np.stack([frame.image for frame in taken.frames]), taken

    def ask(self, video: Video, question: str) -> str:
        """See `AskableDetector.ask`; shown are the frames that `detect` would show, and no answer is constrained."""
        frames, taken = self._taken(video)
        model_inputs = self._processor.process(frames, taken.media.sampled_times_s, question)
        (said,) = self._free_writer.write([model_inputs])
        if not said.text.strip():
            raise AnswerError(video.path, "the answer is empty")
        return said.text

    def detect(self, video: Video) -> Verdict:
        """Ask about one clip.

        Raises:
            As `prepare` and `detect_batch`.
        """
        return self.detect_batch([self.prepare(video)])[0]

    def detect_batch(self, prepared: Sequence[Clip]) -> list[Verdict]:
        """Ask about several clips; those whose pixels do not go into one tensor are asked about in turn.

        Raises:
            ModelError: the model cannot take even one of them.
        """
        groups: dict[tuple[Any, ...], list[int]] = {}
        for place, clip in enumerate(prepared):
            groups.setdefault(_shapes(clip.model_inputs), []).append(place)
        found: dict[int, Verdict] = {}
        for places in groups.values():
            clips = [prepared[place] for place in places]
            said = self._write([clip.model_inputs for clip in clips])
            found |= {p: self._verdict(c, s) for p, c, s in zip(places, clips, said, strict=True)}
        return [found[place] for place in range(len(prepared))]

    def _write(self, samples: list[ModelInputs]) -> list[Said]:
        """The answers; a batch that does not fit into memory is halved."""
        try:
            return self._writer.write(samples)
        except torch.cuda.OutOfMemoryError:
            if len(samples) == 1:
                raise
        log.warning("out of memory with %d clips at a time: halved", len(samples))
        torch.cuda.empty_cache()
        half = len(samples) // 2
        return [*self._write(samples[:half]), *self._write(samples[half:])]

    def _verdict(self, clip: Clip, said: Said) -> Verdict:
        known: dict[str, Any] = {"media": clip.media, "detector": self.info, "usage": _usage(clip, said)}
        verdict = verdict_of_text(said.text, video=clip.path, form=self._form, view=clip.view, **known)
        limit = f"max_new_tokens={self.options.max_new_tokens}"
        if verdict.label is None:
            more = f". It was cut off at {limit}. Allow it more: --set max_new_tokens=N" if said.cut else ""
            return verdict.model_copy(update={"warnings": clip.warnings, "error": f"{verdict.error}{more}"})
        warnings = [*clip.warnings, *verdict.warnings]
        if said.cut:
            warnings.append(f"the answer was cut off at {limit}")
        p_fake = verdict.p_fake
        try:
            p_fake = said.fake_probability(verdict.label, self._form)
        except ValueError:
            warnings.append("the answer does not say REAL or FAKE: p_fake is not measured")
        verdict = verdict.model_copy(update={"p_fake": p_fake, "warnings": tuple(warnings)})
        verdict = decided(calibrated(verdict, self._calibration, self.options.form), self._limit)
        if clip.measured is not None and self.options.verify:
            return verified(verdict, clip.measured, weight=self.options.expert_weight)
        return verdict


def _shapes(model_inputs: ModelInputs) -> tuple[Any, ...]:
    """What must be alike for tensors to be put one after the other: names, and all sizes but the first."""
    length = len(model_inputs.input_ids)
    return tuple(
        (name, values.shape[1:] if values.dim() > 1 or len(values) != length else ())
        for name, values in sorted(model_inputs.tensors.items())
    )


def _usage(clip: Clip, said: Said) -> Usage:
    plan = clip.model_inputs.plan
    return Usage(
        requests=1,
        frames=len(clip.media.sampled_times_s),
        frame_size=(plan.width, plan.height),
        visual_tokens=plan.visual_tokens,
        prompt_tokens=said.prompt_tokens,
        completion_tokens=said.tokens,
    )
