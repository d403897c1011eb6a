"""``stormlab list``: the runs there are."""

from __future__ import annotations

import argparse

from harness.cli.reading import say
from harness.events.store import runs
from harness.page import tables
from harness.thought.readable import readable
from harness.trial.caller import recover


def run(options: argparse.Namespace) -> int:
    recover(options.data, say)
    summaries = [*readable(runs(options.data, say), say)]
    if options.json:
        tables.print_json({"runs": [summary.to_json() for summary in summaries]})
    elif summaries:
        tables.print_list(summaries)
    else:
        print(f"no runs in {options.data}; record one with `stormlab run`")
    return 0
