"""Pools, protocols and what comes after a trigger, on runs whose answers are known."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest

from harness.goodput import aftermath, per_second
from harness.manners import HTTP2, PLAIN, POOL, aftermaths, knee, over_connections, slower_than
from harness.plan import trial_from_options
from harness.protocol import heard
from harness.report import manners as tell
from harness.stats import GRID_MS


def run(options: dict[str, object], **columns: object) -> dict[str, object]:
    trial = trial_from_options(options)
    return {
        "plan": json.dumps(trial.to_json()),
        "server": trial.server.name,
        "clients": trial.load.clients,
        "planned": trial.load.planned,
        "generator": "ok",
        "success_rate": 1.0,
        "server_cpu_s": 0.5,
        "peak_rss_bytes": 2**21,
        "connections_made": trial.load.places,
        "attempts_made": trial.load.planned,
        "wanted_p50_ms": 10.0,
        "protocol": "HTTP/2" if trial.load.http2 else "HTTP/1.1",
        **columns,
    }


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
    assert knee(found, "wanted_p99_ms", 0.1).to_dict() == {"python": 10}
    assert knee(found, "wanted_p99_ms", 0.01).to_dict() == {"python": 100}
    assert tell.knees(found, 0.1).endswith("python 10.")
    for pool, is_said in ((10, True), (100, True), (1_000, False)):
        limited = found.assign(generator=np.where(found["pool"].eq(pool) & found["over"].eq(POOL), "limiting", "ok"))
        assert ("python 10 (generator the limit)" in tell.knees(limited, 0.1)) == is_said


def test_a_quantile_among_the_unanswered_is_larger_than_any() -> None:
    found = pools({1: math.nan, 10: 5_000.0})
    assert knee(found, "wanted_p99_ms", 0.1).to_dict() == {"python": 10}
    assert tell.times(pd.Series([math.nan, math.nan])) == "unanswered"
    assert "unanswered in 1 of 2" in tell.times(pd.Series([math.nan, 10.0]))


def test_the_best_of_each_way_is_said_with_its_numbers() -> None:
    (line,) = tell.against_plain(pools({None: 900.0, 1: 300.0, 10: 123.0}))
    assert "plain storm: 100.00% answered, p50 10 ms, p99 900 ms" in line
    assert "pool, 10 connections: 100.00% answered, p50 10 ms, p99 123 ms" in line
    assert "HTTP/2, 1 connection:" in line


def several(plain: list[float], pool: list[float], **columns: object) -> pd.DataFrame:
    """Storms of both kinds, by their p99."""
    rows = [run({"clients": 1_000}, wanted_p99_ms=value) for value in plain]
    rows += [run({"clients": 1_000, "connections": 10}, wanted_p99_ms=value, **columns) for value in pool]
    return over_connections(pd.DataFrame(rows))


def test_each_way_is_held_against_the_plain_storm() -> None:
    found = several([900.0, 1_000.0, 1_100.0], [450.0, 500.0, 550.0], server_cpu_s=0.125, peak_rss_bytes=2**20)
    (row,) = tell.compared(found).to_dict("records")
    assert row["storms"] == "3 and 3"
    assert row["p99"] == "0.50 (0.50 to 0.50)"
    assert row["server's CPU per answer"] == "0.25 (0.25 to 0.25)"
    assert row["peak memory"] == "0.50 (0.50 to 0.50)"
    assert row["connections"] == "10 instead of 1,000"
    assert row["answered"].startswith("+0.0 pp")


def test_times_that_are_the_generators_are_bounds_or_nothing() -> None:
    times = [900.0, 1_000.0, 1_100.0]
    (bound,) = tell.compared(several(times, times, generator="limiting")).to_dict("records")
    assert bound["p99"] == "≤ 1.00 (1.00 to 1.00)"
    found = several(times, times)
    nothing = tell.compared(found.assign(generator=np.where(found["over"] == PLAIN, "limiting", "ok")))
    assert nothing["p99"].to_list() == ["–"]
    assert nothing["server's CPU per answer"].to_list() == ["1.00 (1.00 to 1.00)"]
    assert "plain storm 0 of 3, pool 3 of 3" in tell.generators(several(times, times, generator="limiting"))


def test_a_quantile_among_the_unanswered_is_at_least_the_timeout() -> None:
    """It does not drop out: the storms that failed most would look best."""
    (row,) = tell.compared(several([math.nan] * 3, [1_000.0] * 3)).to_dict("records")
    assert row["p99"] == "0.10 (0.10 to 0.10)"


def test_requests_are_conserved_whatever_it_took() -> None:
    check = json.dumps([{"name": "conservation", "status": "pass"}])
    one = {"planned": 10, "attempts_made": 10, "outcomes": json.dumps({"answered": 9, "refused": 1}), "checks": check}
    lost = {**one, "outcomes": json.dumps({"answered": 9})}
    failed = {**one, "checks": check.replace("pass", "fail")}
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
    assert "20,000" in tell.out_of_files(found)


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


def test_goodput_is_counted_by_the_second() -> None:
    assert per_second(np.array([0, 999_999, 1_000_000, 3_500_000])).tolist() == [2, 1, 0, 1]
    assert per_second(np.array([], np.int64)).tolist() == []


@pytest.mark.parametrize(
    ("goodput", "low_s", "recovered_after_s", "watched_s"),
    [
        ([100] * 20, 0, 0.5, 10),
        ([100] * 10 + [0] * 10, 10, math.inf, 10),
        ([100] * 10, 10, math.inf, 10),  # nothing was answered after that, so nothing was counted
        ([100] * 10 + [0] * 4 + [100] * 6, 4, 4.5, 10),
        ([100] * 10 + [0] * 2 + [100] * 2 + [49] + [50] * 5, 3, 5.5, 10),
    ],
    ids=["well", "kept down", "nothing", "back", "relapse"],
)
def test_the_aftermath_is_what_comes_after_the_trigger(
    goodput: list[int], low_s: int, recovered_after_s: float, watched_s: int
) -> None:
    found = aftermath(goodput, 100, trigger_over_s=9.5, load_ends_s=20)
    assert (found.low_s, found.recovered_after_s, found.watched_s) == (low_s, recovered_after_s, watched_s)


def storm(goodput: list[int], seconds: int = 50) -> dict[str, object]:
    options = {"clients": 100 * seconds, "rate": 100.0, "attempts": 5}
    options |= {"work_us": 1_000}
    columns = {"trigger_over_s": 8.0, "variant": "v", "backlog_effective": 249, "server_cpu_s": 0.2 * seconds}
    found = run(options, goodput_per_s=np.array(goodput), **columns)
    return {**found, "attempts_made": 300 * seconds}


def test_kept_down_and_recovered_need_time_to_be_seen() -> None:
    down, well = storm([100] * 5), storm([100] * 5 + [0] * 6 + [100] * 39)
    short = storm([100] * 12, seconds=12)
    found = aftermaths(pd.DataFrame([down, well, short]))
    assert found["kept_down"].to_list() == [True, False, False]
    assert found["recovered"].to_list() == [False, True, False], "four seconds are not enough to say so"
    assert found["attempts_per_request"].to_list() == [3.0, 3.0, 3.0]
    share = found["useful_share"].to_list()
    assert share == pytest.approx([0.5, 0.5, 0.5]), "100 answers a second, 1 ms each, in 0.2 s of CPU time"
    assert found["full_queue_s"].to_list() == [0.25, 0.25, 0.25]


def test_the_verdict_names_the_policies() -> None:
    down, well = storm([100] * 5), storm([100] * 50)
    mixed = [{**down, "variant": "mixed"}, {**well, "variant": "mixed"}]
    rows = [{**down, "variant": "at once"}, {**well, "variant": "politely"}, *mixed]
    said = tell.retry_verdict(aftermaths(pd.DataFrame(rows)), "variant")
    assert "all storms of *at once*;" in said
    assert "all of *politely*;" in said
    assert said.endswith("all storms of *mixed*")


def test_a_trigger_that_outlived_its_storm_has_no_aftermath() -> None:
    found = aftermaths(pd.DataFrame([{**storm([100] * 50), "trigger_over_s": math.nan}]))
    assert found["watched_s"].to_list() == [0]
    assert not found["recovered"].any()


def test_the_slow_are_counted_from_the_kept_distribution() -> None:
    shares = np.where(np.array(GRID_MS) < 100, 0.0, np.where(np.array(GRID_MS) < 1_000, 0.9, 1.0))
    found = slower_than(pd.DataFrame([{"latency_shares": shares, "planned": 1_000}]), 200)
    assert found.to_list() == [100]


def test_what_a_connection_had_is_told_beside_what_was_slow() -> None:
    runs = pd.DataFrame({"variant": ["few"] * 3, "requests_at_once": [98.0, 100, 99], "slow": [1, 90, 95]})
    assert tell.caught(runs).endswith("the median: 100 and 90 with *few*.")
