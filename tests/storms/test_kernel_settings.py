"""Fast Open, deferred accepts and source ports, held against what the kernel counted in the storm's own namespace."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from harness.errors import MachineError
from harness.machine import namespace
from harness.servers import listener_options
from tests.calling import Result

Call = Callable[..., Result]
CLIENTS = 200
FAST_OPEN = ["--fast-open", "--fast-open-queue", "1024", "--sysctl", "net.ipv4.tcp_fastopen=3"]
LISTENING = """
import socket, sys
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _private_network() -> None:
    found = namespace.available()
    if not found.isolated:
        pytest.skip(f"settings are set in a private network: {found.reason}")


@pytest.fixture
def server() -> Iterator[tuple[int, int]]:
    """(pid, port) of a process that listens."""
    process = subprocess.Popen(
        [sys.executable, "-c", LISTENING], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    yield process.pid, int(process.stdout.readline())
    process.communicate()


def run(stormlab: Call, *words: str) -> dict[str, Any]:
    result = stormlab("run", "--clients", str(CLIENTS), "--backlog", "4096", *words)
    if result.code == 3 and "cannot be had" in str(result.document):
        pytest.skip(str(result.document["error"]["message"]))
    assert result.code == 0, result.stderr
    return result.run


def connections(storm: dict[str, Any]) -> Any:
    return pq.read_table(Path(storm["path"]) / "connections.parquet")


def test_requests_leave_in_the_syn_once_there_is_a_cookie(stormlab: Call) -> None:
    storm = run(stormlab, *FAST_OPEN, "--processes", "1")
    counters = storm["kernel"]["counters"]
    assert storm["outcomes"]["answered"] == CLIENTS
    assert storm["server"]["listener_options"] == {"TCP_FASTOPEN": 1024}
    assert counters["TCPFastOpenCookieReqd"] >= 1
    assert counters["TCPFastOpenPassive"] == counters["TCPFastOpenActive"]
    assert counters["TCPFastOpenPassive"] + counters["TCPFastOpenCookieReqd"] == CLIENTS


def test_the_setting_alone_opens_nothing_fast(stormlab: Call) -> None:
    counters = run(stormlab, "--sysctl", "net.ipv4.tcp_fastopen=3")["kernel"]["counters"]
    assert not any(moved for name, moved in counters.items() if name.startswith("TCPFastOpen"))


def test_a_syn_with_data_that_is_dropped_is_told_from_its_data_sent_again(stormlab: Call) -> None:
    """After a dropped SYN the data follow the handshake: a retransmission more, which is no SYN's."""
    storm = run(stormlab, *FAST_OPEN, "--backlog", "32", "--stall-ms", "300")
    table = connections(storm)
    dropped = pc.sum(pc.greater(table["syn_retransmits"], 0)).as_py()
    assert dropped == CLIENTS - 33
    assert pc.sum(table["syn_retransmits"]).as_py() == storm["kernel"]["counters"]["TCPSynRetrans"]
    assert {check["name"] for check in storm["checks"] if check["status"] == "fail"} == set()
    late = table.filter(pc.greater(table["syn_retransmits"], 0))
    waited_us = pc.subtract(late["established_us"], late["issued_us"])
    assert pc.min(waited_us).as_py() > 250_000, "not established when the kernel took the request"


def test_a_syn_that_asks_for_a_cookie_in_vain_and_is_dropped_counts_as_any_other(stormlab: Call) -> None:
    """The server gives none, so nothing but the SYN is sent again: no retransmission of theirs is one of data."""
    storm = run(stormlab, "--fast-open", "--backlog", "32", "--stall-ms", "300")
    assert not storm["kernel"]["counters"]["TCPFastOpenPassive"]
    again = connections(storm)["syn_retransmits"]
    assert pc.sum(pc.greater(again, 0)).as_py() == CLIENTS - 33
    assert pc.sum(again).as_py() == storm["kernel"]["counters"]["TCPSynRetrans"]


def test_deferred_accepts_are_counted(stormlab: Call) -> None:
    storm = run(stormlab, "--defer-accept-s", "5")
    assert storm["server"]["listener_options"]["TCP_DEFER_ACCEPT"] >= 5
    assert storm["kernel"]["counters"]["TCPDeferAcceptDrop"] > 0
    assert storm["outcomes"]["answered"] == CLIENTS


def test_searched_ports_run_out_at_their_number_and_assigned_ones_do_not(stormlab: Call) -> None:
    ports = ["--sysctl", "net.ipv4.ip_local_port_range=40000 40149", "--stall-ms", "100", "--timeout", "5"]
    storm = run(stormlab, *ports, "--source-ports", "kernel")
    assert (storm["outcomes"]["answered"], storm["causes"]["client_out_of_ports"]) == (150, CLIENTS - 150)
    assert pc.all(pc.is_valid(connections(storm)["connect_us"])).as_py(), "also where it failed"
    assert run(stormlab, *ports)["outcomes"]["answered"] == CLIENTS


def test_no_setting_reaches_the_host(stormlab: Call) -> None:
    before = namespace.read_settings()
    inside = run(stormlab, *FAST_OPEN, "--sysctl", "net.ipv4.tcp_syncookies=0")["kernel"]["sysctls"]
    assert (inside["net.ipv4.tcp_fastopen"], inside["net.ipv4.tcp_syncookies"]) == ("3", "0")
    assert namespace.read_settings() == before


def test_an_option_is_set_on_a_running_servers_socket(server: tuple[int, int]) -> None:
    pid, port = server
    try:
        found = listener_options.set_options([pid], port, {"TCP_FASTOPEN": 7, "TCP_DEFER_ACCEPT": 1})
    except MachineError as error:
        pytest.skip(error.line)
    assert found == {"TCP_FASTOPEN": 7, "TCP_DEFER_ACCEPT": 1}
    again = listener_options.set_options([pid], port, {"TCP_DEFER_ACCEPT": 2})
    assert again["TCP_DEFER_ACCEPT"] >= 2


def test_who_does_not_listen_has_no_option(server: tuple[int, int]) -> None:
    pid, _ = server
    with (
        socket.create_server(("127.0.0.1", 0)) as other,
        pytest.raises(MachineError, match="was asked for"),
    ):
        listener_options.set_options([pid], other.getsockname()[1], {"TCP_FASTOPEN": 7})
