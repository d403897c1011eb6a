"""S3: does a server answer in pulses, and who ends the silence between them?"""

from __future__ import annotations

import pandas as pd

from analysis.claims import published
from analysis.claims.evidence import Evidence
from analysis.claims.telling import decided, part, pending, undecided
from analysis.claims.verdict import Finding, Part, Verdict
from analysis.overflow import rhythm
from harness.errors import PlanError
from harness.page.numbers import Unit
from harness.thought.comparing import nothing_dropped
from harness.thought.inference import FEWEST_RUNS, mean_share

OF_CLAIM = (rhythm.FULL, rhythm.ALONE, rhythm.RESCHEDULED, rhythm.LARGER)
"""Storms on Hyper, which the claim is about; the others are there to compare."""


def s3(evidence: Evidence) -> Verdict:
    """A condition for each kind of storm on Hyper: whether it is silent between bunches of answers for long enough.

    Its cause is told beside it, by three propositions: what a larger backlog takes away, what another schedule of
    retransmissions moves, and that a server with a rhythm of its own comes out as such.
    """
    runs = evidence.of_plan(rhythm.PLAN, "clients")
    if runs.empty:
        return pending("S3")
    try:
        runs = rhythm.with_pulses(runs, evidence.lives, evidence.settings)
    except PlanError:
        return pending("S3", "The rows of these storms' connections are not kept.")
    kinds = {str(kind): storms for kind, storms in runs.groupby("variant", sort=False, observed=True)}
    clean = {kind: storms for kind, storms in kinds.items() if nothing_dropped(storms) and len(storms) >= FEWEST_RUNS}
    findings = [Finding(kind, rhythm.pulsing(clean[kind]).holds) for kind in OF_CLAIM if kind in clean]
    full = next((finding for finding in findings if finding.condition == rhythm.FULL), None)
    if full is None or full.holds is None:
        reason = "Of storms with a full queue there are too few, or this host's input queue dropped packets in them, "
        return undecided("S3", reason + "which makes pulses of its own.", runs)
    used = pd.concat(clean.values())
    statement = f"{'. '.join(map(_capital, rhythm.told(used)))}."
    by_itself, storms_of_it = published.pulses(evidence)
    statement += f" {by_itself}" if by_itself else ""
    mine = clean[rhythm.FULL]
    measure = "of the time between its first answer and its last a Hyper with a full queue is silent"
    number: tuple[str, Unit] = (measure, "share")
    return decided(
        "S3",
        findings,
        statement,
        number,
        mean_share(mine["silent"].to_list()),
        used,
        more_runs=storms_of_it,
        value_runs=mine["run_id"],
        parts=_parts(used),
    )


def _parts(runs: pd.DataFrame) -> list[Part]:
    """The propositions by their numbers."""
    units: dict[str, Unit] = {
        rhythm.REMOVED: "difference of shares",
        rhythm.MOVED: "ratio",
        rhythm.OWN: "share",
    }
    measures = {
        rhythm.REMOVED: "longer silent with a full queue than with a larger backlog",
        rhythm.MOVED: "times as late the second wave of SYNs without linear timeouts",
        rhythm.OWN: "of the silence of a server out of files ended by itself",
    }
    return [part(measures[name], units[name], found.found) for name, found in rhythm.propositions(runs).items()]


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
