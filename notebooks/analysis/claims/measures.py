"""What is measured for each proposition of ``claims.toml``: a short function of the evidence, and nothing decided.

Two rules are everybody's. A storm in which this host's own input queue dropped packets says nothing of a backlog, and
a speed says nothing of a server where the generator was the limit; both are asked of the storms of a kind together,
as to pick single ones by how they went would be to pick a result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any

import numpy as np
import pandas as pd

from analysis.allocators.effects import in_blocks
from analysis.claims.evidence import Evidence
from analysis.mitigations.fewer import comparisons
from analysis.mitigations.policies import over_connections, waited_out
from analysis.mitigations.ways import endings
from analysis.overflow import rhythm
from analysis.published.told import refused_on_ipv6
from harness.page.search import held, walked
from harness.plan import PLANS, load_plan
from harness.plan.search import SEARCHES, chosen, load_search
from harness.thought.comparing import (
    difference,
    limited,
    nothing_dropped,
    ratio,
    ratio_in_blocks,
)
from harness.thought.inference import FEWEST_RUNS, Interval, mean_of_runs, mean_share
from harness.thought.proposition import NOTHING, Measured, of_runs
from harness.thought.runs import with_counters, with_options

Measure = Callable[[Evidence], Measured]
KEPT, FEW, STORMS, CAUSE = "01-kept-connections", "07-few-connections", "02-backlog-storms", "04-root-cause"
USUAL, FILES, REMEDIES = "05-files-usual", "10-files-wide", "10-remedies"
PORTS, SETTINGS, OVERLOAD = "06-kernel-ports", "06-kernel-settings", "09-balancer"
SPEED, LARGE, AS_THEY_COME = "03-allocators-speed", "03-allocators-large", "09-as-they-come"
ADDRESS, CHANCES, SEARCH = "10-address", "10-chances", "09-cheapest"
PLANNED = (KEPT, FEW, STORMS, CAUSE, USUAL, FILES, REMEDIES, PORTS, SETTINGS, OVERLOAD, SPEED, LARGE, AS_THEY_COME)
ASKED_OF = (*PLANNED, rhythm.PLAN, SEARCH, f"{SEARCH}-go")
"""All plans of storms that propositions ask of."""
PLAIN = "plain storm"
"""The scenario of :data:`FEW` with a connection for each of 50,000 clients, at each stack's own backlog."""
PUBLISHED = "Hyper of 2024"
"""The program of the benchmark, rewritten, with what it was built of then."""
OLD_VEGETA = "vegeta-12.11.1"
THE_GENERATOR, LOST = "the generator was the limit", "this host's own input queue dropped packets"
NO_RUNS = "there are no such storms; record them with `stormlab run --plan plans/{}.toml`"
NO_SEARCH = "it has not been searched for; `stormlab tune {}`"
NO_ATTACKS = "there are no such attacks; `stormlab notebooks 10-published-benchmark -p source here`"


# ---- what several ask ------------------------------------------------------------------------------------------------


def _missing(plan: str) -> Measured:
    if plan in (ADDRESS, CHANCES):
        return Measured(NOTHING, why_null=NO_ATTACKS)
    return Measured(NOTHING, why_null=(NO_SEARCH if plan.startswith(SEARCH) else NO_RUNS).format(plan))


def _over(plan: str, runs: pd.DataFrame, measure: str, by: str, changed: Any, untouched: Any) -> Measured:
    """``measure`` of one group over another's, block by block; null where the generator was the limit of either."""
    groups = [runs[runs[by].eq(name)] for name in (changed, untouched)]
    found = ratio(runs, measure, by, changed, untouched)
    if found is None:
        return _missing(plan)
    return of_runs(found.ratio, groups, why_null=THE_GENERATOR if any(map(limited, groups)) else "")


def _more(
    plan: str,
    runs: pd.DataFrame,
    measure: str,
    by: str,
    changed: Any,
    untouched: Any,
    *,
    a_gain: bool = True,
    on_clean_ground: bool = True,
) -> Measured:
    """The same as a difference of shares; ``a_gain`` is one only where there was room for it."""
    groups = [runs[runs[by].eq(name)] for name in (changed, untouched)]
    found = difference(runs, measure, by, changed, untouched)
    if found is None:
        return _missing(plan)
    lost = on_clean_ground and not all(map(nothing_dropped, groups))
    return of_runs(found.mean, groups, why_null=LOST if lost else "", untouched=found.untouched if a_gain else None)


