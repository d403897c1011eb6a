"""``stormlab calibrate``: produce known faults and see what is concluded of them."""

from __future__ import annotations

import argparse
import contextlib
import os
import socket
from collections.abc import Iterator
from typing import Any

from harness.cli.arguments import FULL_ROWS, SHORT_ROWS
from harness.errors import MachineError, PlanError
from harness.machine import namespace
from harness.machine.host import this_host
from harness.machine.nft import nft_path
from harness.page import tables
from harness.page.exported import page
from harness.page.progress import Progress
from harness.plan import trial_from_options
from harness.plan.step import Step
from harness.thought.calibrate.fault import Fault
from harness.thought.calibrate.faults import faults
from harness.thought.calibrate.matrix import drivers_told, score
from harness.thought.summary import Summary
from harness.trial import engine
from harness.trial.caller import run_trial

WRONG = 1
FOLDER = "calibration"
"""Within the data folder; these runs are of no use for anything else."""


def run(options: argparse.Namespace) -> int:
    matrix = []
    with Progress() as progress:
        possible = []
        for fault in _chosen(options.faults, faults(SHORT_ROWS if options.short else FULL_ROWS)):
            missing = _missing(fault)
            if missing:
                progress.say(f"left out: {fault.name}: {missing}")
            else:
                possible.append(fault)
        if not possible:
            raise MachineError("none of these faults can be produced here", "see `stormlab doctor`")
        total = sum(fault.storms for fault in possible)
        done = 0
        for fault in possible:
            trial = trial_from_options({**fault.options, "engine": options.engine})
            summaries = []
            for _ in range(fault.storms):
                done += 1
                progress.show(f"[{done}/{total}] {fault.name}")
                step = Step(done, total, trial)
                summaries.append(Summary(run_trial(trial, options.data / FOLDER, progress.follow(step))))
            matrix.append(score(fault, summaries))
    if options.export:
        page("calibration").export(matrix, this_host(), engine.choose(options.engine))
    if options.json:
        tables.print_json({"matrix": matrix})
    else:
        _print(matrix)
    return WRONG if any(row["wrong"] or row["drivers"]["wrong"] for row in matrix) else 0


def _chosen(names: list[str], known: list[Fault]) -> Iterator[Fault]:
    if not names:
        yield from known
    for name in names:
        found = [fault for fault in known if fault.name.startswith(name)]
        if not found:
            raise PlanError(f"no fault is called {name!r}", f"choose from {', '.join(fault.name for fault in known)}")
        yield from found


def _missing(fault: Fault) -> str:
    """What this machine lacks for it; empty if nothing."""
    if fault.needs_root and os.geteuid() != 0:
        return "tracing and changing the host take root"
    if fault.needs_nft and nft_path() is None:
        return "nft is not installed (Debian's nftables)"
    if fault.needs_namespace and not namespace.available().isolated:
        return "there is no private network namespace"
    if fault.needs_ipv6 and not _has_ipv6():
        return "this machine has no IPv6 loopback"
    return ""


def _has_ipv6() -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as trial:
        trial.bind(("::1", 0))
        return True
    return False


def _print(matrix: list[dict[str, Any]]) -> None:
    tables.print_rows(
        ("fault", "truth from", "rows", "right", "unknown", "wrong", "unscored", "either-or", "drivers", "concluded"),
        [
            (
                row["fault"],
                row["truth_source"],
                f"{row['rows']:,}",
                f"{row['right']:,}",
                f"{row['unknown']:,}",
                f"{row['wrong']:,}",
                f"{row['unscored']:,}",
                f"{row['either_or']:,}",
                drivers_told(row["drivers"]),
                "; ".join(
                    f"{words}: " + ", ".join(f"{count:,} {cause}" for cause, count in concluded.items())
                    for words, concluded in row["confusion"].items()
                ),
            )
            for row in matrix
        ],
        right=("rows", "right", "unknown", "wrong", "unscored", "either-or"),
    )
