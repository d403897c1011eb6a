"""Storms over pools and HTTP/2, and with retries: requests are conserved, attempts are rows, the protocol is proved."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from harness.machine.nft import MISSING, nft_path
from harness.servers.build import SOURCES
from harness.witness.ledger import RECONNECTIONS
from tests.calling import Result, require_server

Call = Callable[..., Result]


def tables(run: dict[str, object]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(connections, requests)"""
    folder = Path(str(run["path"]))
    connections = pq.read_table(folder / "connections.parquet").to_pandas()
    return connections, pq.read_table(folder / "requests.parquet").to_pandas()


def passed(run: dict[str, object]) -> set[str]:
    checks = run["checks"]
    assert isinstance(checks, list)
    return {check["name"] for check in checks if check["status"] == "pass"}


def test_a_pool_carries_all_requests(stormlab: Call) -> None:
    result = stormlab("run", "--clients", "2000", "--connections", "30")
    assert result.code == 0, result.stderr
    run = result.run
    assert run["outcomes"]["answered"] == run["planned"] == run["attempts"] == 2000
    assert run["connections"] == run["peak_in_flight"] == 30
    assert run["protocol"]["name"] == "HTTP/1.1"
    assert run["requests_at_once"] == 1
    assert "conservation" in passed(run)
    connections, requests = tables(run)
    assert sorted(connections["client"]) == list(range(30))
    assert sorted(requests["client"]) == list(range(2000))
    assert requests["scheduled_us"].eq(0).all(), "all are wanted at the start"
    assert set(requests["connection"]) == set(range(30))
    assert run["causes"]["clean"] == 30


@pytest.mark.parametrize("server", ["hyper", "hyper-std", "actix", "go", "node", "python"])
def test_every_server_that_says_so_speaks_http2(stormlab: Call, server: str) -> None:
    require_server(server)
    result = stormlab("run", "--server", server, "--clients", "700", "--connections", "3", "--http2")
    assert result.code == 0, result.stderr
    run = result.run
    assert run["outcomes"]["answered"] == 700
    assert run["connections"] == 3
    assert run["protocol"]["name"] == "HTTP/2"
    assert 1 < run["requests_at_once"] <= 100, "shared at the same time"
    assert "700 HEADERS" in run["protocol"]["evidence"]
    assert "3 SETTINGS," in run["protocol"]["evidence"]
    assert run["protocol"]["evidence"].rpartition("; ")[2].startswith(("h2 4.", "storm-agent "))
    assert {"conservation", "time_order"} <= passed(run)
    connections, requests = tables(run)
    assert connections["accepted_us"].notna().all(), "each connection has its stamp"
    assert (requests["accepted_us"] <= requests["first_byte_us"]).all()
    assert (requests.groupby("connection").size() > 1).all()


def test_a_large_body_comes_in_many_frames(stormlab: Call) -> None:
    run = stormlab("run", "--clients", "20", "--connections", "2", "--http2", "--body-bytes", "300000").run
    assert run["outcomes"]["answered"] == 20
    connections, _ = tables(run)
    assert connections["bytes_received"].sum() > 20 * 300_000


def test_a_connection_for_each_client_is_what_http2_does_unasked(stormlab: Call) -> None:
    run = stormlab("run", "--clients", "40", "--http2").run
    assert run["connections"] == run["outcomes"]["answered"] == 40


def test_a_server_that_does_not_speak_http2_is_refused(stormlab: Call) -> None:
    result = stormlab("run", "--server", "tokio", "--http2")
    require_server("tokio")
    assert result.code == 2
    assert "does not speak HTTP/2" in result.document["error"]["message"]


def test_a_server_of_ones_own_that_speaks_something_else_is_found_out(stormlab: Call, tmp_path: Path) -> None:
    script = tmp_path / "mine.py"
    script.write_text(
        "import http.server, sys\n"
        "http.server.ThreadingHTTPServer(('127.0.0.1', int(sys.argv[1])), http.server.SimpleHTTPRequestHandler)"
        ".serve_forever()\n"
    )
    words = ("--command", f"python3 {script} {{port}}", "--ready", "listening", "--clients", "5")
    run = stormlab("run", *words, "--http2", "--timeout", "2").run
    assert run["outcomes"]["answered"] == 0
    assert sum(run["outcomes"].values()) == 5
    assert run["protocol"]["name"] == ""


def test_attempts_are_rows_and_requests_are_conserved(stormlab: Call) -> None:
    """The server stands still in the middle of a steady load, and everybody tries again."""
    stall = ("--stall-at-s", "0.5", "--stall-ms", "1000")
    policy = ("--attempts", "6", "--attempt-timeout", "0.2", "--timeout", "3")
    result = stormlab("run", "--clients", "400", "--rate", "200", "--processes", "2", *policy, *stall)
    assert result.code == 0, result.stderr
    run = result.run
    assert sum(run["outcomes"].values()) == run["planned"] == 400
    assert "conservation" in passed(run)
    connections, requests = tables(run)
    assert len(connections) == run["connections"] == run["attempts"] > 400
    assert not connections.duplicated(["client", "attempt"]).any()
    assert (connections.groupby("client")["attempt"].max() == connections.groupby("client").size()).all()
    assert connections.loc[connections["attempt"] > 1, "scheduled_us"].isna().all()
    assert not connections.duplicated(["local_address", "local_port"]).any()
    last = connections.sort_values("attempt").groupby("client").last()
    asked = requests.set_index("client").sort_index()
    assert (asked["outcome"].astype(str) == last["outcome"].astype(str)).all()
    assert (asked["attempts"] == last["attempt"]).all()
    assert (asked["connection"] == last["connection"]).all()
    first = connections[connections["attempt"] == 1].set_index("client").sort_index()
    assert (asked["issued_us"] - first["issued_us"]).eq(0).all()
    manifest = json.loads((Path(run["path"]) / "manifest.json").read_text())
    begun_us, over_us = manifest["stalled_us"]
    assert begun_us >= 500_000
    assert over_us - begun_us >= 1_000_000
    assert len(connections[connections["outcome"] != "answered"]) == len(connections) - run["outcomes"]["answered"]


