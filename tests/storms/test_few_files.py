"""A server with few open files: its limit as it ran, what its log says, and whose silence it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from analysis.files import backoffs
from harness.lab import open_lives, open_run
from harness.machine import host
from harness.thought import runs as results
from harness.thought.summary import Summary
from tests.calling import Result, require_server

Call = Callable[..., Result]
PILED_UP = ("--clients", "300", "--stall-ms", "300", "--backlog", "4096", "--timeout", "3")


def recorded(stormlab: Call, tmp_path: Path, *words: str) -> Summary:
    run = stormlab("run", *words).run
    return open_run(run["run_id"], data=tmp_path / "runs")


def test_python_rests_for_a_second_with_connections_waiting_and_files_free(stormlab: Call, tmp_path: Path) -> None:
    summary = recorded(stormlab, tmp_path, "--server", "python", "--nofile", "64", *PILED_UP)
    line = results.line(summary)
    assert (line["peak_server_files"], line["server_files_limit"], line["server_ended"]) == (64, 64, None)
    assert line["out_of_files_lines"]
    assert summary.samples is not None
    lives = open_lives(summary.run.run_id, data=tmp_path / "runs")
    found = backoffs.measures(lives, summary.samples.to_pandas())
    assert found["backoffs"] >= 1
    assert found["longest_ms"] >= 900, "asyncio.constants.ACCEPT_RETRY_DELAY is a second, and timers are not early"
    assert found["out_of_files"] > 0.5


def test_a_limit_that_is_not_reached_plays_no_part(stormlab: Call, tmp_path: Path) -> None:
    summary = recorded(stormlab, tmp_path, "--server", "python", "--nofile", "1024", *PILED_UP)
    line = results.line(summary)
    assert line["peak_server_files"] < 1024  # type: ignore[operator]
    assert (line["server_files_limit"], line["out_of_files_lines"]) == (1024, 0)


@pytest.mark.parametrize(("name", "raises"), [("go", True), ("node", True), ("python", False)])
def test_who_raises_the_soft_limit_by_itself(name: str, raises: bool, stormlab: Call, tmp_path: Path) -> None:
    require_server(name)
    hard = min(4096, host.files_limit()[1])
    few = ("--nofile", "256", "--nofile-hard", str(hard), "--clients", "20")
    line = results.line(recorded(stormlab, tmp_path, "--server", name, *few))
    assert (line["server_files_limit"] > 256) is raises  # type: ignore[operator]


def test_more_files_than_the_machine_allows_are_refused(stormlab: Call) -> None:
    result = stormlab("run", "--nofile", "64", "--nofile-hard", "999999999", "--clients", "10")
    assert result.code == 3
    assert "--nofile-hard" in result.document["error"]["message"]
