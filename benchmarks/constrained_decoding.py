"""Our masks of an answer's tokens beside xgrammar's and llguidance's, over a vocabulary of real size.

    pip install '.[hf]' xgrammar llguidance tiktoken
    python benchmarks/constrained_decoding.py qwen.tiktoken

The three read one pattern, `answer_pattern`: ours as it is, the others as the same regular expression. Asked of each:
how long it takes until it can begin, how long the masks of an answer take, whether the masks are the same tokens all
along a random answer, how many answers of a model that prefers anything are whole within so many tokens, and whether
`p_fake` stays what the model alone says. The vocabulary is a file of tiktoken ranks, as Qwen's is, which the package
`dashscope` carries; the model is one that draws its logits at random, which is the worst case for all three.
"""

from __future__ import annotations

import argparse
import base64
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from deeptrace.detectors.vlm.hf.constrained import Automaton, TokenTable, answer_pattern
from deeptrace.detectors.vlm.hf.constrained.grammar import Pattern
from deeptrace.detectors.vlm.hf.constrained.masks import ConstrainedAnswers
from deeptrace.errors import AnswerError
from deeptrace.prompts import FINE_TUNING, JSON, ZERO_SHOT, AnswerForm, View, read_answer

FORMS: dict[str, AnswerForm] = {"sentence": FINE_TUNING, "tags": ZERO_SHOT, "json": JSON}
VIEW = View(size=(640, 480), resized=(320, 240), duration_s=5.0)
ROWS_BEYOND = 293  # rows of Qwen's head beyond its ranks: <|endoftext|> first, then tokens that never come
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
BEYOND_ASCII = "\\u00a0-\\u2027\\u202a-\\ud7ff\\ue000-\\U0010ffff"


class Masks(Protocol):
    """One answer's masks: what may come next, as tokens (n,) or written into logits (V,), and what came."""

    def allowed(self, left: int) -> np.ndarray:
        """The tokens (n,) that may come next, `left` of them at most."""

    def masked(self, logits: torch.Tensor, left: int) -> torch.Tensor:
        """Logits (V,), which may be written into, with minus infinity for all others."""

    def take(self, token: int) -> None:
        """`token` came."""


def _literal(byte: int) -> str:
    char = chr(byte)
    return f"\\{char}" if char in r"\^$.|?*+()[]{}/-" else char.replace("\n", r"\n")


def as_regex(pattern: Pattern) -> str:
    """The pattern as a regular expression over characters."""
    if pattern.kind == "bytes":
        whole = "".join(map(_literal, sorted(pattern.symbols)))
        return whole if len(pattern.symbols) == 1 else f"[{whole}]"
    if pattern.kind == "sequence":
        return "".join(map(as_regex, pattern.parts))
    if pattern.kind == "many":
        return f"(?:{as_regex(pattern.parts[0])})+"
    if len(pattern.parts) > 10 and any(len(part.symbols) > 80 for part in pattern.parts):  # `utf8_except`
        return as_regex(pattern.parts[0])[:-1] + BEYOND_ASCII + "]"
    return "(?:" + "|".join(map(as_regex, pattern.parts)) + ")"


class Ours:
    """`TokenTable`, with and without a limit of tokens."""

    def __init__(self, form: AnswerForm, tokens: list[bytes | None], end: int) -> None:
        self.table, self.end = TokenTable(Automaton(answer_pattern(form)), tokens), end

    def answer(self) -> Masks:
        """A new answer."""
        return _OurMasks(self)


class _OurMasks:
    def __init__(self, whole: Ours) -> None:
        self.whole, self.state = whole, 0

    def allowed(self, left: int) -> np.ndarray:
        ids = self.whole.table.choices(self.state, left).ids
        return np.append(ids, self.whole.end) if self.whole.table.automaton.accepts(self.state) else ids

    def masked(self, logits: torch.Tensor, left: int) -> torch.Tensor:
        allowed = torch.from_numpy(self.allowed(left))
        kept = logits.new_full(logits.shape, -torch.inf)
        kept[allowed] = logits[allowed]
        return kept

    def take(self, token: int) -> None:
        choices = self.whole.table.choices(self.state)
        self.state = int(choices.states[np.flatnonzero(choices.ids == token)[0]])


class XGrammar:
    """xgrammar's compiled grammar; the compiler keeps what it has worked out of the vocabulary."""

    def __init__(self, form: AnswerForm, tokens: list[bytes | None], end: int) -> None:
        import xgrammar

        self.lib, self.size = xgrammar, len(tokens)
        info = xgrammar.TokenizerInfo([token or b"" for token in tokens], vocab_size=self.size, stop_token_ids=[end])
        compiler = xgrammar.GrammarCompiler(info, max_threads=1)
        self.compiled = compiler.compile_grammar(xgrammar.Grammar.from_regex(as_regex(answer_pattern(form))))

    def answer(self) -> Masks:
        """A new answer."""
        return _XMasks(self)


