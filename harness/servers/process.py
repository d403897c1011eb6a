"""One server under test, from its start to its end."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import httptools

from harness import children
from harness.errors import ServerError
from harness.load.http1 import Answer, request_bytes
from harness.plan import Ready
from harness.probe.listener import Listener, listener

READY_WITHIN_S = 15.0
STOPPED_WITHIN_S = 5.0
LOG_TAIL_LINES = 8


class RunningServer:
    """A server's process group. Its output goes straight to ``log``: nothing to read, nothing to fill up.

    Raises:
        ServerError: the program cannot be executed.
    """

    def __init__(self, argv: Sequence[str], log: Path, cpus: Sequence[int], files: tuple[int, int]) -> None:
        self._log = log
        with log.open("wb") as output:
            try:
                self._process = children.start(
                    argv, stdout=output, stderr=subprocess.STDOUT, prepared=children.prepare(cpus, files)
                )
            except OSError as error:
                raise ServerError(
                    f"cannot start {argv[0]!r}: {error.strerror}", "check the command, or `stormlab servers`"
                ) from error

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_status(self) -> str | None:
        """How it ended, or None while it runs."""
        code = self._process.poll()
        if code is None:
            return None
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"

    def wait_until_ready(self, ready: Ready, host: str, port: int, path: str) -> None:
        """Wait until it can take the storm, in the sense of ``ready``.

        Raises:
            ServerError: it ended, or was not ready in time.
        """
        checks: dict[Ready, Callable[[], bool]] = {
            "answered": lambda: _answers(host, port, path),
            "listening": lambda: self.listener(port) is not None,
            "none": lambda: True,
        }
        deadline = time.monotonic() + READY_WITHIN_S
        while not checks[ready]():
            if self.exit_status is not None:
                raise ServerError(
                    f"the server ended before it was ready: {self.exit_status}{self._last_words()}", "see server.log"
                )
            if time.monotonic() > deadline:
                raise ServerError(
                    f"the server was not ready ({ready}) on port {port} in {READY_WITHIN_S:g} s{self._last_words()}",
                    "check that it uses {port} and {host}, or choose --ready listening or none",
                )
            time.sleep(0.02)

    def listener(self, port: int) -> Listener | None:
        """Its listening socket as the kernel sees it; None where there is none or the kernel does not say."""
        with contextlib.suppress(OSError):
            return listener(port)
        return None

    def stall(self) -> None:
        """Stop the whole process group, and return once every thread of it has stopped.

        Raises:
            ServerError: it ended, or would not stop.
        """
        os.killpg(self.pid, signal.SIGSTOP)
        deadline = time.monotonic() + STOPPED_WITHIN_S
        while not (seen := children.states(self.pid)) or set(seen) - {"T", "Z", "X"}:
            if self.exit_status is not None or time.monotonic() > deadline:
                raise ServerError(f"the server did not stop when told to (thread states {seen})", "see server.log")
            time.sleep(0.001)

    def resume(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGCONT)

    def end(self) -> None:
        children.end(self._process)

    def ready_line(self) -> list[str]:
        """The words of ``ready HOST:PORT VERSION``, where the server printed it."""
        for line in self._log.read_text(errors="replace").splitlines():
            if line.startswith("ready "):
                return line.split(maxsplit=2)
        return []

    def _last_words(self) -> str:
        lines = [line for line in self._log.read_text(errors="replace").splitlines() if line.strip()]
        return "; its log ends: " + " | ".join(lines[-LOG_TAIL_LINES:]) if lines else "; its log is empty"


def _answers(host: str, port: int, path: str) -> bool:
    """Whether a real request gets a complete answer, of whatever status."""
    answer = Answer()
    with (
        contextlib.suppress(OSError, httptools.HttpParserError),
        socket.create_connection((host, port), timeout=2) as connection,
    ):
        connection.sendall(request_bytes(host, path, close=True))
        while data := connection.recv(1 << 16):
            answer.feed(memoryview(data))
            if answer.complete:
                return True
        return answer.ends_with_stream
    return False
