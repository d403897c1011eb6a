"""What holds for the values of every plan: how one is refused, and how much time a storm may ask for."""

from __future__ import annotations

from typing import Any, get_args

from harness.errors import PlanError

MAX_SECONDS = 600.0
"""Upper bound of a timeout, a stall, and the time an open loop takes to issue: a storm is bounded in time."""


def require(holds: bool, message: str) -> None:
    """Raises: PlanError: it does not hold."""
    if not holds:
        raise PlanError(message)


def choice(name: str, value: str, choices: Any) -> None:
    """Raises: PlanError: ``value`` is none of a Literal's words."""
    allowed = get_args(choices)
    require(value in allowed, f"{name} must be one of {', '.join(allowed)}, not {value!r}")
