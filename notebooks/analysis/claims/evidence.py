"""What propositions are decided on: runs, of each plan those of one machine, and attacks by other tools."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.attacks import of_plan
from harness.events.host import Host
from harness.events.manifest import MANIFEST
from harness.events.records import published, recorded
from harness.lab import open_lives, open_run
from harness.plan import PLANS, Plan, load_plan
from harness.plan.attack import ATTACKS, load_attacks
from harness.thought import experiments
from harness.thought import runs as results
from harness.thought.readable import readable


@dataclass(frozen=True, eq=False)  # as itself a key of caches
class Evidence:
    """Runs with the columns of :data:`runs.COLUMNS`, those of a plan of one machine."""

    runs: pd.DataFrame
    attacks: Sequence[Mapping[str, Any]]
    """Records of what other generators drove (:mod:`harness.trial.foreign`)."""
    folder: Path
    """Where rows of single connections are looked for first."""
    other_hosts: int = 0
    """Runs that are left out, because another machine tells of their plan."""

    @property
    def host(self) -> str:
        """The machine, for captions; of several, which tell of a plan each, all."""
        hosts = dict.fromkeys(Host.from_json(each).caption for each in self.runs["host"])
        return " and ".join(hosts) or "no machine"

    def of_plan(self, name: str, **wanted: Any) -> pd.DataFrame:
        """The runs of a plan of the collection, none if there is none, with ``variant`` and its options as columns.

        ``wanted`` are options, or ``variant``, and the value that each must have; ``wide`` whether netdev_max_backlog
        was raised for the storm.
        """
        runs = self._whole_plan(name)
        if options := [option for option in wanted if option not in runs]:
            runs = results.with_options(runs, *options)
        for column, value in wanted.items():
            runs = runs[runs[column].isna() if value is None else runs[column].eq(value)]
        return runs

    @cache  # noqa: B019 (an Evidence lives as long as it is asked)
    def _whole_plan(self, name: str) -> pd.DataFrame:
        plan = _plan(name)
        runs = results.with_variants(self.of_trials(experiments.hashes(plan)), plan)
        runs = results.with_options(runs, "host_sysctl")
        return runs.assign(wide=runs["host_sysctl"].map(bool).astype(bool))

    def of_trials(self, hashes: Iterable[str]) -> pd.DataFrame:
        """The runs of trials that are compared with each other, of one machine."""
        return experiments.of_one_host(self.runs[self.runs["plan_hash"].isin(list(hashes))])

    def attacks_of(self, name: str) -> pd.DataFrame:
        """The attacks of a plan of the collection, as :func:`analysis.attacks.of_plan` has them."""
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
        return str(path) if (path / MANIFEST).is_file() else run_id


def gather(
    folder: Path, plans: Iterable[str] | None = None, say: Callable[[str], None] = lambda line: None
) -> Evidence:
    """The evidence in a folder of runs, or in a copy of the reference data, which has a table of them.

    ``plans`` are the names of those that are asked of; None for all. Of a run or record that cannot be read ``say`` is
    told why. Runs of different machines are never pooled: of each plan the machine tells that has most runs of it. Of
    a trial that was run with several builds of its server, the last build counts.
    """
    table = folder / results.RUNS
    known = [experiments.hashes(plan) for plan in (experiments.plans() if plans is None else map(_plan, plans))]
    if table.exists():
        runs = results.read(table, {one for trials in known for one in trials})
    else:
        runs = results.frame(readable(experiments.recorded(folder, say), say))
    runs = runs.sort_values("run_id", kind="stable", ignore_index=True)
    told = experiments.a_host_for_each(runs, known)
    builds = told["binary_hash"].fillna("")
    last = builds.eq(builds.groupby([told["plan_hash"], told["host_id"]]).transform("last"))
    attacks = published(folder) if table.exists() else recorded(folder, say)
    return Evidence(told[last], attacks, folder, len(runs) - len(told))


@cache
def _plan(name: str) -> Plan:
    """Of the collection, or of its searches; one without trials if there is none of that name."""
    path = PLANS / f"{name}.toml"
    if path.exists():
        return load_plan(path)
    found = PLANS / "searches" / path.name
    return experiments.searched(found) if found.exists() else Plan(name, "", ())
