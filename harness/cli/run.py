"""``stormlab run``: one storm, several of the same, or a plan."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from harness.cli.reading import say
from harness.errors import INTERRUPTED, MachineError, PlanError
from harness.events.store import Run
from harness.page import tables
from harness.page.progress import Progress
from harness.plan import OPTIONS, Plan, load_plan, trial_from_options
from harness.thought.summary import Summary
from harness.trial import batch
from harness.trial.caller import recover

CHECK_FAILED = 1


def run(options: argparse.Namespace) -> int:
    plan = plan_of(options)
    recover(options.data, say)
    with Progress() as progress:
        if options.plan is not None:
            storms = batch.in_blocks(plan, options.data, progress.follow, progress.say, afresh=options.afresh)
        else:
            storms = batch.measure(list(plan.trials) * plan.repeats, options.data, progress.follow)
        runs: list[Run] = []
        try:
            for finished in storms:
                runs.append(finished)
                if _code(finished) == INTERRUPTED:
                    break
        except KeyboardInterrupt:
            if not runs:
                raise
            progress.say("interrupted; the runs that were over are kept")
            _report(options, runs)
            return INTERRUPTED
        except MachineError as error:
            if not runs:
                raise
            progress.say(f"stormlab: {error.line}; the runs that were over are kept")
            _report(options, runs)
            return error.exit_code
    return _report(options, runs)


def plan_of(options: argparse.Namespace) -> Plan:
    """What is asked for. Raises: PlanError: it means nothing, or a plan and options of a storm are given."""
    given = {name: value for name, value in vars(options).items() if value is not None}
    chosen: dict[str, Any] = {name: value for name, value in given.items() if name in OPTIONS and name != "command"}
    if "server_command" in given:  # ``command`` is stormlab's own
        chosen["command"] = given["server_command"]
    for name in {"sysctl", "host_sysctl"} & chosen.keys():
        chosen[name] = dict(chosen[name])
    if options.plan is None:
        return Plan("run", "", (trial_from_options(chosen),), 1 if options.repeats is None else options.repeats)
    if chosen:
        flags = ", ".join("--" + name.replace("_", "-") for name in sorted(chosen))
        raise PlanError(f"--plan says all of its trials; {flags} cannot be added", "change the plan file instead")
    changes = {} if options.repeats is None else {"repeats": options.repeats}
    return load_plan(options.plan, changes)


def _report(options: argparse.Namespace, runs: Sequence[Run]) -> int:
    """Print the runs; the exit code is the worst of theirs."""
    summaries = [Summary(run) for run in runs]
    if options.json:
        tables.print_json({"runs": [summary.to_json() for summary in summaries]})
    elif len(runs) == 1:
        tables.print_run(summaries[0])
    else:
        tables.print_batch(summaries)
    failures = [run for run in runs if _code(run)]
    if not options.json:
        for run in failures:
            print(f"stormlab: {run.run_id}: {run.manifest['error']['message']}", file=sys.stderr)
        if len(runs) == 1:
            print(f"why it went as it did: stormlab explain {runs[0].run_id}", file=sys.stderr)
    if failures:
        return max(_code(run) for run in failures)
    return CHECK_FAILED if any(summary.failed_checks for summary in summaries) else 0


def _code(run: Run) -> int:
    error = run.manifest.get("error")
    return int(error["code"]) if error else 0
