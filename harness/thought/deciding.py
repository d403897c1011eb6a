"""Whether a proposition holds: true, false, or not decided and why; the one rule by which verdicts come about.

A margin is stated before the data are looked at. True or false needs enough runs a side and the whole interval on one
side of it; a gain for which there is no room below the ceiling is not false, it cannot be seen here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special, stats

from harness.thought.inference import CONFIDENCE, ROUNDING, SEED, Interval

FEWEST_TO_DECIDE = 6
"""Runs a side; :data:`FEWEST_IF_LONG` where each takes more than :data:`LONG_S`."""
FEWEST_IF_LONG, LONG_S = 5, 60.0
CEILING = 1.0
_MOST_PERMUTATIONS = 100_000


@dataclass(frozen=True, slots=True)
class Decision:
    """What came of a proposition. ``p`` is None where it decides nothing: the groups are apart altogether."""

    holds: bool | None
    why_null: str
    """Empty where it is decided."""
    found: Interval
    p: float | None = None
    apart: bool = False


def fewest(run_s: float) -> int:
    """Runs a side that it takes, of runs this long."""
    return FEWEST_IF_LONG if run_s > LONG_S else FEWEST_TO_DECIDE


def decide_share(
    changed: Sequence[float], untouched: Sequence[float], margin: float, *, run_s: float = 0.0
) -> Decision:
    """Whether a share is higher by more than ``margin``; ``margin`` may be negative, for whether it is not lower."""
    one, other = (np.asarray(group, np.float64) for group in (changed, untouched))
    found = _difference(one, other)
    if (why := _too_few(one, other, run_s)) is not None:
        return Decision(None, why, found)
    if margin > 0 and other.mean() + margin > CEILING:
        return Decision(None, f"there is no room for a gain of {margin:.0%} above {other.mean():.1%}", found)
    return _decided(found, margin, one, other)


def decide_ratio(
    changed: Sequence[float], untouched: Sequence[float], margin: float, *, run_s: float = 0.0
) -> Decision:
    """Whether a positive measure is more than ``margin`` times the other's. Raises: ValueError: one is not positive."""
    one, other = (np.asarray(group, np.float64) for group in (changed, untouched))
    if not (np.all(one > 0) and np.all(other > 0)):
        raise ValueError("ratios need positive measures")
    logs = _difference(np.log(one), np.log(other))
    value, low, high = np.exp([logs.value, logs.low, logs.high]).tolist()
    found = Interval(value, low, high, logs.runs, logs.kind)
    if (why := _too_few(one, other, run_s)) is not None:
        return Decision(None, why, found)
    return _decided(found, margin, one, other)


def decide_over_strata(each: Mapping[str, tuple[Sequence[float], Sequence[float]]], margin: float) -> Decision:
    """Whether a share is higher by more than ``margin`` on every stack: each decided by itself, none pooled."""
    found = {name: decide_share(changed, untouched, margin) for name, (changed, untouched) in each.items()}
    widest = max(found.values(), key=lambda one: one.found.high - one.found.low).found
    undecided = [f"{name}: {one.why_null}" for name, one in found.items() if one.holds is None]
    answers = {one.holds for one in found.values()}
    if undecided:
        return Decision(None, "; ".join(undecided), widest)
    if len(answers) > 1:
        split = ", ".join(f"{name} {'yes' if one.holds else 'no'}" for name, one in found.items())
        return Decision(None, f"stacks differ: {split}", widest)
    return Decision(answers.pop(), "", widest, apart=all(one.apart for one in found.values()))


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


def apart(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether all runs of one group are above all of the other, or below: then no p says more."""
    return min(one) > max(other) or max(one) < min(other)


def _too_few(one: np.ndarray, other: np.ndarray, run_s: float) -> str | None:
    needed, had = fewest(run_s), min(len(one), len(other))
    return f"{had} runs a side; it takes {needed}" if had < needed else None


def _decided(found: Interval, margin: float, one: np.ndarray, other: np.ndarray) -> Decision:
    groups = one.tolist(), other.tolist()
    separate = apart(*groups)
    p = None if separate else exact_p(*groups)
    if found.low > margin or found.high <= margin:
        return Decision(bool(found.low > margin), "", found, p, separate)
    return Decision(None, f"the margin {margin:g} lies within {found.low:.3g} to {found.high:.3g}", found, p, separate)


def _difference(one: np.ndarray, other: np.ndarray) -> Interval:
    """Difference of two means by Welch's t; the widest range of differences where there are too few runs for it."""
    value, runs = float(one.mean() - other.mean()), min(len(one), len(other))
    if max(np.ptp(one), np.ptp(other)) < ROUNDING:
        return Interval(value, value, value, runs, "none")
    if runs < FEWEST_IF_LONG:
        return Interval(value, float(one.min() - other.max()), float(one.max() - other.min()), runs, "range")
    each = np.array([one.var(ddof=1) / len(one), other.var(ddof=1) / len(other)])
    freedom = each.sum() ** 2 / (each**2 / [len(one) - 1, len(other) - 1]).sum()
    low, high = stats.t.interval(CONFIDENCE, freedom, loc=value, scale=np.sqrt(each.sum()))
    return Interval(value, float(low), float(high), runs)
