"""Annotations from other tools as samples with boxes over time: CVAT, Labelbox, Label Studio, COCO, FiftyOne."""

from __future__ import annotations

from deeptrace.data.importers.coco import read_coco
from deeptrace.data.importers.cvat import read_cvat
from deeptrace.data.importers.fiftyone import read_fiftyone
from deeptrace.data.importers.label_studio import read_label_studio
from deeptrace.data.importers.labelbox import read_labelbox
from deeptrace.data.importers.shared import Imported

__all__ = ["Imported", "read_coco", "read_cvat", "read_fiftyone", "read_label_studio", "read_labelbox"]
