"""Limits of the system: open files as the cause, C2; more files, more ports and TCP Fast Open as the fix, F3."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from harness.inference import Difference
from harness.verdicts.evidence import MATTERS, Evidence, difference, gains
from harness.verdicts.telling import decided, pending, points, title, undecided
from harness.verdicts.verdict import Finding, Verdict

FILES = ("05-files-usual", "05-files-short")
"""Plans in which the server's limit of open files is varied: at the usual limit, and at one that is sure to be met."""
USUAL = FILES[0]
PORTS, SETTINGS = "06-kernel-ports", "06-kernel-settings"
SEARCHED = ("searched", "searched, wider range")
PORTS_OF_A_STORM = ("searched ports", "searched ports, wider range")
FAST_OPEN = ("as it is", "Fast Open")
"""Scenarios of 06, the untouched one and the changed one."""


def c2(evidence: Evidence) -> Verdict:
    """Open files: are fewer clients answered under a low limit than under a high one, all stacks together?"""
    runs = {name: evidence.of_plan(name, "nofile") for name in FILES}
    every = pd.concat(runs.values())
    if every.empty:
        return pending("C2")
    changes = {kind: change for name in FILES for kind, change in _files(runs[name]).items()}
    return _verdict("C2", changes, every, "Answered with more open files: ", _whom(every))


def f3(evidence: Evidence) -> Verdict:
    """More files, more ports, Fast Open: does each bring more clients through?"""
    files, ports, settings = evidence.of_plan(USUAL, "nofile"), evidence.of_plan(PORTS), evidence.of_plan(SETTINGS)
    if ports.empty and settings.empty:
        return pending("F3")
    changes = _files(files) | {
        "a wider port range, more clients than ports": _scenario(ports, "success_rate", *SEARCHED),
        "a wider port range, ports to spare": _scenario(settings, "success_rate", *PORTS_OF_A_STORM),
        "Fast Open, at the first try": _scenario(settings, "first_try_share", *FAST_OPEN),
    }
    return _verdict("F3", changes, pd.concat([files, ports, settings]), "Answered by each change: ", "")


def _verdict(name: str, changes: Mapping[str, Difference | None], runs: pd.DataFrame, lead: str, whom: str) -> Verdict:
    known = {kind: change for kind, change in changes.items() if change is not None}
    findings = [Finding(kind, gains(change)) for kind, change in known.items()]
    if not any(finding.holds is not None for finding in findings):
        return undecided(name, "There are too few storms, or what they show may be chance.", runs)
    statement = lead + "; ".join(f"{points(change.mean)} with {kind}" for kind, change in known.items()) + f".{whom}"
    kind, change = next(iter(known.items()))
    return decided(name, findings, statement, (f"answered, {kind}: gain", "difference of shares"), change.mean, runs)


def _files(runs: pd.DataFrame) -> dict[str, Difference | None]:
    """By scenario and limit: what the highest limit brings over it, block by block within each stack."""
    if runs.empty:
        return {}
    most, found = runs["nofile"].max(), {}
    for (clients, scenario), storms in runs.groupby(["clients", "variant"], observed=True):
        for limit in sorted(set(storms["nofile"]) - {most}):
            kind = f"{most:,.0f} files instead of {limit:,.0f}, {clients:,} clients{scenario and f', {scenario}'}"
            found[kind] = difference(storms, "success_rate", "nofile", most, limit, ("server",))
    return found


def _scenario(runs: pd.DataFrame, measure: str, untouched: str, changed: str) -> Difference | None:
    return difference(runs, measure, "variant", changed, untouched)


def _whom(runs: pd.DataFrame) -> str:
    """Which stacks lose more than what matters under the lowest limit that they were given."""
    medians = runs.groupby(["server", "nofile"])["success_rate"].median().unstack()
    lost = medians.max(axis=1) - medians.min(axis=1)
    whom = ", ".join(f"{title(str(server))} {share:.0%}" for server, share in lost[lost > MATTERS].items())
    return f" At the worst limit these lose: {whom}." if whom else ""
