"""Where a trial happens on this machine: which CPUs, which port."""

from __future__ import annotations

from collections.abc import Sequence

from harness.errors import MachineError
from harness.plan import Placement


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
