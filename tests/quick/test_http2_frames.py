"""A link and a server that are joined by lists of bytes instead of sockets."""

from __future__ import annotations

import errno
import os
import select
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import Event, RequestReceived, WindowUpdated
from h2.exceptions import StreamClosedError

from harness.events.rows import Outcome, Rows
from harness.load.python import http2, links
from harness.load.python.http1 import MOST_HEAD_BYTES
from harness.load.python.http2 import Http2Connections, status_of
from harness.load.python.links import Link, LinkSchedule
from harness.plan import Load
from harness.plan.slices import cut

Behave = Callable[[H2Connection, Event], None]
Joined = Callable[[Load, Behave], tuple[Http2Connections, Rows]]


class Wire:
    """Stands for the client's socket; at its other end ``behave`` is told what h2 understands, and sends."""

    def __init__(self, behave: Behave) -> None:
        self.behave = behave
        self.server = H2Connection(H2Configuration(client_side=False))
        self.server.initiate_connection()
        self.file = os.eventfd(0)

    def connect_ex(self, address: object) -> int:
        return errno.EINPROGRESS

    def getsockname(self) -> tuple[str, int]:
        return "127.0.0.1", 40_000

    def fileno(self) -> int:
        return self.file

    def setsockopt(self, *option: object) -> None:
        pass

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        return bytes(size)

    def send(self, data: bytes) -> int:
        for event in self.server.receive_data(data):
            self.behave(self.server, event)
        return len(data)

    def recv_into(self, buffer: memoryview, size: int) -> int:
        data = self.server.data_to_send(min(size, len(buffer)))
        if not data:
            raise BlockingIOError
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        os.close(self.file)


@pytest.fixture
def joined(tmp_path: Path) -> Iterator[Joined]:
    opened: list[Rows] = []

    def join(load: Load, behave: Behave) -> tuple[Http2Connections, Rows]:
        (slice_,) = cut(load, 1, target="127.0.0.1", port=80, source=None, cpus=(0,), folder=str(tmp_path))
        rows = Rows(Path(slice_.rows_path), slice_.connection_rows, slice_.request_rows, create=True)
        opened.append(rows)
        schedule = LinkSchedule(slice_)
        connections = Http2Connections(slice_, rows, schedule)
        connections.connector.new_socket = lambda: Wire(behave)  # type: ignore[method-assign,assignment,return-value]
        return connections, rows

    yield join
    for rows in opened:
        rows.close()


def turn(connections: Http2Connections) -> None:
    """One of the event loop."""
    schedule = connections.schedule
    schedule.admit_due()
    for _ in range(len(schedule.ready)):
        connections.begin(schedule.ready.popleft())
    for link in list(connections.connector.open.values()):
        connections.advance(link, select.EPOLLIN)


