"""Supervised fine-tuning of 7B video language models: plain transformers against ours, switch by switch, in one run.

    python benchmarks/sft_speed.py [--models qwen2_5_vl videollama3] [--tuning full lora] [--steps 6] [--pack 4]
        [--rounds 3] [--threads 1] [--json FILE] [--tiny]

On an NVIDIA GPU: random 7B weights in bfloat16 at the shapes of the issue, Qwen2.5-VL with 6 frames of 728x1288 (3,588
visual tokens) and VideoLLaMA 3 with 12 (14,352). Without a GPU, or with --tiny: the same code on models of a few
million weights and frames of 112x168; such figures say that it runs, and nothing about a GPU.

Every row is a process of its own: weights made anew, one step to warm up, then the median of the steps timed from the
batch on the device to the end of the optimizer's step. Rounds over all rows take turns; a row shows its median round.
Peak memory is the card's; without one, what the process took beyond Python and its libraries. Pixels are random and
made beforehand; what batches cost (the frame cache, preparing ahead, padding) stands in tables of its own. MFU counts 6
FLOPs a weight of the language model and token, 2 more for attention by the usual formula, nothing for the vision tower
and nothing for recomputation, over the card's peak in dense bfloat16. Rows:

    plain             transformers: SDPA, the loss on all logits, gradient checkpointing, fused AdamW, one sample a step
    answer loss       plain, with the loss on answer positions in chunks
    varlen            plain, with variable-length attention
    unfused           plain, with AdamW that is not fused
    packed            plain, with several samples in a row
    ours              answer loss, varlen and packing
    ours, kept        ours, without gradient checkpointing
    padded / packed, mixed lengths    ours on four clips of 6, 2, 4 and 3 frames: a padded batch, and a packed row

The peer is `plain`; of the rows with mixed lengths, whose samples are shorter, the padded batch.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from peft import LoraConfig, get_peft_model

from deeptrace.detectors.vlm.hf.processors import ModelInputs, Plan, collate, labels
from deeptrace.train.sft.batches import Positions, pack
from deeptrace.train.sft.trainer import learn_answers_only
from deeptrace.train.vlm.attention import VARLEN, kernel_runs, use_attention
from deeptrace.train.vlm.settings import ModelSettings

PEAKS_TFLOPS = {"H100": 989.0, "H200": 989.0, "A100": 312.0, "L40S": 362.0, "4090": 165.0}
"""Dense bfloat16 by the data sheets; SXM where there are several."""
QUESTION, ANSWER = 96, 64


@dataclass(frozen=True)
class Row:
    """One row of the table: which switches are on."""

    name: str
    answers: bool = False
    varlen: bool = False
    packed: bool = False
    fused: bool = True
    checkpointing: bool = True
    frames: tuple[int, ...] = ()


ROWS = (
    Row("plain"),
    Row("answer loss", answers=True),
    Row("varlen", varlen=True),
    Row("unfused", fused=False),
    Row("packed", packed=True),
    Row("ours", answers=True, varlen=True, packed=True),
    Row("ours, kept", answers=True, varlen=True, packed=True, checkpointing=False),
    Row("padded, mixed lengths", answers=True, varlen=True, frames=(6, 2, 4, 3)),
    Row("packed, mixed lengths", answers=True, varlen=True, packed=True, frames=(6, 2, 4, 3)),
)

MIXED_PEER = "padded, mixed lengths"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["qwen2_5_vl", "videollama3"], choices=list(CONFIGS))
    parser.add_argument("--tuning", nargs="+", default=["full", "lora"], choices=["full", "lora"])
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--pack", type=int, default=4, help="samples in a packed row")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1, help="threads of torch on the CPU")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the figures here")
    parser.add_argument("--tiny", action="store_true", help="small models, though there is a GPU")
    parser.add_argument("--one", nargs=3, metavar=("MODEL", "TUNING", "ROW"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    tiny = asked.tiny or not torch.cuda.is_available()
    torch.set_num_threads(asked.threads)
    if asked.one:
        print(json.dumps(measure(*asked.one, tiny=tiny, steps=asked.steps, many=asked.pack)))
        return 0
    print(f"{device_name()}, torch {torch.__version__}, transformers {transformers.__version__}")
    if tiny:
        print("NO GPU FIGURES: small models on this device; they show that the code runs, not how fast a GPU is.")
    found = []
    for model in asked.models:
        for tuning in asked.tuning:
            print(f"\n{model}, {tuning}\n\n| | samples/s | against the peer | tokens/s | MFU | peak memory |")
            print("|---|---|---|---|---|---|")
            rounds = [[run_one(model, tuning, row.name, asked) for row in ROWS] for _ in range(asked.rounds)]
            for of_row in zip(*rounds, strict=True):
                found.append(middle(of_row))
                print(shown(found[-1], found), flush=True)
    tables = print_tables(tiny)
    if asked.json:
        facts = {"device": device_name(), "tiny": tiny, "torch": torch.__version__}
        asked.json.write_text(json.dumps({**facts, "rows": found, "tables": tables}, indent=1) + "\n")
    return 0


def run_one(model: str, tuning: str, row: str, asked: argparse.Namespace) -> dict[str, Any]:
    """A row in a process of its own: one that runs out of memory leaves nothing behind."""
    options = ["--steps", str(asked.steps), "--pack", str(asked.pack), "--threads", str(asked.threads)]
    options += ["--tiny"] if asked.tiny else []
    done = subprocess.run(
        [sys.executable, __file__, "--one", model, tuning, row, *options], capture_output=True, text=True, check=False
    )
    known = {"model": model, "tuning": tuning, "row": row}
    if done.returncode == 0:
        return known | json.loads(done.stdout.splitlines()[-1])
    last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    return known | {"failed": "out of memory" if "OutOfMemory" in done.stderr else last[:120]}


def middle(rounds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The median round of a row by speed; a failure where any failed."""
    failed = [one for one in rounds if "failed" in one]
    return failed[0] if failed else sorted(rounds, key=lambda one: one["samples_s"])[len(rounds) // 2]


def shown(one: dict[str, Any], found: list[dict[str, Any]]) -> str:
    if "failed" in one:
        return f"| {one['row']} | {one['failed']} | | | | |"
    peer = MIXED_PEER if one["row"].endswith("mixed lengths") else ROWS[0].name
    same = [r for r in found if (r["model"], r["tuning"], r["row"]) == (one["model"], one["tuning"], peer)]
    plain = same[0].get("samples_s") if same else None
    against = f"{one['samples_s'] / plain:.2f}x" if plain else "-"
    mfu = "-" if one["mfu"] is None else f"{one['mfu']:.1%}"
    memory = f"{one['peak_gib']:.2f} GiB"
    return f"| {one['row']} | {one['samples_s']:.3f} | {against} | {one['tokens_s']:.0f} | {mfu} | {memory} |"


# -- one row ----------------------------------------------------------------------------------------------------------


def measure(kind: str, tuning: str, name: str, *, tiny: bool, steps: int, many: int) -> dict[str, Any]:
    """Train a few steps with the switches of row `name`."""
    row = next(row for row in ROWS if row.name == name)
    device, dtype = ("cpu", torch.float32) if not torch.cuda.is_available() else ("cuda", torch.bfloat16)
    torch.manual_seed(0)
    before = resident_gib()
    model = trainable(kind, tuning, row, tiny=tiny, device=device, dtype=dtype)
    inner = model.get_base_model() if tuning == "lora" else model
    frames = row.frames or (CONFIGS[kind][2],) * (many if row.packed else 1)
    samples = [sample(kind, inner.config, count, tiny=tiny) for count in frames]
    if row.packed:
        batch = pack(samples, Positions(inner.config))
    else:
        batch = collate(samples, pad_id=0, side="right") | {"labels": labels(samples, side="right")}
    tensors = {name: part.to(device, dtype if part.is_floating_point() else None) for name, part in batch.items()}
    learned = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=1e-6, fused=row.fused, foreach=None if row.fused else False)
    times = []
    for _ in range(steps + 1):
        synchronize()
        started = time.perf_counter()
        model(**tensors).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        synchronize()
        times.append(time.perf_counter() - started)
    seconds = statistics.median(times[1:])
    tokens = sum(len(one.input_ids) for one in samples)
    peak = peak_tflops()
    return {
        "samples_s": len(samples) / seconds,
        "tokens_s": tokens / seconds,
        "tokens": tokens,
        "seconds": seconds,
        "mfu": None if peak is None else model_flops(inner, samples) / seconds / (peak * 1e12),
        "peak_gib": torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else resident_gib() - before,
        "kernel": bool(row.varlen and kernel_runs(torch.empty(1, 1, 64, device=device, dtype=dtype))),
    }


