"""What is done to the server or the clients on purpose."""

from __future__ import annotations

from dataclasses import dataclass

from harness.plan.bounds import MAX_SECONDS, require


@dataclass(frozen=True, slots=True)
class Faults:
    """What is done to the server or the clients on purpose."""

    stall_ms: float | None = None
    """The server is stopped from before the first connect, or from ``stall_at_s`` on, for this long."""
    client_pause_ms: float | None = None
    """The agents are stopped for this long, as soon as half of the clients have tried to connect."""
    client_nofile: int | None = None
    """The agents' limit of open files, each; None: as many as this machine allows."""
    syn_loss: float | None = None
    """Share of SYNs that are lost on the way."""
    stall_at_s: float | None = None
    """When the stall begins, seconds from the start; None: before the first connect."""
    hold_ms: float | None = None
    """One connection's packets are lost for this long, from ``hold_at_s`` on."""
    hold_at_s: float | None = None

    def __post_init__(self) -> None:
        for name, value in (
            ("stall", self.stall_ms),
            ("client pause", self.client_pause_ms),
            ("hold", self.hold_ms),
        ):
            if value is not None:
                most = MAX_SECONDS * 1000
                require(0 < value <= most, f"{name} must be above 0 and at most {most:g} ms, not {value:g}")
        if self.client_nofile is not None:
            require(self.client_nofile >= 16, f"client nofile must be at least 16, not {self.client_nofile}")
        if self.syn_loss is not None:
            require(0 < self.syn_loss < 1, f"SYN loss is a share between 0 and 1, not {self.syn_loss:g}")
        for name, value in (("stall", self.stall_at_s), ("hold", self.hold_at_s)):
            if value is not None:
                most = MAX_SECONDS
                require(0 < value <= most, f"a {name} begins above 0 and at most {most:g} s in, not {value:g}")
        require((self.hold_ms is None) == (self.hold_at_s is None), "--hold-ms and --hold-at-s belong together")
        if self.stall_at_s is not None:
            require(self.stall_ms is not None, "--stall-at-s says when a stall begins; --stall-ms says how long it is")
