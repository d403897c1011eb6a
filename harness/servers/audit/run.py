"""Auditing one server as its caller sees it: a subject goes in, a row comes out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.machine import chamber, namespace
from harness.machine.ports import PRIVATE_PORT, free_port, ports_in_use
from harness.servers.audit import strace
from harness.servers.audit.building import SOURCES
from harness.servers.audit.observed import Job, Observed
from harness.servers.audit.row import row
from harness.servers.audit.subjects import Subject


def audit(subject: Subject) -> dict[str, Any]:
    """The row of one subject, measured now.

    Raises:
        ServerError: it could not be started.
        MachineError: this machine cannot audit.
        KeyboardInterrupt: interrupted; everything is ended.
    """
    with chamber.folder("stormlab-audit-") as folder:
        return row(subject, _observe(subject, job_of(subject, str(folder))))


def job_of(subject: Subject, folder: str) -> Job:
    """How a subject is started; what it writes by itself goes to a folder in ``folder``."""
    isolated = namespace.available().isolated
    port = PRIVATE_PORT if isolated else free_port(ports_in_use())
    own = f"{folder}/own"
    return Job(
        argv=tuple(subject.argv(port, own)),
        port=port,
        folder=folder,
        files=subject.files(port, own),
        environment=_environment(subject, folder),
        cwd=str(Path.cwd()) if subject.entry is not None else None,
        trace=strace.missing() is None,
    )


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


def _observe(subject: Subject, job: Job) -> Observed:
    return Observed.from_json(chamber.call("harness.servers.audit.chamber", job.to_json(), subject.name))
