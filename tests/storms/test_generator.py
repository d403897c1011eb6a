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


@pytest.mark.parametrize("load", [("--clients", "20000"), ("--clients", "4000", "--concurrency", "60")])
def test_agents_that_stood_still_in_a_burst_or_a_closed_loop_are_seen(stormlab: Call, load: tuple[str, ...]) -> None:
    """No request of these is due at a moment: what had come for an agent, or its clients that were ready, tell it."""
    storm = ("run", "--server", "python", *load, "--processes", "2", "--timeout", "5")
    stopped, calm = (stormlab(*storm, *pause).run["generator"] for pause in (("--client-pause-ms", "700"), ()))
    assert "stood still" in stopped["because"]
    assert stopped["verdict"] != "ok"
    assert "stood still" not in calm["because"]


@pytest.mark.parametrize("load", [("--clients", "3000"), ("--clients", "3000", "--concurrency", "60")])
def test_a_server_that_was_stopped_in_a_burst_or_a_closed_loop_is_no_agent_that_stood_still(
    stormlab: Call, load: tuple[str, ...]
) -> None:
    run = stormlab("run", "--server", "python", *load, "--processes", "2", "--timeout", "5", "--stall-ms", "700").run
    assert "stood still" not in run["generator"]["because"]


def test_a_server_that_was_stopped_says_nothing_against_its_generator(stormlab: Call) -> None:
    run = stormlab(*STORM, "--stall-ms", "700").run
    assert run["generator"]["verdict"] == "ok"
