"""``stormlab list``: the runs there are."""

from __future__ import annotations

import argparse
import sys

from harness.page import tables
from harness.thought.summary import readable
from harness.trial.caller import recover


def run(options: argparse.Namespace) -> int:
    recover(options.data)
    summaries = [*readable(options.data, _say)]
    if options.json:
        tables.print_json({"runs": [summary.to_json() for summary in summaries]})
    elif summaries:
        tables.print_list(summaries)
    else:
        print(f"no runs in {options.data}; record one with `stormlab run`")
    return 0


def _say(line: str) -> None:
    print(f"stormlab: {line}", file=sys.stderr)
