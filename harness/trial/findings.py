"""What the phases of a trial found, a value each, and the manifest that is put together from them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Generic, Self, TypeVar

from harness.machine.usage import Usage
from harness.servers.allocators import Found as Allocator
from harness.servers.front.running import RunningFront
from harness.servers.process import RunningServer
from harness.trial.ground import Ground, Network


@dataclass(frozen=True, slots=True)
class Listening:
    """The listening sockets of a process, as the kernel has them."""

    backlog_effective: int
    listeners: int
    """With SO_REUSEPORT each has a queue of its own; an address of the other family is not called."""

    @classmethod
    def of(cls, process: RunningServer, port: int) -> Listening | None:
        """None where it does not listen (yet): one that was not waited for may not before the storm."""
        found = process.listeners(port)
        return cls(found[0].backlog, sum(one.address == found[0].address for one in found)) if found else None


@dataclass(frozen=True, slots=True)
class Used:
    """What a process used in the storm, and how it ended, if it did."""

    storm_cpu_s: float | None
    peak_rss_bytes: int | None
    ended: str | None
    ended_us: int | None
    """When that was seen, from the run's start."""

    @classmethod
    def since(cls, before: Usage, process: RunningServer, start_ns: int) -> Used:
        now = process.usage()
        cpu_s = None if now.cpu_s is None or before.cpu_s is None else now.cpu_s - before.cpu_s
        ended = process.exit_status
        ended_us = None if ended is None else (process.ended_ns - start_ns) // 1000
        return cls(cpu_s, now.peak_rss_bytes, ended, ended_us)

    def to_json(self) -> dict[str, Any]:
        lacking = [("storm_cpu_s", None), ("ended_us", None)]
        return {name: value for name, value in asdict(self).items() if (name, value) not in lacking}


Process = TypeVar("Process", bound=RunningServer, covariant=True)


@dataclass(frozen=True, slots=True)
class Running(Generic[Process]):
    """The server, or the load balancer before it, and what was seen of it."""

    process: Process
    port: int
    listening: Listening | None = None
    used: Used | None = None

    def looked_at(self) -> Self:
        """With the sockets that it listens on now."""
        return replace(self, listening=Listening.of(self.process, self.port))

    def after_storm(self, before: Usage, start_ns: int) -> Self:
        """With what it has used since ``before``."""
        seen = self if self.listening is not None else self.looked_at()
        return replace(seen, used=Used.since(before, self.process, start_ns))

    def to_json(self) -> dict[str, Any]:
        listening = {} if self.listening is None else asdict(self.listening)
        return {"pid": self.process.pid, **listening, **({} if self.used is None else self.used.to_json())}


@dataclass(frozen=True, slots=True)
class Shown:
    """What the server shows of itself when it is ready."""

    version: str
    allocator: Allocator

    @classmethod
    def of(cls, server: RunningServer, allocator: str, version: str) -> Shown:
        """Of a server that is to have this allocator; its ``version`` is empty where only itself knows it."""
        return cls(version or server.announced_version(), server.allocator(allocator))

    def to_json(self) -> dict[str, Any]:
        found = self.allocator
        return {"version": self.version, "allocator": found.allocator, "allocator_evidence": found.evidence}


@dataclass(frozen=True, slots=True)
class Settled:
    """What was left of the server when it had been watched for a while longer."""

    settled_rss_bytes: int | None
    ended: str | None

    def to_json(self) -> dict[str, Any]:
        ended = {} if self.ended is None else {"ended": self.ended}
        return {"settled_rss_bytes": self.settled_rss_bytes, **ended}


@dataclass(frozen=True, slots=True)
class Counting:
    """Whether packets are counted in this trial."""

    no_ledger_because: str | None


@dataclass(frozen=True, slots=True)
class Stormed:
    """What was counted from the storm's start to its end, and when it was disturbed."""

    counters: Mapping[str, int]
    front_counters: Mapping[str, int] | None
    disturbed: Mapping[str, Any]
    """By key of the manifest, as :class:`harness.trial.disturbances.Disturbance` notes them."""


@dataclass(slots=True)
class Findings:
    """What is known so far; what no phase has found yet is None."""

    planned: Mapping[str, Any]
    """The manifest as the trial's caller left it."""
    network: Network | None = None
    ground: Ground | None = None
    files: tuple[int, int] | None = None
    """(soft, hard) limit of open files with which the server is started."""
    server: Running[RunningServer] | None = None
    shown: Shown | None = None
    listener_options: Mapping[str, int] | None = None
    front: Running[RunningFront] | None = None
    agent_pids: list[int] | None = None
    counting: Counting | None = None
    start_ns: int | None = None
    stormed: Stormed | None = None
    settled: Settled | None = None
    witnesses: Mapping[str, Any] = field(default_factory=dict)
    """What those that watched said of themselves, by key of the manifest."""

    @property
    def running(self) -> list[Running[RunningServer]]:
        """The server, and what is before it; the storm meets the last of them."""
        return [one for one in (self.server, self.front) if one is not None]

    def manifest(self) -> dict[str, Any]:
        """All of it, as the run's folder keeps it while the trial is under way and afterwards."""
        found = dict(self.planned)
        if self.network is not None:
            found["kernel"] = self.network.to_json() | {"counters": {}}
        if self.ground is not None:
            found |= self.ground.to_json() | {"supervisor_pid": os.getpid()}
        if self.files is not None:
            asked = {"backlog_requested": found["plan"]["server"]["backlog"], "nofile": self.files[0]}
            found["status"] = "running"
            found["server"] = found["server"] | asked | dict.fromkeys(("backlog_effective", "allocator", "pid"))
            for part in (self.server, self.shown, self.settled):
                found["server"] |= {} if part is None else part.to_json()
            if self.listener_options is not None:
                found["server"]["listener_options"] = self.listener_options
        if self.front is not None:
            found["front"] = self.front.process.to_json() | self.front.to_json()
        if self.agent_pids is not None:
            found["agent_pids"] = self.agent_pids
        if self.counting is not None:
            found |= asdict(self.counting)
        if self.start_ns is not None:
            found["start_ns"] = self.start_ns
        if self.stormed is not None:
            found["kernel"]["counters"] = self.stormed.counters
            found |= self.stormed.disturbed
            if self.stormed.front_counters is not None:
                found["front"]["counters"] = self.stormed.front_counters
        return {**found, **self.witnesses}
