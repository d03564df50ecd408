"""What is known of a served model by its name: box space, frame sizes that it takes unchanged, tokens, sampling."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from deeptrace.detectors.vlm.frame_sampling import Size
from deeptrace.detectors.vlm.paper_models import PAPER_SAMPLING, paper_model
from deeptrace.video.sampling import FrameRequest

__all__ = ["Profile", "profile_of"]


@dataclass(frozen=True, slots=True)
class Profile:
    """Defaults for a model; every one can be set otherwise.

    Attributes:
        space: coordinate space of its boxes.
        multiple_of: sides of frames are multiples of this, so that the server does not resize them once more and
            pixels of the frame sent are pixels of the frame seen.
        min_pixels: smaller frames would be enlarged by the server.
        max_tokens: longest answer; models that think need room to.
        tokens: visual tokens of a frame of (width, height); None where the rule is not published.
        sampling: which frames.
        video_fps: most frames a second of a video part whose times the model can tell apart; None for no such limit.
    """

    space: str = "resized_pixels"
    multiple_of: int = 28
    min_pixels: int = 56 * 56
    max_tokens: int = 1024
    tokens: Callable[[Size], int] | None = None
    sampling: FrameRequest = PAPER_SAMPLING
    video_fps: float | None = None


def _patches(side: int) -> Callable[[Size], int]:
    return lambda size: (size[0] // side) * (size[1] // side)


def _tiles(base: int, tile: int) -> Callable[[Size], int]:
    """OpenAI's rule at high detail: into 2048 x 2048, the short side to 768, then so many for each 512-pixel tile."""

    def tokens(size: Size) -> int:
        shrink = min(1.0, 2048 / max(size))
        shrink *= min(1.0, 768 / (min(size) * shrink))
        wide, high = (math.ceil(round(side * shrink) / 512) for side in size)
        return base + tile * wide * high

    return tokens


# By what a model's name contains, the first that fits. Box spaces are those of the makers: their code or documentation
# divides by it, at the address given.
_FAMILIES: tuple[tuple[str, Profile], ...] = (
    # github.com/QwenLM/Qwen3-VL, cookbooks/2d_grounding.ipynb; Qwen3-Omni, cookbooks/object_grounding.ipynb (/ 1000);
    # for 3.5 and later github.com/QwenLM/Qwen3.8-Flash-Next/issues/4
    (r"qwen-?3[._-]?(?:vl|omni)|qwen-?3[._][5-9]", Profile("permille", 32, 64 * 64, tokens=_patches(32))),
    # github.com/QwenLM/Qwen3-VL/issues/721: absolute, of the resized frame
    (r"qwen-?2[._-]?5[._-]?vl", Profile("resized_pixels", 28, tokens=_patches(28), video_fps=4.0)),
    # arxiv.org/abs/2409.12191, section 2.2: within [0, 1000)
    (r"qwen-?2[._-]?vl", Profile("permille", 28, tokens=_patches(28))),
    # github.com/OpenGVLab/InternVL, internvl_chat/eval/refcoco/evaluate_grounding.py (/ 1000)
    (r"intern[._-]?vl", Profile("permille", 2, 1)),
    # github.com/zai-org/GLM-skills, glmv-grounding/SKILL.md: 0-1000; they think
    (r"glm-?\d(?:[._]\d)?v", Profile("permille", 28, max_tokens=8192, tokens=_patches(28))),
    # github.com/deepseek-ai/DeepSeek-VL2, deepseek_vl2/serve/app_modules/utils.py (/ 999: a thousandth off at most)
    (r"deepseek[._-]?vl[._-]?2", Profile("permille", 2, 1)),
    # github.com/MoonshotAI/Kimi-VL, issues 52 and 56: fractions, which the makers' demo multiplies by the frame's size
    (r"kimi[._-]?vl", Profile("fractions", 28, max_tokens=8192, tokens=_patches(28))),
    # ai.google.dev/gemini-api/docs/image-understanding: box_2d, [ymin, xmin, ymax, xmax], 0-1000
    (r"gemini", Profile("permille_yxyx", 2, 1, max_tokens=8192)),
    # github.com/google-research/big_vision, big_vision/configs/proj/paligemma/README.md: <loc....>, y first
    (r"paligemma", Profile("1024ths_yxyx", 2, 1)),
    (r"gpt-5", Profile(multiple_of=2, min_pixels=1, max_tokens=8192, tokens=_tiles(70, 140))),
    (r"gpt-4\.1-(?:mini|nano)|gpt-4o-mini", Profile(multiple_of=2, min_pixels=1)),
    (r"gpt-4\.1|gpt-4o", Profile(multiple_of=2, min_pixels=1, tokens=_tiles(85, 170))),
)


def profile_of(model: str) -> Profile:
    """The profile of a model by its name; one that suits Qwen2.5-VL and its descendants where the name says nothing."""
    name = model.lower()
    found = next((profile for pattern, profile in _FAMILIES if re.search(pattern, name)), Profile())
    known = paper_model(model)
    if known is None:
        return found
    return replace(found, space=known.space or found.space, sampling=known.sampling)
