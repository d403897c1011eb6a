"""Pools and protocols, on runs whose answers are known."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from analysis.mitigations import policies_told as tell
from analysis.mitigations.fewer import comparisons, told
from analysis.mitigations.policies import HTTP2, PLAIN, POOL, good_pools, over_connections, slower_than
from harness.events.protocol import heard
from harness.lab import open_first, record_if_any
from harness.plan import PLANS, load_plan
from harness.thought.runs import with_variants
from harness.thought.stats import GRID_MS
from tests.lines import run


def pools(p99: dict[int | None, float]) -> pd.DataFrame:
    rows = []
    for connections, value in p99.items():
        pool = {} if connections is None else {"connections": connections}
        rows.append(run({"clients": 1_000, **pool}, wanted_p99_ms=value))
    rows.append(run({"clients": 1_000, "connections": 1, "http2": True}, wanted_p99_ms=5.0))
    return over_connections(pd.DataFrame(rows))


def test_ways_of_connecting_are_told_apart() -> None:
    found = pools({None: 900.0, 10: 100.0})
    assert found["over"].to_list() == [PLAIN, POOL, HTTP2]
    assert found["pool"].to_list() == [1_000, 10, 1]
    assert found["cpu_us_per_answer"].to_list() == [500.0] * 3


def test_the_knee_is_the_smallest_pool_that_is_as_good_as_the_best() -> None:
    found = pools({None: 1.0, 1: 300.0, 10: 104.0, 100: 100.0, 1_000: 200.0})
    assert good_pools(found, "wanted_p99_ms", 0.1) == {"python": [10, 100]}
    assert good_pools(found, "wanted_p99_ms", 0.01) == {"python": [100]}
    assert tell.knees(found, 0.1).startswith("Of the sizes tried (1, 10, 100, 1,000), the smallest and the largest")
    assert tell.knees(found, 0.1).endswith("python 10 and 100.")
    assert tell.knees(found, 0.01).endswith("python 100.")
    for pool, is_said in ((10, True), (100, True), (1_000, False)):
        limited = found.assign(generator=np.where(found["pool"].eq(pool) & found["over"].eq(POOL), "limiting", "ok"))
        assert ("python 10 and 100 (generator the limit)" in tell.knees(limited, 0.1)) == is_said


def test_a_quantile_among_the_unanswered_is_larger_than_any() -> None:
    found = pools({1: math.nan, 10: 5_000.0})
    assert good_pools(found, "wanted_p99_ms", 0.1) == {"python": [10]}


def test_where_some_storms_were_not_answered_their_median_is_told_and_not_the_mean_of_the_others() -> None:
    assert tell.times(pd.Series([math.nan, math.nan])) == "unanswered"
    assert tell.times(pd.Series([math.nan, 10.0])) == "unanswered in 1 of 2"
    assert tell.times(pd.Series([4_000.0, math.nan, 9_000.0, math.nan, math.nan])) == "unanswered in 3 of 5"
    assert tell.times(pd.Series([4_000.0, math.nan, 9_000.0])) == "median 9.00 s; unanswered in 1 of 3"
    assert tell.times(pd.Series([4_000.0, 5_000.0, 9_000.0])).startswith("6.00 s (")


def several(plain: list[float], pool: list[float], **columns: object) -> pd.DataFrame:
    """Storms of both kinds, by their p99."""
    rows = [run({"clients": 1_000}, wanted_p99_ms=value) for value in plain]
    rows += [run({"clients": 1_000, "connections": 10}, wanted_p99_ms=value, **columns) for value in pool]
    return over_connections(pd.DataFrame(rows))


def test_each_way_is_held_against_the_plain_storm() -> None:
    found = several([900.0, 1_000.0, 1_100.0], [450.0, 500.0, 550.0], server_cpu_s=0.125, peak_rss_bytes=2**20)
    (row,) = tell.compared(found).to_dict("records")
    assert row["storms"] == "3 and 3"
    assert row["p99"] == "0.50 in 3 of 3"
    assert row["server's CPU per answer"] == "0.25 in 3 of 3"
    assert row["peak memory"] == "0.50 in 3 of 3"
    assert row["connections"] == "10 instead of 1,000"
    assert row["answered"].startswith("+0.0 pp")


def test_times_that_are_the_generators_are_bounds_or_nothing() -> None:
    times = [900.0, 1_000.0, 1_100.0]
    (bound,) = tell.compared(several(times, times, generator="limiting")).to_dict("records")
    assert bound["p99"] == "≤ 1.00 in 3 of 3"
    found = several(times, times)
    nothing = tell.compared(found.assign(generator=np.where(found["over"] == PLAIN, "limiting", "ok")))
    assert nothing["p99"].to_list() == ["–"]
    assert nothing["server's CPU per answer"].to_list() == ["1.00 in 3 of 3"]
    assert "plain storm 0 of 3, pool 3 of 3" in tell.generators(several(times, times, generator="limiting"))


def test_a_time_that_is_mostly_the_wait_to_be_issued_is_a_bound_the_other_way() -> None:
    times = [900.0, 1_000.0, 1_100.0]
    found = several(times, times)
    late = found.assign(p99_ms=found["wanted_p99_ms"] * np.where(found["over"] == PLAIN, 0.4, 1.0))
    soon = found.assign(p99_ms=found["wanted_p99_ms"] * np.where(found["over"] == PLAIN, 0.6, 1.0))
    assert tell.compared(late)["p99"].to_list() == ["≥ 1.00 in 3 of 3"]
    assert tell.compared(soon)["p99"].to_list() == ["1.00 in 3 of 3"]
    both = late.assign(generator=np.where(late["over"] == PLAIN, "ok", "limiting"))
    assert tell.compared(both)["p99"].to_list() == ["–"], "then it bounds nothing"
    table = tell.means(late)
    assert table["p99, from issue"].to_list()[0].startswith("400 ms")
    assert table["p50, from issue"].to_list() == ["8 ms in 3 of 3", "–"], "of a pool there is no such time"


def test_a_bound_decides_only_what_it_bounds() -> None:
    times = [1_000.0 + step for step in range(5)]
    for factor, late, generator, expected in (
        (0.5, False, "ok", True),
        (0.5, True, "ok", None),
        (2.0, True, "ok", False),
        (0.5, False, "limiting", True),
        (2.0, False, "limiting", None),
        (2.0, True, "limiting", None),
    ):
        found = several(times, [time * factor for time in times], generator=generator)
        issued = found["wanted_p99_ms"].where((found["over"] != PLAIN) | (not late), 100.0)
        (one,) = comparisons(found.assign(p99_ms=issued))
        assert one.better_for_clients is expected, (factor, late, generator)


def test_where_this_host_lost_packets_is_counted() -> None:
    found = several([1.0, 1.0], [1.0])
    assert tell.lost_by_the_host(found).endswith("plain storm 0 of 2, pool 0 of 1.")
    assert "plain storm 1 of 2" in tell.lost_by_the_host(found.assign(lo_rx_dropped=[7, 0, 0]))


def test_a_quantile_among_the_unanswered_is_at_least_the_timeout() -> None:
    """It does not drop out: the storms that failed most would look best."""
    (row,) = tell.compared(several([math.nan] * 3, [1_000.0] * 3)).to_dict("records")
    assert row["p99"] == "0.10 in 3 of 3"


def test_requests_are_conserved_whatever_it_took() -> None:
    check = [{"name": "conservation", "status": "pass"}]
    one = {"planned": 10, "attempts_made": 10, "outcomes": {"answered": 9, "refused": 1}, "checks": check}
    lost = {**one, "outcomes": {"answered": 9}}
    failed = {**one, "checks": [{"name": "conservation", "status": "fail"}]}
    said = tell.conserved(pd.DataFrame([one, {**one, "attempts_made": 35}, lost, failed]))
    assert "In 2 of 4 storms" in said
    assert "40 requests, 39 outcomes" in said
    assert "in 1 of them 10 requests took 35 attempts" in said
    assert "attempts" not in tell.conserved(pd.DataFrame([one])).partition("last attempt")[2]


def test_a_pool_beyond_the_servers_files_is_named() -> None:
    files = {"out_of_files_lines": 0, "peak_server_files": 30.0, "server_files_limit": 20_000.0}
    found = several([1.0], [1.0, 1.0]).assign(**files)
    assert tell.out_of_files(found) == ""
    found.loc[2, "out_of_files_lines"] = 3
    assert "In 1 of 2 storms over 10 connections" in tell.out_of_files(found)
    assert "20,000. No program ended of that." in tell.out_of_files(found)
    ended = found.assign(out_of_files_lines=[0, 0, 3], server_ended=[None, None, "exit status 1"])
    assert tell.out_of_files(ended).endswith("That ended the program of python in 1 of 1 such storms.")
    other = pd.concat([ended, found.assign(server="go", out_of_files_lines=3)], ignore_index=True)
    assert tell.out_of_files(other).endswith("python in 1 of 1 such storms; go went on.")


def test_what_was_spoken_is_counted_against_what_was_asked() -> None:
    found = pools({None: 900.0, 1: 300.0})
    assert "3 of 3" in tell.spoken(found)
    assert "2 of 3" in tell.spoken(found.assign(protocol="HTTP/1.1"))


def test_a_protocol_is_what_all_agents_heard() -> None:
    spoke = {"protocol": "HTTP/2", "frames": {"DATA": 1_500, "SETTINGS": 1}, "library": "h2 4"}
    assert heard([spoke, spoke]).evidence == "frames received: 3,000 DATA, 2 SETTINGS; h2 4"
    text = {"protocol": "HTTP/1.1", "frames": {}, "library": "httptools 1"}
    silent = {"protocol": "", "frames": {}, "library": "httptools 1"}
    assert heard([text, silent]).name == "HTTP/1.1"
    assert heard([silent]).name == heard([]).name == heard([{"late_us": []}]).name == ""


def test_the_slow_are_counted_from_the_kept_distribution() -> None:
    shares = np.where(np.array(GRID_MS) < 100, 0.0, np.where(np.array(GRID_MS) < 1_000, 0.9, 1.0))
    found = slower_than(pd.DataFrame([{"latency_shares": shares, "planned": 1_000}]), 200)
    assert found.to_list() == [100]


def test_the_storms_that_are_told_are_those_with_as_many_clients_where_there_are_some() -> None:
    swept = pools({None: 900.0, 10: 123.0, 100: 456.0})
    found = told(swept.iloc[:0], swept)
    assert found["variant"].to_list() == ["plain storm", "pool over 100"]
    assert told(swept.iloc[:1], swept).equals(swept.iloc[:1])


def test_rows_of_requests_are_counted_with_the_connections_that_they_shared() -> None:
    requests = pa.table({"request": [0, 1, 2, 3], "connection": [7, 7, 7, 9]})
    kept = SimpleNamespace(
        requests=requests, run=SimpleNamespace(run_id="r"), load=SimpleNamespace(planned=4), requests_at_once=3
    )
    (row,) = tell.carried({"HTTP/2": kept}).to_dict("records")  # type: ignore[dict-item]
    assert (row["requests planned"], row["rows"], row["different requests in them"]) == ("4", "4", "4")
    assert (row["connections in them"], row["requests on a connection"]) == ("2", "1 to 3")


def test_a_plan_of_which_nothing_can_be_had_is_left_out_and_said(capsys: pytest.CaptureFixture[str]) -> None:
    plan = load_plan(PLANS / "07-few-connections.toml", {"base": {"clients": 321}})
    found = over_connections(with_variants(record_if_any(plan), plan))
    assert found.empty
    assert "left out: 07-few-connections" in capsys.readouterr().out
    assert told(found, pools({None: 900.0}))["variant"].to_list() == ["plain storm"]
    assert open_first(["no such run"]) is None
