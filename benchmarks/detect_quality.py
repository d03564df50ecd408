"""How well the default detector judges clips whose generator or source it never saw, beside simple peers.

    deeptrace train tracenet examples/tracenet.json        # once; leaves one model a fold in out/tracenet
    python benchmarks/detect_quality.py [--run out/tracenet] [--data ../shared/corpus] [--out out/quality]

Every clip is judged by the fold's model that never saw its generator, source or matched pair, through the same
`detect` that users run. Four tables: generated or real; under degradations; traces seen by eye; fresh synthetic
traces in held-out camera footage. Verdicts are kept in --out, so that a second run only prints.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from deeptrace.data import read_passes, read_reward_data
from deeptrace.detectors import Detector, load_detector
from deeptrace.detectors.baselines import statistic_of
from deeptrace.errors import DeeptraceError
from deeptrace.geometry import Box
from deeptrace.metrics import auroc, evaluate_pairs, tpr_at_fpr
from deeptrace.metrics.baselines import boxed_fakes, mean_box
from deeptrace.metrics.ceiling import annotator_ceiling
from deeptrace.trace import Outcome, Sample, Verdict
from deeptrace.train.tracenet.clips import Clip, Kind, read_clips
from deeptrace.train.tracenet.measure import AS_IS, ONE_ENCODING, make_variant
from deeptrace.video import open_video
from deeptrace.video.degrade import degrade_file
from quality_planted import CENTRE, cell, table_planted

DEGRADED = ("h264_crf35", "down_up_2x", "blur", "noise", "platform")
NAMED_FROM = 0.35
FULL = Box(x0=0.0, y0=0.0, x1=1.0, y1=1.0)
_MATCHED = {
    "IoU": "matched_box_iou",
    "tIoU": "matched_tiou",
    "vIoU": "matched_viou",
    "recall": "recall_viou_30",
    "mAP30": "map_viou_30",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("out/tracenet"))
    parser.add_argument("--data", type=Path, default=Path("../shared/corpus"))
    parser.add_argument("--out", type=Path, default=Path("out/quality"))
    parser.add_argument("--degraded-clips", type=int, default=120, help="clips under each degradation")
    parser.add_argument("--planted-clips", type=int, default=90, help="camera clips that get a fresh synthetic trace")
    asked = parser.parse_args()
    if not (asked.run / "fold0").is_dir() or not (asked.data / "all_data.json").is_file():
        print(f"needs {asked.data}/all_data.json and the folds of a training in {asked.run}", file=sys.stderr)
        return 2
    asked.out.mkdir(parents=True, exist_ok=True)
    clips = read_clips(asked.data, "matched")
    folds = Folds(asked.run)
    clips = [clip for clip in clips if clip.name in folds.of]
    as_is = judge(clips, folds, asked.out / "as_is.jsonl", AS_IS)
    equal = judge(clips, folds, asked.out / "one_encoding.jsonl", ONE_ENCODING)
    figures: dict[str, object] = {}
    figures["generated_or_real"] = table_binary(clips, as_is, equal, asked)
    figures["degraded"] = table_degraded(clips, folds, equal, asked)
    figures["seen_by_eye"] = table_traces(asked.data, clips, as_is)
    figures["planted"] = table_planted(clips, folds.detector, asked.out / "planted.jsonl", asked.planted_clips)
    (asked.out / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")
    return 0


class Folds:
    """The fold models, and which of them never saw a clip."""

    def __init__(self, run: Path, *, threshold: str = "balanced", min_score: float = 0.0) -> None:
        self._settings: dict[str, Any] = {"threshold": threshold, "min_score": min_score}
        self._folders = sorted(run.glob("fold[0-9]*"))
        self.of: dict[str, int] = {}
        for number, folder in enumerate(self._folders):
            for name in json.loads((folder / "tracenet.json").read_text())["held_out"]:
                self.of[name] = number
        self._detectors: dict[int, Detector] = {}

    def detector(self, clip: Clip) -> Detector:
        """The detector that never saw the clip's group."""
        number = self.of[clip.name]
        if number not in self._detectors:
            self._detectors[number] = load_detector(f"tracenet:{self._folders[number]}", **self._settings)
        return self._detectors[number]


