"""From the automaton of an answer to the tokens that may come next, and the logits processor that leaves no others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import torch
from transformers import LogitsProcessor

from deeptrace.detectors.vlm.hf.constrained.grammar import Automaton
from deeptrace.errors import ModelError

__all__ = ["Choices", "ConstrainedAnswers", "TokenTable", "token_bytes"]


def token_bytes(tokenizer: Any) -> list[bytes | None]:
    """What each token of a tokenizer adds to the text; None for special and added tokens, which stand for something.

    Knows byte-level tokenizers (Qwen, GPT, Llama 3) and those with a mark for spaces and tokens for single bytes
    (Llama 2, Vicuna).
    """
    size = len(tokenizer)
    names = tokenizer.convert_ids_to_tokens(list(range(size)))
    added = {*tokenizer.added_tokens_decoder, *tokenizer.all_special_ids}
    letters = _byte_letters()
    by_letters = not any(name is not None and name.startswith("▁") for name in names)
    found: list[bytes | None] = []
    for index, name in enumerate(names):
        if name is None or index in added:
            found.append(None)
        elif by_letters:
            found.append(bytes(letters[char] for char in name) if all(char in letters for char in name) else None)
        elif len(name) == 6 and name.startswith("<0x") and name.endswith(">"):
            found.append(bytes([int(name[3:5], 16)]))
        else:
            found.append(name.replace("▁", " ").encode())
    return found


def _byte_letters() -> dict[str, int]:
    """The printable letter by which byte-level tokenizers write each byte (GPT-2's table), turned round."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    other = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + at): byte for at, byte in enumerate(other)}


@dataclass
class _Branch:
    """A node of the tree of all tokens: those that end here, and what may follow."""

    ids: list[int] = field(default_factory=list)
    next: dict[int, _Branch] = field(default_factory=dict)


@dataclass(frozen=True)
class Choices:
    """What may follow a state.

    Attributes:
        ids: (n,) tokens.
        states: (n,) the automaton's state after each.
        distances: (n,) the fewest bytes from there to the end of an answer.
    """

    ids: np.ndarray
    states: np.ndarray
    distances: np.ndarray


class TokenTable:
    """The tokens that may follow each state of an automaton; worked out when first asked for, then kept.

    Args:
        automaton: of the answers.
        tokens: what each token adds to the text.

    Raises:
        ModelError: the tokenizer cannot write the answers byte by byte.
    """

    def __init__(self, automaton: Automaton, tokens: Sequence[bytes | None]) -> None:
        self.automaton = automaton
        self._tree = _Branch()
        for index, data in enumerate(tokens):
            if data:
                branch = self._tree
                for byte in data:
                    branch = branch.next.setdefault(byte, _Branch())
                branch.ids.append(index)
        self._known: dict[int, Choices] = {}
        single = {data[0] for data in tokens if data is not None and len(data) == 1}
        if missing := {0x0A, *range(0x20, 0x7F)} - single:
            shown = ", ".join(repr(chr(byte)) for byte in sorted(missing)[:5])
            raise ModelError("constrained", f"the tokenizer has no token for {shown}", "Use constrained=false.")

    def choices(self, state: int, budget: int | None = None) -> Choices:
        """What may follow `state`.

        Args:
            state: of the automaton.
            budget: tokens that may still be written, this one among them: what could not be ended in time is left
                out, as every byte of an answer can be written by a token of its own. None for no limit.
        """
        known = self._known.get(state)
        if known is None:
            known = self._known[state] = self._walk(state)
        if budget is None or not len(known.ids) or int(known.distances.max()) < budget:
            return known
        kept = known.distances < budget
        return Choices(known.ids[kept], known.states[kept], known.distances[kept])

    def _walk(self, state: int) -> Choices:
        ids: list[int] = []
        states: list[int] = []
        todo = [(self._tree, state)]
        while todo:
            branch, at = todo.pop()
            ids += branch.ids
            states += [at] * len(branch.ids)
            for byte, longer in branch.next.items():
                after = self.automaton.step(at, byte)
                if after is not None:
                    todo.append((longer, after))
        far = {at: self.automaton.distance(at) for at in set(states)}
        return Choices(
            np.array(ids, dtype=np.int64),
            np.array(states, dtype=np.int64),
            np.array([far[at] for at in states], dtype=np.int64),
        )


class ConstrainedAnswers(LogitsProcessor):
    """Leaves each answer of a batch only the tokens that lead to a whole answer within the tokens allowed.

    Made for one call of `generate` without beams.

    Args:
        table: what may follow what.
        prompt: tokens of the padded prompts.
        budget: tokens that an answer may have.
        ends: tokens that end an answer.
    """

    def __init__(self, table: TokenTable, *, prompt: int, budget: int, ends: list[int]) -> None:
        self._table, self._prompt, self._budget = table, prompt, budget
        self._ends = torch.tensor(sorted(ends))
        self._states: list[int | None] = []

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """Scores (B, V) with minus infinity for what may not follow `input_ids` (B, L)."""
        written = input_ids.shape[1] - self._prompt
        if not written:
            self._states = [0] * len(input_ids)
        else:
            self._states = [
                self._after(state, int(token)) for state, token in zip(self._states, input_ids[:, -1], strict=True)
            ]
        kept = scores.new_full(scores.shape, -torch.inf)
        for row, state in enumerate(self._states):
            allowed = self._ends if state is None else self._allowed(state, self._budget - written)
            allowed = allowed.to(scores.device)
            kept[row, allowed] = scores[row, allowed]
        return cast("torch.FloatTensor", kept)

    def _after(self, state: int | None, token: int) -> int | None:
        """The state after `token`; None when the answer has ended."""
        if state is None:
            return None
        choices = self._table.choices(state)
        found = (choices.ids == token).nonzero()[0]
        return int(choices.states[found[0]]) if len(found) else None

    def _allowed(self, state: int, budget: int) -> torch.Tensor:
        allowed = torch.from_numpy(self._table.choices(state, budget).ids)
        return torch.cat([allowed, self._ends]) if self._table.automaton.accepts(state) else allowed
