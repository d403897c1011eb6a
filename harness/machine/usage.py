"""What processes have used, read from the kernel in one go: CPU time to the nanosecond, memory to the page."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

_CPUCLOCK_SCHED = 2
"""kernel/time/posix-cpu-timers.c: the clock of all threads of a process is ``~pid << 3 | 2``."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Sums over the processes of a server; None where none of them can be read."""

    cpu_s: float | None
    """User and system time of all threads since each process began, those that have ended included."""
    peak_rss_bytes: int | None
    """Each process's largest resident memory since it began; of several, what pages they share counts for each."""
    rss_bytes: int | None
    """Resident memory now, counted page by page."""

    @classmethod
    def of(cls, pids: Sequence[int]) -> Usage:
        return cls(
            _sum([_cpu_s(pid) for pid in pids]),
            _sum([_kib(f"/proc/{pid}/status", "VmHWM") for pid in pids]),
            _sum([_kib(f"/proc/{pid}/smaps_rollup", "Rss") for pid in pids]),
        )


Number = TypeVar("Number", int, float)


def _sum(values: Sequence[Number | None]) -> Number | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _cpu_s(pid: int) -> float | None:
    with contextlib.suppress(OSError):
        return time.clock_gettime((~pid << 3) | _CPUCLOCK_SCHED)
    return None


def _kib(path: str, name: str) -> int | None:
    """A line ``name: 12 kB``, in bytes."""
    with contextlib.suppress(OSError):
        for line in Path(path).read_text().splitlines():
            field, _, value = line.partition(":")
            if field == name:
                return int(value.split()[0]) * 1024
    return None