def _share(plan: str, runs: pd.DataFrame, shares: pd.Series) -> Measured:
    """A share of each run, the mean over them."""
    return of_runs(mean_share(shares.to_list()), runs) if len(runs) >= FEWEST_RUNS else _missing(plan)


def _time(values_ms: pd.Series) -> Interval:
    """A quantile of each run; one among the unanswered is later than any."""
    if not np.isinf(values_ms).any():
        return mean_of_runs(values_ms.to_list())
    return Interval(np.inf, float(values_ms.min()), np.inf, len(values_ms), "range")


# ---- S1: keep-alive --------------------------------------------------------------------------------------------


def _kept(rival: str, cpu: str, evidence: Evidence) -> Measured:
    return _over(KEPT, evidence.of_plan(KEPT, cpu=cpu), "throughput_per_s", "server", "hyper", rival)


# ---- S2, S4, C1: the storm of 50,000, and the published attack -------------------------------------------------------


def _answered(server: str, evidence: Evidence) -> Measured:
    runs = evidence.of_plan(FEW, variant=PLAIN, server=server)
    return _share(FEW, runs, runs["success_rate"])


def _unanswered(evidence: Evidence) -> Measured:
    runs = evidence.of_plan(FEW, variant=PLAIN, server="hyper")
    return _share(FEW, runs, 1 - runs["success_rate"])


def _slower(evidence: Evidence) -> Measured:
    """A median among the unanswered counts as the timeout, the least that it can be."""
    runs = with_options(evidence.of_plan(FEW, variant=PLAIN), "timeout_s")
    runs = runs.assign(p50_ms=runs["p50_ms"].astype(float).fillna(runs["timeout_s"] * 1000))
    return _over(FEW, runs, "p50_ms", "server", "hyper", "node")


def _steady(evidence: Evidence) -> Measured:
    """The 99th percentile of the slower of the two, block by block."""
    runs = evidence.of_plan(FEW, variant=PLAIN)
    runs = runs[runs["server"].isin(["go", "node"])]
    late = runs.assign(block=runs.groupby("server").cumcount(), p99_ms=runs["p99_ms"].astype(float).fillna(np.inf))
    both = late.pivot(index="block", columns="server", values="p99_ms").reindex(columns=["go", "node"]).dropna()
    if len(both) < FEWEST_RUNS:
        return _missing(FEW)
    return of_runs(_time(both.max(axis=1)), runs, why_null=THE_GENERATOR if limited(runs) else "")


def _attack(plan: str, evidence: Evidence, **wanted: str) -> pd.DataFrame:
    attacks = evidence.attacks_of(plan)
    for column, value in wanted.items():
        attacks = attacks[attacks[column].astype(str).str.startswith(value)] if len(attacks) else attacks
    return attacks


def _under_attack(plan: str, evidence: Evidence, **wanted: str) -> Measured:
    attacks = _attack(plan, evidence, **wanted)
    return _share(plan, attacks, attacks["success_rate"]) if len(attacks) else _missing(plan)


def _refused_on_ipv6(evidence: Evidence) -> Measured:
    attacks = _attack(ADDRESS, evidence, server="hyper-", tool=OLD_VEGETA, target="localhost")
    if attacks.empty:
        return _missing(ADDRESS)
    return _share(ADDRESS, attacks, refused_on_ipv6(attacks) / (attacks["requests"] - attacks["answered"]))


def _attacked_p99(server: str, evidence: Evidence) -> Measured:
    attacks = _attack(ADDRESS, evidence, server=server, tool=OLD_VEGETA)
    if len(attacks) < FEWEST_RUNS:
        return _missing(ADDRESS)
    return of_runs(_time(attacks["p99_ms"].astype(float).fillna(np.inf)), attacks)


# ---- S3: pulses ------------------------------------------------------------------------------------------------------

PULSES = (rhythm.FULL, rhythm.LARGER, rhythm.ALONE, rhythm.RESCHEDULED, rhythm.RESTING)


@lru_cache(maxsize=1)
def _with_pulses(evidence: Evidence) -> pd.DataFrame:
    """The storms that propositions are about, with their silences, read from the rows of their connections."""
    runs = evidence.of_plan(rhythm.PLAN)
    return rhythm.with_pulses(runs[runs["variant"].isin(PULSES)], evidence.lives, evidence.settings)


