"""Does the reward pick the better clip? Sets of known severity, and real clips against their edited versions.

    deeptrace train tracenet examples/tracenet_nets.json   # once; leaves one model a fold
    python benchmarks/reward_selection.py [--run out/tracenet_nets] [--sets 32] [--out out/selection]

Sets: one camera clip eight times, each time with another synthetic trace (kind, place and severity are drawn anew).
The pick is the clip with the highest value among the first N. Severity is counted from 0 to 1; regret is the pick's
severity above the least of the set. Pairs: camera clips and what video-editing methods made of them, both encoded by
the page's authors; the source should be preferred. Intervals draw sets, matched groups (of one source), or whole pages.
About 3 s of one core a set and 1 s a matched clip; values are kept in --out, so that a second run only prints.
"""

from __future__ import annotations

import csv
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from deeptrace.errors import DeeptraceError
from deeptrace.io.journal import Journal
from deeptrace.schema import Category
from deeptrace.synth import Scene, inject
from deeptrace.train.tracenet.clips import Clip, Kind
from deeptrace.train.tracenet.feature_cache import ONE_ENCODING, make_variant
from deeptrace.train.tracenet.flaws import short_segment
from deeptrace.video import open_video, video_from_array
from evidence import MEASURES, Judge, judge_and_clips, mean_of, parser_of, shown, values_of, with_interval

LARGEST = 8
SIZES = (2, 4, 8)
WAYS = ("as they are", "one encoding")


