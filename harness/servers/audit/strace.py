"""The trace of a server's system calls, where strace(1) is installed: what it passed to listen(2), how it accepts."""

from __future__ import annotations

import functools
import itertools
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from harness.servers.build import Missing

WAITS = ("epoll_wait", "epoll_pwait", "epoll_pwait2", "poll", "ppoll", "select", "pselect6")
"""Calls that wait until something happens to a descriptor."""
ACCEPTS = ("accept", "accept4")
_BURST_S = 0.004
"""Failed accepts closer to each other than this are one try; timers of the stacks are no shorter than 5 ms (Go)."""
_LINE = re.compile(r"^(?P<thread>\d+)\s+(?P<time_s>\d+\.\d+)\s+(?P<call>.*)$")
_RESUMED = re.compile(r"^<\.\.\. (\w+) resumed>(.*)$")
_CALL = re.compile(r"^(?P<name>\w+)\((?P<arguments>.*)\)\s+=\s+(?P<result>-?\d+|\?)(?:\s+(?P<errno>E\w+))?")
_POLLED = re.compile(r"\{fd=(\d+)")
"""Descriptors in the arguments of poll(2): who waits for one connection only has not gone back to its loop."""
_PORT = re.compile(r"sin6?_port=htons\((\d+)\)")


@dataclass(frozen=True, slots=True)
class Call:
    """A system call that has returned, or, with ``result`` None, one that has begun to wait."""

    thread: int
    time_s: float
    name: str
    arguments: str
    result: int | None
    errno: str = ""


@dataclass(frozen=True, slots=True)
class Trace:
    """What the trace says about one listening port."""

    asked: tuple[int, ...] = ()
    """The backlogs passed to listen(2), in order: the last one is in force."""
    runs: tuple[int, ...] = ()
    """How many connections were accepted without waiting in between, one number a turn."""
    blocking: bool = False
    """Whether accept(2) itself waits for connections: no other call does."""
    failed: int = 0
    """Calls of accept(2) that found no free descriptor."""
    pauses_ms: tuple[float, ...] = ()
    """Times between two tries that found none."""

    @property
    def longest_run(self) -> int | None:
        return max(self.runs, default=None)

    @property
    def pause_ms(self) -> float | None:
        return round(median(self.pauses_ms), 1) if self.pauses_ms else None


@functools.cache
def missing_tracer() -> Missing | None:
    """Why nothing can be traced here, or None where it can: some machines have strace and do not let it trace."""
    if shutil.which("strace") is None:
        return Missing("strace is not installed", "install Debian's package strace")
    tried = subprocess.run(["strace", "-o", os.devnull, "true"], capture_output=True, stdin=subprocess.DEVNULL)
    return None if tried.returncode == 0 else Missing("strace may not trace here", "allow ptrace(2)")


def prefix(output: Path) -> list[str]:
    """What stands before a command to have it traced. The tracer is in a process group of its own: stopping the
    server does not stop it, and it ends with the server."""
    calls = ",".join(("bind", "listen", *ACCEPTS, *(f"?{wait}" for wait in WAITS)))
    return ["strace", "-DD", "-f", "-q", "-ttt", "-o", str(output), "-e", f"trace={calls}"]


def read(lines: Iterable[str], port: int, since_s: float = 0.0) -> Trace:
    """What a trace says about ``port``; accepts count from ``since_s``, as time(2) tells it."""
    asked: list[int] = []
    foreign: set[str] = set()
    listeners: set[str] = set()
    failures_s: list[float] = []
    turns = _Turns()
    for call in calls(lines):
        descriptor = call.arguments.partition(",")[0].strip()
        if call.name == "bind" and call.result == 0:
            found = _PORT.search(call.arguments)
            (foreign.discard if found is not None and int(found[1]) == port else foreign.add)(descriptor)
        elif call.name == "listen" and call.result == 0 and descriptor not in foreign:
            listeners.add(descriptor)
            asked.append(int(call.arguments.rpartition(",")[2]))
        elif call.name in WAITS:
            polled = _POLLED.findall(call.arguments)
            if not polled or not listeners.isdisjoint(polled):
                turns.wait(call.thread)
        elif call.name in ACCEPTS and descriptor in listeners:
            if call.errno == "EAGAIN":
                turns.waits_elsewhere = True
            if call.time_s < since_s:
                continue
            if call.result is None:
                turns.begin(call.thread)
            elif call.result >= 0:
                turns.accepted(call.thread)
            else:
                turns.failed(call.thread)
                if call.errno in ("EMFILE", "ENFILE"):
                    failures_s.append(call.time_s)
    gaps = [later - earlier for earlier, later in itertools.pairwise(failures_s)]
    return Trace(
        asked=tuple(asked),
        runs=turns.runs(),
        blocking=turns.blocking,
        failed=len(failures_s),
        pauses_ms=tuple(round(gap * 1000, 1) for gap in gaps if gap > _BURST_S),
    )