def _pulses(measure: Callable[[pd.DataFrame], Interval | None], kinds: tuple[str, ...], evidence: Evidence) -> Measured:
    runs = _with_pulses(evidence)
    runs = runs[runs["variant"].isin(kinds)]
    found = measure(runs) if runs["variant"].nunique() == len(kinds) else None
    if found is None:
        return _missing(rhythm.PLAN)
    return of_runs(found, runs, why_null="" if nothing_dropped(runs) else LOST)


def _silent(runs: pd.DataFrame) -> Interval:
    return mean_share(runs["silent"].to_list())


def _silence_of_server(runs: pd.DataFrame) -> Interval:
    return mean_share((runs["silent_server"] / runs["silent"]).to_list())


def _proposed(name: str, runs: pd.DataFrame) -> Interval | None:
    found = rhythm.propositions(runs).get(name)
    return None if found is None else found.found


# ---- C1, F1: the backlog ---------------------------------------------------------------------------------------------


def _backlogs(evidence: Evidence) -> pd.DataFrame:
    """Storms of 20,000 on Hyper, CPUs shared, where a raised netdev_max_backlog keeps this host from dropping."""
    return evidence.of_plan(STORMS, server="hyper", cpu="shared", wide=True)


def _first_try(evidence: Evidence) -> Measured:
    return _more(STORMS, _backlogs(evidence), "first_try_share", "variant", "4096", "128")


def _tail(evidence: Evidence) -> Measured:
    return _over(STORMS, _backlogs(evidence), "p99_ms", "variant", "4096", "128")


def _refused(evidence: Evidence) -> Measured:
    """Of storms whose accept queue overflowed and whose server lived: where it ended, nobody listens any more."""
    runs = pd.concat([evidence.of_plan(plan, wide=True) for plan in (STORMS, FEW)])
    runs = with_counters(runs[runs["status"].eq("complete")], "ListenOverflows")
    runs = runs[(runs["ListenOverflows"] > 0) & runs["server_ended"].isna()]
    refused = pd.Series([outcomes.get("refused", 0) for outcomes in runs["outcomes"]], runs.index, dtype=float)
    return _share(STORMS, runs, refused / runs["planned"])


def _stopped(evidence: Evidence) -> Measured:
    large, small = "larger backlog, raised netdev_max_backlog", "raised netdev_max_backlog"
    return _more(CAUSE, evidence.of_plan(CAUSE), "success_rate", "variant", large, small)


def _printed(remedy: str, evidence: Evidence, *, a_gain: bool) -> Measured:
    """The published program with what is printed, and without: nothing else differs."""
    runs = evidence.of_plan(REMEDIES)
    return _more(REMEDIES, runs, "success_rate", "variant", remedy, "untreated", a_gain=a_gain, on_clean_ground=False)


# ---- C2, F3: limits --------------------------------------------------------------------------------------------------


def _usual(evidence: Evidence) -> Measured:
    """What 1,024 open files cost the lab's Hyper at its own backlog."""
    runs = evidence.of_plan(USUAL, variant="own backlog", server="hyper")
    runs = with_options(runs, "nofile")
    return _more(USUAL, runs, "success_rate", "nofile", 16_384, 1_024, a_gain=False, on_clean_ground=False)


def _files(variant: str, evidence: Evidence, *, a_gain: bool) -> Measured:
    runs = with_options(evidence.of_plan(FILES, variant=variant), "nofile")
    return _more(FILES, runs, "success_rate", "nofile", 20_000, 8_192, a_gain=a_gain)


def _ports(evidence: Evidence) -> Measured:
    runs = evidence.of_plan(PORTS)
    return _more(PORTS, runs, "success_rate", "variant", "searched, wider range", "searched", on_clean_ground=False)


def _fast_open(evidence: Evidence) -> Measured:
    """What this host drops there are SYNs that are sent again, which are no first try."""
    runs = evidence.of_plan(SETTINGS)
    return _more(SETTINGS, runs, "first_try_share", "variant", "Fast Open", "as it is", on_clean_ground=False)


# ---- C3, F2: allocators ----------------------------------------------------------------------------------------------


@lru_cache(maxsize=2)
def _in_blocks(plan: str, evidence: Evidence) -> pd.DataFrame:
    return in_blocks(evidence.of_plan(plan), load_plan(PLANS / f"{plan}.toml"))


