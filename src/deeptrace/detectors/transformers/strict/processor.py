"""The logits processor that keeps a model to an answer's pattern."""

from __future__ import annotations

from typing import cast

import torch
from transformers import LogitsProcessor

from deeptrace.detectors.transformers.strict.tokens import TokenTable

__all__ = ["StrictAnswers"]


class StrictAnswers(LogitsProcessor):
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
