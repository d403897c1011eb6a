"""HTTP/2 with prior knowledge: the bytes that go over the wire, and what becomes of many streams on few connections."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import Event, RequestReceived
from hpack import Decoder

from harness.events.rows import Rows
from harness.load.python.agent import drive
from harness.load.python.links import LinkSchedule
from harness.load.python.storm import Storm
from harness.plan import Load
from harness.plan.slices import cut
from tests.driving import engine  # noqa: F401 (a fixture)
from tests.storms.test_agent import Behaviour, Server, never, outcomes, reset

pytestmark = pytest.mark.usefixtures("engine")
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""RFC 9113, section 3.4."""
DATA, HEADERS, RST_STREAM, SETTINGS, GOAWAY = 0, 1, 3, 4, 7
END_STREAM, ACK, END_HEADERS = 1, 1, 4
OK_BLOCK = b"\x88"
""":status 200, an indexed field of HPACK's static table (RFC 7541, appendix A)."""


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """RFC 9113, section 4.1."""
    return len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload


def read(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = connection.recv(size - len(data))
        if not piece:
            raise ConnectionError
        data += piece
    return data


def frames(connection: socket.socket) -> Iterator[tuple[int, int, int, bytes]]:
    """(type, flags, stream, payload) of each frame."""
    while True:
        head = read(connection, 9)
        yield head[3], head[4], int.from_bytes(head[5:9]), read(connection, int.from_bytes(head[:3]))


def by_hand(*answers: Callable[[int], bytes], settings: bytes = b"") -> Behaviour:
    """A server without a library: each request is answered with the bytes that the next of ``answers`` makes of it."""

    def behave(connection: socket.socket) -> None:
        assert read(connection, len(PREFACE)) == PREFACE
        connection.sendall(frame(SETTINGS, 0, 0, settings))
        count = 0
        for kind, flags, stream, _ in frames(connection):
            if kind == SETTINGS and not flags & ACK:
                connection.sendall(frame(SETTINGS, ACK, 0))
            if kind == HEADERS:
                connection.sendall(answers[count % len(answers)](stream))
                count += 1

    return behave


def fine(stream: int) -> bytes:
    return frame(HEADERS, END_HEADERS, stream, OK_BLOCK) + frame(DATA, END_STREAM, stream, b"ok")


def test_the_first_bytes_are_those_of_the_standard(tmp_path: Path) -> None:
    seen: list[tuple[int, int, int, bytes]] = []

    def behave(connection: socket.socket) -> None:
        assert read(connection, len(PREFACE)) == PREFACE
        connection.sendall(frame(SETTINGS, 0, 0))
        for kind, flags, stream, payload in frames(connection):
            seen.append((kind, flags, stream, payload))
            if kind == HEADERS:
                connection.sendall(fine(stream))

    found, rows, _ = outcomes(behave, Load(clients=1, http2=True, timeout_s=3), tmp_path)
    assert found == {"answered": 1}
    assert seen[0][0] == SETTINGS
    (headers,) = [one for one in seen if one[0] == HEADERS]
    assert headers[1] == END_STREAM | END_HEADERS
    assert headers[2] == 1
    assert dict(Decoder().decode(headers[3]))[":path"] == "/"
    rows.close()


def test_streams_share_connections_and_each_request_has_its_row(tmp_path: Path) -> None:
    found, rows, server = outcomes(by_hand(fine), Load(clients=500, connections=3, http2=True, timeout_s=10), tmp_path)
    assert found == {"answered": 500}
    assert server.accepted == rows.counters()["connections"] == 3
    assert set(rows.request["connection"]) == {0, 1, 2}
    assert set(rows.request["status"]) == {200}
    assert min(rows.request["last_byte_ns"]) > 0
    for first, last in zip(rows.request["first_byte_ns"], rows.request["last_byte_ns"], strict=True):
        assert 0 < first <= last
    rows.close()


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (lambda stream: frame(HEADERS, END_HEADERS | END_STREAM, stream, b"\x8d"), "bad_answer"),  # :status 404
        (lambda stream: frame(RST_STREAM, 0, stream, struct.pack("!I", 7)), "reset"),
        (lambda stream: frame(DATA, 0, 0, b"of no stream"), "bad_answer"),
        (lambda stream: frame(GOAWAY, 0, 0, struct.pack("!II", 0, 0)), "closed_early"),
        (lambda stream: b"", "answer_timeout"),
    ],
    ids=["404", "RST_STREAM", "not allowed", "GOAWAY", "nothing"],
)
def test_the_outcome_is_what_the_client_saw(answer: Callable[[int], bytes], expected: str, tmp_path: Path) -> None:
    load = Load(clients=4, connections=2, http2=True, timeout_s=2)
    found, rows, _ = outcomes(by_hand(answer), load, tmp_path)
    assert found == {expected: 4}
    rows.close()


def speaks_http1_only(connection: socket.socket) -> None:
    read(connection, len(PREFACE))
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    time.sleep(1)


def closes(connection: socket.socket) -> None:
    """By its own half first: to close with something unread would be a reset."""
    connection.recv(65_536)
    connection.shutdown(socket.SHUT_WR)
    while connection.recv(65_536):
        pass


