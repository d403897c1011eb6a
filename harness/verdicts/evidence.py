"""What verdicts stand on: runs, of each plan those of one machine, what they compare, and which may say what.

Two rules are everybody's. A storm in which this host's own input queue dropped packets says nothing of a backlog, and
a speed says nothing of a server where the generator was the limit; both are asked of the storms of a kind together,
as to pick single ones by how they went would be to pick a result.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness import experiments, results, store
from harness.effects import fewest_blocks
from harness.foreign.attack import ATTACKS, load_attacks
from harness.foreign.record import of_plan
from harness.foreign.records import published, recorded
from harness.host import Host
from harness.inference import CONFIDENCE, FEWEST_RUNS, Difference, Effect, paired_difference, paired_ratio, unpaired_p
from harness.plan import PLANS, Plan, load_plan
from harness.record import open_lives, open_run
from harness.summary import Summary
from harness.verdicts.verdict import beyond

AUDIT = "audit.json"
MATTERS = 0.05
"""Share of all clients; a change of fewer is nobody's cause or fix. Notebook 02 draws the same line."""


@dataclass(frozen=True)
class Evidence:
    """Runs with the columns of :data:`harness.results.COLUMNS`, those of a plan of one machine; rows of the audit."""

    runs: pd.DataFrame
    audit: Sequence[Mapping[str, Any]]
    attacks: Sequence[Mapping[str, Any]]
    """Records of what other generators drove (:mod:`harness.foreign`)."""
    folder: Path
    """Where rows of single connections are looked for first."""
    other_hosts: int = 0
    """Runs that are left out, because another machine tells of their plan."""

    @property
    def host(self) -> str:
        """The machine, for captions; of several, which tell of a plan each, all."""
        hosts = [Host.from_json(json.loads(text)).caption for text in self.runs["host"].drop_duplicates()]
        return " and ".join(hosts) or "no machine"

    def of_plan(self, name: str, *options: str) -> pd.DataFrame:
        """The runs of a plan of the collection, none if there is no such plan; with options of their trials as columns.

        And with ``variant``, the scenario, and ``wide``, whether this host's input queue was opened wide for the storm.
        """
        path = PLANS / f"{name}.toml"
        plan = load_plan(path) if path.exists() else Plan(name, "", ())
        chosen = self.of_trials(experiments.hashes(plan))
        named = results.with_options(results.with_variants(chosen, plan), "host_sysctl", *options)
        return named.assign(wide=named["host_sysctl"].map(bool).astype(bool))

    def of_trials(self, hashes: Iterable[str]) -> pd.DataFrame:
        """The runs of trials that are compared with each other, of one machine."""
        return experiments.of_one_host(self.runs[self.runs["plan_hash"].isin(list(hashes))])

    def attacks_of(self, name: str) -> pd.DataFrame:
        """The attacks of a plan of the collection, as :func:`harness.foreign.record.of_plan` has them."""
        return of_plan(load_attacks(ATTACKS / f"{name}.toml"), self.attacks)

    def lives(self, run_id: str) -> pd.DataFrame:
        """The rows of a run's connections. Raises: PlanError: there are none."""
        return open_lives(self._place(run_id), data=self.folder)

    def settings(self, run_id: str) -> Mapping[str, str]:
        """The kernel's settings in a run. Raises: PlanError: its folder is not there."""
        found: Mapping[str, str] = open_run(self._place(run_id), data=self.folder).run.manifest["kernel"]["sysctls"]
        return found

    def _place(self, run_id: str) -> str:
        """Its own folder, where there is one: a copy of the reference data has runs of the same names."""
        path = self.folder / run_id
        return str(path) if (path / store.MANIFEST).is_file() else run_id


def gather(folder: Path) -> Evidence:
    """The evidence in a folder of runs, or in a copy of the reference data, which has a table of them.

    Runs of different machines are never pooled: of each plan the machine tells that has most runs of it. Of a trial
    that was run with several builds of its server, the last build counts.
    """
    table, audit = folder / results.RUNS, folder / AUDIT
    known = [experiments.hashes(plan) for plan in experiments.plans()]
    runs = results.read(table) if table.exists() else results.frame(map(Summary, experiments.recorded(folder)))
    runs = runs.sort_values("run_id", kind="stable", ignore_index=True)
    told = experiments.a_host_for_each(runs, known)
    builds = told["binary_hash"].fillna("")
    last = builds.eq(builds.groupby([told["plan_hash"], told["host_id"]]).transform("last"))
    rows = json.loads((audit if audit.exists() else store.REFERENCE / AUDIT).read_text(encoding="utf-8"))["stacks"]
    attacks = (published if table.exists() else recorded)(folder)
    return Evidence(told[last], rows, attacks, folder, len(runs) - len(told))


def kinds(runs: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The storms of each trial with what tells it from others, such as ``50,000 clients, shared CPUs``."""
    for _, storms in runs.groupby("plan_hash", sort=False):
        first = storms.iloc[0]
        queue = ", input queue opened wide" if first["wide"] else ""
        yield f"{first['clients']:,} clients, {first['cpu']} CPUs{queue}", storms


def clean(storms: pd.DataFrame) -> bool:
    """Whether this host's own input queue is known to have dropped nothing in any of them."""
    return bool((storms["lo_rx_dropped"] == 0).all())


def on_clean_ground(runs: pd.DataFrame) -> pd.DataFrame:
    """The trials whose storms say something of a backlog."""
    return runs[(runs["lo_rx_dropped"] == 0).groupby(runs["plan_hash"]).transform("all")]


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


def _pairs(
    runs: pd.DataFrame, measure: str, by: str, changed: object, untouched: object, alike: Sequence[str]
) -> pd.DataFrame:
    """A row for each block, columns ``changed`` and ``untouched``; blocks that lack one of them are left out."""
    chosen = runs[runs[by].isin([changed, untouched])]
    chosen = chosen.assign(**{by: chosen[by].astype(object)})
    number = chosen.groupby([*alike, by]).cumcount()
    values = chosen.assign(block=number).pivot(index=[*alike, "block"], columns=by, values=measure)
    return values.reindex(columns=[changed, untouched]).dropna()
