"""A reward function for verl-omni, where verl's training of diffusion models went.

    reward:
      custom_reward_function:
        path: pkg://deeptrace.reward.adapters.verl_omni
        name: compute_score
        reward_kwargs: {fps: 16}

Its visual reward manager calls it for one sample at a time, from threads of its own:
`compute_score(data_source=, solution_image=, ground_truth=, extra_info=)`, with the pixels as a uint8 tensor (T, C, H,
W), and takes a float or a dict with "score"; the other keys are logged. verl-omni's generic HTTP scorer sends frame 0
alone, as a JPEG; a video's reward cannot be read off that, so such input is refused by name.

Source: verl-project/verl-omni verl_omni/reward_loop/reward_manager/visual.py at 1486d9c
    (VisualRewardManager.run_single), verl_omni/utils/reward_score/http_scorer_client.py at 2fbad52."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deeptrace.detectors import DEFAULT_DETECTOR
from deeptrace.errors import SettingsError
from deeptrace.reward.adapters.failures import checked_stand_in, fps_from, numbers
from deeptrace.reward.reward import shared_reward

__all__ = ["compute_score"]

CALLER = "verl-omni"


def compute_score(
    data_source: str,  # noqa: ARG001 - verl-omni's signature
    solution_image: Any,
    ground_truth: Any,  # noqa: ARG001 - verl-omni's signature
    extra_info: Mapping[str, Any] | None = None,
    *,
    fps: float | None = None,
    layout: str = "TCHW",
    detector: str = DEFAULT_DETECTOR,
    workers: int = 1,
    failed: float | None = None,
    settings: Mapping[str, Any] | None = None,
    **kwargs: Any,  # noqa: ARG001 - verl-omni adds the address of its reward model where there is one
) -> dict[str, float]:
    """The reward of one generated video as `score`, with its parts and each kind of flaw.

    Args:
        data_source, ground_truth, extra_info: from verl-omni.
        solution_image: uint8 pixels, (T, C, H, W) or as `layout` says.
        fps: how fast the generator's frames are shown; `extra_info["fps"]` goes before it.
        layout: the axes in order, "TCHW" or "THWC".
        detector, workers, settings: see `Reward`; one is shared by all calls of the process.
        failed: the number for a video that cannot be scored; None to raise.

    Raises:
        SettingsError: an image or a single frame in place of a video, pixels that are not uint8 or not as `layout`
            says, no fps, or senseless settings.
        ModelError: the video could not be scored and no number was chosen for that.
    """
    stand_in = checked_stand_in(failed, CALLER)
    if layout not in ("TCHW", "THWC"):
        raise SettingsError(CALLER, f"expected layout TCHW or THWC but got {layout!r}")
    shape = tuple(getattr(solution_image, "shape", ()))
    if len(shape) == 3 or (len(shape) == 4 and shape[0] == 1):
        problem = f"got one frame of shape {shape}; a video's reward cannot be read off a single frame"
        raise SettingsError(CALLER, problem, "Give all frames: not by the HTTP scorer, which sends frame 0 as a JPEG.")
    if len(shape) != 4:
        got = f"shape {shape}" if shape else type(solution_image).__name__
        raise SettingsError(CALLER, f"expected uint8 pixels ({', '.join(layout)}) but got {got}")
    rate = fps_from([extra_info or {}], "fps", 1, fps, CALLER)
    reward = shared_reward(detector, workers=workers, **dict(settings or {}))
    result = reward.score([solution_image], fps=rate, layout=layout, value_range=(0, 255))[0]
    score = numbers([result], stand_in, CALLER)[0]
    # The same keys for every sample: they become the columns of one table.
    named = {"score": score, "authenticity": score, "trace_factor": score, "flaw_factor": score, "scored": 0.0}
    if result.parts is None:
        return named
    parts = result.parts
    known = {"authenticity": parts.authenticity, "trace_factor": parts.trace_factor, "flaw_factor": parts.flaw_factor}
    return named | known | {"scored": 1.0}
