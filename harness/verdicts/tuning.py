"""Load tests as the advice, A4: whether a search by test finds a configuration that is good enough and needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from harness.effects import limited
from harness.inference import FEWEST_RUNS, share_of_runs
from harness.report.search import walked
from harness.report.tables import quantile
from harness.search import SEARCHES, Search, Tested, chosen, load_search
from harness.verdicts.evidence import Evidence
from harness.verdicts.telling import decided, pending, title, undecided
from harness.verdicts.verdict import Finding, Verdict

SEARCH, AS_THEY_COME = "07-cheapest", "07-as-they-come"
"""The search, and the plan in which stacks as they come meet the same demand."""


@dataclass(frozen=True, slots=True)
class Untouched:
    """A stack as it comes, held against the target of the search."""

    server: str
    met: int
    storms: int
    needed: bool | None
    """Whether it misses the target, so that there is something to search for; not decided by times that the generator
    took."""


def a4(evidence: Evidence) -> Verdict:
    """Is a configuration found that fresh storms confirm, and would the one that comes by itself not have done?"""
    search = load_search(SEARCHES / f"{SEARCH}.toml")
    runs = evidence.of_trials(one.trial.plan_hash for one in search.candidates)
    if runs.empty:
        return pending("A4")
    tested = walked(search.tried(set(runs["plan_hash"])), runs)
    others = evidence.of_plan(AS_THEY_COME)
    used = pd.concat([runs, others], ignore_index=True)
    target = f"{search.target.success:.1%} of all requests answered, 99% within {quantile(search.target.p99_ms)}"
    found = chosen(tested)
    if found is None and any(one.fate == "under way" for one in tested):
        return undecided("A4", f"The search for {target}, is not over.", used)
    untouched = list(_untouched(search, others, found))
    findings = [Finding("a configuration is found that stands fresh storms", found is not None)]
    if found is not None:  # else it is all the same who misses the target
        findings += [Finding(f"{each.server} as it comes misses the target", each.needed) for each in untouched]
    base = search.candidates[0].trial
    statement = _told(tested, found, target)
    statement += (
        f" That is one demand on one stack, {base.load.clients:,} requests at once on {title(base.server.name)}."
    )
    statement += _dropped(tested, runs) + _queues(found)
    as_they_come = ", ".join(f"{each.server} in {each.met} of {each.storms} storms" for each in untouched)
    statement += f" As they come these meet it: {as_they_come}." if untouched else ""
    fresh = share_of_runs(found.fresh.count(True), len(found.fresh)) if found else None
    measure = "of fresh storms meet the target with what the search found"
    return decided("A4", findings, statement, (measure, "share"), fresh, used)


def _untouched(search: Search, others: pd.DataFrame, found: Tested | None) -> Iterator[Untouched]:
    """The test is of the whole: whoever dropped a packet, server or host, the target is missed."""
    as_it_comes = found.candidate.trial.server.name if found and not found.candidate.changes else None
    for server, storms in others.groupby("server", sort=False):
        both = zip(storms["success_rate"], storms["p99_ms"], strict=True)
        met = sum(search.target.met(success_rate, p99_ms) for success_rate, p99_ms in both)
        needed: bool | None = None
        if len(storms) >= FEWEST_RUNS and met in (0, len(storms)):
            needed = False if met else None if limited(storms) else True
        if server == as_it_comes:  # the search has tested it more often than this plan
            needed = False
        yield Untouched(title(str(server)), met, len(storms), needed)


def _dropped(tested: Sequence[Tested], runs: pd.DataFrame) -> str:
    """Of the storms in which candidates were given up: a target is missed, whoever dropped the packets.

    Only of those that the search had: another plan may have more of the same.
    """
    had = {
        one.candidate.trial.plan_hash: len(one.test) + len(one.fresh)
        for one in tested
        if one.fate in ("given up", "not confirmed")
    }
    number = runs.groupby("plan_hash").cumcount()
    storms = runs[number < runs["plan_hash"].map(had).fillna(0)]
    hit = int((storms["lo_rx_dropped"] > 0).sum())
    return f" In {hit} of {len(storms)} storms of those this host's own input queue dropped packets." if hit else ""


def _queues(found: Tested | None) -> str:
    """What several listeners are besides hands; empty where what was found has one."""
    server = found.candidate.trial.server if found else None
    if server is None or not server.reuseport or (server.accept_loops or 1) < 2:
        return ""
    return f" Its listeners are as many queues, so that its room is {server.accept_loops} times its backlog."


def _told(tested: Sequence[Tested], found: Tested | None, target: str) -> str:
    """What came of the search, and after how many storms."""
    storms = sum(len(one.test) + len(one.fresh) for one in tested)
    if found is None:
        return f"None of {len(tested)} configurations comes to {target}; {storms} storms."
    passed = sum(one.fate in ("given up", "not confirmed") for one in tested)
    said = f"The cheapest of {len(tested)} configurations that reaches {target} is “{found.candidate.name}”, found by "
    said += f"{storms} storms, {len(found.fresh)} of them fresh; {passed or 'none'} that would have been cheaper "
    return said + ("was given up." if passed == 1 else "were given up.")
