"""What a change does, measured in blocks: each variant against the untouched one, and that one against itself.

A plan with a control runs the untouched variant twice in each block. The comparison of the two, in which nothing
differs but the moment, is made as all others are: what it shows is what this design makes of nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from harness.inference import CONFIDENCE, holm, paired_ratio, smallest_detectable_ratio
from harness.plan import Plan

UNTOUCHED, AGAIN = "system", "system again"
GENERATORS = ("throughput_per_s", "p99_ms")
"""Measures that are the generator's where it was the limit."""
LIMITED_TOO_OFTEN = 0.5
"""Share of the storms of a kind; from there on nothing is said of the speed of its server."""


def in_blocks(runs: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """The plan's runs with columns ``experiment``, ``load``, ``block``, from 0, ``asked`` and ``compared``.

    ``load`` is the scenario, ``compared`` the allocator ``asked`` for, or which of two equal storms it is. The n-th run
    of a trial belongs to the n-th block. Of the two of a control, now the earlier and now the later one stands
    for the untouched variant, so that neither is favoured by its place. ``cpu_us_per_answer`` is the server's.
    """
    loads = dict(zip((trial.plan_hash for trial in plan.trials), plan.names, strict=True))
    asked = {trial.plan_hash: trial.server.allocator for trial in plan.trials}
    numbered = with_blocks(runs, plan)
    return numbered.assign(
        experiment=plan.name,
        load=numbered["plan_hash"].map(loads),
        asked=numbered["plan_hash"].map(asked),
        compared=numbered["plan_hash"].map(asked).mask(numbered["again"], AGAIN),
        cpu_us_per_answer=cpu_us_per_answer(numbered),
    ).drop(columns="again")


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


def cpu_us_per_answer(runs: pd.DataFrame) -> pd.Series:
    """CPU time of the server for each answer, µs."""
    per_answer: pd.Series = runs["server_cpu_s"] / (runs["success_rate"] * runs["planned"]) * 1e6
    return per_answer


def effects(runs: pd.DataFrame, measures: Sequence[str]) -> pd.DataFrame:
    """Every comparison there is in the runs of :func:`in_blocks`: a row for each kind of storm, variant and measure.

    ``corrected`` is the p of a paired t-test, corrected (Holm) for the number of all comparisons that are made; a
    control is no hypothesis and is corrected among its own kind. ``p`` is the permutation test's, taken alone. An
    effect is ``seen`` (``more``, ``less``) where both are small and the interval excludes one, else ``nothing`` is;
    ``withheld`` where the speed is the generator's, which is no comparison of servers. ``smallest`` is the smallest
    ratio above one that blocks of this spread detect, ``limited`` the share of storms that the generator limited.
    """
    rows = []
    for kind, storms in runs.groupby(["experiment", "server", "load"], sort=False):
        limited = (storms["generator"] == "limiting").groupby(storms["compared"]).mean()
        for measure in measures:
            values = storms.pivot(index="block", columns="compared", values=measure)
            for variant in values.columns.drop(UNTOUCHED, errors="ignore"):
                both = values.reindex(columns=[UNTOUCHED, variant]).dropna()
                both = both[(both > 0).all(axis=1)]
                if len(both) < FEWEST_BLOCKS:
                    continue
                found = paired_ratio(both[variant].to_list(), both[UNTOUCHED].to_list())
                interval = (found.ratio.value, found.ratio.low, found.ratio.high)
                share = max(limited[UNTOUCHED], limited[variant])
                tests = (found.p, found.t_p, found.smallest_detectable)
                rows.append((*kind, variant, measure, *interval, *tests, len(both), share))
    table = pd.DataFrame(rows, columns=_COLUMNS)
    withheld = table["measure"].isin(GENERATORS) & (table["limited"] >= LIMITED_TOO_OFTEN)
    return judged(table, withheld=withheld, control=table["variant"] == AGAIN)


def judged(table: pd.DataFrame, *, withheld: pd.Series, control: pd.Series) -> pd.DataFrame:
    """``table`` of comparisons (``p``, ``t_p``, ``low``, ``high``) with columns ``corrected`` and ``seen``."""
    family = table["t_p"].mask(withheld).dropna().groupby(control)
    table = table.assign(corrected=family.transform(lambda p: holm(p.to_list())))
    sure = (table["corrected"] < 1 - CONFIDENCE) & (table["p"] < 1 - CONFIDENCE)
    seen = [withheld, sure & (table["low"] > 1), sure & (table["high"] < 1)]
    return table.assign(seen=np.select(seen, ["withheld", "more", "less"], "nothing"))


FEWEST_BLOCKS = 3
_COLUMNS = ["experiment", "server", "load", "variant", "measure", "ratio", "low", "high", "p", "t_p", "smallest"]
_COLUMNS += ["blocks", "limited"]


def comparisons(plans: Iterable[Plan], measures: Sequence[str]) -> int:
    """How many comparisons plans ask for: of each measure, each trial with another than the untouched one."""
    return sum(
        len([name for name in measures if trial.settle_s or name != "settled_rss_bytes"])
        for plan in plans
        for trial in plan.trials
        if trial.server.allocator != UNTOUCHED
    )


def fewest_blocks() -> int:
    """How many blocks it takes for any effect to be established.

    Without one the signs of the differences are coins: the permutation test's p is no less than 2 / 2 ** blocks.
    """
    return int(np.floor(np.log2(2 / (1 - CONFIDENCE)))) + 1


def designed(pilot: pd.DataFrame, measures: Sequence[str], blocks: int, comparisons: int) -> pd.DataFrame:
    """What a design can see, from equal storms measured before it: a row for each measure.

    The spread of a ratio of two storms is √2 times that of one, pooled over the kinds of ``pilot``. ``alone`` is the
    smallest ratio above one that a single comparison detects, ``corrected`` that of one among so many ``comparisons``;
    NaN where there are too few storms to tell.
    """
    rows = {}
    for column in measures:
        logs = np.log(pilot[column].where(pilot[column] > 0))
        of_kind = logs.groupby([pilot["server"], pilot["load"]], observed=True)
        variances, degrees = of_kind.var(), of_kind.count() - 1
        known = variances.notna()
        spread = float(np.sqrt(2 * np.average(variances[known], weights=degrees[known]))) if known.any() else np.nan
        known_enough = blocks >= FEWEST_BLOCKS and not np.isnan(spread)
        levels = {"alone": CONFIDENCE, "corrected": 1 - (1 - CONFIDENCE) / comparisons}
        rows[column] = {"spread": spread} | {
            name: smallest_detectable_ratio(spread, blocks, level) if known_enough else np.nan
            for name, level in levels.items()
        }
    return pd.DataFrame(rows).T
