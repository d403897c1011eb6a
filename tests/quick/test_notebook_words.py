"""What notebooks say of runs, in words and tables."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from harness.machine.host import this_host
from harness.page import notebook as say
from harness.page.tables import quantile


def storms(cpu: str, server: str, rates: list[float], generator: str = "ok") -> pd.DataFrame:
    return pd.DataFrame({"cpu": cpu, "server": server, "throughput_per_s": rates, "generator": generator})


@pytest.mark.parametrize(
    ("planned", "unwatched"),
    [({"probe": False}, True), ({"probe": True}, False), ({}, False)],  # the last is another tool's attack
)
def test_a_caption_says_where_the_lab_did_not_watch(planned: dict[str, bool], unwatched: bool) -> None:
    plan, host = planned, this_host().to_json()
    runs = pd.DataFrame([{"host": host, "begun": "2026-01-01T00", "plan": plan}])
    assert ("the lab did not watch the servers" in say.host_caption(runs)) is unwatched


def test_ratios_pair_the_storms_of_a_block() -> None:
    """One is about twice as fast in every block, however much blocks differ."""
    runs = pd.concat(
        [
            storms("shared", "a", [200.0, 22.0, 1_800.0]),
            storms("shared", "b", [100.0, 10.0, 1_000.0], "limiting"),
            storms("disjoint", "a", [1.0, 2.0]),
            storms("disjoint", "b", [1.0, 2.0]),
        ]
    )
    (row,) = say.paired_ratios(runs, "throughput_per_s", "a", ["b", "nobody"]).to_dict("records")
    assert (row["CPUs"], row["ratio"], row["found"], row["blocks"]) == (
        "shared",
        "a ÷ b",
        "1.99 (range 1.80 to 2.20)",
        3,
    )
    assert row["generator the limit"] == "0 and 3"


def test_a_mean_has_an_interval_where_there_are_runs_enough() -> None:
    form = "{:.1f}".format
    assert say.mean_and_interval(pd.Series([1.0, np.nan]), form) == "1.0"
    assert say.mean_and_interval(pd.Series([2.0, 2.0, 2.0]), form) == "2.0 in 3 of 3"
    assert say.mean_and_interval(pd.Series([1.0, 2.0, 3.0, 4.0]), form) == "2.5 (range 1.0 to 4.0)"
    assert say.mean_and_interval(pd.Series([1.0, 2.0, 3.0, 4.0, 2.0, 3.0]), form) == "2.5 (95 % interval 1.4 to 3.6)"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([3.0, 1.0], "1 ms to 3 ms"),
        ([3.0, np.nan], "3 ms to unanswered"),
        ([np.nan, np.nan], "unanswered"),
        ([2_000.0], "2.00 s"),
    ],
)
def test_a_span_of_latencies_ends_among_the_unanswered(values: list[float], said: str) -> None:
    assert say.latency_span(pd.Series(values)) == said


def test_what_lies_beyond_the_answered_is_called_so() -> None:
    assert {quantile(None), quantile(np.nan), quantile(np.inf)} == {"unanswered"}
    assert [quantile(value_ms) for value_ms in (0.5, 999.4, 999.6, 1234.0)] == ["0.5 ms", "999 ms", "1.00 s", "1.23 s"]


def test_all_is_said_only_of_all() -> None:
    assert (say.percent(1.0), say.percent(0.999_99), say.percent(np.nan)) == ("100.00%", "99.99%", "–")
