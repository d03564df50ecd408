"""One small module for each trainer that asks for a video reward, exact to the call that trainer makes.

| module | for | video comes as |
|---|---|---|
| `videoalign` | VideoAlign's class, as DanceGRPO hard-codes it | paths |
| `flow_grpo` | flow_grpo | (B, T, C, H, W) floats in [0, 1] |
| `cosmos_rl` | cosmos-rl's reward service | (B, C, T, H, W) uint8 |
| `unirl` | UniRL: its reward service, and local | bytes or paths; (C, T, H, W) floats in [0, 1] |
| `flow_factory` | Flow-Factory | lists of PIL images |
| `trl`, `verl`, `ms_swift` | text GRPO of TRL, verl and ms-swift | paths, bytes or frames that you name |

Importing a module imports no trainer, save for `cosmos_rl` and `flow_factory`, whose classes must inherit from it, and
`unirl_service`, which registers the scorer of `unirl`.
"""

from __future__ import annotations

__all__: list[str] = []
