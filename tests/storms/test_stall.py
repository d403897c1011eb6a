"""What physics fixes: a stopped server with backlog B lets exactly B + 1 connections through."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tests.calling import Result, require_server

Call = Callable[..., Result]
STACKS = ["python", "hyper", "hyper-std", "actix", "tokio", "tokio-std", "go", "node"]


@pytest.fixture
def busy_loop() -> Iterator[None]:
    """Somebody else on this machine."""
    loop = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    yield
    loop.kill()
    loop.wait()


def clean(run: dict[str, object]) -> int:
    table = pq.read_table(Path(str(run["path"])) / "connections.parquet")
    first_try = pc.and_(pc.equal(table["outcome"], "answered"), pc.equal(table["total_retransmits"], 0))
    return int(pc.sum(first_try).as_py())


def test_every_lost_syn_is_accounted_for(stormlab: Call) -> None:
    """Sent and not arrived: this host's input queue. Arrived and not answered: the listener."""
    run = stormlab("run", "--clients", "4000", "--backlog", "128", "--stall-ms", "1200", "--timeout", "4").run
    if run["syn_evidence"] != "ledger":
        pytest.skip("nftables (Debian's nftables) is not installed, or there is no private namespace")
    table = pq.read_table(Path(run["path"]) / "connections.parquet").to_pandas().astype({"syns_left": "int64"})
    counters = run["kernel"]["counters"]
    sent = table["syns_left"] - 1
    again = table["syn_retransmits"].where(table["established_us"].notna(), table["total_retransmits"])
    assert (sent == again).all()
    lost_before_tcp = (table["syns_left"] - table["syns_arrived"]).sum()
    # Other packets than SYNs can be lost there too, never fewer.
    assert 0 <= lost_before_tcp <= counters["lo_rx_dropped"]
    (check,) = [check for check in run["checks"] if check["name"] == "kernel_counters"]
    assert check["status"] == "pass", check["detail"]
    (bound,) = [check for check in run["checks"] if check["name"] == "queue_bound"]
    assert bound["status"] == "pass"
    assert "at most 129" in bound["detail"]


@pytest.mark.parametrize("backlog", [16, 511])
@pytest.mark.parametrize("server", STACKS)
def test_backlog_plus_one_come_through(stormlab: Call, server: str, backlog: int) -> None:
    require_server(server)
    stall = ("--stall-ms", "300", "--timeout", "2")
    result = stormlab("run", "--server", server, "--clients", "1000", "--backlog", str(backlog), *stall)
    assert result.code == 0, result.stderr
    assert result.run["server"]["backlog_effective"] == backlog
    assert clean(result.run) == backlog + 1


def test_also_with_several_agents_and_a_busy_machine(stormlab: Call, busy_loop: None) -> None:
    stall = ("--stall-ms", "500", "--timeout", "2", "--processes", "3")
    run = stormlab("run", "--clients", "1500", "--backlog", "128", *stall).run
    assert run["generator"]["agents"] == 3
    assert len(run["cpu"]["clients"]) == 1, "all agents issue from one CPU"
    assert clean(run) == 129


def test_from_several_cpus_a_few_more_may_get_in(stormlab: Call) -> None:
    cpus = sorted(os.sched_getaffinity(0))
    stall = ("--stall-ms", "500", "--timeout", "2", "--processes", "3", "--client-cpus", ",".join(map(str, cpus)))
    run = stormlab("run", "--clients", "1500", "--backlog", "128", *stall).run
    assert 129 <= clean(run) <= 128 + len(cpus)


def test_the_server_stays_stopped_until_a_burst_is_issued(stormlab: Call) -> None:
    run = stormlab("run", "--clients", "3000", "--backlog", "16", "--stall-ms", "1", "--timeout", "2").run
    assert clean(run) == 17


@pytest.mark.alone
def test_fifty_thousand_at_once_under_any_limit_of_open_files(stormlab: Call) -> None:
    """As many agents as it takes, without the user setting anything."""
    stall = ("--stall-ms", "2500", "--backlog", "128", "--timeout", "6")
    result = stormlab("run", "--clients", "50000", *stall)
    assert result.code == 0, result.stderr
    run = result.run
    assert run["planned"] == run["issued"] == sum(run["outcomes"].values()) == 50_000
    assert run["peak_in_flight"] >= 49_000
    table = pq.read_table(Path(run["path"]) / "connections.parquet")
    assert len(table) == 50_000
    dropped = run["kernel"]["counters"]["lo_rx_dropped"]
    (input_queue,) = [check for check in run["checks"] if check["name"] == "input_queue"]
    assert input_queue["status"] == ("unknown" if dropped else "pass")
    bytes_per_connection = (Path(run["path"]) / "connections.parquet").stat().st_size / 50_000
    assert bytes_per_connection <= 16
