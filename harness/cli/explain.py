"""``stormlab explain RUN``: why its connections ended as they did, and what would mend it."""

from __future__ import annotations

import argparse

from harness import store
from harness.cli.options import Commands, add_data, add_json, add_run
from harness.explain import explain
from harness.report import tables
from harness.report.explanation import print_explanation
from harness.summary import Summary


def add_to(commands: Commands) -> None:
    parser = commands.add_parser("explain", help="say why connections ended as they did", allow_abbrev=False)
    parser.set_defaults(run=run)
    add_run(parser)
    add_data(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    story = explain(Summary(store.find_run(options.data, options.run_name)))
    if options.json:
        tables.print_json(story)
    else:
        print_explanation(story)
    return 0
