"""``stormlab tune FILE``: find the cheapest configuration that reaches a target, by storms."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from harness.cli.run import CHECK_FAILED
from harness.events.store import Run
from harness.page import search as tell
from harness.page import tables
from harness.page.progress import Progress
from harness.plan.search import Search, Tested, chosen, load_search
from harness.thought import runs as results
from harness.thought.readable import outcome
from harness.thought.summary import Summary
from harness.trial.tune import possible, saying, tune


def run(options: argparse.Namespace) -> int:
    base = {"server": options.server, "command": options.server_command, "clients": options.clients}
    target = {"success": options.success, "p99_ms": options.p99_ms}
    changes = {"base": _given(base), "target": _given(target)}
    with Progress() as progress:
        search = possible(load_search(options.search, changes), progress.say)
        runs = list(tune(search, options.data, saying(search, progress.say), outcome, progress.say))
    summaries = [Summary(one) for one in runs]
    frame = results.frame(summaries)
    tested = tell.walked(search, frame)
    if options.json:
        tables.print_json(_document(search, tested, runs))
        return _code(summaries)
    table = tell.path_table(search, tested, frame)
    tables.print_rows(list(table.columns), table.itertuples(index=False))
    print(tell.verdict(search, tested, frame).replace("**", ""))
    return _code(summaries)


def _code(summaries: Sequence[Summary]) -> int:
    """That of a failed server where none could be started at all; else whether a check failed in one of the storms."""
    held = [summary for summary in summaries if summary.run.is_result]
    if not held:
        error = summaries[-1].run.manifest["error"]
        print(f"stormlab: no candidate could be started: {error['message']}; {error['next_step']}", file=sys.stderr)
        return int(error["code"])
    return CHECK_FAILED if any(summary.failed_checks for summary in held) else 0


def _given(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _document(search: Search, tested: list[Tested], runs: list[Run]) -> dict[str, Any]:
    """The path, with the runs that each candidate had."""
    steps = []
    for one in tested:
        plan_hash = one.candidate.trial.plan_hash
        had = [run.run_id for run in runs if run.manifest["plan_hash"] == plan_hash]
        steps.append(
            {
                "changes": dict(one.candidate.changes),
                "cost": one.candidate.cost,
                "fate": one.fate,
                "plan_hash": plan_hash,
                "test": [{"run_id": name, "met": met} for name, met in zip(had, one.test, strict=False)],
                "fresh": [
                    {"run_id": name, "met": met} for name, met in zip(had[len(one.test) :], one.fresh, strict=False)
                ],
            }
        )
    found = chosen(tested)
    target = {"success": search.target.success, "p99_ms": search.target.p99_ms}
    best = None if found is None else {"changes": dict(found.candidate.changes), "cost": found.candidate.cost}
    return {"search": search.name, "target": target, "chosen": best, "path": steps}
