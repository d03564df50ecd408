"""How long an evaluation takes, beside torchmetrics where both compute the same.

    python benchmarks/eval_speed.py                 # everything; a few minutes on two cores
    python benchmarks/eval_speed.py --videos 20000  # the large one smaller

Goal: `deeptrace eval` of 664 predictions with 2,000 bootstrap resamples in under 2 s, start of the process included.
Times are the best of `--repeat`; the CPU time of the process stands beside the wall time, for machines that others use
too.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from deeptrace.geometry import Box
from deeptrace.metrics import auroc, average_precision, box_iou, evaluate_pairs, expected_calibration_error
from deeptrace.metrics.arrays import columns_of
from deeptrace.metrics.intervals import bootstrap_weights
from deeptrace.metrics.matching import trace_pairs
from deeptrace.metrics.traces import rank_traces, trace_average_precision, videos_with_known_traces
from deeptrace.schema import Category, Label, Media, Outcome, Sample, Trace, Verdict

WORDS = ["the", "hand", "cup", "melts", "into", "a", "second", "arm", "face", "blurs", "tree", "bends", "left"]
MEDIA = Media(width=1280, height=720, duration_s=5.0, fps=24.0, frames=120)


def make(videos: int, seed: int = 0) -> tuple[list[Sample], list[Verdict]]:
    """Half generated, 440 traces on 332 generated videos as in the test split, answers with traces and texts."""
    rng = np.random.default_rng(seed)

    def box() -> Box:
        x, y = rng.uniform(0, 0.7, 2)
        return Box(x0=x, y0=y, x1=x + rng.uniform(0.05, 0.3), y1=y + rng.uniform(0.05, 0.3))

    def trace(score: float | None) -> Trace:
        onset = float(rng.uniform(0, 3))
        return Trace(
            categories=(list(Category)[rng.integers(9)],),
            onset_s=onset,
            offset_s=onset + 1.5,
            score=score,
            box=box(),
            explanation=" ".join(rng.choice(WORDS, 12)),
        )

    samples, verdicts = [], []
    for at in range(videos):
        fake = at % 2 == 0
        count = 1 + (rng.random() < 0.325) if fake else 0
        truth = tuple(trace(None) for _ in range(count))
        path = f"videos/{at}.mp4"
        label = Label.FAKE if fake else Label.REAL
        samples.append(
            Sample(
                video_id=f"v{at}", path=path, label=label, source=f"g{at % 7}", split="test", media=MEDIA, traces=truth
            )
        )
        p = float(np.clip(rng.normal(0.6 if fake else 0.4, 0.2), 0, 1))
        said = Label.FAKE if p >= 0.5 else Label.REAL
        traces = tuple(trace(float(rng.random())) for _ in range(rng.integers(1, 3))) if said is Label.FAKE else ()
        verdicts.append(Verdict(video=f"v{at}", outcome=Outcome.SCORED, label=said, p_fake=p, traces=traces))
    return samples, verdicts


def best(work: Callable[[], Any], repeat: int) -> tuple[float, float, Any]:
    """Wall and CPU seconds of the fastest of `repeat` runs, and what it returned."""
    found = (float("inf"), float("inf"), None)
    for _ in range(repeat):
        wall, cpu = time.perf_counter(), time.process_time()
        value = work()
        found = min(found, (time.perf_counter() - wall, time.process_time() - cpu, value), key=lambda run: run[0])
    return found


def command_line(folder: Path, repeat: int) -> tuple[float, float]:
    """`deeptrace eval` as a person runs it: a new process, files read, 2,000 resamples, JSON out."""
    from deeptrace.data import write_reward_data

    samples, verdicts = make(664)
    write_reward_data(samples, folder / "all_data.json")
    (folder / "p.jsonl").write_text("".join(verdict.model_dump_json() + "\n" for verdict in verdicts))
    args = ["eval", "--data", str(folder), "--predictions", str(folder / "p.jsonl"), "--bootstrap", "2000", "--json"]
    found = (float("inf"), float("inf"))
    for _ in range(repeat):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "deeptrace.cli.main", *args], capture_output=True, text=True, check=True
        )
        wall = time.perf_counter() - start
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        if json.loads(done.stdout)["intervals"]["paper.bbox_iou"] is None:
            raise SystemExit("the run has no intervals")
        found = min(found, (wall, cpu))
    return found


def against_torchmetrics(videos: int, repeat: int) -> list[tuple[str, float, float, float]]:
    """(what, our seconds, theirs, largest difference of the two results)."""
    import torch
    from torchmetrics import functional
    from torchmetrics.classification import BinaryAUROC
    from torchmetrics.wrappers import BootStrapper

    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    y = (rng.random(videos) < 0.5).astype(float)
    p = np.clip(rng.normal(0.4 + 0.2 * y, 0.2), 0, 1)
    ty, tp = torch.from_numpy(y).long(), torch.from_numpy(p)
    rows = []
    for name, ours, theirs in (
        ("AUROC", lambda: auroc(y, p), lambda: functional.classification.binary_auroc(tp, ty)),
        (
            "average precision",
            lambda: average_precision(y, p),
            lambda: functional.classification.binary_average_precision(tp, ty),
        ),
        (
            "calibration error",
            lambda: expected_calibration_error(y, p),
            lambda: functional.classification.binary_calibration_error(tp, ty, n_bins=15),
        ),
    ):
        rows.append(_row(f"{name}, {videos:,} videos", ours, theirs, repeat))
    rows += _detection(rng, repeat)
    few = slice(0, 664)

    def ours_bootstrap() -> float:
        parts = [auroc(y[few], p[few], weights=w) for w in bootstrap_weights(664, resamples=200)]
        return float(np.concatenate(parts).std(ddof=1))

    def their_bootstrap() -> float:
        wrapper = BootStrapper(BinaryAUROC(), num_bootstraps=200, sampling_strategy="multinomial")
        wrapper.update(tp[few], ty[few])
        return float(wrapper.compute()["std"])

    rows.append(_row("bootstrap of AUROC, 664 x 200", ours_bootstrap, their_bootstrap, repeat))
    return rows


def _detection(rng: np.random.Generator, repeat: int) -> list[tuple[str, float, float, float]]:
    """Boxes: torchmetrics takes these from torchvision; nothing where that is not installed."""
    import torch

    try:
        from torchmetrics.detection import MeanAveragePrecision
        from torchmetrics.functional.detection import intersection_over_union
    except ImportError:
        print("(boxes are left out: torchmetrics needs torchvision for them)")
        return []
    corners = np.sort(rng.uniform(0, 1, (2, 2_000, 2, 2)), axis=2).reshape(2, 2_000, 4)
    left, right = torch.from_numpy(corners[0]), torch.from_numpy(corners[1])
    pairs = _row(
        "box IoU, 2,000 x 2,000 pairs",
        lambda: box_iou(corners[0][:, None], corners[1][None]),
        lambda: intersection_over_union(left, right, aggregate=False),
        repeat,
    )
    return [pairs, _mean_average_precision(MeanAveragePrecision, repeat)]


def _mean_average_precision(peer: Any, repeat: int) -> tuple[str, float, float, float]:
    """Boxes alone: traces without times in videos of unknown length are matched by box IoU, as COCO does."""
    import torch

    samples, verdicts = make(664)
    plain = [s.model_copy(update={"media": None, "traces": tuple(Trace(box=t.box) for t in s.traces)}) for s in samples]
    said = [v.model_copy(update={"traces": tuple(Trace(box=t.box, score=t.score) for t in v.traces)}) for v in verdicts]

    def ours() -> float:
        columns = columns_of(plain, said)
        pairs = trace_pairs(columns.true, columns.predicted, columns.duration_s)
        known = videos_with_known_traces(columns)
        return float(trace_average_precision(rank_traces(columns, pairs, threshold=0.3, known=known)))

    def boxes(traces: tuple[Trace, ...]) -> torch.Tensor:
        return torch.tensor([t.box.as_tuple() for t in traces if t.box]).reshape(-1, 4) * 1000

    def theirs() -> float:
        metric = peer(iou_thresholds=[0.3])
        metric.update(
            [
                {
                    "boxes": boxes(v.traces),
                    "scores": torch.tensor([float(t.score or 0) for t in v.traces]),
                    "labels": torch.zeros(len(v.traces), dtype=torch.long),
                }
                for v in said
            ],
            [{"boxes": boxes(s.traces), "labels": torch.zeros(len(s.traces), dtype=torch.long)} for s in plain],
        )
        return float(metric.compute()["map"])

    return _row("average precision of boxes, 664 videos", ours, theirs, repeat)


def _row(name: str, ours: Callable[[], Any], theirs: Callable[[], Any], repeat: int) -> tuple[str, float, float, float]:
    our_s, _, a = best(ours, repeat)
    their_s, _, b = best(theirs, repeat)
    return name, our_s, their_s, float(np.abs(np.asarray(a) - np.asarray(b)).max())


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--videos", type=int, default=100_000)
    parser.add_argument("--repeat", type=int, default=3)
    args = parser.parse_args()
    print(f"{'what':<58}{'wall s':>9}{'CPU s':>9}")
    with tempfile.TemporaryDirectory() as folder:
        wall, cpu = command_line(Path(folder), args.repeat)
    print(f"{'deeptrace eval, 664 videos, 2,000 resamples, with start':<58}{wall:>9.2f}{cpu:>9.2f}")
    samples, verdicts = make(664)
    for resamples in (0, 2000):
        wall, cpu, _ = best(lambda n=resamples: evaluate_pairs(samples, verdicts, resamples=n), args.repeat)
        print(f"{f'evaluate_pairs, 664 videos, {resamples:,} resamples':<58}{wall:>9.2f}{cpu:>9.2f}")
    samples, verdicts = make(args.videos)
    for what, settings in (
        ("without texts", {"text": False}),
        ("with texts", {}),
        ("200 resamples, without texts", {"text": False, "resamples": 200}),
    ):
        wall, cpu, _ = best(lambda kind=settings: evaluate_pairs(samples, verdicts, **kind), 1)
        print(f"{f'evaluate_pairs, {args.videos:,} videos, {what}':<58}{wall:>9.2f}{cpu:>9.2f}")
    print()
    try:
        rows = against_torchmetrics(args.videos, args.repeat)
    except ImportError as error:
        print(f"torchmetrics is not installed ({error.name}); no comparison")
        return
    print(f"{'one thread each':<42}{'ours ms':>10}{'torchmetrics ms':>17}{'ratio':>8}{'difference':>12}")
    for name, ours, theirs, apart in rows:
        print(f"{name:<42}{1000 * ours:>10.2f}{1000 * theirs:>17.2f}{theirs / ours:>7.1f}x{apart:>12.1e}")


if __name__ == "__main__":
    main()
