"""How well the default detector judges clips whose generator or source it never saw, beside simple peers.

    deeptrace train tracenet examples/tracenet_nets.json   # once; leaves one model a fold
    python benchmarks/detect_quality.py [--run out/tracenet_nets] [--data ../shared/corpus] [--out out/quality]

First what the model's card says of clips from another era and of generators and sources held out: the figures to
expect elsewhere (`deeptrace.train.tracenet.protocol`). Then, where the training left a model a fold, every clip is
judged by the fold's model that never saw its generator, source or matched pair, through the same `detect` that users
run. Four tables: generated or real; under degradations; traces seen by eye; fresh synthetic traces in held-out camera
footage. Verdicts are kept in --out, so that a second run only prints.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from deeptrace.audit.classify import fit_model
from deeptrace.audit.features import feature_matrix
from deeptrace.audit.file_facts import FileFacts, read_facts
from deeptrace.data import read_reward_data, read_rounds
from deeptrace.detectors import Detector, load_detector
from deeptrace.detectors.baselines import statistic_of
from deeptrace.detectors.tracenet.appearance import shipped_folder
from deeptrace.errors import DeeptraceError
from deeptrace.geometry import Box
from deeptrace.inference import read_verdicts
from deeptrace.io.journal import Lines
from deeptrace.metrics import auroc, evaluate_pairs, tpr_at_fpr
from deeptrace.metrics.agreement import annotator_ceiling
from deeptrace.metrics.trivial import boxed_fakes, mean_box
from deeptrace.schema import Outcome, Sample, Verdict
from deeptrace.train.tracenet.clips import CAMERA, Clip, Kind, read_clips
from deeptrace.train.tracenet.feature_cache import AS_IS, ONE_ENCODING, make_variant
from deeptrace.video import open_video
from deeptrace.video.transforms.presets import DEGRADED, degrade_file
from quality_synthetic import CENTRE, cell, table_synthetic

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
    parser.add_argument("--run", type=Path, default=Path("out/tracenet_nets"))
    parser.add_argument("--data", type=Path, default=Path("../shared/corpus"))
    parser.add_argument("--out", type=Path, default=Path("out/quality"))
    parser.add_argument("--model", type=Path, help="folder of a model whose card is read; the shipped one otherwise")
    parser.add_argument("--degraded-clips", type=int, default=120, help="clips under each degradation")
    parser.add_argument("--planted-clips", type=int, default=90, help="camera clips that get a fresh synthetic trace")
    parser.add_argument("--era", type=Path, help="another data folder, on which simple peers are tried as well")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    card = json.loads((asked.model or shipped_folder()).joinpath("tracenet.json").read_text())
    if "protocol" in card:
        table_protocol(card["protocol"])
    if "marks" in card:
        table_marks(card["marks"])
    if asked.era is not None:
        table_peers(asked.era, asked.data, asked.out)
    if not (asked.run / "fold0").is_dir() or not (asked.data / "all_data.json").is_file():
        print(f"needs {asked.data}/all_data.json and the folds of a training in {asked.run}", file=sys.stderr)
        return 2
    clips = read_clips(asked.data, "matched")
    folds = Folds(asked.run)
    clips = [clip for clip in clips if clip.name in folds.of]
    as_is = judge(clips, folds, asked.out / "as_is.jsonl", AS_IS)
    equal = judge(clips, folds, asked.out / "one_encoding.jsonl", ONE_ENCODING)
    figures: dict[str, object] = {}
    figures["generated_or_real"] = table_binary(clips, as_is, equal, asked)
    figures["degraded"] = table_degraded(clips, folds, equal, asked)
    figures["seen_by_eye"] = table_traces(asked.data, clips, as_is)
    figures["planted"] = table_synthetic(clips, folds.detector, asked.out / "planted.jsonl", asked.planted_clips)
    (asked.out / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")
    return 0


# -- held out ----------------------------------------------------------------------------------------------------


def table_protocol(protocol: dict[str, Any]) -> None:
    """Print what a card says of clips that were held out, the hardest first."""
    print("\nHeld out; found and false alarms at thresholds set on the clips that were learned from\n")
    heads = "".join(f"{f'at {share} %: found':>15}{'alarms':>8}" for share in (5, 1))
    print(f"{'':34}{'AUROC':>6}{'95 %':>12}{'macro':>7}{heads}")
    rows = [(f"{name}, by what the rest teaches", both) for name, both in protocol["by_era"].items()]
    rows += [(f"generators, sources; folds {k}", both) for k, both in enumerate(protocol["by_fold"])]
    for variant in ("in one encoding", "as they are"):
        print(variant)
        for name, both in rows:
            row = both[variant]
            low, high = row["interval"] or (float("nan"),) * 2
            print(
                f"  {name:32}{row['auroc']:6.3f}{low:7.2f}-{high:.2f}{row['macro']:7.3f}{row['found']:15.2f}"
                f"{row['false_alarms']:8.3f}{row['found_1_set_elsewhere']:15.2f}{row['false_alarms_1']:8.3f}"
            )
    for name, both in protocol["by_era"].items():
        row = both["in one encoding"]
        for title, groups in (("source", row["by_source"]), ("kind of footage", row["by_footage"])):
            worst = sorted(groups.items(), key=lambda item: -item[1][0])[:6]
            print(f"{name}, false alarms at 5 % by {title}: " + ", ".join(f"{g} {v:.2f} of {n}" for g, (v, n) in worst))
        hardest = sorted(row["by_generator"].items(), key=lambda item: item[1][0])[:6]
        print(f"{name}, hardest generators, AUROC: " + ", ".join(f"{g} {v:.2f} of {n}" for g, (v, n) in hardest))


def table_marks(marks: dict[str, Any]) -> None:
    """Print what a card says of the traces that are named in generated clips that were held out."""
    columns = ("bbox_iou", "time_distance", *_MATCHED.values(), "macro_f1_of_kinds")
    print("\nTraces seen by eye, told FAKE, in clips of generators that were held out\n")
    heads = ("box IoU", "time dist", *_MATCHED, "kinds F1")
    print(f"{'':34}{'traces':>7}" + "".join(f"{head:>10}" for head in heads))
    parts = [(f"{era}, by what the rest teaches", found) for era, found in marks["by_era"].items()]
    parts += [(f"generators; fold {number}", found) for number, found in enumerate(marks["by_fold"])]
    for name, found in parts:
        for title, way in ((name, "told_fake"), ("  centre box", "centre_box")):
            row = "".join(cell(found[way].get(key), 10, 1 if key in columns[:2] else 3) for key in columns)
            print(f"{title:34}{found['traces']:7}{row}")


def table_peers(era: Path, learned: Path, out: Path) -> None:
    """Print what simple peers make of the camera footage and generated clips of an era that they did not learn from."""
    before, clips = ([c for c in read_clips(folder) if c.footage == CAMERA] for folder in (learned, era))
    labels = np.array([clip.kind is Kind.GENERATED for clip in clips], int)
    scores = {"metadata only, as the files are": of_metadata(before, clips)}
    for name in ("d3", "npr"):
        verdicts = judge(clips, load_detector(f"baseline:{name}"), out / f"{era.name}.{name}.jsonl", ONE_ENCODING)
        found = [statistic_of(verdicts[clip.name]) for clip in clips]
        scores[f"baseline:{name}, one encoding"] = np.array([np.nan if value is None else value for value in found])
    print(f"\nSimple peers on {era.name}, {labels.sum()} generated and {(1 - labels).sum()} camera clips\n")
    print(f"{'':34}{'AUROC':>6}{'TPR@1%':>8}{'TPR@5%':>8}")
    for name, values in scores.items():
        known = ~np.isnan(values)
        y, x = labels[known], values[known]
        rates = [float(tpr_at_fpr(y, x, max_fpr=limit)) for limit in (0.01, 0.05)]
        print(f"{name:34}{float(auroc(y, x)):6.3f}{rates[0]:8.3f}{rates[1]:8.3f}")


def of_metadata(learned: list[Clip], asked: list[Clip]) -> np.ndarray:
    """What the classifier of `deeptrace audit` and `eval`, which sees file headers alone, says of clips (N,)."""
    matrix = np.concatenate(list(feature_matrix([_header(clip.path) for clip in (*learned, *asked)]).values()), axis=1)
    fake = np.array([clip.kind is Kind.GENERATED for clip in learned])
    model = fit_model(matrix[: len(learned)], fake, "forest", 0)
    return np.asarray(model.predict_proba(matrix[len(learned) :])[:, 1])


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
    done = {verdict.video: verdict for verdict in read_verdicts(journal)}
    with Lines(journal) as lines:
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
            lines.add(verdict.model_dump(mode="json"))
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
        "metadata only, as they are": metadata_only(used),
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


@cache
def _header(path: Path) -> FileFacts:
    return read_facts(path, decode=False)


def metadata_only(clips: list[Clip]) -> dict[str, float]:
    """`of_metadata`, held out by group."""
    from sklearn.model_selection import GroupKFold

    found: dict[str, float] = {}
    for train, test in GroupKFold(5).split(clips, groups=[clip.group for clip in clips]):
        asked = [clips[i] for i in test]
        found |= zip((clip.name for clip in asked), of_metadata([clips[i] for i in train], asked), strict=True)
    return found


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
    for one in read_rounds(data / "passes.jsonl"):
        sample = known.get(one.file)
        if sample is not None:
            by_video[sample.video_id].append(sample.model_copy(update={"traces": one.traces}))
    both = [rounds for rounds in by_video.values() if len(rounds) == 2]
    found = annotator_ceiling([a for a, _ in both], [b for _, b in both])
    return {block: found[block] for block in ("paper", "traces") if block in found}


def file_name(sample: Sample) -> str:
    return sample.path.replace("/", "__").replace(":", "_")


if __name__ == "__main__":
    sys.exit(main())
