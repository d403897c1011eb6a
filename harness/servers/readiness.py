"""Whether a server answers a real request, in the protocol in which it will be asked."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import suppress

import httptools

from harness.load.python.http1 import Answer, request_bytes

WITHIN_S = 2.0
"""How long one request may take before another is tried."""
CLOSES_WITHIN_S = 0.5
"""How long the server may take to close that connection after its answer, before the lab does."""


def answers(host: str, port: int, path: str, *, http2: bool = False) -> bool:
    """Whether it is answered, with whatever status; of a stream without end the head is enough."""
    try:
        with socket.create_connection((host, port), timeout=WITHIN_S) as connection:
            return (_in_frames if http2 else _in_text)(connection, host, port, path)
    except OSError:
        return False


def _in_text(connection: socket.socket, host: str, port: int, path: str) -> bool:
    answer = Answer()
    with suppress(OSError, httptools.HttpParserError, httptools.HttpParserUpgrade):
        connection.sendall(request_bytes(host, port, path, close=True))
        for data in _received(connection):
            if not data:
                return answer.ends_with_stream
            answer.feed(memoryview(data))
            if answer.complete:
                _let_it_close(connection)
                return True
    return answer.headers_complete


def _in_frames(connection: socket.socket, host: str, port: int, path: str) -> bool:
    from h2.config import H2Configuration
    from h2.connection import H2Connection
    from h2.events import Event, ResponseReceived
    from h2.exceptions import H2Error

    from harness.load.python.links import request_headers

    frames = H2Connection(H2Configuration(client_side=True, header_encoding=None))
    frames.initiate_connection()
    frames.send_headers(1, request_headers(host, port, path), end_stream=True)
    with suppress(OSError, H2Error):
        connection.sendall(frames.data_to_send())
        for data in _received(connection):
            if not data:
                return False
            found: list[Event] = frames.receive_data(data)
            if any(isinstance(event, ResponseReceived) for event in found):
                with suppress(OSError, H2Error):
                    frames.close_connection()  # GOAWAY, after which a server closes, net/http a second later
                    connection.sendall(frames.data_to_send())
                    _let_it_close(connection)
                return True
    return False


def _let_it_close(connection: socket.socket) -> None:
    """Who closes first keeps the port for a minute, and the storm may need each of them."""
    with suppress(OSError):
        for data in _received(connection, CLOSES_WITHIN_S):
            if not data:
                return


def _received(connection: socket.socket, within_s: float = WITHIN_S) -> Iterator[bytes]:
    """What comes until the time is over; empty at the end of the stream."""
    deadline = time.monotonic() + within_s
    while (left_s := deadline - time.monotonic()) > 0:
        connection.settimeout(left_s)
        yield connection.recv(1 << 16)
