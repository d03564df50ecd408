"""Samples as other programs want them: Parquet and Hugging Face datasets, fine-tuning conversations, VLMEvalKit."""

from __future__ import annotations

from deeptrace.data.export.conversations import CONVERSATION_LAYOUTS, conversations, write_conversations
from deeptrace.data.export.hub import to_dataset, write_hub_folder
from deeptrace.data.export.parquet import iter_parquet_rows, write_parquet_rows
from deeptrace.data.export.vlmevalkit import write_vlmevalkit

__all__ = [
    "CONVERSATION_LAYOUTS",
    "conversations",
    "iter_parquet_rows",
    "to_dataset",
    "write_conversations",
    "write_hub_folder",
    "write_parquet_rows",
    "write_vlmevalkit",
]
