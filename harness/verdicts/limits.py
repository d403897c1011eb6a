"""Limits of the system: open files as the cause, C2; more files, more ports and TCP Fast Open as the fix, F3."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from harness.inference import CONFIDENCE, Difference
from harness.verdicts.evidence import Evidence, difference, gains
from harness.verdicts.published import FILES, of_program
from harness.verdicts.telling import decided, pending, points, title, undecided
from harness.verdicts.verdict import Finding, Verdict

USUAL, SHORT = "05-files-usual", "05-files-short"
"""Plans in which the server's limit of open files is varied: at the usual limit, and at one that is sure to be met."""
PORTS, SETTINGS = "06-kernel-ports", "06-kernel-settings"
SEARCHED = ("searched", "searched, wider range")
SEARCHED_IN_A_STORM = ("searched ports", "searched ports, wider range")
FAST_OPEN = ("as it is", "Fast Open")
"""Scenarios of 06, the untouched one and the changed one."""
OWN = "Hyper"
"""The article's server, whose number is told."""
MOST_NAMED = 6
"""Conditions without an effect; more of them are counted."""

Changes = Mapping[str, Difference | None]


def c2(evidence: Evidence) -> Verdict:
    """Open files: of each stack, are fewer clients answered under a low limit than under a high one?"""
    runs = [evidence.of_plan(USUAL, "nofile"), evidence.of_plan(SHORT, "nofile"), of_program(evidence, FILES)]
    every = pd.concat(runs)
    if every.empty:
        return pending("C2")
    changes = {condition: change for plan in runs for condition, change in _files(plan).items()}
    findings = [Finding(condition, gains(change)) for condition, change in changes.items() if change is not None]
    return _verdict("C2", findings, changes, every)


def f3(evidence: Evidence) -> Verdict:
    """More files, more ports, Fast Open: does each bring more clients through?"""
    files, program = evidence.of_plan(USUAL, "nofile"), of_program(evidence, FILES)
    ports, settings = evidence.of_plan(PORTS), evidence.of_plan(SETTINGS)
    if ports.empty and settings.empty:
        return pending("F3")
    exhausted = {"a wider port range, more clients than ports": _scenarios(ports, "success_rate", SEARCHED)}
    other = {
        "a wider port range, ports to spare": _scenarios(settings, "success_rate", SEARCHED_IN_A_STORM),
        "Fast Open, at the first try": _scenarios(settings, "first_try_share", FAST_OPEN),
    }
    changes = _files(files) | _files(program) | other
    findings = [Finding(condition, gains(change)) for condition, change in changes.items() if change is not None]
    # How many more clients there are than ports is the plan's choice: any gain shows that it mends what it should.
    findings += [
        Finding(condition, change.mean.low > 0 and change.p < 1 - CONFIDENCE)
        for condition, change in exhausted.items()
        if change is not None
    ]
    return _verdict("F3", findings, exhausted | changes, pd.concat([files, program, ports, settings]))


def _verdict(name: str, findings: Sequence[Finding], changes: Changes, runs: pd.DataFrame) -> Verdict:
    if not any(finding.holds is not None for finding in findings):
        return undecided(name, "There are too few storms, or what they show may be chance.", runs)
    known = {condition: change for condition, change in changes.items() if change is not None}
    holds = {finding.condition: finding.holds for finding in findings}
    helped = [f"{points(known[each].mean)} {each}" for each in holds if holds[each]]
    without = [each for each in holds if holds[each] is False]
    statement = f"Gains in the share of clients answered: {'; '.join(helped) or 'none'}."
    statement += f" None that matters: {_named(without)}." if without else ""
    first = min(known, key=lambda condition: not condition.startswith(OWN))
    measure = f"gain in the share answered in the article's own case: {first}"
    return decided(name, findings, statement, (measure, "difference of shares"), known[first].mean, runs)


def _named(conditions: Sequence[str]) -> str:
    return "; ".join(conditions) if len(conditions) <= MOST_NAMED else f"{len(conditions)} other comparisons"


def _files(runs: pd.DataFrame) -> dict[str, Difference | None]:
    """By stack, scenario and limit: what the highest limit brings over it."""
    found: dict[str, Difference | None] = {}
    for (clients, scenario, server), storms in runs.groupby(["clients", "variant", "server"], observed=True):
        most = storms["nofile"].max()
        for limit in sorted(set(storms["nofile"]) - {most}):
            condition = f"{title(str(server))}, {most:,.0f} files instead of {limit:,.0f}, {clients:,} clients"
            condition += f", {scenario}" if scenario else ""
            found[condition] = difference(storms, "success_rate", "nofile", most, limit)
    return found


def _scenarios(runs: pd.DataFrame, measure: str, pair: tuple[str, str]) -> Difference | None:
    untouched, changed = pair
    return difference(runs, measure, "variant", changed, untouched)
