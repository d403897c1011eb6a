"""What this machine is and allows."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Host:
    """A machine as far as it decides results; it carries no name and no address."""

    cpu_model: str
    cpus: int
    memory_gib: int
    kernel: str
    virtualised: bool
    distribution: str
    python: str

    @property
    def host_id(self) -> str:
        """Runs with the same id may be compared; a changed kernel is another host."""
        facts = json.dumps([self.cpu_model, self.cpus, self.memory_gib, self.kernel])
        return hashlib.sha256(facts.encode()).hexdigest()[:12]

    @property
    def caption(self) -> str:
        kind = " (virtual)" if self.virtualised else ""
        return f"{self.cpus} × {self.cpu_model}{kind}, {self.memory_gib} GiB, Linux {self.kernel}"

    def to_json(self) -> dict[str, object]:
        return {**asdict(self), "host_id": self.host_id}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Host:
        return cls(**{name: value for name, value in document.items() if name != "host_id"})


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
