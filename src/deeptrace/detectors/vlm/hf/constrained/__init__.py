"""Constrained decoding: a model that can only write an answer which can be read."""

from deeptrace.errors import MissingExtraError

try:
    from deeptrace.detectors.vlm.hf.constrained.grammar import Automaton, answer_pattern
    from deeptrace.detectors.vlm.hf.constrained.masks import TokenTable, token_bytes
except ImportError as error:
    raise MissingExtraError("constrained decoding", "hf") from error

__all__ = ["Automaton", "TokenTable", "answer_pattern", "token_bytes"]
