"""Fewer connections as the advice: HTTP/2, A1, and pools, A2, both against a connection for each request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from harness.effects import limited
from harness.inference import Difference, Effect
from harness.manners import HTTP2, PLAIN, POOL, over_connections, slower_than, waited_out
from harness.report.manners import of_servers, out_of_files
from harness.report.notebook import percent, span
from harness.results import with_options
from harness.verdicts.evidence import Evidence, difference, gains, ratio, reduces
from harness.verdicts.telling import decided, pending, title, undecided, with_ends
from harness.verdicts.verdict import Finding, Verdict

POOLS, MULTIPLEXED, HELD = "07-pools", "07-http2", "07-held-connection"
"""The plans: pools and the plain storm, HTTP/2 on the same stacks, and one connection that stalls."""
TOLD = {POOL: 100, HTTP2: 10}
"""Of how many connections the numbers are told: fixed, so that no best one is picked from the data."""
OWN = "hyper"
"""The article's server, whose number is told."""
KNEE_WITHIN = 0.1
"""A pool is as good as the best one if its 99th percentile is no more than this above it, as in notebook 07."""
SLOW_MS = 200
"""A request that waits for a stalled connection; in a calm storm of that plan none takes as long."""
UNSHARED = "pool of 50"
"""The scenario of :data:`HELD` in which a stalled connection has one request to itself."""
_WAYS, _JOINED = {POOL: "a pool", HTTP2: "HTTP/2"}, {POOL: "of", HTTP2: "over"}
_PACED = (
    " Where the generator was the limit, CPU time is the server's at the pace of the clients: a server that is woken "
    "for few requests at a time spends more on each."
)
_TIME, _CPU, _MEMORY = "wanted_p99_ms", "cpu_us_per_answer", "peak_rss_bytes"


@dataclass(frozen=True)
class Comparison:
    """One way of connecting on one stack, against the plain storm there; None where there are too few storms."""

    server: str
    over: str
    pool: int
    answered: Difference | None
    time: Effect | None
    """Of the 99th percentile; None too where the plain storm's is the generator's."""
    at_most: bool
    """Whether the generator was the limit, which makes a time longer and never shorter."""
    cpu: Effect | None

    @property
    def better_for_clients(self) -> bool | None:
        """More of them answered, or all as many and sooner."""
        shorter = None if self.time is None else reduces(self.time)
        shorter = None if self.at_most and shorter is False else shorter
        more = None if self.answered is None else gains(self.answered)
        return True if more or shorter else None if more is None or shorter is None else False

    @property
    def better_for_the_server(self) -> bool | None:
        return None if self.cpu is None else reduces(self.cpu)


def a1(evidence: Evidence) -> Verdict:
    """HTTP/2: are clients better off with it than with a connection for each, and what if one of its few stalls?"""
    plain, multiplexed = _storms(evidence, POOLS), _storms(evidence, MULTIPLEXED)
    if multiplexed.empty:
        return pending("A1")
    spoken = multiplexed[multiplexed["protocol"] == HTTP2]
    runs = pd.concat([plain, spoken], ignore_index=True)
    found = _comparisons(runs, HTTP2)
    held = _held(evidence)
    findings = [*_findings(found), *_stalls(held)]
    used = pd.concat([runs[(runs["over"] != POOL) | (runs["pool"] == TOLD[HTTP2])], held])
    if not any(finding.holds is not None for finding in findings[: 2 * len(found)]):
        unlike = len(multiplexed) - len(spoken)
        reason = f"In {unlike} of {len(multiplexed)} storms of HTTP/2 something else was spoken. " if unlike else ""
        return undecided("A1", f"{reason}{_undecided(plain)}", pd.concat([multiplexed, used]))
    statement = f"{_told(found, runs, HTTP2)}{_against_a_pool(runs)} {_stalled(held)}"
    return _verdict("A1", findings, statement, found, used)


