"""What is done to the server or the clients on purpose."""

from __future__ import annotations

from dataclasses import dataclass

from harness.plan.bounds import MAX_SECONDS, require


@dataclass(frozen=True, slots=True)
class Faults:
    """What is done to the server or the clients on purpose."""

    stall_ms: float | None = None
    """The server is stopped from before the first connect until this long after it."""
    client_pause_ms: float | None = None
    """The agents are stopped for this long, as soon as half of the clients have tried to connect."""
    client_nofile: int | None = None
    """The agents' limit of open files, each; None: as many as this machine allows."""
    syn_loss: float | None = None
    """Share of SYNs that are lost on the way."""

    def __post_init__(self) -> None:
        for name, value in (("stall", self.stall_ms), ("client pause", self.client_pause_ms)):
            if value is not None:
                most = MAX_SECONDS * 1000
                require(0 < value <= most, f"{name} must be above 0 and at most {most:g} ms, not {value:g}")
        if self.client_nofile is not None:
            require(self.client_nofile >= 16, f"client nofile must be at least 16, not {self.client_nofile}")
        if self.syn_loss is not None:
            require(0 < self.syn_loss < 1, f"SYN loss is a share between 0 and 1, not {self.syn_loss:g}")
