"""What verdicts stand on: runs, of each plan those of one machine, and which of them may say something of what.

Two rules are everybody's. A storm in which this host's own input queue dropped packets says nothing of a backlog, and
a speed says nothing of a server where the generator was the limit; both are asked of the storms of a kind together,
as to pick single ones by how they went would be to pick a result.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.attacks import of_plan
from harness.events import store
from harness.events.host import Host
from harness.events.manifest import MANIFEST
from harness.events.records import published, recorded
from harness.lab import open_lives, open_run
from harness.plan import PLANS, Plan, load_plan
from harness.plan.attack import ATTACKS, load_attacks
from harness.thought import experiments
from harness.thought import runs as results
from harness.thought.summary import readable

AUDIT = "audit.json"


@dataclass(frozen=True)
class Evidence:
    """Runs with the columns of :data:`runs.COLUMNS`, those of a plan of one machine; rows of the audit."""

    runs: pd.DataFrame
    audit: Sequence[Mapping[str, Any]]
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

    def of_plan(self, name: str, *options: str) -> pd.DataFrame:
        """The runs of a plan of the collection, none if there is no such plan; with options of their trials as columns.

        And with ``variant`` and ``wide``, whether netdev_max_backlog was raised for the storm.
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


def gather(folder: Path, say: Callable[[str], None] = lambda line: None) -> Evidence:
    """The evidence in a folder of runs, or in a copy of the reference data, which has a table of them.

    Of a run or record that cannot be read ``say`` is told why.

    Runs of different machines are never pooled: of each plan the machine tells that has most runs of it. Of a trial
    that was run with several builds of its server, the last build counts.
    """
    table, audit = folder / results.RUNS, folder / AUDIT
    known = [experiments.hashes(plan) for plan in experiments.plans()]
    measured = readable(experiments.recorded(folder, say), say)
    runs = results.read(table) if table.exists() else results.frame(measured)
    runs = runs.sort_values("run_id", kind="stable", ignore_index=True)
    told = experiments.a_host_for_each(runs, known)
    builds = told["binary_hash"].fillna("")
    last = builds.eq(builds.groupby([told["plan_hash"], told["host_id"]]).transform("last"))
    rows = json.loads((audit if audit.exists() else store.REFERENCE / AUDIT).read_text(encoding="utf-8"))["stacks"]
    attacks = published(folder) if table.exists() else recorded(folder, say)
    return Evidence(told[last], rows, attacks, folder, len(runs) - len(told))


def kinds(runs: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The storms of each trial with what tells it from others, such as ``50,000 clients, shared CPUs``."""
    for _, storms in runs.groupby("plan_hash", sort=False):
        first = storms.iloc[0]
        queue = ", raised netdev_max_backlog" if first["wide"] else ""
        yield f"{first['clients']:,} clients, {first['cpu']} CPUs{queue}", storms
