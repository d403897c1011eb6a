"""An agent of either engine against servers of every behaviour: each request ends in the outcome that is true."""

from __future__ import annotations

import dataclasses
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.events.rows import Outcome, Rows
from harness.plan import Load
from harness.plan.slices import cut
from tests.driving import drive_slice, engine  # noqa: F401 (a fixture)

pytestmark = pytest.mark.usefixtures("engine")

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
Behaviour = Callable[[socket.socket], None]


class Server:
    """Listens on loopback; every connection is handled by ``behave`` in a thread of its own."""

    def __init__(self, behave: Behaviour) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        self.behave = behave
        self.accepted = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.accepted += 1
            threading.Thread(target=self._handle, args=(connection,), daemon=True).start()

    def _handle(self, connection: socket.socket) -> None:
        try:
            with connection:
                self.behave(connection)
        except OSError:
            pass  # the client has gone


def outcomes(
    behave: Behaviour, load: Load, folder: Path, meanwhile: Callable[[Rows], None] = lambda rows: None
) -> tuple[Counter[str], Rows, Server]:
    server = Server(behave)
    (slice_,) = cut(load, 1, target="127.0.0.1", port=server.port, source=None, cpus=(0,), folder=str(folder))
    rows = Rows(Path(slice_.rows_path), slice_.connection_rows, slice_.request_rows, create=True)
    meanwhile(rows)
    drive_slice(slice_, rows)
    server.listener.close()
    table = rows.request if slice_.request_rows else rows.connection
    ended = rows.counters()["answered"] + rows.counters()["failed"]
    assert ended == load.planned or rows.counters()["asked_to_stop"]
    return Counter(Outcome(outcome).name for outcome in table["outcome"]), rows, server


def request(connection: socket.socket) -> None:
    received = b""
    while not received.endswith(b"\r\n\r\n"):
        piece = connection.recv(4096)
        if not piece:
            raise ConnectionError
        received += piece


def answers_forever(connection: socket.socket) -> None:
    while True:
        request(connection)
        connection.sendall(OK)


def once(answer: bytes) -> Behaviour:
    def behave(connection: socket.socket) -> None:
        request(connection)
        connection.sendall(answer)

    return behave


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def never(connection: socket.socket) -> None:
    time.sleep(5)


def stream_without_end(connection: socket.socket) -> None:
    request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")
    while True:
        connection.sendall(b"x" * 65536)


def header_without_end(connection: socket.socket) -> None:
    request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        connection.sendall(b"X-More: and more\r\n" * 100)


def byte_by_byte(connection: socket.socket) -> None:
    request(connection)
    for byte in OK:
        connection.sendall(bytes([byte]))
        time.sleep(0.001)


def reset_after_request(connection: socket.socket) -> None:
    request(connection)
    reset(connection)


def named(value: object) -> str:
    """The same in every process, as tests are dealt out by their names."""
    return getattr(value, "__qualname__", str(value)).removesuffix(".<locals>.behave")


SHORT = Load(clients=5, timeout_s=0.6)


