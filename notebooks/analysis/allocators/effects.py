"""What a change does, measured in blocks: each variant against the untouched one, and that one against itself.

A plan with a control runs the untouched variant twice in each block. The comparison of the two, in which nothing
differs but the moment, is made as all others are: what it shows is what this design makes of nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from harness.plan import Plan
from harness.thought.comparing import (
    EFFECTS,
    LIMITED_TOO_OFTEN,
    cpu_us_per_answer,
    judged,
    ratio_in_blocks,
    with_blocks,
)
from harness.thought.inference import FEWEST_RUNS, smallest_detectable_ratio

UNTOUCHED, AGAIN = "system", "system again"
POOLED = "all loads"
"""What an experiment says of a server as a whole: geometric means over its loads, block by block."""
GENERATORS = ("throughput_per_s", "p99_ms")
"""Measures that are the generator's where it was the limit."""


def in_blocks(runs: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """The plan's runs with columns ``experiment``, ``load``, ``block``, from 0, ``asked`` and ``compared``.

    ``load`` is the variant, ``compared`` the allocator ``asked`` for, or which of two equal storms it is. The n-th run
    of a trial belongs to the n-th block. Of the two of a control, now the earlier and now the later one stands
    for the untouched variant, so that neither is favoured by its place. ``cpu_us_per_answer`` is the server's.
    """
    loads = dict(zip((trial.plan_hash for trial in plan.trials), plan.variants, strict=True))
    asked = {trial.plan_hash: trial.server.allocator for trial in plan.trials}
    numbered = with_blocks(runs, plan)
    return numbered.assign(
        experiment=plan.name,
        load=numbered["plan_hash"].map(loads),
        asked=numbered["plan_hash"].map(asked),
        compared=numbered["plan_hash"].map(asked).mask(numbered["again"], AGAIN),
        cpu_us_per_answer=cpu_us_per_answer(numbered),
    ).drop(columns="again")


def effects(runs: pd.DataFrame, measures: Sequence[str]) -> pd.DataFrame:
    """Every comparison there is in the runs of :func:`in_blocks`: a row for each kind of storm, variant and measure.

    Servers with several loads in one experiment come first, over all of them (:data:`POOLED`): storms differ far more
    than most effects, and many of them see what one kind cannot. ``p`` is that of the signs of the blocks. The
    ``core`` question is what a server as a whole has of an allocator, in each measure. An effect is ``seen`` (``more``,
    ``less``) as :func:`comparing.judged` has it, else ``nothing`` is; ``withheld`` where the speed is the generator's,
    which is no comparison of servers; ``unsteady`` where equal storms pass for an effect.
    ``smallest`` is the smallest ratio above one that blocks of this spread detect, ``limited`` the share of storms
    that the generator limited.
    """
    storms = runs.assign(limited=(runs["generator"] != "ok").astype(float))
    rows = []
    for kind, of_kind in pd.concat([_pooled(storms, measures), storms]).groupby(_KIND, sort=False):
        limited = of_kind.groupby("compared")["limited"].mean()
        for measure in measures:
            values = of_kind.pivot(index="block", columns="compared", values=measure)
            for variant in values.columns.drop(UNTOUCHED, errors="ignore"):
                compared = ratio_in_blocks(values, variant, UNTOUCHED)
                if compared is None:
                    continue
                found, both = compared
                interval = (found.ratio.value, found.ratio.low, found.ratio.high, found.ratio.kind)
                share = max(limited[UNTOUCHED], limited[variant])
                tests = (found.p, found.apart, found.smallest_detectable)
                rows.append((*kind, variant, measure, *interval, *tests, len(both), share))
    table = pd.DataFrame(rows, columns=_COLUMNS)
    withheld = table["measure"].isin(GENERATORS) & (table["limited"] >= LIMITED_TOO_OFTEN)
    control = table["variant"] == AGAIN
    loads = table.groupby(["experiment", "server"])["load"]
    whole = table["load"].eq(POOLED) | loads.transform(lambda names: POOLED not in set(names))
    table = judged(table, withheld=withheld, core=table["measure"].where(whole & ~control))
    kinds = pd.MultiIndex.from_frame(table[[*_KIND, "measure"]])
    unsteady = kinds.isin(kinds[control & table["seen"].isin(EFFECTS)])
    table["seen"] = table["seen"].mask(unsteady & ~control & ~withheld, "unsteady")
    return table


def _pooled(storms: pd.DataFrame, measures: Sequence[str]) -> pd.DataFrame:
    """A row for each server, block and variant of an experiment with several loads, where the block has them all."""
    whole = []
    for _, of_experiment in storms.groupby("experiment", sort=False):
        loads = of_experiment["load"].nunique()
        if loads > 1:
            logs = of_experiment.assign(load=POOLED)
            logs[list(measures)] = np.log(logs[list(measures)].where(logs[list(measures)] > 0))
            of_block = logs.groupby([*_KIND, "block", "compared"], sort=False)
            means = of_block[[*measures, "limited"]].sum(min_count=loads) / loads
            means[list(measures)] = np.exp(means[list(measures)])
            whole.append(means.reset_index())
    return pd.concat(whole) if whole else storms.iloc[:0]


_KIND = ["experiment", "server", "load"]
_COLUMNS = [*_KIND, "variant", "measure", "ratio", "low", "high", "kind", "p", "apart", "smallest"]
_COLUMNS += ["blocks", "limited"]


def comparisons(plans: Iterable[Plan], measures: Sequence[str]) -> tuple[int, int]:
    """How many comparisons plans ask for: of kinds of storm, and of servers as a whole where there are several loads.

    Of each measure that a trial has, one for each variant other than the untouched one.
    """
    kinds: set[tuple[str, ...]] = set()
    wholes: set[tuple[str, ...]] = set()
    for plan in plans:
        for trial, load in zip(plan.trials, plan.variants, strict=True):
            server = trial.server
            if server.allocator != UNTOUCHED:
                had = [name for name in measures if trial.settle_s or name != "settled_rss_bytes"]
                kinds.update((plan.name, server.name, server.allocator, load, name) for name in had)
                if len(set(plan.variants)) > 1:
                    wholes.update((plan.name, server.name, server.allocator, name) for name in had)
    return len(kinds), len(wholes)


def designed(pilot: pd.DataFrame, measures: Sequence[str], blocks: int, loads: int = 1) -> pd.DataFrame:
    """What a design can see, from equal storms measured before it: a row for each measure.

    The spread of a ratio of two storms is √2 times that of one, pooled over the kinds of ``pilot``; that of a mean over
    ``loads`` is so much smaller. ``smallest`` is the smallest ratio above one that a comparison detects; NaN where
    there are too few storms to tell.
    """
    rows = {}
    for column in measures:
        logs = np.log(pilot[column].where(pilot[column] > 0))
        of_kind = logs.groupby([pilot["server"], pilot["load"]], observed=True)
        variances, degrees = of_kind.var(), of_kind.count() - 1
        known = variances.notna()
        spread = (
            float(np.sqrt(2 * np.average(variances[known], weights=degrees[known]) / loads)) if known.any() else np.nan
        )
        known_enough = blocks >= FEWEST_RUNS and not np.isnan(spread)
        smallest = smallest_detectable_ratio(spread, blocks) if known_enough else np.nan
        rows[column] = {"spread": spread, "smallest": smallest}
    return pd.DataFrame(rows).T
