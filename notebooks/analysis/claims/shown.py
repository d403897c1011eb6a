"""A claim's propositions as its notebook shows them: of the reference data, or of what was measured here."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from analysis.claims.evidence import Evidence, gather
from analysis.claims.judge import judge
from analysis.claims.measures import ASKED_OF
from harness.events import store
from harness.lab import Source
from harness.thought.proposition import Proposition


def propositions(source: Source, *claims: str) -> list[Proposition]:
    """Those of the claims, in their order, decided on the runs of ``source``."""
    folder = store.REFERENCE if source == "reference" else store.default_data()
    return [one for verdict in judge(_evidence(folder), claims) for one in verdict.propositions]


@cache
def _evidence(folder: Path) -> Evidence:
    return gather(folder, ASKED_OF)
