"""A private network for one trial: its own loopback, ports, TCP counters and settings.

The process that enters it takes its children with it, and it is gone with the last of them: nothing to clean up. Root
needs no more; others need user namespaces. The namespace starts with the kernel's defaults, so the host's own values
are copied in: otherwise not the reader's machine would be tested.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.errors import MachineError

CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWNET = 0x00020000, 0x10000000, 0x40000000
"""include/uapi/linux/sched.h"""
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
"""include/uapi/linux/mount.h"""
HOSTS = Path("/etc/hosts")
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 0x1
_SYSCTL = Path("/proc/sys")
HOST_ONLY = ("net.core.netdev_max_backlog", "net.ipv4.tcp_mem")
"""Settings that no namespace has of its own and that decide storms; recorded with every run."""


@dataclass(frozen=True, slots=True)
class Isolation:
    """What could be isolated, and why not where it could not."""

    isolated: bool
    reason: str = ""


def enter() -> Isolation:
    """Move this process into a private network, or say why it stays on the host's loopback.

    Must be called by a process with one thread: others may not make user namespaces. The host's ``net.ipv4.*`` and
    ``net.core.*`` settings are copied in.
    """
    isolation = available()
    if not isolation.isolated:
        return isolation
    settings = read_settings()
    _become_isolated()
    current = read_settings()
    for key, value in settings.items():
        if current.get(key) not in (None, value):
            _write(key, value)
    return isolation


def join_network_of(pid: int) -> None:
    """Move this process into the network namespace of another; in its own already, that needs no rights.

    Raises:
        MachineError: there is no such process, or it takes root.
    """
    theirs, ours = Path(f"/proc/{pid}/ns/net"), Path("/proc/self/ns/net")
    try:
        if theirs.readlink() == ours.readlink():
            return
        with theirs.open() as namespace:
            if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET) != 0:
                code = ctypes.get_errno()
                raise OSError(code, os.strerror(code))
    except FileNotFoundError as error:
        raise MachineError(f"there is no process {pid}", "see `ss -lntp` for those that listen") from error
    except OSError as error:
        raise MachineError(
            f"the network of process {pid} cannot be looked into: {error.strerror}", "run it as root"
        ) from error


def available() -> Isolation:
    """Whether a private network can be had here."""
    why_not = _rehearse()
    return Isolation(not why_not, why_not and f"no private network namespace: {why_not}")


def is_private(key: str) -> bool:
    """Whether a private network has a setting of this name to itself; looked up in one."""
    return not _rehearse(lambda: setting_path(key).stat())


def _rehearse(look: Callable[[], object] = lambda: None) -> str:
    """Enter a private network in a child, as half-way in there is no way back, and look there; why that failed."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            _become_isolated()
            look()
        except OSError as error:
            os.write(writer, (error.strerror or str(error)).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        why_not = pipe.read()
    os.waitpid(pid, 0)
    return why_not


def _become_isolated() -> None:
    """Leave the host's network. Raises: OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if os.geteuid() != 0 or libc.unshare(CLONE_NEWNET) != 0:
        user, group = os.geteuid(), os.getegid()
        if libc.unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        # The user stays who they are: a server that thinks it is root would change to a user that is not there.
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    _bring_loopback_up()


def _bring_loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = fcntl.ioctl(control, SIOCGIFFLAGS, struct.pack("16sh14x", b"lo", 0))
        (flags,) = struct.unpack_from("16xh", request)
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | IFF_UP))


def use_hosts(file: Path) -> None:
    """Have this process and its children see ``file`` in the place of :data:`HOSTS`: nobody else does.

    To be called after :func:`enter`, whose rights it takes.

    Raises:
        MachineError: the kernel does not allow it.
    """
    try:
        mount_privately(file, HOSTS, None, MS_BIND)
    except OSError as error:
        raise MachineError(
            f"a private {HOSTS} was asked for: {error.strerror}",
            "allow user namespaces or run as root; see `stormlab doctor`",
        ) from error


def mount_privately(what: Path, where: Path, kind: bytes | None, flags: int) -> None:
    """Mount something for this process and its children alone. Raises: OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    for call, words in (
        (libc.unshare, (CLONE_NEWNS,)),
        (libc.mount, (None, b"/", None, MS_REC | MS_PRIVATE, None)),  # nobody else is to see the mount
        (libc.mount, (bytes(what), bytes(where), kind, flags, None)),
    ):
        if call(*words) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))


def read_settings() -> dict[str, str]:
    """The kernel's ``net.ipv4.*`` and ``net.core.*`` settings as this process sees them, name → value."""
    found = {}
    for folder in ("net/ipv4", "net/core"):
        for file in sorted((_SYSCTL / folder).glob("*")):
            try:
                if file.is_file():
                    found[_key(file)] = " ".join(file.read_text().split())
            except OSError:  # some are write-only, or only for the host's root
                continue
    return found


def setting_path(key: str) -> Path:
    return _SYSCTL / key.replace(".", "/")


def set_private(settings: Mapping[str, str]) -> None:
    """Set kernel settings in this process's private namespace.

    Raises:
        MachineError: a setting does not exist in a namespace, or the kernel refuses the value.
    """
    for key, value in settings.items():
        if key in HOST_ONLY or not setting_path(key).exists():
            raise MachineError(
                f"--sysctl {key}={value} was asked for; a network namespace has no such setting",
                "if this host has it, root can set it for the length of the run: --host-sysctl",
            )
        if not _write(key, value):
            raise MachineError(
                f"--sysctl {key}={value} was asked for; the kernel refused that value", "check its range"
            )


def _write(key: str, value: str) -> bool:
    try:
        setting_path(key).write_text(value)
    except OSError:
        return False
    return True


def _key(file: Path) -> str:
    return ".".join(file.relative_to(_SYSCTL).parts)
