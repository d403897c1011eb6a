"""Options of a server's listening sockets that its own source does not ask for, set from outside while it runs.

pidfd_getfd(2) gives a second descriptor of a socket that another process has, and an option set through it is the
socket's: so any server can have it, also one that has no setting for it. It takes what a debugger takes: the right to
trace the process, which is a child of this one.
"""

from __future__ import annotations

import ctypes
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from harness.errors import MachineError

_PIDFD_GETFD = 438
"""The number of pidfd_getfd (Linux 5.6), the same on all architectures; the C library has no name for it."""
NAMES = {
    "TCP_FASTOPEN": socket.TCP_FASTOPEN,
    "TCP_DEFER_ACCEPT": socket.TCP_DEFER_ACCEPT,
}


def set_options(pids: Sequence[int], port: int, options: Mapping[str, int]) -> dict[str, int]:
    """Set ``options``, keys of :data:`NAMES`, on every socket of ``pids`` that listens on ``port``.

    Returns what the kernel then says of them, which may be less: it has its own limits and units.

    Raises:
        MachineError: there is no such socket, or the kernel does not allow it.
    """
    asked = ", ".join(f"{name}={value}" for name, value in options.items())
    found: dict[str, int] = {}
    try:
        for listener in _listening(pids, port):
            with listener:
                for name, value in options.items():
                    listener.setsockopt(socket.IPPROTO_TCP, NAMES[name], value)
                    found[name] = listener.getsockopt(socket.IPPROTO_TCP, NAMES[name])
    except OSError as error:
        raise MachineError(
            f"{asked} was asked for; the server's listening socket cannot be had: {error.strerror}",
            "it takes Linux 5.6 and the right to trace a child; see `stormlab doctor`",
        ) from error
    if not found:
        raise MachineError(f"{asked} was asked for; nothing of the server's listens on port {port}", "see --ready")
    return found


def _listening(pids: Sequence[int], port: int) -> Iterator[socket.socket]:
    """A descriptor of our own for each of them; one that several processes share is given once."""
    seen: set[str] = set()
    for pid in pids:
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed meanwhile
                name = str(entry.readlink())
                if name.startswith("socket:") and name not in seen:
                    seen.add(name)
                    copy = socket.socket(fileno=_duplicate(pid, int(entry.name)))
                    if _listens(copy, port):
                        yield copy
                    else:
                        copy.close()


def _listens(candidate: socket.socket, port: int) -> bool:
    inet = candidate.family in (socket.AF_INET, socket.AF_INET6) and candidate.type == socket.SOCK_STREAM
    if not inet or not candidate.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return False
    return bool(candidate.getsockname()[1] == port)


def _duplicate(pid: int, file: int) -> int:
    process = os.pidfd_open(pid)
    try:
        copy = ctypes.CDLL(None, use_errno=True).syscall(_PIDFD_GETFD, process, file, 0)
    finally:
        os.close(process)
    if copy < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return int(copy)
