"""Settings compared in blocks, on runs whose answers are known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis.kernel import told as tell
from analysis.kernel.settings import (
    AGAIN,
    AS_IT_IS,
    SETTINGS,
    against,
    contrasts,
    cost_by_half,
    in_blocks,
    ports_given,
    range_size,
    together,
)
from harness.plan import PLANS, load_plan
from harness.thought.cause import CAUSES

BLOCKS = 6
MEASURES = list(tell.MEASURES)[:6]


@pytest.fixture
def storms() -> pd.DataFrame:
    """The plan's storms, equal but for noise of 2 % in latency; the first try is the same in all."""
    plan = load_plan(PLANS / "06-kernel-settings.toml", {"repeats": BLOCKS})
    random = np.random.default_rng(3)
    rows = []
    for _ in range(BLOCKS):
        for index in random.permutation(len(plan.block)):
            trial = plan.block[index]
            rows.append(
                {
                    "run_id": f"{len(rows):04d}",
                    "plan_hash": trial.plan_hash,
                    "plan": trial.to_json(),
                    "p50_ms": 2000 * random.lognormal(0, 0.02),
                    "p99_ms": 3000 * random.lognormal(0, 0.02),
                    "counters": {"ListenOverflows": int(random.integers(3900, 4100)), "ListenDrops": 4200},
                }
            )
    made = pd.DataFrame(rows).assign(
        causes=[dict.fromkeys(CAUSES, 0) | {"clean": 90, "client_out_of_ports": 10}] * len(rows),
        first_try_share=0.0645,
        success_rate=1.0,
        lo_rx_dropped=0,
        planned=2000,
        clients=2000,
        server_cpu_s=1.0,
    )
    return in_blocks(made, plan)


def found_in(storms: pd.DataFrame) -> pd.DataFrame:
    return together({"storm": contrasts(storms, against(storms), MEASURES)})


def test_every_setting_is_a_scenario_of_the_plan_and_is_compared() -> None:
    names = load_plan(PLANS / "06-kernel-settings.toml").variants
    assert {setting.variant for setting in SETTINGS} | {AS_IT_IS, "searched ports"} == set(names)
    assert {setting.against for setting in SETTINGS} <= set(names)


def test_without_an_effect_none_is_seen_and_each_row_says_what_would_have_been(storms: pd.DataFrame) -> None:
    found = found_in(storms)
    assert set(found.seen) == {"nothing"}
    table = tell.operators_table(found, {})
    assert len(table) == len(SETTINGS)
    said = table["what happened in this storm"]
    assert said.str.contains("no difference that this design can see|not shown").all()
    assert said.str.contains("smallest detectable").sum() > len(SETTINGS) / 2
    assert set(table["touches accept-queue overflow"]) == {"no"}
    assert set(table["in such a storm"]) == {"no reason to"}


def test_a_setting_that_halves_latency_is_recommended(storms: pd.DataFrame) -> None:
    chosen = storms.variant == "input queue"
    storms.loc[chosen, "p99_or_more_ms"] /= 2
    found = found_in(storms)
    (seen,) = found[found.seen != "nothing"].to_dict("records")
    assert (seen["variant"], seen["measure"], seen["seen"]) == ("input queue", "p99_or_more_ms", "less")
    assert seen["ratio"] == pytest.approx(0.5, rel=0.05)
    assert tell.advice(found, "input queue") == "set it"
    assert tell.touches(found, "input queue") == "no"
    storms.loc[chosen, "p50_or_more_ms"] *= 2
    assert tell.advice(found_in(storms), "input queue") == "weigh it"


def test_what_is_the_same_in_every_block_is_an_effect_all_the_same(storms: pd.DataFrame) -> None:
    storms.loc[storms.variant == "backlog", "first_try_share"] = 1.0
    found = found_in(storms)
    assert tell.touches(found, "backlog") == "yes: who finds room at once"
    assert tell.touches(found, "somaxconn") == "no"
    assert "6.45% → 100.00%" in tell.happened(found, "backlog")


