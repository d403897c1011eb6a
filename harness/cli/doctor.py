"""``stormlab doctor``: what this machine allows."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from harness.cli.options import Commands, add_data, add_json
from harness.doctor import examine
from harness.report import tables

SIGNS = {"pass": "ok", "fail": "no", "unknown": "?"}


def add_to(commands: Commands) -> None:
    parser = commands.add_parser("doctor", help="say what this machine allows", allow_abbrev=False)
    parser.set_defaults(run=run)
    add_data(parser)
    add_json(parser)


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
