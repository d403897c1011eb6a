"""How verdicts are put: with their number and the storms they stand on, undecided, or waiting for data."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import pandas as pd

from analysis.claims.verdict import CLAIMS, Finding, IntervalKind, Part, Verdict, told, word
from harness.page.numbers import Unit, with_spread
from harness.page.tables import NO_VALUE
from harness.thought.inference import Interval

_TITLES = {"go": "Go", "node": "Node.js", "python": "Python", "hyper": "Hyper", "tokio": "Tokio", "actix": "Actix"}
PACED = (
    "Where the generator was the limit, CPU time is the server's at the pace of the clients: a server that is woken "
    "for few requests at a time spends more on each."
)
"""Said beside CPU time for each answer, wherever storms of which that is true are among those compared."""


def pending(name: str, reason: str = "No storms are recorded that say anything of it.") -> Verdict:
    """The statement names the notebook to run."""
    return Verdict(name, "pending", f"{reason} Run `stormlab notebooks {CLAIMS[name].notebook} -p source here`.")


def undecided(
    name: str, reason: str, runs: pd.DataFrame, more_runs: Iterable[str] = (), parts: Sequence[Part] = ()
) -> Verdict:
    """There are storms, and they do not decide; ``more_runs`` are ids of what is in no such frame.

    ``parts`` are numbers of what was measured all the same.
    """
    return Verdict(name, "undecidable_here", reason, run_ids=_ids(runs, more_runs), parts=tuple(parts))


def decided(
    name: str,
    findings: Sequence[Finding],
    statement: str,
    measure: tuple[str, Unit],
    found: Interval | None,
    runs: pd.DataFrame,
    *,
    name_open: bool = True,
    more_runs: Iterable[str] = (),
    value_runs: Iterable[str] = (),
    parts: Sequence[Part] = (),
) -> Verdict:
    """With its number, and with the conditions that are left open. A number that has no end is null.

    ``value_runs`` are the ids of the runs behind the number, ``parts`` numbers of what the claim names one by one.
    """
    if name_open and told(findings, None):
        statement += f" Undecided: {told(findings, None)}."
    if full := sum(finding.no_room for finding in findings):
        statement += f" No room for a gain in {full} of {len(findings)} comparisons: next to everybody is answered."
    value, interval, kind, of_runs = _number(found)
    return Verdict(
        name,
        word(findings),
        statement,
        *measure,
        value,
        interval,
        kind,
        of_runs,
        _ids(runs, more_runs),
        value_run_ids=tuple(sorted(value_runs)),
        parts=tuple(parts),
    )


def part(measure: str, unit: Unit, found: Interval | None) -> Part:
    """One number of several; null where there are too few runs."""
    return Part(measure, unit, *_number(found))


def number(verdict: Verdict | Part) -> str:
    """Its value and interval as they are read, ``99.81% (range 99.61% to 99.95%)``; a dash where there is none."""
    if verdict.value is None or verdict.unit is None:
        return NO_VALUE
    without_spread = verdict.value if verdict.of_runs else math.nan
    low, high = verdict.interval or (without_spread, without_spread)
    found = Interval(verdict.value, low, high, verdict.of_runs or 0, verdict.interval_kind or "none")
    return with_spread(found, verdict.unit)


def title(server: str) -> str:
    """A server of the catalogue by the name that its stack has in prose."""
    return _TITLES.get(server, server)


def _number(
    found: Interval | None,
) -> tuple[float | None, tuple[float, float] | None, IntervalKind | None, int | None]:
    """(value, interval, its kind, of how many runs): null is what has no end, and the interval of equal runs."""
    if found is None or not math.isfinite(found.value):
        return None, None, None, None
    if not all(map(math.isfinite, found.ends)):
        return float(found.value), None, None, None
    if found.kind == "none":
        return float(found.value), None, None, int(found.runs)
    return float(found.value), (float(found.low), float(found.high)), found.kind, int(found.runs)


def quoted(kind: str) -> str:
    """The name of a kind of storm in a list of them, as it has commas in it."""
    return f"“{kind}”"


def _ids(runs: pd.DataFrame, more: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({*runs["run_id"], *more}))
