"""Every claim has a verdict, and other data have another: the opposite is planted in copies of the reference data."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import pandas as pd
import pytest

from analysis.claims import front, measures
from analysis.claims.claim import CLAIMS
from analysis.claims.evidence import Evidence, gather
from analysis.claims.judge import judge
from analysis.claims.page import PAGE, README, front_page, page
from analysis.claims.verdict import Verdict, Word
from analysis.overflow import rhythm
from harness.events import store
from harness.events.records import REFERENCE
from harness.thought import runs as results
from harness.thought.proposition import decided
from tests.calling import stormlab_json
from tests.planted import changed, of_plan, with_runs

KEYS = {"id", "statement", "role", "holds", "why_null", "value", "unit", "interval", "interval_kind", "runs", "figure"}
QUEUE = "HAProxy, queue of half a second"


@pytest.fixture(scope="module")
def judged(reference: Evidence) -> list[Verdict]:
    """Judge the reference data once for all tests that look at what comes out."""
    return judge(reference)


def holds(evidence: Evidence, name: str) -> bool | None:
    (asked,) = (asked for asked in CLAIMS[name.partition(".")[0]].asked if asked.id == name)
    return decided(asked, measures.MEASURES[name](evidence)).holds


# ---- what every verdict is -------------------------------------------------------------------------------------------


def test_fourteen_claims_each_with_all_the_contract_asks_for(reference: Evidence, judged: list[Verdict]) -> None:
    assert " ".join(verdict.claim.name for verdict in judged) == "S1 S2 S3 S4 C1 C2 C3 F1 F2 F3 A1 A2 A3 A4"
    known = {*reference.runs["run_id"], *(attack["run_id"] for attack in reference.attacks)}
    for verdict in judged:
        document = json.loads(json.dumps(verdict.to_json(), allow_nan=False))
        assert set(document) >= {"claim", "verdict", "sentence", "propositions", "notebook"}
        assert document["verdict"] in get_args(Word)
        for proposition in document["propositions"]:
            assert set(proposition) == KEYS
            assert (proposition["holds"] is None) == (proposition["why_null"] is not None)
            assert set(proposition["runs"]) <= known
            assert (proposition["interval"] is None) == (proposition["interval_kind"] is None)
            if proposition["interval"] is not None:
                low, high = proposition["interval"]
                assert low <= proposition["value"] <= high
            if proposition["holds"] is not None:
                assert len(proposition["runs"]) >= 6


def test_all_sentences_hold_on_the_reference_data(judged: list[Verdict]) -> None:
    """Where one does not, its author writes it anew, in ``claims.toml``."""
    assert [line for verdict in judged for line in verdict.no_longer_so] == []
    assert [line for written in front.load().sentences for line in front.no_longer_so(written, judged)] == []


def test_readme_and_page_have_the_verdicts_of_the_reference_data(judged: list[Verdict]) -> None:
    readme = README.read_text()
    assert front_page(readme, judged) == readme, "run `stormlab verdicts --export`"
    assert PAGE.read_text() == page(judged), "run `stormlab verdicts --export`"


def test_without_data_nothing_is_decided_and_it_says_what_to_record(reference: Evidence) -> None:
    empty = dataclasses.replace(with_runs(reference, reference.runs.iloc[:0]), attacks=())
    for verdict in judge(empty):
        assert verdict.word == "not_decided"
        assert all(
            re.search(r"`stormlab (run --plan plans/|tune |notebooks )", one.why_null) for one in verdict.propositions
        )


def test_one_storm_of_each_kind_decides_nothing(reference: Evidence) -> None:
    single = with_runs(reference, reference.runs.drop_duplicates("plan_hash"))
    one_attack = {attack["plan_hash"]: attack for attack in reference.attacks}
    for verdict in judge(dataclasses.replace(single, attacks=list(one_attack.values()))):
        decided_anyway = [one.id for one in verdict.propositions if one.holds is not None]
        # Of storms of several kinds together, and of a search, whose fresh storms are of one kind, there are enough.
        assert set(decided_anyway) <= {"C1.refused"}


def test_nothing_is_said_of_a_backlog_while_the_input_queue_was_dropping(reference: Evidence) -> None:
    dropping = changed(reference, reference.runs["run_id"] != "", lo_rx_dropped=1)
    for name in ("C1.delays", "C1.stopped", "F1.first_try", "S3.pulses", "S3.server"):
        assert holds(dropping, name) is None


def test_nothing_is_said_of_a_speed_where_the_generator_was_the_limit(reference: Evidence) -> None:
    limiting = changed(reference, reference.runs["run_id"] != "", generator="limiting")
    for name in ("S1.go", "S1.node", "S4.steady", "C3.speed", "F1.tail", "A3.queue"):
        assert holds(limiting, name) is None


# ---- the opposite, planted -------------------------------------------------------------------------------------------

BACKLOGS = {"server": "hyper", "cpu": "shared", "wide": True}
HYPER = {"server": "hyper"}
PLAIN = {"variant": measures.PLAIN}
OPPOSITES: tuple[tuple[str, bool, str, Mapping[str, object], Mapping[str, Any]], ...] = (
    ("S1.go", False, measures.KEPT, HYPER | {"cpu": "disjoint"}, {"throughput_per_s": 10.5, "generator": "ok"}),
    ("S1.node", False, measures.KEPT, HYPER | {"cpu": "disjoint"}, {"throughput_per_s": 10.5, "generator": "ok"}),
    ("S2.fails", True, measures.FEW, PLAIN | HYPER, {"success_rate": 0.25}),
    ("S2.slower", True, measures.FEW, PLAIN | HYPER, {"p50_ms": 19_000.5, "generator": "ok"}),
    ("S4.go", False, measures.FEW, PLAIN | {"server": "go"}, {"success_rate": 0.5}),
    ("S4.node", False, measures.FEW, PLAIN | {"server": "node"}, {"success_rate": 0.5}),
    ("S4.steady", False, measures.FEW, PLAIN | {"server": "go"}, {"p99_ms": 15_000.5, "generator": "ok"}),
    ("S4.steady", True, measures.FEW, PLAIN, {"p99_ms": 20.5, "generator": "ok"}),
    ("C1.fails", True, measures.FEW, PLAIN | HYPER, {"success_rate": 0.8}),
    ("C1.refused", True, measures.STORMS, {"wide": True}, {"outcomes": {"refused": 10_000, "answered": 10_000}}),
    ("C1.delays", False, measures.STORMS, BACKLOGS, {"first_try_share": 0.5, "lo_rx_dropped": 0}),
    ("F1.first_try", False, measures.STORMS, BACKLOGS, {"first_try_share": 0.5, "lo_rx_dropped": 0}),
    ("F1.tail", False, measures.STORMS, BACKLOGS, {"p99_ms": 900.5, "generator": "ok"}),
    ("C2.goes_on", True, measures.USUAL, HYPER | {"nofile": 1_024}, {"success_rate": 0.2}),
    ("C2.ends", False, measures.FILES, {"variant": measures.PUBLISHED}, {"success_rate": 0.9, "lo_rx_dropped": 0}),
    ("F3.files", False, measures.FILES, {"variant": measures.PUBLISHED}, {"success_rate": 0.5, "lo_rx_dropped": 0}),
    ("F3.ports", False, measures.PORTS, {}, {"success_rate": 1.0}),
    ("F3.fast_open", True, measures.SETTINGS, {"variant": "Fast Open"}, {"first_try_share": 0.99}),
    ("C3.cpu", True, measures.SPEED, HYPER | {"allocator": "jemalloc"}, {"server_cpu_s": 0.0105}),
    ("C3.mimalloc", True, measures.SPEED, HYPER | {"allocator": "mimalloc"}, {"server_cpu_s": 0.0105}),
    ("C3.speed", True, measures.SPEED, HYPER, {"generator": "ok"}),
    ("F2.tail", True, measures.SPEED, HYPER | {"allocator": "jemalloc"}, {"p99_ms": 0.0105, "generator": "ok"}),
    ("A1.tail", False, measures.FEW, HYPER | {"variant": "HTTP/2 over 10"}, {"wanted_p99_ms": 19_000.5}),
    ("A1.cpu", False, measures.FEW, HYPER | {"variant": "HTTP/2 over 10"}, {"server_cpu_s": 99.5}),
    ("A1.all", False, measures.FEW, {"variant": "HTTP/2 over 10", "server": "python"}, {"success_rate": 0.5}),
    ("A2.tail", False, measures.FEW, HYPER | {"variant": "pool of 100"}, {"wanted_p99_ms": 19_000.5}),
    ("A2.cpu", False, measures.FEW, HYPER | {"variant": "pool of 100"}, {"server_cpu_s": 99.5}),
    ("A2.all", False, measures.FEW, {"variant": "pool of 100", "server": "node"}, {"success_rate": 0.5}),
    ("A3.told", False, measures.OVERLOAD, {"variant": QUEUE}, {"outcomes": {"connect_timeout": 12_000}}),
    ("A4.needed", False, measures.AS_THEY_COME, HYPER, {"success_rate": 1.0, "p99_ms": 20.5}),
)


@pytest.mark.parametrize(("name", "planted", "plan", "which", "values"), OPPOSITES, ids=lambda one: str(one)[:14])
def test_a_proposition_follows_its_runs(
    reference: Evidence,
    name: str,
    planted: bool,
    plan: str,
    which: Mapping[str, object],
    values: Mapping[str, Any],
) -> None:
    steady = changed(reference, of_plan(reference, plan), generator="ok") if "generator" in values else reference
    other = changed(steady, of_plan(steady, plan, **which), **values)
    if name == "C3.speed":  # both groups: what is planted is the ratio
        faster = of_plan(other, plan, **which, allocator="jemalloc")
        other = changed(
            changed(other, of_plan(other, plan, **which), throughput_per_s=100.5), faster, throughput_per_s=200.5
        )
    assert holds(other, name) is planted


def test_s2_follows_the_attacks(reference: Evidence) -> None:
    def answering(share: float) -> Evidence:
        attacks = [
            attack | {"said": attack["said"] | {"answered": int(attack["said"]["requests"] * share) - number % 3}}
            for number, attack in enumerate(reference.attacks)
        ]
        return dataclasses.replace(reference, attacks=attacks)

    assert holds(answering(0.99), "S2.published") is False
    assert holds(answering(0.3), "S2.published") is True
    assert holds(answering(0.3), "S2.address") is False


# ---- where the data come from ----------------------------------------------------------------------------------------


def test_changed_data_in_a_copy_change_proposition_word_and_sentence(reference: Evidence, tmp_path: Path) -> None:
    """Whichever way the copy is named."""
    slow = changed(reference, of_plan(reference, measures.KEPT, **HYPER), throughput_per_s=10.5, generator="ok")
    copy = tmp_path / "reference"
    copy.mkdir()
    kept = slow.runs[of_plan(slow, measures.KEPT)]
    results.write(kept, copy / results.RUNS)
    (copy / REFERENCE).write_text("")

    def said(verdicts: list[dict[str, Any]]) -> tuple[str, bool]:
        assert len(verdicts) == 14
        s1 = next(row for row in verdicts if row["claim"] == "S1")
        return s1["verdict"], s1["sentence_holds"]

    by_option = stormlab_json(tmp_path, "verdicts", "--data", str(copy))
    environment = {**os.environ, "STORMLAB_REFERENCE": str(copy)}
    command = [sys.executable, "-m", "harness", "verdicts", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    for document in (by_option.document, json.loads(done.stdout)):
        assert said(document["verdicts"]) == ("refuted", False)
    (s1,) = judge(reference, ["S1"])
    assert s1.word == "confirmed"


def test_machines_and_builds_are_never_pooled(reference: Evidence, tmp_path: Path) -> None:
    runs = reference.runs[of_plan(reference, measures.KEPT)].reset_index(drop=True)
    hyper = runs["server"].eq("hyper")
    elsewhere, older = runs[hyper].assign(host_id="elsewhere", success_rate=0.1), runs[hyper].copy()
    older["run_id"], older["binary_hash"] = "0" + older["run_id"], "older"
    results.write(pd.concat([runs, elsewhere, older]), tmp_path / results.RUNS)
    evidence = gather(tmp_path)
    assert evidence.other_hosts == len(elsewhere)
    pd.testing.assert_frame_equal(evidence.runs.reset_index(drop=True), runs, check_dtype=False)


def test_runs_recorded_here_are_judged(reference: Evidence, tmp_path: Path) -> None:
    """Folders of runs, as they are recorded, without a table of them."""
    runs = reference.of_plan(rhythm.PLAN, variant=rhythm.FULL)
    for run_id in runs["run_id"]:
        (tmp_path / run_id).symlink_to(store.REFERENCE / run_id)
    evidence = gather(tmp_path)
    assert set(evidence.runs["run_id"]) == set(runs["run_id"])
    of_here, of_reference = (measures.MEASURES["S3.pulses"](each) for each in (evidence, reference))
    assert of_here == of_reference


def test_a_folder_without_runs_decides_nothing(tmp_path: Path) -> None:
    done = stormlab_json(tmp_path, "verdicts", "--data", str(tmp_path))
    assert done.code == 0, done.stderr
    assert [row["verdict"] for row in done.document["verdicts"]] == ["not_decided"] * 14


@pytest.mark.parametrize(
    ("words", "said"), [(("--data", "nowhere"), "nowhere"), (("--source", "here", "--export"), "--export")]
)
def test_what_cannot_be_judged_is_said_in_one_line(words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    done = stormlab_json(tmp_path, "verdicts", *words)
    assert done.code == 2
    assert said in json.dumps(done.document["error"])
