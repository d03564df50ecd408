"""Strict decoding: a model that can only write an answer which can be read."""

from deeptrace.detectors.transformers.strict.answers import answer_pattern
from deeptrace.detectors.transformers.strict.automaton import Automaton
from deeptrace.detectors.transformers.strict.tokens import TokenTable, token_bytes

__all__ = ["Automaton", "TokenTable", "answer_pattern", "token_bytes"]
