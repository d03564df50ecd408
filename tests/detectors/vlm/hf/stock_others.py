"""What transformers' own processors make of a clip for LLaVA-OneVision, Video-LLaVA and Phi-4 multimodal.

They need torchvision. Checksums of what they gave are in stock_others.json; write it anew, where torchvision imports,
with:  python -m tests.detectors.vlm.hf.stock_others
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

REFERENCE = Path(__file__).with_name("stock_others.json")
SIZES = ((60, 90), (90, 60), (56, 56), (200, 130), (61, 143))
"""(height, width) of frames: wide, tall, as they are, and two that no side divides."""
KINDS = ("llava_onevision", "video_llava", "phi4_multimodal")
SIDES = {"llava_onevision": 70, "video_llava": 56, "phi4_multimodal": 56}
MEAN, STD = [0.5, 0.4, 0.3], [0.2, 0.3, 0.4]
TILES = 3


def frames(kind: str, size: tuple[int, int]) -> np.ndarray:
    """(T, H, W, 3) uint8 by a formula in whole numbers; eight frames for Video-LLaVA."""
    count = 8 if kind == "video_llava" else 3
    t, y, x, c = np.indices((count, *size, 3))
    return (((x * 5 + y * 11 + t * 31 + c * 71) ^ ((x + 2 * t) * y // 9)) % 256).astype(np.uint8)


def digests(outputs: dict[str, Any]) -> dict[str, str]:
    """Checksums of tensors, by name."""
    return {
        name: hashlib.sha256(np.ascontiguousarray(values.float().numpy()).tobytes()).hexdigest()[:16]
        for name, values in sorted(outputs.items())
    }


def stock_outputs(kind: str, size: tuple[int, int]) -> dict[str, Any]:
    """What the stock processor gives."""
    import torch
    import transformers

    shown, side = frames(kind, size), SIDES[kind]
    if kind == "phi4_multimodal":
        from transformers.models.phi4_multimodal.image_processing_phi4_multimodal import Phi4MultimodalImageProcessor

        processor = Phi4MultimodalImageProcessor(
            size={"height": side, "width": side}, dynamic_hd=TILES, image_mean=MEAN, image_std=STD
        )
        made = dict(processor(list(torch.from_numpy(shown).permute(0, 3, 1, 2)), return_tensors="pt"))
        made["num_img_tokens"] = torch.as_tensor(made["num_img_tokens"])
        return made
    if kind == "llava_onevision":
        pixels = transformers.LlavaOnevisionVideoProcessor(
            size={"height": side, "width": side}, image_mean=MEAN, image_std=STD
        )
    else:
        pixels = transformers.VideoLlavaVideoProcessor(
            size={"shortest_edge": side}, crop_size={"height": side, "width": side}, image_mean=MEAN, image_std=STD
        )
    return dict(pixels(videos=[shown], return_tensors="pt"))


def main() -> None:
    """Write the reference file."""
    kept = {f"{kind}-{h}x{w}": digests(stock_outputs(kind, (h, w))) for kind in KINDS for h, w in SIZES}
    REFERENCE.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
