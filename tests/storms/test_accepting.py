"""Several accept loops, on one listener or one each: the kernel shows them, and what a blocked one strands."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from harness.machine.host import files_limit
from harness.machine.ports import free_port, ports_in_use
from harness.plan import Server
from harness.servers.catalogue import argv, catalogue
from harness.servers.process import RunningServer
from tests.calling import Result, require_server

Call = Callable[..., Result]
CAN = ["hyper", "hyper-std", "tokio", "tokio-std", "go"]
BACKLOG, CLIENTS, STALL_MS = 600, 400, 1_000
GIVEN_UP_S = 10.0


def of_run(run: dict[str, Any]) -> tuple[dict[str, Any], Any, Any]:
    """(manifest, connections, samples)"""
    folder = Path(run["path"])
    tables = [pq.read_table(folder / name).to_pandas() for name in ("connections.parquet", "samples.parquet")]
    return json.loads((folder / "manifest.json").read_text()), *tables


@pytest.mark.parametrize("server", CAN)
def test_loops_share_a_listener_or_have_one_each(stormlab: Call, server: str) -> None:
    require_server(server)
    for words, listeners in (((), 1), (("--reuseport",), 3)):
        result = stormlab(
            "run", "--server", server, "--accept-loops", "3", *words, "--clients", "90", "--backlog", "77"
        )
        assert result.code == 0, result.stderr
        run = result.run
        assert run["outcomes"]["answered"] == 90
        assert (run["server"]["listeners"], run["server"]["backlog_effective"]) == (listeners, 77)
        assert run["server"]["accept_evidence"] == "accept"
        manifest, connections, _ = of_run(run)
        assert connections["accepted_us"].notna().all()
        depths = manifest["probe"]["deepest_queues"]
        assert (None if depths is None else len(depths)) == (None if listeners == 1 else listeners)


@pytest.mark.parametrize("server", ["hyper", "go"])
def test_a_blocked_loop_strands_the_connections_of_its_own_listener_and_no_others(stormlab: Call, server: str) -> None:
    """Which they are is decided by a hash, so that a client that comes back may be lucky, and one that waits is not."""
    require_server(server)
    words = ("--server", server, "--accept-loops", "2", "--reuseport", "--backlog", str(BACKLOG))
    run = stormlab("run", *words, "--clients", str(CLIENTS), "--stall-loop-ms", str(STALL_MS)).run
    assert run["outcomes"]["answered"] == CLIENTS
    manifest, connections, samples = of_run(run)
    released_us = manifest["loop_stalled_until_us"]
    assert released_us >= STALL_MS * 1000
    stranded = (connections["issued_us"] < released_us) & (connections["closed_us"] >= released_us)
    assert 0 < stranded.sum() < CLIENTS
    blocked = samples[(samples["time_us"] > released_us - 200_000) & (samples["time_us"] < released_us)]
    waiting = blocked["accept_queue"].max()
    assert (blocked["accept_queues"] == blocked["accept_queue"]).any(), "the other queue is empty"
    in_hand = 1 if server == "go" else 0  # its loop has accepted one before it blocks
    assert stranded.sum() == waiting + in_hand


@pytest.mark.parametrize("server", ["hyper", "go"])
def test_loops_that_share_a_listener_take_over_from_a_blocked_one(stormlab: Call, server: str) -> None:
    require_server(server)
    words = ("--server", server, "--accept-loops", "2", "--backlog", str(BACKLOG), "--clients", str(CLIENTS))
    run = stormlab("run", *words, "--rate", "300", "--stall-loop-ms", str(STALL_MS)).run
    manifest, connections, _ = of_run(run)
    released_us = manifest["loop_stalled_until_us"]
    begun_long_before = connections["issued_us"] < released_us - STALL_MS * 500
    stranded = (begun_long_before & (connections["closed_us"] >= released_us)).sum()
    assert begun_long_before.sum() > 100
    assert stranded <= 1, "at most the one that the blocked loop had in hand"


@pytest.mark.parametrize("server", ["hyper", "tokio"])
def test_a_loop_that_blocks_the_only_worker_goes_on_when_it_is_released(stormlab: Call, server: str) -> None:
    require_server(server)
    words = ("--server", server, "--accept-loops", "2", "--workers", "1", "--backlog", str(BACKLOG))
    run = stormlab("run", *words, "--clients", str(CLIENTS), "--stall-loop-ms", str(STALL_MS), "--timeout", "5").run
    assert run["outcomes"]["answered"] == CLIENTS
    manifest, connections, _ = of_run(run)
    assert (connections["closed_us"] >= manifest["loop_stalled_until_us"]).all(), "nobody else could serve them"


@pytest.mark.parametrize("reuseport", [False, True], ids=["one listener", "one each"])
def test_a_server_whose_loop_is_blocked_ends_when_it_is_told_to(reuseport: bool, tmp_path: Path) -> None:
    require_server("hyper")
    planned = Server("hyper", accept_loops=2, workers=1, reuseport=reuseport)
    port = free_port(ports_in_use())
    command = argv(catalogue()["hyper"], planned, "127.0.0.1", port)
    cpus = sorted(os.sched_getaffinity(0))
    server = RunningServer(command, tmp_path / "log", tmp_path, cpus, files_limit())
    try:
        server.wait_until_ready("answered", "127.0.0.1", port, "/")
        server.block_loop()
        os.kill(server.pid, signal.SIGTERM)
        deadline = time.monotonic() + GIVEN_UP_S
        while server.exit_status is None and time.monotonic() < deadline:
            time.sleep(0.01)
        assert server.exit_status == "exit status 0"
    finally:
        server.end()


def test_a_batch_is_accepted_before_its_first_is_served(stormlab: Call) -> None:
    """One thread, work for each connection, and all of them in the queue when the server goes on."""
    require_server("hyper")
    words = ("--server", "hyper", "--accept-loops", "1", "--workers", "1", "--work-us", "2000", "--stall-ms", "300")
    accepted = {}
    for batch in (10, 1000):
        run = stormlab("run", *words, "--clients", "150", "--backlog", str(BACKLOG), "--accept-batch", str(batch)).run
        assert run["outcomes"]["answered"] == 150
        _, connections, _ = of_run(run)
        accepted[batch] = (connections["accepted_us"] < connections["first_byte_us"].min()).sum()
    assert 1 <= accepted[10] <= 20, "one batch, or two where the client was slow to read"
    assert accepted[1000] == 150, "more than tokio's own 128"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--server", "node", "--accept-loops", "2"), "no {accept_loops}"),
        (("--server", "go", "--accept-batch", "2"), "no {accept_batch}"),
        (("--server", "go", "--reuseport"), "say how many with --accept-loops"),
        (("--server", "go", "--stall-loop-ms", "5"), "say how many with --accept-loops"),
        (("--server", "go", "--accept-loops", "0"), "from 1 to 1024"),
    ],
)
def test_what_cannot_be_is_refused(stormlab: Call, words: tuple[str, ...], said: str) -> None:
    require_server(words[1])
    result = stormlab("run", *words, "--clients", "1")
    assert result.code == 2
    assert said in result.document["error"]["message"]
