"""Every claim has a verdict, and other data have another: for each claim the opposite is planted in a copy."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pandas as pd
import pytest

from analysis.claims import allocators, backlog, limits, published, symptoms
from analysis.claims.evidence import AUDIT, Evidence, gather
from analysis.claims.judge import RULES, judge
from analysis.claims.page import CLEAN, front_page, lead, summary
from analysis.claims.telling import PACED
from analysis.claims.verdict import CLAIMS, Finding, Verdict, Word, word
from analysis.overflow import rhythm
from harness import PROJECT
from harness.errors import MachineError
from harness.events import store
from harness.events.records import REFERENCE
from harness.page.numbers import with_spread
from harness.thought import runs as results
from harness.thought.inference import Interval
from tests.calling import stormlab_json
from tests.planted import changed, of_plan, recorded, with_runs

COLUMNS = {"claim", "verdict", "statement", "value", "interval", "run_ids", "figure"}
OPEN = ("undecidable_here", "pending")
STACKS, KEPT, CAUSE = "01-stack-comparison", "01-kept-connections", "04-root-cause"
STORMS, PLANE = "02-backlog-storms", "02-backlog-plane"
PULSES = rhythm.PLAN


class Watched(Evidence):
    """Notes of which trials it is asked, each time."""

    asked: list[set[str]]

    def of_trials(self, hashes: Iterable[str]) -> pd.DataFrame:
        wanted = set(hashes)
        self.asked.append(wanted)
        return Evidence.of_trials(self, wanted)


@dataclass(frozen=True)
class Judged:
    """All verdicts on the reference data, and the trials that each claim asks of, plan by plan."""

    verdicts: list[Verdict]
    asked: Mapping[str, list[set[str]]]


@pytest.fixture(scope="module")
def whole(reference: Evidence) -> Judged:
    """Judge the reference data once for all tests that look at what comes out."""
    watched = of_class(Watched, reference, asked=[])
    asked = {}

    def noted(claim: str) -> Callable[[Evidence], Verdict]:
        def rule(evidence: Evidence) -> Verdict:
            watched.asked.clear()
            found = RULES[claim](evidence)
            asked[claim] = list(watched.asked)
            return found

        return rule

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("analysis.claims.judge.RULES", {claim: noted(claim) for claim in RULES})
        return Judged(judge(watched), asked)


@pytest.fixture(scope="module")
def judged(whole: Judged) -> list[Verdict]:
    return whole.verdicts


def of_class(kind: type[Evidence], evidence: Evidence, **more: Any) -> Any:
    """The evidence, in a class that adds to it."""
    made = kind(**{field.name: getattr(evidence, field.name) for field in dataclasses.fields(evidence)})
    for name, value in more.items():
        object.__setattr__(made, name, value)
    return made


def of(evidence: Evidence, claim: str) -> Word:
    verdict = RULES[claim](evidence)
    assert verdict.claim == claim
    assert (verdict.value is None) >= (verdict.verdict in OPEN), "what is not decided has no number"
    return verdict.verdict


# ---- what every verdict is -------------------------------------------------------------------------------------------


def test_fourteen_claims_each_with_all_the_contract_asks_for(reference: Evidence, judged: list[Verdict]) -> None:
    assert " ".join(verdict.claim for verdict in judged) == "S1 S2 S3 S4 C1 C2 C3 F1 F2 F3 A1 A2 A3 A4"
    known = {*reference.runs["run_id"], *(attack["run_id"] for attack in reference.attacks)}
    for verdict in judged:
        document = verdict.to_json()
        assert set(document) >= COLUMNS
        assert json.loads(json.dumps(document, allow_nan=False))["claim"] == verdict.claim
        assert verdict.verdict in get_args(Word)
        assert verdict.statement.endswith((".", "`."))
        assert set(verdict.run_ids) <= known
        assert (verdict.verdict == "pending") == (not verdict.run_ids)
        if verdict.verdict not in OPEN:
            assert verdict.measure
            assert len(verdict.run_ids) > 1
        if verdict.interval is not None:
            assert verdict.value is not None
            assert verdict.interval[0] <= verdict.value <= verdict.interval[1]


def drawn(figure: str) -> set[str]:
    return set(json.loads((PROJECT / figure).with_suffix(".json").read_text())["runs"])


def test_its_figures_are_there_and_the_first_shows_the_runs_behind_the_number(judged: list[Verdict]) -> None:
    for verdict in judged:
        assert verdict.figure == next(iter(verdict.figures), None)
        assert set(verdict.value_run_ids) <= set(verdict.run_ids)
        assert all(drawn(figure) & set(verdict.run_ids) for figure in verdict.figures), verdict.claim
        if verdict.figure is not None and verdict.value is not None:
            assert set(verdict.value_run_ids) <= drawn(verdict.figure), verdict.claim
        if verdict.value is not None:
            assert verdict.value_run_ids, verdict.claim


def test_figures_show_what_a_claim_names(judged: list[Verdict]) -> None:
    f3 = next(verdict for verdict in judged if verdict.claim == "F3")
    assert len(f3.figures) == 3, "files, settings and ports"
    assert f3.figure == next(verdict for verdict in judged if verdict.claim == "C2").figure


def test_conditions_come_to_one_word() -> None:
    def of_all(*holds: bool | None) -> Word:
        return word([Finding("somewhere", each) for each in holds])

    assert of_all(True, True) == "reproduced"
    assert of_all(True, None) == of_all(True, False) == "true_under_conditions"
    assert of_all(False, None) == of_all(False) == "not_reproduced"
    assert of_all(None) == of_all() == "undecidable_here"


def test_without_data_all_are_pending_and_say_what_to_run(reference: Evidence) -> None:
    for verdict in judge(with_runs(reference, reference.runs.iloc[:0])):
        assert verdict.verdict == "pending"
        notebook = CLAIMS[verdict.claim].notebook
        assert notebook in verdict.statement
        assert ("stormlab notebooks" in verdict.statement) == (verdict.claim in RULES)


@pytest.mark.parametrize(
    ("plans", "claims"), [((KEPT,), "S1"), ((STACKS,), "S2 S4"), ((PULSES,), "S3"), ((CAUSE, PLANE), "C1")]
)
def test_a_claim_whose_data_are_missing_is_pending(reference: Evidence, plans: tuple[str, ...], claims: str) -> None:
    runs = reference.runs
    for plan in plans:
        runs = runs[~runs["run_id"].isin(reference.of_plan(plan)["run_id"])]
    for claim in claims.split():
        assert of(with_runs(reference, runs), claim) == "pending"


def test_one_storm_of_each_kind_is_no_evidence(reference: Evidence, whole: Judged) -> None:
    single = without_attacks(with_runs(reference, reference.runs.drop_duplicates("plan_hash")))
    clean = changed(single, single.runs["lo_rx_dropped"] >= 0, lo_rx_dropped=0, generator="ok")
    for claim in ("S1", "S2", "S3", "S4"):
        assert of(clean, claim) == "undecidable_here"
    for claim, plans in whole.asked.items():
        firsts = {reference.runs["plan_hash"].isin(plan).idxmax() for plan in plans}
        assert firsts
        for first in firsts:  # of all plans that it asks of: what others have it does not see
            one = dataclasses.replace(with_runs(reference, reference.runs.loc[[first]]), attacks=())
            assert of(one, claim) in OPEN


def test_no_verdict_on_a_backlog_while_the_input_queue_was_dropping(reference: Evidence) -> None:
    dropping = changed(reference, reference.runs["run_id"] != "", lo_rx_dropped=1)
    for claim in ("C1", "F1", "S3"):
        assert of(dropping, claim) == "undecidable_here"
        assert "input queue" in RULES[claim](dropping).statement


def test_a_kind_is_left_out_whole_if_one_of_its_storms_says_nothing(reference: Evidence) -> None:
    """To leave out single storms by how they went would be to pick a result."""
    large = reference.of_plan(CAUSE)
    one = reference.runs["run_id"] == large[large["variant"] == "larger backlog, wide input queue"]["run_id"].iloc[0]
    without = RULES["C1"](changed(reference, one, lo_rx_dropped=1))
    assert "answers of a stopped Hyper" in RULES["C1"](reference).statement
    assert "answers of a stopped Hyper" not in without.statement


# ---- the opposite, planted ------------------------------------------------------------------------------------------


def without_attacks(evidence: Evidence) -> Evidence:
    """Without the published benchmark, which fails for a reason of its own."""
    hashes = pd.concat([evidence.of_plan(plan) for plan in published.STORMS])["plan_hash"]
    runs = evidence.runs[~evidence.runs["plan_hash"].isin(hashes)]
    return dataclasses.replace(with_runs(evidence, runs), attacks=())


def answering(evidence: Evidence, share: float) -> Evidence:
    """With so many answers to all attacks of the published generator."""
    attacks = deepcopy(list(evidence.attacks))
    for attack in attacks:
        if attack["tool"]["name"] == published.OLD:
            attack["said"]["answered"] = round(attack["said"]["requests"] * share)
    return dataclasses.replace(evidence, attacks=attacks)


def kept(evidence: Evidence, server: str | list[str]) -> pd.Series:
    return of_plan(evidence, KEPT, server=server)


def test_s1_is_withheld_where_the_generator_was_the_limit_and_else_decided_by_the_speed(reference: Evidence) -> None:
    evidence = changed(reference, kept(reference, ["go", "node"]), generator="ok", throughput_per_s=1000.0)
    free = changed(evidence, kept(reference, "hyper"), generator="ok", throughput_per_s=2000.0)
    assert of(free, "S1") == "reproduced"
    assert of(changed(free, kept(free, "hyper"), throughput_per_s=500.0), "S1") == "not_reproduced"
    one_rival = changed(free, kept(free, "go"), throughput_per_s=4000.0)
    assert of(one_rival, "S1") == "true_under_conditions"
    assert of(changed(free, kept(free, "hyper"), generator="limiting"), "S1") == "undecidable_here"


def test_s2_asks_how_many_hyper_answers(reference: Evidence) -> None:
    reference = without_attacks(reference)
    hyper = of_plan(reference, STACKS, scenario="short", server="hyper")
    hyper |= of_plan(reference, STORMS, variant="default", server="hyper")
    node = of_plan(reference, STACKS, scenario="short", server="node")
    failing = changed(reference, hyper, success_rate=0.25, lo_rx_dropped=0)
    assert of(changed(reference, hyper, success_rate=0.9), "S2") == "not_reproduced"
    assert of(failing, "S2") == "true_under_conditions"
    slower = changed(failing, hyper | node, generator="ok", p50_ms=500.0)
    assert of(changed(slower, hyper, p50_ms=2000.0), "S2") == "reproduced"
    blamed_on_the_host = changed(reference, hyper, success_rate=0.25, lo_rx_dropped=1, generator="limiting")
    assert of(blamed_on_the_host, "S2") == "undecidable_here"


def test_what_the_addresses_show_is_said_as_far_as_there_are_attacks(reference: Evidence) -> None:
    whole = published.finding(reference)
    old = [kept for kept in reference.attacks if kept["tool"]["name"] == published.OLD]
    alone = [kept for kept in old if kept["server"]["name"].startswith(published.OF_PROGRAM)]
    by_name = [kept for kept in alone if kept["plan"]["target"] == published.NAME]
    sentences = published.finding(dataclasses.replace(reference, attacks=by_name))
    assert "listen on both" in whole
    assert "later version" in whole
    assert "listen on both" not in sentences
    assert "later version" not in sentences
    assert sentences.startswith("Hyper, which listen on 127.0.0.1 only")
    with pytest.raises(MachineError):
        published.finding(without_attacks(reference))


def test_s2_asks_what_the_published_attack_gets(reference: Evidence) -> None:
    alone = without_attacks(reference)
    assert of(alone, "S2") == "not_reproduced"
    measured = RULES["S2"](dataclasses.replace(alone, attacks=reference.attacks))
    assert measured.verdict == "true_under_conditions"
    chances = reference.attacks_of(published.CHANCES)
    of_hyper = chances["server"].str.startswith(published.OF_PROGRAM)
    assert set(measured.run_ids) > set(chances.loc[of_hyper, "run_id"])
    mended = RULES["S2"](answering(dataclasses.replace(alone, attacks=reference.attacks), 0.99))
    assert mended.verdict == "not_reproduced"
    assert mended.value == pytest.approx(0.99, abs=0.01) != measured.value
    assert published.AS_PUBLISHED in mended.statement


def test_s2_lays_nothing_at_a_servers_door_that_this_host_may_have_dropped(reference: Evidence) -> None:
    """A timeout may be a packet that the host lost; a refusal cannot."""
    evidence = dataclasses.replace(reference, attacks=())
    storms = of_plan(evidence, "08-timeouts", server="hyper-today", timeout_s=1)
    for failed_as, decided in (("connect_timeout", False), ("refused", True)):
        outcomes = {"answered": 10, failed_as: 90}
        planted = changed(evidence, storms, success_rate=0.1, lo_rx_dropped=7, outcomes=outcomes)
        planted = changed(planted, of_plan(evidence, "08-timeouts", server="node", timeout_s=1), success_rate=0.9)
        holds, _, undecided = RULES["S2"](planted).statement.partition("It holds, ")[2].partition("Undecided: ")
        kind = "Hyper of today with 50,000 clients, timeout 1 s"
        open_kinds = undecided.strip(". ").split("; ")
        assert (f"“{kind}”" in holds, kind in open_kinds) == (decided, not decided)


def test_s2_holds_in_a_storm_only_where_nodejs_answers_more(reference: Evidence) -> None:
    evidence = dataclasses.replace(reference, attacks=())
    hyper = of_plan(evidence, "08-timeouts", server="hyper-today", timeout_s=3)
    node = of_plan(evidence, "08-timeouts", server="node", timeout_s=3)
    failing = changed(evidence, hyper, success_rate=0.1, lo_rx_dropped=0)
    for share, holds in ((0.05, False), (0.9, True)):
        planted = changed(failing, node, success_rate=share)
        said = RULES["S2"](planted).statement.partition("It holds, ")[2].partition("Undecided: ")[0]
        assert ("“Hyper of today with 50,000 clients, timeout 3 s”" in said) is holds


class Alike(Evidence):
    """With the rows of one storm in place of all others'."""

    row: str

    def lives(self, run_id: str) -> pd.DataFrame:
        return Evidence.lives(self, self.row)


