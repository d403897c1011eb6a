"""``stormlab audit``: what each stack asks of the kernel, and does without files, asked of the running process."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from harness.errors import MachineError, PlanError, ServerError, StormLabError
from harness.machine import namespace
from harness.machine.host import this_host
from harness.page import tables
from harness.page.audit import NUMBERS, cells
from harness.page.exported import page
from harness.page.progress import Progress
from harness.servers import catalogue
from harness.servers.audit import strace, subjects
from harness.servers.audit.chamber import RAISED, somaxconn
from harness.servers.audit.run import audit
from harness.servers.audit.subjects import Subject
from harness.servers.build import Missing, build_all

WITHOUT_STRACE = (
    "what is passed to listen(2) is concluded from the kernel's value, with somaxconn raised; accepts a wake-up and "
    "tries without files are left out"
)


def run(options: argparse.Namespace) -> int:
    chosen = _chosen(options)
    conditions = _conditions()
    if options.export and options.names and page("audit").recorded_conditions() not in (None, conditions):
        raise PlanError(
            "the committed audit was made on another machine, and rows of two are not mixed",
            "export the whole audit, without names",
        )
    with Progress() as progress:
        if options.build:
            build_all([unit for unit in (each.unit for each in chosen) if unit and not unit.is_built], progress.say)
        left_out = {each.name: missing for each in chosen if (missing := each.missing) is not None}
        possible = [subject for subject in chosen if subject.name not in left_out]
        if not possible:
            name, missing = next(iter(left_out.items()))
            raise MachineError(f"{name} cannot be audited here: {missing.reason}", missing.next_step)
        for subject in possible:
            if subject.entry is not None:
                catalogue.announce(subject.entry, progress.say)
        notes = _notes(left_out)
        for note in notes:
            progress.say(note)
        try:
            rows, failed = _audit(possible, progress)
        except KeyboardInterrupt:
            raise StormLabError.interrupted("nothing was written") from None
    if options.export:
        described = {subject.name for subject in chosen if subject.described}
        page("audit").export([row for row in rows if row["name"] in described], conditions)
    if options.json:
        without = [{"name": name, **asdict(missing)} for name, missing in (left_out | failed).items()]
        tables.print_json({"stacks": rows, "left_out": without, "notes": notes})
    else:
        _print(rows)
    return ServerError.exit_code if failed else 0


def _chosen(options: argparse.Namespace) -> list[Subject]:
    if options.server_command is None:
        return subjects.find(options.names)
    if options.names or options.export or options.build:
        raise PlanError(
            "--command goes with neither names nor --build nor --export", "audit your server in a call of its own"
        )
    return [subjects.of_command(options.server_command)]


def _notes(left_out: Mapping[str, Missing]) -> list[str]:
    """What this audit will not say, and why: a line for each reason."""
    notes = []
    for reason in dict.fromkeys(left_out.values()):
        names = [name for name, missing in left_out.items() if missing == reason]
        notes.append(f"left out: {', '.join(names)}: {reason.line}")
    untraced = strace.missing_tracer()
    if untraced is not None:
        notes.append(f"{untraced.reason}: {WITHOUT_STRACE}")
    isolation = namespace.available()
    if not isolation.isolated:
        notes.append(f"{isolation.reason}: somaxconn stays as it is, and nothing is said of uncapped backlogs")
    return notes


def _audit(possible: list[Subject], progress: Progress) -> tuple[list[dict[str, Any]], dict[str, Missing]]:
    """The rows, and those that failed. Raises: ServerError: the only one failed."""
    rows, failed = [], {}
    begun = time.monotonic()
    for done, subject in enumerate(possible):
        left = f", about {(time.monotonic() - begun) / done * (len(possible) - done):.0f} s left" if done else ""
        progress.show(f"[{done + 1}/{len(possible)}] {subject.name}{left}")
        try:
            rows.append(audit(subject))
        except StormLabError as error:
            if error.exit_code != ServerError.exit_code or len(possible) == 1:
                raise
            progress.say(f"failed: {subject.name}: {error.message}")
            failed[subject.name] = Missing(error.message, error.next_step)
    return rows, failed


def _conditions() -> dict[str, Any]:
    """What rows must have in common to stand in one table."""
    return {
        "host": this_host().caption,
        "somaxconn": somaxconn(),
        "somaxconn_raised": RAISED,
    }


def _print(rows: list[dict[str, Any]]) -> None:
    traced = any(row["evidence"] == "strace" for row in rows)
    columns = ["stack", "version", *NUMBERS, "dual stack", "close", "out of files", *(["a wake-up"] if traced else [])]
    told = [cells(row) for row in rows]
    tables.print_rows(columns, [[said[column] for column in columns] for said in told], right=NUMBERS)