def test_a_setting_is_held_against_its_own_baseline(storms: pd.DataFrame) -> None:
    """Where cookies are off in both, what their absence does is not the other setting's."""
    storms.loc[storms.variant.isin(["no syncookies", "no syncookies, tcp_max_syn_backlog"]), "p50_or_more_ms"] *= 3
    found = found_in(storms)
    assert tell.advice(found, "no syncookies") == "leave it"
    assert tell.advice(found, "no syncookies, tcp_max_syn_backlog") == "no reason to"


def test_one_of_two_equal_storms_of_a_block_is_held_against_the_other(storms: pd.DataFrame) -> None:
    assert (storms.groupby(["variant", "block"], observed=True).size() == 1).all()
    assert (storms.variant == AGAIN).sum() == BLOCKS
    assert set(found_in(storms).query("variant == @AGAIN").seen) == {"nothing"}


def test_a_quantile_among_the_unanswered_is_at_least_the_timeout(storms: pd.DataFrame) -> None:
    plan = load_plan(PLANS / "06-kernel-settings.toml", {"repeats": BLOCKS})
    recorded = storms[["run_id", "plan_hash", "plan", "counters", "causes", "planned", "server_cpu_s", "success_rate"]]
    again = in_blocks(recorded.assign(p50_ms=2000.0, p99_ms=np.nan), plan)
    assert set(again.p99_or_more_ms) == {8_000}


def test_ports_are_counted_by_who_got_none(storms: pd.DataFrame) -> None:
    assert set(ports_given(storms)) == {1800}


def test_run_ids_are_given(storms: pd.DataFrame) -> None:
    listed = tell.run_ids(storms)
    assert set(listed.runs) == {BLOCKS}
    assert sum(len(ids.split()) for ids in listed["run ids"]) == len(storms)


def test_too_few_blocks_conclude_nothing(storms: pd.DataFrame) -> None:
    found = found_in(storms[storms.block < 2])
    assert found.empty
    assert tell.operators_table(found, {}).empty
    assert tell.numbers(found).empty
    assert "nothing is concluded" in tell.answers(found)[0]


def test_answers_name_what_helps_and_what_does_nothing(storms: pd.DataFrame) -> None:
    storms.loc[storms.variant == "input queue", "p99_or_more_ms"] /= 2
    lines = "\n".join(tell.answers(found_in(storms)))
    assert "helps clients in such a storm**: `net.core.netdev_max_backlog=100000` (99th percentile" in lines
    assert "changed by 0 of" in lines
    assert "`net.core.somaxconn=65535`" in lines.split("No difference")[1]


def test_each_comparison_is_judged_by_itself_and_what_stands_beside_a_ratio_has_that_ratio(
    storms: pd.DataFrame,
) -> None:
    one = contrasts(storms, {"input queue": AS_IT_IS}, ["p99_or_more_ms"])
    assert (one.after / one.before).to_list() == pytest.approx(one.ratio.to_list())
    many = together(dict.fromkeys("abcdefgh", one))
    assert set(many.seen) == set(together({"a": one}).seen)
    assert set(many.experiment) == set("abcdefgh")


def test_an_effect_is_seen_where_its_whole_interval_matters(storms: pd.DataFrame) -> None:
    small, large = storms.copy(), storms.copy()
    small.loc[small.variant == "input queue", "p99_or_more_ms"] *= 1.03
    large.loc[large.variant == "input queue", "p99_or_more_ms"] *= 1.2
    one, other = (found_in(changed).set_index(["variant", "measure"]) for changed in (small, large))
    assert one.seen["input queue", "p99_or_more_ms"] == "nothing"
    assert other.seen["input queue", "p99_or_more_ms"] == "more"


def test_costs_before_and_after_half_of_the_range() -> None:
    assert range_size([["net.ipv4.ip_local_port_range", "40000 40999"]]) == 1000
    assert cost_by_half([10.0, 12.0, 300.0, 500.0], 2000) == (11, 400)
    assert np.isnan(cost_by_half([10.0, 12.0], 64_512)[1])


def test_what_too_few_blocks_suggest_is_not_called_nothing(storms: pd.DataFrame) -> None:
    storms.loc[storms.variant == "input queue", "p99_or_more_ms"] /= 2
    found = found_in(storms[storms.block < 5])
    words = tell.happened(found, "input queue")
    assert "not shown, 5 blocks are too few" in words
    assert "`net.core.netdev_max_backlog=100000`" not in tell.answers(found)[-1]
