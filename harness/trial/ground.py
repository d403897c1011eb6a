"""The ground of a trial, prepared before anything is started on it: its network, addresses, CPUs and slices."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import MachineError
from harness.machine import host, namespace
from harness.machine.namespace import Isolation
from harness.machine.ports import PRIVATE_PORT, free_port, ports_in_use
from harness.plan import Placement, Trial
from harness.plan.slices import Slice, agents_needed, cut, source_pool

LOOPBACK_SOURCES = 2**24 - 2**17
"""Of the addresses 127.1.0.1 to 127.255.255.255, as many as leave room for any load after them."""


@dataclass(frozen=True, slots=True)
class Network:
    """The network that a trial has: whether to itself, and with which settings."""

    isolation: Isolation
    sysctls: dict[str, str]

    @property
    def isolated(self) -> bool:
        return self.isolation.isolated

    def to_json(self) -> dict[str, Any]:
        """As the manifest has it."""
        return {
            "release": os.uname().release,
            "isolated": self.isolated,
            "not_isolated_because": self.isolation.reason or None,
            "tick_us": host.tick_us(),
            "sysctls": self.sysctls,
        }


def enter_network(trial: Trial) -> Network:
    """Move this process into a private network, if it may.

    Raises:
        MachineError: settings were asked for, and there is no network of one's own to set them in.
    """
    settings = namespace.read_settings()
    isolation = namespace.enter()
    if trial.kernel.sysctls and not isolation.isolated:
        raise MachineError(
            f"--sysctl was asked for; there is no private namespace to set it in: {isolation.reason}",
            "allow user namespaces or run as root; see `stormlab doctor`",
        )
    namespace.set_private(dict(trial.kernel.sysctls))
    own = namespace.read_settings()
    kept = {
        key: value
        for key, value in own.items()
        if key.startswith(("net.ipv4.tcp_", "net.ipv4.ip_local", "net.core.somaxconn"))
    }
    host_only = {key: settings[key] for key in namespace.HOST_ONLY if key in settings}
    return Network(isolation, {**kept, **host_only})


@dataclass(frozen=True, slots=True)
class Ground:
    """Where server and agents meet, on which CPUs, and who drives what."""

    target: str
    port: int
    """Where the storm knocks."""
    server_port: int
    """The same, unless something stands before the server."""
    server_cpus: tuple[int, ...]
    client_cpus: tuple[int, ...]
    slices: list[Slice]

    def to_json(self) -> dict[str, Any]:
        """As the manifest has it."""
        overlap = set(self.server_cpus) & set(self.client_cpus)
        return {
            "target_address": self.target,
            "port": self.port,
            "cpu": {
                "regime": "shared" if overlap else "disjoint",
                "server": self.server_cpus,
                "clients": self.client_cpus,
            },
            "agents_planned": len(self.slices),
            "slices": [slice_.to_json() for slice_ in self.slices],
        }


def lay_out(trial: Trial, *, isolated: bool, port: int | None, folder: Path) -> Ground:
    """Decide addresses, CPUs and slices, and the port where it is not given; ``folder`` is for the rows.

    Raises:
        MachineError: this machine has not the CPUs, ports or open files that were asked for.
    """
    load = trial.load
    in_use = ports_in_use()
    if port is None:
        port = PRIVATE_PORT if isolated else free_port(in_use)
    target = str(socket.getaddrinfo(load.target_host, port, type=socket.SOCK_STREAM)[0][4][0])
    server_port = port
    if trial.front.asked:
        server_port = port + 1 if isolated else free_port([port, *in_use])
    faults = trial.faults
    stalled_burst = faults.stall_ms is not None and faults.stall_at_s is None and load.is_burst
    server_cpus, client_cpus = place(trial.placement, host.usable_cpus(), one_client_cpu=stalled_burst)
    source = None
    if load.source_ports == "assigned":
        # On the host's loopback a former storm's ports may still be in TIME_WAIT: begin somewhere else each time.
        begin = 0 if isolated else random.randrange(LOOPBACK_SOURCES)
        source = source_pool(target, load, [port, server_port, *in_use], first_address=begin)
    agents = agents_needed(load, len(client_cpus), host.files_limit()[1], one_cpu=len(client_cpus) == 1)
    slices = cut(load, agents, target=target, port=port, source=source, cpus=client_cpus, folder=str(folder))
    return Ground(target, port, server_port, server_cpus, client_cpus, slices)


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
