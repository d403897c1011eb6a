"""How propositions are decided, and how they come to a word: the rule of the contract, on numbers planted for it."""

from __future__ import annotations

import dataclasses
import math
import re

import pytest

from analysis.claims.claim import CLAIMS, MOST_CORE, Claim, Sentence
from analysis.claims.measures import ASKED_OF, MEASURES
from analysis.claims.verdict import Verdict, word
from harness.page.numbers import briefly
from harness.plan import PLANS
from harness.thought.inference import Interval
from harness.thought.proposition import NOTHING, Asked, Measured, Proposition, decided

ASKED = Asked("S1.go", "It is faster.", "ratio", "core", above=1.05)
SIX = tuple("abcdef")


def of(low: float, high: float, runs: int = 6, asked: Asked = ASKED, **more: object) -> Proposition:
    found = Interval((low + high) / 2, low, high, runs)
    return decided(asked, Measured(found, SIX[:runs], **more))  # type: ignore[arg-type]


def test_the_whole_interval_has_to_lie_on_one_side_of_the_margin() -> None:
    assert of(1.06, 2.0).holds is True
    assert of(0.5, 1.05).holds is False
    assert of(1.0, 1.1).holds is None
    assert "1.05 lies within 1 to 1.1" in of(1.0, 1.1).why_null


def test_below_is_the_same_from_the_other_side() -> None:
    below = dataclasses.replace(ASKED, above=None, below=0.6)
    assert of(0.4, 0.5, asked=below).holds is True
    assert of(0.7, 0.8, asked=below).holds is False
    assert "0.6 lies within 0.5 to 0.7" in of(0.5, 0.7, asked=below).why_null


def test_between_two_margins_both_have_to_hold() -> None:
    between = dataclasses.replace(ASKED, above=0.2, below=0.3)
    assert of(0.22, 0.28, asked=between).holds is True
    assert of(0.31, 0.35, asked=between).holds is False
    assert of(0.1, 0.15, asked=between).holds is False
    assert of(0.25, 0.35, asked=between).holds is None


def test_few_runs_decide_nothing_but_where_each_is_long() -> None:
    assert of(2.0, 3.0, 5).holds is None
    assert of(2.0, 3.0, 5).why_null == "5 runs a side; it takes 6"
    assert of(2.0, 3.0, 5, run_s=61.0).holds is True
    assert of(2.0, 3.0, 4, run_s=61.0).holds is None


def test_what_the_ceiling_hides_is_not_decided() -> None:
    gain = dataclasses.replace(ASKED, above=0.05, unit="difference of shares")
    assert of(0.0, 0.01, asked=gain, untouched=0.99).holds is None
    assert of(0.0, 0.01, asked=gain, untouched=0.5).holds is False


def test_runs_that_say_nothing_decide_nothing_and_say_why() -> None:
    assert of(2.0, 3.0, why_null="the generator was the limit").why_null == "the generator was the limit"
    assert decided(ASKED, Measured(NOTHING)).why_null == "there are no such runs"


def test_a_quantile_among_the_unanswered_is_later_than_any_margin() -> None:
    steady = Asked("S4.steady", ".", "ms", "core", below=1000)
    late = decided(steady, Measured(Interval(math.inf, 5000, math.inf, 6, "range"), SIX))
    assert late.holds is False
    sometimes = decided(steady, Measured(Interval(math.inf, 500, math.inf, 6, "range"), SIX))
    assert sometimes.holds is None


def put_together(*core: bool | None, cause: bool | str | None = "none", detail: bool = False) -> str:
    roles = [("core", holds) for holds in core] + ([] if cause == "none" else [("cause", cause)]) + [("detail", detail)]
    every = [dataclasses.replace(of(2.0, 3.0), role=role, holds=holds) for role, holds in roles]  # type: ignore[arg-type]
    return word(every)


def test_the_rule_of_a_verdict() -> None:
    assert put_together(True, True) == "confirmed"
    assert put_together(False, None) == put_together(False, False) == "refuted"
    assert put_together(True, False) == put_together(True, None) == "in_part"
    assert put_together(None, None) == "not_decided"
    assert put_together(True, cause=False) == "wrong_cause"
    assert put_together(True, cause=None) == put_together(True, cause=True) == "confirmed"
    assert put_together(False, cause=False) == "refuted"
    assert put_together(True, detail=True) == put_together(True, detail=False) == "confirmed"


def test_every_proposition_has_its_measure_and_a_margin() -> None:
    every = [asked for claim in CLAIMS.values() for asked in claim.asked]
    assert [asked.id for asked in every] == list(MEASURES)
    assert all(asked.above is not None or asked.below is not None for asked in every)
    assert all(asked.statement.endswith(".") for asked in every)


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=CLAIMS.keys())
def test_a_claim_has_at_most_three_core_propositions_and_one_cause(claim: Claim) -> None:
    roles = [asked.role for asked in claim.asked]
    assert 1 <= roles.count("core") <= MOST_CORE
    assert roles.count("cause") <= 1


def test_plans_that_are_asked_of_are_there() -> None:
    there = {path.stem for path in PLANS.rglob("*.toml")}
    assert set(ASKED_OF) <= there


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=CLAIMS.keys())
def test_a_sentence_is_short_stands_on_propositions_and_has_no_number_of_its_own(claim: Claim) -> None:
    """Numbers that are conditions, such as a backlog of 4,096, stand in the claim or in what is asked."""
    assert len(claim.sentence.text.split()) <= 20
    names = {asked.id.partition(".")[2] for asked in claim.asked}
    filled = re.findall(r"\{(\w+)\}", claim.sentence.text + claim.sentence.zh)
    assert set(claim.sentence.stands_on) <= names
    assert set(filled) <= names
    conditions = " ".join([claim.says, *(asked.statement for asked in claim.asked)]).replace(",", "")
    typed = re.findall(r"\d[\d,.]*\d|\d", re.sub(r"\{\w+\}|HTTP/\d", "", claim.sentence.text))
    assert not [number for number in typed if number.replace(",", "") not in conditions]


def test_a_sentence_whose_propositions_changed_is_not_said() -> None:
    sentence = Sentence("It is {go} times as fast.", "快 {go} 倍。", {"go": True})
    claim = Claim("S1", "It is faster", "更快", "01", (), (ASKED,), sentence, "It is.", "是。")
    holds, fails = (Verdict(claim, (of(low, low + 0.1),)) for low in (2.0, 0.5))
    assert (holds.sentence, holds.no_longer_so) == ("It is 2 times as fast.", [])
    assert fails.no_longer_so == ["S1.go is false, not true"]
    assert fails.sentence == "Refuted; the published sentence does not say so: S1.go is false, not true."


@pytest.mark.parametrize(
    ("value", "unit", "read"),
    [
        (2.284, "ratio", "2.3"),
        (0.157, "ratio", "0.16"),
        (0.4898, "share", "49 %"),
        (1.0, "share", "100 %"),
        (0.99987, "share", "99.98 %"),
        (0.0, "share", "0 %"),
        (0.281, "difference of shares", "+28 points"),
        (-0.553, "difference of shares", "−55 points"),
        (4580.0, "ms", "4.58 s"),
        (math.nan, "ratio", "–"),
    ],
)
def test_numbers_in_sentences_have_two_or_three_digits(value: float, unit: str, read: str) -> None:
    assert briefly(value, unit) == read  # type: ignore[arg-type]
