"""A1 and A2 follow the data: for each the opposite is planted in storms of the plans of notebook 07."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.claims.connections import FEW, HELD, MULTIPLEXED, POOLS, UNSHARED
from analysis.claims.evidence import Evidence
from analysis.claims.judge import RULES
from analysis.claims.verdict import Verdict
from harness.plan import PLANS, load_plan
from harness.thought.stats import GRID_MS
from tests.planted import changed, recorded, with_runs

STORMS = 5
STACKS = ["hyper", "python"]
"""Of the plans' five: as planted, all are alike."""
PLAIN_MS, PLAIN_CPU_S = 4_000.0, 3.0
Measured = Callable[[Any], dict[str, Any]]


def storms(
    reference: Evidence,
    time: float = 0.2,
    cpu: float = 0.2,
    slow: Mapping[str, float] | None = None,
    plans: Sequence[str] = (POOLS, MULTIPLEXED, HELD),
    **columns: Any,
) -> Evidence:
    """Storms of these plans: latency and CPU time with fewer connections as multiples of the plain storm's, and the
    share of slow requests by the scenario in which a connection stalls."""

    def measured(trial: Any, scenario: str) -> dict[str, Any]:
        fewer = trial.load.pooled
        speeds = {"wanted_p99_ms": PLAIN_MS * (time if fewer else 1)} | {"peak_rss_bytes": 1e8 / (10 if fewer else 1)}
        speeds |= dict.fromkeys(("p50_ms", "wanted_p50_ms", "p99_ms"), PLAIN_MS * 0.9 * (time if fewer else 1))
        speeds |= {"server_cpu_s": PLAIN_CPU_S * (cpu if fewer else 1), "success_rate": 1.0, "generator": "ok"}
        return speeds

    like = reference.runs.iloc[0].copy()
    like["planned"], like["lo_rx_dropped"], like["out_of_files_lines"] = 50_000, 0, 0
    like["server_files_limit"], like["peak_server_files"], like["server_ended"] = 20_000, 100, None
    read = [load_plan(PLANS / f"{name}.toml").of_servers(STACKS) for name in plans]
    runs = pd.concat([recorded(plan, STORMS, like, measured) for plan in read], ignore_index=True)
    runs["protocol"] = ["HTTP/2" if plan["load"]["http2"] else "HTTP/1.1" for plan in runs["plan"]]
    names = {trial.plan_hash: name for plan in read for trial, name in zip(plan.trials, plan.variants, strict=True)}
    shares = [(slow or {}).get(names[one], 0.0) for one in runs["plan_hash"]]
    steps = np.array(GRID_MS)
    runs["latency_shares"] = [np.where(steps < 1, 0, np.where(steps < 1_500, 1 - share, 1)) for share in shares]
    return with_runs(reference, runs.assign(**columns))


def load(evidence: Evidence, **equal: object) -> pd.Series:
    """Which runs have these values in their loads."""
    loads = [plan["load"] for plan in evidence.runs["plan"]]
    return pd.Series([all(one[name] == value for name, value in equal.items()) for one in loads])


def judged(claim: str, evidence: Evidence) -> Verdict:
    found = RULES[claim](evidence)
    assert found.claim == claim
    assert set(found.run_ids) <= set(evidence.runs["run_id"])
    return found


@pytest.mark.parametrize("claim", ["A1", "A2"])
def test_fewer_connections_are_judged_by_latency_and_by_cpu_time(reference: Evidence, claim: str) -> None:
    better = judged(claim, storms(reference))
    assert better.verdict == "reproduced"
    assert better.value == pytest.approx(0.2, rel=0.05)
    assert judged(claim, storms(reference, time=1.0, cpu=1.0)).verdict == "not_reproduced"
    assert judged(claim, storms(reference, time=2.0, cpu=3.0)).verdict == "not_reproduced"
    only_cheaper = judged(claim, storms(reference, time=2.0))
    assert only_cheaper.verdict == "true_under_conditions"
    assert only_cheaper.value == pytest.approx(2.0, rel=0.05)
    assert "not with" in only_cheaper.statement.partition("better off")[2]


@pytest.mark.parametrize("claim", ["A1", "A2"])
def test_who_is_answered_only_then_is_better_off(reference: Evidence, claim: str) -> None:
    """However long it takes; and the unanswered wait for ever."""
    evidence = storms(reference, time=1.0, cpu=1.0)
    failing = changed(evidence, load(evidence, connections=None), success_rate=0.6)
    assert "better off in 0 of" in judged(claim, evidence).statement
    assert re.search(r"better off in (\d+) of \1 ", judged(claim, failing).statement)
    lost = changed(evidence, load(evidence, connections=None), wanted_p99_ms=np.nan)
    assert re.search(r"better off in (\d+) of \1 ", judged(claim, lost).statement), "beyond the timeout"


