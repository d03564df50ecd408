"""How alike a predicted explanation and the written ones are: BLEU, ROUGE-L, METEOR-like, CIDEr-D, embeddings.

Plain counting, no downloads. Explanations are a sentence or two, so all of these are weak beside a judge; they are
deterministic, and they stand under their own names.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

__all__ = ["bleu", "cider", "embedding_similarity", "meteor_like", "rouge_l", "text_scores"]

# Scripts that put no spaces between words: Chinese, Japanese, Thai, Lao, Burmese, Khmer.
_SPACELESS = (
    "\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003fffd"
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
)
_MARKS = "\u0300-\u036f\u064b-\u065f\u0900-\u0dff"  # parts of letters that Python takes for none
_WORD = re.compile(rf"[{_SPACELESS}]|(?:[^\W_{_SPACELESS}]|[{_MARKS}])+")
_ENDINGS = ("ingly", "edly", "ing", "ies", "ied", "es", "ed", "ly", "s")


def text_scores(
    predicted: Sequence[str],
    truth: Sequence[str],
    *,
    embed: Callable[[list[str]], np.ndarray] | None = None,
) -> dict[str, float | None]:
    """All text scores, 0 to 100 (CIDEr-D 0 to 1000 as usual: 10 x 100), None without a pair.

    Args:
        predicted: an explanation a pair, "" where the answer gave none (it scores 0).
        truth: the written explanation, not blank.
        embed: texts -> vectors (N, D); without one `embedding_similarity` is None.

    Examples:
        >>> same = text_scores(["The cup melts slowly away."], ["The cup melts slowly away."])
        >>> round(same["bleu"], 6), same["rouge_l"]
        (100.0, 100.0)
        >>> text_scores([], [])["bleu"] is None
        True
    """
    if not truth:
        return dict.fromkeys(("bleu", "rouge_l", "meteor_like", "cider", "embedding_similarity"))
    return {
        "bleu": bleu(predicted, truth),
        "rouge_l": 100.0 * float(np.mean([rouge_l(p, t) for p, t in zip(predicted, truth, strict=True)])),
        "meteor_like": 100.0 * float(np.mean([meteor_like(p, t) for p, t in zip(predicted, truth, strict=True)])),
        "cider": 100.0 * cider(predicted, [[t] for t in truth]),
        "embedding_similarity": None if embed is None else 100.0 * embedding_similarity(predicted, truth, embed),
    }


def words(text: str) -> list[str]:
    """Lower-case words and numbers; of scripts without spaces between words, characters.

    >>> words("Three café cups, 3.5 s"), words("手が溶ける"), words("рука плавится")
    (['three', 'café', 'cups', '3', '5', 's'], ['手', 'が', '溶', 'け', 'る'], ['рука', 'плавится'])
    """
    return _WORD.findall(unicodedata.normalize("NFC", text).lower())


def bleu(predicted: Sequence[str], truth: Sequence[str], *, order: int = 4) -> float:
    """Corpus BLEU, 0 to 100, as sacrebleu's default: "13a" tokens, case kept, exponential smoothing of empty orders.

    Characters of scripts without spaces between words are words of their own, as in sacrebleu's "zh".

    Examples:
        >>> round(bleu(["the cup melts into the table"], ["the cup melts into the table"]), 6)
        100.0
        >>> bleu(["a dog"], ["the cup melts into the table"])
        0.0
    """
    hits, total = [0] * order, [0] * order
    said = asked = 0
    for p, t in zip(predicted, truth, strict=True):
        a, b = (tokenize_13a(re.sub(rf"([{_SPACELESS}])", r" \1 ", text)) for text in (p, t))
        said, asked = said + len(a), asked + len(b)
        for n in range(1, order + 1) if a else ():
            grams = _grams(a, n)
            hits[n - 1] += sum((grams & _grams(b, n)).values())
            total[n - 1] += max(len(a) - n + 1, 0)
    if not hits[0] or said == 0:
        return 0.0
    logs, halved = 0.0, 1.0
    used = sum(count > 0 for count in total)
    if used < order:  # no 4-gram in the whole corpus: sacrebleu's corpus score is then 0
        return 0.0
    for hit, count in zip(hits, total, strict=True):
        if hit == 0:
            halved *= 2
        logs += math.log(100.0 * hit / count if hit else 100.0 / (halved * count))
    brevity = 1.0 if said >= asked else math.exp(1 - asked / said)
    return brevity * math.exp(logs / order)


def tokenize_13a(text: str) -> list[str]:
    """Tokens of mteval-v13a, sacrebleu's default: punctuation split off, except within numbers.

    Examples:
        >>> tokenize_13a("It melts, at 1.5 s.")
        ['It', 'melts', ',', 'at', '1.5', 's', '.']
    """
    text = text.replace("<skipped>", "").replace("-\n", "").replace("\n", " ")
    for code, char in (("&quot;", '"'), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">")):
        text = text.replace(code, char)
    text = re.sub(r"([\{-\~\[-\` -\&\(-\+\:-\@\/])", r" \1 ", f" {text} ")
    text = re.sub(r"([^0-9])([\.,])", r"\1 \2 ", text)
    text = re.sub(r"([\.,])([^0-9])", r" \1 \2", text)
    return re.sub(r"([0-9])(-)", r"\1 \2 ", text).split()


def rouge_l(predicted: str, truth: str) -> float:
    """ROUGE-L F1 in [0, 1]: longest common subsequence of `words`, no stemming.

    Examples:
        >>> rouge_l("the cup melts", "the cup melts")
        1.0
        >>> rouge_l("the cup", "the white cup melts")  # 2 words in common, of 2 and 4
        0.6666666666666666
    """
    a, b = words(predicted), words(truth)
    if not a or not b:
        return 0.0
    common = _common_subsequence(a, b)
    return 2 * common / (len(a) + len(b))


def meteor_like(predicted: str, truth: str) -> float:
    """METEOR's formula in [0, 1] with matches by word, then by a crude stem; no synonyms, hence "like".

    F = 10 P R / (R + 9 P), less the fragmentation penalty 0.5 (chunks / matches)^3.

    Examples:
        >>> round(meteor_like("the cup melts", "the cup melts"), 4)  # one run of three words: 1 - 0.5 / 27
        0.9815
        >>> meteor_like("dog", "the cup melts")
        0.0
    """
    a, b = words(predicted), words(truth)
    if not a or not b:
        return 0.0
    aligned: dict[int, int] = {}
    free = dict.fromkeys(range(len(b)))
    for form in (str, _stem):
        places: dict[str, list[int]] = {}
        for j in free:
            places.setdefault(form(b[j]), []).append(j)
        for i, word in enumerate(a):
            if i in aligned or not (options := places.get(form(word))):
                continue
            after = aligned.get(i - 1, -2) + 1
            j = after if after in options else options[0]
            options.remove(j)
            free.pop(j)
            aligned[i] = j
    matches = len(aligned)
    if not matches:
        return 0.0
    chunks = sum(aligned.get(i - 1, -2) != j - 1 for i, j in aligned.items())
    precision, recall = matches / len(a), matches / len(b)
    mean = 10 * precision * recall / (recall + 9 * precision)
    return mean * (1 - 0.5 * (chunks / matches) ** 3)


def cider(predicted: Sequence[str], truth: Sequence[Sequence[str]], *, order: int = 4, sigma: float = 6.0) -> float:
    """CIDEr-D, 0 to 10: cosine of n-gram tf-idf vectors, n = 1..4, clipped, with a penalty for length difference.

    Document frequencies come from `truth` itself. Words are lower case, without the reference code's stemming.

    Args:
        predicted: one text an item.
        truth: one or more written texts an item.

    Examples:
        >>> truth = [["the cup melts"], ["a dog grows a leg"]]
        >>> cider(["dog", ""], truth) < cider(["the cup melts", "a dog grows a leg"], truth)
        True
    """
    references = [[_all_grams(words(text), order) for text in texts] for texts in truth]
    seen: Counter[tuple[str, ...]] = Counter()
    for item in references:
        seen.update({gram for grams in item for gram in grams})
    log_items = math.log(max(len(references), 1))
    idf = {gram: log_items - math.log(max(count, 1)) for gram, count in seen.items()}
    scores = []
    for text, item in zip(predicted, references, strict=True):
        if not (said := words(text)):
            scores.append(0.0)
            continue
        vector = _tfidf(_all_grams(said, order), idf, log_items, order)
        each = [_cider_pair(vector, _tfidf(grams, idf, log_items, order), order, sigma) for grams in item]
        scores.append(10.0 * sum(each) / len(each) if each else 0.0)
    return float(np.mean(scores)) if scores else 0.0


def embedding_similarity(
    predicted: Sequence[str], truth: Sequence[str], embed: Callable[[list[str]], np.ndarray]
) -> float:
    """Mean cosine in [-1, 1] of the embeddings of both texts; a pair without a prediction has 0.

    Examples:
        >>> def lengths(texts):
        ...     return np.array([[len(text), 1.0] for text in texts])

        >>> round(embedding_similarity(["cup", ""], ["cup", "dog"], lengths), 6)  # the second said nothing
        0.5
    """
    a, b = (np.asarray(embed(list(texts)), dtype=float) for texts in (predicted, truth))
    norm = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosine = (a * b).sum(axis=1) / np.maximum(norm, 1e-12)
    return float(np.where([bool(text.strip()) for text in predicted], cosine, 0.0).mean())


def _grams(words: list[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(zip(*(words[i:] for i in range(n)), strict=False))


def _all_grams(words: list[str], order: int) -> Counter[tuple[str, ...]]:
    out: Counter[tuple[str, ...]] = Counter()
    for n in range(1, order + 1):
        out.update(zip(*(words[i:] for i in range(n)), strict=False))
    return out


_Vector = tuple[list[dict[tuple[str, ...], float]], list[float], int]


def _tfidf(grams: Counter[tuple[str, ...]], idf: dict[tuple[str, ...], float], unseen: float, order: int) -> _Vector:
    vectors: list[dict[tuple[str, ...], float]] = [{} for _ in range(order)]
    length = 0
    for gram, count in grams.items():
        vectors[len(gram) - 1][gram] = count * idf.get(gram, unseen)
        length += count if len(gram) == 2 else 0  # the reference code measures length in bigrams
    return vectors, [math.sqrt(sum(v * v for v in part.values())) for part in vectors], length


def _cider_pair(a: _Vector, b: _Vector, order: int, sigma: float) -> float:
    total = 0.0
    for n in range(order):
        norm = a[1][n] * b[1][n]
        if norm > 0:
            other = b[0][n]
            total += sum(min(v, other[gram]) * other[gram] for gram, v in a[0][n].items() if gram in other) / norm
    return total / order * math.exp(-((a[2] - b[2]) ** 2) / (2 * sigma**2))


def _common_subsequence(a: list[str], b: list[str]) -> int:
    """Length of the longest common subsequence, a bit a word (Hyyro 2004)."""
    places: dict[str, int] = {}
    for i, word in enumerate(a):
        places[word] = places.get(word, 0) | 1 << i
    full = (1 << len(a)) - 1
    row = full
    for word in b:
        match = row & places.get(word, 0)
        row = ((row + match) | (row - match)) & full
    return len(a) - row.bit_count()


def _stem(word: str) -> str:
    return next((word[: -len(end)] for end in _ENDINGS if word.endswith(end) and len(word) - len(end) >= 3), word)
