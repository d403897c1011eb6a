"""A trial as its caller sees it: a plan goes in, a run comes out."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.errors import MachineError, StormLabError
from harness.host import this_host
from harness.load.rows import Rows
from harness.load.slices import Slice
from harness.plan import Trial
from harness.servers import catalogue
from harness.servers.catalogue import Entry
from harness.store import PROJECT, Partial, Run, partials
from harness.supervisor import conclude

Report = Callable[[dict[str, Any]], None]
"""Called a few times a second with ``elapsed_s``, ``planned``, ``issued``, ``answered``, ``failed``, or ``phase``."""
ENDS_WITHIN_S = 20.0
STOPPING = (signal.SIGINT, signal.SIGTERM)


def run_trial(trial: Trial, data: Path, report: Report = lambda progress: None) -> Run:
    """Run one storm and return it, complete or failed; a failed run's manifest holds the ``error``.

    Raises:
        PlanError: the server or one of its options is unknown.
        MachineError: it cannot be run here; nothing is kept.
        KeyboardInterrupt: interrupted before anything was recorded. Later, the failed run is returned.
    """
    entry = catalogue.find(trial.server)
    catalogue.argv(entry, trial.server, "127.0.0.1", 1)  # refuse what cannot be started before anything is made
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)  # until there is somebody to pass an interrupt on to
    try:
        partial, process = _start(trial, entry, data)
    except BaseException:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        raise
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        result = _follow(process, report)
    except BaseException:
        result = _interrupt(process)
        if result is None and not partial.path.exists():
            raise
    return _outcome(process, partial, result)


def _start(trial: Trial, entry: Entry, data: Path) -> tuple[Partial, subprocess.Popen[str]]:
    partial = Partial.create(
        data,
        {
            "plan": trial.to_json(),
            "plan_hash": trial.plan_hash,
            "host": this_host().to_json(),
            "server": {"name": entry.name, "title": entry.title, "command": entry.command},
        },
    )
    # A session of its own: Ctrl-C reaches the caller alone, which passes it on once. It starts with interrupts
    # blocked, as they are here, and lets them in when it can handle them.
    process = subprocess.Popen(
        [sys.executable, "-m", "harness.supervisor", str(partial.path)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=PROJECT,
        start_new_session=True,
    )
    return partial, process


def recover(data: Path) -> list[Run]:
    """Bring in runs whose process was killed: what their agents had recorded becomes a failed run."""
    recovered = []
    for partial in partials(data):
        with contextlib.suppress(OSError, ValueError, KeyError):
            if not _is_under_way(partial) and (run := _salvage(partial, "its process was killed")) is not None:
                recovered.append(run)
    return recovered


def _follow(process: subprocess.Popen[str], report: Report) -> dict[str, Any] | None:
    assert process.stdout is not None
    last = None
    for line in process.stdout:
        message = json.loads(line)
        if "done" in message or "error" in message:
            last = message
        else:
            report(message)
    process.wait()
    return last


def _interrupt(process: subprocess.Popen[str]) -> dict[str, Any] | None:
    """Pass an interruption on and wait for the supervisor to clean up; further Ctrl-C change nothing."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    try:
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=ENDS_WITHIN_S)
        lines = [json.loads(line) for line in output.splitlines()]
        return next((line for line in reversed(lines) if "done" in line or "error" in line), None)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return None
    finally:
        while signal.sigtimedwait(STOPPING, 0) is not None:
            """Impatience meanwhile is forgiven."""
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _outcome(process: subprocess.Popen[str], partial: Partial, result: dict[str, Any] | None) -> Run:
    if result is not None and "error" in result:
        error = StormLabError(result["error"]["message"], result["error"]["next_step"])
        error.exit_code = result["error"]["code"]
        raise error
    if result is not None and result["done"] is None:
        raise KeyboardInterrupt
    if result is not None:
        path = Path(result["done"])
        return Run(path, json.loads((path / "manifest.json").read_text()))
    said = (
        process.stderr.read().strip().splitlines() if process.stderr is not None and not process.stderr.closed else []
    )
    reason = f"its supervisor ended with {process.returncode}" + (f": {said[-1]}" if said else "")
    run = _salvage(partial, reason)
    if run is None:
        raise MachineError(f"the trial could not be run: {reason}", "see `stormlab doctor`")
    return run


def _salvage(partial: Partial, reason: str) -> Run | None:
    """Make a failed run of a partial one that nobody works on; one without a storm is removed."""
    manifest = partial.read_manifest()
    if "start_ns" not in manifest:
        partial.remove()
        return None
    slices = [Slice.from_json(document) for document in manifest["slices"]]
    rows = [Rows(partial.path / Path(s.rows_path).name, s.connection_rows, s.request_rows) for s in slices]
    error = {"code": 3, "message": f"the run was cut short: {reason}", "next_step": "run it again"}
    return conclude(partial, {**manifest, "agents": [], "error": error}, slices, rows)


def _is_under_way(partial: Partial) -> bool:
    """Whether a process still works on it: the supervisor, or the caller that has just made the folder."""
    pid = partial.read_manifest().get("supervisor_pid")
    if pid is None:
        return (partial.path.stat().st_mtime + ENDS_WITHIN_S) > time.time()
    with contextlib.suppress(OSError):
        return partial.path.name.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False