@pytest.mark.parametrize(("claim", "http2"), [("A1", True), ("A2", False)])
def test_a_generator_at_its_limit_can_only_make_times_longer(reference: Evidence, claim: str, http2: bool) -> None:
    def limited(evidence: Evidence, chosen: pd.Series) -> Verdict:
        return judged(claim, changed(evidence, chosen, generator="limiting"))

    faster, slower = storms(reference), storms(reference, time=2.0, cpu=1.0)
    fewer = load(faster, http2=http2) & ~load(faster, connections=None)
    assert limited(faster, fewer).verdict == "reproduced", "shorter even so"
    assert "at most" in limited(faster, fewer).statement
    assert "CPU time" in limited(faster, fewer).measure, "a bound is not told as the number"
    assert "undecided" in limited(slower, fewer).statement, "it may be the generator that is slower"
    plain = limited(storms(reference, cpu=1.0), load(faster, connections=None))
    assert plain.verdict == "not_reproduced"
    assert "better off in 0 of" in plain.statement


def test_http2_is_what_was_heard_and_not_what_was_asked_for(reference: Evidence) -> None:
    found = judged("A1", storms(reference, protocol="HTTP/1.1"))
    assert found.verdict == "undecidable_here"
    assert "something else was spoken" in found.statement


def test_what_a_stalled_connection_takes_along_counts_against_few_of_them(reference: Evidence) -> None:
    shared = {UNSHARED: 0.001, "HTTP/2 over 10": 0.01, "HTTP/2 over 2": 0.08, "HTTP/2 over 1": 0.15}
    found = judged("A1", storms(reference, slow=shared))
    assert found.verdict == "true_under_conditions"
    assert "15.0% with HTTP/2 over 1" in found.statement
    assert "without a stall 0.0% at most" in found.statement
    always = shared | {f"{way}, nothing held": share for way, share in shared.items()}
    assert judged("A1", storms(reference, slow=always)).verdict == "reproduced", "then it is not the stall"
    assert judged("A1", storms(reference, slow=dict.fromkeys(shared, 0.01))).verdict == "reproduced"
    plan = load_plan(PLANS / f"{HELD}.toml")
    evidence = storms(reference)
    without = evidence.runs[~evidence.runs["plan_hash"].isin([trial.plan_hash for trial in plan.trials])]
    assert "is not recorded" in judged("A1", with_runs(evidence, without)).statement


def test_a_pool_larger_than_the_servers_files_is_said(reference: Evidence) -> None:
    evidence = storms(reference)
    assert "open files" not in judged("A2", evidence).statement
    large = load(evidence, connections=50_000)
    out = changed(evidence, large, success_rate=0.4, wanted_p99_ms=np.nan, out_of_files_lines=1)
    found = judged("A2", out)
    assert found.verdict == "true_under_conditions"
    assert "In 10 of 10 storms over 50,000 connections the server ran out of open files" in found.statement
    assert "50,000 (all stacks)" in found.statement


def test_the_knee_is_told(reference: Evidence) -> None:
    evidence = storms(reference)
    for few in (1, 10):
        evidence = changed(evidence, load(evidence, connections=few, http2=False), wanted_p99_ms=3_000.0)
    assert "best pool's: " in judged("A2", evidence).statement
    assert "Hyper 100 and 50,000," in judged("A2", evidence).statement.partition("best pool's: ")[2]
    limited = changed(evidence, load(evidence, connections=100, http2=False), generator="limiting")
    assert "Hyper 100 and 50,000 (generator the limit)," in judged("A2", limited).statement
    small = changed(evidence, load(evidence, connections=50_000, http2=False), wanted_p99_ms=3_000.0)
    assert "Hyper 100 and 10,000," in judged("A2", small).statement


def test_cpu_times_at_the_pace_of_the_clients_are_not_held_against_each_other(reference: Evidence) -> None:
    evidence = storms(reference)
    told, paced = "times that with a pool of 10", "at the pace of the clients"
    assert told in judged("A1", evidence).statement
    assert paced not in judged("A1", evidence).statement
    for http2 in (True, False):
        limited = changed(evidence, load(evidence, connections=10, http2=http2), generator="limiting")
        assert told not in judged("A1", limited).statement
        assert (paced in judged("A1", limited).statement) == http2


