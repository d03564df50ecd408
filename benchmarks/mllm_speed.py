"""`hf:` against plain sequential `generate`: videos a second, and time to the first answer, same model and clips.

    python benchmarks/mllm_speed.py [--clips 24] [--batch 1 8] [--new-tokens 64] [--pixels 12544] [--rounds 5]
        [--model FOLDER] [--threads 1]

The peer does what a script does: for each clip decode, encode, `generate`, one after the other, with the same frames,
prompt and greedy decoding. Ours decodes ahead in threads and asks about several clips of like length at once. Without
--model the weights are random, so every answer has all its tokens: a Qwen2.5-VL of 7 billion weights in bfloat16 where
there is a CUDA GPU with 24 GB, else a tiny one, whose figures tell of overhead, not of arithmetic. Clips are made for
the run: 2 to 5 s of moving texture at 640x360, 24 frames a second.

Every round measures each row once, in an order that turns from round to round; a cell is the median of the rounds, and
the slowest and fastest stand beside it. CPU ms are those of the whole process for one video: where they fall less than
the wall clock, the gain is overlap on further cores. torch computes with --threads on the CPU, one by default: several
threads meet at the end of every operation, and a tiny model has thousands, so with busy neighbours a row measures the
wait for a thread that another process displaced (the peer then fell from 6.5 to 1.1 videos a second).
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import transformers

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.detectors.vlm.hf.tiny import tiny_config, tiny_tokenizer

from deeptrace.detectors.vlm.frame_sampling import take_frames
from deeptrace.detectors.vlm.hf.checkpoint import Source, resolve
from deeptrace.detectors.vlm.hf.detector import LocalModel, processor_of
from deeptrace.detectors.vlm.hf.processors import collate
from deeptrace.detectors.vlm.hf.weights import load_model
from deeptrace.inference.executor import open_executor
from deeptrace.prompts import question
from deeptrace.video import open_video, write_video
from sft_speed import qwen2_5_vl

SIZE, FPS = (640, 360), 24.0
LARGE_BYTES = 24 << 30
PEER = "plain sequential generate"

Work = Callable[[], tuple[float, list[str]]]
"""Seconds to the first answer, and the answers."""


class Took(NamedTuple):
    """One row in one round."""

    seconds: float
    cpu_s: float
    first_s: float
    texts: list[str]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=24)
    parser.add_argument("--batch", type=int, nargs="*", default=[1, 8])
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--pixels", type=int, default=112 * 112, help="most pixels of a frame as the model sees it")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="threads of torch on the CPU")
    parser.add_argument("--model", help="a checkpoint, instead of random weights")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    with tempfile.TemporaryDirectory() as folder:
        lengths = np.linspace(2.0, 5.0, asked.clips)
        clips = [make_clip(Path(folder) / f"{k}.mp4", float(length), k) for k, length in enumerate(lengths)]
        settings = {"max_new_tokens": asked.new_tokens, "max_frame_pixels": asked.pixels}
        if asked.model is None:
            model, source = random_model(Path(folder) / "model", settings)
        else:
            model, source = given(asked.model, settings)
        describe(model, asked)
        sequential(model, source, clips[:2])  # the first calls compile and allocate
        work: dict[str, Work] = {PEER: lambda: sequential(model, source, clips)}
        work |= {f"hf:, batch {n}": lambda n=n: batched(model, source, clips, n) for n in asked.batch}  # type: ignore[misc]
        report(measure(work, asked.rounds), len(clips))
    return 0


def describe(model: Any, asked: argparse.Namespace) -> None:
    count = sum(weights.numel() for weights in model.parameters())
    on_gpu = model.device.type == "cuda"
    where = torch.cuda.get_device_name(model.device) if on_gpu else f"CPU, {torch.get_num_threads()} threads"
    print(f"{model.config.model_type}, {count / 1e6:.1f} million weights, {str(model.dtype)[6:]}, {where}")
    print(
        f"{asked.clips} clips of 2 to 5 s at {SIZE[0]}x{SIZE[1]}, shown at most {asked.pixels} pixels a frame;", end=" "
    )
    print(f"{asked.new_tokens} tokens an answer; {asked.rounds} rounds")
    if not on_gpu:
        print("no CUDA GPU: a tiny model on the CPU, so this measures overhead and overlap, not a model's arithmetic")


def random_model(folder: Path, settings: dict[str, Any]) -> tuple[Any, Source]:
    """A Qwen2.5-VL with random weights, of a size that this machine takes; only its small files are written."""
    tokenizer = tiny_tokenizer("qwen2_5_vl")
    config = tiny_config("qwen2_5_vl", tokenizer)
    large = torch.cuda.is_available() and torch.cuda.get_device_properties(0).total_memory > LARGE_BYTES
    if large:
        config = with_7b_weights(config, tokenizer)
    torch.manual_seed(0)
    device, dtype = ("cuda", torch.bfloat16) if large else ("cpu", torch.float32)
    with torch.device(device):
        model = transformers.Qwen2_5_VLForConditionalGeneration._from_config(config, dtype=dtype).eval()
    folder.mkdir()
    config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model, resolve(str(folder), settings)


def with_7b_weights(tiny: Any, tokenizer: Any) -> Any:
    """The config of Qwen2.5-VL 7B with the tokens of a tiny one, whose tokenizer gets a word for each of the others."""
    config = qwen2_5_vl(tiny=False)
    tokenizer.add_tokens([f"\u27e6{k}\u27e7" for k in range(len(tokenizer), config.text_config.vocab_size)])
    for name in ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id"):
        setattr(config, name, getattr(tiny, name))
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        setattr(config.text_config, name, getattr(tiny.text_config, name, None))
    return config


def given(name: str, settings: dict[str, Any]) -> tuple[Any, Source]:
    source = resolve(name, settings)
    on_gpu = torch.cuda.is_available()
    dtype = torch.bfloat16 if on_gpu else torch.float32
    return load_model(source.base, dtype=dtype, device_map="cuda" if on_gpu else "cpu"), source


def make_clip(path: Path, seconds: float, seed: int) -> Path:
    dice = np.random.default_rng(seed)
    wide, high = SIZE
    texture = dice.integers(0, 255, (high + 128, wide + 128, 3), dtype=np.uint8)
    count = round(seconds * FPS)
    frames = (texture[k % 128 : k % 128 + high, 2 * k % 128 : 2 * k % 128 + wide] // 2 + 60 for k in range(count))
    write_video(path, (np.ascontiguousarray(frame) for frame in frames), fps=FPS)
    return path


def sequential(model: Any, source: Source, clips: list[Path]) -> tuple[float, list[str]]:
    """Seconds to the first answer, and the answers: one clip after the other."""
    processor, options = processor_of(source), source.options
    started, first, texts = time.perf_counter(), 0.0, []
    for clip in clips:
        with open_video(clip) as video:
            taken = take_frames(video, options.moments(video.media.duration_s))
        frames = np.stack([frame.image for frame in taken.frames])
        sample = processor.process(frames, taken.media.sampled_times_s, question(options.answer_form))
        batch = {name: values.to(model.device) for name, values in collate([sample], pad_id=processor.pad_id).items()}
        with torch.inference_mode():
            found = model.generate(**batch, max_new_tokens=options.max_new_tokens, do_sample=False)
        texts.append(processor.tokenizer.decode(found[0, len(sample.input_ids) :], skip_special_tokens=True))
        first = first or time.perf_counter() - started
    return first, texts


def batched(model: Any, source: Source, clips: list[Path], size: int) -> tuple[float, list[str]]:
    options = source.options.model_copy(update={"batch_size": size})
    detector = LocalModel(model, processor_of(source), options, name="random")
    started, first, texts = time.perf_counter(), 0.0, {}
    with open_executor(detector) as executor:
        for result in executor.run(map(str, clips)):
            first = first or time.perf_counter() - started
            texts[result.name] = result.verdict.raw or ""
    return first, [texts[str(clip)] for clip in clips]


def measure(work: dict[str, Work], rounds: int) -> dict[str, list[Took]]:
    """What each row took in each round; every round begins with another row."""
    found: dict[str, list[Took]] = {name: [] for name in work}
    names = list(work)
    for number in range(rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            started, busy = time.perf_counter(), time.process_time()
            first, texts = work[name]()
            found[name].append(Took(time.perf_counter() - started, time.process_time() - busy, first, texts))
    return found


def report(found: dict[str, list[Took]], count: int) -> None:
    base = statistics.median(took.seconds for took in found[PEER])
    print(f"\n{'':27}{'videos/s':>9}{'(rounds)':>16}{'ratio':>7}{'CPU ms':>8}{'first answer':>14}{'same words':>12}")
    for name, rounds in found.items():
        seconds, cpu, first = (statistics.median(values) for values in zip(*(took[:3] for took in rounds), strict=True))
        speeds = sorted(count / took.seconds for took in rounds)
        same = sum(a == b for a, b in zip(rounds[-1].texts, found[PEER][-1].texts, strict=True))
        print(
            f"{name:27}{count / seconds:9.2f}{f'{speeds[0]:.2f} to {speeds[-1]:.2f}':>16}{base / seconds:7.2f}"
            f"{1000 * cpu / count:8.0f}{first:12.2f} s{f'{same} of {count}':>12}"
        )


if __name__ == "__main__":
    sys.exit(main())
