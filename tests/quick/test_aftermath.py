"""What comes after a trigger, on runs whose answers are known."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from analysis.mitigations import aftermath as tell
from analysis.mitigations.policies import aftermaths
from harness.thought.goodput import aftermath, per_second
from tests.lines import run


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


def test_a_trigger_that_outlived_its_storm_has_no_aftermath() -> None:
    found = aftermaths(pd.DataFrame([{**storm([100] * 50), "trigger_over_s": math.nan}]))
    assert found["watched_s"].to_list() == [0]
    assert not found["recovered"].any()


def test_after_how_many_seconds_is_all_that_is_known() -> None:
    """Goodput is counted by the second."""
    well, down = storm([100] * 50), storm([100] * 5)
    back = storm([100] * 5 + [0] * 6 + [100] * 39)
    table = tell.aftermath_table(aftermaths(pd.DataFrame([{**well, "trigger_over_s": 7.2}])), ["variant"])
    assert table["recovered"].to_list() == ["within 1 s"]
    table = tell.aftermath_table(aftermaths(pd.DataFrame([back, down])), ["variant"])
    assert table["recovered"].to_list() == ["within 3 s to never"]


def test_the_stacks_that_are_kept_down_are_named() -> None:
    well, down = storm([100] * 50), storm([100] * 5)
    rows = [
        {**down, "server": "go"},
        {**down, "server": "node"},
        {**well, "server": "node"},
        {**well, "server": "hyper"},
    ]
    found = aftermaths(pd.DataFrame([{**row, "server_cpu_s": 50.0} for row in rows]))
    assert tell.headline_of_stacks(found) == (
        "Tried again at once, down for half a minute: in every storm go; in some node; in none hyper"
    )
    said = tell.for_whom_it_worked(found.assign(useful_share=[0.01, 0.5, 0.9, 0.85]))
    assert said.endswith("50% to 90% on node, 85% on hyper, not down; 1% on go, down.")
