"""What stands before the server, as a plan says it: a load balancer that the storm meets first."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from harness.plan.bounds import MAX_SECONDS, choice, require

FrontName = Literal["none", "haproxy", "nginx"]
RATE_STATUSES = (429, 503)
"""What a rate limit may answer, honest words for no: too many requests (RFC 6585), service unavailable (RFC 9110)."""


@dataclass(frozen=True, slots=True)
class Front:
    """A load balancer between clients and server. What is not asked for is as the program comes."""

    name: FrontName = "none"
    backlog: int | None = None
    """What it asks of listen(2); None: what it does by itself."""
    maxconn: int | None = None
    """HAProxy: connections of clients at a time; the others wait in its listener's queue. nginx: ``worker_connections``
    of each worker, in which those to the server count too."""
    workers: int | None = None
    """Threads of HAProxy, processes of nginx."""
    server_maxconn: int | None = None
    """Requests that are at the server at a time. Of the others, HAProxy keeps a queue; nginx turns them away (502)."""
    queue_s: float | None = None
    """HAProxy: how long a request may be in that queue until it is turned away (503)."""
    reuse: bool = False
    """Whether requests of different clients share kept connections to the server."""
    rate: float | None = None
    """Requests a second that are let through."""
    rate_status: int = 429
    """What those beyond are told."""

    def __post_init__(self) -> None:
        choice("front", self.name, FrontName)
        asked = [item.name for item in fields(self) if getattr(self, item.name) != item.default]
        flags = ", ".join("--front-" + name.replace("_", "-") for name in asked)
        require(self.name != "none" or not asked, f"{flags}: there is nothing before the server; use --front haproxy")
        for name, least, most in (
            ("backlog", 0, 2**31 - 1),
            ("maxconn", 1, 2**20),
            ("workers", 1, 64),
            ("server_maxconn", 1, 2**20),
            ("rate", 1, 10**6),
        ):
            value = getattr(self, name)
            flag = "--front-" + name.replace("_", "-")
            require(value is None or least <= value <= most, f"{flag} must be {least} to {most}, not {value}")
        require(isinstance(self.reuse, bool), f"--front-reuse must be true or false, not {self.reuse!r}")
        require(
            self.rate is None or float(self.rate).is_integer(),
            f"--front-rate must be a whole number, which is what both programs count in, not {self.rate}",
        )
        if self.queue_s is not None:
            require(
                0 < self.queue_s <= MAX_SECONDS,
                f"--front-queue-s must be above 0 and at most {MAX_SECONDS:g}, not {self.queue_s:g}",
            )
            require(
                self.name == "haproxy" and self.server_maxconn is not None,
                "--front-queue-s is of HAProxy's queue before a server with --front-server-maxconn; nginx has none",
            )
        require(self.rate_status in RATE_STATUSES, f"--front-rate-status is 429 or 503, not {self.rate_status}")
        require(self.rate is not None or self.rate_status == 429, "--front-rate-status goes with --front-rate")

    @property
    def asked(self) -> bool:
        return self.name != "none"
