"""A trial as its caller sees it: a plan goes in, a run comes out."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness import PROJECT
from harness.errors import MachineError, StormLabError
from harness.events.rows import Rows
from harness.events.store import SUPERVISOR_LOG, Partial, Run, partials
from harness.machine import children, host_settings
from harness.machine.children import STOPPING, interrupts_noted
from harness.machine.host import this_host
from harness.plan import Trial
from harness.plan.slices import Slice
from harness.servers import catalogue
from harness.servers.front import running as balancers
from harness.trial import engine
from harness.trial.conclude import conclude

Report = Callable[[dict[str, Any]], None]
"""Called a few times a second with ``elapsed_s``, ``planned``, ``issued``, ``answered``, ``failed``, or ``phase``;
``notice`` is said once."""
ENDS_WITHIN_S = 20.0
STARTS_WITHIN_S = 60.0
"""A partial run younger than this may belong to a caller that is about to start its supervisor."""


def run_trial(trial: Trial, data: Path, report: Report = lambda progress: None) -> Run:
    """Run one storm and return it, complete or failed; a failed run's manifest holds the ``error``.

    Raises:
        PlanError: the server or one of its options is unknown.
        MachineError: it cannot be run here; nothing is kept.
        KeyboardInterrupt: interrupted before the storm, or when it was over. In the storm, the failed run is returned.
    """
    catalogue.provide(trial.server, lambda line: report({"notice": line}))
    with host_settings.changed(dict(trial.kernel.host_sysctls)) as notice:
        if notice:
            report({"notice": notice})
        return _run(trial, data, report)


def _run(trial: Trial, data: Path, report: Report) -> Run:
    with interrupts_noted() as interrupts:
        partial, process = _start(trial, data)
    try:
        if interrupts:
            raise KeyboardInterrupt
        result = _follow(process, report)
    except BaseException as stopped:
        with interrupts_noted():  # impatience meanwhile is forgiven
            run = _outcome(process, partial, _interrupt(process))
        if isinstance(stopped, KeyboardInterrupt) and run.interrupted:
            return run
        raise  # the storm was over already, or it was not Ctrl-C: what was recorded is kept
    return _outcome(process, partial, result)


def recover(data: Path, say: Callable[[str], None] = lambda line: None) -> list[Run]:
    """Bring in runs whose process was killed: what their agents had recorded becomes a failed run.

    One that cannot be brought in, for lack of space or rights, or as another version has left it or it is damaged,
    keeps none of the others from it; it stays for the next time, and ``say`` is told why.
    """
    recovered = []
    for partial in partials(data):
        try:
            if _is_under_way(partial):
                continue
            children.end_run(partial.run_id)
            if run := _salvage(partial, f"its process was killed{_last_words(partial)}"):
                recovered.append(run)
        except StormLabError as error:
            say(error.line)
        except Exception as error:  # whatever a manifest that is none leads to
            say(
                f"what is left of run {partial.run_id} cannot be brought in: {type(error).__name__}: {error}; "
                f"remove {partial.path}"
            )
    return recovered


def _start(trial: Trial, data: Path) -> tuple[Partial, subprocess.Popen[str]]:
    entry = catalogue.find(trial.server)
    # What cannot be started is refused before anything is made.
    binary_hash = catalogue.identity_hash(entry, trial.server, balancers.programs(trial.front), http2=trial.load.http2)
    library = catalogue.preloaded(entry, trial.server)
    chosen = engine.choose(trial.load.engine)
    partial = Partial.create(
        data,
        {
            "plan": trial.to_json(),
            "plan_hash": trial.plan_hash,
            "host": this_host().to_json(),
            "engine": chosen,
            "server": {
                "name": entry.name,
                "title": entry.title,
                "command": entry.command,
                "version": entry.version,
                "accept_stamp": entry.accept_stamp,
                "binary_hash": binary_hash,
                "preloaded": None if library is None else str(library),
                "is_the_labs": entry.unit is not None,
            },
        },
    )
    # A session of its own: Ctrl-C reaches the caller alone, which passes it on once. It starts with interrupts
    # blocked and lets them in when it can handle them.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    log = (partial.path / SUPERVISOR_LOG).open("w")
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "harness.trial.supervisor", str(partial.path), str(Path.cwd()), str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            cwd=PROJECT,
            start_new_session=True,
        )
    except OSError as error:
        partial.remove()
        raise MachineError(f"cannot start {sys.executable}: {error.strerror}", "see `stormlab doctor`") from error
    finally:
        log.close()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return partial, process


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
    """Pass an interruption on and wait for the supervisor to clean up."""
    process.send_signal(signal.SIGINT)
    try:
        output, _ = process.communicate(timeout=ENDS_WITHIN_S)
    except subprocess.TimeoutExpired:
        children.signal_group(process.pid, signal.SIGKILL)  # the supervisor and its guard
        process.wait()
        return None
    lines = [json.loads(line) for line in output.splitlines()]
    return next((line for line in reversed(lines) if "done" in line or "error" in line), None)


def _outcome(process: subprocess.Popen[str], partial: Partial, result: dict[str, Any] | None) -> Run:
    if result is not None and "error" in result:
        raise StormLabError.from_json(result["error"])
    if result is not None and result["done"] is None:
        raise KeyboardInterrupt
    if result is not None:
        return Run.read(Path(result["done"]))
    final = partial.path.with_name(partial.run_id)
    if final.exists():  # its last words were lost in an interrupt
        return Run.read(final)
    reason = f"its supervisor ended with {process.returncode}{_last_words(partial)}"
    children.end_run(partial.run_id)
    run = _salvage(partial, reason) if partial.path.exists() else None
    if run is None:
        raise MachineError(f"the trial could not be run: {reason}", "see `stormlab doctor`")
    return run


def _last_words(partial: Partial) -> str:
    """What the supervisor of a run wrote last to its standard error, behind a colon; empty where it wrote nothing."""
    with contextlib.suppress(OSError):
        said = (partial.path / SUPERVISOR_LOG).read_text(errors="replace").strip()
        return f": {said.splitlines()[-1]}" if said else ""
    return ""


def _salvage(partial: Partial, reason: str) -> Run | None:
    """Make a run of a partial one that nobody works on; one without a storm is removed."""
    manifest = partial.read_manifest()
    if manifest["status"] in ("complete", "failed"):  # its process was killed in the very last step
        return partial.rename(manifest)
    if manifest["status"] not in ("planned", "running"):
        raise ValueError(f"its status is {manifest['status']!r}, which this version knows nothing of")
    if "start_ns" not in manifest:
        partial.remove()
        return None
    slices = [Slice.from_json(document) for document in manifest["slices"]]
    rows = [Rows(partial.path / Path(s.rows_path).name, s.connection_rows, s.request_rows) for s in slices]
    error = MachineError(f"the run was cut short: {reason}", "run it again")
    return conclude(partial, {**manifest, "agents": [], "error": error.to_json()}, slices, rows)


def _is_under_way(partial: Partial) -> bool:
    """Whether a process still works on it: the supervisor, or the caller that has just made the folder.

    Raises: OSError, ValueError: its manifest cannot be read.
    """
    try:
        pid = partial.read_manifest().get("supervisor_pid")
    except FileNotFoundError:  # its caller has not come to that yet
        pid = None
    if pid is None:
        return (partial.path.stat().st_mtime + STARTS_WITHIN_S) > time.time()
    with contextlib.suppress(OSError):
        return partial.path.name.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False
