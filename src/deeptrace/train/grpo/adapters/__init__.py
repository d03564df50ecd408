"""The grounded reward as the text trainers call it: TRL, verl, ms-swift; each exact to the call its trainer makes.

Each answer is compared with the ground truth of its video, which the dataset carries as text: `Truth.to_json`. No
module imports its trainer. (`deeptrace.reward.adapters` rewards *videos*; these reward *answers about* videos.)
"""

from __future__ import annotations

__all__: list[str] = []
