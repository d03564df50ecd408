"""VideoAlign's `VideoVLMRewardInference`, so that code written for it runs unchanged.

    from deeptrace.reward.adapters.videoalign import VideoVLMRewardInference
    inferencer = VideoVLMRewardInference("./videoalign_ckpt", device="cuda:0")
    inferencer.reward([path], [prompt], use_norm=True)         # [{"VQ": ..., "MQ": ..., "TA": 0.0, "Overall": ...}]

DanceGRPO imports the class by its full name from its own tree. `install()` puts this one there, and this module runs
a script with that done: `torchrun ... -m deeptrace.reward.adapters.videoalign fastvideo/train_grpo_hunyuan.py ...`.

Source: KwaiVGI/VideoAlign inference.py; XueZeyue/DanceGRPO fastvideo/train_grpo_hunyuan.py (reads VQ and MQ of one
clip, and turns any exception into -1.0) and train_grpo_skyreels_i2v.py (reads MQ).
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from typing import Any

from deeptrace.detectors import DEFAULT_DETECTOR
from deeptrace.detectors.tracenet.model import CARD_NAME
from deeptrace.errors import SettingsError
from deeptrace.io.processes import run_script
from deeptrace.reward.adapters.failures import checked_stand_in, numbers
from deeptrace.reward.dimensions import appearance_and_motion
from deeptrace.reward.result import RewardResult
from deeptrace.reward.reward import Reward

__all__ = ["VideoVLMRewardInference", "install"]

log = logging.getLogger(__name__)

CALLER = "VideoVLMRewardInference"


class VideoVLMRewardInference:
    """VideoAlign's class with deeptrace behind it.

    VQ = authenticity * exp(-4 * cost of traces of appearance), MQ the same for traces of motion, both in [0, 1] (see
    `deeptrace.reward.dimensions`). TA is 0.0, always: deeptrace does not read the prompt. Overall = VQ + MQ + TA, as
    VideoAlign adds them.

    Args:
        load_from_pretrained: a folder of TraceNet weights; any other path (VideoAlign's checkpoint) is not read, and
            the shipped weights are used.
        load_from_pretrained_step, device, dtype: without effect; deeptrace runs on the CPU.
        detector: another detector, by name.
        failed: the number for VQ and MQ of a clip that cannot be scored; None to raise, which DanceGRPO turns to -1.0.
        workers: clips analysed at once.

    Raises:
        ModelError, SettingsError, UnknownDetectorError: the detector cannot be loaded.
    """

    def __init__(
        self,
        load_from_pretrained: str | os.PathLike[str],
        load_from_pretrained_step: int = -1,  # noqa: ARG002 - VideoAlign's signature
        device: Any = "cuda",
        dtype: Any = None,  # noqa: ARG002 - VideoAlign's signature
        *,
        detector: str | None = None,
        failed: float | None = None,
        workers: int = 1,
    ) -> None:
        folder = os.fspath(load_from_pretrained)
        if detector is None and os.path.isfile(os.path.join(folder, CARD_NAME)):
            detector = f"{DEFAULT_DETECTOR}:{folder}"
        self.device = device
        self._failed = checked_stand_in(failed, CALLER)
        self._reward = Reward(detector or DEFAULT_DETECTOR, workers=workers)
        log.info("rewards by %s; %s is not read", self._reward.info.name, folder)

    def reward(
        self,
        video_paths: Sequence[str],
        prompts: Sequence[str],
        fps: float | None = None,
        num_frames: int | None = None,
        max_pixels: int | None = None,  # noqa: ARG002 - VideoAlign's signature
        use_norm: bool = True,  # noqa: ARG002 - VideoAlign's signature
    ) -> list[dict[str, float]]:
        """The scores of each video, in order.

        Args:
            video_paths: B paths or URLs.
            prompts: B texts; only counted.
            fps, num_frames, max_pixels, use_norm: without effect: TraceNet samples as it was calibrated, and its
                scores are on one scale already.

        Raises:
            SettingsError: not as many prompts as paths, or both fps and num_frames.
            ModelError: a clip could not be scored and no number was chosen for that.
        """
        if fps is not None and num_frames is not None:
            raise SettingsError(CALLER, "fps and num_frames cannot be set at the same time")
        if isinstance(video_paths, str) or len(video_paths) != len(prompts):
            raise SettingsError(CALLER, "expected a list of paths and as many prompts")
        results = self._reward.score([os.fspath(path) for path in video_paths])
        numbers(results, self._failed, CALLER)
        return [self._scores(result) for result in results]

    def _scores(self, result: RewardResult) -> dict[str, float]:
        if result.parts is None:
            quality = motion = float(self._failed or 0.0)
        else:
            quality, motion = appearance_and_motion(result.parts)
        return {"VQ": quality, "MQ": motion, "TA": 0.0, "Overall": quality + motion}


def install() -> None:
    """Make DanceGRPO's `from fastvideo.models.videoalign.inference import VideoVLMRewardInference` find this class.

    Call it before the training script imports; VideoAlign's own dependencies are then not needed.
    """
    sys.modules["fastvideo.models.videoalign.inference"] = sys.modules[VideoVLMRewardInference.__module__]


if __name__ == "__main__":
    run_script("deeptrace.reward.adapters.videoalign")
