"""``stormlab servers``: the catalogue, and which of it can be started here."""

from __future__ import annotations

import argparse
from typing import Any, get_args

from harness.page import tables
from harness.plan import Allocator, Server
from harness.servers.catalogue import catalogue


def run(options: argparse.Namespace) -> int:
    entries: list[dict[str, Any]] = [
        {
            "name": entry.name,
            "title": entry.title,
            "version": entry.version or None,
            "available": (missing := entry.missing) is None,
            "reason": None if missing is None else missing.reason,
            "next_step": None if missing is None else missing.next_step,
            "allocators": [
                name for name in get_args(Allocator) if entry.missing_for(Server(entry.name, allocator=name)) is None
            ],
        }
        for entry in catalogue().values()
    ]
    if options.json:
        tables.print_json({"servers": entries})
        return 0
    tables.print_rows(
        ("name", "what it is", "versions pinned", "allocators", "here"),
        [
            (
                entry["name"],
                entry["title"],
                entry["version"] or tables.NO_VALUE,
                ", ".join(entry["allocators"]) or tables.NO_VALUE,
                "yes" if entry["available"] else f"no: {entry['reason']}; {entry['next_step']}",
            )
            for entry in entries
        ],
    )
    return 0
