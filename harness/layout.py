"""Where a trial happens on this machine: which CPUs, which port."""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Sequence

from harness.errors import MachineError
from harness.plan import Placement
from harness.probe.listener import listeners

PRIVATE_PORT = 8080
"""The server's in a private network, where nobody else listens."""
SHARED_PORTS = range(8100, 10_000)
"""Below the agents' source ports and below the range that the kernel hands out."""


def place(
    placement: Placement, usable: Sequence[int], *, one_client_cpu: bool
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(CPUs of the server, CPUs of the clients).

    In a stalled burst all agents share one CPU: SYNs that arrive from several at once may each pass the test of the
    accept queue, and then more than backlog + 1 get in.

    Raises:
        MachineError: CPUs were asked for that are not there.
    """
    for flag, asked in (("--server-cpus", placement.server_cpus), ("--client-cpus", placement.client_cpus)):
        if asked is not None and (not asked or not set(asked) <= set(usable)):
            raise MachineError(
                f"{flag} {','.join(map(str, asked))} was asked for; usable here are {','.join(map(str, usable))}",
                "choose among those",
            )
    server, clients = placement.server_cpus, placement.client_cpus
    if placement.cpu == "disjoint":
        half = usable[: len(usable) // 2]
        server = server or tuple(half if clients is None else (cpu for cpu in usable if cpu not in clients))
        clients = clients or tuple(cpu for cpu in usable if cpu not in server)
        if not server or not clients or set(server) & set(clients):
            raise MachineError(
                f"--cpu disjoint was asked for; usable here are {','.join(map(str, usable))}, "
                "which leaves none for one of the two",
                "use --cpu shared, or CPU lists that do not overlap",
            )
    server, clients = server or tuple(usable), clients or tuple(usable)
    if one_client_cpu and placement.client_cpus is None:
        clients = clients[-1:]
    return server, clients


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
