"""One slice of a load, driven by either engine: what both must do alike is asked of both."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import time
import tracemalloc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import pytest

from harness.events.rows import Rows
from harness.load.python.agent import drive
from harness.load.python.storm import Storm
from harness.plan.slices import Slice
from harness.servers import build
from harness.trial.engine import AGENT

_ENGINE: ContextVar[str] = ContextVar("engine", default="python")
_REPORT: ContextVar[Mapping[str, Any]] = ContextVar("report")
PROGRAM_BYTES = 8 << 20
"""What the native agent has mapped before it does anything, generously."""


@pytest.fixture(params=["python", "native"])
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    """Has :func:`drive_slice` use each engine in turn."""
    if request.param == "native" and build.NATIVE.missing is not None:
        pytest.skip(f"the native engine: {build.NATIVE.missing.line}")
    with driven_by(request.param):
        yield request.param


@contextmanager
def driven_by(engine: str) -> Iterator[None]:
    """Have :func:`drive_slice` use an engine."""
    token = _ENGINE.set(engine)
    yield
    _ENGINE.reset(token)


def drive_slice(slice_: Slice, rows: Rows) -> Mapping[str, Any]:
    """The agent's report."""
    if _ENGINE.get() == "python":
        return dataclasses.asdict(drive(Storm(slice_, rows), time.monotonic_ns()))
    with subprocess.Popen([AGENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as agent:
        assert agent.stdin is not None and agent.stdout is not None
        print(json.dumps(slice_.to_json()), file=agent.stdin, flush=True)
        assert agent.stdout.readline() == "ready\n"
        print(time.monotonic_ns(), file=agent.stdin, flush=True)
        report: dict[str, Any] = json.loads(agent.stdout.readline())
    assert agent.returncode == 0
    _REPORT.set(report)
    return report


def most_bytes() -> int:
    """The most memory that the agent had in :func:`drive_slice`; of the one in Python as far as it was traced."""
    if _ENGINE.get() == "python":
        return tracemalloc.get_traced_memory()[1]
    resident: int = _REPORT.get()["peak_rss_bytes"]
    return resident - PROGRAM_BYTES
