"""One group of storms held against another: whose storms may be compared, what of a change matters, and in blocks.

What is said in tables and what verdicts judge by is one comparison, made here of the statistics in :mod:`inference`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from harness.plan import Plan
from harness.thought.deciding import FEWEST_TO_DECIDE, Decision, decide, decide_over_strata, exact_p
from harness.thought.inference import (
    CONFIDENCE,
    FEWEST_RUNS,
    Difference,
    Effect,
    holm,
    paired_difference,
    paired_ratio,
    stratified_difference,
)

MATTERS = 0.05
"""Share of all clients; a change of fewer is nobody's cause or fix. Notebook 02 draws the same line."""
TOLD_BY = FEWEST_RUNS
"""Runs a side of which claims are told until the reference data have :data:`deciding.FEWEST_TO_DECIDE` of each kind.

Of most kinds they have three or five. Whoever raises it sees what that many runs cannot decide.
"""
LIMITED_TOO_OFTEN = 0.5
"""Share of the storms of a kind; from there on nothing is said of the speed of its server."""
EFFECTS = ("more", "less")
DECIDED = (*EFFECTS, "nothing")
"""What is seen where a comparison has an answer."""


def limited(storms: pd.DataFrame) -> bool:
    """Whether the generator was the limit, or may have been, so often that their speed is not the server's."""
    return bool((storms["generator"] != "ok").mean() >= LIMITED_TOO_OFTEN)


def nothing_dropped(storms: pd.DataFrame) -> bool:
    """Whether this host's own input queue is known to have dropped nothing in any of them."""
    return bool((storms["lo_rx_dropped"] == 0).all())


def without_drops(runs: pd.DataFrame) -> pd.DataFrame:
    """The trials whose storms say something of a backlog: in none of them this host dropped packets before TCP."""
    return runs[(runs["lo_rx_dropped"] == 0).groupby(runs["plan_hash"]).transform("all")]


def cpu_us_per_answer(runs: pd.DataFrame) -> pd.Series:
    """CPU time of the server for each answer, µs."""
    per_answer: pd.Series = runs["server_cpu_s"] / (runs["success_rate"] * runs["planned"]) * 1e6
    return per_answer


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
    return replace(paired_ratio(*both), p=exact_p(*np.log(both)))


def difference(
    runs: pd.DataFrame, measure: str, by: str, changed: object, untouched: object, alike: Sequence[str] = ()
) -> Difference | None:
    """The same as a difference; of storms of several kinds, which are ``alike`` in these columns, the mean over kinds.

    A kind with too few storms is none of them.
    """
    pairs = _pairs(runs, measure, by, changed, untouched, alike)
    if alike:
        kinds = [one for _, one in pairs.groupby(list(alike), observed=True) if len(one) >= FEWEST_RUNS]
        strata = [(one[changed].to_list(), one[untouched].to_list()) for one in kinds]
        return stratified_difference(strata) if strata else None
    if len(pairs) < FEWEST_RUNS:
        return None
    both = [pairs[name].to_list() for name in pairs]
    return replace(paired_difference(*both), p=exact_p(*both))


def gain(change: Difference) -> Decision:
    """Whether it brings through as many as matter."""
    found = decide_over_strata(change.mean, change.strata, MATTERS, untouched=change.untouched, needed=TOLD_BY)
    return _not_by_chance(found, change.p, change.apart)


def gains(change: Difference) -> bool | None:
    """The same without its reason."""
    return gain(change).holds


def reduces(change: Effect) -> bool | None:
    """Whether a ratio is below one by what matters; one that chance may have made is not decided."""
    over = change.ratio
    return increases(replace(change, ratio=replace(over, value=1 / over.value, low=1 / over.high, high=1 / over.low)))


def increases(change: Effect) -> bool | None:
    """Whether a ratio is above one by what matters; one that chance may have made is not decided."""
    return _not_by_chance(decide(change.ratio, 1 + MATTERS, needed=TOLD_BY), change.p, change.apart).holds


def _not_by_chance(decision: Decision, p: float, apart: bool) -> Decision:
    """What is shown is not shown where chance may have made it; runs enough that are all apart need no p."""
    told = apart and decision.found.runs >= FEWEST_TO_DECIDE
    if decision.holds and not told and p >= 1 - CONFIDENCE:
        return replace(decision, holds=None, why_null=f"chance may have made it (p = {p:.2g})", open="chance")
    return decision


def beyond(low: float, high: float, margin: float) -> bool | None:
    """Whether what was measured is above a margin: the whole interval, no part of it, or not decided."""
    return True if low > margin else False if high < margin else None


def with_blocks(runs: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """The plan's runs in its order, with ``block``, from 0, and ``again``: of two equal storms, the one compared."""
    twice = {trial.plan_hash for trial in plan.controls}
    ordered = runs.sort_values("run_id", kind="stable", ignore_index=True)
    number = ordered.groupby("plan_hash").cumcount()
    doubled = ordered["plan_hash"].isin(twice)
    block = number.where(~doubled, number // 2)
    made = ordered.assign(block=block, again=doubled & ((number % 2) != (block % 2)))
    place = {trial.plan_hash: index for index, trial in enumerate(plan.trials)}
    return made.sort_values("plan_hash", key=lambda hashes: hashes.map(place), kind="stable", ignore_index=True)


def ratio_in_blocks(values: pd.DataFrame, changed: str, untouched: str) -> tuple[Effect, pd.DataFrame] | None:
    """What ``changed`` is of ``untouched``, columns of ``values`` with a row a block, and the blocks that have both.

    None where fewer than :data:`inference.FEWEST_RUNS` have a value above zero of each.
    """
    both = values.reindex(columns=[untouched, changed]).dropna()
    both = both[(both > 0).all(axis=1)]
    if len(both) < FEWEST_RUNS:
        return None
    return paired_ratio(both[changed].to_list(), both[untouched].to_list()), both


def judged(table: pd.DataFrame, *, withheld: pd.Series, core: pd.Series) -> pd.DataFrame:
    """Comparisons, as :class:`inference.Effect` has them, with ``seen``.

    An effect is seen where blocks enough have it and their whole interval is beyond what matters. Among the comparisons
    of a core question, which ``core`` names and leaves null for all others, that is not enough: either all storms of
    one side are above all of the other, or the exact p of the signs is small, corrected for their number (Holm).
    """
    enough = table["blocks"] >= FEWEST_TO_DECIDE
    p = table["p"].mask(withheld | ~enough | table["apart"].astype(bool)).dropna()
    chance = p.groupby(core).transform(lambda each: holm(each.to_list())) >= 1 - CONFIDENCE
    sure = enough & ~chance.reindex(table.index, fill_value=False)
    seen = [withheld, sure & (table["low"] > 1 + MATTERS), sure & (table["high"] < 1 / (1 + MATTERS))]
    return table.assign(core=core, seen=np.select(seen, ["withheld", *EFFECTS], "nothing"))


def _pairs(
    runs: pd.DataFrame, measure: str, by: str, changed: object, untouched: object, alike: Sequence[str]
) -> pd.DataFrame:
    """A row for each block, columns ``changed`` and ``untouched``; blocks that lack one of them are left out."""
    chosen = runs[runs[by].isin([changed, untouched])]
    chosen = chosen.assign(**{by: chosen[by].astype(object)})
    number = chosen.groupby([*alike, by]).cumcount()
    values = chosen.assign(block=number).pivot(index=[*alike, "block"], columns=by, values=measure)
    return values.reindex(columns=[changed, untouched]).dropna()
