"""Conditions by what they answer, and Hyper held against Go and Node.js under the same ones."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from analysis.published import answers as answer
from analysis.published import bands
from analysis.published.blame import fails
from analysis.published.rivals import against, as_published, beside_rivals, rival
from harness.thought.inference import mean_of_runs
from tests.quick.test_attacks import attacks, kept


def condition(server: str, shares: list[float], dropped: list[int] | None = None, **more: Any) -> dict[str, Any]:
    runs = len(shares)
    return {
        "group": "storm, open files",
        "condition": "12,000",
        "server": server,
        "driven by": "the lab",
        "requests": [100] * runs,
        "wanted": [100] * runs,
        "shares": shares,
        "blameless": shares,
        "p50_ms": [1.0] * runs,
        "ended": 0,
        "dropped": dropped or [0] * runs,
        **more,
    }


QUARTERED = [0.238, 0.257, 0.386]


def tried(node: list[float], dropped: list[int] | None = None, **more: Any) -> pd.DataFrame:
    rows = [("hyper-2024", QUARTERED, None), ("go", [1.0] * 3, [9] * 3), ("node", node, dropped)]
    return pd.DataFrame([condition(server, shares, lost, **more) for server, shares, lost in rows])


@pytest.mark.parametrize(
    ("shares", "mostly", "some"),
    [
        ([0.374, 0.388, 0.421, 0.423, 1.0], False, False),  # a mean of a half, and no run there
        ([0.477, 0.498, 0.56], True, True),
        ([0.5, 0.6], False, True),
        ([0.45], True, True),
    ],
)
def test_a_condition_lies_in_a_band_if_most_of_its_runs_do(shares: list[float], mostly: bool, some: bool) -> None:
    conditions = pd.DataFrame([condition("go", shares)])
    assert len(bands.within(conditions, bands.HALF)) == mostly
    assert len(bands.grazing(conditions, bands.HALF)) == (some and not mostly)


def test_a_rival_is_excused_run_by_run_for_what_this_host_lost() -> None:
    assert rival("Go", [1.0, 1.0], [9, 9]).whole is True, "lost packets that cost nothing excuse nothing"
    assert rival("Go", [0.9, 1.0], [0, 9]).whole is False, "what another run lost does not excuse this one"
    assert rival("Go", [0.9, 1.0], [9, 0]).whole is None
    assert rival("Go", [0.9, 0.9], [9, 0]).whole is False, "one run fell short by itself"
    assert rival("Go", [0.9], [None]).whole is False, "what was not counted excuses nobody"
    assert "lost packets in 1 of the 2 that fell short" not in str(rival("Go", [0.9, 0.9], [9, 0]))
    assert "lost packets in 2 of the 2 that fell short" in str(rival("Go", [0.9, 0.9], [9, 9]))


@pytest.mark.parametrize(
    ("node", "dropped", "whole", "said"),
    [
        ([1.0, 1.0, 1.0], [5, 5, 5], True, "**1** of them show that: storm, open files, 12,000 (hyper-2024, the lab)"),
        ([0.999, 0.999, 0.98], [0, 0, 7], None, "in 1 it is undecided"),
        ([0.999, 0.999, 0.98], [7, 7, 0], False, "In 1 of the 1 Go or Node.js fell short by themselves"),
    ],
)
def test_the_match_is_shown_missed_or_undecided(
    node: list[float], dropped: list[int], whole: bool | None, said: str
) -> None:
    conditions = tried(node, dropped)
    beside = beside_rivals(conditions)
    assert beside["whole"].to_list() == [whole]
    assert len(as_published(beside, bands.QUARTER)) == (whole is True)
    in_time = attacks(kept("a", 50, {}), kept("b", 100, {}, "go"), kept("c", 100, {}, "node"))
    late = attacks(kept("d", 25, {}, late_s=2.0))
    text = answer.match_answer(answer.Tried(in_time, late, conditions, "vegeta-12.11.1", bands.QUARTER))
    assert said in text
    assert ("The nearest that are no match: storm, open files, 12,000" in text) == (whole is not True)
    assert "late by: 2 s. Were Hyper late and the others in time, these were the published shares" in text
    assert "12,000 (runs 23.8% to 38.6%)" in text, "a span of runs is not taken for an interval"
    assert ("Node.js 99.26%" in text) == (whole is not True), "the near miss is named with its number"


def test_what_a_tool_did_not_drive_is_compared_with_nothing() -> None:
    conditions = tried([1.0] * 3, wanted=[1_000] * 3)
    assert beside_rivals(conditions).empty
    assert against(conditions, ["hyper-2024"], "node").empty
    assert len(against(tried([1.0] * 3), ["hyper-2024"], "node")) == 1


def test_without_one_of_both_rivals_nothing_is_held_against_them() -> None:
    conditions = tried([1.0] * 3)
    assert beside_rivals(conditions[conditions["server"] != "go"]).empty


STEADY, EARLY = [0.96, 0.97, 0.98], [0.42, 1.0, 1.0]


@pytest.mark.parametrize(
    ("mine", "excused", "fewer"),
    [
        (QUARTERED, QUARTERED, True),
        (QUARTERED, [1.0] * 3, None),  # this host may have lost what was not answered
        (EARLY, EARLY, None),  # fewer in the mean, and not in most runs
        ([1.0] * 3, [1.0] * 3, False),
    ],
)
def test_fewer_are_answered_only_where_neither_chance_nor_this_host_explains_it(
    mine: list[float], excused: list[float], fewer: bool | None
) -> None:
    conditions = pd.DataFrame(
        [condition("hyper-2024", mine, blameless=excused), condition("node", STEADY, condition="12,000")]
    )
    pairs = against(conditions, ["hyper-2024"], "node")
    assert pairs["fewer"].to_list() == [fewer]
    assert answer.slower(pairs)["fewer answered"].to_list() == [{True: "Hyper", None: "undecided", False: ""}[fewer]]
    assert ("In 1 more it is undecided" in answer.slower_answer(pairs)) == (fewer is None)
    theirs = mean_of_runs(STEADY)
    assert fails(mean_of_runs(mine), mean_of_runs(excused), theirs) is fewer


def test_the_notebook_says_which_conditions_around_a_quarter_the_verdict_leaves_open() -> None:
    for node, left in (([0.06] * 3, True), ([1.0] * 3, False)):
        conditions = tried(node)
        found = answer.left_open(answer.Tried(conditions, conditions, conditions, "vegeta", bands.QUARTER))
        assert ("storm, open files, 12,000 (hyper-2024, Node.js 6.0%)" in found) is left
        assert (found == "") is not left
