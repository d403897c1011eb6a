"""Ports that a server under test can have."""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Sequence

from harness.errors import MachineError
from harness.machine.listeners import listeners

PRIVATE_PORT = 8080
"""The server's in a private network, where nobody else listens."""
SHARED_PORTS = range(8100, 10_000)
"""Below the agents' source ports and below the range that the kernel hands out."""


def ports_in_use() -> list[int]:
    """Ports that somebody listens on in this network; none where the kernel does not tell."""
    with contextlib.suppress(OSError):
        return [found.port for found in listeners()]
    return []


def free_port(in_use: Sequence[int]) -> int:
    """A port on the host's loopback that nobody listens on.

    Raises:
        MachineError: all are taken.
    """
    candidates = [port for port in SHARED_PORTS if port not in in_use]
    for port in random.sample(candidates, len(candidates)):
        with socket.socket() as trial, contextlib.suppress(OSError):
            trial.bind(("127.0.0.1", port))
            return port
    raise MachineError(f"no free port in {SHARED_PORTS.start}–{SHARED_PORTS.stop - 1} on loopback", "end some servers")
