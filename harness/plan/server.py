"""The server under test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from harness.plan.option import check, option, require

Ready = Literal["answered", "listening", "none"]
Allocator = Literal["system", "jemalloc", "mimalloc"]
MAX_BACKLOG = 2**31 - 1
"""listen(2) takes a C int."""


@dataclass(frozen=True, slots=True)
class Server:
    """The server under test: a name of the catalogue, or a command of the user's own.

    >>> Server("hyper", backlog=4096).backlog
    4096
    >>> Server(command="./my-server --port {port}").stamps
    True
    """

    name: str = option("python", "a server of the catalogue", name="server")
    command: str | None = option(None, "a server of your own: 'CMD … {port}', also {host}, {backlog}, …")
    backlog: int | None = option(
        None, "what it asks of listen(2); default: what its stack asks for by itself", low=0, high=MAX_BACKLOG
    )
    body_bytes: int = option(12, "length of its answers' bodies", low=0, high=2**26, unit="bytes")
    work_us: int = option(0, "busy work for each request", low=0, high=10_000_000, unit="µs")
    workers: int | None = option(
        None, "threads or processes (default: its runtime's own choice)", low=1, high=1024, unit="workers"
    )
    nofile: int | None = option(None, "its limit of open files (default: yours)", low=16, unit="files")
    nofile_hard: int | None = option(
        None, "how far it may raise that by itself (default: not at all)", low=16, unit="files"
    )
    ready: Ready = option("answered", "the storm begins when it answered a request, is listening, or at once")
    stamps: bool = option(True, "no accept times from the server")
    allocator: Allocator = option("system", "its malloc; system: whatever it comes with")
    accept_loops: int | None = option(None, "tasks that accept (default: one); hyper, tokio, go", low=1, high=1024)
    reuseport: bool = option(False, "each of them with a listener of its own (SO_REUSEPORT)")
    accept_batch: int | None = option(None, "accept at most so many in a row; hyper, tokio", low=1, high=1024)
    fast_open_queue: int | None = option(None, "TCP_FASTOPEN of its listening sockets", low=1, high=MAX_BACKLOG)
    defer_accept_s: int | None = option(
        None, "TCP_DEFER_ACCEPT of its listening sockets", low=1, high=MAX_BACKLOG, unit="s"
    )

    def __post_init__(self) -> None:
        check(self)
        require(
            self.command is None or "{port}" in self.command or "{options}" in self.command,
            f"--command must contain {{port}}, found {self.command!r}; write e.g. 'myserver --port {{port}}'",
        )
        require("\0" not in (self.command or ""), f"--command cannot hold a zero byte, as {self.command!r} does")
        require(
            self.nofile_hard is None or (self.nofile is not None and self.nofile <= self.nofile_hard),
            f"--nofile-hard {self.nofile_hard} goes with a --nofile that is not above it",
        )
        require(
            not self.reuseport or self.accept_loops is not None,
            "--reuseport gives each accept loop a listener of its own; say how many with --accept-loops",
        )
