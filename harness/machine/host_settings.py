"""Settings that no namespace has, changed for the length of a run.

The guard, ``python -m harness.machine.host_settings KEY=VALUE…``, is a process of its own, deaf to the signals that end
a run. It writes down what was there, sets, and puts it back when its standard input closes, which the kernel sees to
however the run's own processes end. What was there is on disk before anything is set: where the guard itself was
killed, the run that asked puts it back, or whatever command comes next.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from harness import PROJECT
from harness.errors import MachineError, PlanError, StormLabError
from harness.events.store import write_whole
from harness.machine import children, namespace

_LOCK = "\0stormlab.host_settings"
"""An abstract socket's address: held by one guard at a time, and gone with it."""
LEFT = Path("/run/stormlab-host-settings.json")
"""What was there before, for as long as it is changed; gone with the next start of the host, as the settings are."""
_PUT_BACK_WITHIN_S = 10.0
_LOOK_EVERY_S = 0.1
_TURN_WITHIN_S = 120.0
"""How long a run waits for another that has changed the host's settings: plans of storms take turns, storm by storm."""
ANSWERS_WITHIN_S = _TURN_WITHIN_S + 10.0
"""How long the guard may take to say what it has set, its turn included."""


@dataclass(frozen=True, slots=True)
class Change:
    """Of a setting what was there before, and what it was set to, as the kernel has it."""

    before: str
    set: str