def main() -> int:
    parser = parser_of(__doc__, "out/selection")
    parser.add_argument("--sets", type=int, default=32, help="camera clips that become a set")
    asked = parser.parse_args()
    found = judge_and_clips(asked)
    if found is None:
        return 2
    judge, clips = found
    real = [clip for clip in clips if clip.kind is Kind.REAL]
    chosen = [real[i] for i in np.random.default_rng(3).permutation(len(real))[: asked.sets]]
    figures: dict[str, Any] = {}
    with Journal(asked.out / "sets.jsonl") as journal:
        fill_sets(journal, chosen, judge)
        figures["sets"] = {size: table_sets(journal, size) for size in SIZES}
    pairs = matched_pairs(clips, pages_of(asked.data / "manifest.csv"))
    with Journal(asked.out / "pairs.jsonl") as journal:
        fill_pairs(journal, pairs, judge)
        figures["pairs"] = {way: table_pairs(journal, pairs, way) for way in WAYS}
    (asked.out / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")
    return 0


# -- sets of known severity -------------------------------------------------------------------------------------------


def fill_sets(journal: Journal, clips: list[Clip], judge: Judge) -> None:
    """Judge the sets that are not in the journal yet."""
    for number, clip in enumerate(clips):
        if clip.name in journal:
            continue
        try:
            pictures, times = short_segment(clip)
            candidates = candidates_of(pictures, times, np.random.default_rng([11, number]))
        except DeeptraceError as error:
            print(f"left out: {error}", file=sys.stderr)
            continue
        detector = judge(clip)
        severities = [severity for _, severity in candidates]
        videos = [video_from_array(frames, times_s=list(times), name=clip.name, as_is=True) for frames, _ in candidates]
        journal.add(clip.name, {"severities": severities, "values": [values_of(detector, video) for video in videos]})


def candidates_of(pictures: np.ndarray, times: np.ndarray, rng: np.random.Generator) -> list[tuple[np.ndarray, float]]:
    """`LARGEST` versions of a clip with one trace each, and its severity.

    Raises:
        SynthError: the clip offers nothing to hold on to.
    """
    scene = Scene.of(pictures, times)
    kinds = [list(Category)[i] for i in rng.permutation(len(Category))[:LARGEST]]
    severities = rng.uniform(0, 1, LARGEST)
    return [
        (inject(pictures, times, kind, severity=float(severity), rng=rng, scene=scene).frames, float(severity))
        for kind, severity in zip(kinds, severities, strict=True)
    ]


def table_sets(journal: Journal, size: int) -> dict[str, Any]:
    """Print and return, for the first `size` of each set: how often the least severe is picked, and the regret."""
    severities = np.array([record["severities"][:size] for record in journal.values()])
    by_chance = float((severities.mean(axis=1) - severities.min(axis=1)).mean())
    chance = f"by chance {1 / size:.2f} and {by_chance:.2f}"
    print(f"\nBest of {size}: {len(severities)} sets of known severity [95 %]; {chance}\n")
    print(f"{'':22}{'least severe picked':>24}{'regret':>24}")
    figures: dict[str, Any] = {"chance": {"picked": 1 / size, "regret": by_chance}}
    for measure in MEASURES:
        values = np.array([[v[measure] for v in record["values"][:size]] for record in journal.values()])
        share, regret = picked(values, severities)
        figures[measure] = row = {
            "picked": with_interval(share[:, None], mean_of),
            "regret": with_interval(regret[:, None], mean_of),
        }
        print(f"{measure:22}{shown(row['picked'])}{shown(row['regret'])}")
    return figures


def picked(values: np.ndarray, severities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each set (N, size): the chance that the least severe is picked, and the expected regret; ties are drawn."""
    best = values == values.max(axis=1, keepdims=True)
    chance = best / best.sum(axis=1, keepdims=True)
    above = severities - severities.min(axis=1, keepdims=True)
    return (chance * (above == 0)).sum(axis=1), (chance * above).sum(axis=1)


# -- matched pairs ----------------------------------------------------------------------------------------------------


def pages_of(manifest: Path) -> dict[str, str]:
    """Page by matched group, as the corpus's manifest names it."""
    with manifest.open(newline="") as file:
        return {row["pair_id"]: row["origin_repo"] for row in csv.DictReader(file) if row["pair_id"]}


def matched_pairs(clips: list[Clip], pages: dict[str, str]) -> list[tuple[Clip, Clip, str]]:
    """(edited, source, page)."""
    sources = {clip.group: clip for clip in clips if clip.kind is Kind.REAL}
    edited = [clip for clip in clips if clip.kind is Kind.EDITED and clip.group in sources]
    return [(clip, sources[clip.group], pages[clip.group.removeprefix("matched:")]) for clip in edited]


def fill_pairs(journal: Journal, pairs: list[tuple[Clip, Clip, str]], judge: Judge) -> None:
    """Judge every clip of the pairs, as it is and in one encoding."""
    for clip in {c.name: c for pair in pairs for c in pair[:2]}.values():
        if clip.name in journal:
            continue
        with (
            tempfile.TemporaryDirectory() as folder,
            open_video(clip.path) as as_is,
            make_variant(clip.path, ONE_ENCODING, np.random.default_rng(0), Path(folder)) as equal,
        ):
            values = [values_of(judge(clip), video) for video in (as_is, equal)]
        journal.add(clip.name, dict(zip(WAYS, values, strict=True)))


def table_pairs(journal: Journal, pairs: list[tuple[Clip, Clip, str]], way: str) -> dict[str, Any]:
    """Print and return how often the source is preferred."""
    groups, pages = [source.group for _, source, _ in pairs], [page for _, _, page in pairs]
    names = sorted(set(pages), key=lambda page: -pages.count(page))
    print(f"\nSource preferred to its edit, {way}: {len(pairs)} pairs of {len(set(groups))} sources [95 %]\n")
    print(
        f"{'':22}{'drawing sources':>24}{'drawing pages':>24}   by page: " + ", ".join(n.split("/")[-1] for n in names)
    )
    figures: dict[str, Any] = {}
    for measure in MEASURES:
        gaps = np.array([journal[s.name][way][measure] - journal[e.name][way][measure] for e, s, _ in pairs])
        wins = (np.sign(gaps) + 1) / 2
        by_page = {page: [float(w) for w, p in zip(wins, pages, strict=True) if p == page] for page in names}
        figures[measure] = row = {
            "by_source": with_interval(wins[:, None], mean_of, groups),
            "by_page": with_interval(wins[:, None], mean_of, pages),
            "pages": {page: (sum(won), len(won)) for page, won in by_page.items()},
        }
        said = ", ".join(f"{won:g}/{of}" for won, of in row["pages"].values())
        print(f"{measure:22}{shown(row['by_source'])}{shown(row['by_page'])}   {said}")
    return figures


if __name__ == "__main__":
    sys.exit(main())
