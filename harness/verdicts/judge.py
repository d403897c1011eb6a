"""All claims, in the order in which they are told."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

from harness import store
from harness.verdicts import allocators, backlog, connections, limits, symptoms
from harness.verdicts.evidence import Evidence
from harness.verdicts.telling import unasked
from harness.verdicts.verdict import CLAIMS, Verdict

RULES: Mapping[str, Callable[[Evidence], Verdict]] = {
    "S1": symptoms.s1,
    "S2": symptoms.s2,
    "S3": symptoms.s3,
    "S4": symptoms.s4,
    "C1": backlog.c1,
    "C2": limits.c2,
    "C3": allocators.c3,
    "F1": backlog.f1,
    "F2": allocators.f2,
    "F3": limits.f3,
    "A1": connections.a1,
    "A2": connections.a2,
}
"""Of the advice, A3 and A4 have none yet."""


def judge(evidence: Evidence) -> list[Verdict]:
    """A verdict on each claim, with the figure that shows its runs; those without a rule are pending."""
    verdicts = [RULES[name](evidence) if name in RULES else unasked(name) for name in CLAIMS]
    return [dataclasses.replace(verdict, figure=_figure(evidence, verdict)) for verdict in verdicts]


def _figure(evidence: Evidence, verdict: Verdict) -> str | None:
    """The committed one, within the project, of the reference data; of other runs what a notebook drew of them."""
    claim = CLAIMS[verdict.claim]
    if not claim.figure or not verdict.run_ids:
        return None
    inside = Path("figures", claim.notebook, f"{claim.figure}.png")
    if evidence.folder == store.REFERENCE:
        return str(inside)
    drawn = evidence.folder / "report" / inside
    return str(drawn) if drawn.exists() else None
