"""Fewer connections as the advice: HTTP/2, A1, and pools, A2, both against a connection for each request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from analysis.claims.evidence import Evidence
from analysis.claims.telling import PACED, decided, pending, title, undecided
from analysis.claims.verdict import Finding, Verdict
from analysis.mitigations.fewer import TOLD, Bound, Way, comparisons
from analysis.mitigations.policies import HTTP2, NOTHING_HELD, PLAIN, POOL, over_connections, slower_than
from analysis.mitigations.policies_told import of_servers, out_of_files
from harness.page.notebook import percent, span
from harness.page.numbers import with_spread
from harness.thought.comparing import difference, gains, limited, ratio
from harness.thought.runs import with_options

FEW = "07-few-connections"
"""The plan that says it: each way with as many client processes, and with a raised netdev_max_backlog."""
POOLS, MULTIPLEXED, HELD = "07-pools", "07-http2", "07-held-connection"
"""Further plans: pools and the plain storm, HTTP/2 on the same stacks, and one connection that stalls."""
OWN = "hyper"
"""The article's server, whose number is told."""
KNEE_WITHIN = 0.1
"""A pool is as good as the best one if its 99th percentile is no more than this above it, as in notebook 07."""
SLOW_MS = 200
"""A request that waits for a stalled connection; in a calm storm of that plan none takes as long."""
UNSHARED = "pool of 50"
"""The variant of :data:`HELD` in which a stalled connection has one request to itself."""
_WAYS, _JOINED = {POOL: "a pool", HTTP2: "HTTP/2"}, {POOL: "of", HTTP2: "over"}
_SWEEP = "in the sweep"
_SIGNS: Mapping[Bound, str] = {"equal": "", "at most": "at most ", "at least": "at least "}
_TIME, _CPU, _MEMORY = "wanted_p99_ms", "cpu_us_per_answer", "peak_rss_bytes"


@dataclass(frozen=True)
class Ground:
    """Storms that may be held against each other: fewer connections of one kind, and the plain storm."""

    name: str
    """What tells its kinds of storm from those of another ground; empty for the one that is told first."""
    runs: pd.DataFrame
    over: str

    @cached_property
    def found(self) -> list[Way]:
        """Of each stack and number of connections, in order."""
        chosen = self.runs[self.runs["over"].isin([PLAIN, self.over])]
        servers = list(dict.fromkeys(chosen["server"]))
        return sorted(comparisons(chosen), key=lambda one: (servers.index(one.server), one.pool))

    @property
    def told(self) -> list[Way]:
        """Those of as many connections as are told."""
        return [one for one in self.found if one.pool == TOLD[self.over]]

    def findings(self) -> Iterator[Finding]:
        where = f", {self.name}" if self.name else ""
        named = {f"{title(one.server)}, {way(one.over, one.pool)}{where}": one for one in self.found}
        yield from (Finding(f"answers and latency, {name}", one.better_for_clients) for name, one in named.items())
        yield from (Finding(f"CPU time, {name}", one.better_for_the_server) for name, one in named.items())


def a1(evidence: Evidence) -> Verdict:
    """HTTP/2: are clients better off with it than with a connection for each, and what if one of its few stalls?"""
    few = _storms(evidence, FEW)
    swept, multiplexed = _storms(evidence, POOLS), _storms(evidence, MULTIPLEXED)
    asked = pd.concat([few[few["over"] == HTTP2], multiplexed], ignore_index=True)
    if asked.empty:
        return pending("A1")
    grounds = _grounds(_spoken(few), pd.concat([swept, _spoken(multiplexed)], ignore_index=True), HTTP2)
    weighed = [finding for ground in grounds for finding in ground.findings()]
    held = _held(evidence)
    kept = (PLAIN, HTTP2)
    used = pd.concat([*(_compared(ground, kept) for ground in grounds), held], ignore_index=True)
    if not any(finding.holds is not None for finding in weighed):
        unlike = int((asked["protocol"] != HTTP2).sum())
        reason = f"In {unlike} of {len(asked)} storms of HTTP/2 something else was spoken. " if unlike else ""
        return undecided("A1", f"{reason}{_undecided(grounds)}", pd.concat([asked, used]))
    statement = f"{_told(grounds)}{_against_a_pool(grounds[0].runs)} {_stalled(held)}"
    return _verdict("A1", [*weighed, *_stalls(held)], statement, grounds[0], used)


def a2(evidence: Evidence) -> Verdict:
    """Pools: are clients better off with one than with a connection for each request, and what does the server save?"""
    swept = _storms(evidence, POOLS)
    grounds = _grounds(_storms(evidence, FEW), swept, POOL)
    if not grounds:
        return pending("A2")
    weighed = [finding for ground in grounds for finding in ground.findings()]
    used = pd.concat([_compared(ground, (PLAIN, POOL)) for ground in grounds], ignore_index=True)
    if not any(finding.holds is not None for finding in weighed):
        return undecided("A2", _undecided(grounds), used)
    statement = _told(grounds)
    if len(swept):
        statement += " Of the sizes tried, the smallest and the largest pool whose 99th percentile is within "
        statement += f"{KNEE_WITHIN:.0%} of the best pool's: {of_servers(swept, KNEE_WITHIN, title)}."
    return _verdict("A2", weighed, statement, grounds[0], used)