@pytest.mark.parametrize(("kind", "expected"), [(rhythm.FULL, "reproduced"), (rhythm.LARGER, "not_reproduced")])
def test_s3_asks_whether_there_are_silences_between_the_answers(reference: Evidence, kind: str, expected: Word) -> None:
    storms = reference.of_plan(PULSES)
    row = storms[storms["variant"] == kind]["run_id"].iloc[0]
    assert of(of_class(Alike, reference, row=row), "S3") == expected


@pytest.fixture(scope="module")
def pulsing(reference: Evidence) -> pd.DataFrame:
    return rhythm.with_pulses(reference.of_plan(PULSES), reference.lives, reference.settings)


def test_who_makes_the_pulses_is_decided_by_what_moves_them(pulsing: pd.DataFrame) -> None:
    found = rhythm.propositions(pulsing)
    assert {name: decision.holds for name, decision in found.items()} == {
        rhythm.REMOVED: True,
        rhythm.MOVED: True,
        rhythm.OWN: True,
    }
    assert found[rhythm.MOVED].found.value == pytest.approx(1.5, abs=0.05), "due at 3 s, and not at 2 s"


def test_waves_of_syns_begin_bunches_when_the_kernel_of_the_storm_has_them_due(pulsing: pd.DataFrame) -> None:
    for kind, fewest in ((rhythm.ALONE, 4), (rhythm.RESCHEDULED, 4)):
        storms = pulsing[pulsing["variant"] == kind]
        assert storms["syn_waves"].min() >= fewest
        assert (storms["on_time"] == 1).all()
        by_syns = storms["silent_for_syns"] / storms["silent"]
        assert by_syns.to_list() == pytest.approx([1.0] * len(storms)), "without cookies nothing else ends a silence"


