"""The door for attacks, as :mod:`harness.lab` is for storms: a plan goes in, its records come out, one row each."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from harness.errors import MachineError, PlanError
from harness.events import store
from harness.events.records import REFERENCE, published, recorded
from harness.lab import Source, attack
from harness.plan.attack import AttackPlan, collection
from harness.thought.experiments import of_one_host

LAB = "the lab"
"""Who drives what no other tool drives."""


def record(
    plan: AttackPlan,
    source: Source = "reference",
    *,
    data: Path | None = None,
    reference: Path = store.REFERENCE,
    say: Callable[[str], None] = print,
) -> pd.DataFrame:
    """The records of a plan as a frame; see :func:`of_plan`.

    Raises:
        PlanError: ``source`` is neither word.
        MachineError: there is not a single record, neither kept nor to be had.
    """
    if source == "reference":
        found = published(reference)
    elif source == "here":
        found = attack(plan, data=data, say=say)
    else:
        raise PlanError(f"source is {source!r}; it is 'reference' or 'here'", "choose one of the two")
    runs = of_plan(plan, found)
    if runs.empty:
        raise MachineError(
            f"there is no record of the plan {plan.name!r} as it is",
            "change the parameters back, or build what it needs with `python -m harness.trial.foreign`",
        )
    return runs


def of_plan(plan: AttackPlan, records: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Those of a plan as a frame (see :func:`frame`), in its order, with ``variant``; of one host."""
    order = {attack.plan_hash: index for index, attack in enumerate(plan.attacks)}
    chosen = [kept for kept in records if kept["plan_hash"] in order]
    if not chosen:
        return pd.DataFrame()
    names = dict(zip((attack.plan_hash for attack in plan.attacks), plan.variants, strict=True))
    runs = of_one_host(frame(sorted(chosen, key=lambda kept: order[kept["plan_hash"]]))).reset_index(drop=True)
    variants = pd.Categorical(runs["plan_hash"].map(names), categories=list(dict.fromkeys(plan.variants)), ordered=True)
    return runs.assign(variant=variants)


def frame(records: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """A row for each record: what was planned, what the tool said, what was seen from outside.

    ``kinds`` and ``counters`` are dictionaries, ``output`` the tool's own words, shortened; ``syns_ipv4`` and
    ``syns_ipv6`` are null without nftables, ``p50_ms`` and ``answers_per_step`` where the tool does not give its
    requests away one by one.
    """
    return pd.DataFrame([_line(kept) for kept in records])


def publish(data: Path, reference: Path = store.REFERENCE) -> int:
    """Put the records in ``data`` that belong to a plan of the collection in place of older ones; how many there are.

    Of plans that were not run here the older records stay, and where another machine has more of a plan.
    """
    fresh = recorded(data)
    replaced = {(kept["plan_hash"], kept["host"]["host_id"]) for kept in fresh}
    older = [kept for kept in published(reference) if (kept["plan_hash"], kept["host"]["host_id"]) not in replaced]
    told = [of_plan(plan, [*older, *fresh]) for plan in collection()]
    wanted = {run_id for runs in told if len(runs) for run_id in runs["run_id"]}
    lines = sorted((kept for kept in [*older, *fresh] if kept["run_id"] in wanted), key=lambda kept: kept["run_id"])
    if lines:
        text = "".join(json.dumps(kept, ensure_ascii=False, separators=(",", ":")) + "\n" for kept in lines)
        store.write_whole(reference / REFERENCE, text)
    return len(lines)


def _line(kept: Mapping[str, Any]) -> dict[str, Any]:
    said, seen, plan = kept["said"], kept["observed"], kept["plan"]
    syns = seen["syns"] or {"syns_ipv4": None, "syns_ipv6": None}
    return {
        "run_id": kept["run_id"],
        "begun": kept["begun"],
        "plan_hash": kept["plan_hash"],
        "plan": plan,
        "host_id": kept["host"]["host_id"],
        "host": kept["host"],
        "tool": kept["tool"]["name"],
        "version": kept["tool"]["version"],
        "as_typed": kept["tool"]["as_typed"],
        "target": plan["target"],
        "server": kept["server"]["name"],
        "server_version": kept["server"]["version"],
        "server_ended": seen["server_ended"],
        "addresses": ", ".join(seen["addresses"]),
        "backlog": seen["backlog"],
        "requests": said["requests"],
        "answered": said["answered"],
        "success_rate": said["answered"] / said["requests"],
        "kinds": said["kinds"],
        "output": said["output"],
        "seconds": said["seconds"],
        "p50_ms": said["p50_ms"],
        "p99_ms": said["p99_ms"],
        "answers_per_step": said["answers_per_step"],
        "deepest_queue": seen["deepest_queue"],
        **syns,
        "counters": seen["counters"],
    }
