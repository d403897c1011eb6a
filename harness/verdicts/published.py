"""The published benchmark: its Hyper under its own generator, and its program in the storm of which the text speaks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from harness.inference import Interval, mean_of_runs
from harness.report.notebook import percent
from harness.report.published import at_name, ipv4_only, refused_on_ipv6
from harness.verdicts.evidence import Evidence, clean
from harness.verdicts.telling import title, with_ends

ADDRESS, CHANCES = "08-address", "08-chances"
"""Plans of attacks: which address the generator calls, and what else its runner left to chance."""
FILES = "08-files"
STORMS = ("08-timeouts", FILES)
OF_HYPER = "hyper-"
"""So begin the names of the servers that are written after the published one."""
OLD, NAME = "vegeta-12.11.1", "localhost"
AS_PUBLISHED = f"{OLD} at {NAME}"
_SERVERS_DOING = ("refused", "reset", "closed_early", "bad_answer")
"""Outcomes that packets which this host lost on their way cannot have."""


@dataclass(frozen=True, slots=True)
class Kind:
    """Attacks or storms of one kind: what it is called, and the share of all requests that was answered."""

    name: str
    answered: Interval
    blameless: Interval
    """The same, with what this host's dropped packets may have cost counted as answered."""
    run_ids: tuple[str, ...]
    node: float | None = None
    """The share that Node.js answers in the same storm, where it was tried."""


def under_its_generator(evidence: Evidence) -> Iterator[tuple[Kind, pd.DataFrame]]:
    """Attacks on the published Hyper, kind by kind, the one as published first."""
    for plan in (ADDRESS, CHANCES):
        attacks = evidence.attacks_of(plan)
        if attacks.empty:
            continue
        chosen = attacks[attacks["server"].str.startswith(OF_HYPER)]
        for _, same in chosen.groupby("plan_hash", sort=False):
            first = same.iloc[0]
            name = f"{first['tool']} at {first['target']}" if plan == ADDRESS else str(first["variant"])
            answered = mean_of_runs(same["success_rate"].to_list())
            yield Kind(name, answered, answered, tuple(same["run_id"])), same


def in_the_storm(evidence: Evidence) -> Iterator[Kind]:
    """Storms of the lab on the published program, kind by kind."""
    for plan in STORMS:
        runs = of_program(evidence, plan).sort_values(["timeout_s", "nofile"])
        every = evidence.of_plan(plan, "server", "timeout_s", "nofile").fillna({"nofile": 0})
        of_node = every[every["server"] == "node"].groupby(["timeout_s", "nofile"])["success_rate"].mean()
        for _, storms in runs.groupby("plan_hash", sort=False):
            first = storms.iloc[0]
            rival = of_node.get((first["timeout_s"], 0 if pd.isna(first["nofile"]) else first["nofile"]))
            files = "" if pd.isna(first["nofile"]) else f", {first['nofile']:,.0f} files"
            name = f"{first['variant']} in a storm, timeout {first['timeout_s']:g} s{files}"
            answered = mean_of_runs(storms["success_rate"].to_list())
            blameless = answered
            if not clean(storms):
                blameless = mean_of_runs([1 - _servers_doing(each) for each in storms["outcomes"]])
            yield Kind(name, answered, blameless, tuple(storms["run_id"]), rival)


def of_program(evidence: Evidence, plan: str) -> pd.DataFrame:
    """The lab's storms on the published program, with their timeouts and limits of open files."""
    runs = evidence.of_plan(plan, "server", "timeout_s", "nofile")
    return runs[runs["server"].astype(str).str.startswith(OF_HYPER)]


def told(evidence: Evidence) -> str:
    """What became of the published attack, and of the same with one thing changed; empty where it was not run."""
    kinds = {kind.name: (kind, attacks) for kind, attacks in under_its_generator(evidence)}
    if AS_PUBLISHED not in kinds:
        return ""
    kind, attacks = kinds[AS_PUBLISHED]
    said = f"As published ({AS_PUBLISHED}), Hyper, which listens on {attacks['addresses'].iloc[0]}, answers "
    said += f"{_shares(kind.answered)}; {_refused_on_ipv6(attacks)}."
    others = [f"{percent(other.answered.value)} {name}" for name, (other, _) in kinds.items() if name != AS_PUBLISHED]
    return f"{said} With one thing changed: {'; '.join(others)}." if others else said


def finding(evidence: Evidence) -> str:
    """What the figure of the addresses shows, in sentences. Raises: MachineError: there are no such attacks."""
    attacks = evidence.attacks_of(ADDRESS)
    deaf = ipv4_only(attacks)
    failing, later = at_name(attacks, OLD), attacks[deaf & ~attacks.index.isin(at_name(attacks, OLD).index)]
    others = attacks[~deaf & (attacks["tool"] == OLD)]
    return (
        f"{_servers(failing)}, which listen on 127.0.0.1 only, answer {_mean(failing)} of what the published generator "
        f"asks of {NAME}; {_refused_on_ipv6(failing)}. {_servers(others)}, which listen on both, answer "
        f"{_mean(others)}. With a later version of it, or at 127.0.0.1, {_servers(later)} answers {_mean(later)}."
    )


def _servers(attacks: pd.DataFrame) -> str:
    """``Hyper, Actix and Tokio``."""
    *most, last = dict.fromkeys(title(server.partition("-")[0]) for server in attacks["server"])
    return f"{', '.join(most)} and {last}" if most else last


def _mean(attacks: pd.DataFrame) -> str:
    return _shares(mean_of_runs(attacks["success_rate"].to_list()))


def _refused_on_ipv6(attacks: pd.DataFrame) -> str:
    failed = (attacks["requests"] - attacks["answered"]).sum()
    return f"{refused_on_ipv6(attacks).sum():,} of {failed:,} failures are refusals on [::1]"


def _shares(interval: Interval) -> str:
    return with_ends(interval.value, interval.ends, "share")


def _servers_doing(outcomes: str) -> float:
    """The share of requests that failed in a way that no lost packet explains."""
    counts = json.loads(outcomes)
    return float(sum(counts.get(name, 0) for name in _SERVERS_DOING) / sum(counts.values()))
