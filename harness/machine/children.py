"""Processes that this one starts, and ends: none outlives it, however it ends."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import IO, Any

RUN = "STORMLAB_RUN"
"""The environment variable by which what a run has started is known: its id, or empty of what ends by itself."""
STOPPING = (signal.SIGINT, signal.SIGTERM)
"""The signals that end a storm in an orderly way."""
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
"""include/uapi/linux/prctl.h"""
PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE = 47, 2
CAP_NET_ADMIN, CAPABILITY_VERSION_3 = 12, 0x20080522
"""include/uapi/linux/capability.h"""

_started: set[int] = set()
"""The children that this process has started itself."""


class Interrupted(BaseException):
    """SIGINT or SIGTERM arrived, where :func:`interrupt_once` was called."""


def interrupt_once() -> None:
    """Let the first signal that ends a storm raise :class:`Interrupted`; the way out is not interrupted in turn."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        for stopping in STOPPING:
            signal.signal(stopping, signal.SIG_IGN)
        raise Interrupted

    for number in STOPPING:
        signal.signal(number, interrupt)


def die_with_parent(signal_number: int = signal.SIGKILL) -> None:
    """Let the kernel end this process when the thread that started it is gone."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal_number, 0, 0, 0)


def adopt_orphans() -> None:
    """Become the parent of what children leave behind, so that it can be found and ended."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Inside, the signals that end a storm wait: what is started is known before anything can be ended.

    What is started has them blocked, too. Those that another thread takes are noted.
    """
    noted: list[int] = []
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    try:
        with interrupts_noted() as noted:
            yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for number in noted:
            signal.raise_signal(number)


@contextlib.contextmanager
def interrupts_noted() -> Iterator[list[int]]:
    """Inside, SIGINT and SIGTERM are only noted. Blocking them would not do: other threads would take them."""
    noted: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield noted  # interrupts go to the main thread
        return

    def note(number: int, frame: FrameType | None) -> None:
        noted.append(number)

    before = {number: signal.signal(number, note) for number in STOPPING}
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Capabilities(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def keep_network_rights() -> None:
    """Between fork and exec: let the program keep CAP_NET_ADMIN, which a user namespace gave to this process only."""
    libc = ctypes.CDLL(None)
    header, sets = _CapabilityHeader(CAPABILITY_VERSION_3, 0), (_Capabilities * 2)()
    libc.capget(ctypes.byref(header), sets)
    sets[0].inheritable |= 1 << CAP_NET_ADMIN
    libc.capset(ctypes.byref(header), sets)
    libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_ADMIN, 0, 0)


def prepare(cpus: Sequence[int] | None = None, files: tuple[int, int] | None = None) -> Callable[[], None]:
    """What a child does to itself before it becomes its program: CPUs it may use, limit of open files."""

    def between_fork_and_exec() -> None:
        die_with_parent()
        if cpus is not None:
            os.sched_setaffinity(0, cpus)
        if files is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, files)

    return between_fork_and_exec


def outlive_parent() -> None:
    """For a child that has to put something back: it is not killed with its parent, and ends by itself soon after."""


def start(
    argv: Sequence[str],
    *,
    stdin: int | IO[Any] = subprocess.DEVNULL,
    stdout: int | IO[Any] | None = None,
    stderr: int | IO[Any] | None = None,
    cwd: Path | None = None,
    prepared: Callable[[], None] | None = None,
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[str]:
    """Start a child in a process group of its own. The caller has one thread, so running code after fork is safe.

    ``environment`` is what it has beside this process's.

    Raises:
        OSError: the program cannot be executed.
    """
    process = subprocess.Popen(
        argv,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        cwd=cwd,
        text=True,
        env={**os.environ, **(environment or {})},
        start_new_session=True,
        preexec_fn=prepared or prepare(),
    )
    _started.add(process.pid)
    return process


def next_line(process: subprocess.Popen[str], within_s: float) -> str:
    """The next line that a child says, newline included; empty where it has ended, or says none in time.

    Of several lines that came together only the first is waited for with a limit: children say one and wait.
    """
    assert process.stdout is not None
    waiting = select.poll()
    waiting.register(process.stdout, select.POLLIN)
    return process.stdout.readline() if waiting.poll(max(0.0, within_s) * 1000) else ""


def end(process: subprocess.Popen[str], grace_s: float = 2.0) -> None:
    """End a child and its process group: politely, then for certain."""
    for number, wait_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, 5.0)):
        signal_group(process.pid, signal.SIGCONT)
        signal_group(process.pid, number)
        deadline = time.monotonic() + wait_s
        while time.monotonic() < deadline:
            if process.poll() is not None:
                _reap(process.pid)
            if not _group_exists(process.pid):
                break
            time.sleep(0.005)
        else:
            continue
        break
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(1.0)


def signal_group(group: int, number: int) -> None:
    """Signal a process group, if it is still there and may be signalled (``sudo`` may not)."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _reap(group: int) -> None:
    """Take leave of adopted orphans of a group; as zombies they would keep it alive."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-group, os.WNOHANG)[0]:
            pass


def end_descendants(spared: Collection[int] = ()) -> None:
    """End all children that are left, adopted ones included, but ``spared``; for a process that adopts orphans."""
    deadline = time.monotonic() + 5.0
    while (children := [pid for pid in _children() if pid not in spared]) and time.monotonic() < deadline:
        for pid in children:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


def with_mark(run_id: str) -> list[int]:
    """The processes that have inherited the mark of a run; one may have given up its environment, though."""
    found, mark = [], f"{RUN}={run_id}".encode()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark in (process / "environ").read_bytes().split(b"\0"):
                found.append(int(process.name))
    return found


def end_run(run_id: str) -> None:
    """End for certain what is left of a run whose supervisor is gone, and its guard with it."""
    deadline = time.monotonic() + 5.0
    while (left := with_mark(run_id)) and time.monotonic() < deadline:
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)


def has_children() -> bool:
    """Whether this process has any child, adopted ones included; those that have ended are taken leave of."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
    return bool(_children())


def adopted() -> list[int]:
    """What others have left to this process, which adopts orphans, as far as it still runs."""
    return [pid for pid in _children() if pid not in _started and _state(Path(f"/proc/{pid}")) not in ("", "Z", "X")]


def below(roots: Sequence[int]) -> list[int]:
    """These processes and all that they have started, and so on; not what has lost its parent meanwhile."""
    found = list(roots)
    for pid in found:  # grows meanwhile
        found += _children(pid)
    return found


def _children(pid: int | None = None) -> list[int]:
    """Of a process, this one by default: those of all its threads; none where it has ended."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid or os.getpid()}/task").iterdir():
            with contextlib.suppress(OSError):
                found += map(int, (task / "children").read_text().split())
    return found


def _state(task: Path) -> str:
    """The scheduler state of a process or thread, by its folder; empty where it is gone."""
    with contextlib.suppress(OSError):
        return (task / "stat").read_text().rpartition(")")[2].split()[0]
    return ""


def _group_exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def members(group: int) -> list[int]:
    """The processes of a process group."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):  # not "[0-9]*/stat": that fails where one ends meanwhile
        with contextlib.suppress(OSError, ValueError):
            if int((process / "stat").read_text().rpartition(")")[2].split()[2]) == group:
                found.append(int(process.name))
    return sorted(found)


def states(group: int) -> list[str]:
    """The scheduler state (R, S, T, …) of every thread of a process group."""
    found: list[str] = []
    for pid in members(group):
        with contextlib.suppress(OSError):
            found += map(_state, Path(f"/proc/{pid}/task").iterdir())
    return [state for state in found if state]
