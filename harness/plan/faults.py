"""What is done to the server or the clients on purpose."""

from __future__ import annotations

from dataclasses import dataclass

from harness.plan.option import check, option, require


@dataclass(frozen=True, slots=True)
class Faults:
    """What is done to the server or the clients on purpose.

    >>> Faults(stall_ms=1500).stall_ms
    1500
    """

    stall_ms: float | None = option(None, "stop the server from before the first connect until D ms after", unit="ms")
    client_pause_ms: float | None = option(None, "stop the agents for D ms when half the clients tried", unit="ms")
    client_nofile: int | None = option(None, "the agents' limit of open files (default: all there are)", low=16)
    syn_loss: float | None = option(None, "lose this share of the SYNs on the way", unit="share", above=0, below=1)
    stall_loop_ms: float | None = option(None, "block the first accept loop until D ms after the start", unit="ms")
    stall_at_s: float | None = option(None, "begin the stall S seconds after the start instead", unit="s")
    hold_ms: float | None = option(None, "lose all packets of one connection for D ms", unit="ms")
    hold_at_s: float | None = option(None, "begin that S seconds after the start", unit="s")

    def __post_init__(self) -> None:
        check(self)
        require((self.hold_ms is None) == (self.hold_at_s is None), "--hold-ms and --hold-at-s belong together")
        require(
            self.stall_at_s is None or self.stall_ms is not None,
            "--stall-at-s says when a stall begins; --stall-ms says how long it is",
        )
