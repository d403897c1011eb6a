"""A chamber: a process that enters a private network with a job and answers what it saw there, both of them JSON.

The caller's side is :func:`folder` and :func:`call`, the process's own :func:`answer`. Ctrl-C reaches the caller alone.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from harness import PROJECT
from harness.errors import MachineError, StormLabError
from harness.machine import children
from harness.machine.children import Interrupted
from harness.machine.guard import guarded

ENDS_WITHIN_S = 20.0


@contextlib.contextmanager
def folder(prefix: str) -> Iterator[Path]:
    """A folder for what is written there; no interrupt comes between its making and the promise to remove it."""
    path = None
    try:
        with children.uninterrupted():
            path = Path(tempfile.mkdtemp(prefix=prefix))
        yield path
    finally:
        if path is not None:
            with children.uninterrupted():
                shutil.rmtree(path, ignore_errors=True)


def call(module: str, job: dict[str, Any], name: str) -> dict[str, Any]:
    """Run a chamber and return what it observed; ``name`` is said in errors.

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
    said: dict[str, Any] = json.loads(output)
    if "interrupted" in said:
        raise KeyboardInterrupt
    if "error" in said:
        raise StormLabError.from_json(said["error"])
    observed: dict[str, Any] = said["observed"]
    return observed


def answer(observe: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """As the process of a chamber: print what ``observe`` makes of the job. However that ends, its children do."""
    children.die_with_parent(signal.SIGTERM)
    sys.exit(guarded(lambda: _answer(observe)))


def _answer(observe: Callable[[dict[str, Any]], dict[str, Any]]) -> int:
    children.adopt_orphans()
    children.interrupt_once()
    said: dict[str, Any]
    try:
        said = {"observed": observe(json.load(sys.stdin))}
    except StormLabError as error:
        said = {"error": error.to_json()}
    except Interrupted:
        said = {"interrupted": True}
    finally:
        children.end_descendants()
    with contextlib.suppress(BrokenPipeError):  # the caller was killed
        print(json.dumps(said), flush=True)
    return 0


def _listening_to_signals() -> None:
    """Between fork and exec: what waits in the caller while it starts a child does not wait in the child."""
    children.die_with_parent(signal.SIGTERM)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, children.STOPPING)


def _stop(process: subprocess.Popen[str]) -> None:
    """Have a chamber end its servers, then itself; one that does not in time is killed, and they with it."""
    process.send_signal(signal.SIGINT)
    try:
        process.communicate(timeout=ENDS_WITHIN_S)
    except subprocess.TimeoutExpired:
        children.signal_group(process.pid, signal.SIGKILL)  # itself and its guard
        process.communicate()
