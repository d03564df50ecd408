"""The answers that each form of question allows, as patterns: what `prompts.write_answer` writes, and no more.

A pattern of bytes is built by functions (`text`, `one_of`, `either`, ...), turned into a nondeterministic automaton by
Thompson's construction, and read with sets of its states, each set made when first met: which byte may come next, and
how far it is to an end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from deeptrace.prompts import AnswerForm, Style, TimeUnit
from deeptrace.prompts.render import FAKE_OPENING, REAL_SENTENCE
from deeptrace.schema import Category

__all__ = [
    "MAX_TRACES",
    "Automaton",
    "Pattern",
    "answer_pattern",
    "either",
    "many",
    "one_of",
    "optional",
    "sequence",
    "text",
    "utf8_except",
]


@dataclass(frozen=True)
class Pattern:
    """A set of byte strings.

    Attributes:
        kind: "bytes" (one byte of `symbols`), "sequence", "either" or "many" (one or more times `parts[0]`).
        symbols: of kind "bytes".
        parts: of the other kinds; an empty sequence is the empty string.
    """

    kind: str
    symbols: frozenset[int] = frozenset()
    parts: tuple[Pattern, ...] = ()


def one_of(symbols: Iterable[int]) -> Pattern:
    """One byte of `symbols`."""
    return Pattern("bytes", frozenset(symbols))


def text(words: str) -> Pattern:
    """Exactly `words`, in UTF-8."""
    return sequence(*(one_of([byte]) for byte in words.encode()))


def sequence(*parts: Pattern) -> Pattern:
    """One after the other."""
    return Pattern("sequence", parts=parts)


def either(*parts: Pattern) -> Pattern:
    """One of them."""
    return Pattern("either", parts=parts)


def optional(part: Pattern) -> Pattern:
    """It, or nothing."""
    return either(part, sequence())


def many(part: Pattern, *, at_most: int | None = None) -> Pattern:
    """One or more times `part`, `at_most` times where that is said."""
    if at_most is None:
        return Pattern("many", parts=(part,))
    found = part
    for _ in range(at_most - 1):
        found = sequence(part, optional(found))
    return found


def utf8_except(characters: str) -> Pattern:
    """One character of Unicode, in UTF-8, that is neither a control character nor one of the ASCII `characters`."""
    ascii_ = one_of(set(range(0x20, 0x7F)) - set(characters.encode()))
    tail = one_of(range(0x80, 0xC0))
    return either(
        ascii_,
        sequence(one_of([0xC2]), one_of(range(0xA0, 0xC0))),  # not the control characters up to U+009F
        sequence(one_of(range(0xC3, 0xE0)), tail),
        sequence(one_of([0xE0]), one_of(range(0xA0, 0xC0)), tail),
        sequence(one_of([0xE1]), tail, tail),
        # not U+2028 and U+2029, which some take for ends of lines
        sequence(one_of([0xE2]), one_of([0x80]), one_of(set(range(0x80, 0xC0)) - {0xA8, 0xA9})),
        sequence(one_of([0xE2]), one_of(range(0x81, 0xC0)), tail),
        sequence(one_of(range(0xE3, 0xED)), tail, tail),
        sequence(one_of([0xED]), one_of(range(0x80, 0xA0)), tail),
        sequence(one_of([0xEE, 0xEF]), tail, tail),
        sequence(one_of([0xF0]), one_of(range(0x90, 0xC0)), tail, tail),
        sequence(one_of(range(0xF1, 0xF4)), tail, tail, tail),
        sequence(one_of([0xF4]), one_of(range(0x80, 0x90)), tail, tail),
    )


@dataclass
class _State:
    """A state of the nondeterministic automaton: free moves, and moves by a byte."""

    free: list[int] = field(default_factory=list)
    moves: list[tuple[frozenset[int], int]] = field(default_factory=list)


class Automaton:
    """Reads byte strings of one pattern. States are numbers; 0 is the start."""

    def __init__(self, pattern: Pattern) -> None:
        self._nodes: list[_State] = []
        first, self._last = self._add(pattern)
        self._far = self._distances()
        self._sets: list[frozenset[int]] = []
        self._numbers: dict[frozenset[int], int] = {}
        self._steps: dict[tuple[int, int], int | None] = {}
        self._number(self._closed([first]))

    def step(self, state: int, byte: int) -> int | None:
        """The state after one more byte; None where no string of the pattern goes on so."""
        key = (state, byte)
        if key not in self._steps:
            found = [to for node in self._sets[state] for symbols, to in self._nodes[node].moves if byte in symbols]
            self._steps[key] = self._number(self._closed(found)) if found else None
        return self._steps[key]

    def accepts(self, state: int) -> bool:
        """Whether what was read so far is a whole string of the pattern."""
        return self._last in self._sets[state]

    def distance(self, state: int) -> int:
        """The fewest bytes after which a string of the pattern is whole."""
        return min(self._far[node] for node in self._sets[state])

    def read(self, data: bytes, state: int = 0) -> int | None:
        """The state after all of `data`."""
        now: int | None = state
        for byte in data:
            if now is None:
                return None
            now = self.step(now, byte)
        return now

    def _add(self, pattern: Pattern) -> tuple[int, int]:
        """Add the states of `pattern`; its first and its last."""
        first = self._new()
        if pattern.kind == "bytes":
            last = self._new()
            self._nodes[first].moves.append((pattern.symbols, last))
            return first, last
        if pattern.kind == "sequence":
            at = first
            for part in pattern.parts:
                start, end = self._add(part)
                self._nodes[at].free.append(start)
                at = end
            return first, at
        last = self._new()
        for part in pattern.parts:
            start, end = self._add(part)
            self._nodes[first].free.append(start)
            self._nodes[end].free.append(last)
            if pattern.kind == "many":
                self._nodes[end].free.append(start)
        return first, last

    def _new(self) -> int:
        self._nodes.append(_State())
        return len(self._nodes) - 1

    def _closed(self, nodes: Iterable[int]) -> frozenset[int]:
        seen, todo = set[int](), list(nodes)
        while todo:
            node = todo.pop()
            if node not in seen:
                seen.add(node)
                todo += self._nodes[node].free
        # A state without moves by a byte tells nothing, but for the last.
        return frozenset(node for node in seen if self._nodes[node].moves or node == self._last)

    def _number(self, nodes: frozenset[int]) -> int:
        if nodes not in self._numbers:
            self._numbers[nodes] = len(self._sets)
            self._sets.append(nodes)
        return self._numbers[nodes]

    def _distances(self) -> list[int]:
        """Bytes from each state to the last: a breadth-first search backwards, free moves costing nothing."""
        back: list[list[tuple[int, int]]] = [[] for _ in self._nodes]
        for node, state in enumerate(self._nodes):
            for to in state.free:
                back[to].append((node, 0))
            for _, to in state.moves:
                back[to].append((node, 1))
        far = [1 << 30] * len(self._nodes)
        far[self._last] = 0
        todo = deque([self._last])
        while todo:
            node = todo.popleft()
            for before, cost in back[node]:
                if far[node] + cost < far[before]:
                    far[before] = far[node] + cost
                    (todo.append if cost else todo.appendleft)(before)
        return far


MAX_TRACES = 6
"""Most traces of an answer; the data have at most 6 a video."""

_DIGIT = one_of(b"0123456789")
_WORD_START = utf8_except(' <>[]{}"\\')
_PROSE = sequence(_WORD_START, optional(many(utf8_except('<>[]{}"\\'))))
"""An explanation: one line that begins with no space and holds nothing the forms mark their parts with."""


def answer_pattern(form: AnswerForm) -> Pattern:
    """Every answer of the form. A space may stand before it, as tokenizers of words put one there."""
    answers = {Style.SENTENCE: _sentences, Style.TAGS: _tags, Style.JSON: _json}[form.style](form)
    return sequence(optional(text(" ")), answers)


def _whole(digits: int) -> Pattern:
    return either(text("0"), sequence(one_of(b"123456789"), optional(many(_DIGIT, at_most=digits - 1))))


def _fraction(digits: int) -> Pattern:
    return either(text("1"), sequence(text("0"), optional(sequence(text("."), many(_DIGIT, at_most=digits)))))


def _box(form: AnswerForm) -> Pattern:
    number = _fraction(4) if form.space.unit == "fractions" else _whole(4)
    four = [number, *[sequence(text(", "), number)] * 3]
    return sequence(text("["), *four, text("]"))


def _time(form: AnswerForm) -> Pattern:
    if form.times is TimeUnit.FRAMES:
        return _whole(4)
    if form.times is TimeUnit.CLOCK:
        sixties = sequence(one_of(b"012345"), _DIGIT)
        return sequence(_DIGIT, _DIGIT, text(":"), sixties, text("."), _DIGIT, _DIGIT)
    return sequence(_whole(4), optional(sequence(text("."), many(_DIGIT, at_most=2))))


def _sentences(form: AnswerForm) -> Pattern:
    parts = [text("There is an unnatural part")] if not form.box and not form.time else [text("The unnatural part is")]
    if form.box:
        parts += [text(" at "), _box(form)]
    if form.time:
        words = {TimeUnit.SECONDS: " starting ", TimeUnit.CLOCK: " starting ", TimeUnit.FRAMES: " starting frame "}
        parts += [text(words[form.times]), _time(form)]
        parts += [text(" seconds")] if form.times is TimeUnit.SECONDS else []
    parts.append(text("."))
    if form.explanation:
        parts += [text(" The reason is because "), _PROSE]
    one = sequence(*parts)
    more = optional(many(sequence(text("\n"), one), at_most=MAX_TRACES - 1))
    return either(text(REAL_SENTENCE), sequence(text(f"{FAKE_OPENING} "), one, more))


def _tags(form: AnswerForm) -> Pattern:
    tags = []
    if form.box:
        tags.append(sequence(text("<coordinates>"), _box(form), text("</coordinates>")))
    if form.time:
        tags.append(sequence(text("<start_time>"), _time(form), text("</start_time>")))
    if form.explanation:
        tags.append(sequence(text("<explanation>"), _PROSE, text("</explanation>")))
    if not tags:
        return either(text("REAL"), text("FAKE"))
    group = sequence(tags[0], *(sequence(text(" "), tag) for tag in tags[1:]))
    return either(text("REAL"), sequence(text("FAKE"), many(sequence(text("\n"), group), at_most=MAX_TRACES)))


def _json(form: AnswerForm) -> Pattern:
    null = text("null")
    kinds = either(*(text(f'"{kind}"') for kind in Category))
    listed = optional(sequence(kinds, optional(many(sequence(text(", "), kinds), at_most=2))))
    fields = []
    if form.box:
        fields.append(sequence(text('"box": '), either(_box(form), null)))
    if form.time:
        stated = sequence(text('"'), _time(form), text('"')) if form.times is TimeUnit.CLOCK else _time(form)
        fields += [sequence(text(f'"{name}": '), either(stated, null)) for name in ("start_time", "end_time")]
    fields.append(sequence(text('"categories": ['), listed, text("]")))
    if form.explanation:
        fields.append(sequence(text('"explanation": "'), optional(_PROSE), text('"')))
    trace = sequence(text("{"), fields[0], *(sequence(text(", "), part) for part in fields[1:]), text("}"))
    traces = sequence(trace, optional(many(sequence(text(", "), trace), at_most=MAX_TRACES - 1)))
    sure = either(_fraction(2), null)
    opening = [text('", "fake_probability": '), sure, text(', "traces": [')]
    return sequence(
        text('{"label": "'),
        either(sequence(text("REAL"), *opening), sequence(text("FAKE"), *opening, optional(traces))),
        text("]}"),
    )
