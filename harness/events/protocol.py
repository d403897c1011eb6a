"""Which protocol a run really spoke: what its agents heard from the server, and with which library."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Protocol:
    """``name`` is empty where nothing was heard, and in runs that were recorded before agents said it."""

    name: str
    evidence: str


def heard(reports: Sequence[Mapping[str, Any]]) -> Protocol:
    """What all agents of a run heard together."""
    names = sorted({report["protocol"] for report in reports if report.get("protocol")})
    if not names:
        return Protocol("", "")
    frames: Counter[str] = Counter()
    for report in reports:
        frames.update(report["frames"])
    said = ", ".join(f"{number:,} {name}" for name, number in sorted(frames.items()))
    evidence = f"frames received: {said}" if frames else f"answers begin with {' or '.join(names)}"
    return Protocol(" and ".join(names), f"{evidence}; {', '.join(sorted({report['library'] for report in reports}))}")
