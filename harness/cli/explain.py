"""``stormlab explain RUN``: why its connections ended as they did, and what would mend it."""

from __future__ import annotations

import argparse

from harness.events import store
from harness.page import tables
from harness.page.explanation import print_explanation
from harness.thought.explain import explain
from harness.thought.summary import Summary


def run(options: argparse.Namespace) -> int:
    story = explain(Summary(store.find_run(options.data, options.run_name)))
    if options.json:
        tables.print_json(story)
    else:
        print_explanation(story)
    return 0
