"""A server that already serves, watched from outside: nothing is sent to it, and nothing of it is changed.

Every queue that belongs to it is looked at a hundred times a second, its processes less often, and the counters of its
namespace. What a sample holds has the names of ``samples.parquet``, so that the rules of episodes are those of a storm.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import MachineError
from harness.events.samples import COUNTER_FIELDS, NOT_SAMPLED, SERVER_FIELDS
from harness.machine.counters import read_counters
from harness.machine.listeners import Dump, Listener, sockets_of
from harness.witness.processes import Processes

SAMPLE_S, SERVER_S, COUNTERS_S, OWNERS_S = 0.01, 0.02, 0.05, 1.0
"""How often is looked at queues, processes, counters, and at who holds the sockets."""
KEPT_S = 60.0
"""For so long samples are kept: no longer an episode is told as one."""


@dataclass(slots=True)
class Watched:
    """One listening socket, with the processes that hold it."""

    listener: Listener
    pids: tuple[int, ...]
    """Empty where these are another user's: what they do is not seen then."""
    processes: Processes | None
    samples: list[Mapping[str, int | None]] = field(default_factory=list)
    """Of the last :data:`KEPT_S`, as ``samples.parquet`` has them; ``time_us`` from when the watch began."""
    told_us: int = -1
    """Until when episodes of a full queue were told."""


class Live:
    """``wanted`` says of a listener whether it is watched."""

    def __init__(self, wanted: Callable[[Listener], bool]) -> None:
        self._dump, self._wanted = Dump(), wanted
        self._begun = time.monotonic()
        self._due = dict.fromkeys((SERVER_S, COUNTERS_S, OWNERS_S), 0.0)
        self._counters: Mapping[str, int] = {}
        self.sockets: dict[int, Watched] = {}
        """By inode, those that listen now."""

    @property
    def counters(self) -> Mapping[str, int]:
        """Of the namespace, as they were last read."""
        return self._counters

    def run(self, seconds: float) -> None:
        """Look again and again, for so long."""
        end = time.monotonic() + seconds
        due = time.monotonic()
        while True:
            self.look()
            due = max(due + SAMPLE_S, time.monotonic())
            if due >= end:
                return
            time.sleep(due - time.monotonic() if due > time.monotonic() else 0)

    def look(self) -> None:
        """One sample of everything that is due."""
        now = time.monotonic()
        found = {one.inode: one for one in self._dump.read() if self._wanted(one)}
        if self._is_due(OWNERS_S, now) or found.keys() != self.sockets.keys():
            self._find_owners(found)
        server, counters = self._is_due(SERVER_S, now), self._is_due(COUNTERS_S, now)
        if counters:
            self._counters = read_counters()
        for inode, watched in self.sockets.items():
            watched.listener = found[inode]
            watched.samples.append(self._sample(watched, now, with_server=server, with_counters=counters))
            oldest_us = (now - self._begun - KEPT_S) * 1e6
            while watched.samples[0]["time_us"] < oldest_us:  # type: ignore[operator]  # the time is always there
                del watched.samples[0]

    def _sample(
        self, watched: Watched, now: float, *, with_server: bool, with_counters: bool
    ) -> Mapping[str, int | None]:
        processes = watched.processes
        files = processes.files() if processes else (NOT_SAMPLED, NOT_SAMPLED)
        server = processes.read(int(now * 1e9)) if processes and with_server else (NOT_SAMPLED,) * len(SERVER_FIELDS)
        counters = self._counters if with_counters else {}
        values = {
            "time_us": int((now - self._begun) * 1e6),
            "accept_queue": watched.listener.depth,
            "backlog": watched.listener.backlog,
            "listeners": len(self.sockets),
            "server_files": files[0],
            "server_files_limit": files[1],
            **dict(zip(SERVER_FIELDS, server, strict=True)),
            **{name: counters.get(name, NOT_SAMPLED) for name in COUNTER_FIELDS},
        }
        return {name: None if value == NOT_SAMPLED else value for name, value in values.items()}

    def _is_due(self, every_s: float, now: float) -> bool:
        due = now >= self._due[every_s]
        if due:
            self._due[every_s] = now + every_s
        return due

    def _find_owners(self, found: Mapping[int, Listener]) -> None:
        owners = owners_of(found) if found.keys() != self.sockets.keys() else None
        self.sockets = {
            inode: self.sockets.get(inode) or _watched(one, (owners or {}).get(inode, ()))
            for inode, one in found.items()
        }


def on_port(port: int) -> Callable[[Listener], bool]:
    """Sockets that listen on a port. Raises: MachineError: there is none in this namespace."""
    there = Dump().read()
    if not any(one.port == port for one in there):
        ports = ", ".join(str(number) for number in sorted({one.port for one in there})) or "none"
        raise MachineError(
            f"nobody listens on port {port} in this network namespace; ports that are listened on: {ports}",
            "of a container or another namespace, name the process: --pid",
        )
    return lambda one: one.port == port


def of_process(pid: int) -> Callable[[Listener], bool]:
    """Sockets that a process or its children hold. Raises: MachineError: it listens nowhere, or is another user's."""
    held = set().union(*map(sockets_of, family_of(pid)))
    if not any(one.inode in held for one in Dump().read()):
        raise MachineError(
            f"process {pid} and its children are not seen to listen", "see `ss -lntp`; of another user's it takes root"
        )
    return lambda one: one.inode in held or one.inode in set().union(*map(sockets_of, family_of(pid)))


def family_of(pid: int) -> Iterator[int]:
    """A process and all that it has started."""
    yield pid
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            yield from family_of(int(child))


def owners_of(inodes: Mapping[int, object]) -> dict[int, tuple[int, ...]]:
    """Inode → the processes that hold the socket, as far as they can be seen."""
    found: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*"):
        for inode in sockets_of(int(path.name)) & inodes.keys():
            found.setdefault(inode, []).append(int(path.name))
    return {inode: tuple(sorted(pids)) for inode, pids in found.items()}


def _watched(one: Listener, pids: Sequence[int]) -> Watched:
    return Watched(one, tuple(pids), Processes(pids) if pids else None)
