"""What a tool is told to drive, read from its options: what it drives may be less, and is then another demand."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from harness.plan.attack import Attack

DRIVEN = 0.9
"""From this share of the requests on that it was told to make, a tool has driven what was wanted. One whose clock is
over, or whose ports or files are used up, sends fewer, and what is answered then is answered to a smaller storm."""


def wanted(attack: Attack) -> int | None:
    """Requests, from ``-n`` (hey, oha) or ``-rate`` and ``-duration`` in seconds (vegeta); None if neither is said.

    Raises:
        PlanError: the options have a placeholder that nothing stands for.
    """
    typed = attack.typed_options
    words = shlex.split(typed)
    if "-n" in words[:-1]:
        return int(words[words.index("-n") + 1])
    rate, seconds = (re.search(rf"-{name}=(\d+)(?:/?s)?(?:\s|$)", typed) for name in ("rate", "duration"))
    return int(rate[1]) * int(seconds[1]) if rate and seconds else None


def driven(requests: Sequence[int], demanded: Sequence[int | None]) -> bool:
    """Whether every attack of a kind drove what was wanted: to pick single ones by how they went picks a result."""
    pairs = zip(requests, demanded, strict=True)
    return all(wanted is None or sent >= DRIVEN * wanted for sent, wanted in pairs)
