"""What identifies a value of a plan: a hash of its content."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any


def content_hash(value: Any) -> str:
    """Hash of a plan value, hex; equal for equal content, today and after fields with defaults were added."""
    text = json.dumps(_without_defaults(value), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _without_defaults(value: Any) -> Any:
    """A nested value as JSON, fields at their default left out: a new field then changes no old hash."""
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return value
    kept: dict[str, Any] = {}
    for item in dataclasses.fields(value):
        current = getattr(value, item.name)
        if item.metadata.get("flat"):  # a value that is written as if its fields were those of the whole
            kept |= _without_defaults(current)
            continue
        default = item.default_factory() if item.default_factory is not dataclasses.MISSING else item.default
        if current != default:
            kept[item.name] = _without_defaults(current)
    return kept
