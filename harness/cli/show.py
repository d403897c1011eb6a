"""``stormlab show RUN``: what one run came to."""

from __future__ import annotations

import argparse

from harness.events import store
from harness.page import tables
from harness.thought.summary import Summary


def run(options: argparse.Namespace) -> int:
    summary = Summary(store.find_run(options.data, options.run_name))
    if options.json:
        tables.print_json(summary.to_json())
    else:
        tables.print_run(summary)
    return 0