def _allocator(
    plan: str, server: str, load: str, allocator: str, measure: str, evidence: Evidence, *, speed: bool = False
) -> Measured:
    """With it over the one that a server comes with, block by block; a ``speed`` may be the generator's."""
    every = _in_blocks(plan, evidence)
    storms = every[every["server"].eq(server) & every["load"].eq(load) & every["compared"].isin(["system", allocator])]
    compared = ratio_in_blocks(storms.pivot(index="block", columns="compared", values=measure), allocator, "system")
    if compared is None:
        return _missing(plan)
    held_up = speed and any(limited(one) for _, one in storms.groupby("compared"))
    return of_runs(compared[0].ratio, storms, why_null=THE_GENERATOR if held_up else "")


_of_hyper = partial(_allocator, SPEED, "hyper")


# ---- A1, A2: fewer connections ---------------------------------------------------------------------------------------


def _way(variant: str, measure: str, evidence: Evidence) -> Measured:
    """A way of connecting over the plain storm on Hyper, from when requests were wanted."""
    runs = over_connections(evidence.of_plan(FEW, server="hyper"))
    (way,) = comparisons(runs[runs["variant"].isin([PLAIN, variant])]) or (None,)
    found = None if way is None else way.ratios[measure]
    if way is None or found is None:
        return _missing(FEW)
    bound = way.bounds.get(measure, "equal")
    why = {"unknown": THE_GENERATOR, "at least": "most of the plain storm's times is the wait until a client issued it"}
    return of_runs(found.ratio, [way.storms, way.plain], why_null=why.get(bound, ""))


def _everybody(variant: str, evidence: Evidence) -> Measured:
    """Of the stack that answers fewest, block by block."""
    runs = evidence.of_plan(FEW, variant=variant)
    worst = runs["success_rate"].groupby(runs.groupby("server").cumcount()).min()
    return of_runs(mean_share(worst.to_list()), runs) if len(worst) >= FEWEST_RUNS else _missing(FEW)


def _http2_over_pool(evidence: Evidence) -> Measured:
    runs = waited_out(evidence.of_plan(FEW, server="hyper"))
    return _over(FEW, runs, "wanted_p99_ms", "variant", "HTTP/2 over 10", "pool of 100")


# ---- A3: a load balancer ---------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _overload(evidence: Evidence) -> pd.DataFrame:
    return endings(with_options(evidence.of_plan(OVERLOAD), "timeout_s"))


def _in_time(variant: str, evidence: Evidence) -> Measured:
    runs = _overload(evidence)
    if (runs.loc[runs["variant"].eq(variant), "good_per_s"] <= 0).any():
        return _collapsed(runs, variant)
    return _over(OVERLOAD, runs, "good_per_s", "variant", variant, "server alone")


def _collapsed(runs: pd.DataFrame, variant: str) -> Measured:
    """Where a storm had no good answer at all there is no ratio of logarithms: that of the means, and its range."""
    groups = [runs[runs["variant"].eq(name)] for name in (variant, "server alone")]
    over = groups[0]["good_per_s"] / groups[1]["good_per_s"].mean()
    return of_runs(Interval(float(over.mean()), float(over.min()), float(over.max()), len(over), "range"), groups)


def _waited_in_vain(evidence: Evidence) -> Measured:
    runs = _overload(evidence)
    queue = "HAProxy, queue of half a second"
    return _more(OVERLOAD, runs, "timed_out", "variant", "server alone", queue, a_gain=False)


# ---- A4: a search by load tests --------------------------------------------------------------------------------------


def _as_it_comes(evidence: Evidence) -> Measured:
    target = load_search(SEARCHES / f"{SEARCH}.toml").target
    runs = evidence.of_plan(AS_THEY_COME, server="hyper")
    met = [target.met(*of) for of in zip(runs["success_rate"], runs["p99_ms"], strict=True)]
    return _share(AS_THEY_COME, runs, pd.Series(met, runs.index, dtype=float))


def _found(name: str, evidence: Evidence) -> Measured:
    search = load_search(SEARCHES / f"{name}.toml")
    runs = evidence.of_trials(one.trial.plan_hash for one in search.candidates)
    tested = walked(search.tried(set(runs["plan_hash"])), runs)
    best = chosen(tested)
    if best is None:
        return (
            _missing(name)
            if runs.empty
            else of_runs(NOTHING, runs, why_null="no configuration tried reaches the target")
        )
    storms = held(tested, runs)
    fresh = storms[storms["plan_hash"].eq(best.candidate.trial.plan_hash)].tail(len(best.fresh))
    return of_runs(mean_share([float(met) for met in best.fresh]), fresh)


