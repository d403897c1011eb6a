"""Auditing one server as its caller sees it: a subject goes in, a row comes out."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness import children, namespace
from harness.audit import strace
from harness.audit.building import SOURCES
from harness.audit.observed import Job, Observed
from harness.audit.row import row
from harness.audit.subjects import Subject
from harness.errors import MachineError, StormLabError
from harness.layout import free_port, ports_in_use
from harness.store import PROJECT

PRIVATE_PORT = 8080
ENDS_WITHIN_S = 20.0


def audit(subject: Subject) -> dict[str, Any]:
    """The row of one subject, measured now.

    Raises:
        ServerError: it could not be started.
        MachineError: this machine cannot audit.
        KeyboardInterrupt: interrupted; everything is ended.
    """
    with _folder() as folder:
        return row(subject, _observe(subject, job_of(subject, folder)))


@contextlib.contextmanager
def _folder() -> Iterator[str]:
    """A folder for what a server writes; no interrupt comes between its making and the promise to remove it."""
    path = ""
    try:
        with children.uninterrupted():
            path = tempfile.mkdtemp(prefix="stormlab-audit-")
        yield path
    finally:
        with children.uninterrupted():
            shutil.rmtree(path, ignore_errors=True)


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
    return Observed.from_json(call_chamber("harness.audit.chamber", job.to_json(), subject.name)["observed"])


def call_chamber(module: str, job: dict[str, Any], name: str) -> dict[str, Any]:
    """Run a chamber, a process that enters a private network, and return its answer; ``name`` is said in errors.

    Raises:
        StormLabError: it answered with an error.
        MachineError: it did not answer.
        KeyboardInterrupt: interrupted; everything is ended.
    """
    process = None
    try:
        with children.uninterrupted():
            # A session of its own: Ctrl-C reaches this process alone, which passes it on once.
            process = children.start(
                [sys.executable, "-m", module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=PROJECT,
                prepared=_listening_to_signals,
            )
        output, errors = process.communicate(json.dumps(job))
    except BaseException:
        if process is not None:
            with children.uninterrupted():
                _stop(process)
        raise
    if not output:
        last = (errors.strip().splitlines() or [f"exit status {process.returncode}"])[-1]
        raise MachineError(f"{name} could not be run in a network of its own: {last}", "see `stormlab doctor`")
    answer: dict[str, Any] = json.loads(output)
    if "interrupted" in answer:
        raise KeyboardInterrupt
    if "error" in answer:
        raise StormLabError.from_json(answer["error"])
    return answer


def _listening_to_signals() -> None:
    """Between fork and exec: what waits in the caller while it starts a child does not wait in the child."""
    children.die_with_parent()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, children.STOPPING)


def _stop(process: subprocess.Popen[str]) -> None:
    """Have a chamber end its servers, then itself; one that does not in time is killed, and they with it."""
    process.send_signal(signal.SIGINT)
    try:
        process.communicate(timeout=ENDS_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
