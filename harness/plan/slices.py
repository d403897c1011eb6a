"""Which part of a load each agent drives, and from which source addresses and ports.

Source (address, port) pairs are assigned, not searched: the kernel's search for a free port takes 14 µs at first and
820 µs once half of the range is used, and ends at 28,232 connections. Loopback has 16 million addresses.
"""

from __future__ import annotations

import ipaddress
import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from harness.errors import MachineError
from harness.plan import Load, Retries

Pair = tuple[str, int]
"""A client's (address, port)."""
FILES_RESERVED = 64
"""Open files an agent needs beside its connections, generously."""
FIRST_SOURCE_V4 = ipaddress.IPv4Address("127.1.0.1")
FIRST_PORT, LAST_PORT = 10_240, 65_535


@dataclass(frozen=True)
class SourcePool:
    """The ports usable on each source address, and the addresses they are crossed with."""

    addresses: tuple[str, ...]
    ports: tuple[range, ...]

    def __len__(self) -> int:
        return len(self.addresses) * self.ports_per_address

    @property
    def ports_per_address(self) -> int:
        return sum(len(span) for span in self.ports)

    def pair(self, number: int) -> tuple[int, int]:
        """The (index of the address, port) of a connection's number; a number beyond the pool starts over."""
        ports = self._each_port
        address, offset = divmod(number, len(ports))
        return address % len(self.addresses), ports[offset]

    @cached_property
    def _each_port(self) -> list[int]:
        """One list instead of spans: adding up their lengths for each connection took 0.6 µs more."""
        return list(itertools.chain(*self.ports))


def source_pool(target: str, load: Load, ports_in_use: Sequence[int], first_address: int = 0) -> SourcePool:
    """A pair of its own for each connection that the load can come to, avoiding ports that somebody listens on.

    IPv4 sources are counted from :data:`FIRST_SOURCE_V4` + ``first_address``.

    Raises:
        MachineError: the address family has not that many (IPv6 loopback is a single address).
    """
    taken = sorted({port for port in ports_in_use if FIRST_PORT <= port <= LAST_PORT})
    starts = [FIRST_PORT, *(port + 1 for port in taken)]
    ends = [*taken, LAST_PORT + 1]
    spans = tuple(range(start, end) for start, end in zip(starts, ends, strict=True) if start < end)
    per_address = sum(len(span) for span in spans)
    if ":" in target:
        # With keep-alive it can come to more only where the server closes them, and then pairs start over.
        needed = load.places * load.retries.attempts
        if needed > per_address:
            raise MachineError(
                f"{needed} connections to {target} were asked for; its one source address has {per_address} ports",
                "use --target-host 127.0.0.1, which has many source addresses, or fewer clients or attempts",
            )
        return SourcePool((target,), spans)
    addresses = -(-load.most_connections // per_address)
    return SourcePool(tuple(str(FIRST_SOURCE_V4 + first_address + index) for index in range(addresses)), spans)


@dataclass(frozen=True, slots=True)
class Slice:
    """What one agent drives: every ``stride``-th client from ``first_client`` on.

    Strides keep the pacing of an open loop even: each agent has its share of every moment.
    """

    agent: int
    clients: int
    first_client: int
    stride: int
    requests_per_client: int
    concurrency: int | None
    rate: float | None
    planned_clients: int
    timeout_s: float
    target: str
    port: int
    path: str
    source: SourcePool | None
    """None: the kernel chooses."""
    cpus: tuple[int, ...]
    rows_path: str
    fast_open: bool = False
    pool: int | None = None
    """How many connections its requests share; None: each client has its own."""
    spread_ms: float = 0.0
    http2: bool = False
    retries: Retries = field(default_factory=Retries)

    @property
    def requests(self) -> int:
        return self.clients * self.requests_per_client

    @property
    def places(self) -> int:
        """How many connections it may have at a time."""
        return self.clients if self.pool is None else self.pool

    @property
    def carries_one(self) -> bool:
        """Whether a connection carries one request and is closed."""
        return self.requests_per_client == 1 and self.pool is None

    @property
    def one_each(self) -> bool:
        """Whether, moreover, each request has one connection: then its row is the request's."""
        return self.carries_one and self.retries.attempts == 1

    @property
    def connection_rows(self) -> int:
        """At worst every attempt needs a connection of its own, because the server closes after each answer."""
        return self.requests * self.retries.attempts

    @property
    def request_rows(self) -> int:
        return 0 if self.one_each else self.requests

    def pair(self, row: int) -> tuple[int, int]:
        """The (index of the source address, source port) of the connection in a row; different in all slices."""
        assert self.source is not None
        return self.source.pair(row * self.stride + self.agent)

    def to_json(self) -> dict[str, Any]:
        document = asdict(self)
        if self.source is not None:
            document["source"]["ports"] = [[span.start, span.stop] for span in self.source.ports]
        return document

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Slice:
        source = document["source"]
        if source is not None:
            source = SourcePool(tuple(source["addresses"]), tuple(range(*span) for span in source["ports"]))
        retries = Retries(**document["retries"])
        return cls(**{**document, "source": source, "cpus": tuple(document["cpus"]), "retries": retries})


def agents_needed(load: Load, client_cpus: int, files_limit: int, one_cpu: bool) -> int:
    """How many agents a load takes: as many as the limit of open files demands, and as half of the CPUs allow.

    Raises:
        MachineError: ``processes`` was asked for, and is too few for the limit of open files.
    """
    for_files = -(-load.peak_in_flight // max(1, files_limit - FILES_RESERVED))
    if load.processes is not None:
        if load.processes < for_files:
            raise MachineError(
                f"{load.peak_in_flight} connections at once were asked for with --processes {load.processes}; "
                f"the hard limit of open files, {files_limit}, lets a process have {files_limit - FILES_RESERVED}",
                f"use --processes {for_files} or leave it out",
            )
        return load.processes
    for_cpus = 1 if one_cpu else max(1, client_cpus // 2)
    return max(for_files, min(for_cpus, load.concurrency or min(load.places, load.clients)))


def cut(
    load: Load, agents: int, *, target: str, port: int, source: SourcePool | None, cpus: tuple[int, ...], folder: str
) -> list[Slice]:
    """Cut a load into one slice for each agent; every client is in exactly one."""
    slices = []
    for agent in range(agents):
        concurrency = None if load.concurrency is None else len(range(agent, load.concurrency, agents))
        slices.append(
            Slice(
                agent=agent,
                clients=len(range(agent, load.clients, agents)),
                first_client=agent,
                stride=agents,
                requests_per_client=load.requests_per_client,
                concurrency=concurrency,
                rate=load.rate,
                planned_clients=load.clients,
                timeout_s=load.timeout_s,
                target=target,
                port=port,
                path=load.path,
                source=source,
                cpus=cpus,
                rows_path=f"{folder}/agent-{agent}.rows",
                fast_open=load.fast_open,
                pool=len(range(agent, load.places, agents)) if load.pooled else None,
                spread_ms=load.spread_ms,
                http2=load.http2,
                retries=load.retries,
            )
        )
    return slices
