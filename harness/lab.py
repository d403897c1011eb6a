"""The door between the halves: a plan goes in, its runs come out, one row each.

``source="reference"`` looks them up in the committed data and works on any system. ``source="here"`` reads back what
this machine has recorded for the same plan, host and server binary, and measures what it has not.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from harness.errors import MachineError, PlanError
from harness.events import store
from harness.plan import OPTIONS, PLANS, Plan, Trial, load_plan, value_of
from harness.plan.attack import AttackPlan
from harness.plan.search import Search
from harness.thought import experiments, said
from harness.thought import runs as results
from harness.thought.readable import outcome, readable
from harness.thought.summary import Summary

Source = Literal["reference", "here"]


def record(
    plan: Plan,
    source: Source = "reference",
    *,
    data: Path | None = None,
    reference: Path = store.REFERENCE,
    say: Callable[[str], None] = print,
) -> pd.DataFrame:
    """The runs of a plan, in its order: a frame with the columns of :data:`harness.thought.runs.COLUMNS`.

    >>> from harness import load_plan
    >>> from harness.plan import PLANS
    >>> record(load_plan(PLANS / "00-tour.toml")).server.unique().tolist()
    ['python']

    Raises:
        PlanError: ``source`` is neither word, or a trial means nothing.
        MachineError: there is not a single run, neither recorded nor to be had.
    """
    if source == "reference":
        return _from_reference(plan, reference, say)
    if source != "here":
        raise PlanError(f"source is {source!r}; it is 'reference' or 'here'", "choose one of the two")
    from harness.trial import batch

    runs = batch.completed(plan, data or store.default_data(), say)
    if not runs:
        raise MachineError(
            f"no run of the plan {plan.name!r} can be had here", "see `stormlab servers` and `stormlab doctor`"
        )
    return results.frame(readable(runs, say))


def runs(data: Path | None = None, *, say: Callable[[str], None] = print) -> pd.DataFrame:
    """All runs recorded on this machine, a row each, oldest first; columns as in :data:`harness.thought.runs.COLUMNS`.

    Of a run that cannot be read ``say`` is told why.

    >>> from pathlib import Path
    >>> len(runs(Path("nothing here")))
    0
    """
    return results.frame(readable(store.runs(data or store.default_data(), say), say))


def record_if_any(plan: Plan, source: Source = "reference", *, say: Callable[[str], None] = print) -> pd.DataFrame:
    """As :func:`record`; where there is not a single run, that is said, and the frame is empty.

    Raises:
        PlanError: as :func:`record`.
    """
    try:
        return record(plan, source, say=say)
    except MachineError as error:
        say(f"left out: {plan.name}: {error.line}")
        return results.frame(())


def searched(
    search: Search,
    source: Source = "reference",
    *,
    data: Path | None = None,
    reference: Path = store.REFERENCE,
    say: Callable[[str], None] = print,
) -> tuple[Search, pd.DataFrame]:
    """What of a search could be tried, and its storms, a row each, in order of time.

    With ``here`` the search goes on until it is over; each storm that it holds is said.

    Raises:
        PlanError, MachineError: as :func:`record`.
    """
    if source != "here":
        runs = record(search.plan, source, reference=reference, say=lambda line: None).sort_values(
            "run_id", ignore_index=True
        )
        return search.tried(set(runs["plan_hash"])), runs
    from harness.trial import tune

    left = tune.possible(search, say)
    storms = tune.tune(left, data or store.default_data(), tune.saying(left, say), outcome, say)
    return left, results.frame(Summary(run) for run in storms)


def attack(plan: AttackPlan, *, data: Path | None = None, say: Callable[[str], None] = print) -> list[dict[str, Any]]:
    """Records of the attacks of a plan on this machine, by other generators; what is missing is run now."""
    from harness.trial.foreign import run  # as above

    return run.completed(plan, data or store.default_data(), say, said.read)


def open_run(run_id: str, *, data: Path | None = None) -> Summary:
    """One of those runs with its tables: connections, causes, samples.

    >>> from harness import load_plan
    >>> from harness.plan import PLANS
    >>> run = open_run(record(load_plan(PLANS / "00-tour.toml")).run_id[0])
    >>> len(run.connections) == run.load.planned == sum(run.outcomes.values())
    True

    Raises:
        PlanError: it is not recorded here, and the reference data keep no rows of it.
        DamagedRun: it cannot be read.
    """
    return Summary(store.find_run(data or store.default_data(), run_id))


def open_first(run_ids: Iterable[str], *, data: Path | None = None) -> Summary | None:
    """The first of these runs of which rows are kept, with its tables; None if there is none.

    Raises:
        PlanError: what should be an id begins those of several runs.
    """
    for run_id in run_ids:
        with contextlib.suppress(store.NoSuchRun):
            return open_run(run_id, data=data)
    return None


def open_lives(run_id: str, *, data: Path | None = None) -> pd.DataFrame:
    """Its connections, a row each, with the columns of the record and beside them those of the causes and phases.

    Raises:
        PlanError: as :func:`open_run`.
    """
    run = open_run(run_id, data=data)
    lives: pd.DataFrame = run.connections.to_pandas().merge(run.causes.to_pandas(), on="connection")
    return lives


def _from_reference(plan: Plan, reference: Path, say: Callable[[str], None]) -> pd.DataFrame:
    path = reference / results.RUNS
    if not path.exists():
        raise MachineError(
            f"there is no reference data in {reference}", 'use source = "here" to measure on this machine'
        )
    order = {trial.plan_hash: index for index, trial in enumerate(plan.trials)}
    chosen = experiments.of_one_host(results.read(path, set(order)))
    held = set(chosen["plan_hash"])
    lacking = [trial for trial in plan.trials if trial.plan_hash not in held]
    if chosen.empty:
        raise MachineError(
            f"the reference data hold no storm of {plan.name} {_asked_and_held(plan, lacking)}",
            'change that back, or measure it on this machine with source = "here"',
        )
    if lacking:
        which = _asked_and_held(plan, lacking)
        say(f'not in the reference data: {len(lacking)} of {len(order)} kinds of {plan.name} {which}; source = "here"')
    return chosen.sort_values("plan_hash", key=lambda hashes: hashes.map(order), kind="stable").reset_index(drop=True)


def _asked_and_held(plan: Plan, lacking: Sequence[Trial]) -> str:
    """``with clients 5,000 (there are 4,000)``: the options in which these trials differ from the collection's plan."""
    path = PLANS / f"{plan.name}.toml"
    known = load_plan(path).trials if path.exists() else ()
    said = []
    for name in OPTIONS:
        asked, there = (list(dict.fromkeys(map(_worded, trials(name)))) for trials in (_of(lacking), _of(known)))
        if new := [value for value in asked if value not in there]:
            said.append(f"{name} {', '.join(new)} (there are {', '.join(there) or 'none'})")
    return f"with {'; '.join(said)}" if said else "as it is asked for"


def _of(trials: Sequence[Trial]) -> Callable[[str], list[Any]]:
    return lambda name: [value_of(trial, name) for trial in trials]


def _worded(value: Any) -> str:
    return "its default" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