def test_neither_a_long_queue_nor_a_resting_server_is_taken_for_the_clients_kernels(pulsing: pd.DataFrame) -> None:
    for kind in (rhythm.LARGER, rhythm.RESTING, rhythm.GO):
        storms = pulsing[pulsing["variant"] == kind]
        assert len(storms)
        assert not storms[["syn_waves", "request_waves"]].any(axis=None)
    assert pulsing.loc[pulsing["variant"] == rhythm.RESTING, "period_s"].between(0.49, 0.52).all()


def test_s3_says_what_was_done_to_its_server_and_what_the_published_program_does_by_itself(
    reference: Evidence,
) -> None:
    verdict = RULES["S3"](reference)
    assert verdict.statement.startswith("With a full queue the server is silent for")
    assert "full queue" in verdict.measure
    assert len(verdict.parts) == 3
    by_itself = verdict.statement.partition("By itself the published program answers in pulses: ")[2]
    assert "hyper-2024 in " in by_itself
    alone = RULES["S3"](without_attacks(reference))
    assert "By itself" not in alone.statement
    added = reference.runs["run_id"].isin(set(verdict.run_ids) - set(alone.run_ids))
    assert added.any()
    assert (reference.runs.loc[added, "lo_rx_dropped"] == 0).all()
    assert not of_plan(reference, "08-files-wide", server=["go", "node"])[added].any()
    pulsing = of_plan(reference, "08-files-wide", server="hyper-2024")
    once = reference.runs["answers_per_step"].copy()
    once[pulsing] = [[9, 0, 0, 9]] * int(pulsing.sum())
    planted = with_runs(reference, reference.runs.assign(answers_per_step=once))
    assert "hyper-2024 in 3 of" in RULES["S3"](planted).statement


