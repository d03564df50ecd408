"""What the shipped detector is worth on labelled clips that it has not learned from: a new set, or your own.

    python benchmarks/detect_unseen.py FOLDER [--headers-of ../shared/corpus ../shared/corpus2] [--out out/unseen]
        [--degraded CLIPS]

FOLDER is RewardData (`all_data.json`, where `kind` says which real clips are no plain camera footage), or holds the
folders `generated/` and `real/`, in each of them a folder a generator or source. Clips that the card lists as learned
from are left out. Each clip is judged as it is and in the one encoding of detect_quality.py, through the same `detect`
that users run: about 1.5 s of one core a clip for both. With --degraded, so many clips drawn at random, of generators
and sources whose names the model has not learned from, are put into that one encoding, degraded and judged as well.
Verdicts are kept in --out, so that a second run only prints, and so are the figures.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from deeptrace.detectors import Detector, load_detector
from deeptrace.detectors.tracenet.model import CARD_NAME, HASH_DIGITS, WEIGHTS_DIGITS, Card, shipped_folder
from deeptrace.errors import DataError, DeeptraceError
from deeptrace.inference.inputs import expand_inputs
from deeptrace.io.fingerprint import sha256_of
from deeptrace.metrics import auroc
from deeptrace.metrics.intervals import clustered_weights, percentile_interval
from deeptrace.schema import Decision, Verdict
from deeptrace.train.tracenet.clips import CAMERA, Clip, Kind, read_clips
from deeptrace.train.tracenet.feature_cache import AS_IS, ONE_ENCODING
from deeptrace.train.tracenet.protocol import Figures, Judged, figures_of_judged
from deeptrace.video.transforms.presets import DEGRADED
from detect_quality import judge, of_metadata

FOLDERS = {"generated": Kind.GENERATED, "real": Kind.REAL}
_COLUMNS = (
    ("AUROC", 6), ("95 %", 12), ("macro", 7), ("5 %", 10), ("1 %", 7), ("found", 11), ("alarms", 8), ("found", 10),
    ("alarms", 8),
)  # fmt: skip
LEAST = 5
"""Clips that a generator or a source must have to be named as the worst."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", type=Path, help="folder of a model; the shipped one otherwise")
    parser.add_argument(
        "--headers-of",
        type=Path,
        nargs="+",
        default=[],
        metavar="DATA",
        help="data folders from which headers are learned, for a row of what they alone say",
    )
    parser.add_argument("--degraded", type=int, default=0, metavar="CLIPS", help="clips under each degradation")
    parser.add_argument("--out", type=Path, default=Path("out/unseen"))
    asked = parser.parse_args(arguments)
    asked.out.mkdir(parents=True, exist_ok=True)
    card = Card.model_validate_json((asked.model or shipped_folder()).joinpath(CARD_NAME).read_bytes())
    try:
        clips, before = clips_of(asked.folder), read_clips(asked.headers_of) if asked.headers_of else []
    except DeeptraceError as error:
        print(error, file=sys.stderr)
        return 2
    seen = {clip.name for clip in clips if sha256_of(clip.path)[:HASH_DIGITS] in card.learned_from}
    clips = [clip for clip in clips if clip.name not in seen]
    if not both_classes(clips):
        print(f"{asked.folder}: needs generated clips and camera footage that the model has not learned from; "
              f"it has learned from {len(seen)} of the clips there", file=sys.stderr)  # fmt: skip
        return 2
    detector = load_detector(f"tracenet:{asked.model}" if asked.model else "tracenet")
    stem = f"{asked.folder.resolve().name}.{card.sha256[:WEIGHTS_DIGITS]}"
    verdicts = {
        title: judge(clips, detector, asked.out / f"{stem}.{variant}.jsonl", variant)
        for title, variant in (("in one encoding", ONE_ENCODING), ("as they are", AS_IS))
    }
    headers = of_metadata(before, clips) if before else None
    figures = table(clips, verdicts, card, headers, len(seen))
    if asked.degraded:
        figures["degraded"] = degraded(
            clips, verdicts["in one encoding"], card, detector, asked.out / stem, asked.degraded
        )
    (asked.out / f"{stem}.json").write_text(json.dumps(figures, indent=1) + "\n")
    return 0


def clips_of(folder: Path) -> list[Clip]:
    """The clips of RewardData, or of the folders `generated/` and `real/`.

    Raises:
        DataError: neither is there, annotations are invalid, or a file is missing.
        VideoError: a folder holds no video, or may not be read.
    """
    if (folder / "all_data.json").is_file():
        return read_clips(folder)
    if missing := [name for name in FOLDERS if not (folder / name).is_dir()]:
        raise DataError(str(folder), f"no all_data.json and no folder {missing[0]}/", "See --help for what is read.")
    clips = []
    for side, kind in FOLDERS.items():
        for found in expand_inputs([folder / side]):
            if found.error is not None:
                raise found.error
            inside = Path(found.path).relative_to(folder / side)
            name = inside.parts[0] if len(inside.parts) > 1 else inside.stem
            clip_name = "__".join((side, *inside.parts)).replace(":", "_")
            clips.append(Clip(clip_name, Path(found.path), kind, f"{side}:{name}", "", era=folder.resolve().name))
    return clips


