"""The client's side of the audit: few connections, each asking one question."""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections.abc import Iterable

from harness.load.python.http1 import request_bytes
from harness.servers.readiness import WITHIN_S, Reply, ask

PATH = "/"
KEEPS_FOR_S = 0.4
"""A connection that is still open this long after its answer is kept."""
CLOSES_WITHIN_S = 1.0
AGAIN_AFTER_S = 0.005


def reply(host: str, port: int, *, close: bool, patience_s: float = WITHIN_S) -> Reply:
    """What comes of one request, and whether the connection is closed after it."""
    waits_s = CLOSES_WITHIN_S if close else KEEPS_FOR_S
    return ask(host, port, PATH, close=close, patience_s=patience_s, closes_within_s=waits_s)


def answered_after_ms(host: str, port: int, patience_s: float) -> float | None:
    """How long it takes to get an answer from now on, with as many tries as that needs; None: not so soon."""
    begun = time.monotonic()
    while (left_s := begun + patience_s - time.monotonic()) > 0:
        if reply(host, port, close=True, patience_s=left_s).answered:
            return round((time.monotonic() - begun) * 1000, 1)
        time.sleep(AGAIN_AFTER_S)
    return None


def loopback_of(addresses: Iterable[str]) -> list[str]:
    """The hosts at which a server may be asked that listens on these addresses, IPv4 first.

    Whether a listener on ``::`` takes IPv4 too is its own choice, so both are there to be tried.
    """
    meant = {"0.0.0.0": ["127.0.0.1"], "::": ["127.0.0.1", "::1"]}
    found = dict.fromkeys(host for address in addresses for host in meant.get(address, [address]))
    return sorted(found, key=lambda host: ":" in host)


def has_ipv6() -> bool:
    """Whether there is a ``::1`` to be asked."""
    try:
        with socket.socket(socket.AF_INET6) as trial:
            trial.bind(("::1", 0))
    except OSError:
        return False
    return True


class Idle:
    """Connections that are opened and left alone until :meth:`close`."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._open: list[socket.socket] = []

    def add(self) -> None:
        """Begin one more, without waiting for anybody."""
        connection = socket.socket(socket.AF_INET6 if ":" in self._host else socket.AF_INET)
        connection.setblocking(False)
        connection.connect_ex((self._host, self._port))
        self._open.append(connection)

    def request_where_connected(self, within_s: float) -> int:
        """Send a request on those that the kernel has connected; returns how many."""
        time.sleep(within_s)
        _, ready, _ = select.select([], self._open, [], 0)
        sent = 0
        for connection in ready:
            with contextlib.suppress(OSError):
                connection.send(request_bytes(self._host, self._port, PATH, close=True))
                sent += 1
        return sent

    def wait_for_answers(self, number: int, within_s: float) -> None:
        """Until so many have something to read, or for so long; each is closed then, as its client would do."""
        deadline = time.monotonic() + within_s
        answered = 0
        while time.monotonic() < deadline and answered < number:
            for connection in select.select(self._open, [], [], 0.02)[0]:
                connection.close()
                self._open.remove(connection)
                answered += 1

    def closed_by_server(self) -> int:
        """How many the server has closed or reset, of those that had connected."""
        ended = 0
        for connection in select.select(self._open, [], [], 0)[0]:
            try:
                ended += connection.recv(1, socket.MSG_PEEK) == b""
            except ConnectionResetError:
                ended += 1
            except OSError:
                continue
        return ended

    def close(self) -> None:
        for connection in self._open:
            connection.close()
        self._open.clear()