def test_s4_leads_with_the_published_generator(reference: Evidence) -> None:
    attacks = reference.attacks_of(published.ADDRESS)
    on_rivals = attacks[attacks["server"].isin(["go", "node"]) & (attacks["tool"] == "vegeta-12.11.1")]
    verdict = RULES["S4"](reference)
    assert verdict.statement.startswith("Under the published generator Go answers 100.00%")
    attacked = sum(on_rivals["server"] == "node")
    assert f"Node.js answers 100.00% in {attacked} of {attacked}, 99th" in verdict.statement
    assert set(on_rivals["run_id"]) <= set(verdict.run_ids)
    assert "generator" not in RULES["S4"](without_attacks(reference)).statement.partition(". ")[0]
    storms = of_plan(reference, STACKS, scenario="short", server=["go", "node"])
    storms |= of_plan(reference, STORMS, variant="default", server=["go", "node"])
    for plan in published.STORMS:
        storms |= of_plan(reference, plan, server=["go", "node"])
    failing = changed(reference, storms, success_rate=0.9, p99_ms=3000.0, generator="ok", lo_rx_dropped=0)
    assert of(failing, "S4") == "true_under_conditions"
    said = [{**kept["said"], "answered": 1, "p99_ms": 3000.0} for kept in reference.attacks]
    attacked = [{**kept, "said": each} for kept, each in zip(reference.attacks, said, strict=True)]
    assert of(dataclasses.replace(failing, attacks=attacked), "S4") == "not_reproduced"


