"""What several runs say: the run is the unit, because the requests of one storm depend on each other.

Designs are paired by block: within a block each variant was run once, in random order, so that what the machine did
meanwhile touches all alike. Positive measures are compared as ratios, on the logarithmic scale on which slower and
faster are symmetric; shares are averaged on the logit scale, which has no ends. There the mean of few runs is near
enough to normal for Student's t; of fewer than :data:`FEWEST_FOR_T` runs the range is told, and called so. How often
these intervals contain the truth is measured by ``benchmarks/coverage.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special, stats

Floats = NDArray[np.float64]
Kind = Literal["t", "range", "none", "exact"]
CONFIDENCE = 0.95
POWER = 0.8
FEWEST_RUNS = 3
"""Fewer, or fewer blocks, say nothing of their spread."""
FEWEST_FOR_T = 6
"""Of fewer an interval that is called 95 % and is one would be wider than anything that could be said with it."""
RESAMPLES = 9_999
ROUNDING = 1e-12
"""Log ratios that differ by less are equal but for the rounding of floating point."""
SEED = 20_240_801
"""Permutations that cannot all be counted are drawn, and must give the same numbers twice."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and how far it goes: at :data:`CONFIDENCE` by Student's t, or as far as the runs did."""

    value: float
    low: float
    high: float
    runs: int
    kind: Kind = "t"
    """``range`` of too few runs; ``none`` where all were equal, or nothing is said of their spread."""

    @property
    def ends(self) -> tuple[float, float]:
        return self.low, self.high

    @property
    def excludes_one(self) -> bool:
        """For ratios: whether no difference is outside the interval."""
        return self.low > 1 or self.high < 1


@dataclass(frozen=True, slots=True)
class Effect:
    """A ratio of two variants, how surprising it would be without a difference, and what the design could have seen."""

    ratio: Interval
    p: float
    """Two-sided, from a permutation test."""
    smallest_detectable: float
    """The ratio above one that this many blocks with this spread would detect with probability :data:`POWER`."""
    apart: bool = False
    """Whether all runs of one are above all of the other: then no p says more."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A difference of two variants, and how surprising it would be if there were none."""

    mean: Interval
    p: float
    """Two-sided, from a permutation test."""
    untouched: float
    """Mean of what was held against: where a share is near its ceiling, there is no room for a gain."""
    apart: bool = False
    """Whether all runs of one are above all of the other: then no p says more."""
    strata: tuple[Interval, ...] = ()
    """Of several kinds of storm that were combined, the difference of each."""


def mean_of_runs(values: Sequence[float]) -> Interval:
    """Mean over runs; the bare mean where there are too few runs, or no spread."""
    return _interval(np.asarray(values, np.float64))


def mean_share(values: Sequence[float]) -> Interval:
    """The same of shares, from 0 to 1: t on the scale of logits, by the delta method, so that it stays between the two.

    The mean of logits would be another number than the mean of shares, and the further the more runs there are.
    """
    shares = np.asarray(values, np.float64)
    plain = _interval(shares)
    if plain.kind != "t":
        return plain
    slope = plain.value * (1 - plain.value)
    half = (plain.high - plain.low) / 2 / slope
    low, high = special.expit(special.logit(plain.value) + np.array([-half, half]))
    return Interval(plain.value, float(low), float(high), len(shares))


def _interval(values: Floats) -> Interval:
    """Of the mean, on the scale that the values are on."""
    mean, runs = float(values.mean()), len(values)
    if runs < FEWEST_RUNS:
        return Interval(mean, np.nan, np.nan, runs, "none")
    if np.ptp(values) < ROUNDING:
        return Interval(mean, mean, mean, runs, "none")
    if runs < FEWEST_FOR_T:
        return Interval(mean, float(values.min()), float(values.max()), runs, "range")
    low, high = stats.t.interval(CONFIDENCE, runs - 1, loc=mean, scale=_standard_error(values))
    return Interval(mean, float(low), float(high), runs)


def share_of_runs(hits: int, runs: int) -> Interval:
    """Of how many runs something is true, with the exact binomial interval (Clopper and Pearson, 1934).

    Where it is so in all of them, or in none, there is no spread, and its ends are what such runs leave possible.
    """
    found = stats.binomtest(hits, runs).proportion_ci(CONFIDENCE, method="exact")
    kind: Kind = "exact" if 0 < hits < runs else "none"
    return Interval(hits / runs, float(found.low), float(found.high), runs, kind)


def paired_ratio(measured: Sequence[float], baseline: Sequence[float]) -> Effect:
    """``measured / baseline``, block by block: geometric mean with its interval, sign-flip test.

    Raises:
        ValueError: the two are not of one length, fewer than :data:`FEWEST_RUNS` blocks, or a measure is not positive.
    """
    one, other = _logs(measured), _logs(baseline)
    log_ratios = one - other
    blocks = len(log_ratios)
    if blocks < FEWEST_RUNS:
        raise ValueError(f"{FEWEST_RUNS} blocks are the fewest that say anything of their spread, not {blocks}")
    found = _interval(log_ratios)
    value, low, high = np.exp([found.value, found.low, found.high])
    ratio = Interval(float(value), float(low), float(high), blocks, found.kind)
    p = _sign_flip(log_ratios)
    spread = _spread(log_ratios)
    return Effect(ratio, p, smallest_detectable_ratio(spread, blocks), apart(one, other))


