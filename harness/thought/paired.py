"""One group of storms held against another, and what of the change matters: shares, latencies, CPU time alike.

What is said in tables and what verdicts judge by is one comparison, made here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from harness.thought.effects import fewest_blocks
from harness.thought.inference import (
    CONFIDENCE,
    FEWEST_RUNS,
    Difference,
    Effect,
    paired_difference,
    paired_ratio,
    unpaired_p,
)

MATTERS = 0.05
"""Share of all clients; a change of fewer is nobody's cause or fix. Notebook 02 draws the same line."""


def ratio(runs: pd.DataFrame, measure: str, by: str, changed: object, untouched: object) -> Effect | None:
    """``measure`` of one group over another's, block by block: the n-th storms of both are a block.

    None where there are too few storms, or nothing at all was measured in one of them, which has no ratio: to leave it
    out would be to take the ratio of the survivors. The p is that of a permutation of all of them, which were run in
    random order: for it five of each are enough, where the signs of five differences are never surprising.
    """
    pairs = _pairs(runs, measure, by, changed, untouched, ())
    if len(pairs) < FEWEST_RUNS or not (pairs > 0).all(axis=None):
        return None
    both = [pairs[name].to_list() for name in pairs]
    return replace(paired_ratio(*both), p=unpaired_p(*np.log(both)))


def difference(
    runs: pd.DataFrame, measure: str, by: str, changed: object, untouched: object, alike: Sequence[str] = ()
) -> Difference | None:
    """The same as a difference; of storms of several kinds, the blocks are those that are ``alike`` in these columns.

    Kinds have nothing else in common, so that of several the p is that of the signs within blocks.
    """
    pairs = _pairs(runs, measure, by, changed, untouched, alike)
    if len(pairs) < (fewest_blocks() if alike else FEWEST_RUNS):
        return None
    both = [pairs[name].to_list() for name in pairs]
    found = paired_difference(*both)
    return found if alike else replace(found, p=unpaired_p(*both))


def gains(change: Difference) -> bool | None:
    """Whether it brings through as many as matter; a gain that chance may have made is not decided."""
    more = beyond(change.mean.low, change.mean.high, MATTERS)
    return None if more and change.p >= 1 - CONFIDENCE else more


def reduces(change: Effect) -> bool | None:
    """Whether a ratio is below one by what matters; one that chance may have made is not decided."""
    less = beyond(-change.ratio.high, -change.ratio.low, -1 / (1 + MATTERS))
    return None if less and change.p >= 1 - CONFIDENCE else less


def increases(change: Effect) -> bool | None:
    """Whether a ratio is above one by what matters; one that chance may have made is not decided."""
    more = beyond(*change.ratio.ends, 1 + MATTERS)
    return None if more and change.p >= 1 - CONFIDENCE else more


def beyond(low: float, high: float, margin: float) -> bool | None:
    """Whether what was measured is above a margin: the whole interval, no part of it, or not decided."""
    return True if low > margin else False if high < margin else None


def _pairs(
    runs: pd.DataFrame, measure: str, by: str, changed: object, untouched: object, alike: Sequence[str]
) -> pd.DataFrame:
    """A row for each block, columns ``changed`` and ``untouched``; blocks that lack one of them are left out."""
    chosen = runs[runs[by].isin([changed, untouched])]
    chosen = chosen.assign(**{by: chosen[by].astype(object)})
    number = chosen.groupby([*alike, by]).cumcount()
    values = chosen.assign(block=number).pivot(index=[*alike, "block"], columns=by, values=measure)
    return values.reindex(columns=[changed, untouched]).dropna()
