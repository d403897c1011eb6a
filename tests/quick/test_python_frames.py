"""The lab's Python server over HTTP/2, given bytes as they may come in one read."""

from __future__ import annotations

import asyncio
import importlib.util
from typing import Any

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, StreamEnded

from harness.servers.build import SOURCES

REQUEST = [(":method", "GET"), (":scheme", "http"), (":authority", "here"), (":path", "/")]


class Transport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.written, self.closed = b"", False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def close(self) -> None:
        self.closed = True

    def taken(self) -> bytes:
        data, self.written = self.written, b""
        return data


@pytest.fixture
def transport() -> Transport:
    return Transport()


def connection(body: bytes, transport: Transport) -> Any:
    path = SOURCES / "python" / "frames.py"
    spec = importlib.util.spec_from_file_location("frames", path)
    assert spec is not None and spec.loader is not None
    frames = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(frames)
    made = frames.FramedConnection(body, 0, False)
    made.connection_made(transport)
    return made


def client(transport: Transport) -> H2Connection:
    made = H2Connection(H2Configuration(client_side=True))
    made.initiate_connection()
    made.receive_data(transport.taken())
    return made


@pytest.mark.parametrize("body", [b"", b"ok"], ids=["empty", "body"])
def test_a_stream_that_is_reset_in_the_read_that_brought_it_ends_no_other(body: bytes, transport: Transport) -> None:
    server, asking = connection(body, transport), client(transport)
    for stream in (1, 3, 5):
        asking.send_headers(stream, REQUEST, end_stream=True)
    asking.reset_stream(3)
    server.data_received(asking.data_to_send())
    ended = [event.stream_id for event in asking.receive_data(transport.taken()) if isinstance(event, StreamEnded)]
    assert ended == [1, 5]
    assert not transport.closed


def test_a_stream_that_is_reset_in_the_read_that_makes_room_for_it_ends_no_other(transport: Transport) -> None:
    server, asking = connection(b"x" * 40_000, transport), client(transport)
    for stream in (1, 3):
        asking.send_headers(stream, REQUEST, end_stream=True)
    server.data_received(asking.data_to_send())
    received = sum(
        len(event.data) for event in asking.receive_data(transport.taken()) if isinstance(event, DataReceived)
    )
    assert received == 65_535, "the connection's window"
    asking.increment_flow_control_window(65_535)
    asking.reset_stream(3)
    server.data_received(asking.data_to_send())
    assert not transport.closed
    assert not server.unsent
    asking.send_headers(5, REQUEST, end_stream=True)
    server.data_received(asking.data_to_send())
    ended = [event.stream_id for event in asking.receive_data(transport.taken()) if isinstance(event, StreamEnded)]
    assert ended == [5]


def test_what_is_no_http2_ends_the_connection(transport: Transport) -> None:
    server = connection(b"ok", transport)
    server.data_received(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
    assert transport.closed
