"""Agreement against scikit-learn, statsmodels and krippendorff; the corpus's two passes against its README."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tests.needs import needs

from deeptrace.geometry import Box, Interval
from deeptrace.metrics import (
    annotator_ceiling,
    annotator_verdicts,
    cohen_kappa,
    evaluate_pairs,
    fleiss_kappa,
    grounding_agreement,
    krippendorff_alpha,
)
from deeptrace.schema import Category, Label, Media, Sample, Trace


@pytest.mark.parametrize("seed", range(5))
def test_kappas_and_alpha_against_others(seed: int) -> None:
    sklearn = needs("sklearn.metrics")
    inter_rater = needs("statsmodels.stats.inter_rater")
    krippendorff = needs("krippendorff")
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 4, 60)
    raters = np.where(rng.uniform(size=(3, 60)) < 0.7, truth, rng.integers(0, 4, (3, 60))).astype(float)
    assert cohen_kappa(raters[0].tolist(), raters[1].tolist()) == pytest.approx(
        sklearn.cohen_kappa_score(raters[0], raters[1])
    )
    counts = np.stack([(raters == k).sum(0) for k in range(4)], axis=1)
    assert fleiss_kappa(counts) == pytest.approx(inter_rater.fleiss_kappa(counts))
    holes = np.where(rng.uniform(size=raters.shape) < 0.2, np.nan, raters)
    for data in (raters, holes):
        for level in ("nominal", "interval"):
            assert krippendorff_alpha(data, level=level) == pytest.approx(
                krippendorff.alpha(reliability_data=data, level_of_measurement=level)
            )


def test_where_agreement_has_no_meaning() -> None:
    assert cohen_kappa([], []) is None
    assert cohen_kappa(["a", "a"], ["a", "a"]) is None
    assert fleiss_kappa([[2, 0], [2, 0]]) is None
    assert krippendorff_alpha([[1, 1], [1, 1]]) is None
    assert krippendorff_alpha([[1, np.nan], [np.nan, 2]]) is None


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="got 1 and 2"):
        cohen_kappa([1], [1, 2])
    with pytest.raises(ValueError, match="same number of raters"):
        fleiss_kappa([[2, 0], [1, 0]])
    with pytest.raises(ValueError, match="shape"):
        krippendorff_alpha([1, 2])
    with pytest.raises(ValueError, match="same videos"):
        grounding_agreement([annotated("a")], [annotated("b")])


def annotated(name: str, *traces: Trace) -> Sample:
    media = Media(width=100, height=100, duration_s=10)
    return Sample(video_id=name, path=f"{name}.mp4", label=Label.FAKE, media=media, traces=traces)


def test_grounding_by_hand() -> None:
    melts, splits = Category.OBJECT_DISTORTION, Category.OBJECT_SPLITTING
    first = Trace(box=Box(x0=0, y0=0, x1=0.5, y1=1), onset_s=0, offset_s=4, categories=(melts,))
    second = Trace(box=Box(x0=0, y0=0, x1=0.5, y1=0.5), onset_s=1, offset_s=4, categories=(melts, splits))
    result = grounding_agreement(
        [annotated("a", first), annotated("b"), annotated("c", first)],
        [annotated("a", second), annotated("b"), annotated("c")],
    )
    assert (result["videos"], result["both_or_none"], result["matched"]) == (3, 2, 1)
    assert (result["box_iou"], result["tiou"], result["viou"]) == (0.5, 0.75, 0.375)
    assert (result["onset_apart"], result["offset_apart"], result["category_jaccard"]) == (0.1, 0, 0.5)
    strict = grounding_agreement([annotated("a", first)], [annotated("a", second)], min_viou=0.4)
    assert (strict["matched"], strict["box_iou"]) == (0, None)


def test_a_gap_is_no_time_of_a_trace() -> None:
    """Moments at which both are on, over those at which either is: 0 to 1 and 3 to 4 of 0 to 4."""
    box = Box(x0=0.0, y0=0.0, x1=0.5, y1=1.0)
    whole = Trace(onset_s=0.0, offset_s=4.0, box=box)
    blinks = whole.model_copy(update={"gaps": (Interval(onset_s=1.0, offset_s=3.0),)})
    within = Trace(onset_s=1.0, offset_s=3.0, box=box)
    found = grounding_agreement([annotated("a", whole)], [annotated("a", blinks)])
    assert (found["box_iou"], found["tiou"], found["viou"]) == (1.0, 0.5, pytest.approx(0.5))
    found = grounding_agreement([annotated("a", blinks)], [annotated("a", blinks)])
    assert (found["matched"], found["tiou"], found["viou"]) == (1, 1.0, pytest.approx(1.0))
    assert grounding_agreement([annotated("a", blinks)], [annotated("a", within)])["matched"] == 0


def two_rounds(corpus: Path) -> tuple[list[Sample], list[Sample], list[Sample]]:
    """Each generated clip as its first and its second pass saw it, and the real clips."""
    clips: dict[str, Sample] = {}
    for row in json.loads((corpus / "all_data.json").read_text(encoding="utf-8")):
        media = Media(width=row["video_width"], height=row["video_height"], duration_s=row["video_duration"])
        label = Label.FAKE if row["video_type"] == "fake_video" else Label.REAL
        clips[row["video_path"]] = Sample(
            video_id=row["video_id"], path=row["video_path"], label=label, source=row["video_source"], media=media
        )
    rounds: dict[str, list[Sample]] = {}
    for line in (corpus / "passes.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        traces = tuple(
            Trace(
                box=Box.from_fractions(*t["box"]) if t.get("box") else None,
                onset_s=t["onset_s"],
                offset_s=t["offset_s"],
                categories=tuple(t["categories"]),
                explanation=t["explanation"],
                score=t.get("confidence"),
            )
            for t in row["traces"]
        )
        rounds.setdefault(row["file"], []).append(clips[row["file"]].model_copy(update={"traces": traces}))
    pairs = [group[:2] for group in rounds.values() if len(group) >= 2]
    real = [clip for clip in clips.values() if clip.label is Label.REAL]
    return [a for a, _ in pairs], [b for _, b in pairs], real


@pytest.mark.corpus
def test_the_corpus_passes_agree_as_docs_metrics_says(corpus_dir: Path) -> None:
    first, second, real = two_rounds(corpus_dir)
    assert (len(first), len(real)) == (232, 224)
    agreement = grounding_agreement(first, second)
    assert agreement["both_or_none"] == 227
    assert (agreement["traces_first"], agreement["traces_second"]) == (535, 549)
    assert agreement["tiou"] == pytest.approx(0.82, abs=0.01)
    assert agreement["box_iou"] == pytest.approx(0.645, abs=0.01)  # every pair that overlaps at all
    close = grounding_agreement(first, second, min_viou=0.2)
    assert close["box_iou"] == pytest.approx(0.70, abs=0.03)  # pairs that can be called the same trace
    ceiling = annotator_ceiling([*first, *real], [*second, *real])
    assert ceiling["paper"]["bbox_iou"] == pytest.approx(35.1, abs=0.2)
    assert ceiling["grounded"]["overall"] == pytest.approx(43.3, abs=0.2)
    assert ceiling["paper"]["overall"] is None
    for truth, model in ((first, second), (second, first)):
        scores = evaluate_pairs(truth, annotator_verdicts(model), text=False)
        assert scores["paper"]["bbox_iou"] == pytest.approx(35, abs=0.5)
        assert scores["paper"]["time_distance"] == pytest.approx(15, abs=0.5)
        assert scores["traces"]["matched_tiou"] == pytest.approx(0.82, abs=0.01)
        assert scores["grounded"]["trace_quality"] == pytest.approx(43, abs=1)
