"""A3, A4, and of F1 what more accepting hands do, follow the data: for each the opposite is planted."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.claims import backlog, balancer, tuning
from analysis.claims.evidence import Evidence
from analysis.claims.judge import RULES
from analysis.claims.verdict import Verdict
from analysis.mitigations.ways_told import FEWER_IN_ALL
from harness.events.tables import OUTCOMES
from harness.plan import PLANS, Plan, load_plan
from harness.plan.search import SEARCHES, load_search
from tests.planted import changed, of_plan, recorded, with_runs

STORMS = 5


def planted(reference: Evidence, plan: Plan, values: Callable[[Any, str], dict[str, Any]], storms: int = STORMS) -> Any:
    """Storms of a plan on clean ground, with a generator that was not the limit, unless ``values`` say otherwise."""
    like = reference.runs.iloc[0].copy()
    like["lo_rx_dropped"], like["planned"], like["generator"], like["front"] = 0, 10_000, "ok", None
    like["outcomes"], like["statuses"] = dict.fromkeys(OUTCOMES, 0), {}
    return recorded(plan, storms, like, lambda trial, name: {"success_rate": 1.0, **values(trial, name)})


def judged(claim: str, evidence: Evidence) -> Verdict:
    found = RULES[claim](evidence)
    assert found.claim == claim
    assert set(found.run_ids) <= set(evidence.runs["run_id"])
    assert (found.verdict == "pending") == (not found.run_ids)
    return found


# ---- A3: the load balancer -----------------------------------------------------------------------------------------


def while_it_lasts(share: float, late: float) -> Callable[[], dict[str, Any]]:
    """Of 10,000 requests at 2,000 a second, shares that are answered within the five seconds, and after them."""
    random = np.random.default_rng(3)

    def values() -> dict[str, Any]:
        in_time, after = (int(part * 10_000 * random.lognormal(0, 0.01)) for part in (share, late))
        ended = {"answered": in_time + after, "answer_timeout": 10_000 - in_time - after}
        outcomes = dict.fromkeys(OUTCOMES, 0) | ended
        steps = [0] * 300
        steps[10], steps[60] = in_time, after
        return {"success_rate": share + late, "outcomes": outcomes, "answers_per_step": steps}

    return values


def balanced(
    reference: Evidence,
    overload: float,
    burst_ms: float,
    burst: float = 1.0,
    late: float = 0.0,
    median_ms: float = 200.0,
) -> Evidence:
    """Both plans: alone 17 % are answered in the overload, and ``late`` after it, and all in the burst, whose p99 is
    2 s and whose median 200 ms; and with what is advised ``overload``, ``burst``, ``burst_ms`` and ``median_ms``."""
    lasting, alone = while_it_lasts(overload, 0.0), while_it_lasts(0.17, late)

    def of(plan: str, with_it: dict[str, Any], without: dict[str, Any]) -> pd.DataFrame:
        def values(trial: Any, variant: str) -> dict[str, Any]:
            if plan == balancer.OVERLOAD:
                return lasting() if variant in balancer.ADVISED[plan] else alone()
            return with_it if variant in balancer.ADVISED[plan] else without

        return planted(reference, load_plan(PLANS / f"{plan}.toml"), values)

    parts = [
        of(balancer.OVERLOAD, {}, {}),
        of(
            balancer.BURST,
            {"success_rate": burst, "wanted_p99_ms": burst_ms, "wanted_p50_ms": median_ms},
            {"wanted_p99_ms": 2000.0, "wanted_p50_ms": 200.0},
        ),
    ]
    return with_runs(reference, pd.concat(parts))


def test_a_balancer_is_judged_by_who_is_answered_and_how_soon(reference: Evidence) -> None:
    assert judged("A3", balanced(reference, 0.3, 500.0)).verdict == "reproduced"
    assert judged("A3", balanced(reference, 0.17, 2000.0)).verdict == "not_reproduced"
    only_in_overload = judged("A3", balanced(reference, 0.3, 4000.0))
    assert only_in_overload.verdict == "true_under_conditions"
    assert only_in_overload.value == pytest.approx(0.3 / 0.17, abs=0.05)
    helped, _, harmed = only_in_overload.statement.partition("does harm")
    assert "overload, Hyper, nginx, 500 a second" in helped
    (times,) = re.findall(r"burst, Node.js, HAProxy, 2,000 a second, 99th percentile × ([\d.]+)", harmed)
    assert float(times) == pytest.approx(2.0, abs=0.05)


def test_a_shorter_tail_at_a_longer_median_is_a_trade_off(reference: Evidence) -> None:
    """Half of all wait longer; that is neither help nor mere harm."""
    traded = judged("A3", balanced(reference, 0.3, 500.0, median_ms=600.0))
    assert traded.verdict == "true_under_conditions"
    between = traded.statement.partition("It helps the tail, costs the median with:")[2]
    assert "burst, Hyper, HAProxy, 2,000 a second, 99th percentile × 0.25" in between
    assert "median × 3 in every storm" in between
    assert "does harm" not in traded.statement
    other = judged("A3", balanced(reference, 0.3, 4000.0, median_ms=50.0))
    assert "It helps the median, costs the tail with:" in other.statement
    both_longer = judged("A3", balanced(reference, 0.3, 4000.0, median_ms=600.0))
    assert "burst, Hyper, HAProxy, 2,000 a second" in both_longer.statement.partition("does harm")[2]
    dropping = balanced(reference, 0.3, 500.0, median_ms=600.0)
    in_burst = of_plan(dropping, balancer.BURST)
    assert "costs the median" not in judged("A3", changed(dropping, in_burst, lo_rx_dropped=1)).statement


def test_harm_of_half_the_clients_is_harm_whatever_the_tail(reference: Evidence) -> None:
    slower = judged("A3", balanced(reference, 0.3, 2000.0, median_ms=600.0))
    assert "burst, Go, HAProxy, 2,000 a second, 99th percentile × 1.0" in slower.statement.partition("does harm")[2]


def test_what_every_storm_shows_is_no_open_question(reference: Evidence) -> None:
    """Of five storms the interval of a ratio may be wide; that all are longer than all decides as in the notebook."""
    evidence = balanced(reference, 0.3, 2000.0)
    hands_on = of_plan(evidence, balancer.BURST, variant="backlog and HAProxy, queue")
    runs = evidence.runs.copy()
    runs.loc[hands_on, "wanted_p99_ms"] *= np.resize([1.1, 9.0, 1.2, 4.0, 1.15], int(hands_on.sum()))
    said = judged("A3", with_runs(evidence, runs)).statement
    condition = "burst, Hyper, backlog and HAProxy, queue, over backlog"
    assert condition in said.partition("does harm")[2].partition("Undecided")[0]


def test_what_is_undecided_is_told_with_its_numbers(reference: Evidence) -> None:
    evidence = balanced(reference, 0.3, 2000.0)
    runs = evidence.runs.copy()
    queued = of_plan(evidence, balancer.BURST, variant="HAProxy, kept connections, queue")
    runs.loc[queued, "wanted_p99_ms"] *= np.resize([0.3, 2.0, 0.5, 1.5, 0.9], int(queued.sum()))
    left = judged("A3", with_runs(evidence, runs)).statement.partition("Undecided: ")[2]
    assert "burst, Hyper, HAProxy, kept connections, queue, 99th percentile × " in left


def test_a_collapse_is_not_left_out_of_a_ratio(reference: Evidence) -> None:
    """Two of five storms without a good answer: the ratio of the three that are left would be a gain."""
    evidence = balanced(reference, 0.3, 500.0)
    limit = of_plan(evidence, balancer.OVERLOAD, variant="nginx, 500 a second")
    runs = evidence.runs.copy()
    none = dict.fromkeys(OUTCOMES, 0) | {"answer_timeout": 10_000}
    for index in runs.index[limit][:2]:
        runs.at[index, "outcomes"], runs.at[index, "answers_per_step"] = none, [0] * 300
    said = judged("A3", with_runs(evidence, runs)).statement
    assert "overload, Hyper, nginx, 500 a second" not in said.partition("It helps")[2].partition("Undecided")[0]
    assert "answers a second, none in 2 of 5 storms" in said
    every = of_plan(evidence, balancer.OVERLOAD, variant="nginx, 500 a second")
    runs.loc[every, "outcomes"] = none
    runs["answers_per_step"] = [
        [0] * 300 if dead else steps for dead, steps in zip(every, runs["answers_per_step"], strict=True)
    ]
    harm = judged("A3", with_runs(evidence, runs)).statement.partition("does harm")[2]
    assert "overload, Hyper, nginx, 500 a second, −" in harm
    assert "none in 5 of 5 storms" in harm


def test_what_the_server_did_in_vain_is_told(reference: Evidence) -> None:
    evidence = balanced(reference, 0.3, 500.0)
    plain = of_plan(evidence, balancer.OVERLOAD, variant=balancer.UNLIMITED)
    counted = evidence.runs.astype({"front_counters": object})
    counted.loc[plain, "front_counters"] = pd.Series([{"server.hrsp_2xx": 10_000}] * len(counted), counted.index)[plain]
    found = judged("A3", with_runs(evidence, counted))
    assert re.search(r"so many came when nobody waited: .*8\d% with HAProxy\.", found.statement)
    assert set(evidence.runs.loc[plain, "run_id"]) <= set(found.run_ids)


def test_told_no_at_once_is_not_answered_sooner(reference: Evidence) -> None:
    """A quantile that gets shorter because most are turned away is no gain."""
    turning_away = judged("A3", balanced(reference, 0.17, 100.0, burst=0.2))
    assert turning_away.verdict == "not_reproduced"
    assert "−80.0 pp" in turning_away.statement


def test_more_answers_while_an_overload_lasts_and_fewer_in_all_are_no_help(reference: Evidence) -> None:
    """Who lets most of them wait answers most after it, and they are answered: notebook 07 counts it so too."""
    more_in_all = judged("A3", balanced(reference, 0.3, 500.0, late=0.3))
    assert more_in_all.verdict == "true_under_conditions"
    assert f"It {FEWER_IN_ALL} with: overload" in more_in_all.statement
    assert more_in_all.value == pytest.approx(0.3 / 0.17, abs=0.05)


def test_where_all_quantiles_lie_among_the_unanswered_no_times_are_compared(reference: Evidence) -> None:
    evidence = balanced(reference, 0.17, 500.0)
    unanswered = changed(evidence, of_plan(evidence, balancer.BURST), wanted_p99_ms=np.nan)
    assert "burst, Hyper, HAProxy, 2,000 a second" in judged("A3", unanswered).statement.partition("Undecided")[2]


def test_who_was_turned_away_was_not_lost_by_this_host(reference: Evidence) -> None:
    evidence = balanced(reference, 0.3, 500.0, burst=0.2)
    dropping = changed(evidence, of_plan(evidence, balancer.BURST), lo_rx_dropped=1)
    assert "burst, Hyper, HAProxy, 2,000 a second" in judged("A3", dropping).statement.partition("Undecided")[2]
    limit = of_plan(evidence, balancer.BURST, variant="HAProxy, 2,000 a second")
    told = judged("A3", changed(dropping, limit, statuses={"200": 2_000, "429": 8_000}))
    assert "burst, Hyper, HAProxy, 2,000 a second, −80.0 pp" in told.statement.partition("does harm")[2]
    assert "burst, Hyper, HAProxy, kept connections, queue" in told.statement.partition("Undecided")[2]


def test_a_client_in_ten_thousand_that_is_turned_away_is_no_harm(reference: Evidence) -> None:
    sooner = judged("A3", balanced(reference, 0.3, 500.0, burst=0.9999))
    assert sooner.verdict == "reproduced"
    assert "burst, Hyper, HAProxy, 2,000 a second, 99th percentile × 0.25" in sooner.statement


def test_gains_over_storms_in_which_this_host_dropped_packets_are_not_the_balancers(reference: Evidence) -> None:
    good = balanced(reference, 0.3, 500.0)
    alone = of_plan(good, balancer.OVERLOAD, variant="server alone") | of_plan(
        good, balancer.BURST, variant=["as it comes", "backlog"]
    )
    assert judged("A3", changed(good, alone, lo_rx_dropped=1)).verdict == "undecidable_here"
    bad = balanced(reference, 0.05, 4000.0)
    everything = bad.runs["run_id"].notna()
    assert judged("A3", changed(bad, everything, lo_rx_dropped=1)).verdict == "undecidable_here", "nor is harm"
    assert judged("A3", changed(bad, alone, lo_rx_dropped=1)).verdict == "not_reproduced", "harm is its own"
    limited = changed(balanced(reference, 0.17, 500.0), alone, generator="limiting")
    assert judged("A3", limited).verdict == "undecidable_here", "times are not compared with the generator's"


def test_storms_with_the_input_queue_opened_wide_decide_where_there_are_such(reference: Evidence) -> None:
    """In the others it may be what is mended, or what does harm; alone they are all there is."""
    good, bad = balanced(reference, 0.3, 500.0), balanced(reference, 0.3, 4000.0)
    as_it_is = of_plan(good, balancer.BURST, wide=False)
    both = with_runs(good, pd.concat([good.runs[~as_it_is], bad.runs[as_it_is]]))
    opened = judged("A3", both)
    assert opened.verdict == "reproduced"
    assert "netdev_max_backlog was raised" in opened.statement
    assert not set(opened.run_ids) & set(bad.runs.loc[as_it_is, "run_id"])
    alone = judged("A3", with_runs(both, both.runs[~of_plan(both, balancer.BURST, wide=True)]))
    assert alone.verdict == "true_under_conditions"
    assert "netdev_max_backlog" not in alone.statement


def test_how_requests_end_is_told(reference: Evidence) -> None:
    evidence = balanced(reference, 0.3, 500.0)
    alone = of_plan(evidence, balancer.OVERLOAD, variant="server alone")
    outcomes = dict.fromkeys(OUTCOMES, 0) | {"answered": 1_700, "answer_timeout": 8_300}
    assert "83.0% time out" in judged("A3", changed(evidence, alone, outcomes=outcomes)).statement


# ---- A4: the search ------------------------------------------------------------------------------------------------


def searched(reference: Evidence, good: str, confirmed: int = 10, as_they_come: float = 2000.0) -> Evidence:
    """Storms of the search up to the candidate of that name, and of the table's stacks as they come; p99 in ms."""
    search = load_search(SEARCHES / f"{tuning.SEARCH}.toml")
    rows = []
    for number, candidate in enumerate(search.candidates):
        found = candidate.name == good
        plan = Plan(search.name, "", (candidate.trial,), variants=("",))
        p99_ms = 100.0 if found else as_they_come if not candidate.changes else 2000.0
        storms = search.runs + search.confirm if found or p99_ms <= search.target.p99_ms else search.may_miss + 1
        run = planted(reference, plan, lambda trial, name, p99_ms=p99_ms: {"p99_ms": p99_ms}, storms)
        if found:
            run.loc[run.index[search.runs + confirmed :], "p99_ms"] = 5000.0
        rows.append(run.assign(run_id=[f"{number:02d}-{run_id}" for run_id in run["run_id"]]))
        if found and confirmed == search.confirm:
            break
    plan = load_plan(PLANS / f"{tuning.AS_THEY_COME}.toml")
    stacks = planted(reference, plan, lambda trial, name: {"p99_ms": as_they_come})
    return with_runs(reference, pd.concat([*rows, stacks]))


