"""Batches: in blocks, and with one line for each reason to leave something out."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from harness import batch
from harness.errors import PlanError
from harness.plan import PLANS, Plan, load_plan, trial_from_options
from harness.servers import build

PYTHON = [trial_from_options({"server": "python", "clients": clients}) for clients in (1, 2, 3)]


def test_each_repeat_holds_every_trial_once() -> None:
    trials = batch.in_blocks(Plan("p", "", tuple(PYTHON), repeats=4), lambda line: None)
    for block in range(4):
        assert Counter(trials[3 * block : 3 * block + 3]) == Counter(PYTHON)


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