def test_s4_asks_for_all_answers_and_a_low_latency(reference: Evidence) -> None:
    reference = without_attacks(reference)
    rivals = of_plan(reference, STACKS, scenario="short", server=["go", "node"])
    rivals |= of_plan(reference, STORMS, variant="default", server=["go", "node"])
    for plan in published.STORMS:
        if len(reference.of_plan(plan)):
            rivals |= of_plan(reference, plan, server=["go", "node"])
    well = changed(reference, rivals, success_rate=1.0, p99_ms=20.0, generator="ok", lo_rx_dropped=0)
    assert of(well, "S4") == "reproduced"
    assert of(changed(well, rivals, success_rate=0.9, p99_ms=3000.0), "S4") == "not_reproduced"
    assert of(changed(well, rivals, p99_ms=3000.0), "S4") == "true_under_conditions"
    lost_by_the_host = changed(well, rivals, success_rate=0.9, generator="limiting", lo_rx_dropped=1)
    assert of(lost_by_the_host, "S4") == "undecidable_here"


def test_s4_names_what_it_does_not_decide_as_s2_does(reference: Evidence) -> None:
    """What S2 says that Node.js left unanswered is not among the kinds in which it answered everybody."""
    rivals = of_plan(reference, STACKS, scenario="short", server="node")
    lost = changed(reference, rivals, success_rate=0.9, lo_rx_dropped=7)
    statement = RULES["S4"](lost).statement
    assert "undecided for" in statement
    assert "Node.js with “50,000 clients, disjoint CPUs”, “50,000 clients, shared CPUs”" in statement
    by_itself = changed(reference, rivals, success_rate=0.9, lo_rx_dropped=0)
    assert "not everybody in: “50,000 clients, disjoint CPUs”, “50,000 clients, shared CPUs”" in (
        RULES["S4"](by_itself).statement
    )
    ids = set(RULES["S4"](reference).run_ids)
    storms = of_plan(reference, "08-files", server=["go", "node"])
    assert set(reference.runs[storms]["run_id"]) <= ids


def test_s2_says_its_threshold_and_tells_a_half_from_what_the_article_has(reference: Evidence) -> None:
    statement = RULES["S2"](answering(reference, 0.5)).statement
    assert f"fewer than {symptoms.FAILING:.0%} answered" in statement
    half = statement.partition("about a half")[2].partition("other shares")[0]
    assert "“vegeta-12.11.1 at localhost”" in half
    first = "20% to 30% are answered in most runs of: "
    assert statement.startswith(first)
    assert "“vegeta-12.11.1 at localhost”" not in statement.partition(". ")[0]
    quartered = RULES["S2"](answering(reference, 0.25)).statement
    assert quartered.startswith(f"{first}“vegeta-12.11.1 at localhost”")
    assert "“vegeta-12.11.1 at localhost”" not in quartered.partition("about a half")[2]
    late = "Called by vegeta-12.11.1, a Hyper that is late answers 20% to 30% in most runs if late by: "
    assert f"{late}2 s. So these are the published shares if Hyper alone was late" in RULES["S2"](reference).statement
    assert "none shows what was published" in statement
    assert "By its limit of open files hyper-2024 answers" in statement
    rivals = of_plan(reference, "08-files", server=["go", "node"])
    assert "1 shows what was published" in RULES["S2"](changed(reference, rivals, success_rate=1.0)).statement
    assert set(reference.runs[rivals]["run_id"]) <= set(RULES["S2"](reference).run_ids)


def test_nothing_is_said_of_failures_where_nothing_failed(reference: Evidence) -> None:
    assert "that failed" in published.finding(reference)
    whole = answering(reference, 1.0)
    assert "that failed" not in published.finding(whole)
    assert "that failed" not in RULES["S2"](whole).statement


def test_c1_counts_refusals_where_the_server_lived_and_apart_where_it_ended(reference: Evidence) -> None:
    overflowing = reference.runs["counters"].map(lambda moved: "ListenOverflows" in moved)
    one = (
        overflowing
        & (reference.runs["lo_rx_dropped"] == 0)
        & reference.runs["plan_hash"].isin(reference.of_plan(CAUSE)["plan_hash"])
    )
    outcomes = {"refused": 90, "answered": 10}
    ended = changed(reference, one, outcomes=outcomes, status="failed", server_ended="exit status 101")
    before, after = RULES["C1"](reference), RULES["C1"](ended)
    assert "whose server lived: what does not fit is dropped unanswered" in after.statement
    assert after.statement != before.statement
    assert "the server ended, and then" in after.statement
    assert set(ended.runs[one]["run_id"]) <= set(after.run_ids)


