"""What this machine is and allows."""

from __future__ import annotations

import functools
import os
import platform
import time
from pathlib import Path

from harness.events.host import Host

CLOCK_MONOTONIC_COARSE = 6
"""Moves with the timer interrupt: include/uapi/linux/time.h."""


@functools.cache
def this_host() -> Host:
    cpuinfo = _fields("/proc/cpuinfo")
    memory_kib = int(_fields("/proc/meminfo").get("MemTotal", "0 kB").split()[0])
    return Host(
        cpu_model=" ".join(cpuinfo.get("model name", platform.machine()).split()),
        cpus=len(os.sched_getaffinity(0)),
        memory_gib=round(memory_kib / 2**20),
        kernel=platform.release(),
        virtualised="hypervisor" in cpuinfo.get("flags", "").split(),
        distribution=_distribution(),
        python=platform.python_version(),
    )


def tick_us() -> int:
    """How long the kernel's timer interrupt, by which it dates much, takes to come again (1/HZ)."""
    return round(time.clock_getres(CLOCK_MONOTONIC_COARSE) * 1_000_000)


def usable_cpus() -> tuple[int, ...]:
    return tuple(sorted(os.sched_getaffinity(0)))


def files_limit() -> tuple[int, int]:
    """(soft, hard) limit of open files of this process."""
    import resource  # not on Windows, where the notebooks still work

    return resource.getrlimit(resource.RLIMIT_NOFILE)


def _fields(path: str) -> dict[str, str]:
    """``name: value`` lines, the first of each name; empty where the file is not there (not Linux)."""
    found: dict[str, str] = {}
    file = Path(path)
    for line in file.read_text().splitlines() if file.exists() else []:
        name, _, value = line.partition(":")
        found.setdefault(name.strip(), value.strip())
    return found


def _distribution() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        return platform.system()