def trainable(kind: str, tuning: str, row: Row, *, tiny: bool, device: str, dtype: torch.dtype) -> Any:
    """A model with random weights, made on the device."""
    build, class_name, _ = CONFIGS[kind]
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            model = getattr(transformers, class_name)(build(tiny))
    finally:
        torch.set_default_dtype(before)
    use_attention(model, VARLEN if row.varlen else "sdpa")
    if row.answers:
        learn_answers_only(model, chunk=1024)
    if tuning == "lora":
        settings = ModelSettings(base="random", tuning="lora")
        model = get_peft_model(model, LoraConfig(r=settings.rank, target_modules=settings.targets))
    if row.checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return model.train()


def sample(kind: str, config: Any, frames: int, *, tiny: bool) -> ModelInputs:
    """Random patches of `frames` frames, with as many tokens as they take, a question and an answer."""
    high, wide = (8, 12) if tiny else (52, 92)
    temporal = 2 if kind == "qwen2_5_vl" else 1
    grid = ((frames + temporal - 1) // temporal, high, wide)
    patches = grid[0] * high * wide
    visual = patches // 4
    ids = torch.randint(10, 1000, (QUESTION + visual + ANSWER,))
    ids[QUESTION // 2 : QUESTION // 2 + visual] = config.video_token_id
    tensors = {
        "pixel_values_videos": torch.randn(patches, 3 * temporal * 14 * 14),
        "video_grid_thw": torch.tensor([grid]),
    }
    if kind == "qwen2_5_vl":
        tensors["second_per_grid_ts"] = torch.tensor([1.0])
        tensors["mm_token_type_ids"] = torch.where(ids == config.video_token_id, 2, 0)
    else:
        tensors["video_merge_sizes"] = torch.tensor([2])
        tensors["video_compression_mask"] = torch.ones(visual, dtype=torch.bool)
    return ModelInputs(ids, QUESTION + visual, tensors, Plan(frames, wide * 14, high * 14, grid, visual))


def model_flops(model: Any, samples: list[ModelInputs]) -> float:
    """FLOPs of forward and backward of the language model: 6 a weight and token, 6 a layer, width and token pair."""
    text = model.config.text_config
    weights = sum(w.numel() for name, w in model.named_parameters() if "language_model" in name and "embed" not in name)
    weights -= sum(w.numel() for name, w in model.named_parameters() if "lora_" in name)
    pairs = sum(len(one.input_ids) ** 2 for one in samples)
    tokens = sum(len(one.input_ids) for one in samples)
    return 6.0 * weights * tokens + 6.0 * text.num_hidden_layers * text.hidden_size * pairs


def print_tables(tiny: bool) -> dict[str, dict[str, float]]:
    """What batches cost beside the model's work."""
    from sft_prepare import clip_ms, padding_shares, step_ms  # the processes of the rows need none of it

    tables = {
        "preparing an example on one core (5 s of 1280x720, 10 frames), ms": clip_ms(2 if tiny else 5),
        "a step of a tiny model on the CPU, batches prepared ahead or not, ms": step_ms(24),
        "padding, % of a batch's tokens": {name: 100 * share for name, share in padding_shares().items()},
    }
    for title, rows in tables.items():
        print(f"\n{title}\n\n| | |\n|---|---|")
        for name, value in rows.items():
            print(f"| {name} | {value:.0f} |")
    return tables


# -- the models -------------------------------------------------------------------------------------------------------

TEXT_7B = {
    "vocab_size": 152_064,
    "hidden_size": 3584,
    "intermediate_size": 18_944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "max_position_embeddings": 32_768,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": False,
}
TEXT_TINY = TEXT_7B | {
    "vocab_size": 32_000,
    "hidden_size": 128,
    "intermediate_size": 512,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}


def qwen2_5_vl(tiny: bool) -> Any:
    """Qwen2.5-VL-7B, by its published config."""
    section = [4, 6, 6] if tiny else [16, 24, 24]
    rope = {"rope_type": "default", "rope_theta": 1_000_000.0, "mrope_section": section}
    vision = {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16}
    own = {"out_hidden_size": 3584, "fullatt_block_indexes": [7, 15, 23, 31], "tokens_per_second": 2}
    if tiny:
        vision = {"depth": 4, "hidden_size": 96, "intermediate_size": 192, "num_heads": 4}
        own |= {"out_hidden_size": 128, "fullatt_block_indexes": [3]}
    text = (TEXT_TINY if tiny else TEXT_7B) | {"rope_parameters": rope}
    ids = {"image_token_id": 1001, "video_token_id": 1002, "vision_start_token_id": 1003, "vision_end_token_id": 1004}
    return transformers.Qwen2_5_VLConfig(text_config=text, vision_config=vision | own, tie_word_embeddings=False, **ids)


def videollama3(tiny: bool) -> Any:
    """VideoLLaMA 3 7B, by its published config."""
    vision = {"hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 27, "num_attention_heads": 16}
    if tiny:
        vision = {"hidden_size": 96, "intermediate_size": 192, "num_hidden_layers": 4, "num_attention_heads": 4}
    text = (TEXT_TINY if tiny else TEXT_7B) | {"model_type": "qwen2"}
    return transformers.VideoLlama3Config(
        text_config=text, vision_config=vision | {"patch_size": 14}, image_token_id=1001, video_token_id=1002
    )


CONFIGS: dict[str, tuple[Any, str, int]] = {
    "qwen2_5_vl": (qwen2_5_vl, "Qwen2_5_VLForConditionalGeneration", 6),
    "videollama3": (videollama3, "VideoLlama3ForConditionalGeneration", 12),
}


# -- the device -------------------------------------------------------------------------------------------------------


def device_name() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"


def peak_tflops() -> float | None:
    if not torch.cuda.is_available():
        return None
    return next((peak for name, peak in PEAKS_TFLOPS.items() if name in torch.cuda.get_device_name()), None)


def resident_gib() -> float:
    """The most memory that this process has had so far (Linux counts in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


if __name__ == "__main__":
    sys.exit(main())
