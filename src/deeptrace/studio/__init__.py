"""`deeptrace studio`: the web application to inspect, triage and annotate clips, on one machine without accounts.

Its extra brings FastAPI and SQLAlchemy; this package imports them only in the modules that need them.
"""

from __future__ import annotations

from deeptrace.studio.settings import StudioSettings

__all__ = ["StudioSettings"]
