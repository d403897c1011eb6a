"""What the clients want."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Literal

from harness.plan.bounds import MAX_SECONDS, choice, require
from harness.plan.retries import Retries

SourcePorts = Literal["assigned", "kernel"]
MAX_REQUESTS = 2_000_000
"""Upper bound of planned requests in one trial: a storm is bounded in count."""
MAX_CLIENTS = 1_000_000


@dataclass(frozen=True, slots=True)
class Load:
    """What the clients want: ``clients`` × ``requests_per_client``, as a burst, a closed or an open loop.

    A burst issues everything at once; ``concurrency`` keeps that many clients under way (closed loop);
    ``rate`` issues that many requests a second whatever happens to them (open loop). With ``connections`` all requests
    go over a pool of so many kept ones, and wait in one queue while there is none free.
    """

    clients: int = 50_000
    requests_per_client: int = 1
    concurrency: int | None = None
    rate: float | None = None
    timeout_s: float = 10.0
    processes: int | None = None
    """Number of agents; None: as many as open files and cores ask for."""
    target_host: str = "127.0.0.1"
    path: str = "/"
    source_ports: SourcePorts = "assigned"
    fast_open: bool = False
    """Whether clients send their request in the SYN (TCP_FASTOPEN_CONNECT), once they have a cookie."""
    connections: int | None = None
    """Size of the pool that all clients share; None: a connection for each client."""
    spread_ms: float = 0.0
    """The pool's first connections are opened over this long, each at a random moment."""
    http2: bool = False
    """HTTP/2 with prior knowledge: requests share a connection at the same time."""
    retries: Retries = field(default_factory=Retries)

    def __post_init__(self) -> None:
        require(1 <= self.clients <= MAX_CLIENTS, f"clients must be 1 to {MAX_CLIENTS}, not {self.clients}")
        require(
            self.requests_per_client >= 1, f"requests per client must be at least 1, not {self.requests_per_client}"
        )
        require(
            self.planned <= MAX_REQUESTS,
            f"clients × requests per client is {self.planned}; one trial has at most {MAX_REQUESTS} requests",
        )
        require(
            0 < self.timeout_s <= MAX_SECONDS,
            f"timeout must be above 0 and at most {MAX_SECONDS:g} s, not {self.timeout_s:g}",
        )
        require(
            self.concurrency is None or self.rate is None,
            "--concurrency (closed loop) and --rate (open loop) exclude each other; choose one",
        )
        if self.concurrency is not None:
            require(
                1 <= self.concurrency <= self.clients,
                f"concurrency must be 1 to clients ({self.clients}), not {self.concurrency}",
            )
        if self.rate is not None:
            require(0 < self.rate <= 1e6, f"rate must be above 0 and at most 1000000, not {self.rate:g}")
            seconds = self.planned / self.rate
            require(
                seconds <= MAX_SECONDS,
                f"{self.planned} requests at {self.rate:g}/s take {seconds:.0f} s; {MAX_SECONDS:g} s are the most",
            )
        if self.processes is not None:
            most = min(self.concurrency or self.places, self.clients, 256)
            require(1 <= self.processes <= most, f"processes must be 1 to {most} for this load, not {self.processes}")
        self._check_pool()
        choice("target host", self.target_host, Literal["127.0.0.1", "::1", "localhost"])
        require(
            bool(re.fullmatch(r"/[!-~]*", self.path)),
            f"path must start with / and hold visible ASCII only, not {self.path!r}",
        )
        choice("source ports", self.source_ports, SourcePorts)
        require(isinstance(self.fast_open, bool), f"fast open must be true or false, not {self.fast_open!r}")

    def _check_pool(self) -> None:
        if self.connections is not None:
            require(
                1 <= self.connections <= self.planned,
                f"connections must be 1 to the number of requests ({self.planned}), not {self.connections}",
            )
        require(
            not (self.pooled and self.concurrency is not None),
            "--concurrency cannot be joined with --connections or --http2: the pool says how many are under way",
        )
        require(0 <= self.spread_ms <= MAX_SECONDS * 1000, f"spread must be 0 to 600000 ms, not {self.spread_ms:g}")
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
