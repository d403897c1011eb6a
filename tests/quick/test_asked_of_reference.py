"""What the reference data cannot answer is said, with what they hold: nothing is left out silently."""

from __future__ import annotations

import pytest

from harness.errors import MachineError
from harness.lab import record
from harness.plan import PLANS, load_plan

PLANE = PLANS / "02-backlog-plane.toml"


def test_kinds_that_are_not_held_are_named_with_those_that_are() -> None:
    said: list[str] = []
    plan = load_plan(PLANE, {"vary": {"backlog": [16, 77], "stall_ms": [50]}})
    runs = record(plan, say=said.append)
    assert set(runs["backlog_effective"]) == {16}
    (line,) = said
    assert "1 of 2 kinds" in line
    assert "backlog 77 (there are 16, 64, 128, 256, 511, 1,024, 4,096)" in line
    assert 'source = "here"' in line


def test_where_nothing_is_held_the_error_says_what_is() -> None:
    with pytest.raises(MachineError, match=r"with clients 4,001 \(there are 4,000\)") as refused:
        record(load_plan(PLANE, {"base": {"clients": 4_001}}))
    assert 'source = "here"' in refused.value.next_step


def test_what_is_all_there_needs_no_words() -> None:
    said: list[str] = []
    record(load_plan(PLANE), say=said.append)
    assert said == []
