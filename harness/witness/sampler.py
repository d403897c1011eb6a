"""The probe's process: ``python -m harness.witness.sampler PORT ADDRESS INTERVAL_US OUTPUT CPUS PID…``.

Watches the sockets that a storm can meet, the processes of one server and the namespace's counters, on the clock of
everything else (CLOCK_MONOTONIC), until its standard input is closed. Each sample is a record of int64 in OUTPUT. What
costs more is looked at less often and :data:`NOT_SAMPLED` in between, so that watching does not become load.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import select
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.events.samples import COUNTER_FIELDS, NOT_SAMPLED, RECORD, SERVER_FIELDS
from harness.machine.counters import read_counters
from harness.machine.listeners import ListenersWatch
from harness.witness.processes import Processes

SERVER_EVERY_NS, COUNTERS_EVERY_NS = 20_000_000, 50_000_000
_FLUSH_EVERY = 20
_NO_QUEUE = (NOT_SAMPLED, NOT_SAMPLED, NOT_SAMPLED, 0, 0)
"""Nobody listens."""
_NO_SERVER = (NOT_SAMPLED,) * len(SERVER_FIELDS)
_NO_COUNTERS = (NOT_SAMPLED,) * len(COUNTER_FIELDS)


def interval_us(cpus: int) -> int:
    """A thousand samples a second where there are CPUs to spare.

    Waking up costs more than looking: 30 µs of CPU on a virtual machine, which is 3 % of one core at 1 kHz.
    """
    return 1_000 if cpus >= 4 else 5_000


def watch(port: int, address: str, every_us: int, pids: Sequence[int], output: Path) -> dict[str, Any]:
    """Sample until standard input ends; returns what it cost, how even it was, and the depths of several queues."""
    sockets, processes = ListenersWatch(port, address), Processes(pids)
    begun_ns = time.monotonic_ns()
    due_ns = previous_ns = server_due_ns = counters_due_ns = begun_ns
    number = longest_gap_ns = 0
    over = False
    with output.open("wb") as file:
        while True:
            now_ns = time.monotonic_ns()
            longest_gap_ns = max(longest_gap_ns, now_ns - previous_ns)
            previous_ns = now_ns
            queues = sockets.read()
            server, counters = _NO_SERVER, _NO_COUNTERS
            if now_ns >= server_due_ns:
                server, server_due_ns = processes.read(now_ns), now_ns + SERVER_EVERY_NS
            if now_ns >= counters_due_ns:
                counters, counters_due_ns = _counters(), now_ns + COUNTERS_EVERY_NS
            file.write(RECORD.pack(now_ns, *(queues or _NO_QUEUE), *processes.files(), *server, *counters))
            number += 1
            if number % _FLUSH_EVERY == 0:
                file.flush()
            # A sample that is late is not made up for: the next is due an interval after now.
            due_ns = max(due_ns + every_us * 1000, time.monotonic_ns())
            if over:
                break  # the last sample is of after the storm: who listens then has outlived it
            over = bool(select.select([sys.stdin], [], [], max(0, due_ns - time.monotonic_ns()) / 1e9)[0])
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "samples": number,
        "cpu_s": used.ru_utime + used.ru_stime,
        "ran_s": (time.monotonic_ns() - begun_ns) / 1e9,
        "longest_gap_ms": longest_gap_ns / 1e6,
        "deepest_queues": sorted(sockets.deepest.values()) if len(sockets.deepest) > 1 else None,
    }


def _counters() -> tuple[int, ...]:
    counters = read_counters()
    return tuple(counters.get(name, NOT_SAMPLED) for name in COUNTER_FIELDS)


def main() -> int:
    port, address, every_us, output, cpus, *pids = sys.argv[1:]
    os.sched_setaffinity(0, [int(cpu) for cpu in cpus.split(",")])
    gc.freeze()
    print("ready", flush=True)
    print(json.dumps(watch(int(port), address, int(every_us), [int(pid) for pid in pids], Path(output))), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
