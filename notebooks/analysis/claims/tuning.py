"""Load tests as the advice, A4: whether a search by test finds a configuration that is good enough and needed.

One search says something of one demand on one stack, at a cost that is its author's own. So A4 is reproduced only where
searches on more than one stack found something that fresh storms confirm on clean ground, and what they gave up for
storms in which this host's own input queue dropped packets would have been given up without.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.claims.evidence import Evidence
from analysis.claims.telling import decided, pending, title, undecided
from analysis.claims.verdict import Finding, Verdict
from harness.page.search import PASSED, given_up_with_losses, held, walked, with_room
from harness.page.tables import quantile
from harness.plan.search import SEARCHES, Search, Tested, chosen, load_search
from harness.thought.comparing import limited, nothing_dropped, without_drops
from harness.thought.inference import FEWEST_RUNS, share_of_runs

SEARCH, AS_THEY_COME, ROOM = "07-cheapest", "07-as-they-come", "07-hands-or-room"
"""The search, and the plans in which stacks as they come, and queues of several sizes, meet the same demand."""
STACKS = 2
"""On so many at least something has to be found."""


@dataclass(frozen=True, slots=True)
class Untouched:
    """A stack as it comes, held against the target of the search."""

    server: str
    met: int
    storms: int
    shared: int
    """Of these storms, those that the search had itself."""
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
    used = pd.concat([runs, others, _wide(evidence)], ignore_index=True)
    target = f"{search.target.success:.1%} of all requests answered, 99% within {quantile(search.target.p99_ms)}"
    found = chosen(tested)
    if found is None and any(one.fate == "under way" for one in tested):
        return undecided("A4", f"The search for {target}, is not over.", used)
    of_search = held(tested, runs)
    untouched = list(_untouched(search, others, found, set(of_search["run_id"])))
    findings = [Finding("a configuration is found that stands fresh storms", found is not None)]
    if found is not None:  # else it is all the same who misses the target
        findings += [Finding(f"{each.server} as it comes misses the target", each.needed) for each in untouched]
        stacks = _found_on_clean_ground(evidence)
        more = True if len(stacks) >= STACKS else None
        findings.append(Finding("a search on another stack, confirmed on clean ground", more))
    lost = given_up_with_losses(tested, runs)
    rooms = _rooms(search, evidence)
    if lost and found is not None:
        findings.append(Finding("cheaper ones miss the target where nothing is lost", _missed_anyway(lost, rooms)))
    base = search.candidates[0].trial
    statement = _told(tested, found, target)
    statement += (
        f" That is one demand on one stack, {base.load.clients:,} requests at once on {title(base.server.name)}."
    )
    statement += _dropped(tested, of_search, lost) + _by_room(rooms) + _queues(found)
    as_they_come = ", ".join(
        f"{each.server} in {each.met} of {each.storms} storms"
        f"{f' ({each.shared} of them of the search)' if each.shared else ''}"
        for each in untouched
    )
    statement += f" As they come these meet it: {as_they_come}." if untouched else ""
    fresh = share_of_runs(found.fresh.count(True), len(found.fresh)) if found else None
    measure = "of fresh storms meet the target with what the search found"
    best = found.candidate.trial.plan_hash if found else ""
    behind = of_search.loc[of_search["plan_hash"] == best, "run_id"]
    return decided("A4", findings, statement, (measure, "share"), fresh, used, value_runs=behind)


def _untouched(search: Search, others: pd.DataFrame, found: Tested | None, own: set[str]) -> Iterator[Untouched]:
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
        yield Untouched(title(str(server)), met, len(storms), int(storms["run_id"].isin(own).sum()), needed)


def _found_on_clean_ground(evidence: Evidence) -> set[str]:
    """The stacks for which some search found a configuration whose storms, this host's input queue dropping none of
    their packets, confirm it.
    """
    stacks = set()
    for path in sorted(SEARCHES.glob("*.toml")):
        search = load_search(path)
        runs = evidence.runs[evidence.runs["plan_hash"].isin([one.trial.plan_hash for one in search.candidates])]
        tested = walked(search.tried(set(runs["plan_hash"])), runs)
        found = chosen(tested)
        if found is not None:
            storms = held(tested, runs)
            if nothing_dropped(storms[storms["plan_hash"] == found.candidate.trial.plan_hash]):
                stacks.add(found.candidate.trial.server.name)
    return stacks


def _wide(evidence: Evidence) -> pd.DataFrame:
    """Storms of the same demand on queues of several sizes, on clean ground with this host's input queue wide."""
    runs = without_drops(evidence.of_plan(ROOM))
    return runs[runs["wide"]]


def _rooms(search: Search, evidence: Evidence) -> Mapping[Any, tuple[int, int]]:
    """Room in all queues together → in how many storms on clean ground the target was met, and of how many."""
    runs = _wide(evidence)
    same_stack = runs[runs["server"] == search.candidates[0].trial.server.name]
    of_room = with_room(same_stack, search.target).astype({"room": int}).groupby("room")["met"]
    return {room: (list(met).count(True), len(met)) for room, met in of_room}


def _missed_anyway(lost: Sequence[Tested], rooms: Mapping[Any, tuple[int, int]]) -> bool | None:
    """Whether queues with at least as much room miss the target on clean ground more often than not.

    None where nothing larger was tested. A candidate that leaves the backlog as it comes has what it comes with, which
    is less than any that is asked for here.
    """
    asked = max((one.candidate.trial.server.backlog or 0) * _listeners(one) for one in lost)
    too_small = [room for room, (met, storms) in rooms.items() if 2 * met < storms]
    return True if asked <= max(too_small, default=-1) else None


def _listeners(one: Tested) -> int:
    server = one.candidate.trial.server
    return (server.accept_loops or 1) if server.reuseport else 1


def _dropped(tested: Sequence[Tested], of_search: pd.DataFrame, lost: Sequence[Tested]) -> str:
    """Of the storms in which candidates were given up: a target is missed, whoever dropped the packets."""
    given_up = [one.candidate.trial.plan_hash for one in tested if one.fate in PASSED]
    storms = of_search[of_search["plan_hash"].isin(given_up)]
    hit = int((storms["lo_rx_dropped"] > 0).sum())
    names = ", ".join(f"“{one.candidate.name}”" for one in lost)
    if not hit:
        return ""
    said = f" In {hit} of the {len(storms)} storms in which cheaper ones were given up this host's own input queue "
    return f"{said}dropped packets: {names}."


def _by_room(rooms: Mapping[Any, tuple[int, int]]) -> str:
    """Whether the same demand is met on clean ground, by room; empty where there are no such storms."""
    told = ", ".join(f"for {room:,} in {met} of {storms} storms" for room, (met, storms) in rooms.items())
    where = "Where it dropped none, with a raised netdev_max_backlog,"
    return f" {where} queues with room {told} meet the target." if told else ""


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
    passed = sum(one.fate in PASSED for one in tested)
    said = f"The cheapest of {len(tested)} configurations that reaches {target} is “{found.candidate.name}”, found by "
    said += f"{storms} storms, {len(found.fresh)} of them fresh; {passed or 'none'} that would have been cheaper "
    return said + ("was given up." if passed == 1 else "were given up.")