@pytest.mark.parametrize(
    ("behave", "expected"),
    [(reset, "reset"), (closes, "closed_early"), (never, "answer_timeout"), (speaks_http1_only, "bad_answer")],
    ids=["reset", "closed", "never", "HTTP/1.1"],
)
def test_what_a_connection_suffers_all_its_streams_suffer(behave: Behaviour, expected: str, tmp_path: Path) -> None:
    def ends(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            behave(connection)

    found, rows, _ = outcomes(ends, Load(clients=6, connections=2, http2=True, timeout_s=2), tmp_path)
    assert set(found) <= {expected, "not_issued"}
    assert found.total() == 6
    rows.close()


def test_a_late_stream_is_cancelled_and_its_connection_goes_on(tmp_path: Path) -> None:
    def second_never(stream: int) -> bytes:
        return b"" if stream == 3 else fine(stream)

    load = Load(clients=30, connections=1, http2=True, rate=10.0, timeout_s=2)
    found, rows, server = outcomes(by_hand(second_never), load, tmp_path)
    assert found == {"answered": 29, "answer_timeout": 1}
    assert server.accepted == 1
    rows.close()


def test_no_more_streams_at_a_time_than_the_server_takes(tmp_path: Path) -> None:
    """SETTINGS_MAX_CONCURRENT_STREAMS (3) = 4 holds from when the client has acknowledged it."""
    most, count = [0], [0]

    def behave(connection: socket.socket) -> None:
        assert read(connection, len(PREFACE)) == PREFACE
        connection.sendall(frame(SETTINGS, 0, 0, struct.pack("!HI", 3, 4)))
        unanswered: list[int] = []
        acknowledged = False
        for kind, flags, stream, _ in frames(connection):
            if kind == SETTINGS:
                acknowledged = acknowledged or bool(flags & ACK)
            if kind == HEADERS:
                unanswered.append(stream)
                count[0] += 1
                most[0] = max(most[0], len(unanswered) if acknowledged else 0)
                if not acknowledged or len(unanswered) >= 4 or count[0] == 41:
                    connection.sendall(b"".join(map(fine, unanswered)))
                    unanswered.clear()

    found, rows, _ = outcomes(behave, Load(clients=41, connections=1, rate=400.0, http2=True), tmp_path)
    assert found == {"answered": 41}
    assert most[0] <= 4
    rows.close()


def test_a_server_that_takes_no_streams_at_all_leaves_them_unissued(tmp_path: Path) -> None:
    """After the first hundred, that is, which may be sent before anything is known of the server."""
    settings = struct.pack("!HI", 3, 0)
    load = Load(clients=300, connections=1, http2=True, timeout_s=1)
    found, rows, _ = outcomes(by_hand(fine, settings=settings), load, tmp_path)
    assert found["not_issued"] >= 200
    assert found.total() == 300
    rows.close()


@pytest.mark.parametrize("engine", ["python"], indirect=True)
def test_a_link_stands_in_line_once(tmp_path: Path) -> None:
    server = Server(by_hand(fine))
    load = Load(clients=300, connections=2, rate=1000.0, http2=True, timeout_s=5)
    (slice_,) = cut(load, 1, target="127.0.0.1", port=server.port, source=None, cpus=(0,), folder=str(tmp_path))
    with Rows(Path(slice_.rows_path), slice_.connection_rows, slice_.request_rows, create=True) as rows:
        storm = Storm(slice_, rows)
        drive(storm, time.monotonic_ns())
        server.listener.close()
        assert isinstance(storm.schedule, LinkSchedule)
        assert rows.counters()["answered"] == 300
        places = [*storm.schedule.idle, *storm.schedule.ready]
        assert len(places) == len(set(map(id, places))) <= 2


def test_a_server_that_retires_a_connection_gets_another(tmp_path: Path) -> None:
    def last(stream: int) -> bytes:
        return fine(stream) + frame(GOAWAY, 0, 0, struct.pack("!II", stream, 0))

    load = Load(clients=5, connections=1, http2=True, rate=50.0, timeout_s=5)
    found, rows, server = outcomes(by_hand(last), load, tmp_path)
    made = rows.counters()["connections"]
    assert set(found) <= {"answered", "closed_early"}, "one may have been on its way to a connection that was retired"
    assert found["answered"] == server.accepted == made >= 2
    assert list(rows.connection["attempt"])[:made] == list(range(1, made + 1))
    rows.close()


def test_it_understands_the_other_side_of_its_library(tmp_path: Path) -> None:
    """A body of several frames, and headers with an accept stamp."""

    def behave(connection: socket.socket) -> None:
        frames_of = H2Connection(H2Configuration(client_side=False))
        frames_of.initiate_connection()
        connection.sendall(frames_of.data_to_send())
        while data := connection.recv(65_536):
            found: list[Event] = frames_of.receive_data(data)
            for event in found:
                if isinstance(event, RequestReceived):
                    frames_of.send_headers(event.stream_id, [(":status", "200"), ("x-accept-ns", "12345")])
                    frames_of.send_data(event.stream_id, b"x" * 1000)
                    frames_of.send_data(event.stream_id, b"x" * 1000, end_stream=True)
            connection.sendall(frames_of.data_to_send())

    found, rows, _ = outcomes(behave, Load(clients=40, connections=2, http2=True, timeout_s=5), tmp_path)
    assert found == {"answered": 40}
    assert set(rows.request["accepted_ns"]) == {12345}
    assert min(rows.connection["bytes_received"][:2]) > 10_000
    rows.close()


def test_a_connection_for_each_client_where_no_pool_is_asked_for(tmp_path: Path) -> None:
    found, rows, server = outcomes(by_hand(fine), Load(clients=7, http2=True, timeout_s=5), tmp_path)
    assert found == {"answered": 7}
    assert server.accepted == 7
    rows.close()
