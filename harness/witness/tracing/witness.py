"""The tracing process as the supervisor has it: started before the server, ended when the storm is over."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from harness import PROJECT
from harness.errors import MachineError, StormLabError
from harness.machine import children
from harness.witness.tracing import PAGES

STARTS_WITHIN_S = 60.0
"""It makes buffers and turns tracepoints on, for which the kernel patches its code."""
ENDS_WITHIN_S = 10.0
"""Copying what is left takes less than a second. The supervisor itself must have ended 20 s after an interrupt."""


class Witness:
    """A tracing process; it leaves :data:`harness.witness.tracing.PAGES` in the folder of the run under way."""

    def __init__(self, folder: Path) -> None:
        self._process = children.start(
            [sys.executable, "-m", "harness.witness.tracing", str(folder / PAGES)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=PROJECT,
            prepared=children.outlive_parent,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def port(self) -> int:
        """Wait until it traces; the port that is the trial's own.

        Raises:
            MachineError: nothing can be traced here.
        """
        answer = json.loads(children.next_line(self._process, STARTS_WITHIN_S) or "{}")
        if "port" in answer:
            return int(answer["port"])
        if "error" in answer:
            raise StormLabError.from_json(answer["error"])
        raise MachineError("--trace was asked for; the tracing did not start", "run without --trace")

    def use_cpus(self, cpus: Iterable[int]) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(self.pid, cpus)

    def end(self) -> dict[str, Any] | None:
        """Let it remove its instance and end; its report, or None where it gave none in time.

        It is never killed: an instance of tracefs would stay.
        """
        with contextlib.suppress(OSError, ValueError, subprocess.TimeoutExpired):
            report, _ = self._process.communicate(timeout=ENDS_WITHIN_S)
            found: dict[str, Any] = json.loads(report.splitlines()[-1]) if report else {}
            return found if "lost" in found else None
        return None
