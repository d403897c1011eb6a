"""An agent against servers that mean it harm: each request has its outcome, its deadline holds, memory is bounded."""

from __future__ import annotations

import select
import socket
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.events.rows import Outcome, Rows
from harness.load.python.connections import Connections
from harness.load.python.http1 import MOST_HEAD_BYTES
from harness.load.python.schedule import Schedule
from harness.plan import Load
from harness.plan.slices import cut
from tests.driving import engine, most_bytes  # noqa: F401 (a fixture)
from tests.storms.test_agent import OK, Behaviour, outcomes, request
from tests.storms.test_http2 import (
    END_HEADERS,
    END_STREAM,
    HEADERS,
    OK_BLOCK,
    PREFACE,
    SETTINGS,
    by_hand,
    fine,
    frame,
    read,
)

pytestmark = pytest.mark.usefixtures("engine")
ERROR = b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"
HEAD = b"HTTP/1.1 200 OK\r\n"
CONTINUATION, PING, PRIORITY, RST_STREAM, WINDOW_UPDATE = 9, 6, 2, 3, 8


def endless(piece: bytes, first: bytes = b"") -> Behaviour:
    """HTTP/1.1 as fast as it is taken."""

    def behave(connection: socket.socket) -> None:
        request(connection)
        connection.sendall(first)
        while True:
            connection.sendall(piece * (65_536 // len(piece)))

    return behave


def endless_frames(piece: bytes, first: bytes = b"") -> Behaviour:
    """The same after HTTP/2's preface."""

    def behave(connection: socket.socket) -> None:
        assert read(connection, len(PREFACE)) == PREFACE
        connection.sendall(frame(SETTINGS, 0, 0) + first)
        while True:
            connection.sendall(piece * (65_536 // len(piece)))

    return behave


# ---- what arrives unasked ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("load", [Load(clients=20, timeout_s=3), Load(clients=4, requests_per_client=5, timeout_s=3)])
def test_an_answer_that_nobody_asked_for_makes_no_error_good(load: Load, tmp_path: Path) -> None:
    def behave(connection: socket.socket) -> None:
        while True:
            request(connection)
            connection.sendall(ERROR + OK)

    found, rows, server = outcomes(behave, load, tmp_path)
    assert found == {"bad_answer": 20}
    assert server.accepted == 20, "no connection carries another request"
    rows.close()


@pytest.mark.parametrize("engine", ["python"], indirect=True)
def test_what_lies_unread_on_an_idle_connection_answers_no_later_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.load.python.connections.SOON_NS", 0)
    load = Load(clients=1, requests_per_client=2, timeout_s=600)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        (slice_,) = cut(load, 1, target="127.0.0.1", port=port, source=None, cpus=(0,), folder=str(tmp_path))
        with Rows(Path(slice_.rows_path), slice_.connection_rows, slice_.request_rows, create=True) as rows:
            schedule = Schedule(slice_)
            connections = Connections(slice_, rows, schedule)
            client = schedule.ready.popleft()

            def said(answer: bytes) -> None:
                server.sendall(answer)
                assert select.select([client.socket], [], [], 60)[0]

            connections.begin(client)
            server, _ = listener.accept()
            with server:
                request(server)
                said(OK)
                connections.advance(client, select.EPOLLIN)
                assert connections.answered == 1
                said(ERROR)
                connections.begin(client)
                assert connections.connector.made == 2
                assert list(rows.connection["outcome"]) == [Outcome.answered, 0]
                connections.give_up()


# ---- floods -----------------------------------------------------------------------------------------------------

FLOODS = {
    "headers": endless(b"X: y\r\n", HEAD),
    "a name": endless(b"x" * 1_000, HEAD),
    "a value": endless(b"x" * 1_000, HEAD + b"X: "),
    "a reason": endless(b"x" * 1_000, HEAD[:-2]),
    "lengths": endless(b"Content-Length: 1\r\n", HEAD),
    "100 Continue": endless(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "chunks": endless(b"1\r\nx\r\n", HEAD + b"Transfer-Encoding: chunked\r\n\r\n"),
    "a chunk's extension": endless(b"x" * 1_000, HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;"),
    "trailers": endless(b"X: y\r\n", HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n"),
    "a body": endless(b"x" * 1_000, HEAD + b"\r\n"),
    "surplus": endless(b"x", ERROR),
}
FRAMES = {
    "SETTINGS": endless_frames(frame(SETTINGS, 0, 0)),
    "PING": endless_frames(frame(PING, 0, 0, bytes(8))),
    "PRIORITY": endless_frames(frame(PRIORITY, 0, 1, bytes(4) + b"\x01")),
    "WINDOW_UPDATE": endless_frames(frame(WINDOW_UPDATE, 0, 0, bytes(3) + b"\x01")),
    "RST_STREAM": endless_frames(frame(RST_STREAM, 0, 1, bytes(4))),
    "unknown": endless_frames(frame(99, 0, 0)),
    "empty CONTINUATION": endless_frames(frame(CONTINUATION, 0, 1), first=frame(HEADERS, 0, 1, OK_BLOCK)),
    "CONTINUATION": endless_frames(frame(CONTINUATION, 0, 1, bytes(16_000)), first=frame(HEADERS, 0, 1, OK_BLOCK)),
}
MOST_FOR_EACH_BYTES = 3 * MOST_HEAD_BYTES
"""A head, once as it came, once in the parser's hands, and the rest of what a client is."""
READ_BUFFER_BYTES = 1 << 20


@pytest.fixture
def traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize(("flood", "http2"), [*((name, False) for name in FLOODS), *((name, True) for name in FRAMES)])
def test_a_flood_ends_each_request_and_keeps_no_more_than_a_head_of_it(flood: str, http2: bool, tmp_path: Path) -> None:
    clients = 30
    load = Load(clients=clients, connections=clients if http2 else None, http2=http2, timeout_s=1)
    found, rows, _ = outcomes((FRAMES if http2 else FLOODS)[flood], load, tmp_path)
    assert most_bytes() < clients * MOST_FOR_EACH_BYTES + READ_BUFFER_BYTES
    assert found.total() == clients
    assert "answered" not in found
    rows.close()


# ---- HTTP/2 -----------------------------------------------------------------------------------------------------


def field(name: bytes, value: bytes) -> bytes:
    """Without indexing, a new name (RFC 7541, section 6.2.2)."""
    return bytes([0, len(name)]) + name + bytes([len(value)]) + value


@pytest.mark.parametrize(
    "block",
    [
        *(
            field(b":status", value)
            for value in (b"70000", b"abc", b"", b"2_00", b"+200", b" 200", b"200 ", b"\xff\xff")
        ),
        field(b"x", b"y"),
        b"",
        OK_BLOCK + OK_BLOCK,
        OK_BLOCK + field(b"x", b"y") + field(b":status", b"500"),
    ],
    ids=repr,
)
def test_what_is_no_status_is_no_answer_of_its_stream_alone(block: bytes, tmp_path: Path) -> None:
    def third_otherwise(stream: int) -> bytes:
        return frame(HEADERS, END_HEADERS | END_STREAM, stream, block) if stream == 5 else fine(stream)

    load = Load(clients=6, connections=1, http2=True, timeout_s=10)
    found, rows, server = outcomes(by_hand(third_otherwise), load, tmp_path)
    assert found == {"answered": 5, "bad_answer": 1}
    assert server.accepted == 1
    rows.close()
