"""Every notebook measures and draws what it shows, with few clients.

In a file of its own: `make test` deals files out to processes, and storms that change the host's settings, as some here
do, want to be one after the other.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import PROJECT
from harness.events import store
from harness.trial.foreign import tools
from tests.notebooks.test_notebooks import NOTEBOOKS, execute

AGAIN = "01-stack-comparison"
"""The one that is executed twice; all ask the same function for their storms."""
SMALL: dict[str, dict[str, str]] = {
    "00-tour": {"clients": "300", "backlog": "16", "stall_ms": "100", "timeout_s": "3"},
    "01-stack-comparison": {
        "servers": "[python]",
        "short_clients": "300",
        "long_requests": "50",
        "speeds_here": "true",
        "kept_requests": "50",
        "equal_clients": "300",
        "speed_repeats": "1",
    },
    "02-backlog-sweep": {
        "servers": "[python]",
        "clients": "300",
        "backlogs": "[16, 64]",
        "stalls_ms": "[50, 200]",
        "storm_clients": "300",
        "whole_clients": "300",
        "repeats": "1",
        "storm_repeats": "1",
    },
    "03-allocator-comparison": {
        "servers": "[python]",
        "allocators": "[system, jemalloc]",
        "repeats": "1",
        "memory_repeats": "1",
        "pilot_repeats": "1",
        "storm_clients": "300",
        "crowd_clients": "300",
        "settle_s": "1",
        "closed_clients": "300",
        "in_flight": "10",
        "long_requests": "50",
        "large_clients": "300",
    },
    "07-fewer-connections": {
        "servers": "[python]",
        "repeats": "1",
        "cost_repeats": "1",
        "requests": "400",
        "pools": "[default, 1, 10]",
        "http2_connections": "[1, 4]",
        "held_requests": "400",
        "hold_at_s": "0.2",
        "cold_requests": "400",
        "cold_pool": "200",
    },
    "08-retries": {
        "servers": "[python]",
        "repeats": "1",
        "stack_repeats": "1",
        "retry_requests": "200",
        "patience_s": "2",
        "trigger_at_s": "0.5",
        "trigger_ms": "500",
    },
    "09-load-balancers": {
        "servers": "[python]",
        "repeats": "1",
        "loop_repeats": "1",
        "overload_requests": "300",
        "loop_requests": "300",
        "stalled_requests": "300",
        "storm_requests": "300",
        "many_requests": "300",
        "search_requests": "300",
        "search_success": "0.5",
        "search_p99_ms": "11000",
        "search_storms": "1",
        "fresh_storms": "2",
        "may_miss": "0",
        "room_repeats": "1",
    },
    "04-queue-overflow-root-cause": {
        "server": "python",
        "clients": "300",
        "backlog": "16",
        "stall_ms": "100",
        "timeout_s": "2",
        "pulse_clients": "200",
        "pulse_timeout_s": "3",
        "repeats": "1",
    },
    "05-file-descriptor-limit": {
        "servers": "[python]",
        "clients": "300",
        "storm_clients": "300",
        "client_server": "python",
        "repeats": "1",
        "usual_repeats": "1",
    },
    "06-kernel-tuning": {
        "server": "python",
        "clients": "300",
        "backlog": "16",
        "stall_ms": "100",
        "timeout_s": "2",
        "repeats": "1",
        "unstopped_clients": "300",
        "syn_clients": "300",
        "port_clients": "300",
        "time_wait_clients": "50",
        "fast_open_clients": "200",
    },
    "10-published-benchmark": {
        "seconds": "1",
        "rate": "200",
        "attack_repeats": "1",
        "clients": "300",
        "at_once": "50",
        "timeouts_s": "[1]",
        "files": "[64]",
        "wide_timeouts_s": "[1]",
        "wide_files": "[64]",
        "storm_repeats": "1",
        "repeats": "1",
    },
}
"""Parameters with which each notebook measures soon."""
FOREIGN = {"vegeta-12.11.1", "vegeta-12.13.0", "hey-0.1.5", "oha-1.16.0", "published-2024", "published-today"}
"""What 10 cannot do without here; the rest is left out with a line."""


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_measured_here_it_draws_the_same_figures(notebook: Path, tmp_path: Path) -> None:
    needed = [unit for name, unit in tools.units().items() if name in FOREIGN]
    lacking = [lack.reason for unit in needed if (lack := unit.missing) is not None]
    if notebook.stem == "10-published-benchmark" and lacking:
        pytest.skip("; ".join(lacking))
    small = [word for name, value in SMALL[notebook.stem].items() for word in ("-p", name, value)]
    done = execute(tmp_path, notebook.stem, "-p", "source", "here", *small)
    assert done.returncode == 0, done.stderr
    recorded = {run.run_id for run in store.runs(tmp_path)}
    assert recorded
    figures = tmp_path / "report" / "figures" / notebook.stem
    committed = PROJECT / "figures" / notebook.stem
    assert {path.name for path in figures.glob("*.svg")} == {path.name for path in committed.glob("*.svg")}
    if notebook.stem == AGAIN:
        again = execute(tmp_path, notebook.stem, "-p", "source", "here", *small)
        assert again.returncode == 0, again.stderr
        assert {run.run_id for run in store.runs(tmp_path)} == recorded, "what was measured is not measured again"
