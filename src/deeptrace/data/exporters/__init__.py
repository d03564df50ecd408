"""Samples as other programs want them.

Parquet and Hugging Face datasets; fine-tuning conversations; the evaluation kits VLMEvalKit and lmms-eval; and CVAT,
Label Studio, Labelbox, COCO and FiftyOne, which `deeptrace.data.importers` reads back.
"""

from __future__ import annotations

from deeptrace.data.exporters.coco import write_coco
from deeptrace.data.exporters.conversations import CONVERSATION_LAYOUTS, conversations, write_conversations
from deeptrace.data.exporters.cvat import write_cvat
from deeptrace.data.exporters.eval_kits import write_lmms_eval, write_vlmevalkit
from deeptrace.data.exporters.fiftyone import write_fiftyone
from deeptrace.data.exporters.hub import to_dataset, write_hub_folder
from deeptrace.data.exporters.label_studio import write_label_studio
from deeptrace.data.exporters.labelbox import write_labelbox
from deeptrace.data.exporters.parquet import iter_parquet_rows, write_parquet_rows
from deeptrace.data.exporters.shared import Exported

__all__ = [
    "CONVERSATION_LAYOUTS",
    "Exported",
    "conversations",
    "iter_parquet_rows",
    "to_dataset",
    "write_coco",
    "write_conversations",
    "write_cvat",
    "write_fiftyone",
    "write_hub_folder",
    "write_label_studio",
    "write_labelbox",
    "write_lmms_eval",
    "write_parquet_rows",
    "write_vlmevalkit",
]
