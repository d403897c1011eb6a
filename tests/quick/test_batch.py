"""Batches: in blocks, and with one line for each reason to leave something out."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest

from harness.errors import PlanError
from harness.events.store import CONNECTIONS, Partial, Run
from harness.machine import namespace
from harness.plan import PLANS, Plan, Trial, load_plan, trial_from_options
from harness.servers import build
from harness.trial import batch
from harness.trial.journal import Journal

PYTHON = [trial_from_options({"server": "python", "clients": clients}) for clients in (1, 2, 3)]


PLAN = Plan("p", "", tuple(PYTHON), repeats=4)


def test_each_repeat_holds_every_trial_once(tmp_path: Path) -> None:
    trials = Journal.open(tmp_path, PLAN, PYTHON, afresh=False).left(PYTHON)
    for block in range(4):
        assert Counter(trials[3 * block : 3 * block + 3]) == Counter(PYTHON)


def test_a_control_is_held_twice_in_each_repeat(tmp_path: Path) -> None:
    plan = Plan("p", "", tuple(PYTHON), repeats=3, controls=(PYTHON[0],))
    trials = Journal.open(tmp_path, plan, PYTHON, afresh=False).left(PYTHON)
    for block in range(3):
        assert Counter(trials[4 * block : 4 * block + 4]) == Counter([*PYTHON, PYTHON[0]])
    without = Journal.open(tmp_path, plan, PYTHON[1:], afresh=False).left(PYTHON)
    assert Counter(without) == Counter(PYTHON[1:] * 3), "it cannot be run here"


def test_a_batch_that_was_interrupted_goes_on(tmp_path: Path) -> None:
    begun = Journal.open(tmp_path, PLAN, PYTHON, afresh=False)
    order = begun.left(PYTHON)
    for number in range(5):
        begun.note(f"run-{number}")
    again = Journal.open(tmp_path, PLAN, PYTHON, afresh=False)
    assert again.run_ids == [f"run-{number}" for number in range(5)]
    assert again.left(PYTHON) == order[5:]


def test_a_batch_that_is_over_begins_anew(tmp_path: Path) -> None:
    whole = Journal.open(tmp_path, PLAN, PYTHON, afresh=False)
    for number in range(12):
        whole.note(f"run-{number}")
    assert not list(tmp_path.iterdir())
    assert Journal.open(tmp_path, PLAN, PYTHON, afresh=False).run_ids == []


def test_a_batch_can_be_begun_afresh_and_fits_only_its_own_plan(tmp_path: Path) -> None:
    Journal.open(tmp_path, PLAN, PYTHON, afresh=False).note("run-0")
    assert Journal.open(tmp_path, PLAN, PYTHON, afresh=True).run_ids == []
    fewer = Plan("p", "", tuple(PYTHON[:2]), repeats=4)
    assert Journal.open(tmp_path, fewer, PYTHON[:2], afresh=False).run_ids == []
    assert Journal.open(tmp_path, PLAN, PYTHON[:2], afresh=False).run_ids == [], "a server was there and is not now"


def test_a_damaged_journal_begins_anew(tmp_path: Path) -> None:
    begun = Journal.open(tmp_path, PLAN, PYTHON, afresh=False)
    begun.note("run-0")
    begun.path.write_text("{")
    assert Journal.open(tmp_path, PLAN, PYTHON, afresh=False).run_ids == []


def test_a_storm_whose_run_was_removed_is_measured_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A batch that goes on counts the runs that are still there, and says which are not."""
    monkeypatch.setattr(batch, "run_trial", lambda trial, data, report: recorded(data, trial))
    begun = Journal.open(tmp_path, PLAN, PYTHON, afresh=False)
    gone, kept = (recorded(tmp_path, trial) for trial in begun.left(PYTHON)[:2])
    begun.note(gone.run_id)
    begun.note(kept.run_id)
    shutil.rmtree(gone.path)
    said: list[str] = []
    runs = list(batch.in_blocks(PLAN, tmp_path, lambda step: lambda progress: None, said.append, afresh=False))
    assert runs[0].run_id == kept.run_id
    assert Counter(run.manifest["plan_hash"] for run in runs) == {trial.plan_hash: 4 for trial in PYTHON}
    assert f"run {gone.run_id} is gone: its storm is measured again" in said
    assert not list(tmp_path.glob(".batch-*")), "the batch is over"


def recorded(data: Path, trial: Trial) -> Run:
    """A run of a trial, as far as a batch looks at it."""
    about = {"plan_hash": trial.plan_hash, "plan": trial.to_json(), "host": {}, "server": {"name": "python"}}
    partial = Partial.create(data, {**about, "agents": []})
    (partial.path / CONNECTIONS).touch()
    return partial.rename(partial.read_manifest())


def test_each_reason_is_said_once_with_all_it_leaves_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(build, "BUILT", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    lines: list[str] = []
    possible = batch.runnable(load_plan(PLANS / "01-stack-comparison.toml").trials, lines.append)
    assert {trial.server.name for trial in possible} == {"python"}
    assert len(lines) == 3
    assert lines[0].startswith("left out: hyper, hyper-std, actix, tokio, tokio-std: cargo is not installed")


def test_an_unknown_server_is_not_just_left_out() -> None:
    with pytest.raises(PlanError):
        batch.runnable([trial_from_options({"server": "nope"})], lambda line: None)


def test_what_takes_more_open_files_than_the_machine_allows_is_left_out() -> None:
    said: list[str] = []
    modest = trial_from_options({"server": "python", "nofile": 64})
    raised = trial_from_options({"server": "python", "nofile": 64, "nofile_hard": 999_999_999})
    assert batch.runnable([modest, raised], said.append) == [modest]
    assert len(said) == 1
    assert "999999999 open files" in said[0]


def test_what_a_trial_needs_and_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "nft_path", lambda: None)
    held = trial_from_options({"server": "python", "hold_ms": 100.0, "hold_at_s": 1.0})
    said: list[str] = []
    assert batch.runnable([held, *PYTHON], said.append) == PYTHON
    assert "nft is not installed" in said[0]


@pytest.mark.parametrize(
    "options",
    [{"sysctl": {"net.core.somaxconn": "77"}}, {"hold_ms": 100.0, "hold_at_s": 1.0}, {"syn_loss": 0.1}],
    ids=["sysctl", "hold", "syn loss"],
)
def test_what_takes_a_private_network_that_cannot_be_had_is_left_out(
    options: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(namespace, "available", lambda: namespace.Isolation(False, "no private network namespace: no"))
    monkeypatch.setattr(batch, "nft_path", lambda: "/sbin/nft")
    trial = trial_from_options({"server": "python", **options})
    said: list[str] = []
    assert batch.runnable([trial, *PYTHON], said.append) == PYTHON
    assert "there is no private network namespace" in said[0]


def test_what_a_server_cannot_be_told_is_left_out_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build.Unit, "missing", None)
    trials = [trial_from_options({"server": name, "accept_loops": 2}) for name in ("python", "go")]
    said: list[str] = []
    assert batch.runnable([*trials, *PYTHON], said.append) == [trials[1], *PYTHON]
    (line,) = said
    assert line.startswith("left out: python: --accept-loops was asked for")


def test_a_server_without_http2_is_left_out_of_a_plan_that_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build.Unit, "missing", None)
    trials = [trial_from_options({"server": name, "http2": True}) for name in ("python", "tokio")]
    said: list[str] = []
    assert batch.runnable(trials, said.append) == trials[:1]
    assert said == ["left out: tokio: it does not speak HTTP/2"]
