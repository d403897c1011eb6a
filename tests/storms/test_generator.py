"""The generator's verdict on storms in which it was disturbed on purpose, and in which it was not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.calling import Result

Call = Callable[..., Result]
pytestmark = pytest.mark.alone
STORM = ("run", "--server", "python", "--clients", "1500", "--rate", "1000", "--processes", "3", "--timeout", "5")


def test_agents_that_stood_still_are_the_limit_however_idle_they_were_otherwise(stormlab: Call) -> None:
    """Rows of 700 of 1,500 ms are issued late, and every agent waited most of its time."""
    run = stormlab(*STORM, "--client-pause-ms", "700").run
    assert run["generator"]["verdict"] == "limiting"
    assert "stood still" in run["generator"]["because"]
    (check,) = (check for check in run["checks"] if check["name"] == "generator")
    assert check["status"] == "unknown"


def test_a_server_that_was_stopped_says_nothing_against_its_generator(stormlab: Call) -> None:
    run = stormlab(*STORM, "--stall-ms", "700").run
    assert run["generator"]["verdict"] == "ok"
