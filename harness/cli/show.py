"""``stormlab show RUN``: what one run came to."""

from __future__ import annotations

import argparse

from harness.cli.reading import opened
from harness.page import tables


def run(options: argparse.Namespace) -> int:
    summary = opened(options.data, options.run_name)
    if options.json:
        tables.print_json(summary.to_json())
    else:
        tables.print_run(summary)
    return 0