def a2(evidence: Evidence) -> Verdict:
    """Pools: are clients better off with one than with a connection for each request, and what does the server save?"""
    runs = _storms(evidence, POOLS)
    if runs.empty:
        return pending("A2")
    found = _comparisons(runs, POOL)
    findings = _findings(found)
    if not any(finding.holds is not None for finding in findings):
        return undecided("A2", _undecided(runs), runs)
    statement = f"{_told(found, runs, POOL)} The smallest pool whose 99th percentile is within {KNEE_WITHIN:.0%} of "
    statement += f"the best pool's: {of_servers(runs, KNEE_WITHIN, title)}."
    return _verdict("A2", findings, statement, found, runs)


def way(over: str, connections: int) -> str:
    """How requests were carried, in words."""
    return over if over == PLAIN else f"{_WAYS[over]} {_JOINED[over]} {connections:,}"


def _storms(evidence: Evidence, plan: str) -> pd.DataFrame:
    """The storms with how they connected."""
    runs = waited_out(over_connections(evidence.of_plan(plan)))
    ways = [way(over, pool) for over, pool in zip(runs["over"], runs["pool"], strict=True)]
    return runs.assign(way=ways)


def _comparisons(runs: pd.DataFrame, over: str) -> list[Comparison]:
    """Of each stack and number of connections, the article's server first."""
    found = []
    for _, storms in runs[runs["over"] == over].groupby(["server", "pool"]):
        server, pool, changed = str(storms["server"].iloc[0]), int(storms["pool"].iloc[0]), storms["way"].iloc[0]
        plain = runs[(runs["server"] == server) & (runs["over"] == PLAIN)]
        both = pd.concat([plain, storms])
        answered = difference(both, "success_rate", "way", changed, PLAIN)
        time, cpu = (ratio(both, measure, "way", changed, PLAIN) for measure in (_TIME, _CPU))
        time = None if limited(plain) else time
        found.append(Comparison(server, over, pool, answered, time, limited(storms), cpu))
    return sorted(found, key=lambda each: (each.server != OWN, each.server, each.pool))


def _findings(found: Sequence[Comparison]) -> list[Finding]:
    named = {f"{title(each.server)}, {way(each.over, each.pool)}": each for each in found}
    of_clients = [Finding(f"answers and latency, {name}", each.better_for_clients) for name, each in named.items()]
    return of_clients + [Finding(f"CPU time, {name}", each.better_for_the_server) for name, each in named.items()]


def _verdict(
    name: str, findings: Sequence[Finding], statement: str, found: Sequence[Comparison], runs: pd.DataFrame
) -> Verdict:
    """Its number is the article's server's: the latency, or where that is not the server's own, its CPU time."""
    own = next((each for each in _of_told_size(found) if each.server == OWN), None)
    if own is None:
        return decided(name, findings, statement, ("no number without Hyper", "ratio"), None, runs, name_open=False)
    timed = own.time is not None and not own.at_most
    number, what = (own.time, "99th percentile") if timed else (own.cpu, "CPU time per answer")
    measure = f"Hyper's {what} with {way(own.over, own.pool)}, over that of the plain storm"
    interval = None if number is None else number.ratio
    return decided(name, findings, statement, (measure, "ratio"), interval, runs, name_open=False)


def _of_told_size(found: Sequence[Comparison]) -> list[Comparison]:
    return [each for each in found if each.pool == TOLD[each.over]]


