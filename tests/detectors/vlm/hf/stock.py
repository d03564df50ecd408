"""What transformers' own processors make of a clip; they need torchvision, which does not import everywhere.

Outputs too large to keep are kept as a few rows and a checksum of the whole, in stock.npz beside this file. Write it
anew, where torchvision imports, with:  python -m tests.detectors.vlm.hf.stock
"""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deeptrace.prompts import FINE_TUNING, question
from deeptrace.video.sampling import FrameRequest

REFERENCE = Path(__file__).with_name("stock.npz")
QUESTION = question(FINE_TUNING).removeprefix("<video> ")
ROWS = 3


@dataclass(frozen=True)
class Case:
    """A clip, and bounds of its frames' size, in pixels; `still` repeats every other frame."""

    kind: str
    frames: int
    size: tuple[int, int]  # height, width
    low: int
    high: int
    still: bool = False
    fps: float = 24.0
    step: int = 12

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.frames}x{self.size[0]}x{self.size[1]}-{self.low}-{self.high}-{self.fps:g}"

    @property
    def times_s(self) -> list[float]:
        return [index * self.step / self.fps for index in range(self.frames)]

    @property
    def request(self) -> FrameRequest:
        """The bounds as this family's processor takes them: a frame (Qwen 2), a clip's share (the others)."""
        if self.kind == "video_llama_3":
            return bounds(self.low, self.high, self.high)
        if self.kind == "qwen3_vl":
            return bounds(-(-self.low // self.frames), self.high // self.frames, self.high)
        return bounds(self.low, self.high, 10**12)


def bounds(least: int, most: int, total: int) -> FrameRequest:
    return FrameRequest(min_frame_pixels=least, max_frame_pixels=most, max_total_pixels=total)


CASES = (
    Case("qwen2_5_vl", 5, (120, 180), 56 * 56, 10_000),  # shrunk, an odd number of frames
    Case("qwen2_5_vl", 4, (40, 60), 100 * 100, 200_000),  # enlarged
    Case("qwen2_5_vl", 2, (56, 84), 56 * 56, 200_000, step=24),  # as it is
    Case("qwen2_5_vl", 6, (150, 90), 56 * 56, 12_000, fps=25.0, step=25),
    Case("video_llama_3", 4, (120, 180), 56 * 56, 40_000, still=True),
    Case("video_llama_3", 1, (40, 60), 100 * 100, 200_000),
    Case("video_llama_3", 5, (150, 90), 56 * 56, 60_000, fps=29.97, step=15),
    Case("qwen2_vl", 3, (120, 180), 56 * 56, 10_000),
    Case("qwen3_vl", 4, (120, 180), 8 * 32 * 32, 60_000),
)


def clip(case: Case) -> np.ndarray:
    """(T, H, W, 3) uint8 by a formula in whole numbers: edges, texture, and motion."""
    height, width = case.size
    t, y, x, c = np.indices((case.frames, height, width, 3))
    if case.still:
        t = t // 2
    return (((x * 7 + y * 13 + t * 29 + c * 83) ^ ((x + 3 * t) * y // 16)) % 256).astype(np.uint8)


def summary(outputs: dict[str, Any]) -> dict[str, np.ndarray]:
    """Outputs of a processor or an encoder as kept: `patches` in part, the rest in full."""
    patches = np.ascontiguousarray(outputs["pixel_values_videos"].numpy())
    kept = {
        "rows": patches[:: max(len(patches) // ROWS, 1)][:ROWS],
        "digest": np.frombuffer(hashlib.sha256(patches.tobytes()).digest(), np.uint8),
    }
    for name in ("video_grid_thw", "second_per_grid_ts", "video_compression_mask", "video_merge_sizes"):
        if name in outputs:
            kept[name] = np.asarray(outputs[name])
    return kept


def stock_outputs(case: Case, folder: Path) -> dict[str, Any]:
    """What the stock processor with the tokenizer in `folder` gives for a case, without a batch dimension."""
    import transformers
    from transformers.video_utils import VideoMetadata

    qwen3, llama = case.kind == "qwen3_vl", case.kind == "video_llama_3"
    names = {"qwen2_vl": "Qwen2VL", "qwen2_5_vl": "Qwen2_5_VL", "qwen3_vl": "Qwen3VL", "video_llama_3": "VideoLlama3"}
    family = "Qwen3VL" if qwen3 else "VideoLlama3" if llama else "Qwen2VL"
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    pixels = getattr(transformers, f"{family}VideoProcessor")(
        size={"shortest_edge": case.low, "longest_edge": case.high}
    )
    images = getattr(transformers, "VideoLlama3ImageProcessor" if llama else "Qwen2VLImageProcessor")()
    processor = getattr(transformers, f"{names[case.kind]}Processor")(
        image_processor=images, tokenizer=tokenizer, video_processor=pixels
    )
    chat = [{"role": "user", "content": [{"type": "video"}, {"type": "text", "text": QUESTION}]}]
    text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    if qwen3:  # this processor puts the vision marks around each pair of frames itself
        text = text.replace("<|vision_start|><|video_pad|><|vision_end|>", "<|video_pad|>")
    indices = [index * case.step for index in range(case.frames)]
    facts = VideoMetadata(total_num_frames=case.frames * case.step, fps=case.fps, frames_indices=indices)
    made = processor(
        text=[text],
        videos=[clip(case)],
        video_metadata=[facts],
        do_sample_frames=False,
        return_tensors="pt",
    )
    return {**made, "input_ids": made["input_ids"][0]}


def write() -> None:
    """Write the reference file."""
    from tests.detectors.vlm.hf.tiny import save_tiny

    kept: dict[str, np.ndarray] = {}
    with tempfile.TemporaryDirectory() as folder:
        for case in CASES:
            home = Path(folder) / case.kind
            if not home.exists():
                save_tiny(case.kind, home)
            made = stock_outputs(case, home)
            kept |= {f"{case.name}/{name}": value for name, value in summary(made).items()}
            import transformers

            text = transformers.AutoTokenizer.from_pretrained(home).decode(made["input_ids"])
            kept[f"{case.name}/text"] = np.array(text)
    np.savez_compressed(REFERENCE, **kept)  # type: ignore[arg-type]


if __name__ == "__main__":
    write()
