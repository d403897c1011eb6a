"""One direction: nothing left of the tables knows pandas or a figure, nothing right of them opens a socket."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from harness.store import PROJECT

INSTRUMENTS = ["harness.supervisor", "harness.load.agent", "harness.trial", "harness.store", "harness.events"]
INSTRUMENTS += ["harness.kernel", "harness.tracing.table", "harness.foreign.chamber"]
THOUGHT = [
    "harness.stats",
    "harness.generator",
    "harness.checks",
    "harness.cause",
    "harness.episodes",
    "harness.backoffs",
    "harness.report.emfile",
    "harness.explain",
    "harness.summary",
    "harness.traced",
    "harness.effects",
    "harness.mitigations",
    "harness.search",
    "harness.report.search",
    "harness.goodput",
    "harness.manners",
    "harness.paired",
    "harness.fewer",
    "harness.protocol",
    "harness.pulses",
    "harness.results",
    "harness.datacard",
    "harness.settings",
    "harness.record",
    "harness.foreign.record",
    "harness.plots",
    "harness.verdicts.judge",
]


def imported_by(module: str) -> set[str]:
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("module", INSTRUMENTS)
def test_instruments_know_no_pandas_and_no_figure(module: str) -> None:
    assert not imported_by(module) & {"pandas", "matplotlib", "seaborn", "papermill", "rich"}


@pytest.mark.parametrize("module", THOUGHT)
def test_thought_starts_nothing(module: str) -> None:
    loaded = imported_by(module)
    assert not loaded & {"harness.supervisor", "harness.load.agent", "harness.namespace", "harness.servers.process"}


@pytest.mark.parametrize("path", sorted((PROJECT / "harness" / "report").glob("*.py")), ids=lambda path: path.stem)
def test_reports_know_no_verdicts(path: Path) -> None:
    """What is told and what is judged stand on the same comparisons, which lie below both."""
    module = "harness.report" if path.stem == "__init__" else f"harness.report.{path.stem}"
    assert not [name for name in imported_by(module) if name.startswith("harness.verdicts")]


def test_an_agent_is_small() -> None:
    """It is started several times for every storm: what it imports is paid each time."""
    assert not imported_by("harness.load.agent") & {"numpy", "pyarrow", "argparse"}


def test_a_supervisor_has_one_thread() -> None:
    """Only then may it enter a user namespace; numpy and pyarrow start threads when they are imported."""
    code = "import harness.supervisor, pathlib; print(len(list(pathlib.Path('/proc/self/task').iterdir())))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"