MEASURES: Mapping[str, Measure] = {
    "S1.go": partial(_kept, "go", "disjoint"),
    "S1.node": partial(_kept, "node", "disjoint"),
    "S1.go_shared": partial(_kept, "go", "shared"),
    "S1.node_shared": partial(_kept, "node", "shared"),
    "S2.fails": partial(_answered, "hyper"),
    "S2.slower": _slower,
    "S2.published": partial(_under_attack, ADDRESS, server="hyper-", tool=OLD_VEGETA, target="localhost"),
    "S2.address": partial(_under_attack, ADDRESS, server="hyper-", tool=OLD_VEGETA, target="127.0.0.1"),
    "S2.refused": _refused_on_ipv6,
    "S2.late": partial(_under_attack, CHANCES, variant="server 2 s late"),
    "S3.pulses": partial(_pulses, _silent, (rhythm.FULL,)),
    "S3.server": partial(_pulses, _silence_of_server, (rhythm.FULL,)),
    "S3.backlog": partial(_pulses, partial(_proposed, rhythm.REMOVED), (rhythm.FULL, rhythm.LARGER)),
    "S3.schedule": partial(_pulses, partial(_proposed, rhythm.MOVED), (rhythm.ALONE, rhythm.RESCHEDULED)),
    "S3.files": partial(_pulses, _silence_of_server, (rhythm.RESTING,)),
    "S4.go": partial(_answered, "go"),
    "S4.node": partial(_answered, "node"),
    "S4.steady": _steady,
    "S4.published_go": partial(_attacked_p99, "go"),
    "S4.published_node": partial(_attacked_p99, "node"),
    "C1.fails": _unanswered,
    "C1.delays": _first_try,
    "C1.refused": _refused,
    "C1.stopped": _stopped,
    "C2.goes_on": _usual,
    "C2.ends": partial(_files, PUBLISHED, a_gain=False),
    "C2.go": partial(_files, "Go", a_gain=False),
    "C3.cpu": partial(_of_hyper, "closed loop", "jemalloc", "cpu_us_per_answer"),
    "C3.speed": partial(_of_hyper, "closed loop", "jemalloc", "throughput_per_s", speed=True),
    "C3.mimalloc": partial(_of_hyper, "closed loop", "mimalloc", "cpu_us_per_answer"),
    "C3.large": partial(_allocator, LARGE, "python", "large body", "jemalloc", "throughput_per_s", speed=True),
    "F1.first_try": _first_try,
    "F1.tail": _tail,
    "F1.survives": partial(_printed, "socket2, 4096", a_gain=False),
    "F2.speed": partial(_of_hyper, "storm", "jemalloc", "throughput_per_s", speed=True),
    "F2.tail": partial(_of_hyper, "storm", "jemalloc", "p99_ms", speed=True),
    "F2.printed": partial(_printed, "jemallocator", a_gain=True),
    "F3.files": partial(_files, PUBLISHED, a_gain=True),
    "F3.ports": _ports,
    "F3.fast_open": _fast_open,
    "A1.tail": partial(_way, "HTTP/2 over 10", "wanted_p99_ms"),
    "A1.cpu": partial(_way, "HTTP/2 over 10", "cpu_us_per_answer"),
    "A1.all": partial(_everybody, "HTTP/2 over 10"),
    "A1.pool": _http2_over_pool,
    "A2.tail": partial(_way, "pool of 100", "wanted_p99_ms"),
    "A2.cpu": partial(_way, "pool of 100", "cpu_us_per_answer"),
    "A2.all": partial(_everybody, "pool of 100"),
    "A3.queue": partial(_in_time, "HAProxy, queue of half a second"),
    "A3.limit": partial(_in_time, "HAProxy, 500 a second"),
    "A3.told": _waited_in_vain,
    "A3.as_it_comes": partial(_in_time, "HAProxy"),
    "A4.needed": _as_it_comes,
    "A4.hyper": partial(_found, SEARCH),
    "A4.go": partial(_found, f"{SEARCH}-go"),
}
"""By the id of the proposition."""