class _Bits:
    """What xgrammar and llguidance share: masks as bits, written into logits by xgrammar's kernel."""

    def __init__(self, size: int) -> None:
        import xgrammar

        self.size, self.bits = size, xgrammar.allocate_token_bitmask(1, size)
        self._apply = xgrammar.apply_token_bitmask_inplace

    def fill(self) -> None:
        """Work the mask out."""
        raise NotImplementedError

    def allowed(self, left: int) -> np.ndarray:  # noqa: ARG002 - neither knows how many tokens are left
        self.fill()
        return np.flatnonzero(np.unpackbits(self.bits[0].numpy().view(np.uint8), bitorder="little")[: self.size])

    def masked(self, logits: torch.Tensor, left: int) -> torch.Tensor:  # noqa: ARG002
        self.fill()
        self._apply(logits[None], self.bits)
        return logits


class _XMasks(_Bits):
    def __init__(self, whole: XGrammar) -> None:
        super().__init__(whole.size)
        self.matcher = whole.lib.GrammarMatcher(whole.compiled)

    def fill(self) -> None:
        self.matcher.fill_next_token_bitmask(self.bits)

    def take(self, token: int) -> None:
        assert self.matcher.accept_token(token)


class LLGuidance:
    """llguidance's matcher; lazily worked out, as ours."""

    def __init__(self, form: AnswerForm, tokens: list[bytes | None], end: int) -> None:
        import llguidance
        import llguidance.torch
        import tiktoken
        from llguidance.tiktoken import lltokenizer_from_encoding

        self.lib, self.size = llguidance, len(tokens)
        ranks = {token: at for at, token in enumerate(tokens) if token}
        encoding = tiktoken.Encoding(
            "ranks", pat_str=SPLIT, mergeable_ranks=ranks, special_tokens={"<|endoftext|>": end}
        )
        self.tokenizer = lltokenizer_from_encoding(encoding, n_vocab=self.size, eos_token=end)
        grammar = llguidance.LLMatcher.grammar_from_regex(as_regex(answer_pattern(form)))
        self.first = llguidance.LLMatcher(self.tokenizer, grammar)
        assert not self.first.is_error(), self.first.get_error()

    def answer(self) -> Masks:
        """A new answer."""
        return _LLMasks(self)


class _LLMasks(_Bits):
    def __init__(self, whole: LLGuidance) -> None:
        super().__init__(whole.size)
        self.matcher, self.lib = whole.first.deep_copy(), whole.lib

    def fill(self) -> None:
        self.lib.torch.fill_next_token_bitmask(self.matcher, self.bits, 0)

    def take(self, token: int) -> None:
        assert self.matcher.consume_token(token), self.matcher.get_error()


MAKERS: dict[str, Callable[..., Any]] = {"ours": Ours, "xgrammar": XGrammar, "llguidance": LLGuidance}


def draw(masks: Masks, dice: torch.Generator, rows: int, end: int, budget: int) -> tuple[list[int], list[float]]:
    """An answer of at most `budget` tokens, and the seconds of processor time of each mask and step."""
    said: list[int] = []
    seconds = []
    while len(said) < budget:
        logits = torch.rand(rows, generator=dice)
        began = time.process_time()
        kept = masks.masked(logits, budget - len(said))
        seconds.append(time.process_time() - began)
        token = int(kept.argmax())
        if token == end:
            break
        said.append(token)
        began = time.process_time()
        masks.take(token)
        seconds[-1] += time.process_time() - began
    return said, seconds


def same_masks(made: dict[str, Any], size: int, end: int, seed: int, steps: int) -> dict[str, tuple[int, int]]:
    """Along our random answers without a limit: (masks that are the same tokens, masks) of the others."""
    dice = np.random.default_rng(seed)
    answers = {name: one.answer() for name, one in made.items()}
    counts = dict.fromkeys((name for name in made if name != "ours"), (0, 0))
    for _ in range(steps):
        own = answers["ours"].allowed(1 << 20)
        for name, (same, asked) in counts.items():
            counts[name] = (same + bool(np.array_equal(np.sort(own), answers[name].allowed(0))), asked + 1)
        token = int(own[dice.random(size, np.float32)[own].argmax()])
        if token == end:
            break
        for one in answers.values():
            one.take(token)
    return counts


