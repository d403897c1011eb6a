"""Limits of the system: open files as the cause, C2; more files, more ports and TCP Fast Open as the fix, F3."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from analysis.claims.evidence import Evidence
from analysis.claims.published import FILES, FILES_WIDE, of_program
from analysis.claims.telling import decided, part, pending, title, undecided
from analysis.claims.verdict import Finding, Part, Verdict, of_gain
from analysis.published.answers import ENDS
from harness.page.numbers import Unit, points
from harness.thought.comparing import difference
from harness.thought.inference import CONFIDENCE, Difference

USUAL, SHORT = "05-files-usual", "05-files-short"
"""Plans in which the server's limit of open files is varied: at the usual limit, and at one that is sure to be met."""
PORTS, SETTINGS = "06-kernel-ports", "06-kernel-settings"
SEARCHED = ("searched", "searched, wider range")
SEARCHED_IN_A_STORM = ("searched ports", "searched ports, wider range")
FAST_OPEN = ("as it is", "Fast Open")
"""Scenarios of 06, the untouched one and the changed one."""
OWN = (ENDS, "Hyper")
"""So begins the condition whose number is told: the published program, rewritten, in the storm of the text, with the
fewest files; where that was not run, the lab's Hyper."""
MOST_NAMED = 6
"""Conditions without an effect; more of them are counted."""
PORTS_EXHAUSTED, PORTS_TO_SPARE = "a wider port range, more clients than ports", "a wider port range, ports to spare"
FAST_OPEN_TRIED = "TCP Fast Open, at the first try"
_UNIT: Unit = "difference of shares"


@dataclass(frozen=True)
class Change:
    """What a change brings, and the storms that say so; no difference where they are too few."""

    found: Difference | None
    runs: pd.DataFrame


Changes = Mapping[str, Change]


def c2(evidence: Evidence) -> Verdict:
    """Open files: of each stack, are fewer clients answered under a low limit than under a high one?"""
    runs = [*_of_program(evidence), evidence.of_plan(USUAL, "nofile"), evidence.of_plan(SHORT, "nofile")]
    every = pd.concat(runs)
    if every.empty:
        return pending("C2")
    changes = {condition: change for plan in runs for condition, change in _files(plan).items()}
    findings = [of_gain(name, change.found) for name, change in changes.items() if change.found is not None]
    return _verdict("C2", findings, changes, every)


def f3(evidence: Evidence) -> Verdict:
    """More files, more ports, Fast Open: does each bring more clients through?"""
    files = [*_of_program(evidence), evidence.of_plan(USUAL, "nofile")]
    ports, settings = evidence.of_plan(PORTS), evidence.of_plan(SETTINGS)
    if ports.empty and settings.empty:
        return pending("F3")
    exhausted = {PORTS_EXHAUSTED: _variants(ports, "success_rate", SEARCHED)}
    other = {
        PORTS_TO_SPARE: _variants(settings, "success_rate", SEARCHED_IN_A_STORM),
        FAST_OPEN_TRIED: _variants(settings, "first_try_share", FAST_OPEN),
    }
    more_files = {condition: change for plan in files for condition, change in _files(plan).items()}
    changes = more_files | other
    findings = [of_gain(name, change.found) for name, change in changes.items() if change.found is not None]
    # How many more clients there are than ports is the plan's choice: any gain shows that it mends what it should.
    findings += [
        Finding(condition, change.found.mean.low > 0 and change.found.p < 1 - CONFIDENCE)
        for condition, change in exhausted.items()
        if change.found is not None
    ]
    named = {name: change for name, change in more_files.items() if name == _own(more_files)} | exhausted | other
    return _verdict("F3", findings, changes | exhausted, pd.concat([*files, ports, settings]), named)


def _verdict(
    name: str, findings: Sequence[Finding], changes: Changes, runs: pd.DataFrame, one_by_one: Changes | None = None
) -> Verdict:
    """``one_by_one`` are what the claim names, each of which gets its number, also where there is no gain."""
    if not any(finding.holds is not None for finding in findings):
        return undecided(name, "There are too few storms, or what they show may be chance.", runs)
    known = {condition: change.found for condition, change in changes.items() if change.found is not None}
    holds = {finding.condition: finding.holds for finding in findings}
    helped = [f"{points(known[each].mean)} {each}" for each in holds if holds[each]]
    without = [each for each in holds if holds[each] is False]
    statement = f"One by one: {_each(one_by_one)}. " if one_by_one else ""
    statement += f"Gains in the share of clients answered: {'; '.join(helped) or 'none'}."
    statement += f" None that matters: {_named(without)}." if without else ""
    first = _own(changes)
    measure = f"gain in the share answered, {_whose(first)}: {first}"
    parts = [_part(condition, change) for condition, change in (one_by_one or {}).items()]
    behind = changes[first].runs["run_id"]
    found = known[first].mean
    return decided(name, findings, statement, (measure, _UNIT), found, runs, value_runs=behind, parts=parts)


def _own(changes: Changes) -> str:
    """The condition whose number is told."""
    known = [condition for condition, change in changes.items() if change.found is not None]
    ranks = {condition: [not condition.startswith(own) for own in OWN] for condition in known}
    return min(known, key=lambda condition: ranks[condition])


def _whose(condition: str) -> str:
    return "the published program, rewritten" if condition.startswith(ENDS) else "of the lab's servers"


def _each(changes: Changes) -> str:
    said = [
        f"{'too few storms' if change.found is None else points(change.found.mean)} {condition}"
        for condition, change in changes.items()
    ]
    return "; ".join(said)


def _part(condition: str, change: Change) -> Part:
    return part(condition, _UNIT, None if change.found is None else change.found.mean)


def _named(conditions: Sequence[str]) -> str:
    return "; ".join(conditions) if len(conditions) <= MOST_NAMED else f"{len(conditions)} other comparisons"


def _of_program(evidence: Evidence) -> list[pd.DataFrame]:
    """The storms on the published program, with netdev_max_backlog as it is, and raised."""
    # Its variants are its servers.
    return [of_program(evidence, plan).assign(variant="") for plan in (FILES, FILES_WIDE)]


def _files(runs: pd.DataFrame) -> dict[str, Change]:
    """By stack, variant and limit: what the highest limit brings over it."""
    found: dict[str, Change] = {}
    for (clients, variant, server), storms in runs.groupby(["clients", "variant", "server"], observed=True):
        most = storms["nofile"].max()
        queue = ", raised netdev_max_backlog" if storms["wide"].any() else ""
        for limit in sorted(set(storms["nofile"]) - {most}):
            condition = f"{title(str(server))}, {most:,.0f} files instead of {limit:,.0f}, {clients:,} clients"
            condition += (f", {variant}" if variant else "") + queue
            both = storms[storms["nofile"].isin([most, limit])]
            found[condition] = Change(difference(both, "success_rate", "nofile", most, limit), both)
    return found


def _variants(runs: pd.DataFrame, measure: str, pair: tuple[str, str]) -> Change:
    untouched, changed = pair
    both = runs[runs["variant"].isin(pair)]
    return Change(difference(both, measure, "variant", changed, untouched), both)