def way(over: str, connections: int) -> str:
    """How requests were carried, in words."""
    return over if over == PLAIN else f"{_WAYS[over]} {_JOINED[over]} {connections:,}"


def _storms(evidence: Evidence, plan: str) -> pd.DataFrame:
    """The storms with how they connected, the article's server first."""
    runs = over_connections(evidence.of_plan(plan, "processes"))
    return runs.sort_values("server", kind="stable", key=lambda names: names.where(names != OWN, ""))


def _spoken(runs: pd.DataFrame) -> pd.DataFrame:
    """Without those in which HTTP/2 was asked for and something else was heard."""
    return runs[(runs["over"] != HTTP2) | (runs["protocol"] == HTTP2)]


def _grounds(few: pd.DataFrame, swept: pd.DataFrame, over: str) -> list[Ground]:
    """Those on which there are such storms; the first is told in full."""
    there = [(name, runs) for name, runs in (("", few), (_SWEEP, swept)) if (runs["over"] == over).any()]
    return [Ground(name if place else "", runs, over) for place, (name, runs) in enumerate(there)]


def _compared(ground: Ground, over: Sequence[str]) -> pd.DataFrame:
    """Its storms that the statement stands on: those that are compared, and the pool that HTTP/2 is held against."""
    runs, size = ground.runs, _shared_size(ground.runs)
    return runs[runs["over"].isin(list(over)) | ((runs["over"] == POOL) & (runs["pool"] == size))]


def _verdict(name: str, findings: Sequence[Finding], statement: str, ground: Ground, runs: pd.DataFrame) -> Verdict:
    """Its number is the article's server's: the latency, or where that is not the server's own, its CPU time."""
    own = next((one for one in ground.told if one.server == OWN), None)
    if own is None:
        return decided(name, findings, statement, ("no number without Hyper", "ratio"), None, runs, name_open=False)
    timed = own.ratios[_TIME] is not None and own.bounds[_TIME] == "equal"
    number, what = (own.ratios[_TIME], "99th percentile") if timed else (own.ratios[_CPU], "CPU time per answer")
    measure = f"Hyper's {what} with {way(own.over, own.pool)}, over that of the plain storm"
    if number is None:
        return decided(name, findings, statement, (measure, "ratio"), None, runs, name_open=False)
    behind = [*own.storms["run_id"], *own.plain["run_id"]]
    return decided(
        name, findings, statement, (measure, "ratio"), number.ratio, runs, name_open=False, value_runs=behind
    )


def _told(grounds: Sequence[Ground]) -> str:
    """Everything of the first ground; of others who is answered, and in how many kinds of storm it is no better."""
    first, *others = grounds
    said = f"{int(first.runs['planned'].max()):,} requests wanted at once{_clients(first.runs)}. {_answered(first)}"
    said += f"{_multiples(first)}{_counts(first)}"
    return said + "".join(f" In the sweep: {_answered(ground)}{_counts(ground)}" for ground in others)


def _clients(runs: pd.DataFrame) -> str:
    """With how many client processes, where the plan says so: then each way has as many."""
    asked = runs["processes"]
    return f", {asked.iloc[0]:.0f} client processes each way" if asked.notna().all() and asked.nunique() == 1 else ""


def _answered(ground: Ground) -> str:
    """Of each stack in its worst storm, and in how many of its storms this host lost packets."""
    runs, size = ground.runs, TOLD[ground.over]
    fewer = runs[(runs["over"] == ground.over) & (runs["pool"] == size)]
    kinds = {"a connection each": runs[runs["over"] == PLAIN], way(ground.over, size): fewer}
    said = [f"with {how}, {_worst(storms)}" for how, storms in kinds.items() if len(storms)]
    return f"Answered in each stack's worst storm: {'; '.join(said)}."


def _worst(storms: pd.DataFrame) -> str:
    said = {}
    for server, of in storms.groupby("server", sort=False):
        dropping = int((of["lo_rx_dropped"] > 0).sum())
        lost = f" (this host's input queue dropped packets in {dropping} of {len(of)})" if dropping else ""
        said[title(str(server))] = f"{percent(of['success_rate'].min())}{lost}"
    if len(set(said.values())) == 1:
        return f"{next(iter(said.values()))} on {'all stacks' if len(said) > 1 else next(iter(said))}"
    return ", ".join(f"{server} {share}" for server, share in said.items())


def _multiples(ground: Ground) -> str:
    """Times, CPU time and memory with as many connections as are told."""
    chosen = ground.told
    named = (("99th percentile of latency", _TIME), ("server's CPU time per answer", _CPU))
    multiples = [f"{what} {', '.join(ratios)}" for what, measure in named if (ratios := _ratios(chosen, measure))]
    if not multiples:
        return ""
    said = f" As multiples of the plain storm, with {way(ground.over, TOLD[ground.over])}: {'; '.join(multiples)}"
    memory = pd.Series([found.ratio.value for one in chosen if (found := one.ratios[_MEMORY])], dtype=float)
    said += f"; its peak memory {span(memory, '{:.2f}'.format)}." if len(memory) else "."
    return said + (f" {PACED}" if any(one.ratios[_CPU] and one.paced for one in chosen) else "")