@contextmanager
def changed(settings: Mapping[str, str]) -> Iterator[str]:
    """Inside, the host has these settings; gives a line that says so, empty where nothing was asked for.

    Raises:
        PlanError: a setting is one that every namespace has of its own.
        MachineError: the caller is not root, other runs had changed the host's settings for :data:`_TURN_WITHIN_S`, or
            the kernel refuses one.
    """
    if not settings:
        yield ""
        return
    asked = ", ".join(f"{key}={value}" for key, value in settings.items())
    if os.geteuid() != 0:
        raise MachineError(f"--host-sysctl {asked} was asked for; only root may change the host", "run it with sudo")
    guard = subprocess.Popen(
        [sys.executable, "-m", "harness.machine.host_settings", *(f"{key}={value}" for key, value in settings.items())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=PROJECT,
        start_new_session=True,  # Ctrl-C at the terminal does not reach it
    )
    assert guard.stdin is not None
    assert guard.stdout is not None
    try:
        answer = json.loads(children.next_line(guard, ANSWERS_WITHIN_S) or "{}")
        if "before" not in answer:
            raise StormLabError.from_json(answer["error"]) if "error" in answer else _broken(asked)
        before = ", ".join(f"{key}={value}" for key, value in answer["before"].items())
        yield f"THE HOST'S SETTINGS ARE CHANGED for this run: {asked}; put back after it: {before}"
    finally:
        guard.stdin.close()
        guard.stdout.close()
        try:
            guard.wait(_PUT_BACK_WITHIN_S)
        except subprocess.TimeoutExpired as error:
            raise MachineError(
                f"--host-sysctl {asked} was asked for; whether it is put back is not known", "see `sysctl net`"
            ) from error
        for line in put_back_left():
            print(f"stormlab: {line}", file=sys.stderr)


def _broken(asked: str) -> MachineError:
    return MachineError(f"--host-sysctl {asked} was asked for; it could not be set", "see `stormlab doctor`")


def _set(settings: Mapping[str, str]) -> dict[str, str]:
    """Set all or none; returns what was there before. Raises: PlanError, MachineError."""
    changes: dict[str, Change] = {}
    try:
        for key, value in settings.items():
            path = _path(key, value)
            changes[key] = Change(_read(path), value)
            _keep(changes)
            _set_one(path, key, value)
            changes[key] = Change(changes[key].before, _read(path))  # which may have been rounded
            _keep(changes)
    except StormLabError:
        _put_back({key: change.before for key, change in changes.items()})
        raise
    return {key: change.before for key, change in changes.items()}


def _keep(changes: Mapping[str, Change]) -> None:
    """On disk, for whoever comes when this process is no more. Raises: MachineError."""
    try:
        write_whole(LEFT, json.dumps({key: asdict(change) for key, change in changes.items()}))
    except OSError as error:
        raise MachineError(
            f"--host-sysctl was asked for; what is there cannot be kept in {LEFT.parent}: {error.strerror}",
            "nothing was changed",
        ) from error


def _read(path: Path) -> str:
    return " ".join(path.read_text().split())


def _path(key: str, value: str) -> Path:
    asked = f"--host-sysctl {key}={value} was asked for"
    if namespace.is_private(key):
        raise PlanError(f"{asked}; every run has that setting to itself", f"use --sysctl {key}={value}")
    path = namespace.setting_path(key)
    if not path.exists():
        raise MachineError(f"{asked}; this kernel has no such setting", "see `sysctl net`")
    return path


def _set_one(path: Path, key: str, value: str) -> None:
    try:
        path.write_text(value)
    except OSError as error:
        raise MachineError(
            f"--host-sysctl {key}={value} was asked for; it cannot be set: {error.strerror}",
            "check its range, and that root here may change the host",
        ) from error


def put_back_left() -> list[str]:
    """Put back what a guard that was killed has left changed, and say so; nothing while a guard is at work.

    What somebody else has set since is left as it is. Only root can have changed anything, and only root can put it
    back: others are told.
    """
    if not LEFT.exists():
        return []
    with socket.socket(socket.AF_UNIX) as lock:
        try:
            lock.bind(_LOCK)
        except OSError:
            return []
        return _undo() if os.geteuid() == 0 else _told()


def _told() -> list[str]:
    before = ", ".join(f"{key}={change.before}" for key, change in _left().items())
    return [f"THE HOST'S SETTINGS ARE STILL CHANGED by a run that was killed; as root put back {before}"]


def _undo() -> list[str]:
    """Put back what is left, a line each; whoever asks holds the lock."""
    said = []
    for key, change in _left().items():
        path = namespace.setting_path(key)
        try:
            now = _read(path)
            if now == change.set:
                path.write_text(change.before)
                said.append(f"{key} was still {now} by a run that was killed; put back: {key}={change.before}")
            elif now != change.before:
                said.append(
                    f"{key} was {change.before} before a run that was killed set it to {change.set}; it is {now} now, "
                    "and is left so"
                )
        except OSError as error:
            said.append(f"{key} was {change.before} before a run that was killed; it cannot be set: {error.strerror}")
    LEFT.unlink(missing_ok=True)
    return said


def _left() -> dict[str, Change]:
    """A change that nobody has undone, by setting."""
    with suppress(OSError, ValueError, TypeError, AttributeError):
        return {key: Change(**change) for key, change in json.loads(LEFT.read_text()).items()}
    return {}


def _put_back(before: Mapping[str, str]) -> None:
    """By the guard that has changed it."""
    for key, value in before.items():
        with suppress(OSError):
            namespace.setting_path(key).write_text(value)
    LEFT.unlink(missing_ok=True)


def main() -> int:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    settings = dict(word.split("=", 1) for word in sys.argv[1:])
    lock = socket.socket(socket.AF_UNIX)
    try:
        _take(lock, sys.stdin.fileno())
        for line in _undo():  # what a run that was killed has left is not what was there
            print(f"stormlab: {line}", file=sys.stderr)
        before = _set(settings)
    except StormLabError as error:
        print(json.dumps({"error": error.to_json()}), flush=True)
        return error.exit_code
    try:
        with suppress(OSError):
            print(json.dumps({"before": before}), flush=True)
        sys.stdin.read()
    finally:
        _put_back(before)
    return 0


def _take(lock: socket.socket, caller: int) -> None:
    """Wait for one's turn, and say so, but not for longer than the caller waits, whose end of a pipe is closed then."""
    last_try, said = time.monotonic() + _TURN_WITHIN_S, False
    while True:
        try:
            lock.bind(_LOCK)
            return
        except OSError as error:
            gone, _, _ = select.select([caller], [], [], _LOOK_EVERY_S)
            if gone or time.monotonic() > last_try:
                raise MachineError(
                    "--host-sysctl was asked for; another run has changed the host's settings", "wait until it is over"
                ) from error
            if not said:
                print(
                    f"another run has changed the host's settings: waiting, {_TURN_WITHIN_S:.0f} s at most",
                    file=sys.stderr,
                )
                said = True


if __name__ == "__main__":
    sys.exit(main())
