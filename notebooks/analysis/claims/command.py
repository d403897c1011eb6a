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
        help="the committed data (default), or the runs recorded on this machine, beside the committed ones",
    )
    parser.add_argument(
        "--data",
        type=lambda text: Path(text).absolute(),
        metavar="DIR",
        help="the runs in this folder, or in a copy of the reference data; implies --source here",
    )
    parser.add_argument(
        "--export", action="store_true", help="write those of the reference data into README and docs/verdicts.md"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of text")


def run(options: argparse.Namespace) -> int:
    from analysis.claims import page
    from analysis.claims.evidence import gather
    from analysis.claims.judge import judge
    from analysis.claims.measures import ASKED_OF
    from harness.cli.reading import say
    from harness.events import store
    from harness.page import tables

    if options.data is not None and options.source == "reference":
        raise PlanError("--data is for --source here", "leave one of the two out")
    if options.data is not None and not options.data.is_dir():
        raise PlanError(f"there is no folder {options.data}", "give one with recorded runs")
    here = options.data is not None or options.source == "here"
    if here and options.export:
        raise PlanError("README and docs/verdicts.md hold those of the reference data", "leave out --export")
    folder = (options.data or store.default_data()) if here else store.REFERENCE
    evidence = gather(folder, ASKED_OF, say)
    verdicts = judge(evidence)
    if options.export:
        page.export(verdicts)
    if options.json:
        document = {"host": evidence.host, "verdicts": [verdict.to_json() for verdict in verdicts]}
        tables.print_json(document)
        return 0
    there = judge(gather(store.REFERENCE, ASKED_OF)) if here and not options.json else None
    tables.print_rows(*page.rows(verdicts, there))
    left_out = f"; {evidence.other_hosts} runs of other machines were left out" if evidence.other_hosts else ""
    print(f"\n{len(evidence.runs)} runs on {evidence.host}{left_out}")
    stale = [line for verdict in verdicts for line in verdict.no_longer_so] if not here else []
    for line in stale:
        print(f"A published sentence no longer holds: {line}.")
    return 0
