"""``stormlab audit``: what each stack asks of the kernel, and does without files, asked of the running process."""

from __future__ import annotations

import argparse
import time
from typing import Any

from harness.errors import MachineError, PlanError, ServerError, StormLabError
from harness.machine import namespace
from harness.machine.host import this_host
from harness.page import tables
from harness.page.audit import NUMBERS, cells
from harness.page.exported import page
from harness.page.progress import Progress
from harness.servers.audit import strace, subjects
from harness.servers.audit.chamber import RAISED, somaxconn
from harness.servers.audit.run import audit
from harness.servers.audit.subjects import Subject
from harness.servers.build import build_all

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
        possible, left_out = _possible(chosen)
        notes = _notes(left_out)
        for note in notes:
            progress.say(note)
        try:
            rows, failed = _audit(possible, progress)
        except KeyboardInterrupt:
            raise StormLabError.interrupted("nothing was written") from None
    if options.export:
        page("audit").export(
            [row for row in rows if row["name"] in {s.name for s in chosen if s.described}], conditions
        )
    if options.json:
        tables.print_json({"stacks": rows, "left_out": [*left_out, *failed], "notes": notes})
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


def _possible(chosen: list[Subject]) -> tuple[list[Subject], list[dict[str, str]]]:
    """Those that can be started here; of the others, why not.

    Raises:
        MachineError: none can be.
    """
    possible, left_out = [], []
    for subject in chosen:
        missing = subject.missing
        if missing is None:
            possible.append(subject)
        else:
            left_out.append({"name": subject.name, "reason": missing.reason, "next_step": missing.next_step})
    if not possible:
        raise MachineError(
            f"{left_out[0]['name']} cannot be audited here: {left_out[0]['reason']}", left_out[0]["next_step"]
        )
    return possible, left_out


def _notes(left_out: list[dict[str, str]]) -> list[str]:
    """What this audit will not say, and why: a line for each reason."""
    notes = []
    for reason in dict.fromkeys((out["reason"], out["next_step"]) for out in left_out):
        names = [out["name"] for out in left_out if (out["reason"], out["next_step"]) == reason]
        notes.append(f"left out: {', '.join(names)}: {reason[0]}; {reason[1]}")
    untraced = strace.missing_tracer()
    if untraced is not None:
        notes.append(f"{untraced.reason}: {WITHOUT_STRACE}")
    isolation = namespace.available()
    if not isolation.isolated:
        notes.append(f"{isolation.reason}: somaxconn stays as it is, and nothing is said of uncapped backlogs")
    return notes


def _audit(possible: list[Subject], progress: Progress) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """The rows, and those that failed. Raises: ServerError: the only one failed."""
    rows, failed = [], []
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
            failed.append({"name": subject.name, "reason": error.message, "next_step": error.next_step})
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
