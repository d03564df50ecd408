"""Audit a dataset: is it what it says, and what gives the label away without looking at a picture."""

from __future__ import annotations

from deeptrace.data.audit.facts import FileFacts, gather, read_facts
from deeptrace.data.audit.hashes import near_duplicates, perceptual_hash
from deeptrace.data.audit.integrity import Finding, Severity
from deeptrace.data.audit.report import write_html
from deeptrace.data.audit.run import Audit, audit
from deeptrace.data.audit.shortcuts import FeatureResult, Shortcuts, find_shortcuts

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
    "write_html",
]
