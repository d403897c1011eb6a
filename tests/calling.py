"""Calling the command line, and looking at what is left afterwards."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import pytest

from harness import cli
from harness.machine.children import STOPPING
from harness.servers.catalogue import catalogue

LIMIT_S = 300
T = TypeVar("T")


def at_length(short: T, whole: T) -> T:
    """What `make test` takes of a long form, or what `make soak` takes."""
    return whole if os.environ.get("STORMLAB_SOAK") else short


@dataclass(frozen=True)
class Result:
    """What a call of the command line came to."""

    code: int
    document: dict[str, Any]
    stderr: str

    @property
    def run(self) -> dict[str, Any]:
        (run,) = self.document["runs"]
        return run


def called(*words: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of ``stormlab …``, called within this process."""

    def ends_it(number: int, frame: object) -> NoReturn:
        raise TimeoutError(f"stormlab {' '.join(words)}: not over in {LIMIT_S} s")

    handlers = {number: signal.getsignal(number) for number in (*STOPPING, signal.SIGALRM)}
    output, errors = io.StringIO(), io.StringIO()
    signal.signal(signal.SIGALRM, ends_it)
    signal.alarm(LIMIT_S)
    try:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
            code = cli.main(words)
    finally:
        signal.alarm(0)
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return code, output.getvalue(), errors.getvalue()


def stormlab_json(data: Path, *words: str, prefix: Sequence[str] = ()) -> Result:
    """``stormlab … --json`` with a data folder of its own; a process of its own if ``prefix`` is to start it."""
    storms = ("--data", str(data)) if words[0] in ("run", "list", "show", "explain", "calibrate") else ()
    words = (*words, *storms, "--json")
    if prefix:
        command = [*prefix, sys.executable, "-m", "harness", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, stdin=subprocess.DEVNULL)
        code, output, errors = done.returncode, done.stdout, done.stderr
    else:
        code, output, errors = called(*words)
    return Result(code, json.loads(output) if output else {}, errors)


def start(tmp_path: Path, *words: str) -> subprocess.Popen[str]:
    """``stormlab run … --json`` under way; runs go to ``tmp_path / "runs"``."""
    data = ("--data", str(tmp_path / "runs"), "--json")
    return subprocess.Popen(
        [sys.executable, "-m", "harness", "run", *words, *data],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def partial_manifest(tmp_path: Path, until: str = "start_ns") -> dict[str, object]:
    """The manifest of the run under way, once it has a key."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for path in (tmp_path / "runs").glob(".*.partial/manifest.json"):
            manifest: dict[str, object] = json.loads(path.read_text())
            if until in manifest:
                return manifest
        time.sleep(0.005)
    raise AssertionError("the storm never began")


def require_server(name: str) -> None:
    """Skip where a server cannot be started, saying why."""
    missing = catalogue()[name].missing
    if missing is not None:
        pytest.skip(f"{name}: {missing.reason}; {missing.next_step}")


def processes_naming(text: str) -> list[str]:
    """Command lines of all processes of this machine that contain a text."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if text in command:
                found.append(command)
    return found
