"""What the manifest of a run must hold, so that whoever looks for runs can tell what this one is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"
_NEEDED: Mapping[str, type] = {
    "status": str,
    "plan": dict,
    "plan_hash": str,
    "host": dict,
    "server": dict,
    "agents": list,
}
_OF_AN_ERROR: Mapping[str, type] = {"code": int, "message": str, "next_step": str}


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a run that is over.

    Raises:
        OSError: it is not there, or cannot be read.
        ValueError: it is damaged, or not one of a run.
    """
    found = read_any_manifest(folder)
    _require(found, _NEEDED, "")
    if found.get("error") is not None:
        _require({"error": found["error"]}, {"error": dict}, "")
        _require(found["error"], _OF_AN_ERROR, "error.")
    return found


def read_any_manifest(folder: Path) -> dict[str, Any]:
    """One of a run in whatever phase. Raises: OSError, ValueError, as :func:`read_manifest`."""
    try:
        found = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(found, dict):
        raise ValueError("it is no JSON object")
    return found


def _require(document: Mapping[str, Any], kinds: Mapping[str, type], within: str) -> None:
    for name, kind in kinds.items():
        if name not in document:
            raise ValueError(f"it has no {within}{name}")
        if not isinstance(document[name], kind):
            raise ValueError(f"its {within}{name} is a {type(document[name]).__name__}, not a {kind.__name__}")
