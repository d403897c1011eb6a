"""What commands that read runs have in common."""

from __future__ import annotations

import sys
from pathlib import Path

from harness.events import store
from harness.thought.readable import whole
from harness.thought.summary import Summary


def say(line: str) -> None:
    """Beside the output, for people."""
    print(f"stormlab: {line}", file=sys.stderr)


def opened(data: Path, name: str) -> Summary:
    """The run of that name.

    Raises:
        PlanError, DamagedRun: as :func:`harness.events.store.find_run`, or its record cannot be read.
    """
    summary = whole(store.find_run(data, name))
    for line in summary.notes:
        say(line)
    return summary
