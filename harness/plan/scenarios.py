"""Plan files: TOML with the options that all trials share, those that are varied, and named sets of them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.plan.bounds import require
from harness.plan.reading import read_document, table


def read_scenarios(
    path: Path, changes: Mapping[str, Any] | None = None, keys: Sequence[str] = ()
) -> tuple[dict[str, Any], list[tuple[str, dict[str, Any]]]]:
    """(the document of a plan file, with its ``question``, ``repeats`` and ``keep_rows``; (scenario, options) of each
    of its trials). ``changes`` are merged into it table by table; ``keys`` are what it may have beside the usual.

    Raises:
        PlanError: the file cannot be read, is not TOML, or is not a plan.
    """
    read = read_document(path, "plan", "plans/")
    document = {"question": "", "repeats": 1, "keep_rows": 0, **_merge(read, changes or {})}
    unknown = set(document) - {"question", "repeats", "keep_rows", "base", "vary", "scenario", *keys}
    require(not unknown, f"the plan {path} has unknown keys: {', '.join(sorted(unknown))}")
    for name in ("repeats", "keep_rows"):
        require(isinstance(document[name], int), f"{name} in {path} must be a number, not {document[name]!r}")
    base, vary, scenarios = (table(path, document, key) for key in ("base", "vary", "scenario"))
    for option, values in vary.items():
        lists = isinstance(values, list) and bool(values)
        require(lists, f"[vary] {option} in {path} must be a list with values in it, not {values!r}")
    combined = [
        (name, {**base, **table(path, scenarios, name), **dict(zip(vary, values, strict=True))})
        for name in scenarios or {"": {}}
        for values in itertools.product(*vary.values())
    ]
    return document, combined


def _merge(document: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(document)
    for key, value in changes.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merge(merged[key], value) if both else value
    return merged
