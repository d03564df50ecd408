"""`deeptrace serve`: the reward over HTTP, for trainers on other machines.

A request's clips are written to a private folder (`scratch`, `inputs`, `url_fetch`), wait in a bounded queue and are
scored in worker processes that can be killed (`scorer`, `worker`); they come back as `schemas.ClipResult`.
`app` puts HTTP around it: our own shape (`routes`), UniRL's and Flow-Factory's (`compat`), with keys and limits in
front (`middleware`). The client is `deeptrace.reward.client`.
"""

from __future__ import annotations

from deeptrace.server.settings import Limits, ServeSettings

__all__ = ["Limits", "ServeSettings"]