def test_a_cold_pool_that_finds_a_full_queue_comes_through_in_the_end(stormlab: Call) -> None:
    """The server stands still while all places connect: 17 fit into its queue, the others have to come again."""
    stall = ("--stall-ms", "700", "--backlog", "16")
    policy = ("--attempts", "50", "--attempt-timeout", "0.3", "--backoff-ms", "50", "--jitter", "full")
    run = stormlab("run", "--clients", "300", "--connections", "150", "--timeout", "20", *policy, *stall).run
    assert run["outcomes"]["answered"] == run["planned"] == 300
    assert "conservation" in passed(run)
    connections, requests = tables(run)
    failed = connections[connections["outcome"] != "answered"]
    assert len(failed) >= 150 - 17
    assert run["attempts"] == requests["attempts"].sum() == 300 + len(failed)
    assert set(connections["client"]) == set(range(150))
    again = connections[connections["attempt"] > 1]
    earlier = failed.set_index(["client", "attempt"])["closed_us"]
    waited = [row.issued_us - earlier.get((row.client, row.attempt - 1), 0) for row in again.itertuples()]
    assert min(waited) >= 0, "none before the one before it has failed"


def test_what_is_tried_again_is_explained_attempt_by_attempt(stormlab: Call) -> None:
    stall = ("--stall-at-s", "0.3", "--stall-ms", "800")
    words = ("--clients", "150", "--rate", "150", "--attempts", "9", "--attempt-timeout", "0.2", "--timeout", "3")
    run = stormlab("run", *words, *stall).run
    causes = pq.read_table(Path(run["path"]) / "causes.parquet")
    assert len(causes) == run["connections"]
    lives = pq.read_table(Path(run["path"]) / "connections.parquet")
    failed = pc.filter(causes["cause"], pc.not_equal(lives["outcome"], "answered"))
    assert "client_late" not in failed.to_pylist()
    assert "clean" not in failed.to_pylist()


@pytest.mark.parametrize("http2", [False, True], ids=["HTTP/1.1", "HTTP/2"])
def test_a_held_connection_loses_its_packets_and_no_other_does(stormlab: Call, http2: bool) -> None:
    if nft_path() is None:
        pytest.skip(MISSING)
    hold = ("--hold-at-s", "0.5", "--hold-ms", "600")
    words = ("--clients", "600", "--rate", "300", "--connections", "4", *(["--http2"] if http2 else []))
    result = stormlab("run", *words, *hold)
    if result.code == 3 and "private namespace" in result.document["error"]["message"]:
        pytest.skip(result.document["error"]["message"])
    run = result.run
    assert run["outcomes"]["answered"] == 600
    connections, _ = tables(run)
    address, port = json.loads((Path(run["path"]) / "manifest.json").read_text())["held_connection"]
    held = (connections["local_address"].astype(str) == address) & (connections["local_port"] == port)
    assert held.sum() == 1
    assert connections.loc[held, "total_retransmits"].item() > 0
    assert connections.loc[~held, "total_retransmits"].eq(0).all()


def test_what_cannot_be_lost_is_refused_before_a_server_is_started(stormlab: Call, tmp_path: Path) -> None:
    started = tmp_path / "started"
    words = ("--command", f"touch {started} {{port}}", "--clients", "5", "--source-ports", "kernel")
    result = stormlab("run", *words, "--hold-at-s", "0.5", "--hold-ms", "600")
    assert result.code == 3
    assert "--hold-ms was asked for" in result.document["error"]["message"]
    assert not started.exists()


def test_syns_are_lost_also_of_connections_that_are_not_counted(stormlab: Call) -> None:
    """A server that closes after each answer: a pool makes more connections than it has been counted for."""
    if nft_path() is None:
        pytest.skip(MISSING)
    server = ("--command", f"{sys.executable} {SOURCES}/faulty/server.py --port {{port}}")
    words = ("--clients", "160", "--connections", "10", "--processes", "1", "--timeout", "60", "--syn-loss", "0.15")
    result = stormlab("run", *server, *words)
    if result.code == 3 and "private namespace" in result.document["error"]["message"]:
        pytest.skip(result.document["error"]["message"])
    assert result.run["outcomes"]["answered"] == 160
    connections, _ = tables(result.run)
    beyond = connections[connections["syns_left"].isna()]
    assert len(beyond) == 160 - RECONNECTIONS * 10
    assert beyond["syn_retransmits"].sum() > 0


def test_what_is_printed_of_a_pool_names_it(stormlab: Call, capsys: pytest.CaptureFixture[str]) -> None:
    from harness.events.store import find_run
    from harness.page.tables import print_run
    from harness.thought.summary import Summary

    run = stormlab("run", "--clients", "50", "--connections", "5", "--http2").run
    print_run(Summary(find_run(Path(run["path"]).parent, run["run_id"])))
    printed = capsys.readouterr().out
    assert "over a pool of 5 connections, HTTP/2" in printed
    assert "frames received" in printed