def paired_difference(measured: Sequence[float], baseline: Sequence[float]) -> Difference:
    """``measured - baseline``, block by block: mean with its interval, sign-flip test.

    For shares, which may be nothing and so have no ratio.

    Raises:
        ValueError: the two are not of one length, or fewer than :data:`FEWEST_RUNS` blocks.
    """
    one, other = np.asarray(measured, np.float64), np.asarray(baseline, np.float64)
    differences = one - other
    if len(differences) < FEWEST_RUNS:
        raise ValueError(f"{FEWEST_RUNS} blocks are the fewest that have an interval, not {len(differences)}")
    return Difference(_interval(differences), _sign_flip(differences), float(other.mean()), apart(one, other))


def stratified_difference(strata: Sequence[tuple[Sequence[float], Sequence[float]]]) -> Difference:
    """The mean of the differences of several kinds of storm, each (measured, baseline) block by block and as heavy.

    Kinds are not repeats of each other: what differs between them is no spread of the runs, so no run of one is pooled
    with those of another. The p is that of the signs within blocks.

    Raises:
        ValueError: of a kind the two are not of one length, or it has fewer than :data:`FEWEST_RUNS` blocks.
    """
    each = [paired_difference(*both) for both in strata]
    differences = np.concatenate([np.subtract(*both) for both in strata])
    return Difference(
        combined([one.mean for one in each]),
        _sign_flip(differences),
        float(np.mean([one.untouched for one in each])),
        all(one.apart for one in each),
        tuple(one.mean for one in each),
    )


def stratified_mean(groups: Sequence[Sequence[float]], shares: bool = False) -> Interval:
    """The mean over kinds of storm, each as heavy, whatever its runs: how kinds differ is no spread of runs."""
    each = [(mean_share if shares else mean_of_runs)(group) for group in groups]
    return each[0] if len(each) == 1 else combined(each)


def geometric_mean(values: Sequence[float]) -> float:
    """What a ratio of :func:`paired_ratio` is the ratio of. Raises: ValueError: a measure is not positive."""
    return float(np.exp(_logs(values).mean()))


def combined(effects: Sequence[Interval]) -> Interval:
    """The mean of independent effects, each as heavy: how far it goes follows from how far each does.

    By the recovered variances of Zou and Donner (2008), who need no symmetry. Of ranges the ends are averaged, and it
    is a range; the runs are those of the effect that has fewest.
    """
    values, lows, highs = np.array([(one.value, one.low, one.high) for one in effects]).T
    value, runs, kinds = float(values.mean()), min(one.runs for one in effects), {one.kind for one in effects}
    if kinds == {"none"}:
        return Interval(value, float(lows.mean()), float(highs.mean()), runs, "none")
    if "range" in kinds:
        return Interval(value, float(lows.mean()), float(highs.mean()), runs, "range")
    below, above = (float(np.hypot.reduce(values - end)) / len(effects) for end in (lows, highs))
    return Interval(value, value - below, value + above, runs)


def apart(one: Sequence[float] | Floats, other: Sequence[float] | Floats) -> bool:
    """Whether all runs of one group are above all of the other, or below: then no p says more."""
    first, second = np.asarray(one, np.float64), np.asarray(other, np.float64)
    return bool(first.min() > second.max() + ROUNDING or first.max() < second.min() - ROUNDING)


def smallest_detectable_ratio(log_spread: float, blocks: int, confidence: float = CONFIDENCE) -> float:
    """The ratio above one that a paired t-test on ``blocks`` log ratios of this standard deviation detects.

    With probability :data:`POWER`, at the two-sided level of ``confidence``; power from the noncentral t.
    """
    if log_spread == 0:
        return 1.0
    degrees = blocks - 1
    critical = stats.t.ppf((1 + confidence) / 2, degrees)

    def lacking(shift: float) -> float:
        noncentral = shift * np.sqrt(blocks)
        wrong_sign = np.nan_to_num(stats.nct.cdf(-critical, degrees, noncentral))  # NaN where it is as good as nothing
        return float(stats.nct.sf(critical, degrees, noncentral) + wrong_sign - POWER)

    # Twice the central t's answer is far enough, and nearer than where the noncentral one overflows.
    enough = 2 * (critical + stats.t.ppf(POWER, degrees)) / np.sqrt(blocks)
    shift = optimize.brentq(lacking, 1e-9, enough)
    return float(np.exp(shift * log_spread))


def holm(p_values: Sequence[float]) -> list[float]:
    """p values corrected for their number (Holm 1979), in the order given."""
    order = np.argsort(p_values)
    many = len(p_values)
    corrected = np.empty(many)
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (many - rank) * p_values[index]))
        corrected[index] = largest
    return [float(value) for value in corrected]


def _logs(values: Sequence[float]) -> Floats:
    array = np.asarray(values, np.float64)
    if not np.all(array > 0):
        raise ValueError("ratios need positive measures")
    return np.asarray(np.log(array))


def _standard_error(values: Floats) -> float:
    return _spread(values) / float(np.sqrt(len(values)))


def _spread(values: Floats) -> float:
    """Standard deviation; none where all are equal, as where a queue of fixed length decides."""
    return 0.0 if np.ptp(values) < ROUNDING else float(values.std(ddof=1))


def _sign_flip(differences: Floats) -> float:
    """Without a difference the sign of each block's is a coin: all of them where they can be counted, else a sample."""
    found = stats.permutation_test(
        (differences,),
        lambda x, axis: x.mean(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=RESAMPLES,
        rng=SEED,
    )
    return float(found.pvalue)
