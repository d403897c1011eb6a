"""Auditing one server as its caller sees it: a subject goes in, a row comes out."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.machine import chamber, namespace
from harness.machine.ports import PRIVATE_PORT, free_port, ports_in_use
from harness.servers.audit.subjects import SOURCES, Subject


def audit(subject: Subject) -> dict[str, Any]:
    """The row of one subject, measured now: its own columns, and those of :meth:`Observed.columns`.

    Raises:
        ServerError: it could not be started.
        MachineError: this machine cannot audit.
        KeyboardInterrupt: interrupted; everything is ended.
    """
    with chamber.folder("stormlab-audit-") as folder:
        seen = chamber.call("harness.servers.audit.chamber", _job(subject, folder), subject.name)
    return row(subject, seen)


def row(subject: Subject, seen: Mapping[str, Any]) -> dict[str, Any]:
    """A row of the table: what a subject is, and the columns of what was seen of it."""
    return {
        "name": subject.name,
        "stack": subject.stack,
        **seen,
        "version": subject.version or seen["version"],
        "address_told": subject.told,
        "own": list(subject.own),
        "lab": subject.lab,
        "why": subject.why,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def _job(subject: Subject, folder: Path) -> dict[str, Any]:
    """How a subject is started; what it writes by itself goes to a folder in ``folder``."""
    port = PRIVATE_PORT if namespace.available().isolated else free_port(ports_in_use())
    own = folder / "own"
    own.mkdir()
    for name, text in subject.files(port, str(own)).items():
        (own / name).write_text(text)
    return {
        "argv": subject.argv(port, str(own)),
        "port": port,
        "folder": str(folder),
        "cwd": str(Path.cwd() if subject.entry is not None else own),
        "environment": _environment(subject, str(folder)),
    }


def _environment(subject: Subject, folder: str) -> dict[str, str]:
    """What a runtime keeps for itself (caches, notices of newer versions) goes away with the folder.

    Only programs that the audit got itself have no home: one of the user's may be a shim that looks for its own there.
    """
    said = {"TMPDIR": folder, "PYTHONDONTWRITEBYTECODE": "1", "NO_COLOR": "1"}
    if subject.entry is None:
        said["PYTHONPATH"] = str(SOURCES / "python")
    if subject.unit is not None:
        said |= {"HOME": folder, "XDG_CACHE_HOME": folder}
    return said