def test_f1_has_the_storms_with_the_printed_backlog_among_its_runs(reference: Evidence) -> None:
    verdict = RULES["F1"](reference)
    storms = of_plan(reference, backlog.REMEDIES, variant=list(backlog.PRINTED))
    assert set(reference.runs[storms]["run_id"]) <= set(verdict.run_ids)
    assert "The published program, rewritten, ended" in verdict.statement
    assert "out of 20,000 files" in verdict.statement


def test_c1_asks_for_the_cause_for_refusals_and_for_the_numbers(reference: Evidence) -> None:
    stopped, plane = of_plan(reference, CAUSE), of_plan(reference, PLANE)
    alike = changed(changed(reference, stopped, success_rate=0.7), plane, first_try_share=0.7)
    assert of(alike, "C1") == "not_reproduced"
    assert "refused or" not in RULES["C1"](alike).statement
    overflowing = reference.runs["counters"].map(lambda moved: "ListenOverflows" in moved)
    refused = changed(reference, overflowing, outcomes={"refused": 10, "answered": 90})
    as_told = [{**row, "backlog_asked": 512} if row["stack"] == backlog.NODE else row for row in reference.audit]
    assert of(refused, "C1") == "true_under_conditions"
    assert of(dataclasses.replace(refused, audit=as_told), "C1") == "reproduced"


def test_f1_asks_where_a_larger_backlog_brings_more_through(reference: Evidence) -> None:
    few, many = (
        of_plan(reference, STORMS, backlog=size)
        | of_plan(reference, PLANE, backlog=size)
        | of_plan(reference, backlog.HANDS, backlog=size)
        for size in (128, 4096)
    )
    assert of(changed(reference, few | many, first_try_share=0.6), "F1") == "not_reproduced"
    everywhere = changed(changed(reference, few, first_try_share=0.3), many, first_try_share=1.0)
    assert of(everywhere, "F1") == "reproduced"
    harmful = changed(changed(reference, few, first_try_share=1.0), many, first_try_share=0.3)
    assert of(harmful, "F1") == "not_reproduced"


BLOCKS = 8


def compared(reference: Evidence, cost: Callable[[Any, str], float], answered: float = 1.0) -> Evidence:
    """Storms of the allocators' plans: CPU time and latency times ``cost``, ``answered`` with the default allocator."""

    def measured(trial: Any, load: str) -> dict[str, Any]:
        more, default = cost(trial.server, load), trial.server.allocator == "system"
        speeds = {"server_cpu_s": more, "p99_ms": 10 * more, "throughput_per_s": 1000 / more}
        return speeds | {"generator": "ok", "success_rate": answered if default else 1.0}

    like = reference.runs.iloc[0].copy()
    like["peak_rss_bytes"] = 1e8
    plans = [allocators.load_plan(allocators.PLANS / f"{name}.toml") for name in allocators.PLANNED]
    return with_runs(reference, pd.concat([recorded(plan, BLOCKS, like, measured) for plan in plans]))


def jemalloc(ratio: float, loads: tuple[str, ...] = ()) -> Callable[[Any, str], float]:
    return lambda server, load: ratio if server.allocator != "system" and (not loads or load in loads) else 1.0


@pytest.mark.parametrize("claim", ["C3", "F2"])
def test_allocators_are_judged_by_who_is_answered_and_by_what_is_established(reference: Evidence, claim: str) -> None:
    assert of(compared(reference, jemalloc(1.0)), claim) == "not_reproduced"
    assert of(compared(reference, jemalloc(1.3)), claim) == "not_reproduced"
    assert of(compared(reference, jemalloc(0.7)), claim) == "true_under_conditions", "faster, and nobody was failed"
    assert of(compared(reference, jemalloc(0.5), answered=0.7), claim) == "reproduced"


def test_c3_leads_with_the_comparison_that_decides(reference: Evidence) -> None:
    first = RULES["C3"](reference).statement.partition(". ")[0]
    assert first.startswith("An improvement of 5% or more is shown in ")
    assert "another allocator than the default: " in first
    assert "CPU time per answer with jemalloc (python" in first


def test_the_calm_load_is_none_of_high_concurrency(reference: Evidence) -> None:
    only_calm = compared(reference, jemalloc(0.6, ("long",)))
    assert of(only_calm, "C3") == "not_reproduced"
    assert of(only_calm, "F2") == "true_under_conditions"


FILES = """
[base]
clients = 500
[vary]
server = ["hyper", "go", "python"]
nofile = [64, 1024]
"""
KERNEL = """
[base]
clients = 500
[variant."searched"]
source_ports = "kernel"
[variant."searched, wider range"]
source_ports = "kernel"
sysctl = { "net.ipv4.ip_local_port_range" = "1024 65535" }
"""


