"""``stormlab doctor``: what this machine allows."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from harness.page import tables
from harness.trial.doctor import examine

SIGNS = {"pass": "ok", "fail": "no", "unknown": "?"}


def run(options: argparse.Namespace) -> int:
    """A finding is no failed check of a run: the lab works with what there is, so the exit code is 0."""
    findings = examine(options.data)
    if options.json:
        tables.print_json({"checks": [asdict(finding) for finding in findings]})
        return 0
    tables.print_rows(
        ("", "", "finding", "what would help"),
        [(SIGNS[finding.status], finding.name, finding.detail, finding.next_step) for finding in findings],
    )
    return 0
