"""All claims, in the order in which they are told."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from analysis.claims.claim import CLAIMS
from analysis.claims.evidence import Evidence
from analysis.claims.measures import MEASURES
from analysis.claims.verdict import Verdict
from harness import PROJECT
from harness.events import store
from harness.thought.proposition import decided


def judge(evidence: Evidence, names: Iterable[str] = CLAIMS) -> list[Verdict]:
    """A verdict on each claim, with its propositions and the figures that show them."""
    return [_verdict(evidence, name) for name in names]


def _verdict(evidence: Evidence, name: str) -> Verdict:
    claim = CLAIMS[name]
    figure = _figure(evidence, claim.notebook, claim.figures)
    return Verdict(claim, tuple(decided(asked, MEASURES[asked.id](evidence), figure) for asked in claim.asked))


def _figure(evidence: Evidence, notebook: str, names: Iterable[str]) -> str | None:
    """The committed one, within the project, of the reference data; of other runs what a notebook drew of them."""
    of_reference = evidence.folder == store.REFERENCE
    for name in names:
        path = Path("figures", notebook, f"{name}.png")
        drawn = PROJECT / path if of_reference else evidence.folder / "report" / path
        if drawn.exists():
            return str(path if of_reference else drawn)
    return None
