"""``stormlab explain RUN``: why its connections ended as they did, and what would mend it."""

from __future__ import annotations

import argparse

from harness.cli.reading import opened
from harness.page import tables
from harness.page.explanation import print_explanation
from harness.thought.explain import explain


def run(options: argparse.Namespace) -> int:
    story = explain(opened(options.data, options.run_name))
    if options.json:
        tables.print_json(story)
    else:
        print_explanation(story)
    return 0
