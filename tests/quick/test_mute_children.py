"""Processes that start and then say nothing: whoever waits for their first word gives up in time."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from harness.errors import MachineError, StormLabError
from harness.load.agents import Agents
from harness.machine import children, host_settings
from harness.plan import Load
from harness.plan.slices import cut
from harness.witness import witnesses
from harness.witness.witnesses import Witnesses


@pytest.fixture(autouse=True)
def _mute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the place of Python, a program that never says a word, and ends when its input does."""
    program = tmp_path / "mute"
    program.write_text("#!/bin/sh\nexec cat 3>&1 > /dev/null\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))


def test_an_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.load.agents.READY_WITHIN_S", 0.2)
    load = Load(clients=2)
    slices = cut(load, 2, target="127.0.0.1", port=80, source=None, cpus=(0,), folder=str(tmp_path))
    agents = Agents(slices, tmp_path, [sys.executable])
    agents.start(None)
    try:
        with pytest.raises(MachineError, match="agent 0 did not start: it said nothing"):
            agents.wait_until_ready()
    finally:
        agents.end()


def test_the_probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(witnesses, "PROBES_WITHIN_S", 0.2)
    started = Witnesses(tmp_path)
    try:
        with pytest.raises(MachineError, match="the probe did not start"):
            started.start_probe(80, "127.0.0.1", os.getpid(), (0,))
    finally:
        started.end()


def test_the_tracing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(witnesses, "TRACES_WITHIN_S", 0.2)
    started = Witnesses(tmp_path)
    try:
        with pytest.raises(StormLabError, match="the tracing did not start"):
            started.start_tracing()
    finally:
        started.end()


def test_the_guard_of_the_hosts_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(host_settings, "ANSWERS_WITHIN_S", 0.2)
    with (
        pytest.raises(MachineError, match="it could not be set"),
        host_settings.changed({"net.core.netdev_max_backlog": "1000"}),
    ):
        pass


def test_a_line_that_is_there_is_read() -> None:
    talking = children.start(["/bin/echo", "ready"], stdout=-1)
    assert children.next_line(talking, 10.0) == "ready\n"
    assert children.next_line(talking, 10.0) == "", "it ended"
    talking.wait()
