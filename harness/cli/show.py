"""``stormlab show RUN``: what one run came to."""

from __future__ import annotations

import argparse

from harness import store
from harness.cli.options import Commands, add_data, add_json, add_run
from harness.report import tables
from harness.summary import Summary


def add_to(commands: Commands) -> None:
    parser = commands.add_parser("show", help="show one run", allow_abbrev=False)
    parser.set_defaults(run=run)
    add_run(parser)
    add_data(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    summary = Summary(store.find_run(options.data, options.run_name))
    if options.json:
        tables.print_json(summary.to_json())
    else:
        tables.print_run(summary)
    return 0