def _told(found: Sequence[Comparison], runs: pd.DataFrame, over: str) -> str:
    """Who is answered, times, CPU time and memory with so many connections as are told, and where it is no better."""
    fewer, plain = runs[runs["over"] == over], runs[runs["over"] == PLAIN]
    changed = way(over, TOLD[over])
    worst = fewer.loc[fewer["way"] == changed, "success_rate"].min()
    said = (
        f"{int(runs['planned'].max()):,} requests wanted at once. Answered, in the worst storm: {percent(worst)} with "
    )
    said += f"{changed}, {percent(plain['success_rate'].min())} with a connection each."
    chosen = _of_told_size(found)
    times = [_ratio(each.time, each) for each in chosen if each.time is not None]
    cpu = [_ratio(each.cpu, each) for each in chosen if each.cpu is not None]
    multiples = [f"99th percentile of latency {', '.join(times)}"] if times else []
    multiples += [f"server's CPU time per answer {', '.join(cpu)}"] if cpu else []
    if multiples:
        said += f" As multiples of the plain storm, with {changed}: {'; '.join(multiples)}; its peak memory "
        said += f"{_memory(runs, changed)}."
        said += _PACED if any(each.cpu is not None and each.at_most for each in chosen) else ""
    said += _counted("Clients are better off", found, [each.better_for_clients for each in found])
    said += _counted("The server takes less CPU time", found, [each.better_for_the_server for each in found])
    dropping = int((plain["lo_rx_dropped"] > 0).sum())
    spared = f" In {dropping} of {len(plain)} plain storms this host's own input queue dropped packets."
    files = out_of_files(fewer)
    return said + (spared if dropping else "") + (f" {files}" if files else "")


def _counted(what: str, found: Sequence[Comparison], holds: Sequence[bool | None]) -> str:
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


def _ratio(found: Effect, of: Comparison) -> str:
    bound = "at most " if of.at_most and found is of.time else ""
    return f"{title(of.server)} {bound}{with_ends(found.ratio.value, found.ratio.ends, 'ratio')}"


def _memory(runs: pd.DataFrame, changed: str) -> str:
    """Over all stacks, from the smallest to the largest ratio of medians."""
    medians = runs.groupby(["server", "way"])[_MEMORY].median().unstack("way")
    return span(medians[changed] / medians[PLAIN], "{:.2f}".format)


def _against_a_pool(runs: pd.DataFrame) -> str:
    """What HTTP/2 costs the article's server more than a pool of as many connections.

    Nothing is said where the generator was the limit with either: both then go at the pace of the clients.
    """
    number, own = TOLD[HTTP2], runs[runs["server"] == OWN]
    ways = way(HTTP2, number), way(POOL, number)
    found = ratio(own, _CPU, "way", *ways)
    if found is None or any(limited(own[own["way"] == one]) for one in ways):
        return ""
    times = with_ends(found.ratio.value, found.ratio.ends, "ratio")
    return f" Hyper's CPU time per answer with {way(HTTP2, number)} is {times} times that with {way(POOL, number)}."


def _held(evidence: Evidence) -> pd.DataFrame:
    """The storms in which one connection stalls, with the share of requests that took longer than it may."""
    runs = with_options(evidence.of_plan(HELD), "hold_ms")
    runs = runs[runs["hold_ms"].notna()]
    return runs.assign(slow_share=slower_than(runs, SLOW_MS) / runs["planned"] if len(runs) else 0.0)


def _stalls(held: pd.DataFrame) -> Iterator[Finding]:
    """The price: numbers of connections with which more requests are slow than where each has one to itself.

    Where that is not so nothing speaks against HTTP/2, and nothing for it.
    """
    for variant in _ways(held):
        more = difference(held, "slow_share", "variant", variant, UNSHARED)
        if more is not None and gains(more):
            yield Finding(f"a connection stalls, {variant}", False)


def _ways(held: pd.DataFrame) -> list[str]:
    return [str(variant) for variant in dict.fromkeys(held["variant"]) if variant != UNSHARED]


def _stalled(held: pd.DataFrame) -> str:
    shares = held.groupby("variant", observed=True)["slow_share"].mean()
    if shares.empty:
        return "What it costs when one of few connections stalls is not recorded."
    said = ", ".join(f"{share:.1%} with {way}" for way, share in shares.items())
    return f"When a connection's packets are lost for a second, slower than {SLOW_MS} ms are {said}."


def _undecided(runs: pd.DataFrame) -> str:
    of_plain: Mapping[bool, str] = {
        True: "There is no plain storm to compare with.",
        False: "There are too few storms, what they show may be chance, or the generator was the limit.",
    }
    return of_plain[not (runs["over"] == PLAIN).any()]
