"""What processes have used, read from the kernel in one go: CPU time to the nanosecond, memory to the page."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

_CPUCLOCK_SCHED = 2
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    """Sums over the processes of a server; None where none of them can be read."""

    cpu_s: float | None
    """User and system time since each process began, of all its threads and of children that have ended."""
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


def cpu_clock(pid: int) -> int:
    """The clock of all threads of a process, those that have ended included: kernel/time/posix-cpu-timers.c."""
    return (~pid << 3) | _CPUCLOCK_SCHED


def _cpu_s(pid: int) -> float | None:
    with contextlib.suppress(OSError, IndexError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        of_ended_children_s = (int(fields[13]) + int(fields[14])) / _TICKS_PER_S
        return time.clock_gettime(cpu_clock(pid)) + of_ended_children_s
    return None


def _kib(path: str, name: str) -> int | None:
    """A line ``name: 12 kB``, in bytes."""
    with contextlib.suppress(OSError):
        for line in Path(path).read_text().splitlines():
            field, _, value = line.partition(":")
            if field == name:
                return int(value.split()[0]) * 1024
    return None
