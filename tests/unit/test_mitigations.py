"""How requests ended and who paid, on storms whose answers are known; other storms give other words."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from harness import plots
from harness.errors import PlanError
from harness.events import OUTCOMES
from harness.mitigations import compared, endings, one_demand
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
        "throughput_per_s": outcomes["answered"] / 2,
        "answers_per_step": [0] * 19 + [outcomes["answered"]] + [0] * 280,
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
        "lo_rx_dropped": 0,
        "generator": "ok",
        **columns,
    }


def with_front(variant: str = "HAProxy", **columns: object) -> dict[str, object]:
    counted = {"frontend.req_tot": 100, "backend.connect": 7, "frontend.slim": 9}
    about = {"front": "haproxy", "front_version": "2.6.12", "front_backlog_effective": 4096.0}
    used = {"front_cpu_s": 0.3, "front_peak_rss_bytes": 2**20, "connections_to_server": 7.0}
    return storm(variant, **(about | used | {"front_counters": json.dumps(counted)} | columns))  # type: ignore[arg-type]


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
    assert (front["good_per_s"], front["told_per_s"]) == (25, 40), "goodput, and with those who were turned away"
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
    assert (row["good_per_s"], row["told_per_s"]) == (20, 20)


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


def test_too_few_storms_are_not_told_as_no_effect() -> None:
    found = compared(kinds([50.0, 51, 52], count=3), PLAIN)
    assert tell.headline_of_p99(found) == "Whether a mitigation shortens the p99 these storms do not tell"
    assert "fewer than 5 storms of a kind in 4" in tell.backfires(found)[0]
    assert tell.on_p99(found).endswith("Of 1 comparisons 1 have no answer: fewer than 5 storms of a kind in 1")
    enough = compared(kinds([50.0, 51, 52, 53, 54]), PLAIN)
    assert tell.headline_of_p99(enough) == "1 of 1 mitigations shorten the p99 on some stack, 0 lengthen it"
    assert tell.by_chance(enough) == (
        "Of 6 comparisons 3 are better or worse in every storm; by chance it would be 0.0."
    )


def test_the_table_says_what_each_brings_and_costs() -> None:
    runs = kinds([500.0, 510, 520, 530, np.nan])
    found = compared(runs, PLAIN)
    table = tell.all_of_them(runs, found).set_index("mitigation")
    assert table.loc[PLAIN, "costs"] == "–"
    assert table.loc[PLAIN, "listeners in the kernel"] == "1"
    assert "CPU per answer × 2.5" in table.loc["HAProxy", "costs"]
    assert "p99 × 5.1" in table.loc["HAProxy", "costs"]
    assert "unanswered in 1 of 5" in table.loc["HAProxy", "p99"]
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
    assert table.loc["limit", "turned away (429, 502, 503)"] == "50.00%"
    assert (table.loc["limit", "goodput, 1/s"], table.loc["limit", "goodput and refusals, 1/s"]) == ("25", "50")
    assert table.loc[PLAIN, "turned away (429, 502, 503)"] == "0.00%"


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
    both = pd.concat([runs, runs.assign(server="hyper", first_try_share=0.5)])
    ways = ("one loop", "one loop, listen(4096)")
    two_steps = "First try, one loop → two listeners: go 25% → 75%, hyper 50% → 50%"
    assert tell.headline_of_hands(both, *ways) == two_steps
    with_room = both[both.variant == "one loop"].assign(variant=ways[1], first_try_share=0.6)
    three = pd.concat([both, with_room])
    assert tell.headline_of_hands(three, *ways) == (
        "First try, one loop → one loop, listen(4096) → two listeners: go 25% → 60% → 75%, hyper 50% → 60% → 50%"
    )
    best = tell.headline_of_hands(
        three.assign(first_try_share=three.first_try_share.where(three.listeners == 1, 0)), *ways
    )
    assert best == "First try, one loop → one loop, listen(4096): go 25% → 60%, hyper 50% → 60%"
    without = three.assign(generator=np.where(three.variant == ways[1], "limiting", "ok"))
    assert tell.headline_of_hands(without, *ways) == two_steps, "of the larger backlog nothing is known"
    one_limited = pd.concat([runs.assign(generator=["limiting", "ok"] * 2), both[both.server == "hyper"]])
    assert tell.headline_of_hands(one_limited, *ways) == "First try, one loop: hyper 50%"
    limited = tell.hands(runs.assign(generator=["limiting", "ok"] * 2))
    assert limited == "go: *one loop* 25% (generator the limit), *two listeners* 75%"


def test_the_overload_is_told_against_the_server_alone() -> None:
    limited = {"answered": 60, "bad_answer": 30, "answer_timeout": 10}
    worse = {"answered": 5, "answer_timeout": 95}
    rows = [
        storm("alone", outcomes={"answered": 10, "answer_timeout": 90}),
        with_front("limit", statuses={"200": 60, "429": 30}, outcomes=limited),
        with_front("no limit", statuses={"200": 5}, outcomes=worse),
    ]
    assert tell.overload(endings(pd.DataFrame(rows)), "alone") == (
        "alone 5 good answers a second, most with *limit*, 30 (30% turned away, 10% timed out, 0% cut off). "
        "In every storm more than alone with *limit* 30; fewer with *no limit* 2"
    )
    assert tell.overload(endings(pd.DataFrame(rows[:2])), "alone").endswith("fewer with none")


def test_where_the_p99_is_shorter_and_longer_is_told_with_the_servers() -> None:
    assert "shorter than as it comes with *HAProxy* (go)" in tell.on_p99(compared(kinds([50.0] * 5), PLAIN))
    longer = tell.on_p99(compared(kinds([500.0] * 5), PLAIN))
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


def test_what_one_kind_of_storm_brings_over_another_is_told_server_by_server() -> None:
    assert tell.brought(compared(kinds([50.0, 51, 52, 53, 54]), PLAIN)) == (
        "*HAProxy*: go better p99 × 0.51 and worse CPU per answer × 2.5, memory × 1.5."
    )
    runs = kinds([50.0, 51, 52, 53, 103]).assign(cpu_us_per_answer=1.0, memory_mib=1.0)
    assert tell.brought(compared(runs, PLAIN)) == "*HAProxy*: go neither better nor worse."
    few = tell.brought(compared(kinds([50.0], count=1), PLAIN))
    assert few.endswith("Of 6 comparisons 6 have no answer: fewer than 5 storms of a kind in 6.")
    assert tell.brought([]) == "There is nothing to compare."


def test_both_grounds_are_held_against_each_other() -> None:
    """As it is and with the input queue opened wide: what is shown in one of them, in both, or the other way round."""
    shorter, longer = kinds([50.0, 51, 52, 53, 54]), kinds([500.0, 510, 520, 530, 540])
    alike = kinds([50.0, 51, 52, 53, 103])
    faster, slower, neither = (compared(runs, PLAIN) for runs in (shorter, longer, alike))
    said = "Of 6 comparisons with an answer in both, "
    same = f"{said}3 are better or worse in both in the same way, and 3 in neither."
    assert tell.agreement(faster, faster) == same
    said += "2 are better or worse in both in the same way, and 3 in neither. Shown "
    assert tell.agreement(neither, faster) == f"{said}only with the queue opened wide: go, *HAProxy*, p99 × 0.51."
    assert tell.agreement(slower, neither) == f"{said}only as it is: go, *HAProxy*, p99 × 5.1."
    assert tell.agreement(slower, faster) == f"{said}the other way round: go, *HAProxy*, p99 × 0.51."
    assert tell.agreement(faster, []).endswith("There are no such storms: it takes root.")
    few = compared(kinds([50.0, 51, 52], count=3), PLAIN)
    assert tell.agreement(few, few).endswith("Of 6 comparisons 6 have no answer: fewer than 5 storms of a kind in 6.")
    assert tell.by_chance([]) == "There is nothing to compare."