def test_a_connection_carries_more_than_its_window(joined: Joined, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 70,000 bytes instead of 2 GiB, for answers of 400,000."""
    monkeypatch.setattr(http2, "WINDOW", 70_000)
    left: dict[int, int] = {}

    def answer(server: H2Connection, event: Event) -> None:
        if isinstance(event, RequestReceived):
            server.send_headers(event.stream_id, [(":status", "200")])
            left[event.stream_id] = 20_000
        if isinstance(event, RequestReceived | WindowUpdated):
            for stream in left:
                while room := min(left[stream], server.local_flow_control_window(stream), 1_000):
                    left[stream] -= room
                    server.send_data(stream, bytes(room), end_stream=not left[stream])
            for stream in [stream for stream in left if not left[stream]]:
                del left[stream]

    connections, rows = joined(Load(clients=20, connections=1, http2=True, timeout_s=600), answer)
    connections.schedule.start(http2.monotonic_ns())
    for _ in range(100):
        turn(connections)
    assert list(rows.request["outcome"]) == [Outcome.answered] * 20
    assert connections.connector.made == 1
    assert rows.connection["bytes_received"][0] == 0, "it is still open"
    (link,) = connections.connector.open.values()
    assert isinstance(link, Link)
    assert link.received > 400_000
    connections.give_up()


def test_a_link_whose_late_stream_cannot_be_cancelled_takes_the_next_request(
    joined: Joined, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has room for one, which is never answered."""
    for module in (links, http2):
        monkeypatch.setattr(module, "MOST_STREAMS", 1)
    connections, _ = joined(Load(clients=2, connections=1, http2=True, timeout_s=600), lambda server, event: None)
    schedule = connections.schedule
    schedule.start(http2.monotonic_ns())
    turn(connections)
    (link,) = connections.connector.open.values()
    assert isinstance(link, Link)
    assert (connections.issued, len(schedule.waiting), len(schedule.ready)) == (1, 1, 0)
    monkeypatch.setattr(link.frames, "reset_stream", gone)
    (late,) = link.streams.values()
    connections.expire(late)
    assert list(schedule.ready) == [link]
    connections.give_up()


def gone(stream: int, error: int) -> None:
    raise StreamClosedError(stream)


@pytest.mark.parametrize(
    "values", [[b"70000"], [b"abc"], [b""], [b"2_00"], [b"+200"], [b" 200"], [b"099"], [b"600"], [], [b"200", b"200"]]
)
def test_what_is_no_status_is_none(values: list[bytes]) -> None:
    assert status_of(values) == 0


def test_a_status_is_three_digits() -> None:
    assert [status_of([value]) for value in (b"200", b"503")] == [200, 503]


def interim(status: bytes) -> Behave:
    """A server that says this before it answers, on the second of its streams."""

    def answer(server: H2Connection, event: Event) -> None:
        if isinstance(event, RequestReceived):
            if event.stream_id == 3:
                server.send_headers(event.stream_id, [(b":status", status)])
            server.send_headers(event.stream_id, [(b":status", b"200")], end_stream=True)

    return answer


@pytest.mark.parametrize(
    ("status", "expected"),
    [(b"103", Outcome.answered), (b"101", Outcome.bad_answer), (b"1abc", Outcome.bad_answer)],
)
def test_what_comes_before_the_answer_is_an_interim_status_or_ends_its_stream(
    status: bytes, expected: Outcome, joined: Joined
) -> None:
    """101 is none here (RFC 9113, section 8.6)."""
    connections, rows = joined(Load(clients=3, connections=1, http2=True, timeout_s=600), interim(status))
    connections.schedule.start(http2.monotonic_ns())
    for _ in range(5):
        turn(connections)
    assert list(rows.request["outcome"]) == [Outcome.answered, expected, Outcome.answered]
    assert connections.connector.made == 1
    connections.give_up()


class Flood(Wire):
    """Sends ``first`` and then one frame over and over, and takes ``room`` bytes of what it is told."""

    def __init__(self, endless: bytes, first: bytes = b"", room: int = 1 << 30) -> None:
        super().__init__(lambda server, event: None)
        self.endless, self.unread, self.room, self.read = endless, first, room, 0

    def send(self, data: bytes) -> int:
        if not self.room:
            raise BlockingIOError
        taken = min(len(data), self.room)
        self.room -= taken
        return taken

    def recv_into(self, buffer: memoryview, size: int) -> int:
        while len(self.unread) < size:
            self.unread += self.endless * (size // len(self.endless) + 1)
        buffer[:size], self.unread = self.unread[:size], self.unread[size:]
        self.read += size
        return size


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """RFC 9113, section 4.1."""
    return len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload


PING = frame(6, 0, 0, bytes(8))
"""To be answered by another (RFC 9113, section 6.7)."""


def flooded(joined: Joined, wire: Flood) -> tuple[Http2Connections, Rows]:
    connections, rows = joined(Load(clients=1, connections=1, http2=True, timeout_s=600), wire.behave)
    connections.connector.new_socket = lambda: wire  # type: ignore[method-assign,assignment,return-value]
    connections.schedule.start(http2.monotonic_ns())
    return connections, rows


def test_a_flood_of_frames_gets_no_more_than_its_turn(joined: Joined) -> None:
    """However fast it comes: between two looks at deadlines no more of a link is read than this."""
    wire = Flood(PING)
    connections, _ = flooded(joined, wire)
    for count in (1, 2, 3):
        turn(connections)
        assert wire.read == count * http2.READS_IN_A_ROW * http2.READ_AT_ONCE
    connections.give_up()


def test_who_floods_and_takes_no_replies_is_left(joined: Joined) -> None:
    connections, rows = flooded(joined, Flood(PING, room=10_000))
    for _ in range(100):
        turn(connections)
        for link in connections.connector.open.values():
            assert isinstance(link, Link)
            assert len(link.unsent) <= http2.MOST_UNSENT_BYTES
    assert list(rows.request["outcome"]) == [Outcome.bad_answer]


@pytest.mark.parametrize(
    "wire",
    [
        Flood(frame(9, 0, 1, bytes(16_384)), first=frame(1, 0, 1, b"\x88")),
        # A name and a value of 4,000 bytes that enter the dynamic table, and then the byte that stands for both.
        Flood(frame(1, 4, 1, b"\xbe" * 1_000), first=frame(1, 4, 1, b"\x88\x40\x01x\x7f\xa1\x1e" + bytes(4_000))),
    ],
    ids=["CONTINUATION", "HPACK"],
)
def test_headers_without_end_are_no_answer(wire: Flood, joined: Joined) -> None:
    """SETTINGS_MAX_HEADER_LIST_SIZE bounds what is kept of them, as they come and unpacked."""
    connections, rows = flooded(joined, wire)
    for _ in range(10):
        turn(connections)
    assert list(rows.request["outcome"]) == [Outcome.bad_answer]
    assert wire.read < 3 * MOST_HEAD_BYTES
