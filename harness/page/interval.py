"""How sure a value is, as it is read: one wording for every table, caption and sentence."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from harness.thought.deciding import exact_p
from harness.thought.inference import CONFIDENCE, FEWEST_RUNS, Interval, Kind, apart

CALLED: Mapping[Kind, str] = {"t": "95 % interval", "exact": "95 % interval", "range": "range"}
"""What lies between two ends: of fewer than six runs no more than the range that they had."""


def worded(found: Interval, form: Callable[[float], str], *, end: Callable[[float], str] | None = None) -> str:
    """``53.7% (95 % interval 47.0% to 58.2%)``, or ``(range 47.0% to 58.2%)`` of fewer than six runs.

    ``100.00% in 8 of 8`` where all runs were equal, and the value alone where nothing is known of their spread.
    ``end`` writes an end, where it is written otherwise than the value.
    """
    value = form(found.value)
    if found.kind == "none":
        return value if math.isnan(found.low) else f"{value} in {found.runs} of {found.runs}"
    return f"{value} ({ends(found, end or form)})"


def ends(found: Interval, form: Callable[[float], str]) -> str:
    """``95 % interval 47.0% to 58.2%``; of an interval without an upper end where it begins."""
    called, low = CALLED[found.kind], form(found.low)
    return f"{called} from {low}, no upper end" if math.isinf(found.high) else f"{called} {low} to {form(found.high)}"


def differs(one: Sequence[float], other: Sequence[float]) -> str:
    """Whether two groups of runs differ: all of one above all of the other, or by an exact p, which then decides it."""
    if min(len(one), len(other)) < FEWEST_RUNS:
        return "too few storms"
    if apart(one, other):
        return "in every storm"
    p = exact_p(one, other)
    return "no difference" if p == 1 else f"{'shown' if p < 1 - CONFIDENCE else 'not shown'} (p = {p:.2g})"
