"""What is said of load balancers, on storms whose counters are known; other counters give other words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analysis.mitigations import balancer as tell
from analysis.mitigations.endings import how_requests_end
from analysis.mitigations.ways import endings
from tests.mitigated import PLAIN, kinds, storm, with_front

ALONE = "server alone"
WORK = {"work_us": 10_000}


def counting(variant: str, counted: dict[str, int], **columns: Any) -> dict[str, object]:
    return with_front(variant, front_counters=counted, **columns)


def test_the_evidence_is_the_balancers_own_counters_and_the_kernels() -> None:
    (row,) = tell.evidence(kinds([1.0, 2, 3, 4, 5])).to_dict("records")
    assert row["load balancer"] == "haproxy 2.6.12"
    assert row["it counted"] == "frontend.req_tot 100; backend.connect 7"
    assert row["connections to the server, by the kernel"] == "7"
    assert tell.evidence(pd.DataFrame([storm()])).empty


def test_endings_are_told_with_goodput_throughput_and_refusals() -> None:
    ended = {"answered": 50, "bad_answer": 30, "answer_timeout": 20}
    refusing = counting("limit", {"server.hrsp_2xx": 70}, statuses={"200": 50, "429": 30}, outcomes=ended)
    table = tell.endings_table(endings(pd.DataFrame([storm(), refusing]))).set_index("variant")
    limit = table.loc["limit"]
    assert limit["turned away (429, 502, 503)"] == "30.00%"
    assert (limit["goodput, 1/s"], limit["throughput, answers that the server made, 1/s"]) == ("25", "35")
    assert (limit["of these in vain"], limit["refusals, 1/s"]) == ("29%", "15")
    assert table.loc[PLAIN, "turned away (429, 502, 503)"] == "0.00%"
    assert table.loc[PLAIN, "of these in vain"] == "–", "without work for each nothing tells what was made"


def test_the_overload_is_told_against_the_server_alone() -> None:
    limited = {"answered": 60, "bad_answer": 30, "answer_timeout": 10}
    worse = {"answered": 5, "answer_timeout": 95}
    rows = [
        storm("alone", outcomes={"answered": 10, "answer_timeout": 90}),
        with_front("limit", statuses={"200": 60, "429": 30}, outcomes=limited),
        with_front("no limit", statuses={"200": 5}, outcomes=worse),
    ]
    assert tell.overload(endings(pd.DataFrame(rows * 5)), "alone") == (
        "alone 5 good answers a second, most with *limit*, 30 (30% turned away, 10% timed out, 0% cut off). "
        "In every storm more than alone with *limit* 30; fewer with *no limit* 2. Who is turned away reads: *limit* 429"
    )
    assert "fewer with none" in tell.overload(endings(pd.DataFrame(rows[:2] * 5)), "alone")


def wasteful(answered: int, made: int) -> dict[str, object]:
    late = {"answered": answered, "answer_timeout": 100 - answered}
    return counting("HAProxy", {"server.hrsp_2xx": made}, outcomes=late, options=WORK)


def test_an_honest_no_is_told_from_one_that_blames_the_server() -> None:
    refused = {"answered": 40, "bad_answer": 60}
    rows = [
        with_front("a queue", statuses={"200": 40, "503": 60}, outcomes=refused),
        with_front("full", statuses={"200": 40, "502": 60}, outcomes=refused),
    ]
    said = tell.turned_away_with(endings(pd.DataFrame(rows)))
    assert said.startswith("Who is turned away reads: *a queue* 503; *full* 502. 502 blames the server")
    assert said.endswith("*full* (60 times 502).")
    assert "blames" not in tell.turned_away_with(endings(pd.DataFrame(rows[:1])))
    assert tell.turned_away_with(endings(pd.DataFrame([storm()]))) == "Nobody was turned away."


def test_where_nginx_had_no_connections_left_is_read_off_its_counters() -> None:
    full = {"front": "nginx", "success_rate": 0.853}
    rows = [counting("nginx", {"accepts": 100, "handled": handled}, **full) for handled in (85, 100)]
    runs = pd.DataFrame([storm(), *rows])
    said = tell.out_of_connections(runs)
    assert "*nginx* before go in 1 of 2 storms: of 100 that it accepted it closed 15 at once in the worst" in said
    assert said.endswith("85.30% were answered.")
    assert tell.out_of_connections(runs.iloc[[0, 2]]) == ""


def queueing(variant: str, listener: float, front: int, server: float, open_at_once: int = 100) -> dict[str, object]:
    counted = {"backend.qmax": front, "backend.qtime_max": 504}
    depths = {"peak_accept_queue": listener, "peak_server_queue": server, "peak_in_flight": open_at_once}
    return counting(variant, counted, **depths)


def test_who_queues_is_told_by_the_deepest_of_the_queues() -> None:
    alone = storm(ALONE, peak_accept_queue=80.0, peak_server_queue=80.0)
    rows = [alone, queueing("limit", 90, 0, 1), queueing("queue", 3, 60, 2), queueing("nothing", 2, 0, 9)]
    rows.append(queueing("patient", 3, 160, 2))
    dropped = {"clean": 20, "syn_dropped": 50, "slow_answer": 30}
    rows.append(queueing("full", 30, 0, 9) | {"causes": dropped})
    runs = pd.DataFrame(rows)
    table = tell.queues_table(runs).set_index("variant")
    assert table.loc[ALONE].tolist()[1:5] == ["–", "–", "–", "80"], "the listener that the storm meets is the server's"
    assert table.loc["queue"].tolist()[1:5] == ["3", "60", "504 ms", "2"]
    assert table.loc["limit", "longest wait there"] == "–"
    said = tell.who_queues(runs)
    assert "in the server's accept queue with *server alone* (80 of 100)" in said
    assert "in the load balancer's accept queue with *limit*" in said
    assert "in HAProxy's own queue with *queue* (60 of 100)" in said
    assert (
        "in no queue but in the programs themselves, accepted and not yet answered, with *nothing* (9 of 100)" in said
    )
    assert table.loc["full", "kept out by a full accept queue"] == "50"
    assert "outside, before a full accept queue that drops their SYNs, with *full* (50 of 100 requests" in said
    assert "*patient* (160, of whom no more than 100 were still there)" in said, "it queues also who has gone"


def test_where_no_queue_was_sampled_nothing_is_said_of_who_queues() -> None:
    runs = pd.DataFrame([storm(ALONE), queueing("queue", np.nan, 60, np.nan)])
    assert tell.who_queues(runs) == "How deep the accept queues were was not measured in these storms."
    assert tell.queues_table(runs).set_index("variant").loc["queue", "in its own queue"] == "60"


def test_the_figure_of_endings_has_a_bar_for_each_way_and_what_came_of_it() -> None:
    ended = {"answered": 50, "bad_answer": 30, "answer_timeout": 20}
    limit = counting("limit", {"server.hrsp_2xx": 70}, statuses={"200": 50, "429": 30}, outcomes=ended)
    left, right = how_requests_end(endings(pd.DataFrame([storm(), limit])), "title").axes
    ends = {round(bar.get_x() + bar.get_width(), 6) for bar in left.patches}
    assert ends >= {1.0, 0.5, 0.8}, "they sum to one"
    assert sorted(line.get_xdata()[0] for line in right.lines) == [25, 35, 50], "goodput, and what was made where known"
    (legend,) = left.figure.legends
    said = [text.get_text() for text in legend.get_texts()]
    assert "refused, reset, closed early" not in said, "nothing ended so"
    assert "turned away: 429, 502, 503" in said