def test_a_search_is_judged_by_fresh_storms_and_by_whether_it_was_needed(reference: Evidence) -> None:
    found = judged("A4", searched(reference, "backlog 4096"))
    assert found.verdict == "true_under_conditions", "of one stack"
    assert found.statement.endswith("Undecided: a search on another stack, confirmed on clean ground.")
    assert (found.value, found.interval, found.interval_kind, found.of_runs) == (1.0, None, None, 10)
    assert "“backlog 4096”" in found.statement
    assert "2 that would have been cheaper were given up" in found.statement
    assert "Node.js in 0 of 5 storms" in found.statement
    needless = judged("A4", searched(reference, "as it comes", as_they_come=100.0))
    assert needless.verdict == "true_under_conditions"
    assert "Go in 5 of 5 storms" in needless.statement


def test_searches_on_two_stacks_reproduce_it(
    reference: Evidence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both must be confirmed where this host dropped nothing."""
    text = (SEARCHES / f"{tuning.SEARCH}.toml").read_text()
    (tmp_path / f"{tuning.SEARCH}.toml").write_text(text)
    (tmp_path / "other.toml").write_text(text.replace('server = "hyper"', 'server = "go"'))
    monkeypatch.setattr(tuning, "SEARCHES", tmp_path)
    other = load_search(tmp_path / "other.toml")
    first = searched(reference, "backlog 4096")
    second = Plan(other.name, "", (other.candidates[1].trial,), variants=("",))
    more = planted(reference, second, lambda trial, name: {"p99_ms": 100.0}, other.runs + other.confirm)
    both = with_runs(first, pd.concat([first.runs, more]))  # its first candidate is Go as it comes
    assert judged("A4", both).verdict == "reproduced"
    lossy = changed(both, both.runs["run_id"].isin(more["run_id"].iloc[:1]), lo_rx_dropped=1)
    assert judged("A4", lossy).verdict == "true_under_conditions"


def test_candidates_given_up_while_packets_were_lost_are_held_against_clean_storms(reference: Evidence) -> None:
    """What misses with as much room where nothing is lost would have been given up without the losses."""
    evidence = searched(reference, "backlog 4096")
    search = load_search(SEARCHES / f"{tuning.SEARCH}.toml")
    hashes = {one.name: one.trial.plan_hash for one in search.candidates}
    evidence = changed(evidence, evidence.runs["plan_hash"].eq(hashes["backlog 1024"]), lo_rx_dropped=1)
    alone = judged("A4", evidence).statement
    assert "In 2 of the 4 storms in which cheaper ones were given up" in alone
    assert "dropped packets: “backlog 1024”." in alone
    assert "cheaper ones miss the target where nothing is lost" in alone.partition("Undecided")[2]

    def rooms(enough: int) -> str:
        def values(trial: Any, variant: str) -> dict[str, Any]:
            room = trial.server.backlog * (trial.server.accept_loops or 1 if trial.server.reuseport else 1)
            listeners = trial.server.accept_loops if trial.server.reuseport else 1
            p99_ms = 100.0 if room >= enough else 2000.0
            return {"p99_ms": p99_ms, "backlog_effective": str(trial.server.backlog), "listeners": str(listeners)}

        storms = planted(reference, load_plan(PLANS / f"{tuning.ROOM}.toml"), values)
        storms = storms.astype({"backlog_effective": int, "listeners": int})
        return judged("A4", with_runs(evidence, pd.concat([evidence.runs, storms]))).statement

    too_small = rooms(8_192)
    assert "queues with room for 4,096 in 0 of 10 storms, for 8,192 in 15 of 15 storms" in too_small
    assert "cheaper ones" not in too_small.partition("Undecided")[2]
    assert "cheaper ones" in rooms(4_096).partition("Undecided")[2], "nothing that small was tested on clean ground"


def test_what_fails_afresh_is_not_found(reference: Evidence) -> None:
    nothing = judged("A4", searched(reference, "none of them"))
    assert nothing.value is None
    assert nothing.verdict == "not_reproduced", "though all stacks miss the target as they come"
    candidates = len(load_search(SEARCHES / f"{tuning.SEARCH}.toml").candidates)
    assert f"None of {candidates} configurations" in nothing.statement
    unlucky = judged("A4", searched(reference, "backlog 4096", confirmed=4))
    assert f"None of {candidates} configurations" in unlucky.statement
    assert unlucky.verdict == "not_reproduced"
    everything_good = judged("A4", searched(reference, "none of them", as_they_come=100.0))
    assert "“as it comes”" in everything_good.statement


def test_what_the_generator_took_is_not_held_against_a_server(reference: Evidence) -> None:
    evidence = searched(reference, "backlog 4096")
    found = judged("A4", changed(evidence, of_plan(evidence, tuning.AS_THEY_COME), generator="limiting"))
    assert found.verdict == "true_under_conditions"
    assert "as it comes misses the target" in found.statement.partition("Undecided")[2]


def test_a_search_that_is_not_over_decides_nothing(reference: Evidence) -> None:
    evidence = searched(reference, "backlog 4096")
    assert judged("A4", with_runs(evidence, evidence.runs.iloc[:3])).verdict == "undecidable_here"


def test_only_the_storms_of_the_search_are_counted(reference: Evidence) -> None:
    """Another plan has more of the same, which come later."""
    evidence = searched(reference, "backlog 4096")
    first = load_search(SEARCHES / f"{tuning.SEARCH}.toml").candidates[0].trial.plan_hash
    evidence = changed(evidence, evidence.runs["plan_hash"].eq(first), lo_rx_dropped=1)
    assert "In 2 of the 4 storms in which" in judged("A4", evidence).statement
    more = evidence.runs[evidence.runs["plan_hash"].eq(first)]
    more = more.assign(run_id=[f"99-{run_id}" for run_id in more["run_id"]])
    twice = with_runs(evidence, pd.concat([evidence.runs, more]))
    said = judged("A4", twice).statement
    assert "In 2 of the 4 storms in which" in said
    assert "(2 of them of the search)" in said


def test_listeners_that_are_found_are_queues_too(reference: Evidence) -> None:
    assert "as many queues" not in judged("A4", searched(reference, "backlog 4096")).statement
    assert "as many queues" not in judged("A4", searched(reference, "backlog 4096, accept_loops 2")).statement
    both = judged("A4", searched(reference, "backlog 4096, accept_loops 2, reuseport True")).statement
    assert "so that its room is 2 times its backlog." in both


# ---- F1: more hands ------------------------------------------------------------------------------------------------


def hands(reference: Evidence, shares: Mapping[str, float]) -> Evidence:
    """First-try shares by the beginning of a scenario's name."""

    def values(trial: Any, variant: str) -> dict[str, Any]:
        return {"first_try_share": shares.get(variant, 0.5)}

    return with_runs(reference, planted(reference, load_plan(PLANS / f"{backlog.HANDS}.toml"), values))


def test_f1_asks_whether_a_larger_backlog_still_helps_where_two_listeners_share_the_work(reference: Evidence) -> None:
    both = "two listeners, listen(4096)"
    helps = judged("F1", hands(reference, {both: 1.0, "one loop, listen(4096)": 1.0}))
    assert helps.verdict == "reproduced"
    assert helps.value == pytest.approx(0.5, abs=0.02)
    instead = judged("F1", hands(reference, {both: 0.9, backlog.TWO_LISTENERS: 0.9}))
    assert instead.verdict == "not_reproduced"
    told = dict(part.split(" with ")[::-1] for part in instead.statement.rstrip(".").rpartition("128: ")[2].split("; "))
    told = {name: float(said.split(" pp")[0].replace("−", "-")) for name, said in told.items()}
    one_worker = {"Hyper": ("two listeners", "four listeners"), "Go": ()}
    by_stack = {
        f"{ways} over one loop{' of one worker' if ways in one_worker[stack] else ''} ({stack})": gain
        for ways, gain in (dict.fromkeys(backlog.INSTEAD, 0) | {"two listeners": 40}).items()
        for stack in one_worker
    }
    assert told == pytest.approx(by_stack, abs=1)
    slow = hands(reference, {both: 1.0})
    one_loop = of_plan(slow, backlog.HANDS, server="go", variant="one loop")
    said = judged("F1", changed(slow, one_loop, generator="limiting")).statement
    said, _, left_out = said.partition(" Left out")
    assert "(Hyper)" in said
    assert "(Go)" not in said, "where the generator was the limit clients came more slowly"
    assert left_out.startswith(", as the generator was the limit: one loop (Go) at 50%.")
    assert "storms on Go, two listeners" in said
    assert "storms on Go, one loop" not in said
    dropping = with_runs(reference, hands(reference, {both: 1.0}).runs.assign(lo_rx_dropped=1))
    assert judged("F1", dropping).verdict == "undecidable_here"


def test_hands_are_held_against_as_many_workers_for_a_listener(reference: Evidence) -> None:
    """On Hyper each of several listeners has one thread: a loop of two is more than that."""
    shares = {"one loop of one worker": 0.2, "two listeners": 0.5, "two listeners, listen(4096)": 1.0}
    said = judged("F1", hands(reference, shares)).statement
    assert re.search(r"\+(29|30)\.\d pp [^;]*with two listeners over one loop of one worker \(Hyper\)", said)
    assert re.search(r"[+−]0\.\d pp [^;]*with two listeners over one loop \(Go\)", said)
    assert "Left out" not in said


def test_several_listeners_are_told_with_the_room_that_they_are(reference: Evidence) -> None:
    evidence = hands(reference, {"two listeners, listen(4096)": 1.0})
    assert "room for" not in judged("F1", changed(evidence, of_plan(evidence, backlog.HANDS), listeners=1)).statement
    two = of_plan(evidence, backlog.HANDS, variant="two listeners")
    said = judged("F1", changed(evidence, two, listeners=2, backlog_effective=128)).statement
    assert "with two listeners, room for 256, over one loop of one worker (Hyper)" in said
    assert "four listeners, room" not in said


def test_only_storms_that_could_have_counted_are_left_out(reference: Evidence) -> None:
    """Storms on other ground were no candidates, whoever was the limit."""
    evidence = hands(reference, {"two listeners, listen(4096)": 1.0})
    as_it_is = of_plan(evidence, backlog.HANDS, wide=False)
    assert "Left out" not in judged("F1", changed(evidence, as_it_is, generator="limiting")).statement


# ---- pending -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claim", "make"),
    [
        ("A3", lambda reference: balanced(reference, 0.3, 500.0)),
        ("A4", lambda reference: searched(reference, "backlog 4096")),
        ("F1", lambda reference: hands(reference, {})),
    ],
    ids=["A3", "A4", "F1"],
)
def test_they_are_pending_exactly_while_their_storms_are_missing(
    reference: Evidence, claim: str, make: Callable[[Evidence], Evidence]
) -> None:
    evidence = make(reference)
    assert judged(claim, with_runs(evidence, evidence.runs.iloc[:0])).verdict == "pending"
    first = evidence.runs.iloc[:1]
    assert judged(claim, with_runs(evidence, first)).verdict == "undecidable_here"
    others = evidence.runs.assign(plan_hash="another")
    assert judged(claim, dataclasses.replace(evidence, runs=others)).verdict == "pending"
