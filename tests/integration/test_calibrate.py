"""The instrument against faults that it knows: nothing is called by a wrong name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from harness.calibrate.faults import faults
from harness.cli.calibrate import SHORT_ROWS
from tests.calling import Result, stormlab_json

Call = Callable[..., Result]
AT_MOST_UNKNOWN = 0.02


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    result = stormlab_json(tmp_path_factory.mktemp("calibration"), "calibrate", "--short")
    assert result.code in (0, 1), result.stderr
    return {row["fault"]: row for row in result.document["matrix"]}


@pytest.mark.parametrize("fault", faults(SHORT_ROWS), ids=lambda fault: fault.name)
def test_a_fault_is_called_by_its_name(fault: Any, matrix: dict[str, dict[str, Any]]) -> None:
    if fault.name not in matrix:
        pytest.skip(f"{fault.name}: cannot be produced here; `stormlab calibrate` says why")
    row = matrix[fault.name]
    assert row["right"] + row["unknown"] + row["wrong"] == row["rows"] > 0
    assert row["wrong"] == 0, row["confusion"]
    assert row["unknown"] <= AT_MOST_UNKNOWN * row["rows"], row["confusion"]


def test_a_fault_that_does_not_exist_is_named(stormlab: Call) -> None:
    result = stormlab("calibrate", "sunspots")
    assert result.code == 2
    assert "sunspots" in result.document["error"]["message"]
