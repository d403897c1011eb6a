"""``stormlab list``: the runs there are."""

from __future__ import annotations

import argparse

from harness import store
from harness.cli.options import Commands, add_data, add_json
from harness.report import tables
from harness.summary import Summary
from harness.trial import recover


def add_to(commands: Commands) -> None:
    parser = commands.add_parser("list", help="list recorded runs", allow_abbrev=False)
    parser.set_defaults(run=run)
    add_data(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    recover(options.data)
    summaries = [Summary(run) for run in store.runs(options.data)]
    if options.json:
        tables.print_json({"runs": [summary.to_json() for summary in summaries]})
    elif summaries:
        tables.print_list(summaries)
    else:
        print(f"no runs in {options.data}; record one with `stormlab run`")
    return 0
