"""``stormlab verdicts``: what the recorded runs say of the article's claims."""

from __future__ import annotations

import argparse
from pathlib import Path

from harness.errors import PlanError

HELP = "judge the article's claims by recorded runs"


def add_to(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--source",
        choices=("reference", "here"),
        help="the committed data (default), or the runs recorded on this machine",
    )
    parser.add_argument(
        "--data",
        type=lambda text: Path(text).absolute(),
        metavar="DIR",
        help="the runs in this folder, or in a copy of the reference data; implies --source here",
    )
    parser.add_argument(
        "--export", action="store_true", help="write the verdicts of the reference data into the README"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of text")


def run(options: argparse.Namespace) -> int:
    from analysis.claims import page
    from analysis.claims.evidence import gather
    from analysis.claims.judge import judge
    from analysis.claims.telling import number
    from harness.cli.reading import say
    from harness.events import store
    from harness.page import tables

    if options.data is not None and options.source == "reference":
        raise PlanError("--data is for --source here", "leave one of the two out")
    if options.data is not None and not options.data.is_dir():
        raise PlanError(f"there is no folder {options.data}", "give one with recorded runs")
    here = options.data is not None or options.source == "here"
    if here and options.export:
        raise PlanError("the README holds the verdicts of the reference data", "leave out --export")
    evidence = gather((options.data or store.default_data()) if here else store.REFERENCE, say)
    verdicts = judge(evidence)
    if options.export:
        page.export(evidence, verdicts)
    if options.json:
        tables.print_json({"host": evidence.host, "verdicts": [verdict.to_json() for verdict in verdicts]})
        return 0
    tables.print_rows(
        ("", "verdict", "measured", "storms", "what was found"),
        [
            (
                verdict.claim,
                page.plain(verdict.verdict),
                number(verdict),
                len(verdict.run_ids) or tables.NO_VALUE,
                verdict.statement,
            )
            for verdict in verdicts
        ],
        right=("measured", "storms"),
    )
    left_out = f"; {evidence.other_hosts} runs of other machines were left out" if evidence.other_hosts else ""
    print(f"\n{len(evidence.runs)} runs on {evidence.host}{left_out}")
    return 0