def judge(
    clips: list[Clip], folds: Folds | Detector, journal: Path, variant: int, change: str | None = None
) -> dict[str, Verdict]:
    """Verdicts by clip name, kept in a journal."""
    done: dict[str, Verdict] = {}
    if journal.is_file():
        for line in journal.read_text().splitlines():
            verdict = Verdict.model_validate_json(line)
            done[verdict.video] = verdict
    with journal.open("a") as out:
        for clip in clips:
            if clip.name in done:
                continue
            detector = folds.detector(clip) if isinstance(folds, Folds) else folds
            with tempfile.TemporaryDirectory() as scratch:
                try:
                    with make_variant(clip.path, variant, np.random.default_rng(0), Path(scratch)) as video:
                        if change is None:
                            verdict = detector.detect(video)
                        else:
                            degrade_file(video, Path(scratch) / "degraded.mp4", change, seed=0)
                            with open_video(Path(scratch) / "degraded.mp4") as degraded:
                                verdict = detector.detect(degraded)
                except DeeptraceError as error:
                    verdict = Verdict.failed(clip.name, Outcome.DECODE_FAILED, str(error))
            verdict = verdict.model_copy(update={"video": clip.name})
            print(verdict.model_dump_json(), file=out, flush=True)
            done[clip.name] = verdict
    return {clip.name: done[clip.name] for clip in clips}


# -- generated or real -------------------------------------------------------------------------------------------


def table_binary(
    clips: list[Clip], as_is: dict[str, Verdict], equal: dict[str, Verdict], asked: argparse.Namespace
) -> dict[str, object]:
    used = [clip for clip in clips if clip.kind is not Kind.EDITED]
    rates = {clip.name: as_is[clip.name].media.fps or 0.0 for clip in used if as_is[clip.name].media}
    scores: dict[str, dict[str, float]] = {
        "tracenet, as they are": p_fake_of(as_is),
        "tracenet, one encoding": p_fake_of(equal),
        "map averages, logistic": map_averages(used, asked.run),
        "metadata only, trees": metadata_only(used, as_is),
    }
    for name in ("d3", "npr"):
        verdicts = judge(used, load_detector(f"baseline:{name}"), asked.out / f"{name}.jsonl", ONE_ENCODING)
        scores[f"baseline:{name}, one encoding"] = {
            clip: value for clip, v in verdicts.items() if (value := statistic_of(v)) is not None
        }
    print("\nGenerated or real, by clip; every clip judged without its generator or source\n")
    print(f"{'':32}{'AUROC':>7}{'macro':>7}{'TPR@1%':>8}{'TPR@5%':>8}   AUROC at <10 fps, 10-20, above")
    rows: dict[str, object] = {}
    for name, score in scores.items():
        rows[name] = row = binary_row([c for c in used if c.name in score], score, rates)
        strata = "  ".join("  -  " if v is None else f"{v:.3f}" for v in row["by_rate"])
        print(f"{name:32}{row['auroc']:7.3f}{row['macro']:7.3f}{row['tpr_1']:8.3f}{row['tpr_5']:8.3f}   {strata}")
    pairs = matched_pairs(clips, equal)
    print(f"edited above its own source: {pairs[0]} of {pairs[1]} matched pairs")
    rows["matched_pairs"] = pairs
    rows["by_generator"] = {
        group: auc_of([c for c in used if c.kind is Kind.REAL or c.group == group], p_fake_of(equal))
        for group in sorted({c.group for c in used if c.kind is Kind.GENERATED})
    }
    return rows


def binary_row(clips: list[Clip], score: dict[str, float], rates: dict[str, float]) -> dict[str, object]:
    labels = np.array([clip.kind is Kind.GENERATED for clip in clips], int)
    values = np.array([score[clip.name] for clip in clips])
    groups = sorted({clip.group for clip in clips if clip.kind is Kind.GENERATED})
    per_group = [auc_of([c for c in clips if c.kind is Kind.REAL or c.group == group], score) for group in groups]
    strata = [[c for c in clips if low <= rates.get(c.name, 0) < high] for low, high in ((0, 10), (10, 20), (20, 999))]
    return {
        "auroc": float(auroc(labels, values)),
        "macro": float(np.mean([a for a in per_group if a is not None])),
        "tpr_1": float(tpr_at_fpr(labels, values, max_fpr=0.01)),
        "tpr_5": float(tpr_at_fpr(labels, values, max_fpr=0.05)),
        "by_rate": [auc_of(stratum, score) for stratum in strata],
    }


