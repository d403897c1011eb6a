"""What the clients want."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Literal

from harness.plan.option import MAX_SECONDS, check, option, require
from harness.plan.retries import Retries

SourcePorts = Literal["assigned", "kernel"]
TargetHost = Literal["127.0.0.1", "::1", "localhost"]
Engine = Literal["auto", "native", "python"]
MAX_REQUESTS = 2_000_000
"""Upper bound of planned requests in one trial: a storm is bounded in count."""
MAX_CLIENTS = 1_000_000


@dataclass(frozen=True, slots=True)
class Load:
    """What the clients want: ``clients`` × ``requests_per_client``, as a burst, a closed or an open loop.

    A burst issues everything at once; ``concurrency`` keeps that many clients under way (closed loop);
    ``rate`` issues that many requests a second whatever happens to them (open loop). With ``connections`` all requests
    go over a pool of so many keep-alive ones, and wait in one queue while there is none free.

    >>> Load(clients=10, requests_per_client=5000).planned
    50000
    >>> Load(clients=4000, rate=2000).is_burst
    False
    """

    clients: int = option(50_000, "number of clients", low=1, high=MAX_CLIENTS)
    requests_per_client: int = option(1, "requests that each makes", low=1)
    concurrency: int | None = option(None, "closed loop: this many clients at a time", low=1)
    rate: float | None = option(None, "open loop: this many requests", above=0, high=1e6, unit="per second")
    timeout_s: float = option(10.0, "how long each request may take", flag="--timeout", unit="s")
    processes: int | None = option(None, "agents (default: as many as open files and cores ask for)", low=1, high=256)
    target_host: TargetHost = option("127.0.0.1", "where the load goes")
    path: str = option("/", "what is asked for")
    source_ports: SourcePorts = option("assigned", "assigned, or searched by the kernel")
    fast_open: bool = option(False, "requests in the SYN, once there is a cookie (TCP_FASTOPEN_CONNECT)")
    connections: int | None = option(
        None, "a pool of so many keep-alive connections for all clients (default: one per client)", low=1
    )
    spread_ms: float = option(0.0, "open the pool's first connections over D ms, not at once", unit="ms", low=0)
    http2: bool = option(False, "HTTP/2 with prior knowledge, many requests a connection")
    engine: Engine = option("auto", "what drives it (auto: native where it is built)")
    retries: Retries = field(default_factory=Retries)

    def __post_init__(self) -> None:
        check(self)
        require(
            self.planned <= MAX_REQUESTS,
            f"clients × requests per client is {self.planned}; one trial has at most {MAX_REQUESTS} requests",
        )
        require(
            self.concurrency is None or self.rate is None,
            "--concurrency (closed loop) and --rate (open loop) exclude each other; choose one",
        )
        require(
            self.concurrency is None or self.concurrency <= self.clients,
            f"--concurrency must be at most --clients ({self.clients}), not {self.concurrency}",
        )
        if self.rate is not None:
            seconds = self.planned / self.rate
            require(
                seconds <= MAX_SECONDS,
                f"{self.planned} requests at {self.rate:g}/s take {seconds:.0f} s; {MAX_SECONDS:g} s are the most",
            )
        if self.processes is not None:
            most = min(self.concurrency or self.places, self.clients, 256)
            require(self.processes <= most, f"--processes must be at most {most} for this load, not {self.processes}")
        self._check_pool()
        require(
            bool(re.fullmatch(r"/[!-~]*", self.path)),
            f"--path must start with / and hold visible ASCII only, not {self.path!r}",
        )

    def _check_pool(self) -> None:
        require(
            self.connections is None or self.connections <= self.planned,
            f"--connections must be at most the number of requests ({self.planned}), not {self.connections}",
        )
        require(
            not (self.pooled and self.concurrency is not None),
            "--concurrency cannot be joined with --connections or --http2: the pool says how many are under way",
        )
        require(self.pooled or not self.spread_ms, "--spread-ms is of the connections of a pool; use --connections")
        attempts = self.retries.attempts
        require(
            not (self.fast_open and (self.pooled or attempts > 1)),
            "--fast-open is built for plain storms only; leave --connections, --http2 and --attempts out",
        )
        require(
            not (self.http2 and attempts > 1),
            "--attempts with --http2 is not built: a failed attempt ends its connection, which others share",
        )
        require(
            self.most_connections <= MAX_REQUESTS,
            f"{self.planned} requests × {attempts} attempts; one trial has at most {MAX_REQUESTS} of them",
        )

    @property
    def planned(self) -> int:
        return self.clients * self.requests_per_client

    @property
    def is_burst(self) -> bool:
        return self.concurrency is None and self.rate is None

    @property
    def pooled(self) -> bool:
        """Whether requests wait for a connection in one queue, instead of each client having its own."""
        return self.connections is not None or self.http2

    @property
    def places(self) -> int:
        """How many connections there can be at a time: the pool's, or one for each client."""
        return self.clients if self.connections is None else self.connections

    @property
    def carries_one(self) -> bool:
        """Whether a connection carries one request and is closed."""
        return self.requests_per_client == 1 and not self.pooled

    @property
    def most_connections(self) -> int:
        """How many it can come to: at worst each attempt of each request needs a new one."""
        return self.planned * self.retries.attempts

    @property
    def connection_timeout_s(self) -> float | None:
        """How long after its reference time a connection is given up; None where it has several requests."""
        if not self.carries_one:
            return None
        return min(self.timeout_s, self.retries.attempt_timeout_s or self.timeout_s)

    @property
    def peak_in_flight(self) -> int:
        """The most connections that can be under way at once."""
        if self.pooled:
            return self.places
        if self.rate is not None:
            return min(self.clients, math.ceil(self.rate * self.timeout_s * 1.1))
        return self.clients if self.concurrency is None else self.concurrency