def table(
    clips: list[Clip], verdicts: dict[str, dict[str, Verdict]], card: Card, headers: np.ndarray | None, seen: int
) -> dict[str, Any]:
    """Print what the verdicts by encoding are worth, the hardest first; return it."""
    limits = card.calibration
    rows = {title: worth(clips, chances_of(clips, found), card) for title, found in verdicts.items()}
    new = of_new_names(clips, card)
    if len(new) < len(clips) and both_classes(new):
        rows |= {f"{t}, new names": worth(new, chances_of(new, found), card) for t, found in verdicts.items()}
    if headers is not None:
        rows["headers alone, as they are"] = worth(clips, headers, card)
    counted = Counter(clip.kind for clip in clips)
    print(f"\n{counted[Kind.GENERATED]} generated clips of {groups_of(clips, Kind.GENERATED)} generators, "
          f"{counted[Kind.REAL]} real ones of {groups_of(clips, Kind.REAL)} sources; weights "
          f"{card.sha256[:WEIGHTS_DIGITS]}, which have learned from {seen} others of the folder\n")  # fmt: skip
    print(f"{'':31}{'':25}{'found at its own':>17}{f'at {limits.threshold_fpr_5:.2f}, fpr_5':>19}"
          f"{f'at {limits.threshold_fpr_1:.2f}, fpr_1':>18}")  # fmt: skip
    heads = "".join(f"{name:>{width}}" for name, width in _COLUMNS)
    print(f"{'':31}{heads}")
    for title, row in rows.items():
        print_row(title, row, shipped=not title.startswith("headers"))
    shares = {title: decisions(clips, found) for title, found in verdicts.items()}
    print_decisions(shares)
    for title in verdicts:
        print_worst(title, rows[title])
    return {
        "weights": card.sha256,
        "learned_from": seen,
        "rows": {title: row.model_dump() for title, row in rows.items()},
        "decisions": shares,
    }


def worth(clips: list[Clip], chances: np.ndarray, card: Card) -> Figures:
    """What `chances` (N,) are worth, found and false alarms counted at the card's thresholds."""
    at_1, at_5 = (np.full(len(clips), v) for v in (card.calibration.threshold_fpr_1, card.calibration.threshold_fpr_5))
    scores, nearness = np.full((len(clips), 2), np.nan), np.full(len(clips), np.nan)
    judged = Judged(clips, chances, chances, scores, scores, nearness, nearness, at_1, at_5)
    return figures_of_judged(judged, chances)


def chances_of(clips: list[Clip], verdicts: dict[str, Verdict]) -> np.ndarray:
    """(N,) p_fake of each, NaN where there is none."""
    found = [verdicts[clip.name].p_fake for clip in clips]
    return np.array([np.nan if p is None else p for p in found])


def degraded(
    clips: list[Clip], before: dict[str, Verdict], card: Card, detector: Detector, stem: Path, number: int
) -> dict[str, dict[str, Any]]:
    """Judge `number` clips of new names under each degradation, print and return what that costs.

    Args:
        clips, before: the clips, and their verdicts in one encoding, by name.
        card, detector: of the model.
        stem: what the files of verdicts begin with.
        number: of clips, drawn at random from plain camera footage and generated clips.
    """
    drawn = [c for c in of_new_names(clips, card) if c.kind is Kind.GENERATED or c.footage == CAMERA]
    drawn = [drawn[i] for i in np.random.default_rng(0).permutation(len(drawn))[:number]]
    files = {name: stem.with_name(f"{stem.name}.{name}.jsonl") for name in DEGRADED}
    under = {"none": before} | {n: judge(drawn, detector, file, ONE_ENCODING, n) for n, file in files.items()}
    chances = {name: chances_of(drawn, verdicts) for name, verdicts in under.items()}
    known = ~np.isnan(np.stack(list(chances.values()))).any(axis=0)  # the same clips for all
    used = [clip for clip, wanted in zip(drawn, known, strict=True) if wanted]
    if not both_classes(used):
        print("\nUnder degradations: too few clips of new names; both generated ones and camera footage are needed")
        return {}
    return table_degraded(used, {name: values[known] for name, values in chances.items()}, card)


