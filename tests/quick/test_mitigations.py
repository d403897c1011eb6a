"""How requests ended and who paid, on storms whose answers are known; other storms give other words."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis.mitigations import ways_told as tell
from analysis.mitigations.ways import Ranked, compared, endings, one_demand, trade_offs
from harness.errors import PlanError
from harness.page.figures.rows import compare_rows
from tests.mitigated import PLAIN, kinds, storm, with_front


def test_endings_sum_to_all_and_costs_are_of_server_and_front_together() -> None:
    ended = {"answered": 50, "bad_answer": 33, "connect_timeout": 5, "answer_timeout": 5, "reset": 4, "other_error": 3}
    told = {"200": 50, "429": 20, "503": 10, "500": 3}
    runs = endings(pd.DataFrame([storm(), with_front(statuses=told, outcomes=ended)]))
    plain, front = runs.to_dict("records")
    assert (plain["turned_away"], plain["timed_out"], plain["cut_off"], plain["lost_otherwise"]) == (0, 0, 0, 0)
    assert (front["turned_away"], front["timed_out"], front["cut_off"]) == pytest.approx((0.3, 0.1, 0.04))
    assert front["lost_otherwise"] == pytest.approx(0.06), "500 is no word for too many"
    parts = ["success_rate", "turned_away", "timed_out", "cut_off", "lost_otherwise"]
    assert sum(front[name] for name in parts) == pytest.approx(1)
    assert (front["good_per_s"], front["refused_per_s"]) == (25, 15), "goodput, and apart those who were turned away"
    assert (plain["cpu_us_per_answer"], front["cpu_us_per_answer"]) == pytest.approx((2_000, 10_000))
    assert (plain["memory_mib"], front["memory_mib"]) == (2, 3)
    assert (plain["connections_at_server"], front["connections_at_server"]) == (100, 7)


def test_only_storms_of_the_same_demand_are_put_together() -> None:
    plain = pd.DataFrame([storm()])
    other = pd.DataFrame([storm("backlog", options={"backlog": 4096})])
    joined = one_demand([plain, other])
    assert joined["variant"].tolist() == [PLAIN, "backlog"]
    assert list(joined["variant"].cat.categories) == [PLAIN, "backlog"]
    gentler = pd.DataFrame([storm("rate", options={"rate": 50.0})])
    with pytest.raises(PlanError, match="differ in rate"):
        one_demand([plain, gentler])


def of_p99(runs: pd.DataFrame) -> tuple[str, float]:
    (one,) = [one for one in compared(runs, PLAIN) if one.measure == "wanted_p99_ms"]
    return one.found, one.ratio


@pytest.mark.parametrize(
    ("p99_with", "found"),
    [
        ([50.0, 51, 52, 53, 54], ("better", 52 / 102)),
        ([500.0, 510, 520, 530, 540], ("worse", 520 / 102)),
        ([50.0, 51, 52, 53, 103], ("alike", np.nan)),
        ([np.nan] * 5, ("worse", np.inf)),
        ([50.0, 51, 52, 53], ("too few storms", np.nan)),
    ],
    ids=str,
)
def test_a_difference_is_one_that_every_storm_shows(p99_with: list[float], found: tuple[str, float]) -> None:
    assert of_p99(kinds(p99_with)) == (found[0], pytest.approx(found[1], nan_ok=True))


@pytest.mark.parametrize(
    ("p99_ms", "limited", "found"),
    [
        (50.0, "HAProxy", "better"),
        (500.0, "HAProxy", "generator the limit"),
        (500.0, PLAIN, "worse"),
        (50.0, PLAIN, "generator the limit"),
    ],
)
def test_where_the_generator_was_the_limit_the_server_was_faster_still(p99_ms: float, limited: str, found: str) -> None:
    runs = kinds([p99_ms] * 5)
    runs.loc[runs["variant"] == limited, "generator"] = "limiting"
    assert of_p99(runs)[0] == found
    by_measure = {one.measure: one.found for one in compared(runs, PLAIN)}
    assert by_measure["cpu_us_per_answer"] == "worse", "it is the server's own"


def test_what_was_not_measured_is_neither_better_nor_worse() -> None:
    runs = kinds([50.0] * 5)
    runs.loc[runs["variant"] == PLAIN, "memory_mib"] = np.nan
    by_measure = {one.measure: one.found for one in compared(runs, PLAIN)}
    assert by_measure["memory_mib"] == "not measured"
    assert by_measure["wanted_p99_ms"] == "better"


def test_goodput_is_of_the_time_that_the_load_lasts() -> None:
    """100 requests at 50 a second: 40 answered while it lasts, 30 of those who queued longest after it."""
    steps = [0] * 5 + [40] + [0] * 20 + [30] + [0] * 273
    options = {"rate": 50.0}
    late = storm(outcomes={"answered": 70, "answer_timeout": 30}, answers_per_step=steps, options=options)
    (row,) = endings(pd.DataFrame([late])).to_dict("records")
    assert (row["good_per_s"], row["refused_per_s"]) == (20, 0)


def test_throughput_is_what_the_server_made_whoever_still_waited() -> None:
    """Of 90 that HAProxy counts of the server clients take 60; a second of CPU time is worth 100 answers of 10 ms."""
    late = {"answered": 60, "answer_timeout": 40}
    work = {"work_us": 10_000}
    counted = {"front_counters": {"server.hrsp_2xx": 90, "frontend.hrsp_2xx": 70}}
    rows = [
        with_front(outcomes=late, options=work | {"front": "haproxy"}, **counted),  # type: ignore[arg-type]
        storm(outcomes=late, options=work, server_cpu_s=1.0),
        storm(outcomes=late, options=work, server_cpu_s=0.5),
        storm(outcomes=late),
        storm(outcomes={"answered": 0, "answer_timeout": 100}, options=work, server_cpu_s=1.0),
    ]
    runs = endings(pd.DataFrame(rows))
    assert runs["made_per_s"].tolist() == pytest.approx([45, 50, 30, np.nan, 50], nan_ok=True)
    assert runs["wasted_share"].tolist() == pytest.approx([1 / 3, 0.4, 0, np.nan, 1], nan_ok=True)


def test_connections_that_are_not_known_are_not_the_clients() -> None:
    rows = [storm(), with_front(), with_front(connections_to_server=np.nan)]
    assert endings(pd.DataFrame(rows))["connections_at_server"].tolist() == pytest.approx([100, 7, np.nan], nan_ok=True)


def test_a_shorter_tail_at_a_longer_median_is_a_trade_off() -> None:
    runs = kinds([50.0, 51, 52, 53, 54])
    assert not trade_offs(compared(runs, PLAIN))
    runs["wanted_p50_ms"] = np.where(runs["variant"] == PLAIN, 10.0, 30.0)
    (line,) = tell.backfires(compared(runs, PLAIN))
    assert line == "- A trade-off on go: *HAProxy* helps the tail, costs the median (p99 × 0.51, p50 × 3)."
    both_worse = runs.assign(wanted_p99_ms=np.where(runs["variant"] == PLAIN, 100.0, 300.0))
    (line,) = tell.backfires(compared(both_worse, PLAIN))
    assert line == "- *HAProxy* made it worse on go (p50 × 3, p99 × 3)."
    other_way = both_worse.assign(wanted_p50_ms=np.where(runs["variant"] == PLAIN, 10.0, 5.0))
    assert "helps the median, costs the tail" in tell.backfires(compared(other_way, PLAIN))[0]


def test_a_first_try_is_no_gain_where_clients_came_more_slowly() -> None:
    """A generator that is the limit lets fewer clients wait."""
    runs = kinds([50.0] * 5).assign(first_try_share=0.5)
    runs.loc[runs["variant"] != PLAIN, "first_try_share"] = 0.9
    of_try = {"first_try_share": 1}
    for limited, found in ((PLAIN, "better"), ("HAProxy", "generator the limit")):
        slow = runs.assign(generator=np.where(runs["variant"] == limited, "limiting", "ok"))
        assert [one.found for one in compared(slow, PLAIN, of_try)] == [found]


def test_a_goodput_of_fewer_answers_is_no_better() -> None:
    few = {"answered": 10, "bad_answer": 90}
    limit = with_front("limit", outcomes=few, statuses={"200": 10, "429": 90}, throughput_per_s=500.0)
    by_measure = {one.measure: one.found for one in compared(endings(pd.DataFrame([storm(), limit] * 5)), PLAIN)}
    assert (by_measure["good_per_s"], by_measure["success_rate"]) == ("fewer answered", "worse")
    nobody = with_front("limit", outcomes={"answered": 0, "bad_answer": 100}, statuses={"429": 100})
    found = compared(endings(pd.DataFrame([storm(), nobody] * 5)), PLAIN)
    assert "answered × 0" in tell.backfires(found)[0]


def test_more_is_better_of_some_measures_and_worse_of_others() -> None:
    found = {one.measure: one.found for one in compared(kinds([50.0, 51, 52, 53, 54]), PLAIN)}
    assert found["cpu_us_per_answer"] == found["memory_mib"] == "worse"
    assert found["connections_at_server"] == "better"
    assert found["success_rate"] == "alike", "equal in all"


def test_what_a_combination_reaches_is_told_of_the_part_that_reaches_it() -> None:
    ratios = {"pool": (0.05, 0.14), "pool and backlog": (0.04, 0.12), "backlog": (0.3, 0.4)}
    found = [
        Ranked(server, variant, "wanted_p99_ms", "better", ratio)
        for variant, both in ratios.items()
        for server, ratio in zip(("go", "hyper"), both, strict=True)
    ]
    assert tell.headline_of_p99(found).startswith("p99 × 0.05 to 0.14 with pool;")
    assert tell.headline_of_p99(found[2:]).startswith("p99 × 0.04 to 0.12 with pool and backlog;")


def test_the_table_says_what_each_brings_and_costs() -> None:
    runs = kinds([500.0, 510, 520, 530, np.nan])
    found = compared(runs, PLAIN)
    table = tell.all_of_them(runs, found).set_index("mitigation")
    assert table.loc[PLAIN, "costs"] == "–"
    assert table.loc[PLAIN, "listeners in the kernel"] == "1"
    assert "CPU per answer × 2.5" in table.loc["HAProxy", "costs"]
    assert "p99 × 5.1" in table.loc["HAProxy", "costs"]
    assert table.loc["HAProxy", "p99"] == "520 ms (range 500 ms to unanswered)", "medians, as its ratios are"
    assert "connections at the server × 0.07" in table.loc["HAProxy", "brings"]
    assert tell.backfires(found) == ["- *HAProxy* made it worse on go (p99 × 5.1)."]
    assert tell.backfires(compared(kinds([50.0, 51, 52, 53, 54]), PLAIN)) == []


def test_what_this_host_lost_and_who_was_not_answered_is_told() -> None:
    runs = kinds([50.0, 51, 52, 53, 54])
    assert tell.lost_by_the_host(runs, PLAIN) == "This host's own input queue dropped packets in none of 10 storms."
    assert tell.lost_by_the_host(runs.iloc[:0], PLAIN) == ""
    assert tell.not_all_answered(runs) == "Fewer than 99% answered, in the worst storm: with none."
    runs.loc[[0, 7], "lo_rx_dropped"] = 3
    assert tell.lost_by_the_host(runs, PLAIN).startswith("In 2 of 10 storms, 1 of 5 of them *as it comes*, this host's")
    runs.loc[8, "success_rate"] = 0.853
    assert tell.not_all_answered(runs).endswith("in the worst storm: *HAProxy* (go 85.3%).")


def test_the_figure_shows_who_was_not_answered_and_who_was_limited() -> None:
    runs = kinds([50.0, 51, 52, 53, np.nan])
    runs["generator"] = ["limiting"] + ["ok"] * 9
    measures = {
        "success_rate": ("answered", "share"),
        "wanted_p99_ms": ("p99", "ms"),
        "memory_mib": ("MiB", "plain"),
    }
    figure = compare_rows(runs, measures, "title", group="server", baseline=True)
    assert len(figure.axes) == 3
    crosses = [line for axes in figure.axes for line in axes.lines if line.get_marker() == "x"]
    assert len(crosses) == 1
    said = [text.get_text() for found in figure.legends for text in found.get_texts()]
    assert said == ["go", "generator the limit", "lies among the unanswered"]
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert labels == [PLAIN, "HAProxy"]
    figure = compare_rows(kinds([1.0, 2, 3, 4, 5]), measures, "title", group="server", baseline=True)
    said = [text.get_text() for found in figure.legends for text in found.get_texts()]
    assert said == ["go"]


def test_who_ended_is_counted() -> None:
    runs = pd.DataFrame([storm(), storm("backlog", success_rate=0.4)]).assign(server_ended=[None, "exit status 1"])
    said = tell.endings_of_servers(runs)
    assert said.startswith("0 of 1 with *as it comes* (100.00% answered); 1 of 1 with *backlog*")


def test_what_one_kind_of_storm_brings_over_another_is_told_server_by_server() -> None:
    assert tell.brought(compared(kinds([50.0, 51, 52, 53, 54]), PLAIN)) == (
        "*HAProxy*: go better p99 × 0.51 and worse CPU per answer × 2.5, memory × 1.5."
    )
    runs = kinds([50.0, 51, 52, 53, 103]).assign(cpu_us_per_answer=1.0, memory_mib=1.0)
    assert tell.brought(compared(runs, PLAIN)) == "*HAProxy*: go no difference that shows in every storm."
    few = tell.brought(compared(kinds([50.0], count=1), PLAIN))
    assert few.endswith("Of 6 comparisons 6 have no answer: fewer than 5 storms of a kind in 6.")
    assert tell.brought([]) == "There is nothing to compare."
