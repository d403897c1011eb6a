"""Where records of attacks are kept: a file each in a folder of runs, a line each in the reference data."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.events import store

FOLDER = "attacks"
"""Beside the runs of a data folder."""
REFERENCE = "attacks.jsonl"
"""In the reference data, and in copies of it."""


def recorded(data: Path, say: Callable[[str], None] = lambda line: None) -> list[dict[str, Any]]:
    """All records of a folder of runs, oldest first; of one that cannot be read ``say`` is told why."""
    found = []
    for path in sorted((data / FOLDER).glob("*.json")):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            _ = record["plan_hash"], record["host"]["host_id"], record["binary_hash"]  # what tells it from others
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            say(f"the record {path} cannot be read: {type(error).__name__}: {error}")
        else:
            found.append(record)
    return found


def published(reference: Path = store.REFERENCE) -> list[dict[str, Any]]:
    """All records of the reference data; none where there is no such file."""
    path = reference / REFERENCE
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
