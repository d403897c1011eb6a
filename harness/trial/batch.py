"""Many trials one after the other: which of them can run here, in what order, and what has been run already."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from harness.errors import MachineError, PlanError
from harness.events import store
from harness.events.store import Identity, Run
from harness.machine import namespace
from harness.machine.host import files_limit, this_host
from harness.machine.nft import MISSING, nft_path
from harness.plan import Plan, Trial
from harness.plan.step import Step
from harness.servers import catalogue
from harness.servers.front import running as balancers
from harness.trial import engine
from harness.trial.caller import Report, recover, run_trial
from harness.trial.journal import Journal

Say = Callable[[str], None]
ANY_PORT = 1
"""To see whether a command line can be made."""


def measure(
    trials: Sequence[Trial], data: Path, following: Callable[[Step], Report], *, done: int = 0
) -> Iterator[Run]:
    """Run trials one after the other, after ``done`` earlier ones; failed ones are results too."""
    for number, trial in enumerate(trials, done + 1):
        yield run_trial(trial, data, following(Step(number, done + len(trials), trial, done)))


def in_blocks(plan: Plan, data: Path, following: Callable[[Step], Report], say: Say, *, afresh: bool) -> Iterator[Run]:
    """Run the trials of a plan that can be run here, in repeats that are shuffled each.

    A batch that was interrupted goes on where it stopped, unless it is to begin ``afresh``; the runs that it had are
    given first.

    Raises:
        MachineError: no trial can be run here.
    """
    possible = runnable(plan.trials, say)
    if not possible:
        raise MachineError(f"no trial of {plan.name!r} can be run here", "see `stormlab servers`")
    journal = Journal.open(data, plan, possible, afresh=afresh)
    known = {run.run_id: run for run in store.runs(data, say)} if journal.run_ids else {}
    for run_id in [run_id for run_id in journal.run_ids if run_id not in known]:
        say(f"run {run_id} is gone: its storm is measured again")
        journal.forget(run_id)
    done = len(journal.run_ids)
    if done:
        say(f"going on with a batch that was interrupted: {done} of {len(journal.order)} storms are over")
        yield from (known[run_id] for run_id in journal.run_ids)
    for run in measure(journal.left(possible), data, following, done=done):
        if not run.interrupted:
            journal.note(run.run_id)
        yield run


def completed(plan: Plan, data: Path, say: Say) -> list[Run]:
    """The newest ``repeats`` runs of each trial on this machine; what has not been run is run now, in blocks."""
    recover(data, say)
    possible = runnable(plan.trials, say)
    known = _newest_first(data, say)
    wanted = {trial: plan.repeats * plan.block.count(trial) for trial in possible}
    left = Counter({trial: runs - len(known.get(identity(trial), ())) for trial, runs in wanted.items()})
    missing: list[Trial] = []
    while block := list((Counter(plan.block) & left).elements()):
        missing += random.sample(block, len(block))
        left.subtract(block)
    if missing:
        say(f"{len(missing)} storms of this plan have not been run here yet; running them now")
    for run in measure(missing, data, lambda step: _say_step(step, say)):
        if run.interrupted:
            raise KeyboardInterrupt
        if run.is_result:
            known.setdefault(run.identity, []).insert(0, run)
    return [run for trial in possible for run in known.get(identity(trial), ())[: wanted[trial]]]


def runnable(trials: Sequence[Trial], say: Say) -> list[Trial]:
    """Those whose server and CPUs are there, and which it can be told; for the others, each reason is said once."""
    left_out: dict[str, dict[str, None]] = {}
    possible = []
    for trial in trials:
        reason = _why_not(trial, say)
        if reason is None:
            possible.append(trial)
        else:
            left_out.setdefault(reason, {})[catalogue.known(trial.server).name] = None
    for reason, names in left_out.items():
        say(f"left out: {', '.join(names)}: {reason}")
    return possible


def _why_not(trial: Trial, say: Say) -> str | None:
    """Why a trial cannot be run here; what can be built for it is built. Raises: PlanError: its server is unknown."""
    entry = catalogue.known(trial.server)
    missing = entry.missing_for(trial.server) or balancers.missing_program(trial.front.name)
    if missing is not None:
        return f"{missing.reason}; {missing.next_step}"
    if trial.load.http2 and not entry.may_speak_http2:
        return "it does not speak HTTP/2"
    if trial.placement.cpu == "disjoint" and this_host().cpus < 2:
        return "disjoint CPUs need two; this machine has one"
    loses = trial.faults.syn_loss is not None or trial.faults.hold_ms is not None
    if loses and nft_path() is None:
        return f"it loses packets on purpose, and {MISSING}"
    files, most = trial.server.nofile_hard or trial.server.nofile, files_limit()[1]
    if files is not None and files > most:
        return f"it takes {files} open files; the hard limit here is {most}"
    if trial.kernel.host_sysctls and os.geteuid() != 0:
        return "it changes a setting of the host, which only root may"
    if (trial.kernel.sysctls or loses) and not (isolation := namespace.available()).isolated:
        does = "loses packets on purpose" if loses else "has settings of a network of its own"
        return f"it {does}, and there is {isolation.reason}"
    try:
        engine.choose(trial.load.engine)
        catalogue.argv(entry, trial.server, trial.load.target_host, ANY_PORT, http2=trial.load.http2)
        catalogue.provide(trial.server, say)
    except PlanError as error:
        return error.message
    except MachineError as error:
        return error.line
    return None


def identity(trial: Trial) -> Identity:
    """What a run of this trial, here and now, would have as :attr:`harness.events.store.Run.identity`."""
    entry, before = catalogue.find(trial.server), balancers.programs(trial.front)
    made_of = catalogue.identity_hash(entry, trial.server, before, http2=trial.load.http2)
    return Identity(trial.plan_hash, this_host().host_id, made_of, engine.choose(trial.load.engine))


def _newest_first(data: Path, say: Say) -> dict[Identity, list[Run]]:
    known: dict[Identity, list[Run]] = {}
    for run in store.runs(data, say):
        if run.is_result:
            known.setdefault(run.identity, []).insert(0, run)
    return known


def _say_step(step: Step, say: Say) -> Report:
    say(str(step))
    return notices(say)


def notices(say: Say) -> Report:
    """Of what is reported of a storm, what is to be read also where its progress is not shown."""
    return lambda progress: say(progress["notice"]) if "notice" in progress else None
