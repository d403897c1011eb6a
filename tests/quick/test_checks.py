"""Checks fail where something is wrong, and doubt where it cannot be known."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from harness.plan import Load, Retries
from harness.thought.checks import (
    Conditions,
    conservation,
    input_queue,
    kernel_counters,
    listeners,
    probe_coverage,
    queue_bound,
    syns_accounted,
    time_order,
)
from harness.thought.generator import judge, judged_anew
from harness.thought.stats import Latencies
from tests.tables import answered, connections, never_established, queue, samples, without_ledger

LATENCIES = Latencies(np.full(100, 100.0), 0)


def requests(clients: list[int]) -> pa.Table:
    return pa.table({"client": clients, "outcome": ["answered"] * len(clients)})


def test_conservation() -> None:
    assert conservation(requests([0, 1, 2]), Load(clients=3)).status == "pass"
    assert conservation(requests([0, 1]), Load(clients=3)).status == "fail"
    assert conservation(requests([0, 1, 1]), Load(clients=3)).status == "fail"
    assert conservation(requests([0, 0, 1, 1]), Load(clients=2, requests_per_client=2)).status == "pass"
    assert conservation(requests([0, 0, 0, 1]), Load(clients=2, requests_per_client=2)).status == "fail"


def test_a_request_that_was_tried_again_must_end_as_its_last_attempt_did() -> None:
    attempts = pa.table({"outcome": ["reset", "answered", "answered"]})
    tried = requests([0, 1]).append_column("connection", pa.array([1, 2]))
    load = Load(clients=2, retries=Retries(attempts=2))
    assert conservation(tried, load, attempts).status == "pass"
    otherwise = tried.set_column(2, "connection", pa.array([0, 2]))
    assert conservation(otherwise, load, attempts).status == "fail"


def test_an_outcome_must_be_there() -> None:
    table = pa.table({"client": [0, 1], "outcome": ["answered", None]})
    assert conservation(table, Load(clients=2)).status == "fail"


def test_time_order_looks_past_what_did_not_happen() -> None:
    names = ("issued_us", "established_us", "closed_us")
    table = pa.table({"issued_us": [1, 5, None], "established_us": [2, None, None], "closed_us": [3, 6, None]})
    assert time_order((table, names)).status == "pass"
    backwards = table.set_column(2, "closed_us", pa.array([3, 4, None]))
    assert time_order((backwards, names)).status == "fail"


def test_a_dropping_input_queue_withholds_the_verdict() -> None:
    assert input_queue({"lo_rx_dropped": 0}).status == "pass"
    assert input_queue({"lo_rx_dropped": 1}).status == "unknown"
    assert "no verdict" in input_queue({"lo_rx_dropped": 1}).detail
    assert input_queue(None).status == "unknown"


def test_the_kernel_must_have_opened_as_many_as_the_rows_say() -> None:
    issued = pa.table({"outcome": ["answered", "not_issued"], "issued_us": [1, None]})
    assert conservation(requests([0, 1]), Load(clients=2), issued, opened=1).status == "pass"
    assert conservation(requests([0, 1]), Load(clients=2), issued, opened=2).status == "fail"


ABOUT = Conditions(Load(clients=1), {"ListenDrops": 1}, client_cpus=1, host_cpus=2)


def test_the_ledger_may_not_have_the_listener_drop_more_than_the_kernel_counts() -> None:
    dropped = never_established(syns_left=1, syns_arrived=1, total_retransmits=0)
    assert syns_accounted(connections(dropped), ABOUT).status == "pass"
    assert syns_accounted(connections(dropped, dropped), ABOUT).status == "fail"
    assert syns_accounted(connections(without_ledger(dropped)), ABOUT).status == "unknown"
    refused = {**dropped, "outcome": "refused"}
    assert syns_accounted(connections(dropped, refused), ABOUT).status == "pass", "a reset is an answer"


def test_the_sockets_must_have_been_the_same() -> None:
    rows = connections(answered())
    same, none = queue((0, 10, 0)), queue((0, 10, None))
    assert listeners(samples(*same), rows).status == "pass"
    assert (
        listeners(samples(*queue((0, 10, 0)), {**same[0], "time_us": 9_000, "listener_inodes": 1}), rows).status
        == "pass"
    )
    replaced = [{**one, "listener_inodes": 1} for one in queue((3, 10, 0))]
    assert listeners(samples(*queue((0, 2, 0), every_us=1_000), *replaced), rows).status == "unknown"
    assert listeners(samples(*none), rows).status == "unknown"
    assert listeners(None, rows).status == "unknown"


def rows_with(synacks: list[int | None], **columns: list[int | None]) -> pa.Table:
    return pa.table(
        {
            "issued_us": pa.array([1] * len(synacks)),
            **{name: pa.array(values, pa.int64()) for name, values in columns.items()},
            "synacks_sent": pa.array(synacks, pa.uint16()),
        }
    )


@pytest.mark.parametrize(
    ("kernel", "synacks", "status"),
    [
        (5, [1, 1, 0], "pass"),
        (6, [2, 1, 0], "pass"),
        (6, [1, 1, 0], "unknown"),
        (6, [None, None, None], "unknown"),
        (4, [1, 1, 0], "fail"),
    ],
)
def test_syn_retransmissions_against_the_kernel(kernel: int, synacks: list[int | None], status: str) -> None:
    table = rows_with(synacks, established_us=[1, 2, None], syn_retransmits=[0, 2, None], total_retransmits=[4, 3, 3])
    assert kernel_counters(table, {"TCPSynRetrans": kernel}).status == status
    assert kernel_counters(table, {}).status == "unknown"
    two_hops = kernel_counters(table, {"TCPSynRetrans": kernel}, hops=2).status
    assert two_hops == ("unknown" if kernel == 6 else status), "the load balancer's own are in no row"


@pytest.mark.parametrize(("depths", "status"), [([0, 129, 129, 60], "pass"), ([0, 129, 60, 61], "fail")])
def test_a_smaller_backlog_may_find_more_in_the_queue_and_let_nobody_in(depths: list[int], status: str) -> None:
    """listen(2) called again: what is there stays."""
    seen = pa.table({"time_us": [0, 5, 10, 15], "accept_queue": depths, "backlog": [128, 128, 32, 32]})
    assert queue_bound(seen, 1, 2, 0).status == status


@pytest.mark.parametrize(
    ("when_us", "depth", "status"),
    [
        (50_000, 129, "pass"),
        (50_000, 130, "fail"),
        (1_050_000, 130, "pass"),  # sent again by timers, which run on any CPU
        (1_050_000, 131, "fail"),
    ],
)
def test_the_queue_is_never_above_backlog_and_issuing_cpus(when_us: int, depth: int, status: str) -> None:
    seen = pa.table({"time_us": [0, when_us, 2], "accept_queue": [0, depth, None], "backlog": [128, 128, None]})
    assert queue_bound(seen, 1, 2, 100).status == status
    assert queue_bound(seen, 2, 2, 100).status == ("pass" if depth < 131 else "fail")
    assert queue_bound(None, 2, 2, 100).status == "unknown"


@pytest.mark.parametrize(
    ("times", "status"),
    [
        ([0, 90_000, 180_000, 200_001], "pass"),
        ([0, 90_000, 180_000], "unknown"),
        ([0, 200_001], "unknown"),
        ([20, 90_000, 180_000, 200_001], "unknown"),
    ],
)
def test_the_probe_must_have_seen_the_whole_storm(times: list[int], status: str) -> None:
    both = pa.table({"issued_us": [10, 20], "closed_us": [30, 200_000]})
    assert probe_coverage(pa.table({"time_us": times}), both).status == status
    assert probe_coverage(None, both).status == "unknown"


def report(waited_s: float = 5.0, late_us: int = 100) -> dict[str, object]:
    return {"cpu_user_s": 1.0, "cpu_system_s": 2.0, "ran_s": 10.0, "waited_s": waited_s, "late_us": [[late_us, 50]]}


@pytest.mark.parametrize(
    ("reports", "agents", "server_busy", "verdict"),
    [
        ([report()], 1, 0.2, "ok"),
        ([report(), report()], 2, 0.2, "ok"),
        ([report(), report(waited_s=0.1)], 2, 0.2, "limiting"),
        ([report(waited_s=0.1)], 1, 0.96, "ok"),
        ([report(waited_s=0.1)], 1, None, "unknown"),
        ([report(late_us=60_000)], 1, 0.2, "ok"),
        ([report(late_us=598_000)], 1, 0.2, "limiting"),
        ([report(late_us=598_000)], 1, 0.96, "unknown"),
        ([report()], 2, 0.2, "unknown"),
    ],
    ids=[
        *("idle", "two idle", "one busy", "busy, and so is the server", "busy, and the server unknown"),
        *("late, as work is", "stood still", "stood still, and the server had no time to spare", "one did not report"),
    ],
)
def test_the_generator_judges_itself(
    reports: list[dict[str, object]], agents: int, server_busy: float | None, verdict: str
) -> None:
    judged = judge(reports, agents, LATENCIES, server_busy, slots_late_ms=1.0)
    assert judged.verdict == verdict
    assert judged.cpu_system_s == 2.0 * len(reports)


def test_an_agent_that_was_stopped_issues_late_though_its_loop_was_not() -> None:
    """Who is stopped in his sleep wakes up in time, by his own clock."""
    stopped = judge([report()], 1, LATENCIES, 0.2, slots_late_ms=598.0)
    assert stopped.verdict == "limiting"
    assert "598 ms" in stopped.because
    assert stopped.stood_still


@pytest.mark.parametrize(("server_busy", "verdict"), [(0.2, "limiting"), (0.96, "unknown")])
def test_an_agent_that_was_seen_to_stand_still_is_the_limit_of_a_burst_too(server_busy: float, verdict: str) -> None:
    stopped = judge([report()], 1, LATENCIES, server_busy, still_ms=704.0)
    assert (stopped.verdict, stopped.stood_still) == (verdict, True)
    assert not judge([report()], 1, LATENCIES, server_busy, still_ms=90.0).stood_still


def test_where_one_waits_for_the_other_a_lag_of_half_a_latency_is_the_generators() -> None:
    """In a closed loop neither has to be busy all the time for that: each idles while the other works."""
    half = [report(late_us=60_000)]
    assert judge(half, 1, LATENCIES, 0.7).verdict == "limiting"
    assert judge(half, 1, LATENCIES, 0.97).verdict == "ok"
    assert judge([report(late_us=40_000)], 1, LATENCIES, 0.7).verdict == "ok"
    told = "limiting: the p50 of its lag is 0.16 ms, that of the answers' latency 0.3 ms; no"
    assert judged_anew("limiting", told, 0.7, 3.0) == "limiting"


def test_a_lag_far_below_what_is_measured_limits_nothing() -> None:
    assert judge([report(late_us=400_000)], 1, Latencies(np.full(100, 5_000.0), 0), 0.2).verdict == "ok"


@pytest.mark.parametrize(
    ("told", "server_busy", "p99_ms", "verdict"),
    [
        ("limiting: an agent was busy 97% of its time; no verdict", 0.4, 3.0, "limiting"),
        ("limiting: an agent was busy 97% of its time; no verdict", 0.99, 3.0, "ok"),
        ("limiting: an agent was busy 97% of its time; no verdict", None, 3.0, "unknown"),
        ("limiting: the p50 of its lag is 0.16 ms, that of the answers' latency 0.3 ms; no", 0.4, 3.0, "ok"),
        ("limiting: the p50 of its lag is 0.16 ms, that of the answers' latency 0.3 ms; no", 0.4, 300.0, "unknown"),
        ("limiting: the p99 of its lag is 598 ms, that of the answers' latency 700 ms; no", 0.4, 700.0, "limiting"),
        ("limiting: the p99 of its lag is 598 ms, that of the answers' latency 700 ms; no", 0.99, 700.0, "unknown"),
        ("limiting: an agent stood still: the p99 of the lag is 598 ms", 0.4, 700.0, "limiting"),
    ],
)
def test_what_earlier_rules_said_is_judged_anew(
    told: str, server_busy: float | None, p99_ms: float, verdict: str
) -> None:
    assert judged_anew("limiting", told, server_busy, p99_ms, paced=True) == verdict
    assert judged_anew("ok", "ok: the busiest agent was busy 8% of its time", server_busy, p99_ms) == "ok"


def test_without_answers_there_is_nothing_to_compare_the_lag_with() -> None:
    assert judge([report()], 1, Latencies(np.array([]), 10)).verdict == "unknown"
