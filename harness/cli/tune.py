"""``stormlab tune FILE``: find the cheapest configuration that reaches a target, by storms."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness import results
from harness.cli.options import Commands, add_data, add_json
from harness.cli.run import CHECK_FAILED
from harness.plan import Trial
from harness.report import search as tell
from harness.report import tables
from harness.report.progress import Progress
from harness.search import SEARCHES, Search, Tested, chosen, load_search
from harness.store import Run
from harness.summary import Summary
from harness.trial import Report
from harness.tune import possible, tune


def add_to(commands: Commands) -> None:
    parser = commands.add_parser("tune", help="find the cheapest configuration that is good enough", allow_abbrev=False)
    parser.set_defaults(run=run)
    add = parser.add_argument
    add("search", type=_file, metavar="FILE", help=f"a search: its TOML file, or a name in {SEARCHES.name}/")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--server", metavar="NAME", help="another server of the catalogue than the search names")
    what.add_argument("--command", dest="server_command", metavar="CMD", help="a server of your own: 'CMD … {port}'")
    add("--success", type=float, metavar="SHARE", help="another target: share of requests that are answered")
    add("--p99-ms", type=float, metavar="MS", help="another target: within which 99 %% of all requests are answered")
    add("--clients", type=int, metavar="N", help="another load")
    add_data(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    base = {"server": options.server, "command": options.server_command, "clients": options.clients}
    target = {"success": options.success, "p99_ms": options.p99_ms}
    changes = {"base": _given(base), "target": _given(target)}
    with Progress() as progress:
        search = possible(load_search(options.search, changes), progress.say)

        def following(trial: Trial, held: int) -> Report:
            (candidate,) = [one for one in search.candidates if one.trial == trial]
            progress.say(f"storm {held + 1}: {candidate.name}, cost {candidate.cost:g}")
            return lambda said: progress.say(said["notice"]) if "notice" in said else None

        runs = list(tune(search, options.data, following))
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


def _file(text: str) -> Path:
    named = SEARCHES / f"{text}.toml"
    return named if named.is_file() else Path(text)


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
