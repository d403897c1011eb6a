"""One request to a server, in the protocol in which it will be asked: whether it answers, and what it does then."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from harness.load.python.http1 import Answer, request_bytes
from harness.machine.listeners import Listener, can_be_met

WITHIN_S = 2.0
"""How long one request may take before another is tried."""
SAID_BYTES = 40
_TLS_ALERT, _TLS_HANDSHAKE = b"\x15\x03", b"\x16\x03"
_HTTP2_SETTINGS = b"\x04\x00"
"""Type and flags of the frame that a server begins with, behind three bytes of length (RFC 9113)."""
CLOSES_WITHIN_S = 0.5
"""How long the server may take to close that connection after its answer, before the lab does."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of one request."""

    answered: bool
    """With whatever status; of a stream without end the head is enough."""
    closed: bool
    """Whether the server closed the connection after its answer."""
    said: bytes = b""
    """How what was no answer began."""
    reset: bool = False


def answers(host: str, port: int, path: str, *, http2: bool = False) -> bool:
    """Whether it is answered."""
    return _in_frames(host, port, path) if http2 else ask(host, port, path).answered


def ask(
    host: str,
    port: int,
    path: str,
    *,
    close: bool = True,
    patience_s: float = WITHIN_S,
    closes_within_s: float = CLOSES_WITHIN_S,
) -> Reply:
    """Send one request in HTTP/1.1 on a connection of its own; then wait and see whether the server closes it."""
    answer, said, reset = Answer(), b"", False
    try:
        with socket.create_connection((host, port), timeout=patience_s) as connection:
            connection.sendall(request_bytes(host, port, path, close=close))
            for data in _received(connection, patience_s):
                if not data:
                    return Reply(answer.ends_with_stream, True, said)
                said = (said + data)[:SAID_BYTES]
                if not answer.take(memoryview(data)):
                    return Reply(False, False, said)
                if answer.complete:
                    return Reply(True, _closes(connection, closes_within_s))
    except OSError as error:
        reset = isinstance(error, ConnectionResetError)
    return Reply(answer.headers_complete, False, said, reset)


def unanswered(host: str, port: int, path: str, listening: Sequence[Listener]) -> str:
    """What is to be seen of a server that does not answer, of which these sockets listen."""
    there = [one for one in listening if one.port == port]
    if not can_be_met(there, host):
        found = ", ".join(sorted({f"[{one.address}]:{one.port}" for one in listening}))
        return f"nobody listens on port {port} of {host}; it listens on {found}" if found else "it does not listen"
    return f"it listens, and {_does(ask(host, port, path))}"


def _does(reply: Reply) -> str:
    """What a server does instead of answering; what it says is escaped."""
    if reply.said.startswith((_TLS_ALERT, _TLS_HANDSHAKE)):
        return "speaks TLS"
    if reply.said[3:5] == _HTTP2_SETTINGS:
        return "speaks HTTP/2"
    if reply.said:
        return f"answers {reply.said!r}"
    if reply.reset or reply.closed:
        return "resets what it was asked on" if reply.reset else "closes what it was asked on without a word"
    return "does not answer"


def _in_frames(host: str, port: int, path: str) -> bool:
    from h2.config import H2Configuration
    from h2.connection import H2Connection
    from h2.events import Event, ResponseReceived
    from h2.exceptions import H2Error

    from harness.load.python.links import request_headers

    frames = H2Connection(H2Configuration(client_side=True, header_encoding=None))
    frames.initiate_connection()
    frames.send_headers(1, request_headers(host, port, path), end_stream=True)
    with (
        suppress(OSError, H2Error),
        socket.create_connection((host, port), timeout=WITHIN_S) as connection,
    ):
        connection.sendall(frames.data_to_send())
        for data in _received(connection, WITHIN_S):
            if not data:
                return False
            found: list[Event] = frames.receive_data(data)
            if any(isinstance(event, ResponseReceived) for event in found):
                with suppress(OSError, H2Error):
                    frames.close_connection()  # GOAWAY, after which a server closes, net/http a second later
                    connection.sendall(frames.data_to_send())
                    _closes(connection, CLOSES_WITHIN_S)
                return True
    return False


def _closes(connection: socket.socket, within_s: float) -> bool:
    """Whether it does; who closes first keeps the port for a minute, and the storm may need each of them."""
    try:
        return any(not data for data in _received(connection, within_s))
    except TimeoutError:
        return False
    except OSError:
        return True


def _received(connection: socket.socket, within_s: float) -> Iterator[bytes]:
    """What comes until the time is over; empty at the end of the stream."""
    deadline = time.monotonic() + within_s
    while (left_s := deadline - time.monotonic()) > 0:
        connection.settimeout(left_s)
        yield connection.recv(1 << 16)