def auc_of(clips: list[Clip], score: dict[str, float]) -> float | None:
    labels = np.array([clip.kind is Kind.GENERATED for clip in clips], int)
    if labels.min(initial=1) == labels.max(initial=0):
        return None
    return float(auroc(labels, np.array([score[clip.name] for clip in clips])))


def p_fake_of(verdicts: dict[str, Verdict]) -> dict[str, float]:
    return {name: v.p_fake for name, v in verdicts.items() if v.p_fake is not None}


def metadata_only(clips: list[Clip], verdicts: dict[str, Verdict]) -> dict[str, float]:
    """Trees on width, height, aspect, rate, frames and duration alone, held out by group."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.model_selection import GroupKFold, cross_val_predict

    rows = []
    for clip in clips:
        media = verdicts[clip.name].media
        assert media is not None
        rows.append([media.width, media.height, media.width / media.height, media.fps or 0, media.duration_s])
    labels = np.array([clip.kind is Kind.GENERATED for clip in clips], int)
    groups = [clip.group for clip in clips]
    model = HistGradientBoostingClassifier(max_iter=100, max_leaf_nodes=8, random_state=0)
    chances = cross_val_predict(model, np.array(rows), labels, groups=groups, cv=GroupKFold(5), method="predict_proba")
    return dict(zip((clip.name for clip in clips), chances[:, 1].tolist(), strict=True))


def map_averages(clips: list[Clip], run: Path) -> dict[str, float]:
    """Logistic regression on mean and spread of each evidence map, in one encoding, held out by group."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    kept, rows = [], []
    for clip in clips:
        path = run / "measured" / f"{clip.name}.v{ONE_ENCODING}.npz"
        if path.is_file():
            with np.load(path) as data:
                maps = data["evidence"][1:].astype(np.float32)
            kept.append(clip)
            rows.append(np.concatenate([maps.mean((0, 2, 3)), maps.std((0, 2, 3))]))
    labels = np.array([clip.kind is Kind.GENERATED for clip in kept], int)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, class_weight="balanced", max_iter=1000))
    chances = cross_val_predict(
        model, np.array(rows), labels, groups=[c.group for c in kept], cv=GroupKFold(5), method="predict_proba"
    )
    return dict(zip((clip.name for clip in kept), chances[:, 1].tolist(), strict=True))


def matched_pairs(clips: list[Clip], verdicts: dict[str, Verdict]) -> tuple[int, int]:
    sources = {clip.group: clip for clip in clips if clip.kind is Kind.REAL}
    p = p_fake_of(verdicts)
    pairs = [(c.name, sources[c.group].name) for c in clips if c.kind is Kind.EDITED and c.group in sources]
    pairs = [(edited, source) for edited, source in pairs if edited in p and source in p]
    return sum(p[edited] > p[source] for edited, source in pairs), len(pairs)


# -- degradations ------------------------------------------------------------------------------------------------


def table_degraded(
    clips: list[Clip], folds: Folds, equal: dict[str, Verdict], asked: argparse.Namespace
) -> dict[str, object]:
    used = [clip for clip in clips if clip.kind is not Kind.EDITED]
    chosen = [used[i] for i in np.random.default_rng(0).permutation(len(used))[: asked.degraded_clips]]
    print(f"\nUnder degradations, {len(chosen)} clips, all in one encoding before\n")
    print(f"{'':20}{'AUROC':>7}{'false alarms':>14}{'found':>7}   at the balanced threshold")
    rows: dict[str, object] = {}
    for name in ("none", *DEGRADED):
        if name == "none":
            verdicts = {clip.name: equal[clip.name] for clip in chosen}
        else:
            verdicts = judge(chosen, folds, asked.out / f"degraded_{name}.jsonl", ONE_ENCODING, name)
        p = p_fake_of(verdicts)
        kept = [clip for clip in chosen if clip.name in p]
        called = {kind: [verdicts[c.name].label == "FAKE" for c in kept if c.kind is kind] for kind in Kind}
        row = {
            "auroc": auc_of(kept, p),
            "false_alarms": float(np.mean(called[Kind.REAL])),
            "found": float(np.mean(called[Kind.GENERATED])),
        }
        print(f"{name:20}{row['auroc']:7.3f}{row['false_alarms']:14.3f}{row['found']:7.3f}")
        rows[name] = row
    return rows


