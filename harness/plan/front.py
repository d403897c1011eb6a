"""What stands before the server, as a plan says it: a load balancer that the storm meets first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from harness.plan.option import check, declared, option, require

FrontName = Literal["none", "haproxy", "nginx"]
RateStatus = Literal[429, 503]
"""What a rate limit may answer, honest words for no: too many requests (RFC 6585), service unavailable (RFC 9110)."""


@dataclass(frozen=True, slots=True)
class Front:
    """A load balancer between clients and server. What is not asked for is as the program comes.

    ``maxconn``: of HAProxy the others wait in its listener's queue; of nginx it is ``worker_connections`` of each
    worker, in which those to the server count too. Beyond ``server_maxconn`` HAProxy keeps a queue; nginx turns away
    (502).
    """

    OPTION_PREFIX: ClassVar[str] = "front_"

    name: FrontName = option("none", "haproxy or nginx before the server, started and ended with it", name="front")
    backlog: int | None = option(None, "what it asks of listen(2) (default: its own)", low=0, high=2**31 - 1)
    maxconn: int | None = option(
        None, "connections at a time (nginx: of each worker, both sides)", low=1, high=2**20, unit="connections"
    )
    workers: int | None = option(None, "HAProxy's threads, nginx's processes (default: its own)", low=1, high=64)
    server_maxconn: int | None = option(
        None, "requests that are at the server at a time", low=1, high=2**20, unit="requests"
    )
    queue_s: float | None = option(None, "how long one may wait for that in HAProxy (then 503)", unit="s")
    reuse: bool = option(False, "keep-alive connections to the server, shared by all clients")
    rate: float | None = option(None, "let so many requests through", low=1, high=10**6, unit="per second")
    rate_status: RateStatus = option(429, "what those beyond are told")

    def __post_init__(self) -> None:
        check(self)
        asked = [one.flag for one in declared(Front) if getattr(self, one.field) != one.default]
        require(
            self.name != "none" or not asked,
            f"{', '.join(asked)}: there is nothing before the server; use --front haproxy",
        )
        require(
            self.queue_s is None or (self.name == "haproxy" and self.server_maxconn is not None),
            "--front-queue-s is of HAProxy's queue before a server with --front-server-maxconn; nginx has none",
        )
        require(
            self.rate is None or float(self.rate).is_integer(),
            f"--front-rate must be a whole number, which is what both programs count in, not {self.rate}",
        )
        require(self.rate is not None or self.rate_status == 429, "--front-rate-status goes with --front-rate")

    @property
    def asked(self) -> bool:
        return self.name != "none"
