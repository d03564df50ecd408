"""Text scores against sacrebleu, rouge-score and formulas worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tests.needs import needs

from deeptrace.metrics import bleu, cider, meteor_like, rouge_l, text_scores
from deeptrace.metrics.text import embedding_similarity, words

PREDICTED = [
    "The man's left hand melts into the cup, and 3.5 fingers merge.",
    "A face blurs suddenly - it isn't sharp!",
    "",
    "the the the the the the the",
    "The bottle cap is warped at the hinge.",
]
TRUTH = [
    "The left hand of the man melts into the cup and his fingers are merging.",
    "The woman's face suddenly blurs for 0.5 seconds.",
    "The dog has five legs.",
    "the cat is on the mat",
    "The bottle cap is warped at the hinge.",
]


def test_bleu_is_sacrebleus() -> None:
    sacrebleu = needs("sacrebleu")
    assert bleu(PREDICTED, TRUTH) == pytest.approx(sacrebleu.corpus_bleu(PREDICTED, [TRUTH]).score)
    rng = np.random.default_rng(0)
    words = ["the", "hand", "melts", "into", "a", "cup", ",", "and", "its", "(", "3.5", ")", "fingers", "merge", "."]
    for _ in range(20):
        a = [" ".join(rng.choice(words, rng.integers(1, 14))) for _ in range(8)]
        b = [" ".join(rng.choice(words, rng.integers(1, 14))) for _ in range(8)]
        assert bleu(a, b) == pytest.approx(sacrebleu.corpus_bleu(a, [b]).score)


def test_rouge_l_is_rouge_scores() -> None:
    module = needs("rouge_score.rouge_scorer")
    scorer = module.RougeScorer(["rougeL"], use_stemmer=False)
    rng = np.random.default_rng(1)
    words = ["the", "hand", "melts", "into", "a", "cup", "and", "its", "six", "fingers", "merge"]
    pairs = list(zip(PREDICTED, TRUTH, strict=True))
    pairs += [(" ".join(rng.choice(words, 12)), " ".join(rng.choice(words, 9))) for _ in range(30)]
    for p, t in pairs:
        assert rouge_l(p, t) == pytest.approx(scorer.score(t, p)["rougeL"].fmeasure)


def test_meteor_by_hand() -> None:
    assert meteor_like("the cup melts", "the cup melts") == pytest.approx(1 - 0.5 / 27)  # one chunk of three
    assert meteor_like("melts cup the", "the cup melts") == pytest.approx(0.5)  # three chunks of three
    assert meteor_like("melting cups", "melts cup") == pytest.approx(1 - 0.5 / 8)  # by stem
    precision, recall = 1 / 2, 1 / 3
    assert meteor_like("cup dog", "the cup melts") == pytest.approx(
        10 * precision * recall / (recall + 9 * precision) * 0.5
    )
    assert meteor_like("", "the cup") == 0


def test_cider_rewards_the_rare_words() -> None:
    truth = [["the hand melts into the cup"], ["the face blurs over time"], ["the wall ripples as he walks"]]
    exact = cider([texts[0] for texts in truth], truth)
    assert exact == pytest.approx(10)
    assert cider(["the the the", "the", "the"], truth) == pytest.approx(0, abs=1e-9)  # "the" is everywhere
    assert 0 < cider(["the hand bends", "a face blurs", "ripples"], truth) < exact


def test_cider_by_hand() -> None:
    # Two items; in the first prediction only "a" agrees, in n = 1: tf-idf vectors (a, b) and (a, c), idf log 2 each.
    value = cider(["a b", "x"], [["a c"], ["d e"]], order=1)
    assert value == pytest.approx(10 * 0.5 * (1 / 2))
    # One bigram longer: the length penalty exp(-1 / 72).
    longer = cider(["a b b", "x"], [["a c"], ["d e"]], order=1)
    cosine = 1 / (math.sqrt(5) * math.sqrt(2))
    assert longer < 10 * cosine * 0.5 + 1e-9


def test_all_scores_and_an_empty_corpus() -> None:
    scores = text_scores(PREDICTED, TRUTH)
    assert scores.pop("embedding_similarity") is None
    assert all(value is not None and 0 < value < 1000 for value in scores.values())
    assert set(text_scores([], []).values()) == {None}


def test_embeddings_when_a_model_is_handed_in() -> None:
    def letters(texts: list[str]) -> np.ndarray:
        return np.array([[text.count(c) for c in "abc"] for text in texts], dtype=float)

    assert embedding_similarity(["aab", ""], ["aab", "c"], letters) == pytest.approx(0.5)
    assert text_scores(["ab"], ["ab"], embed=letters)["embedding_similarity"] == pytest.approx(100)


@pytest.mark.parametrize(
    ("said", "alike", "other"),
    [
        ("左手融合在桌子里。", "左手与桌子融合在一起。", "天空突然变暗"),
        ("손가락이 컵에 녹아 붙는다", "손가락이 컵 속으로 녹아 붙는다", "하늘이 갑자기 어두워진다"),
        ("Левая рука плавится", "Левая рука плавится и исчезает", "Небо темнеет"),
        ("手がコップに溶ける", "手がテーブルに溶ける", "空は暗い"),
        ("हाथ मेज़ में पिघलता है", "हाथ प्याले में पिघलता है", "आसमान नीला"),
    ],
)
def test_words_of_all_scripts_count(said: str, alike: str, other: str) -> None:
    for score in (rouge_l, meteor_like):
        assert score(said, said) > 0.98
        assert 0.3 < score(said, alike) < 1
        assert score(said, other) == 0
    assert cider([said], [[said]]) >= 0
    assert bleu([said] * 2, [said] * 2) == pytest.approx(100 if len(words(said)) >= 4 else 0)


def test_chinese_bleu_is_sacrebleus() -> None:
    sacrebleu = pytest.importorskip("sacrebleu")
    said, truth = ["左手融合在桌子里", "天空突然变暗了"], ["左手与桌子融合在一起", "天空突然变得很暗"]
    assert bleu(said, truth) == pytest.approx(sacrebleu.corpus_bleu(said, [truth], tokenize="zh").score)
