"""The server under test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from harness.plan.bounds import choice, require

Ready = Literal["answered", "listening", "none"]
Allocator = Literal["system", "jemalloc", "mimalloc"]
MAX_BACKLOG = 2**31 - 1
"""listen(2) takes a C int."""


@dataclass(frozen=True, slots=True)
class Server:
    """The server under test: a name of the catalogue, or a command of the user's own."""

    name: str = "python"
    command: str | None = None
    """Shell-like command line with ``{port}``, and optionally ``{host}``, ``{backlog}`` and the other options."""
    backlog: int | None = None
    """What it is told to ask of listen(2); None: what its stack asks for by itself."""
    body_bytes: int = 12
    work_us: int = 0
    """Busy work for each request, microseconds."""
    workers: int | None = None
    nofile: int | None = None
    """Its limit of open files; None: the caller's."""
    nofile_hard: int | None = None
    """Up to where it may raise that limit by itself; None: not at all."""
    ready: Ready = "answered"
    stamps: bool = True
    """Whether the lab's servers say when they accepted each connection."""
    allocator: Allocator = "system"
    """What its malloc is; ``system``: whatever it comes with."""
    accept_loops: int | None = None
    """Tasks that accept; None: one, as its stack's documentation has it."""
    reuseport: bool = False
    """Whether each of them has a listening socket of its own (SO_REUSEPORT), and where it can a thread."""
    accept_batch: int | None = None
    """Connections that a loop accepts in a row, before it lets those be served; None: as its runtime has it."""
    fast_open_queue: int | None = None
    """TCP_FASTOPEN of its listening sockets: how many connections may wait that began with data; None: unasked."""
    defer_accept_s: int | None = None
    """TCP_DEFER_ACCEPT of its listening sockets, seconds; None: unasked."""

    def __post_init__(self) -> None:
        if self.command is not None:
            require(
                "{port}" in self.command or "{options}" in self.command,
                f"--command must contain {{port}}, found {self.command!r}; write e.g. 'myserver --port {{port}}'",
            )
        if self.backlog is not None:
            require(
                0 <= self.backlog <= MAX_BACKLOG,
                f"backlog must be 0 to {MAX_BACKLOG} or 'default', not {self.backlog}",
            )
        require(0 <= self.body_bytes <= 2**26, f"body bytes must be 0 to {2**26}, not {self.body_bytes}")
        require(0 <= self.work_us <= 10_000_000, f"work must be 0 to 10000000 µs, not {self.work_us}")
        require(self.workers is None or 1 <= self.workers <= 1024, f"workers must be 1 to 1024, not {self.workers}")
        require(self.nofile is None or self.nofile >= 16, f"nofile must be at least 16, not {self.nofile}")
        for name, number in (("fast open queue", self.fast_open_queue), ("defer accept", self.defer_accept_s)):
            require(number is None or 1 <= number <= MAX_BACKLOG, f"{name} must be 1 to {MAX_BACKLOG}, not {number}")
        if self.nofile_hard is not None:
            fits = self.nofile is not None and self.nofile <= self.nofile_hard
            require(fits, f"nofile hard, {self.nofile_hard}, goes with a nofile that is not above it")
        choice("ready", self.ready, Ready)
        choice("allocator", self.allocator, Allocator)
        for name in ("accept_loops", "accept_batch"):
            value = getattr(self, name)
            require(value is None or 1 <= value <= 1024, f"{name.replace('_', ' ')} must be 1 to 1024, not {value}")
        require(isinstance(self.reuseport, bool), f"reuseport must be true or false, not {self.reuseport!r}")
        require(
            not self.reuseport or self.accept_loops is not None,
            "--reuseport gives each accept loop a listener of its own; say how many with --accept-loops",
        )
