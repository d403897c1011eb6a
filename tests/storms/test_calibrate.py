"""The instrument against faults that it knows: nothing is called by a wrong name, and no rule is there for nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.cli.arguments import FULL_ROWS, SHORT_ROWS
from harness.cli.calibrate import FOLDER
from harness.events import store
from harness.thought import cause
from harness.thought.calibrate.fault import Fault
from harness.thought.calibrate.faults import faults
from harness.thought.calibrate.matrix import score
from harness.thought.summary import Summary
from tests.calling import LIMIT_S, Result, at_length

Call = Callable[..., Result]
AT_MOST_UNKNOWN = 0.02
FAULTS = {fault.name: fault for fault in faults(at_length(SHORT_ROWS, FULL_ROWS))}
pytestmark = pytest.mark.alone


@dataclass(frozen=True)
class Calibration:
    """One short calibration: its matrix, and the runs behind it."""

    matrix: dict[str, dict[str, Any]]
    data: Path

    def runs(self, fault: Fault) -> list[Summary]:
        run_ids = self.matrix[fault.name]["run_ids"]
        return [Summary(store.find_run(self.data / FOLDER, run_id)) for run_id in run_ids]


@pytest.fixture(scope="module")
def calibration(tmp_path_factory: pytest.TempPathFactory) -> Calibration:
    """Two halves at once, as most of it is waiting, and then what changes the host for all."""
    data = tmp_path_factory.mktemp("calibration")
    names = [name for name in FAULTS if not any(name != other and name.startswith(other) for other in FAULTS)]
    last = [name for name in names if "host_sysctl" in FAULTS[name].options]
    rest = [name for name in names if name not in last]
    matrix = {}
    for at_once in ((rest[::2], rest[1::2]), (last,)):
        for process in [begun(data, chosen) for chosen in at_once]:
            output, errors = process.communicate(timeout=20 * LIMIT_S)
            document = json.loads(output)
            assert process.returncode in (0, 1) or document["error"]["message"].startswith("none of"), errors
            matrix.update({row["fault"]: row for row in document.get("matrix", [])})
    return Calibration(matrix, data)


def begun(data: Path, names: Sequence[str]) -> subprocess.Popen[str]:
    words = ["calibrate", *names, *at_length(["--short"], []), "--data", str(data), "--json"]
    return subprocess.Popen(
        [sys.executable, "-m", "harness", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def concluded(row: dict[str, Any]) -> set[str]:
    """The causes that were given, without their details."""
    return {answer.partition("/")[0] for answers in row["confusion"].values() for answer in answers}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_called_by_its_name(name: str, calibration: Calibration) -> None:
    if name not in calibration.matrix:
        pytest.skip(f"{name}: cannot be produced here; `stormlab calibrate` says why")
    row = calibration.matrix[name]
    assert row["right"] + row["unknown"] + row["wrong"] == row["rows"] > 0
    assert row["wrong"] == 0, row["confusion"]
    assert row["drivers"]["wrong"] == {}
    if not FAULTS[name].unknown_because:
        assert row["unknown"] <= AT_MOST_UNKNOWN * row["rows"], row["confusion"]


@pytest.mark.parametrize("removed", cause.CAUSES[:-1])
def test_without_one_of_its_rules_the_matrix_turns_red(
    removed: str, calibration: Calibration, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = cause._rules

    def without(*args: Any, **facts: Any) -> list[Any]:
        made = rules(*args, **facts)
        made[cause.CAUSES.index(removed)] = np.zeros_like(made[0])
        return made

    known = [fault for fault in FAULTS.values() if fault.name in calibration.matrix]
    witnessed = [fault for fault in known if removed in concluded(calibration.matrix[fault.name])]
    if not witnessed:
        pytest.skip(f"no fault that can be produced here ends in {removed}")
    monkeypatch.setattr(cause, "_rules", without)
    red = 0
    for fault in witnessed:
        runs = calibration.runs(fault)
        for summary in runs:  # concluded anew, not read back
            summary.__dict__["causes"] = cause.causes(summary.connections, summary.samples, summary.circumstances)
        row = score(fault, runs)
        red += row["rows"] - row["right"]
    assert red > 0


def test_a_fault_that_does_not_exist_is_named(stormlab: Call) -> None:
    result = stormlab("calibrate", "sunspots")
    assert result.code == 2
    assert "sunspots" in result.document["error"]["message"]
