"""A trial's agents as its supervisor has them: started, told when to begin, followed and ended."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness import PROJECT
from harness.errors import MachineError
from harness.events.rows import Rows
from harness.machine import children
from harness.plan.slices import Slice

PYTHON = (sys.executable, "-m", "harness.load.python.agent")
"""The engine in Python, which there is everywhere."""
READY_WITHIN_S = 60.0
STOP_WITHIN_S = 3.0


class Agents:
    """One process for each slice, and the rows they write; ``rows`` has room for every planned one from the start.

    ``engine`` is the program that each of them runs.

    Raises:
        MachineError: there is no room for the rows.
    """

    def __init__(self, slices: Sequence[Slice], folder: Path, engine: Sequence[str | Path] = PYTHON) -> None:
        self.slices = slices
        self._engine = engine
        self.rows = [Rows(Path(s.rows_path), s.connection_rows, s.request_rows, create=True) for s in slices]
        self._folder = folder
        self._processes: list[subprocess.Popen[str]] = []

    def start(self, files: int | None) -> None:
        """Start them all, with a limit of ``files`` open ones if there is one."""
        for slice_ in self.slices:
            with self._log(slice_.agent).open("w") as log:
                agent = children.start(
                    # The folder is not read by the agent; it tells whoever lists processes what this one belongs to.
                    [*map(str, self._engine), str(self._folder)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    cwd=PROJECT,
                    prepared=children.prepare(files=None if files is None else (files, files)),
                )
            self._processes.append(agent)
            _tell(agent, json.dumps(slice_.to_json()))

    @property
    def pids(self) -> list[int]:
        return [agent.pid for agent in self._processes]

    def wait_until_ready(self) -> None:
        """Raises: MachineError: one ended, or was not ready in time."""
        deadline = time.monotonic() + READY_WITHIN_S
        for slice_, agent in zip(self.slices, self._processes, strict=True):
            if children.next_line(agent, deadline - time.monotonic()) != "ready\n":
                raise MachineError(
                    f"agent {slice_.agent} did not start: {self._last_words(slice_.agent)}", "see `stormlab doctor`"
                )

    def begin(self, start_ns: int) -> None:
        for agent in self._processes:
            _tell(agent, str(start_ns))

    # ---- while they run -------------------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        return any(agent.poll() is None for agent in self._processes)

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        for agent in self._processes:
            children.signal_group(agent.pid, number)

    def attempted(self) -> int:
        """Clients, or places of a pool, that have issued their first connect, or tried to and could not."""
        # An agent lets every client connect once before any does so again.
        made = zip(self.slices, self.rows, strict=True)
        return sum(min(slice_.places, rows.header["connections"][0]) for slice_, rows in made)

    def progress(self) -> dict[str, int]:
        read = [rows.counters() for rows in self.rows]
        return {name: sum(counts[name] for counts in read) for name in ("issued", "answered", "failed")}

    # ---- the end --------------------------------------------------------------------------------------------

    def check_exits(self) -> None:
        """Raises: MachineError: one of them, all of which have ended, failed."""
        for slice_, agent in zip(self.slices, self._processes, strict=True):
            if agent.returncode:
                raise MachineError(
                    f"agent {slice_.agent} ended with {agent.returncode}: {self._last_words(slice_.agent)}",
                    "its rows are kept in the failed run",
                )

    def ask_to_stop(self) -> None:
        for rows in self.rows:
            rows.ask_to_stop()
        for agent in self._processes:
            assert agent.stdin is not None
            with contextlib.suppress(OSError):
                agent.stdin.close()  # one that still waits for its start gives up

    def wait_until_stopped(self) -> None:
        deadline = time.monotonic() + STOP_WITHIN_S
        while self.running and time.monotonic() < deadline:
            time.sleep(0.01)

    def end(self) -> None:
        for agent in self._processes:
            children.end(agent, grace_s=0.2)

    def reports(self) -> list[dict[str, Any]]:
        """What they said of themselves in the end; nothing of those that did not come to it."""
        found = []
        for agent in self._processes:
            with contextlib.suppress(OSError, ValueError):
                assert agent.stdout is not None
                found.append(json.loads(agent.stdout.readline()))
        return found

    def _log(self, agent: int) -> Path:
        return self._folder / f"agent-{agent}.log"

    def _last_words(self, agent: int) -> str:
        lines = self._log(agent).read_text().split("\n")
        return next((line for line in reversed(lines) if line.strip()), "it said nothing")


def _tell(agent: subprocess.Popen[str], line: str) -> None:
    assert agent.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # an agent that died is found by its exit status
        agent.stdin.write(line + "\n")
        agent.stdin.flush()
