"""Annotations from other tools and of public datasets as samples with boxes over time."""

from __future__ import annotations

from collections.abc import Mapping

from deeptrace.data.importers.artifacts import read_artifact_bench, read_physion_eval, read_vif
from deeptrace.data.importers.coco import read_coco
from deeptrace.data.importers.cvat import read_cvat
from deeptrace.data.importers.fiftyone import read_fiftyone
from deeptrace.data.importers.label_studio import read_label_studio
from deeptrace.data.importers.labelbox import read_labelbox
from deeptrace.data.importers.labelled import (
    read_faceforensics,
    read_forgerynet,
    read_genvideo,
    read_prompts,
    read_uca,
)
from deeptrace.data.importers.masks import read_masks
from deeptrace.data.importers.shared import DatasetReader, Imported, MediaOf

__all__ = [
    "DATASETS",
    "DatasetReader",
    "Imported",
    "MediaOf",
    "read_artifact_bench",
    "read_coco",
    "read_cvat",
    "read_faceforensics",
    "read_fiftyone",
    "read_forgerynet",
    "read_genvideo",
    "read_label_studio",
    "read_labelbox",
    "read_masks",
    "read_physion_eval",
    "read_prompts",
    "read_uca",
    "read_vif",
]


DATASETS: Mapping[str, DatasetReader] = {
    "artifact-bench": read_artifact_bench,
    "faceforensics": read_faceforensics,
    "forgerynet": read_forgerynet,
    "genvideo": read_genvideo,
    "masks": read_masks,
    "physion-eval": read_physion_eval,
    "prompts": read_prompts,
    "uca": read_uca,
    "vif": read_vif,
}
"""The readers of public datasets, as `deeptrace data import --from` names them."""
