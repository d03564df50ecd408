"""Annotations from other tools: Labelbox video exports and CVAT for video, as samples with boxes over time."""

from __future__ import annotations

from deeptrace.data.importers.cvat import read_cvat
from deeptrace.data.importers.labelbox import read_labelbox
from deeptrace.data.importers.shared import Imported

__all__ = ["Imported", "read_cvat", "read_labelbox"]
