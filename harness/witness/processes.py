"""The processes of a server, looked at again and again: what they use, and what their threads are doing.

Processes come and go (workers that serve so many requests and are replaced). What one has used is kept when it ends, so
that the sums never fall; what it used after it was last seen is in its parent's account of children, to the tick.
"""

from __future__ import annotations

import contextlib
import os
import resource
import time
from collections.abc import Iterable, Iterator

from harness.events.samples import NOT_SAMPLED, SERVER_FIELDS
from harness.machine.usage import cpu_clock

LOOK_AGAIN_NS = 100_000_000
"""After this long, for processes that have come."""
_TICK_US = 1_000_000 // os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_NONE = (NOT_SAMPLED,) * len(SERVER_FIELDS)


class Processes:
    """A server's: the ones it began with, and all that these start."""

    def __init__(self, pids: Iterable[int]) -> None:
        self._limits = {pid: _files_limit(pid) for pid in pids}
        self._cpu_us: dict[int, int] = {}
        self._wait_ns: dict[int, int] = {}
        """Thread → how long it has waited for a CPU; of those that have ended, until they were last seen."""
        self._used_us = 0
        self._look_again_ns = 0

    def files(self) -> tuple[int, int]:
        """Open files of the fullest process, and its limit."""
        fullest = (NOT_SAMPLED, NOT_SAMPLED)
        for pid, limit in self._limits.items():
            with contextlib.suppress(OSError):
                # Since Linux 6.2 the size of this folder is the number of open files: no need to list it.
                fullest = max(fullest, (os.stat(f"/proc/{pid}/fd").st_size, limit))  # noqa: PTH116 (Path is slower)
        return fullest

    def read(self, now_ns: int) -> tuple[int, ...]:
        """The values of :data:`SERVER_FIELDS`, over all processes."""
        if now_ns >= self._look_again_ns:
            self._look_again_ns = now_ns + LOOK_AGAIN_NS
            self._look_for_children()
        of_ended_us = rss_bytes = 0
        states = bytearray()
        for pid in [*self._limits]:
            try:
                self._cpu_us[pid] = time.clock_gettime_ns(cpu_clock(pid)) // 1000
                fields = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
                of_ended_us += (int(fields[13]) + int(fields[14])) * _TICK_US
                rss_bytes += int(fields[21]) * _PAGE_BYTES
                states += self._threads(pid)
            except (OSError, IndexError, ValueError):  # it has ended
                del self._limits[pid]
                self._look_again_ns = now_ns
        if not states:
            return _NONE
        # Both are less than all that was used: by one what was used unseen is missing, by the other the orphans'.
        alive_us = sum(self._cpu_us[pid] for pid in self._limits)
        self._used_us = max(self._used_us, sum(self._cpu_us.values()), alive_us + of_ended_us)
        return (
            len(states),
            states.count(b"R"),
            states.count(b"T") + states.count(b"t"),
            self._used_us,
            sum(self._wait_ns.values()) // 1000,
            rss_bytes,
        )

    def _threads(self, pid: int) -> bytes:
        """The state of each thread of a process, a letter each."""
        states = bytearray()
        for task in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208
            with contextlib.suppress(OSError, IndexError, ValueError):  # a thread may end while its process goes on
                stat = _read(f"/proc/{pid}/task/{task}/stat")
                states.append(stat[stat.rindex(b")") + 2])
                # Time on a CPU and time waiting for one, ns (Documentation/scheduler/sched-stats.rst).
                self._wait_ns[int(task)] = int(_read(f"/proc/{pid}/task/{task}/schedstat").split()[1])
        return bytes(states)

    def _look_for_children(self) -> None:
        look_at = [*self._limits]
        while look_at:
            for pid in _children(look_at.pop()):
                if pid not in self._limits:
                    self._limits[pid] = _files_limit(pid)
                    look_at.append(pid)


def _children(pid: int) -> Iterator[int]:
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208
            with contextlib.suppress(OSError):
                yield from map(int, _read(f"/proc/{pid}/task/{task}/children").split())


def _files_limit(pid: int) -> int:
    with contextlib.suppress(OSError, ValueError):
        return resource.prlimit(pid, resource.RLIMIT_NOFILE)[0]
    return NOT_SAMPLED


def _read(path: str) -> bytes:
    file = os.open(path, os.O_RDONLY)
    try:
        return os.read(file, 4096)
    finally:
        os.close(file)