@pytest.mark.parametrize(
    ("behave", "expected"),
    [
        (once(OK), "answered"),
        (byte_by_byte, "answered"),
        (once(b"HTTP/1.0 200 OK\r\n\r\nuntil the end"), "answered"),
        (once(NOT_FOUND), "bad_answer"),
        (once(b"SSH-2.0-OpenSSH\r\n"), "bad_answer"),
        (once(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"), "bad_answer"),
        (once(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nuntil the end"), "answered"),
        (once(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n" + OK), "answered"),
        (once(OK.replace(b"Content", b"Content-Length: 2\r\nContent")), "answered"),
        (once(OK.replace(b"Content", b"Content-Length: 3\r\nContent")), "bad_answer"),
        (once(OK + b"surplus"), "answered"),
        (once(NOT_FOUND + OK), "bad_answer"),
        (once(OK + NOT_FOUND), "answered"),
        (once(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"), "bad_answer"),
        (once(b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + OK), "bad_answer"),
        (once(OK[:-1]), "closed_early"),
        (once(b""), "closed_early"),
        (reset_after_request, "reset"),
        (never, "answer_timeout"),
        (stream_without_end, "answer_timeout"),
        (header_without_end, ("answer_timeout", "bad_answer")),
    ],
    ids=named,
)
def test_the_outcome_is_what_the_client_saw(behave: Behaviour, expected: str | tuple[str, ...], tmp_path: Path) -> None:
    found, rows, _ = outcomes(behave, SHORT, tmp_path)
    assert set(found) <= ({expected} if isinstance(expected, str) else set(expected))
    assert found.total() == 5
    rows.close()


@pytest.mark.parametrize(
    ("behave", "expected"),
    [(once(OK), "answered"), (reset_after_request, "reset"), (never, "answer_timeout")],
    ids=named,
)
def test_fast_open_asked_of_who_has_it_not_is_an_ordinary_connection(
    behave: Behaviour, expected: str, tmp_path: Path
) -> None:
    found, rows, _ = outcomes(behave, dataclasses.replace(SHORT, fast_open=True), tmp_path)
    assert found == {expected: 5}
    assert min(rows.connection["established_ns"]) > 0
    rows.close()


@pytest.mark.parametrize("fast_open", [False, True])
def test_nobody_listens(fast_open: bool, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    load = dataclasses.replace(SHORT, fast_open=fast_open)
    (slice_,) = cut(load, 1, target="127.0.0.1", port=port, source=None, cpus=(0,), folder=str(tmp_path))
    with Rows(Path(slice_.rows_path), 5, 0, create=True) as rows:
        drive_slice(slice_, rows)
        assert set(rows.connection["outcome"]) == {Outcome.refused}
        assert min(rows.connection["issued_ns"]) > 0


def test_times_are_in_order_in_every_row(tmp_path: Path) -> None:
    for index, behave in enumerate((once(OK), never, byte_by_byte)):
        folder = tmp_path / str(index)
        folder.mkdir()
        _, rows, _ = outcomes(behave, SHORT, folder)
        names = ("issued_ns", "established_ns", "first_byte_ns", "closed_ns")
        for row in zip(*(rows.connection[name] for name in names), strict=True):
            happened = [moment for moment in row if moment]
            assert happened == sorted(happened)
        rows.close()


KEPT = Load(clients=3, requests_per_client=20, timeout_s=1.0)


def test_kept_connections_are_kept(tmp_path: Path) -> None:
    found, rows, server = outcomes(answers_forever, KEPT, tmp_path)
    assert found == {"answered": 60}
    assert server.accepted == rows.counters()["connections"] == 3
    rows.close()


@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", b"HTTP/1.0 200 OK\r\n\r\nuntil the end"],
    ids=["said", "HTTP/1.0"],
)
def test_a_server_that_closes_after_each_answer_gets_a_connection_for_each(answer: bytes, tmp_path: Path) -> None:
    found, rows, server = outcomes(once(answer), KEPT, tmp_path)
    assert found == {"answered": 60}
    assert server.accepted == 60
    assert sorted(rows.connection["attempt"]) == sorted(list(range(1, 21)) * 3)
    rows.close()


def test_a_kept_clients_row_counts_before_its_syn_leaves(tmp_path: Path) -> None:
    """What lies beyond the number of connections is no row: of an agent that is killed, none must be lost."""
    counted: list[bool] = []

    def behave(connection: socket.socket) -> None:
        accepted = server.accepted
        counted.append(rows.counters()["connections"] >= accepted)
        once(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")(connection)

    server = Server(behave)
    (slice_,) = cut(KEPT, 1, target="127.0.0.1", port=server.port, source=None, cpus=(0,), folder=str(tmp_path))
    with Rows(Path(slice_.rows_path), slice_.connection_rows, slice_.request_rows, create=True) as rows:
        drive_slice(slice_, rows)
        server.listener.close()
    assert counted == [True] * 60


def test_an_answer_of_another_status_does_not_end_a_kept_connection(tmp_path: Path) -> None:
    def behave(connection: socket.socket) -> None:
        while True:
            request(connection)
            connection.sendall(NOT_FOUND)

    found, rows, server = outcomes(behave, KEPT, tmp_path)
    assert found == {"bad_answer": 60}
    assert server.accepted == 3
    rows.close()


def test_a_reset_between_two_requests_belongs_to_neither(tmp_path: Path) -> None:
    def behave(connection: socket.socket) -> None:
        request(connection)
        connection.sendall(OK)
        time.sleep(0.02)
        reset(connection)

    load = Load(clients=2, requests_per_client=3, rate=10.0, timeout_s=1.0)
    found, rows, server = outcomes(behave, load, tmp_path)
    assert found == {"answered": 6}
    assert server.accepted == 6
    rows.close()


def test_an_open_loop_keeps_every_deadline_when_nothing_is_answered(tmp_path: Path) -> None:
    load = Load(clients=20, requests_per_client=5, rate=100_000.0, timeout_s=0.1)
    found, rows, _ = outcomes(never, load, tmp_path)
    assert set(found) <= {"answer_timeout", "connect_timeout"}
    assert found.total() == 100
    rows.close()
