"""Cells of CSV files that spreadsheets show as they are."""

from __future__ import annotations

from typing import Any

__all__ = ["FORMULA_STARTS", "csv_cell"]

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for a formula at the start of a cell."""


def csv_cell(value: Any) -> Any:
    """`value` for a cell. A spreadsheet runs what begins like a formula, and a file's name is not to be trusted.

    Examples:
        >>> csv_cell("=HYPERLINK(A1).mp4"), csv_cell("a=b.mp4"), csv_cell(-0.5), csv_cell(None)
        ("'=HYPERLINK(A1).mp4", 'a=b.mp4', -0.5, '')
    """
    if value is None:
        return ""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA_STARTS) else value
