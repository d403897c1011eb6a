"""The audit's table: what its cells say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.page.tables import NO_VALUE

MUCH_LOG_PER_S = 100.0
NUMBERS = ("asked", "effective", "uncapped")
"""Columns that hold numbers."""
Row = Mapping[str, Any]


def number(value: int | None) -> str:
    return NO_VALUE if value is None else f"{value:,}".replace("-", "−")


def cells(row: Row) -> dict[str, str]:
    """Column → what a table says there."""
    return {
        "stack": row["stack"],
        "version": row["version"],
        "asked": number(row["backlog_asked"]),
        "effective": number(row["backlog_effective"]),
        "uncapped": number(row["backlog_uncapped"]),
        "dual stack": yes(row["dual_stack"]),
        "close": yes(row["honours_close"]),
        "kept": yes(row["keeps_alive"]),
        "a wake-up": accepts(row),
        "out of files": out_of_files(row),
    }


def accepts(row: Mapping[str, Any]) -> str:
    """How many connections a wake-up brings, as a table says it."""
    if row["accepts_per_wakeup"] is None:
        return NO_VALUE
    if row["accept_blocks"]:
        return "1 (accept itself waits)"
    if row["accepts_per_wakeup"] > 1 and row["accepts_per_wakeup"] >= (row["burst"] or 0):
        return f"all {row['accepts_per_wakeup']}"
    return str(row["accepts_per_wakeup"])


def out_of_files(row: Mapping[str, Any]) -> str:
    """What it does without a file, as a table says it."""
    word, seen = row["on_emfile"], row["emfile"] or {}
    details = []
    if word == "pauses":
        again = [after for after in seen["resumed_after_ms"] if after is not None]
        longest = max([seen["longest_pause_ms"] or 0, *again])
        details.append(f"up to {longest:,.0f} ms")
    if word in ("spins", "pauses") and (seen["log_lines_per_s"] or 0) >= MUCH_LOG_PER_S:
        details.append(f"{seen['log_lines_per_s']:,.0f} lines of log/s")
    return ", ".join([word.replace("_", " "), *details])


def yes(value: bool | None) -> str:
    return NO_VALUE if value is None else "yes" if value else "no"
