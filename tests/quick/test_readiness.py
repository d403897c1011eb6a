"""What is said of a server that is not ready: what was seen of it."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from harness.errors import printable
from harness.machine.listeners import listening_on
from harness.servers.readiness import unanswered

Handle = Callable[[socket.socket], None]
AT_ONCE = struct.pack("ii", 1, 0)
"""SO_LINGER with no time: close() resets."""


def says(answer: bytes) -> Handle:
    def handle(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(answer)
        connection.close()

    return handle


def resets(connection: socket.socket) -> None:
    connection.recv(1000)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
    connection.close()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as found:
        yield found


@pytest.mark.parametrize(
    ("handle", "said"),
    [
        (says(b"SSH-2.0-\x1b[31m\xff\r\n"), r"it listens, and answers b'SSH-2.0-\x1b[31m\xff\r\n'"),
        (says(b"\x15\x03\x01\x00\x02\x02\x46"), "it listens, and speaks TLS"),
        (says(b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00d"), "it listens, and speaks HTTP/2"),
        (says(b"HTTP/1.1 200 OK\r\nContent-Le"), r"it listens, and answers b'HTTP/1.1 200 OK\r\nContent-Le'"),
        (says(b""), "it listens, and closes what it was asked on without a word"),
        (resets, "it listens, and resets what it was asked on"),
    ],
    ids=["garbage", "TLS", "HTTP/2", "half an answer", "nothing", "a reset"],
)
def test_of_a_server_that_does_not_answer_it_is_said_what_it_does(
    handle: Handle, said: str, listener: socket.socket
) -> None:
    def serve() -> None:
        with suppress(OSError):  # closed when the test is over
            while True:
                handle(listener.accept()[0])

    threading.Thread(target=serve, daemon=True).start()
    port = listener.getsockname()[1]
    assert unanswered("127.0.0.1", port, "/", listening_on(port)) == said


def test_of_a_server_that_listens_elsewhere_it_is_said_where(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    seen = unanswered("127.0.0.1", port + 1, "/", listening_on(port))
    assert seen == f"nobody listens on port {port + 1} of 127.0.0.1; it listens on [127.0.0.1]:{port}"
    assert unanswered("::1", port, "/", listening_on(port)).startswith(f"nobody listens on port {port} of ::1;")
    assert unanswered("127.0.0.1", port, "/", []) == "it does not listen"


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("\x1b[1;31mpanicked\x1b[0m at 3", "panicked at 3"),
        ("\x1b]0;a title\x07here", "here"),
        ("\x1b]8;;http://x\x1b\\a link\x1b]8;;\x1b\\", "a link"),
        ("\x1b]52;c;Y29weQ==", ""),
        ("\x1bcgone\x9b2J\r\nleft\u202eright", "gone2Jleftright"),
    ],
)
def test_what_others_wrote_has_no_power_over_the_terminal(written: str, shown: str) -> None:
    assert printable(written) == shown
