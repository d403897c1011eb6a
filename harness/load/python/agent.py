"""An agent: drives one slice of a load from a start time on, and leaves rows.

``drive(storm, start_ns)`` is all there is to it; run as a program it is one local process, told its slice on
standard input. CPython is fast enough for this because the kernel's handshake is the cost.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.events.rows import Rows
from harness.load.python.storm import Storm
from harness.machine.usage import Usage
from harness.plan.slices import Slice


@dataclass(frozen=True, slots=True)
class AgentReport:
    """What an agent says of itself; ``late_us`` is a list of (lag in µs, events handled with at most that lag)."""

    agent: int
    pid: int
    cpu_user_s: float
    cpu_system_s: float
    ran_s: float
    waited_s: float
    """Of ``ran_s``, how long it had nothing to do: what is left is how long the load was limited by this agent."""
    late_us: list[tuple[int, int]]
    protocol: str
    """What it heard, as ``HTTP/1.1``; empty where it heard nothing."""
    frames: dict[str, int]
    """With HTTP/2, how many of each kind it received."""
    library: str
    """What it reads and writes the protocol with."""
    peak_rss_bytes: int | None
    """The most resident memory that it had."""


def drive(storm: Storm, start_ns: int) -> AgentReport:
    """Drive a slice from ``start_ns`` (CLOCK_MONOTONIC) to the end of its last request."""
    storm.run(start_ns)
    used = resource.getrusage(resource.RUSAGE_SELF)
    return AgentReport(
        agent=storm.slice.agent,
        pid=os.getpid(),
        cpu_user_s=used.ru_utime,
        cpu_system_s=used.ru_stime,
        ran_s=(time.monotonic_ns() - start_ns) / 1e9,
        waited_s=storm.waited_ns / 1e9,
        late_us=sorted(storm.late_us.items()),
        protocol=storm.connections.protocol,
        frames=dict(storm.connections.frames),
        library=storm.connections.library,
        peak_rss_bytes=Usage.of([os.getpid()]).peak_rss_bytes,
    )


def main() -> int:
    """Read a slice and then a start time from standard input; say ``ready`` between, and the report at the end."""
    slice_ = Slice.from_json(json.loads(sys.stdin.readline()))
    os.sched_setaffinity(0, slice_.cpus)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with Rows(Path(slice_.rows_path), slice_.connection_rows, slice_.request_rows) as rows:
        storm = Storm(slice_, rows)
        gc.collect()
        gc.freeze()
        gc.disable()
        print("ready", flush=True)
        start = sys.stdin.readline()
        if not start:
            return 1
        start_ns = int(start)
        while (left_ns := start_ns - time.monotonic_ns()) > 0:
            time.sleep(left_ns / 2e9 if left_ns > 1_000_000 else 0)
        print(json.dumps(asdict(drive(storm, start_ns))), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