class _Turns:
    """How many connections are accepted in a turn, which ends when accept(2) finds nothing more or the acceptor waits.

    A runtime may move its one accept loop from thread to thread while others wait: a turn goes on where another thread
    goes on with it. Where several threads were seen in accept(2) at once, each has turns of its own.
    """

    def __init__(self) -> None:
        self._ended: list[int] = []
        self._run = 0
        self._acceptor: int | None = None
        self._acceptor_waits = False
        self._ended_by_thread: list[int] = []
        self._run_by_thread: dict[int, int] = {}
        self._accepting: set[int] = set()
        self._several = False
        self.waits_elsewhere = False
        """Whether anything shows that accept(2) does not wait itself."""

    def begin(self, thread: int) -> None:
        """The thread is in accept(2)."""
        self._accepting.add(thread)
        self._several = self._several or len(self._accepting) > 1

    def accepted(self, thread: int) -> None:
        self._accepting.discard(thread)
        if self._acceptor_waits and thread == self._acceptor:
            self._end()
        self._acceptor, self._acceptor_waits = thread, False
        self._run += 1
        self._run_by_thread[thread] = self._run_by_thread.get(thread, 0) + 1

    def failed(self, thread: int) -> None:
        self._accepting.discard(thread)
        self._end()
        self._end_of(thread)

    def wait(self, thread: int) -> None:
        """The thread waits for something to happen."""
        if thread == self._acceptor:
            self._acceptor_waits = self.waits_elsewhere = True
        self._end_of(thread)

    def _end(self) -> None:
        if self._run:
            self._ended.append(self._run)
        self._run, self._acceptor_waits = 0, False

    def _end_of(self, thread: int) -> None:
        if own := self._run_by_thread.pop(thread, 0):
            self._ended_by_thread.append(own)

    @property
    def blocking(self) -> bool:
        """Whether accept(2) itself waits: no thread that accepted was seen to wait elsewhere."""
        return not self.waits_elsewhere and bool(self._ended or self._run)

    def runs(self) -> tuple[int, ...]:
        """Connections a turn."""
        merged = [*self._ended, self._run] if self._run else self._ended
        if self.blocking:
            return (1,) * sum(merged)
        return tuple([*self._ended_by_thread, *self._run_by_thread.values()] if self._several else merged)


def calls(lines: Iterable[str]) -> Iterator[Call]:
    """The calls of a trace; one that is interrupted by another thread's is put together again.

    A call that is interrupted so, and waits or accepts, is told twice: when it begins (``result`` None) and when it
    returns.
    """
    begun: dict[int, str] = {}
    for line in lines:
        parts = _LINE.match(line)
        if parts is None:
            continue
        thread, time_s, text = int(parts["thread"]), float(parts["time_s"]), parts["call"]
        if text.endswith("<unfinished ...>"):
            begun[thread] = text.removesuffix("<unfinished ...>").rstrip()
            name, _, arguments = begun[thread].partition("(")
            if name in WAITS or name in ACCEPTS:
                yield Call(thread, time_s, name, arguments, None)
            continue
        resumed = _RESUMED.match(text)
        if resumed is not None:
            text = begun.pop(thread, f"{resumed[1]}(") + resumed[2]
        call = _CALL.match(text)
        if call is not None:
            result = None if call["result"] == "?" else int(call["result"])
            yield Call(thread, time_s, call["name"], call["arguments"], result, call["errno"] or "")