@pytest.mark.parametrize(("claim", "plan"), [("A1", MULTIPLEXED), ("A2", POOLS), ("A1", FEW), ("A2", FEW)])
def test_they_are_pending_exactly_while_their_storms_are_missing(reference: Evidence, claim: str, plan: str) -> None:
    evidence = storms(reference, plans=(FEW, HELD) if plan == FEW else (POOLS, MULTIPLEXED, HELD))
    own = evidence.runs["plan_hash"].isin([trial.plan_hash for trial in load_plan(PLANS / f"{plan}.toml").trials])
    assert judged(claim, with_runs(evidence, evidence.runs[~own])).verdict == "pending"
    fewer = own & load(evidence, http2=claim == "A1") & ~load(evidence, connections=None)
    assert judged(claim, with_runs(evidence, evidence.runs[fewer].iloc[:1])).verdict == "undecidable_here"
    plain = load(evidence, connections=None)
    assert "no plain storm" in judged(claim, with_runs(evidence, evidence.runs[~plain])).statement


def few(reference: Evidence, plain: Mapping[str, Any] | None = None, **swept: Any) -> Evidence:
    """Storms on the new ground, whose plain ones have these columns, and further ones of the sweeps."""
    new = storms(reference, time=0.5, plans=(FEW,))
    new = changed(new, load(new, connections=None), **plain) if plain else new
    return with_runs(reference, pd.concat([new.runs, storms(reference, **swept).runs], ignore_index=True))


@pytest.mark.parametrize(("claim", "size"), [("A1", 10), ("A2", 100)])
def test_it_is_told_of_where_each_way_has_as_many_clients(reference: Evidence, claim: str, size: int) -> None:
    alone = judged(claim, storms(reference, time=0.5, plans=(FEW,)))
    assert alone.verdict == "reproduced"
    assert alone.value == pytest.approx(0.5, rel=0.05)
    assert "4 client processes each way" in alone.statement
    assert "In the sweep" not in alone.statement
    both = judged(claim, few(reference, time=2.0, cpu=2.0))
    assert both.value == pytest.approx(0.5, rel=0.05), "the sweeps are further kinds of storm and not the number"
    assert both.verdict == "true_under_conditions"
    assert re.search(r"better off in 0 of", both.statement.partition("In the sweep")[2])
    assert re.search(r"better off in (\d+) of \1 ", both.statement.partition("In the sweep")[0])
    swept = judged(claim, storms(reference))
    assert "client processes" not in swept.statement
    assert str(size) in swept.measure


def test_who_is_answered_is_told_of_each_stack_with_what_the_host_lost(reference: Evidence) -> None:
    evidence = few(reference)
    python = evidence.runs["server"].eq("python") & load(evidence, connections=None)
    swept = evidence.runs["plan_hash"].isin([trial.plan_hash for trial in load_plan(PLANS / f"{POOLS}.toml").trials])
    failing = changed(evidence, python & swept, success_rate=0.75)
    lossy = changed(failing, python & swept, lo_rx_dropped=9)
    first, further = judged("A2", lossy).statement.split("In the sweep", 1)
    assert "with a connection each, 100.00% on all stacks" in first
    assert "dropped" not in first
    assert re.search(r"Hyper 100.00%, .*Python 75.\d\d% \(this host's input queue dropped packets in 5 of 5\)", further)
    assert "dropped" not in judged("A2", failing).statement


def test_a_time_that_is_mostly_the_wait_to_be_issued_decides_nothing_for_fewer_connections(reference: Evidence) -> None:
    evidence = storms(reference, time=0.5, cpu=1.0, plans=(FEW,))
    late = changed(evidence, load(evidence, connections=None), p99_ms=PLAIN_MS * 0.3)
    assert re.search(r"better off in (\d+) of \1 ", judged("A2", evidence).statement)
    found = judged("A2", late)
    assert "better off in 0 of 2 kinds of storm, undecided 2" in found.statement
    assert re.search(r"Hyper at least 0\.[45]", found.statement)
    assert "CPU time" in found.measure, "a bound is not told as the number"
    slower = storms(reference, time=2.0, cpu=1.0, plans=(FEW,))
    worse = changed(slower, load(slower, connections=None), p99_ms=PLAIN_MS * 0.3)
    assert "undecided" not in judged("A2", worse).statement, "slower even so"


def test_http2_is_held_against_a_pool_of_as_many_connections(reference: Evidence) -> None:
    said = "CPU time per answer with HTTP/2 over {0} is .* times that with a pool of {0}\\."
    assert re.search(said.format(100), judged("A1", few(reference)).statement)
    assert re.search(said.format(10), judged("A1", storms(reference)).statement)