def table_degraded(clips: list[Clip], chances: dict[str, np.ndarray], card: Card) -> dict[str, dict[str, Any]]:
    """Print and return what chances (N,) by degradation are worth, and how far from those of "none"."""
    fake = np.array([clip.kind is Kind.GENERATED for clip in clips])
    weights = clustered_weights(fake, [clip.group.partition("/")[0] for clip in clips])
    drawn = {name: auroc(fake, values, weights=weights) for name, values in chances.items()}
    limit = card.calibration.threshold_fpr_5
    sides = f"{fake.sum()} generated and {(~fake).sum()} camera clips"
    print(f"\nUnder degradations, {sides} of new names, in one encoding before")
    heads = f"{'AUROC':>6}{'95 %':>12}{'change':>8}{'95 %':>15}{'found':>8}{'alarms':>8}"
    print(f"{'':15}{heads}   at {limit:.2f}, fpr_5")
    rows: dict[str, dict[str, Any]] = {}
    for name, values in chances.items():
        area, change = float(auroc(fake, values)), float(auroc(fake, values) - auroc(fake, chances["none"]))
        own, less = percentile_interval(drawn[name]), percentile_interval(drawn[name] - drawn["none"])
        found, alarms = (float((values[side] >= limit).mean()) for side in (fake, ~fake))
        rows[name] = {"auroc": area, "interval": own, "change": change, "change_interval": less, "found": found,
                      "false_alarms": alarms}  # fmt: skip
        low, high = own or (float("nan"),) * 2
        down, up = less or (float("nan"),) * 2
        print(f"{name:15}{area:6.3f}{low:7.2f}-{high:.2f}{change:+8.3f}{down:+8.3f}{up:+7.3f}{found:8.2f}{alarms:8.3f}")
    return rows


def of_new_names(clips: list[Clip], card: Card) -> list[Clip]:
    """Those whose generator or source the model has not learned from."""
    known = known_names(card)
    return [clip for clip in clips if clip.group.partition("/")[0] not in known]


def both_classes(clips: list[Clip]) -> bool:
    """Whether there are generated clips and camera footage."""
    return {clip.kind for clip in clips if clip.footage == CAMERA} == {Kind.REAL, Kind.GENERATED}


def known_names(card: Card) -> set[str]:
    """The groups, as in `Clip.group` and whole, of which the model has learned from other clips."""
    trained_on = (card.model_extra or {}).get("trained_on", {})
    return {group.partition("/")[0] for side in FOLDERS for group in trained_on.get(side, {})}


def groups_of(clips: Iterable[Clip], kind: Kind) -> int:
    return len({clip.group.partition("/")[0] for clip in clips if clip.kind is kind})


def decisions(clips: list[Clip], verdicts: dict[str, Verdict]) -> dict[str, dict[str, float]]:
    """What people would be told, as shares of the clips, by class and kind of footage; and how many clips these are."""
    classes = {"generated": [clip for clip in clips if clip.kind is Kind.GENERATED]}
    footage = Counter(clip.footage for clip in clips if clip.kind is Kind.REAL)
    for name, _ in sorted(footage.items(), key=lambda item: (item[0] != CAMERA, -item[1], item[0])):
        classes[name] = [clip for clip in clips if clip.kind is Kind.REAL and clip.footage == name]
    rows = {}
    for name, members in classes.items():
        told = Counter(verdicts[clip.name].decision for clip in members)
        rows[name] = {"clips": len(members)} | {
            "no verdict" if key is None else key.display_name: round(told[key] / len(members), 4)
            for key in (*Decision, None)
        }
    return rows


def print_row(title: str, row: Figures, *, shipped: bool) -> None:
    low, high = row.interval or (float("nan"),) * 2
    start = f"{title:31}{row.auroc:6.3f}{low:7.2f}-{high:.2f}{row.macro:7.3f}{row.found_5:10.2f}{row.found_1:7.2f}"
    rest = (row.found, row.false_alarms, row.found_1_set_elsewhere, row.false_alarms_1)
    print(start + ("{:11.2f}{:8.3f}{:10.2f}{:8.3f}".format(*rest) if shipped else ""))


def print_decisions(shares: dict[str, dict[str, dict[str, float]]]) -> None:
    print("\nWhat people are told, by class and kind of footage")
    for title, rows in shares.items():
        heads = [key for key in next(iter(rows.values())) if key != "clips"]
        print(f"{title:31}{'clips':>6}" + "".join(f"{head:>14}" for head in heads))
        for name, row in rows.items():
            print(f"  {name:29}{row['clips']:6.0f}" + "".join(f"{row[head]:14.2f}" for head in heads))


def print_worst(title: str, row: Figures) -> None:
    sources = sorted(row.by_source.items(), key=lambda item: (-item[1][0], item[0]))[:6]
    named = [(name, found) for name, found in row.by_generator.items() if found[1] >= LEAST]
    hardest = sorted(named, key=lambda item: item[1][0])[:6]
    print(f"\n{title}, of {LEAST} clips and more:")
    print("  false alarms at fpr_5 by source: " + ", ".join(f"{name} {v:.2f} of {n}" for name, (v, n) in sources))
    print("  hardest generators, AUROC: " + ", ".join(f"{name} {v:.2f} of {n}" for name, (v, n) in hardest))


if __name__ == "__main__":
    sys.exit(main())
