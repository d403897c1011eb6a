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
from harness.load.python.http2 import Http2Connections, status_of
from harness.load.python.links import Link, LinkSchedule
from harness.plan import Load
from harness.plan.slices import cut

Behave = Callable[[H2Connection, Event], None]


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
def joined(tmp_path: Path) -> Iterator[Callable[[Load, Behave], tuple[Http2Connections, Rows]]]:
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


def test_a_connection_carries_more_than_its_window(
    joined: Callable[[Load, Behave], tuple[Http2Connections, Rows]], monkeypatch: pytest.MonkeyPatch
) -> None:
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
    joined: Callable[[Load, Behave], tuple[Http2Connections, Rows]], monkeypatch: pytest.MonkeyPatch
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