@pytest.fixture
def limited(reference: Evidence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Evidence]:
    """Storms of plans like those of notebooks 05 and 06, with shares answered by limit and by scenario."""
    (tmp_path / f"{limits.USUAL}.toml").write_text(FILES)
    (tmp_path / f"{limits.PORTS}.toml").write_text(KERNEL)
    monkeypatch.setattr("analysis.claims.evidence.PLANS", tmp_path)

    def make(shares: Mapping[object, float]) -> Evidence:
        def measured(trial: Any, scenario: str) -> dict[str, Any]:
            return {"success_rate": shares[scenario or trial.server.nofile]}

        plans = [allocators.load_plan(path) for path in sorted(tmp_path.glob("*.toml"))]
        like = reference.runs.iloc[0]
        return with_runs(reference, pd.concat([recorded(plan, 5, like, measured) for plan in plans]))

    return make


def test_limits_are_judged_by_who_is_answered_under_them(limited: Callable[..., Evidence]) -> None:
    ports = dict.fromkeys(limits.SEARCHED, 0.9)
    hurt, unhurt = limited({64: 0.3, 1024: 0.9} | ports), limited({64: 0.9, 1024: 0.9} | ports)
    assert (of(hurt, "C2"), of(unhurt, "C2")) == ("reproduced", "not_reproduced")
    assert (of(hurt, "F3"), of(unhurt, "F3")) == ("true_under_conditions", "not_reproduced")
    wider = limited({64: 0.3, 1024: 0.9, limits.SEARCHED[0]: 0.8, limits.SEARCHED[1]: 0.9})
    assert of(wider, "F3") == "reproduced"


def test_limits_are_told_of_the_published_program_and_one_by_one(reference: Evidence) -> None:
    """Also where there is no gain."""
    files, kernel = RULES["C2"](reference), RULES["F3"](reference)
    for verdict in (files, kernel):
        assert verdict.measure.endswith("rewritten: hyper-2024, 20,000 files instead of 1,024, 50,000 clients")
    assert [part.measure for part in kernel.parts][1:] == [
        limits.PORTS_EXHAUSTED,
        limits.PORTS_TO_SPARE,
        limits.FAST_OPEN_TRIED,
    ]
    assert all(part.value is not None and part.measure in kernel.statement for part in kernel.parts)
    assert kernel.parts[0].value == kernel.value
    assert json.loads(json.dumps(kernel.to_json()))["parts"][3]["measure"] == limits.FAST_OPEN_TRIED
    alike = changed(reference, of_plan(reference, "08-files", server="hyper-2024"), success_rate=0.5)
    assert abs(RULES["F3"](alike).value or 0.0) < 0.05


def test_limits_are_judged_stack_by_stack(limited: Callable[..., Evidence]) -> None:
    """What one loses is not told as the mean of all."""
    evidence = limited({64: 0.9, 1024: 0.9} | dict.fromkeys(limits.SEARCHED, 0.9))
    chosen = evidence.runs["server"].eq("hyper") & evidence.runs["plan"].map(
        lambda plan: plan["server"]["nofile"] == 64
    )
    verdict = RULES["C2"](changed(evidence, chosen, success_rate=0.2))
    assert verdict.verdict == "true_under_conditions"
    gained, without = verdict.statement.split("None that matters")
    assert ("Hyper" in gained, "Go" in gained, "Go" in without) == (True, False, True)
    assert verdict.value == pytest.approx(0.7, abs=0.05)


def test_cpu_time_at_the_pace_of_clients_is_said_to_be_that(reference: Evidence) -> None:
    assert PACED in RULES["F2"](reference).statement
    assert PACED not in RULES["F2"](compared(reference, jemalloc(1.0))).statement


def test_the_front_page_counts_storms_and_attacks_and_says_on_what_ground(reference: Evidence) -> None:
    verdicts = [
        Verdict("C1", "reproduced", "."),
        Verdict("S2", "reproduced", ".", run_ids=(reference.attacks[0]["run_id"], *reference.runs["run_id"][:2])),
    ]
    said = summary(changed(reference, reference.runs["run_id"] != "", lo_rx_dropped=0), verdicts)
    assert "in 2 storms and 1 attacks by other tools" in said
    assert "it dropped packets" not in said
    lost = changed(reference, reference.runs["run_id"] == reference.runs["run_id"][0], lo_rx_dropped=1)
    assert "In some storms of S2 it dropped packets" in summary(lost, verdicts)
    assert set(CLEAN) == {"S3", "C1", "F1"}


def test_the_readme_says_of_results_what_the_data_say(reference: Evidence, judged: list[Verdict]) -> None:
    readme = (PROJECT / "README.md").read_text()
    assert front_page(readme, reference, judged) == readme, "run `stormlab verdicts --export`"


