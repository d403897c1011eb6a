"""Whether a proposition holds: true, false, or not decided and why; the one rule by which verdicts come about.

A margin is stated before the data are looked at. True or false needs enough runs a side and the whole interval on one
side of it; a gain for which there is no room below the ceiling is not false, it cannot be seen here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy import special, stats

from harness.thought.inference import CONFIDENCE, FEWEST_FOR_T, ROUNDING, SEED, Floats, Interval, apart

FEWEST_TO_DECIDE = 6
"""Runs a side; :data:`FEWEST_IF_LONG` where each takes more than :data:`LONG_S`."""
FEWEST_IF_LONG, LONG_S = 5, 60.0
CEILING = 1.0
_MOST_PERMUTATIONS = 200_000
"""All that there are of ten against ten; of more, so many are drawn."""


Open = Literal["too few runs", "no room", "margin within", "kinds differ", "chance"]
"""Why a proposition is not decided."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What came of a proposition. ``p`` is None where it decides nothing: the groups are apart altogether."""

    holds: bool | None
    why_null: str
    """In words; empty where it is decided."""
    found: Interval
    p: float | None = None
    apart: bool = False
    open: Open | None = None
    """The same as a value."""


def fewest(run_s: float) -> int:
    """Runs a side that it takes, of runs this long."""
    return FEWEST_IF_LONG if run_s > LONG_S else FEWEST_TO_DECIDE


def decide(
    found: Interval, margin: float, *, untouched: float | None = None, needed: int = FEWEST_TO_DECIDE
) -> Decision:
    """Whether what was found is above ``margin``: by the whole interval, of runs enough.

    ``untouched`` is the share that a gain would be added to. A gain for which there is no room cannot be seen; a loss
    that matters needs none, and refutes it.
    """

    def undecided(why: Open, words: str) -> Decision:
        return Decision(None, words, found, open=why)

    if found.runs < needed:
        return undecided("too few runs", f"{found.runs} runs a side; it takes {needed}")
    no_room = untouched is not None and margin > 0 and untouched + margin > CEILING
    if no_room and not found.high < -margin:
        return undecided("no room", f"there is no room for a gain of {margin:.0%} above {untouched:.1%}")
    if found.low > margin or found.high <= margin:
        return Decision(bool(found.low > margin), "", found)
    return undecided("margin within", f"the margin {margin:g} lies within {found.low:.3g} to {found.high:.3g}")


def decide_share(
    changed: Sequence[float], untouched: Sequence[float], margin: float, *, run_s: float = 0.0
) -> Decision:
    """Whether a share is higher by more than ``margin``; ``margin`` may be negative, for whether it is not lower."""
    one, other = (np.asarray(group, np.float64) for group in (changed, untouched))
    return _with_p(
        decide(difference_of(one, other), margin, untouched=float(other.mean()), needed=fewest(run_s)), one, other
    )


def decide_ratio(
    changed: Sequence[float], untouched: Sequence[float], margin: float, *, run_s: float = 0.0
) -> Decision:
    """Whether a positive measure is more than ``margin`` times the other's. Raises: ValueError: one is not positive."""
    one, other = (np.asarray(group, np.float64) for group in (changed, untouched))
    if not (np.all(one > 0) and np.all(other > 0)):
        raise ValueError("ratios need positive measures")
    logs = difference_of(np.log(one), np.log(other))
    value, low, high = np.exp([logs.value, logs.low, logs.high]).tolist()
    found = Interval(value, low, high, logs.runs, logs.kind)
    return _with_p(decide(found, margin, needed=fewest(run_s)), one, other)


def decide_over_strata(
    found: Interval,
    strata: Sequence[Interval],
    margin: float,
    *,
    untouched: float | None = None,
    needed: int = FEWEST_TO_DECIDE,
) -> Decision:
    """The same of a mean over kinds of storm, such as stacks, which may not hide that one of them is otherwise.

    Null where it holds and one of them gains nothing, or where it does not and one gains what matters.
    """
    whole = decide(found, margin, untouched=untouched, needed=needed)
    nothing = min(margin, 0.0)
    otherwise = sum(one.low <= nothing and one.high <= margin if whole.holds else one.low > margin for one in strata)
    if whole.holds is None or not otherwise:
        return whole
    words = f"kinds differ: {otherwise} of {len(strata)} are otherwise"
    return replace(whole, holds=None, why_null=words, open="kinds differ")


def exact_p(one: Sequence[float], other: Sequence[float]) -> float:
    """Two-sided p of a difference of means: all ways to deal the runs out to two groups of these sizes."""
    groups = (np.asarray(one, np.float64), np.asarray(other, np.float64))
    ways = special.comb(len(one) + len(other), len(one), exact=True)
    found = stats.permutation_test(
        groups,
        lambda a, b, axis: a.mean(axis=axis) - b.mean(axis=axis),
        vectorized=True,
        n_resamples=np.inf if ways <= _MOST_PERMUTATIONS else _MOST_PERMUTATIONS,
        rng=SEED,
    )
    return float(found.pvalue)


def _with_p(decision: Decision, one: Floats, other: Floats) -> Decision:
    separate = apart(one, other)
    return replace(decision, p=None if separate else exact_p(one.tolist(), other.tolist()), apart=separate)


def difference_of(one: Floats, other: Floats) -> Interval:
    """Difference of two means by Welch's t; the widest range of differences where there are too few runs for it."""
    value, runs = float(one.mean() - other.mean()), min(len(one), len(other))
    if max(np.ptp(one), np.ptp(other)) < ROUNDING:
        return Interval(value, value, value, runs, "none")
    if runs < FEWEST_FOR_T:
        return Interval(value, float(one.min() - other.max()), float(one.max() - other.min()), runs, "range")
    each = np.array([one.var(ddof=1) / len(one), other.var(ddof=1) / len(other)])
    freedom = each.sum() ** 2 / (each**2 / [len(one) - 1, len(other) - 1]).sum()
    low, high = stats.t.interval(CONFIDENCE, freedom, loc=value, scale=np.sqrt(each.sum()))
    return Interval(value, float(low), float(high), runs)
