"""Audit a dataset: is it what it says, and what gives the label away without looking at a picture."""

from __future__ import annotations

from deeptrace.audit.file_facts import FileFacts, gather, read_facts
from deeptrace.audit.integrity import Finding, Severity
from deeptrace.audit.near_duplicates import near_duplicates, perceptual_hash
from deeptrace.audit.run import Audit, audit
from deeptrace.audit.shortcuts import FeatureResult, Shortcuts, find_shortcuts

__all__ = [
    "Audit",
    "FeatureResult",
    "FileFacts",
    "Finding",
    "Severity",
    "Shortcuts",
    "audit",
    "find_shortcuts",
    "gather",
    "near_duplicates",
    "perceptual_hash",
    "read_facts",
]
