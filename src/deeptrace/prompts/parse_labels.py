"""REAL or FAKE, out of a model's words; and whether it declined to say. No readable label is an error, not REAL.

Every word that may be a label is a *mention*. What stands around it decides what it claims: nothing (an option, a
question, a condition, a doubt, a name such as "REAL Madrid"), its own label, or, where it is denied, the other one.
Claims have ranks: a "final answer", then a label that stands alone or in a field of its own, then one in capitals
within a sentence, then a sentence that says what the video is. Those of the highest rank decide; where they contradict
one another there is no label.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from itertools import pairwise

from deeptrace.errors import AnswerError, RefusalError
from deeptrace.prompts import parse_label_words as said
from deeptrace.prompts.parse_label_languages import labels_in_other_languages
from deeptrace.prompts.parse_numbers import plain, value_of
from deeptrace.schema import Label

__all__ = ["Reading", "find_label", "label_of_word", "refuse_if_declined", "says_more_than_the_label"]

_WINDOW = 240  # characters of a sentence that are looked at on either side of a mention
_MOST = 200  # mentions looked at

_MARKER = re.compile(r"\W*(?:[A-Za-z]|\d{1,2})[).\]:]")  # "(B) FAKE", "1. FAKE"
_SURELY = frozenset(
    [
        "most",
        "very",
        "almost",
        "definitely",
        "clearly",
        "probably",
        "likely",
        "certainly",
        "obviously",
        "surely",
        "undoubtedly",
        "doubtless",
        "unquestionably",
        "absolutely",
        "not",
        "a",
        "an",
        "assistant",
        "yes",
    ]
)
_ALONE_AFTER = re.compile(
    r"\s*[\"'*_`)\]}>]{0,6}\s*(?:$|[.,:;!?\n(\[{<|*-]|(?:because|since|as|due|with|given)\b"
    r"|is\s+(?:my|the)\s+(?:\w+\s+)?(?:answer|verdict|label|conclusion|choice)\b|[^\x00-\x7f])"
)
_ENDS_AFTER = re.compile(
    r"(?:\s+(?:video|clip|footage|recording|film))?\s*[\"'*_`)\]}>]{0,6}\s*"
    r"(?:$|[.,:;!?\n|*</]|-{1,2}\s|\((?!\s*\w\s*\))|it\s+is\b|is\s+(?:my|the)\b|[^\x00-\x7f])"
)
_SENTENCE_END = re.compile(r"[.!?;](?!\d)|\n")
_SENTENCE_STARTS = re.compile(
    r"\s+(?:The|There|It|This|A|An|I|No|Around|At|From|In|Coordinates)\b"
)  # "Answer: FAKE The hand melts"
_YES_NO = re.compile(r"[\s\"'*]*(?P<said>yes|yep|yeah|no|nope|nah|correct|indeed|absolutely|definitely)\b", re.I)

_YES_OR_NO = r"(?:yes|no|true|false)(?!\s+(?-i:(?!real|fake|ai)[a-z]))"  # not "REAL - no anomalies"
_VALUE = rf"(?P<value>{_YES_OR_NO}|[✓✔✅☑✗✘❌☐]|\d+(?:[.,]\d+)?(?:\s*%|\s*percent\b)?)(?![\w:\[]|[.,]\d)"
_VALUE_AFTER = re.compile(
    rf"(?:\s+(?:videos?|clips?|footage|content|recordings?|origin)\b)?[\"'*_`\s)]{{0,4}}(?:(?P<cue>probability|likelihood|score|chance)[\"'*_`\s]{{0,4}})?(?:[:=|(]|\s-|(?:\s+is\b)|(?=\s*(?:[✓✔✅☑✗✘❌☐]|\d+(?:[.,]\d+)?\s*%)))"
    rf"[\s\"'*_`|]{{0,4}}{_VALUE}(?!\s*(?:s|sec\w*|ms|px)\b)",
    re.I,
)
_SHARE_BEFORE = re.compile(r"(?P<value>\d+(?:[.,]\d+)?\s*(?:%|percent\b))\s*(?:[A-Za-z']+\s+){0,7}[\"'*(]{0,3}$", re.I)
_CUE_BEFORE = re.compile(
    r"\b(?:probability|likelihood|chance|score|p)\b[\s(]*(?:of\s+(?:(?:it|this|the\s+video)\s+)?(?:being\s+)?|that\s+(?:it|the\s+video|this)\s+is\s+|for\s+)?[\"'*]{0,3}$",
    re.I,
)
_LIKELY = re.compile(r"(?:%|\bpercent)\s*(?:probability|likelihood|chance)\b", re.I)  # "there is a 95 % chance that"
_TICK_AFTER = re.compile(r"\s*(?:(?P<yes>\[\s*[x✓✔]\s*\]|[☑✅])|\[\s*\]|☐)", re.I)
_TICK_OPENS = re.compile(r"[\s*•>-]*(?:\[|[☑✅☐])")
_TICK_BEFORE = re.compile(r"(?:(?P<yes>\[\s*[x✓✔]\s*\]|[☑✅])|\[\s*\]|☐)\s*[\"'*]{0,3}$", re.I)
_FAKE_NOUN = r"(?:fake|ai(?:[-_ ]generated)?|generated|synthetic)"
_NAMED_SHARE = re.compile(
    rf"(?<![A-Za-z])(?:{_FAKE_NOUN}[_ -]{{1,2}}(?:probability|prob|likelihood|score|chance)"
    r"|(?:probability|prob|likelihood|chance|p)(?:[_ (]{1,2}(?:of\s+)?(?:(?:being|an?|the\s+video\s+being)\s+)?)"
    rf"{_FAKE_NOUN})(?![A-Za-z])[)\"'*_`\s]{{0,4}}[:=|][\s\"'*_`|~]{{0,4}}"
    r"(?P<value>\d+(?:[.,]\d+)?\s*%?)(?![\w:\[]|[.,]\d)",
    re.I,
)
_WORD_SHARE = re.compile(
    r"\s+(?:is|seems|appears)\s+(?:\w+ly\s+|very\s+|quite\s+)?(?:(?P<low>low|small|slim|negligible|minimal|remote)|high|large)\b",
    re.I,
)  # "the likelihood of it being fake is low"
_MISSED = re.compile(
    r"\b(?:no|zero|devoid|not|without|lacks?|absence|any|free|few|nothing|none|hardly|never|nor)\b|n't\b", re.I
)
_CHOICE = re.compile(r"\b(?:real|fake|ai-generated)\s*(?:/|\bor\b)\s*(?:real|fake|ai-generated)\b", re.I)
_CONCLUDED = re.compile(r"(?:\b(?:so|hence|thus|therefore)|:)[\s\"'*(]*$", re.I)  # "the text is garbled, hence fake"
_ATTRIBUTE = re.compile(r"\W*(?:this|the)\s+", re.I)  # "This AI-generated clip shows a dog"
_NAMED_VIDEO = re.compile(
    r"\s+(?:video|clip|footage|recording)\s+(?:shows|depicts|features|contains|captures|of)\b", re.I
)
_RIVALS = re.compile(
    r"\b(REAL|FAKE)\b[\s:=(]{1,3}(\d+(?:\.\d+)?)\s*(?:/\s*10+)?[\s,;|/)]{1,4}(REAL|FAKE)\b[\s:=(]{1,3}(\d+(?:\.\d+)?)(?:\s*/\s*10+)?(?![\d.:%])",
    re.I,
)  # "REAL 0.2 FAKE 0.8", "REAL: 3/10, FAKE: 7/10"
_CORRECTION = re.compile(
    r"(?:\A|[.!?\n])[\s\"'*(-]*(?:actually|(?:no\s*,?\s*)?wait|correction|scratch\s+that|on\s+second\s+thoughts?|i\s+mean|no\s*,\s*sorry)\b[\s,:.!-]*",
    re.I,
)  # "REAL. No, wait: FAKE"
_PERCENT = re.compile(r"\d+(?:[.,]\d+)?\s*%\s*")
_OPTION = re.compile(r"(?<![^\s(])([A-D])[).:]\s*[\"'*_]{0,3}(REAL|FAKE)\b")
_PICKED = re.compile(r"(?:\n|\banswer\b)\W*(?:is\W+)?(?:option\s+)?\b([A-D])\W*\Z")
_BARE = re.compile(r"\W*(?:the\s+answer\s+is\W+)?(true|false)\W*", re.I)


@dataclass(frozen=True, slots=True)
class Reading:
    """A label, read.

    Attributes:
        label: REAL or FAKE.
        warnings: on how it was read.
        at: where the word REAL or FAKE stands that it was read from; None where it was another word, or a denial.
        p_fake: the probability that the text states beside the labels; None where it states none.
    """

    label: Label
    warnings: tuple[str, ...] = ()
    at: int | None = None
    p_fake: float | None = None


@dataclass(frozen=True, slots=True)
class _Mention:
    """A word that may be a label, in capitals or not."""

    start: int
    end: int
    label: Label
    upper: bool

    @property
    def named(self) -> bool:
        """Whether it is the word itself, not a phrase that means it."""
        return self.end - self.start == 4


@dataclass(frozen=True, slots=True)
class _Claim:
    rank: int
    label: Label
    at: int | None
    concludes: bool
    firm: bool = True


@dataclass
class _Claims:
    """What the mentions of a text claim."""

    found: list[_Claim] = field(default_factory=list)
    shares: dict[Label, float] = field(default_factory=dict)

    @property
    def p_fake(self) -> float | None:
        """The probability of FAKE that the text states, of one of the labels or of both."""
        fake, real = self.shares.get(Label.FAKE), self.shares.get(Label.REAL)
        if fake is not None and real is not None:
            return fake / (fake + real) if fake + real > 0 else None
        return fake if fake is not None else None if real is None else 1.0 - real


def label_of_word(word: str) -> Label | None:
    """The label that one word or short phrase is, whatever its case, quotes and script; None when it is none.

    Examples:
        >>> str(label_of_word("AI-generated")), str(label_of_word("'Real'.")), label_of_word("maybe")
        ('FAKE', 'REAL', None)
    """
    flat = (
        plain(word[:80])
        .lower()
        .replace("_", "-")
        .replace("ai generated", "ai-generated")
        .strip(" \t\r\n\"'`*.!,:;[](){}<>")
    )
    return said.WORDS.get(" ".join(flat.split()))


def refuse_if_declined(text: str) -> None:
    """Raise when `text` declines to answer.

    Raises:
        RefusalError: it does.

    Examples:
        >>> refuse_if_declined("I cannot see anything unnatural.")
        >>> refuse_if_declined("I'm sorry, but I can't help with that.")
        Traceback (most recent call last):
            ...
        deeptrace.errors.RefusalError: the model declined to answer ("I'm sorry")
    """
    if found := said.REFUSAL.search(plain(text)):
        raise RefusalError("", f"the model declined to answer ({' '.join(found.group(0).split())!r})")


def find_label(text: str) -> Reading:
    """The label that `text` states.

    Raises:
        RefusalError: the model declined.
        AnswerError: no label, or both (an echo of "REAL or FAKE").

    Examples:
        >>> str(find_label("FAKE. The hand melts.").label), find_label("It looks fine: REAL").at
        ('FAKE', 15)
        >>> str(find_label("There is no evidence that this video is AI-generated.").label)
        'REAL'
        >>> find_label("REAL or FAKE")
        Traceback (most recent call last):
            ...
        deeptrace.errors.AnswerError: the answer names both REAL and FAKE without deciding
    """
    flat = plain(text)
    claims = _corrected(flat) or _claims_of(flat)
    gives_up = said.GIVES_UP.search(flat) is not None
    for rank in (3, 2, 1, 0):
        group = [claim for claim in claims.found if claim.rank == rank]
        if not group or (rank < 2 and gives_up and not any(claim.concludes for claim in group)):
            continue
        if len({claim.label for claim in group}) > 1 and rank < 2:
            group = [claim for claim in group if claim.firm] or group
        if len({claim.label for claim in group}) > 1 and rank < 2:
            group = [claim for claim in group if claim.concludes] or group
        against = any(claim.label is not group[0].label and claim.firm for claim in claims.found if claim.rank < 2)
        if len({claim.label for claim in group}) > 1 or (rank == 1 and against and not group[0].concludes):
            raise AnswerError(
                "",
                "the answer names both REAL and FAKE"
                if rank
                else "the answer's sentences call the video both real and fake",
            )
        at = next((claim.at for claim in group if claim.at is not None), None)
        warnings = {
            1: ("the label does not open the answer: taken from within it",),
            0: ("no REAL or FAKE: the label is taken from a sentence",),
        }
        return Reading(group[0].label, warnings.get(rank, ()), at, claims.p_fake)
    refuse_if_declined(text)
    if bare := _BARE.fullmatch(flat):
        label = Label.FAKE if bare.group(1).lower() == "true" else Label.REAL
        return Reading(label, (f"a lone {bare.group(1)!r} is read as {label}",))
    named = sorted({mention.label for mention in _mentions(flat)}, reverse=True)
    if not named:
        raise AnswerError("", "the answer has no REAL or FAKE")
    raise AnswerError("", f"the answer names {'both REAL and FAKE' if len(named) > 1 else named[0]} without deciding")


def says_more_than_the_label(sentence: str) -> bool:
    """Whether a sentence says anything but the label: no echo of the question, no "I think that it is FAKE."."""
    if said.ECHO.search(sentence):
        return False
    rest = said.FILLER.sub(" ", said.MENTION.sub(" ", plain(sentence)))
    return re.search(r"[^\W\d_]", rest) is not None


# -- mentions ------------------------------------------------------------------------------------------------------


def _corrected(flat: str) -> _Claims | None:
    """What is claimed after the last "No, wait:"; None where nothing definite is."""
    ends = [found.end() for found in _CORRECTION.finditer(flat)]
    if not ends:
        return None
    claims = _claims_of(" " * ends[-1] + flat[ends[-1] :])
    return claims if any(claim.rank >= 2 for claim in claims.found) else None


def _rivals(flat: str) -> _Claims | None:
    """The larger of two figures beside the two labels; None where there are none."""
    found = _RIVALS.search(flat)
    if found is None or found.group(1).upper() == found.group(3).upper():
        return None
    figures = {Label(found.group(at).upper()): float(found.group(at + 1)) for at in (1, 3)}
    if len(set(figures.values())) == 1:
        return None
    shares = figures if max(figures.values()) <= 1 else {}
    return _Claims([_Claim(2, max(figures, key=lambda label: figures[label]), None, concludes=True)], shares)


def _claims_of(flat: str) -> _Claims:
    if (rivals := _rivals(flat)) is not None:
        return rivals
    claims = _Claims()
    mentions = _mentions(flat)
    offered = {mention for pair in pairwise(mentions) if _offered(*pair, flat) for mention in pair}
    previous = 0
    for mention in mentions:
        if mention not in offered and (claim := _claim(flat, mention, previous, claims)) is not None:
            claims.found.append(claim)
        previous = mention.end
    options = dict(_OPTION.findall(flat))
    if len(set(options.values())) == 2 and (picked := _PICKED.search(flat)) and picked.group(1) in options:
        claims.found.append(_Claim(3, Label(options[picked.group(1)]), None, True))  # "A) REAL B) FAKE. Answer: B"
    claims.found += _lines(flat)
    claims.found += _signs(flat)
    claims.found += [_Claim(0, label, None, concludes=False) for label in labels_in_other_languages(flat)]
    if len(claims.shares) == 2 and claims.shares[Label.FAKE] != claims.shares[Label.REAL]:
        claims.found.append(_Claim(2, max(claims.shares, key=lambda label: claims.shares[label]), None, True))
    if not claims.shares and (named := _NAMED_SHARE.search(flat)) is not None:
        claims.shares.update({Label.FAKE: share} if (share := _share(named.group("value"))) is not None else {})
    return claims


def _offered(first: _Mention, last: _Mention, flat: str) -> bool:
    """Whether two mentions are the two labels to choose from; "not FAKE, REAL" chooses."""
    between = flat[first.end : last.start]
    if "," in between and re.search(r"\bnot\W+$", flat[: first.start][-16:], re.I):
        return False
    if first.label is last.label or not said.OPTIONS.fullmatch(between):
        return False
    alone = not (flat[: first.start] + flat[last.end :]).strip(" \t\n.\"'")  # "fake, real" and nothing else
    return alone or not ("," in between or between.isspace()) or (first.upper and last.upper)


def _mentions(flat: str) -> list[_Mention]:
    found = []
    for hit, _ in zip(said.MENTION.finditer(flat), range(_MOST), strict=False):
        word = hit.group("word")
        label = said.WORDS.get(word.lower().removeprefix("is_"), Label.FAKE)
        found.append(_Mention(hit.start(), hit.end(), label, word in Label.__members__))
    return found


def _claim(flat: str, mention: _Mention, previous: int, claims: _Claims) -> _Claim | None:
    """What a mention claims; a figure beside it goes into `claims.shares`."""
    line = flat[max(flat.rfind("\n", 0, mention.start) + 1, mention.start - _WINDOW) : mention.start]
    sentence = _SENTENCE_END.split(line)[-1]
    clause = said.BREAK.split(
        line[max(previous - mention.start, -len(line)) :] if previous > mention.start - len(line) else line
    )[-1]
    after = flat[mention.end : mention.end + _WINDOW]
    concludes = said.CONCLUDES.search(sentence) is not None
    if (answer := _answered(flat, mention)) is not None:
        return None if answer == 0 else _decided(1, mention, answer < 0, concludes)
    if (share := _WORD_SHARE.match(after)) is not None and _CUE_BEFORE.search(sentence):
        return _decided(0, mention, share.group("low") is not None, concludes)
    value = _value(sentence, after)
    if isinstance(value, bool):
        return _decided(2, mention, not value, concludes)
    if value is not None:
        claims.shares.setdefault(mention.label, value)
        if value < 0.5 or _is_about_a_share(sentence, after):
            return None
    neither = said.NEITHER.search(clause) is not None and said.NEITHER_AFTER.match(after) is not None
    if _is_open(sentence, clause, after, concludes) and not neither:
        return None
    denied = neither or (said.DENIED.search(clause) is not None and not said.NOT_DENIED.search(sentence))
    denied = denied or said.DENIED_AFTER.match(after) is not None
    rank = _rank(line, sentence, clause, after, mention)
    if rank is None:
        return None
    claim = _decided(rank, mention, denied, concludes)
    if rank > 1 or said.APPEARS.search(clause) is None:
        return claim
    stands = claim.label is Label.FAKE or said.CONTRASTED.match(after) is None
    return replace(claim, firm=False) if stands else None


def _is_open(sentence: str, clause: str, after: str, concludes: bool) -> bool:
    """Whether what stands around a mention leaves it open: a doubt, an option, a condition."""
    if (said.UNDECIDED.search(clause) and not said.FIELD.search(sentence)) or said.CANNOT_TELL.search(clause):
        return True
    if said.CONDITION_AFTER.match(after):
        return True
    return said.CONDITION.match(sentence) is not None and not concludes


def _decided(rank: int, mention: _Mention, denied: bool, concludes: bool) -> _Claim:
    if denied:
        return _Claim(rank, Label.REAL if mention.label is Label.FAKE else Label.FAKE, None, concludes)
    return _Claim(rank, mention.label, mention.start if mention.named else None, concludes)


def _rank(line: str, sentence: str, clause: str, after: str, mention: _Mention) -> int | None:
    """How much a mention weighs, 3 to 0; None where it is none of the video."""
    ends = _ALONE_AFTER if mention.upper else _ENDS_AFTER
    field_before = said.FIELD.search(line)
    if field_before is not None and (
        ends.match(after) or _SENTENCE_STARTS.match(after) or (not mention.upper and said.PREDICATE_ENDS.match(after))
    ):
        return 3 if field_before.group("final") else 2
    opens = _opens(line) or _opens(sentence)
    if opens and ends.match(after):
        return 2
    if not mention.upper and ends.match(after) and _CONCLUDED.search(sentence):
        return 0
    if mention.upper:
        return 1 if opens or said.PREDICATE_ENDS.match(after) else None
    if _ATTRIBUTE.fullmatch(sentence) and _NAMED_VIDEO.match(after):
        return 0
    subject = said.SUBJECT.search(_PERCENT.sub("", clause))
    if subject is None or not said.PREDICATE_ENDS.match(after):
        return None
    return None if said.NO_PREDICATE.search(subject.group("between") or subject.group("elided") or "") else 0


def _opens(before: str) -> bool:
    """Whether nothing stands before a label but signs, a marker, a share and words of certainty: "(B) 90 % FAKE"."""
    before = re.sub(r"\d+(?:[.,]\d+)?\s*%|<\w{1,12}>|(?i:\b(?:without|beyond)\s+(?:an?\s+|any\s+)?doubt\b)", "", before)
    before = _CHOICE.sub("", before)
    marker = _MARKER.match(before)
    words = re.findall(r"\w+", before[marker.end() if marker else 0 :])
    return len(words) <= 4 and all(word.lower() in _SURELY for word in words)


def _answered(flat: str, mention: _Mention) -> int | None:
    """Of a mention in a question: 1 where "yes" follows, -1 for "no", 0 for neither; None where it is in none."""
    after = flat[mention.end : mention.end + _WINDOW]
    end = _SENTENCE_END.search(after)
    if end is None or end.group(0) != "?":
        return None
    reply = _YES_NO.match(after, end.end())
    if reply is None:
        return 0
    return -1 if reply.group("said").lower() in ("no", "nope", "nah") else 1


def _value(sentence: str, after: str) -> bool | float | None:
    """Yes or no, or the probability in [0, 1], that stands beside a mention: "REAL: no", "FAKE: 10 %", "90 % FAKE"."""
    after_each = not _TICK_OPENS.match(sentence) and _TICK_AFTER.match(after)  # "REAL [ ] FAKE [x]"
    if ticked := after_each or _TICK_BEFORE.search(sentence):
        return ticked.group("yes") is not None
    found = _VALUE_AFTER.match(after)
    stated = found.group("value").lower() if found else ""
    if stated in ("yes", "true", *"✓✔✅☑"):
        return True
    if stated in ("no", "false", *"✗✘❌☐"):
        return False
    if (
        found is not None
        and stated in ("0", "1")
        and "(" not in found.group(0)
        and re.match(r"\s*(?:$|[,;|)}\n])", after[found.end() :])
    ):
        return stated == "1"
    if not found and (found := _SHARE_BEFORE.search(sentence)) is not None:
        stated = found.group("value")
    share = _share(stated)
    whole = "%" in stated or "percent" in stated or "." in stated
    return share if whole or _is_about_a_share(sentence, after) else None


def _share(stated: str) -> float | None:
    """The probability that a text states, "0.9" or "90 %"; None where it is none."""
    number = value_of(re.sub(r"[^\d.,]", "", stated)) if stated else None
    if number is not None and ("%" in stated or "percent" in stated):
        number /= 100
    return number if number is not None and 0 <= number <= 1 else None


def _is_about_a_share(sentence: str, after: str) -> bool:
    """Whether a mention names what a probability is of: it is no claim then, whatever the probability."""
    if _LIKELY.search(sentence):
        return False
    found = _VALUE_AFTER.match(after)
    return _CUE_BEFORE.search(sentence) is not None or (found is not None and found.group("cue") is not None)


def _lines(flat: str) -> list[_Claim]:
    """Lines that are a label in other words or scripts, alone or in a field: "答案: 假", "Label: ai-generated"."""
    found = []
    for line in re.split(r"\n|(?<=[^\x00-\x7f])[.;]", flat)[:100]:
        named = said.FIELD.search(line[: len(line) - len(line.partition(":")[2])][:80]) if ":" in line else None
        value = re.split(r"[.,;!(]", line.partition(":")[2] if named else line)[0]
        asked = re.search(r"\bor\b.*\?|^\W*(?:real|fake)\s*,\s*(?:real|fake)\W*$", line, re.I) is not None
        if not asked and not any(word in value for word in Label) and (label := label_of_word(value)) is not None:
            found.append(_Claim(2, label, None, concludes=False))
    return found


def _signs(flat: str) -> list[_Claim]:
    """Sentences that see signs of AI generation, or none."""
    found = []
    for hit, _ in zip(said.SIGNS.finditer(flat), range(_MOST), strict=False):
        before = said.BREAK.split(hit.group("before") or hit.group("verb") or hit.group("direct") or "")[-1]
        if said.UNDECIDED.search(before) or said.CANNOT_TELL.search(before):
            continue
        missed = _MISSED.search(before) or said.SIGNS_MISSED.match(flat, hit.end())
        found.append(_Claim(0, Label.REAL if missed else Label.FAKE, None, concludes=False))
    return found
