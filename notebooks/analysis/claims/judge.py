"""All claims, in the order in which they are told."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from analysis.claims import allocators, backlog, balancer, connections, limits, pulses, symptoms, tuning
from analysis.claims.evidence import Evidence
from analysis.claims.verdict import CLAIMS, Verdict
from harness import PROJECT
from harness.events import store

RULES: Mapping[str, Callable[[Evidence], Verdict]] = {
    "S1": symptoms.s1,
    "S2": symptoms.s2,
    "S3": pulses.s3,
    "S4": symptoms.s4,
    "C1": backlog.c1,
    "C2": limits.c2,
    "C3": allocators.c3,
    "F1": backlog.f1,
    "F2": allocators.f2,
    "F3": limits.f3,
    "A1": connections.a1,
    "A2": connections.a2,
    "A3": balancer.a3,
    "A4": tuning.a4,
}


def judge(evidence: Evidence) -> list[Verdict]:
    """A verdict on each claim, with the figures that show its runs."""
    verdicts = [RULES[name](evidence) for name in CLAIMS]
    return [dataclasses.replace(verdict, **_figures(evidence, verdict)) for verdict in verdicts]


def _figures(evidence: Evidence, verdict: Verdict) -> dict[str, Any]:
    """The committed ones, within the project, of the reference data; of other runs what notebooks drew of them.

    The one that shows the runs behind the number leads.
    """
    if not verdict.run_ids:
        return {}
    inside = [Path("figures", f"{name}.png") for name in CLAIMS[verdict.claim].figures]
    if evidence.folder == store.REFERENCE:
        drawn = {path: PROJECT / path for path in inside}
    else:
        drawn = {evidence.folder / "report" / path: evidence.folder / "report" / path for path in inside}
    shown = {path: runs for path, place in drawn.items() if (runs := _runs(place)) & set(verdict.run_ids)}
    behind = set(verdict.value_run_ids)
    ordered = sorted(shown, key=lambda path: not behind <= shown[path])
    return {"figure": str(ordered[0]), "figures": tuple(map(str, ordered))} if ordered else {}


def _runs(figure: Path) -> set[str]:
    """The runs that a figure was made from; none where there is no such figure."""
    about = figure.with_suffix(".json")
    return set(json.loads(about.read_text(encoding="utf-8"))["runs"]) if about.exists() else set()
