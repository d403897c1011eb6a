"""The engine that drives a storm: the native one where it is built, else the one in Python."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from harness.errors import MachineError
from harness.load.agents import PYTHON
from harness.plan.load import Engine
from harness.servers import build

Chosen = Literal["native", "python"]
AGENT = build.NATIVE.folder / "release" / "storm-agent"


def choose(asked: Engine) -> Chosen:
    """The engine for a load that asks for this one.

    Raises:
        MachineError: it is not here.
    """
    if asked == "python":
        return "python"
    missing = build.NATIVE.missing
    if missing is None:
        return "native"
    if asked == "native":
        raise MachineError(f"--engine native was asked for: {missing.reason}", f"{missing.next_step}, or use python")
    return "python"


def program(engine: Chosen) -> Sequence[str | Path]:
    """What an agent of it runs."""
    return (AGENT,) if engine == "native" else PYTHON
