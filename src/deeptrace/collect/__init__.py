"""From raw clips to a dataset: filter, remove duplicates, match camera clips to generated ones, take shortcuts away."""

from __future__ import annotations

from deeptrace.collect.candidates import Candidate, read_candidates
from deeptrace.collect.filters import Limits
from deeptrace.collect.run import Collected, Recipe, collect

__all__ = ["Candidate", "Collected", "Limits", "Recipe", "collect", "read_candidates"]