# ---- where the data come from ---------------------------------------------------------------------------------------


def test_changed_data_in_a_copy_change_the_verdict(reference: Evidence, tmp_path: Path) -> None:
    """Whichever way the copy is named; it has only what is asked of by the claim whose verdict changes."""
    names = [STACKS, STORMS, *published.STORMS]
    few = reference.runs["plan_hash"].isin(pd.concat([reference.of_plan(name) for name in names])["plan_hash"])
    measured = with_runs(reference, reference.runs[few])
    evidence = answering(dataclasses.replace(without_attacks(measured), attacks=measured.attacks), 1.0)
    copy = tmp_path / "reference"
    copy.mkdir()
    results.write(evidence.runs, copy / results.RUNS)
    (copy / REFERENCE).write_text("".join(json.dumps(kept) + "\n" for kept in evidence.attacks))
    (copy / AUDIT).write_text(json.dumps({"stacks": reference.audit}))

    def said(verdicts: list[dict[str, Any]]) -> str:
        assert all(set(row) >= COLUMNS for row in verdicts)
        assert len(verdicts) == 14
        return str(next(row["verdict"] for row in verdicts if row["claim"] == "S2"))

    by_option = stormlab_json(tmp_path, "verdicts", "--data", str(copy))
    environment = {**os.environ, "STORMLAB_REFERENCE": str(copy)}
    command = [sys.executable, "-m", "harness", "verdicts", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    for document in (by_option.document, json.loads(done.stdout)):
        assert said(document["verdicts"]) == "not_reproduced" != RULES["S2"](reference).verdict


def test_machines_and_builds_are_never_pooled(reference: Evidence, tmp_path: Path) -> None:
    runs = reference.runs.copy()
    hyper = of_plan(reference, STACKS, scenario="short", server="hyper")
    elsewhere, older = runs[hyper].assign(host_id="elsewhere", success_rate=0.1), runs[hyper].copy()
    older["run_id"], older["binary_hash"] = "0" + older["run_id"], "older"
    results.write(pd.concat([runs, elsewhere, older]), tmp_path / results.RUNS)
    evidence = gather(tmp_path)
    assert evidence.other_hosts == len(elsewhere)
    pd.testing.assert_frame_equal(evidence.runs.reset_index(drop=True), runs.reset_index(drop=True))


def test_runs_recorded_here_are_judged(reference: Evidence, tmp_path: Path) -> None:
    """Folders of runs, as they are recorded, without a table of them."""
    plan_runs = reference.of_plan(PULSES)
    plan_runs = plan_runs[plan_runs["variant"].isin([rhythm.FULL, rhythm.LARGER])]
    for run_id in plan_runs["run_id"]:
        shutil.copytree(store.REFERENCE / run_id, tmp_path / run_id)
    evidence = gather(tmp_path)
    assert set(evidence.runs["run_id"]) == set(plan_runs["run_id"])
    assert RULES["S3"](evidence) == RULES["S3"](with_runs(reference, plan_runs[list(evidence.runs)]))


def test_a_folder_without_runs_leaves_all_pending(tmp_path: Path) -> None:
    done = stormlab_json(tmp_path, "verdicts", "--data", str(tmp_path))
    assert done.code == 0, done.stderr
    assert [row["verdict"] for row in done.document["verdicts"]] == ["pending"] * 14


@pytest.mark.parametrize(
    ("words", "said"), [(("--data", "nowhere"), "nowhere"), (("--source", "here", "--export"), "--export")]
)
def test_what_cannot_be_judged_is_said_in_one_line(words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    done = stormlab_json(tmp_path, "verdicts", *words)
    assert done.code == 2
    assert said in json.dumps(done.document["error"])


def test_the_table_has_the_beginning_of_a_statement_and_says_where_it_goes_on() -> None:
    assert lead("Short. And whole.") == "Short. And whole."
    first = f"{'a' * 150}."
    assert lead(f"{first} {'b' * 100}.") == f"{first} …"
    assert lead(f"{'a' * 150}; {'b' * 30}; {'c' * 100}.") == f"{'a' * 150}; {'b' * 30} …"
    assert lead(f"{'a' * 300}. b.") == f"{'a' * 300}. …", "never nothing"


@pytest.mark.parametrize(
    ("value", "high", "said"),
    [
        (0.07, 0.89, "to 0.89)"),
        (0.3, 9.5, "to 9.50)"),
        (0.3, 70.0, "(95 % interval from 0.15, no upper end)"),
        (12.0, 13.0, "to 13.00)"),
        (0.3, float("inf"), "(95 % interval from 0.15, no upper end)"),
    ],
)
def test_an_interval_ends_where_something_was_measured(value: float, high: float, said: str) -> None:
    assert with_spread(Interval(value, value / 2, high, 6), "ratio").endswith(said)
