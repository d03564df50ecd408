"""What a clip will take, from a model's config.json alone: frames, tokens, memory, and time on this machine."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import transformers

from deeptrace.detectors.base import Estimate
from deeptrace.detectors.vlm.hf.checkpoint import Source, resolve
from deeptrace.detectors.vlm.hf.detector import VERSION, processor_of
from deeptrace.detectors.vlm.hf.hub import is_downloaded
from deeptrace.detectors.vlm.hf.processors import Plan
from deeptrace.detectors.vlm.hf.weights import device_of, dtype_of
from deeptrace.errors import ModelError
from deeptrace.plural import plural
from deeptrace.prompts import question
from deeptrace.schema import DetectorInfo, Media

__all__ = ["LocalPlanner", "Shape", "Speed", "load_planner", "measure_speed"]

_SHARE = 0.5
"""Of the speed of one large matrix product, what a whole model reaches."""
_LETTERS_A_TOKEN = 4
_TRIES = 3

# fmt: off
KNOWN = frozenset([
    "DAMO-NLP-SG/VideoLLaMA3-2B", "DAMO-NLP-SG/VideoLLaMA3-7B", "LanguageBind/Video-LLaVA-7B-hf",
    "Qwen/Qwen2-VL-2B-Instruct", "Qwen/Qwen2-VL-7B-Instruct", "Qwen/Qwen2.5-VL-3B-Instruct",
    "Qwen/Qwen2.5-VL-7B-Instruct", "Qwen/Qwen2.5-VL-32B-Instruct", "Qwen/Qwen2.5-VL-72B-Instruct",
    "llava-hf/llava-onevision-qwen2-7b-ov-hf",
])
# fmt: on
"""Models whose sizes stand in `known/`, one folder a model: they are planned for without asking the hub."""


def load_planner(rest: str, **settings: Any) -> LocalPlanner:
    """What says beforehand what the detector `hf:rest` will take; no weights are read, and of known models nothing.

    Raises:
        SettingsError, ModelError: as `detector.load`.
    """
    source = replace(resolve(_sizes_of(rest), settings), name=rest)
    try:
        config = transformers.AutoConfig.for_model(**source.config)
        with torch.device("meta"):
            model = transformers.AutoModelForMultimodalLM.from_config(config)
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise ModelError(source.base, f"its config cannot be used: {error}") from error
    return LocalPlanner(source, Shape.of(model), dtype_of(source.options, source.config))


def _sizes_of(rest: str) -> str:
    """The folder with the sizes of a known model that is not on this machine; anything else as it is."""
    if rest in KNOWN and not Path(rest).exists() and not is_downloaded(rest):
        return str(Path(__file__).with_name("known") / rest.rpartition("/")[2])
    return rest


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of a model that its costs follow from.

    Attributes:
        vision: weights of the part that sees.
        language: weights of the part that writes.
        hidden, inner, layers: of the part that writes.
        cached: numbers kept of each token, in all layers.
        vision_hidden, vision_inner, vision_layers: of the part that sees.
    """

    vision: int
    language: int
    hidden: int
    inner: int
    layers: int
    cached: int
    vision_hidden: int
    vision_inner: int
    vision_layers: int

    @classmethod
    def of(cls, model: Any) -> Shape:
        """The shape of a model; one on the meta device will do."""
        config = model.config
        text = config.get_text_config()
        sees = getattr(config, "vision_config", None)
        seen = sum(weights.numel() for name, weights in model.named_parameters() if _is_vision(name))
        heads = int(text.num_attention_heads)
        head = int(getattr(text, "head_dim", None) or text.hidden_size // heads)
        kept = int(getattr(text, "num_key_value_heads", None) or heads)
        wide = _first(sees, "embed_dim", "hidden_size", default=text.hidden_size)
        return cls(
            vision=seen,
            language=sum(weights.numel() for weights in model.parameters()) - seen,
            hidden=int(text.hidden_size),
            inner=int(text.intermediate_size),
            layers=int(text.num_hidden_layers),
            cached=2 * int(text.num_hidden_layers) * kept * head,
            vision_hidden=wide,
            vision_inner=_first(sees, "intermediate_size", default=4 * wide),
            vision_layers=_first(sees, "depth", "num_hidden_layers", default=0),
        )


def _is_vision(name: str) -> bool:
    return any(part in name for part in ("visual.", "vision", "video_tower", "image_tower", "img_"))


def _first(config: Any, *names: str, default: int) -> int:
    return next((int(value) for name in names if (value := getattr(config, name, None)) is not None), int(default))


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast a device is, measured on it.

    Attributes:
        flops: of a large matrix product, a second.
        bandwidth: bytes of memory copied, read and write counted, a second.
    """

    flops: float
    bandwidth: float


def measure_speed(device: str, dtype: torch.dtype) -> Speed:
    """Time one matrix product and one copy; takes a fraction of a second."""
    side, size = (4096, 1 << 28) if device.startswith("cuda") else (768, 1 << 24)
    a = torch.randn(side, side, device=device, dtype=dtype)
    b = torch.empty(size, device=device, dtype=torch.uint8)
    product_s = _best(lambda: a @ a, device)
    copy_s = _best(lambda: b.clone(), device)
    return Speed(2 * side**3 / product_s, 2 * size / copy_s)


def _best(work: Any, device: str) -> float:
    """The shortest of a few times, in seconds, after a warm-up."""
    times = []
    for _ in range(_TRIES + 1):
        started = time.perf_counter()
        work()
        if device.startswith("cuda"):
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - started)
    return max(min(times[1:]), 1e-9)


class LocalPlanner:
    """Estimates for one model on this machine (see `deeptrace.detectors.Planner`).

    Args:
        source: the model and its settings.
        shape: its sizes.
        dtype: of its weights.
    """

    def __init__(self, source: Source, shape: Shape, dtype: torch.dtype) -> None:
        self._source, self._shape, self._dtype = source, shape, dtype
        self._options, self._processor = source.options, processor_of(source)
        self.info = DetectorInfo(name=f"hf:{source.name}", version=VERSION, settings=source.options.recorded())

    @cached_property
    def _speed(self) -> Speed | None:
        """Of the device that the model would run on; None where it cannot be had here."""
        device = device_of(self._options)
        if device.startswith("cuda") and not torch.cuda.is_available():
            return None
        return measure_speed(device, self._dtype)

    def estimate(self, media: Media) -> Estimate:
        """See `Planner.estimate`. An answer of the most tokens allowed is counted."""
        times = self._options.moments(media.duration_s)
        frames = len(times)
        warnings = []
        if media.frames is not None and media.frames < frames:
            warnings.append(
                f"the clip is short: at most {plural(media.frames, 'different frame')} for {plural(frames, 'moment')}"
            )
            frames = frames if self._options.frames is not None else max(media.frames, 1)
        plan = self._processor.plan(frames, media.width, media.height)
        prompt = plan.visual_tokens + len(question(self._options.answer_form)) // _LETTERS_A_TOKEN
        return Estimate(
            frames=frames,
            size=(plan.width, plan.height),
            visual_tokens=plan.visual_tokens,
            prompt_tokens=prompt,
            memory_gib=self._memory(plan, prompt) / 2**30,
            seconds=None if self._speed is None else self._seconds(plan, prompt, self._speed),
            warnings=tuple(warnings),
        )

    @property
    def _weight_bytes(self) -> float:
        """Of one weight; a part of a quantized model stays as it is, about an eighth."""
        bits = self._options.quantization
        return self._dtype.itemsize if bits is None else bits / 8 * 1.125

    def _memory(self, plan: Plan, prompt: int) -> float:
        """Bytes: weights, the cache of all tokens, and the largest layer at work."""
        shape, size = self._shape, self._dtype.itemsize
        written = prompt + self._options.max_new_tokens
        sees = plan.patches * (6 * shape.vision_hidden + 3 * shape.vision_inner)
        writes = prompt * (6 * shape.hidden + 3 * shape.inner)
        weights = (shape.vision + shape.language) * self._weight_bytes
        return weights + size * (written * shape.cached + max(sees, writes))

    def _seconds(self, plan: Plan, prompt: int, speed: Speed) -> float:
        """Reading the prompt is bound by arithmetic, writing token by token by memory."""
        shape = self._shape
        reading = 2 * shape.vision * plan.patches + 2 * shape.language * prompt
        reading += 4 * shape.layers * shape.hidden * prompt**2
        reading += 4 * shape.vision_layers * shape.vision_hidden * plan.patches**2 // max(plan.grid[0], 1)
        token_bytes = shape.language * self._weight_bytes + prompt * shape.cached * self._dtype.itemsize
        token_s = max(token_bytes / speed.bandwidth, 2 * shape.language / speed.flops)
        return reading / (_SHARE * speed.flops) + self._options.max_new_tokens * token_s
