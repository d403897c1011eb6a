"""Whether a server answers little, and fewer than another: one rule, in a verdict and in a notebook's tables.

What this host's own input queue dropped on the way is not the server's doing, and a few storms that differ much leave
open which of two servers answers more.
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from harness.thought.comparing import beyond, nothing_dropped
from harness.thought.inference import Interval

FAILING = 0.6
"""The article has 25 % answered. More is granted: half is what a generator leaves that picks one of two addresses, and
the line is above it, so that no coin decides on which side of it such an attack falls."""
_SERVERS_DOING = ("refused", "reset", "closed_early", "bad_answer")
"""Outcomes that packets which this host lost on their way cannot have."""


def blameless(storms: pd.DataFrame) -> list[float]:
    """The share answered of each of the lab's storms of a kind, with what dropped packets may have cost added to it.

    Storms of a kind are judged together: where none of them dropped packets, the shares are as they were measured.
    """
    if nothing_dropped(storms):
        return [float(share) for share in storms["success_rate"]]
    return [1 - _servers_doing(outcomes) for outcomes in storms["outcomes"]]


def fewer(mine: Interval, excused: Interval, theirs: Interval) -> bool | None:
    """Whether fewer are answered than by another, even if what this host dropped had cost nothing (``excused``).

    None where fewer were, and the intervals do not show it.
    """
    if mine.value >= theirs.value:
        return False
    return True if excused.high < theirs.low else None


def fails(mine: Interval, excused: Interval, theirs: Interval | None) -> bool | None:
    """Whether fewer than :data:`FAILING` are answered, and fewer than by another where that was tried.

    None where it is not decided, or where the other answers no more.
    """
    if beyond(mine.low, mine.high, FAILING):
        return False
    less = beyond(-excused.high, -excused.low, -FAILING)
    return True if less and (theirs is None or fewer(mine, excused, theirs)) else None


def _servers_doing(counts: Mapping[str, int]) -> float:
    """The share of requests that failed in a way that no lost packet explains."""
    return float(sum(counts.get(name, 0) for name in _SERVERS_DOING) / sum(counts.values()))
