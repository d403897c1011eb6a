"""How requests ended and who paid, on storms whose answers are known; other storms give other words."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from harness import plots
from harness.errors import PlanError
from harness.events import OUTCOMES
from harness.mitigations import differences, endings, one_demand
from harness.plan import trial_from_options
from harness.report import mitigations as tell

PLAIN = "as it comes"


def storm(variant: str = PLAIN, statuses: dict[str, int] | None = None, **columns: object) -> dict[str, object]:
    """100 requests in two seconds: all answered, unless something else is said."""
    outcomes = dict.fromkeys(OUTCOMES, 0) | {"answered": 100} | dict(columns.pop("outcomes", {}))  # type: ignore[call-overload]
    trial = trial_from_options({"clients": 100, **dict(columns.pop("options", {}))})  # type: ignore[call-overload]
    return {
        "server": "go",
        "variant": variant,
        "plan": json.dumps(trial.to_json()),
        "planned": 100,
        "clients": 100,
        "connections_made": 100,
        "outcomes": json.dumps(outcomes),
        "statuses": json.dumps(statuses or {"200": 100}),
        "success_rate": outcomes["answered"] / 100,
        "wanted_p50_ms": 10.0,
        "wanted_p99_ms": 100.0,
        "wall_s": 2.0,
        "server_cpu_s": 0.2,
        "peak_rss_bytes": 2**21,
        "front": None,
        "front_version": None,
        "front_backlog_effective": np.nan,
        "front_counters": None,
        "front_cpu_s": np.nan,
        "front_peak_rss_bytes": np.nan,
        "connections_to_server": np.nan,
        "listeners": 1,
        "generator": "ok",
        **columns,
    }


def with_front(variant: str = "HAProxy", **columns: object) -> dict[str, object]:
    counted = {"frontend.req_tot": 100, "backend.connect": 7, "frontend.slim": 9}
    about = {"front": "haproxy", "front_version": "2.6.12", "front_backlog_effective": 4096.0}
    used = {"front_cpu_s": 0.3, "front_peak_rss_bytes": 2**20, "connections_to_server": 7.0}
    return storm(variant, **(about | used | {"front_counters": json.dumps(counted)} | columns))  # type: ignore[arg-type]


def test_endings_sum_to_all_and_costs_are_of_server_and_front_together() -> None:
    ended = {"answered": 50, "bad_answer": 30, "connect_timeout": 5, "answer_timeout": 5, "reset": 4, "other_error": 6}
    runs = endings(pd.DataFrame([storm(), with_front(statuses={"200": 50, "429": 20, "503": 10}, outcomes=ended)]))
    plain, front = runs.to_dict("records")
    assert (plain["turned_away"], plain["timed_out"], plain["cut_off"], plain["lost_otherwise"]) == (0, 0, 0, 0)
    assert (front["turned_away"], front["timed_out"], front["cut_off"]) == pytest.approx((0.3, 0.1, 0.04))
    parts = ["success_rate", "turned_away", "timed_out", "cut_off", "lost_otherwise"]
    assert sum(front[name] for name in parts) == pytest.approx(1)
    assert (front["good_per_s"], front["told_per_s"]) == (25, 40), "goodput, and all that clients were told"
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


def kinds(p99_with: list[float], count: int = 5) -> pd.DataFrame:
    rows = [storm(wanted_p99_ms=100.0 + number) for number in range(count)]
    return endings(pd.DataFrame(rows + [with_front(wanted_p99_ms=value) for value in p99_with]))


@pytest.mark.parametrize(
    ("p99_with", "found"),
    [
        ([50.0, 51, 52, 53, 54], (False, pytest.approx(52 / 102))),
        ([500.0, 510, 520, 530, 540], (True, pytest.approx(520 / 102))),
        ([50.0, 51, 52, 53, 103], None),
        ([np.nan] * 5, (True, np.inf)),
        ([50.0, 51, 52, 53], None),
    ],
    ids=str,
)
def test_a_difference_is_one_that_every_storm_shows(p99_with: list[float], found: tuple[bool, float] | None) -> None:
    of_p99 = [one for one in differences(kinds(p99_with), PLAIN) if one.measure == "wanted_p99_ms"]
    assert [(one.worse, one.ratio) for one in of_p99] == ([] if found is None else [found])


def test_more_is_better_of_some_measures_and_worse_of_others() -> None:
    found = {one.measure: one.worse for one in differences(kinds([50.0, 51, 52, 53, 54]), PLAIN)}
    assert found["cpu_us_per_answer"]
    assert found["memory_mib"]
    assert not found["connections_at_server"]
    assert "success_rate" not in found, "equal in all"


def test_the_table_says_what_each_brings_and_costs() -> None:
    runs = kinds([500.0, 510, 520, 530, np.nan])
    found = differences(runs, PLAIN)
    table = tell.all_of_them(runs, found).set_index("mitigation")
    assert table.loc[PLAIN, "costs"] == "–"
    assert table.loc[PLAIN, "listeners in the kernel"] == "1"
    assert "CPU per answer × 2.5" in table.loc["HAProxy", "costs"]
    assert "p99 × 5.1" in table.loc["HAProxy", "costs"]
    assert "unanswered in 1 of 5" in table.loc["HAProxy", "p99"]
    assert "connections at the server × 0.07" in table.loc["HAProxy", "brings"]
    assert tell.backfires(found) == ["- *HAProxy* made it worse on go (p99 × 5.1)."]
    assert tell.backfires(differences(kinds([50.0, 51, 52, 53, 54]), PLAIN)) == []


def test_the_evidence_is_the_balancers_own_counters_and_the_kernels() -> None:
    (row,) = tell.evidence(kinds([1.0, 2, 3, 4, 5])).to_dict("records")
    assert row["load balancer"] == "haproxy 2.6.12"
    assert row["it counted"] == "frontend.req_tot 100; backend.connect 7"
    assert row["connections to the server, by the kernel"] == "7"
    assert tell.evidence(pd.DataFrame([storm()])).empty


def test_endings_are_told_with_goodput_and_throughput() -> None:
    ended = {"answered": 50, "bad_answer": 50}
    runs = endings(pd.DataFrame([storm(), with_front("limit", statuses={"200": 50, "429": 50}, outcomes=ended)]))
    table = tell.endings_table(runs).set_index("variant")
    assert table.loc["limit", "turned away"] == "50.00%"
    assert (table.loc["limit", "goodput, 1/s"], table.loc["limit", "all that clients were told, 1/s"]) == ("25", "50")
    assert table.loc[PLAIN, "turned away"] == "0.00%"


def test_what_is_stranded_is_counted() -> None:
    runs = pd.DataFrame([storm(), storm("two listeners", listeners=2)]).assign(slow=[0, 48])
    table = tell.stranded(runs)
    assert table["waited for the loop, median"].tolist() == [0, 48]


def test_the_figure_shows_who_was_not_answered_and_who_was_limited() -> None:
    runs = kinds([50.0, 51, 52, 53, np.nan])
    runs["generator"] = ["limiting"] + ["ok"] * 9
    measures = {"success_rate": ("answered", "share"), "wanted_p99_ms": ("p99", "ms"), "memory_mib": ("MiB", "plain")}
    figure = plots.all_mitigations(runs, measures, "title")
    assert len(figure.axes) == 3
    crosses = [line for axes in figure.axes for line in axes.lines if line.get_marker() == "x"]
    assert len(crosses) == 1
    said = [text.get_text() for found in figure.legends for text in found.get_texts()]
    assert said == ["go", "generator the limit", "lies among the unanswered"]
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert labels == [PLAIN, "HAProxy"]
    figure = plots.all_mitigations(kinds([1.0, 2, 3, 4, 5]), measures, "title")
    said = [text.get_text() for found in figure.legends for text in found.get_texts()]
    assert said == ["go"]


def test_hands_are_told_by_the_way_of_accepting_and_by_the_input_queue() -> None:
    rows = [storm("one loop", first_try_share=0.25), storm("two listeners", listeners=2, first_try_share=0.75)]
    runs = endings(pd.DataFrame(rows * 2)).assign(wide=[False, False, True, True], ListenOverflows=7, lo_rx_dropped=0)
    table = tell.hands_table(runs)
    assert table["input queue"].tolist() == ["as it is", "as it is", "wide", "wide"]
    assert table["listeners in the kernel"].tolist() == ["1", "2", "1", "2"]
    assert tell.hands(runs) == "go: *one loop* 25%, *two listeners* 75%"


def test_the_overload_is_told_against_the_server_alone() -> None:
    limited = {"answered": 60, "bad_answer": 30, "answer_timeout": 10}
    worse = {"answered": 5, "answer_timeout": 95}
    rows = [
        storm("alone", outcomes={"answered": 10, "answer_timeout": 90}),
        with_front("limit", statuses={"200": 60, "429": 30}, outcomes=limited),
        with_front("no limit", statuses={"200": 5}, outcomes=worse),
    ]
    assert tell.overload(endings(pd.DataFrame(rows)), "alone") == (
        "alone 5 answers a second, most with *limit*, 30 (30% turned away, 10% timed out, 0% cut off); "
        "fewer than alone with *no limit* 2"
    )
    assert tell.overload(endings(pd.DataFrame(rows[:2])), "alone").endswith("fewer than alone with none")


def test_where_the_p99_is_shorter_and_longer_is_told_with_the_servers() -> None:
    assert "shorter than as it comes with *HAProxy* (go)" in tell.on_p99(differences(kinds([50.0] * 5), PLAIN))
    longer = tell.on_p99(differences(kinds([500.0] * 5), PLAIN))
    assert "shorter than as it comes with none, and longer than as it comes with *HAProxy* (go)" in longer


def test_who_ended_and_who_was_stranded_is_counted() -> None:
    runs = pd.DataFrame([storm(), storm("backlog", success_rate=0.4)]).assign(
        server_ended=[None, "exit status 1"], slow=[0, 48]
    )
    said = tell.endings_of_servers(runs)
    assert said.startswith("0 of 1 with *as it comes* (100.00% answered); 1 of 1 with *backlog*")
    assert tell.strandings(runs) == (
        "of 100 clients waited for it, medians: go: 0 with *as it comes*, 48 with *backlog*"
    )


def test_the_figure_of_endings_has_a_bar_for_each_way_and_what_came_of_it() -> None:
    ended = {"answered": 50, "bad_answer": 30, "answer_timeout": 20}
    runs = endings(pd.DataFrame([storm(), with_front("limit", statuses={"200": 50, "429": 30}, outcomes=ended)]))
    left, right = plots.how_requests_end(runs, "title").axes
    ends = {round(bar.get_x() + bar.get_width(), 6) for bar in left.patches}
    assert ends >= {1.0, 0.5, 0.8}, "they sum to one"
    assert sorted(line.get_xdata()[0] for line in right.lines) == [25, 40, 50, 50], "goodput, and what was told"
    (legend,) = left.figure.legends
    said = [text.get_text() for text in legend.get_texts()]
    assert "refused, reset, closed early" not in said, "nothing ended so"
    assert "turned away: 429, 502, 503" in said
