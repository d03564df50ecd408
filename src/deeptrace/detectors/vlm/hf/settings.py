"""The settings of a local model, checked; what of them changes an answer, and what does not."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from deeptrace.detectors.vlm.settings import QuestionOptions

__all__ = ["Options"]


class Options(QuestionOptions):
    """Settings of `hf:` beside those of the question.

    Attributes:
        times: "text" to write the frames' times into the question where the architecture has another way, too.
        compress: VideoLLaMA 3's dropping of tokens that hardly change; None as the checkpoint says.
        dtype: of the weights; "auto" is the checkpoint's on a GPU, float32 on a CPU.
        device: "auto" is the first GPU, or the CPU where there is none.
        device_map: how accelerate spreads the model ("auto", or a map of modules); None for one device.
        quantization: 8 or 4 bits a weight, through bitsandbytes.
        attention: implementation; None for what transformers picks.
        adapter: folder or hub id of a LoRA adapter.
        adapter_folder: folder within it (Phi-4 multimodal keeps its own in "vision-lora").
        merge: add the adapter to the weights, which is faster; with quantization it stays apart.
        max_new_tokens: longest answer.
        batch_size: clips at a time.
        temperature: of the choice of words; 0 takes the likeliest.
        seed: of the choice of words.
        constrained: constrained decoding, which allows only answers that can be read.
        calibration: "auto" takes the one kept beside adapter or checkpoint, "none" none; a file or folder; or the
            temperature itself.
    """

    times: Literal["auto", "text"] = "auto"
    compress: bool | None = None
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    device: str = "auto"
    device_map: str | dict[str, Any] | None = None
    quantization: Literal[4, 8] | None = None
    attention: str | None = None
    adapter: str | None = None
    adapter_folder: str | None = None
    merge: bool = True
    max_new_tokens: int = Field(default=512, ge=1)
    batch_size: int = Field(default=8, ge=1)
    temperature: float = Field(default=0.0, ge=0)
    seed: int = 0
    constrained: bool = False
    calibration: str | float = "auto"

    def recorded(self) -> dict[str, Any]:
        """What changes an answer, for verdicts and manifests; which device and how many at a time does not."""
        return self.model_dump(mode="json", exclude={"device", "device_map", "batch_size", "calibration", "threshold"})