# -- traces seen by eye --------------------------------------------------------------------------------------------


def table_traces(data: Path, clips: list[Clip], verdicts: dict[str, Verdict]) -> dict[str, object]:
    samples = {file_name(s): s for s in read_reward_data(data)}
    names = [clip.name for clip in clips if clip.kind is Kind.GENERATED and clip.name in samples]
    truth = [samples[name] for name in names]
    boxed = {
        "full frame": boxed_fakes(truth, FULL, name="full-frame"),
        "centre box": boxed_fakes(truth, CENTRE, name="centre-box"),
        "mean box": boxed_fakes(truth, mean_box(truth) or CENTRE, name="mean-box"),
    }
    called = [verdicts[name] for name in names]
    ways: dict[str, list[Verdict | None]] = {
        "tracenet, as called": [as_called(v) for v in called],
        "tracenet, told FAKE": (told := [as_called(told_fake(v)) for v in called]),
        "same boxes, whole clip": [all_the_time(v) for v in told],
        **{name: list(rows) for name, rows in boxed.items()},
    }
    print(f"\nTraces seen by eye: {len(truth)} generated clips of generators never seen\n")
    print(f"{'':22}{'by the paper:':>27}{'matched traces:':>47}")
    print(
        "".join(
            [f"{'':22}", *(f"{h:>9}" for h in ("box IoU", "box dist", "time dist")), *(f"{h:>9}" for h in _MATCHED)]
        )
    )
    rows: dict[str, object] = {}
    for name, way in ways.items():
        rows[name] = found = evaluate_pairs(truth, way, text=False)
        print_traces(name, found)
    rows["second annotator"] = found = ceiling(data)
    print_traces("second annotator", found)
    return rows


def print_traces(name: str, found: Mapping[str, Any]) -> None:
    cells = [cell(found["paper"][key], 9, 1) for key in ("bbox_iou", "bbox_distance", "time_distance")]
    cells += [cell(found["traces"].get(key), 9, 3) for key in _MATCHED.values()]
    print(f"{name:22}" + "".join(cells))


def told_fake(verdict: Verdict) -> Verdict:
    """The verdict with its traces, had the detector been told that the clip is generated."""
    return verdict.model_copy(update={"label": "FAKE"}) if verdict.outcome is Outcome.SCORED else verdict


def as_called(verdict: Verdict) -> Verdict:
    """The verdict with the traces that the detector names by default: those scored high, and the best one of a FAKE."""
    strong = tuple(trace for trace in verdict.traces if (trace.score or 0.0) >= NAMED_FROM)
    return verdict.model_copy(update={"traces": strong or (verdict.traces[:1] if verdict.label == "FAKE" else ())})


def all_the_time(verdict: Verdict) -> Verdict:
    """The verdict with its boxes alone, each over the whole clip: what its times are worth."""
    assert verdict.media is not None
    times = {"tube": None, "onset_s": 0.0, "offset_s": verdict.media.duration_s}
    return verdict.model_copy(update={"traces": tuple(t.model_copy(update=times) for t in verdict.traces)})


def ceiling(data: Path) -> dict[str, Any]:
    by_video: dict[str, list[Sample]] = defaultdict(list)
    known = {s.path: s for s in read_reward_data(data)}
    for one in read_passes(data / "passes.jsonl"):
        sample = known.get(one.file)
        if sample is not None:
            by_video[sample.video_id].append(sample.model_copy(update={"traces": one.traces}))
    both = [passes for passes in by_video.values() if len(passes) == 2]
    found = annotator_ceiling([a for a, _ in both], [b for _, b in both])
    return {block: found[block] for block in ("paper", "traces") if block in found}


def file_name(sample: Sample) -> str:
    return sample.path.replace("/", "__").replace(":", "_")


if __name__ == "__main__":
    sys.exit(main())
