"""Servers with another allocator than they come with: proved of the running process, or the run fails."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from harness.plan import Server
from harness.servers import allocators, build
from harness.servers.catalogue import known
from tests.calling import Result, require_server

Call = Callable[..., Result]


def require(server: str, allocator: str) -> None:
    """Skip where it cannot be had, with a line that names what is missing."""
    planned = Server(server, allocator=allocator)  # type: ignore[arg-type]
    reason = known(planned).missing_for(planned)
    if reason is not None:
        pytest.skip(f"{server} with {allocator}: {reason.reason}; {reason.next_step}")


@pytest.mark.parametrize("allocator", ["jemalloc", "mimalloc"])
@pytest.mark.parametrize("server", ["hyper", "actix", "tokio", "node", "python"])
def test_what_was_asked_for_is_proved(server: str, allocator: str, stormlab: Call) -> None:
    """A Rust server with it is built, once."""
    require(server, allocator)
    result = stormlab("run", "--server", server, "--allocator", allocator, "--clients", "50")
    assert result.code == 0, result.stderr
    about = result.run["server"]
    assert about["allocator"] == allocator
    assert allocator in about["allocator_evidence"]
    assert about["storm_cpu_s"] > 0
    assert about["peak_rss_bytes"] > 2**20
    assert "is_the_labs" not in about


@pytest.mark.parametrize("server", ["hyper", "go", "node", "python"])
def test_the_systems_own_is_proved_too(server: str, stormlab: Call) -> None:
    require_server(server)
    about = stormlab("run", "--server", server, "--clients", "50").run["server"]
    assert about["allocator"] == "system"
    assert "no other allocator" in about["allocator_evidence"]


def test_all_processes_of_a_server_have_it(stormlab: Call) -> None:
    require("python", "jemalloc")
    run = stormlab("run", "--allocator", "jemalloc", "--workers", "2", "--clients", "50").run
    assert "all 2 processes" in run["server"]["allocator_evidence"]


def test_a_program_without_a_loader_cannot_be_given_one(stormlab: Call) -> None:
    require_server("go")
    require("python", "jemalloc")
    command = f"{build.BUILT}/go/server --port {{port}}"
    result = stormlab("run", "--command", command, "--allocator", "jemalloc", "--clients", "50")
    assert result.code == 4
    assert "linked statically" in result.run["error"]["message"]
    assert result.run["server"]["allocator"] == "system"


def test_a_server_with_another_than_was_asked_for_is_no_result(stormlab: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    require("python", "jemalloc")
    monkeypatch.setenv("LD_PRELOAD", str(allocators.library("jemalloc")))
    result = stormlab("run", "--clients", "50")
    assert result.code == 4
    assert "LD_PRELOAD" in result.run["error"]["next_step"]
    script = Path(build.SOURCES) / "python" / "server.py"
    own = stormlab("run", "--command", f"python3 {script} --port {{port}}", "--clients", "50")
    assert own.code == 0, "a server of the user's may come with any"
    assert own.run["server"]["allocator"] == "jemalloc"


def test_go_takes_no_other(stormlab: Call) -> None:
    require_server("go")
    result = stormlab("run", "--server", "go", "--allocator", "mimalloc", "--clients", "50")
    assert result.code == 3
    assert "allocator of its own" in result.document["error"]["message"]


def test_the_server_is_watched_after_the_storm(stormlab: Call) -> None:
    run = stormlab("run", "--clients", "50", "--settle-s", "1").run
    assert run["server"]["settled_rss_bytes"] > 2**20
    samples = pq.read_table(Path(run["path"]) / "samples.parquet")
    sampled = samples.filter(pc.is_valid(samples["server_rss_bytes"]))["time_us"]
    assert pc.max(sampled).as_py() > (run["wall_s"] + 0.8) * 1e6
    assert not {check["name"] for check in run["checks"] if check["status"] == "fail"}
    assert "settled_rss_bytes" not in stormlab("run", "--clients", "50").run["server"]