def whole(text: str, form: AnswerForm, allowed: Automaton) -> bool:
    """Whether it is an answer of the form from its first to its last byte, and can be read."""
    state = allowed.read(text.encode())
    try:
        read_answer(text, form=form, view=VIEW)
    except AnswerError:
        return False
    return state is not None and allowed.accepts(state)


def processors_agree(made: dict[str, Any], tokens: list[bytes | None], end: int) -> dict[str, float]:
    """Largest difference of the label's log odds between a `generate` with and one without each one's masks."""
    from transformers import LogitsProcessorList, Qwen2Config, Qwen2ForCausalLM

    from deeptrace.detectors.vlm.hf.generation import _LabelOdds

    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(tokens), hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, eos_token_id=end, bos_token_id=None, pad_token_id=end,
    )  # fmt: skip
    model = Qwen2ForCausalLM(config).eval()
    sides = [torch.tensor([at for at, token in enumerate(tokens) if token == word]) for word in (b"F", b"R")]
    prompt = torch.randint(0, 1000, (2, 12))
    worst = {}
    for name, one in made.items():
        odds = _LabelOdds(*sides)
        if name == "ours":
            masked: Any = ConstrainedAnswers(one.table, prompt=12, budget=40, ends=[end])
        else:
            masked = _Processor([one.answer() for _ in range(2)], prompt=12, end=end)
        with torch.inference_mode():
            said = model.generate(
                prompt, max_new_tokens=40, do_sample=False, logits_processor=LogitsProcessorList([odds, masked])
            )
            alone = model(said[:, :-1]).logits[:, 11:].float()
        wanted = torch.logsumexp(alone[..., sides[0]], -1) - torch.logsumexp(alone[..., sides[1]], -1)
        worst[name] = float((torch.stack(odds.rows, 1) - wanted).abs().max())
    return worst


class _Processor:
    """A logits processor around the masks of a batch."""

    def __init__(self, answers: list[Any], *, prompt: int, end: int) -> None:
        self.answers, self.prompt, self.end = answers, prompt, end
        self.ended = [False] * len(answers)

    def __call__(self, ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        kept = scores.new_full(scores.shape, -torch.inf)
        for row, one in enumerate(self.answers):
            if ids.shape[1] > self.prompt and not self.ended[row]:
                token = int(ids[row, -1])
                self.ended[row] = token == self.end
                if not self.ended[row]:
                    one.take(token)
            allowed = torch.tensor([self.end]) if self.ended[row] else torch.from_numpy(one.allowed(0))
            kept[row, allowed] = scores[row, allowed]
        return kept


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("vocabulary", type=Path)
    parser.add_argument("--answers", type=int, default=20)
    parser.add_argument("--budget", type=int, default=256)
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines = options.vocabulary.read_text().split("\n")
    tokens: list[bytes | None] = [base64.b64decode(line.split()[0]) for line in lines if line]
    end = len(tokens)
    tokens += [None] * ROWS_BEYOND
    print(f"{len(tokens)} rows, {options.answers} answers a form, at most {options.budget} tokens each\n")
    print("form      library     ready s  first answer ms/token  later: mean  median  95 %   whole  same masks")
    for form_name, form in FORMS.items():
        made, rows, ready = {}, {}, {}
        automaton = Automaton(answer_pattern(form))
        for name, maker in MAKERS.items():
            began = time.process_time()
            made[name] = maker(form, tokens, end)
            ready[name] = time.process_time() - began
            dice = torch.Generator().manual_seed(5)
            times, good = [], 0
            for _ in range(options.answers):
                said, seconds = draw(made[name].answer(), dice, len(tokens), end, options.budget)
                text = b"".join(tokens[token] or b"" for token in said).decode("utf-8", "replace")
                good += whole(text, form, automaton)
                times.append(seconds)
            later = [second * 1e3 for seconds in times[1:] for second in seconds]
            rows[name] = (
                statistics.mean(times[0]) * 1e3,
                statistics.mean(later),
                *np.quantile(later, [0.5, 0.95]),
                good,
            )
        same: dict[str, list[int]] = {}
        for seed in range(options.answers):
            for name, found in same_masks(made, len(tokens), end, seed, 80).items():
                same[name] = [a + b for a, b in zip(same.get(name, [0, 0]), found, strict=True)]
        for name, (first, mean, middle, high, good) in rows.items():
            alike = "" if name == "ours" else f"{same[name][0]}/{same[name][1]}"
            print(
                f"{form_name:9} {name:11} {ready[name]:7.2f}  {first:21.2f}  {mean:11.2f}  {middle:6.2f}  {high:5.2f}  "
                f"{good:2}/{options.answers}  {alike}"
            )
        worst = processors_agree(made, tokens, end)
        print(f"{form_name:9} log odds of the label, largest difference: {worst}\n")


if __name__ == "__main__":
    main()
