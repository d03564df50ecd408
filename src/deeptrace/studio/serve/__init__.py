"""`deeptrace serve`: the reward over HTTP, for trainers on other machines.

A request's clips are written to a private folder (`spool`, `inputs`, `fetch`), wait in a bounded queue (`queue`), are
judged in worker processes that can be killed (`workers`, `child`) and come back as `schemas.ClipResult`.
`app` puts HTTP around it: our own shape (`routes`), UniRL's (`unirl`) and Flow-Factory's (`flow_factory`), with keys
and limits in front (`gate`). The client is `deeptrace.reward.client`.
"""

from __future__ import annotations

from deeptrace.studio.serve.settings import Limits, ServeSettings

__all__ = ["Limits", "ServeSettings"]