def _ratios(chosen: Sequence[Way], measure: str) -> list[str]:
    return [
        f"{title(one.server)} {_SIGNS[bound]}{with_spread(found.ratio, 'ratio')}"
        for one in chosen
        if (found := one.ratios[measure]) and (bound := one.bounds.get(measure, "equal")) != "unknown"
    ]


def _counts(ground: Ground) -> str:
    found = ground.found
    said = _counted("Clients are better off", found, [one.better_for_clients for one in found])
    said += _counted("The server takes less CPU time", found, [one.better_for_the_server for one in found])
    files = out_of_files(ground.runs[ground.runs["over"] == ground.over])
    return said + (f" {files}" if files else "")


def _counted(what: str, found: Sequence[Way], holds: Sequence[bool | None]) -> str:
    """In how many kinds of storm it holds, and where it does not."""
    said = f" {what} in {holds.count(True)} of {len(holds)} kinds of storm"
    said += f", undecided {holds.count(None)}" if None in holds else ""
    stacks = {each.server for each in found}
    worse: dict[int, list[str]] = {}
    for each, one in zip(found, holds, strict=True):
        if one is False:
            worse.setdefault(each.pool, []).append(each.server)
    where = [
        f"{pool:,} ({'all stacks' if set(servers) == stacks else ', '.join(map(title, servers))})"
        for pool, servers in sorted(worse.items())
    ]
    return f"{said}; not with {', '.join(where)}." if where else f"{said}."


def _shared_size(runs: pd.DataFrame) -> int | None:
    """How many connections both a pool and HTTP/2 had: as many as are told of HTTP/2, or else of pools."""
    sizes = [set(runs.loc[runs["over"] == over, "pool"]) for over in (HTTP2, POOL)]
    return next((size for size in (TOLD[HTTP2], TOLD[POOL]) if size in sizes[0] & sizes[1]), None)


def _against_a_pool(runs: pd.DataFrame) -> str:
    """What HTTP/2 costs the article's server more than a pool of as many connections.

    Nothing is said where the generator was the limit with either: both then go at the pace of the clients.
    """
    size, own = _shared_size(runs), runs[runs["server"] == OWN]
    if size is None:
        return ""
    both = own[own["pool"].eq(size) & own["over"].isin([HTTP2, POOL])]
    found = ratio(both, _CPU, "over", HTTP2, POOL)
    if found is None or any(limited(storms) for _, storms in both.groupby("over")):
        return ""
    times = with_spread(found.ratio, "ratio")
    return f" Hyper's CPU time per answer with {way(HTTP2, size)} is {times} times that with {way(POOL, size)}."


def _held(evidence: Evidence) -> pd.DataFrame:
    """The storms in which one connection stalls or nothing does, with the share of requests that took longer than it
    may."""
    runs = with_options(evidence.of_plan(HELD), "hold_ms")
    return runs.assign(slow_share=slower_than(runs, SLOW_MS) / runs["planned"] if len(runs) else 0.0)


def _stalls(held: pd.DataFrame) -> Iterator[Finding]:
    """The price: numbers of connections with which more requests are slow than where each has one to itself, and than
    with as many of which none stalls.

    Where that is not so nothing speaks against HTTP/2, and nothing for it.
    """
    for variant in _ways(held):
        controls = [name for name in (UNSHARED, f"{variant}{NOTHING_HELD}") if (held["variant"] == name).any()]
        more = [difference(held, "slow_share", "variant", variant, name) for name in controls]
        if more and all(one is not None and gains(one) for one in more):
            yield Finding(f"a connection stalls, {variant}", False)


def _ways(held: pd.DataFrame) -> list[str]:
    names = dict.fromkeys(held.loc[held["hold_ms"].notna(), "variant"])
    return [str(variant) for variant in names if variant != UNSHARED]


def _stalled(held: pd.DataFrame) -> str:
    stalling = held[held["hold_ms"].notna()]
    shares = stalling.groupby("variant", observed=True)["slow_share"].mean()
    if shares.empty:
        return "What it costs when one of few connections stalls is not recorded."
    said = ", ".join(f"{share:.1%} with {way}" for way, share in shares.items())
    calm = held.loc[held["hold_ms"].isna(), "slow_share"]
    without = f"; without a stall {calm.max():.1%} at most" if len(calm) else ""
    return f"When a connection's packets are lost for a second, slower than {SLOW_MS} ms are {said}{without}."


def _undecided(grounds: Sequence[Ground]) -> str:
    of_plain: Mapping[bool, str] = {
        True: "There is no plain storm to compare with.",
        False: "There are too few storms, what they show may be chance, or the generator was the limit.",
    }
    return of_plain[not any((ground.runs["over"] == PLAIN).any() for ground in grounds)]
