"""Where records of attacks are kept: a file each in a folder of runs, a line each in the reference data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness.events import store

FOLDER = "attacks"
"""Beside the runs of a data folder."""
REFERENCE = "attacks.jsonl"
"""In the reference data, and in copies of it."""


def recorded(data: Path) -> list[dict[str, Any]]:
    """All records of a folder of runs, oldest first."""
    return [json.loads(path.read_text()) for path in sorted((data / FOLDER).glob("*.json"))]


def published(reference: Path = store.REFERENCE) -> list[dict[str, Any]]:
    """All records of the reference data; none where there is no such file."""
    path = reference / REFERENCE
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
