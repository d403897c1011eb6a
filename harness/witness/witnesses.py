"""Who watches a storm beside the agents and the server: the tracing, the probe and the ledger, as far as there are."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness import PROJECT
from harness.errors import MachineError, StormLabError
from harness.events.rows import Rows
from harness.events.samples import PROBE_SAMPLES
from harness.machine import children, host
from harness.plan.slices import Slice
from harness.witness.ledger import Ledger
from harness.witness.sampler import interval_us
from harness.witness.tracing import PAGES

PROBES_WITHIN_S = 10.0
TRACES_WITHIN_S = 60.0
"""It makes buffers and turns tracepoints on, for which the kernel patches its code."""
TRACING_ENDS_WITHIN_S = 10.0
"""Copying what is left takes less than a second. The supervisor itself must have ended 20 s after an interrupt."""


class Witnesses:
    """Each is started by a call of its own, when the trial has come to what it watches; ``folder`` is the run's."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tracing: subprocess.Popen[str] | None = None
        self._probes: dict[str, subprocess.Popen[str]] = {}
        self._ledger: Ledger | None = None

    def start_tracing(self) -> int:
        """Before all else: the server's port is one that no other trial has, and its listener is seen to begin.

        Returns:
            That port.

        Raises:
            MachineError: the kernel cannot be traced.
        """
        with children.uninterrupted():
            tracing = self._tracing = children.start(
                [sys.executable, "-m", "harness.witness.tracing", str(self._folder / PAGES)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                cwd=PROJECT,
                prepared=children.outlive_parent,
                environment={children.RUN: ""},  # it ends by itself, when it has put its instance away
            )
        answer = json.loads(children.next_line(tracing, TRACES_WITHIN_S) or "{}")
        if "error" in answer:
            raise StormLabError.from_json(answer["error"])
        if "port" not in answer:
            raise MachineError("--trace was asked for; the tracing did not start", "run without --trace")
        return int(answer["port"])

    def use_cpus(self, cpus: Sequence[int]) -> None:
        """Where the tracing may work while the storm runs."""
        if self._tracing is not None:
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(self._tracing.pid, cpus)

    def start_probe(
        self, port: int, target: str, server: int, cpus: Sequence[int], samples: str = PROBE_SAMPLES
    ) -> None:
        """Sample a listener, the process group of its server and the counters, from a process of its own.

        Raises:
            MachineError: it did not start.
        """
        every_us = interval_us(len(host.usable_cpus()))
        words = (port, target, every_us, self._folder / samples, ",".join(map(str, cpus)))
        probe = self._probes[samples] = children.start(
            [sys.executable, "-m", "harness.witness.sampler", *map(str, (*words, *children.members(server)))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=PROJECT,
        )
        if children.next_line(probe, PROBES_WITHIN_S) != "ready\n":
            raise MachineError("the probe did not start", "run without it: --no-probe")

    def open_ledger(self, port: int, slices: Sequence[Slice]) -> None:
        """Raises: MachineError: nftables refused."""
        ledger = Ledger(port, slices)
        ledger.open()
        self._ledger = ledger

    def end(self) -> dict[str, Any]:
        """End the probes and let the tracing remove its instance and end; what they say of themselves, by key of the
        manifest: of a tracing that said nothing in time, None.
        """
        said: dict[str, Any] = {}
        for samples, probe in self._probes.items():
            with contextlib.suppress(OSError, ValueError, subprocess.TimeoutExpired):
                report, _ = probe.communicate(timeout=2.0)
                said[samples.removesuffix(".samples")] = json.loads(report)
            children.end(probe, grace_s=0.2)
        if self._tracing is not None:
            said["trace"] = None
            # It is never killed: an instance of tracefs would stay.
            with contextlib.suppress(OSError, ValueError, subprocess.TimeoutExpired):
                report, _ = self._tracing.communicate(timeout=TRACING_ENDS_WITHIN_S)
                found = json.loads(report.splitlines()[-1]) if report else {}
                said["trace"] = found if "lost" in found else None
        return said

    @property
    def has_ledger(self) -> bool:
        return self._ledger is not None

    def write_ledger_into(self, rows: Sequence[Rows]) -> None:
        """Raises: MachineError: nftables does not give the counts."""
        assert self._ledger is not None
        self._ledger.write_into(rows)

    @property
    def survivors(self) -> tuple[int, ...]:
        """Processes that end by themselves, later."""
        return () if self._tracing is None else (self._tracing.pid,)
