"""One server under test, or what stands before it, from its start to its end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from harness.errors import ServerError, printable
from harness.machine import children
from harness.machine.listeners import Listener, listening_on, of_processes
from harness.machine.usage import Usage
from harness.plan import Ready
from harness.servers import allocators, listener_options
from harness.servers.allocators import Found
from harness.servers.readiness import answers, unanswered

READY_WITHIN_S = 15.0
STOPPED_WITHIN_S = 5.0
BLOCKS_WITHIN_S = 0.1
"""How long an accept loop is given to block when it is told to; whether it did, its queue shows."""
LOG_TAIL_LINES, LOG_TAIL_BYTES = 8, 4096
_READY_LINE = re.compile(r"^ready \S+:\d+ (.+)$", re.MULTILINE)
_ALLOCATOR_LINE = re.compile(r"^allocator (.+)$", re.MULTILINE)
PROVED_WITHIN_S = 2.0
"""How long a server that was not waited for may take to show its allocator."""


class RunningServer:
    """A server's process group, in the folder of whoever asked for it. Its output goes straight to ``log``.

    Raises:
        ServerError: the program cannot be executed.
    """

    def __init__(
        self,
        argv: Sequence[str],
        log: Path,
        folder: Path,
        cpus: Sequence[int],
        files: tuple[int, int],
        environment: Mapping[str, str] | None = None,
        called: str = "the server",
    ) -> None:
        self._log = log
        self.called = called
        self._ready_on: int | None = None
        """The port on which it was ready."""
        self.ended_ns = 0
        """When it was first seen to have ended, CLOCK_MONOTONIC; 0 while it runs."""
        with log.open("wb") as output:
            try:
                self._process = children.start(
                    argv,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd=folder,
                    prepared=children.prepare(cpus, files),
                    environment=environment,
                )
            except OSError as error:
                raise ServerError(
                    f"cannot start {argv[0]!r}: {error.strerror}", "check the command, or `stormlab servers`"
                ) from error

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def log_name(self) -> str:
        return self._log.name

    @property
    def group(self) -> int:
        """The process group that serves: its first process's, or the one of what that left in the background."""
        if self._process.poll() is not None and not children.members(self.pid):
            for pid in children.adopted():
                with suppress(ProcessLookupError):
                    return os.getpgid(pid)
        return self.pid

    @property
    def exit_status(self) -> str | None:
        """How it ended, or None while it runs.

        One that went into the background, as daemons do, runs as long as something is left there; once it was ready,
        as long as that listens.
        """
        code = self._process.poll()
        if code is None or (code == 0 and self._in_background):
            return None
        self.ended_ns = self.ended_ns or time.monotonic_ns()
        if code >= 0:
            return f"exit status {code}"
        with suppress(ValueError):  # real-time signals have no names
            return f"killed by {signal.Signals(-code).name}"
        return f"killed by signal {-code}"

    @property
    def _in_background(self) -> bool:
        """Whether what its first process has left is still the server."""
        return bool(children.adopted()) and (self._ready_on is None or bool(self.listeners(self._ready_on)))

    @property
    def _processes(self) -> list[int]:
        return children.below([self.pid, *children.adopted()])

    def wait_until_ready(self, ready: Ready, host: str, port: int, path: str, *, http2: bool = False) -> None:
        """Wait until it can take the storm, in the sense of ``ready``.

        Raises:
            ServerError: it ended, or was not ready in time.
        """
        checks: dict[Ready, Callable[[], bool]] = {
            "answered": lambda: answers(host, port, path, http2=http2),
            "listening": lambda: bool(self.listeners(port)),
            "none": lambda: True,
        }
        deadline = time.monotonic() + READY_WITHIN_S
        while not checks[ready]():
            if self.exit_status is not None:
                raise ServerError(
                    f"{self.called} ended before it was ready: {self.exit_status}{self.last_words()}",
                    f"see {self._log.name}",
                )
            if time.monotonic() > deadline:
                seen = unanswered(host, port, path, self._listening())
                gone = "" if self._process.poll() is None else "; it went into the background: its first process ended"
                raise ServerError(
                    f"{self.called} was not ready ({ready}) on port {port} in {READY_WITHIN_S:g} s: {seen}{gone}"
                    f"{self.last_words()}",
                    "check that it uses {port} and {host}, or choose --ready listening or none",
                )
            time.sleep(0.02)
        if ready != "none":
            self._ready_on = port

    def listeners(self, port: int) -> list[Listener]:
        """Its listening sockets as the kernel sees them; none where there is none or the kernel does not say."""
        with suppress(OSError):
            return listening_on(port)
        return []

    def _listening(self) -> list[Listener]:
        """All sockets that its processes listen with."""
        with suppress(OSError):
            return of_processes(self._processes)
        return []

    def stall(self) -> None:
        """Stop the whole process group, and return once every thread of it has stopped.

        Raises:
            ServerError: it ended, or would not stop.
        """
        group = self.group
        children.signal_group(group, signal.SIGSTOP)
        deadline = time.monotonic() + STOPPED_WITHIN_S
        while not (seen := children.states(group)) or set(seen) - {"T", "Z", "X"}:
            if self.exit_status is not None or time.monotonic() > deadline:
                raise ServerError(f"the server did not stop when told to (thread states {seen})", "see server.log")
            time.sleep(0.001)

    def resume(self) -> None:
        children.signal_group(self.group, signal.SIGCONT)

    def block_loop(self) -> None:
        """Tell it to block the first of its accept loops, and give it a moment to do so."""
        os.kill(self.pid, signal.SIGUSR1)
        time.sleep(BLOCKS_WITHIN_S)

    def release_loop(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGUSR2)

    def end(self) -> None:
        children.end(self._process)

    def announced_version(self) -> str:
        """What it says of itself in its ready line, ``ready HOST:PORT VERSION``; empty where it says nothing."""
        return self._announced(_READY_LINE)

    def allocator(self, asked: str) -> Found:
        """What its processes show of the allocator they have; one that was asked for is given a moment to appear."""
        deadline = time.monotonic() + PROVED_WITHIN_S
        while True:
            found = allocators.found(self._processes, self._announced(_ALLOCATOR_LINE))
            if asked in ("system", found.allocator) or time.monotonic() > deadline or self.exit_status is not None:
                return found
            time.sleep(0.02)

    def set_listener_options(self, port: int, options: Mapping[str, int]) -> dict[str, int]:
        """Set TCP options of its listening sockets; what the kernel then says of them. Raises: MachineError."""
        return listener_options.set_options(self._processes, port, options)

    def usage(self) -> Usage:
        """What its processes have used until now."""
        return Usage.of(self._processes)

    def _announced(self, line: re.Pattern[str]) -> str:
        with self._log.open(errors="replace") as log:
            found = line.search(log.read(LOG_TAIL_BYTES))
        return printable(found[1]) if found else ""

    def last_words(self) -> str:
        """What its log ends with, behind a semicolon."""
        with self._log.open("rb") as log:
            log.seek(max(0, os.fstat(log.fileno()).st_size - LOG_TAIL_BYTES))
            # In characters that a terminal only shows: what it wrote is the server's.
            said = log.read().decode(errors="replace").splitlines()
            lines = [line for line in map(printable, said) if line]
        return "; its log ends: " + " | ".join(lines[-LOG_TAIL_LINES:]) if lines else "; its log is empty"
