"""The accept queue of a listening socket, asked of the kernel over sock_diag (NETLINK_SOCK_DIAG, sock_diag(7))."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

NETLINK_SOCK_DIAG, TCPDIAG_GETSOCK, SOCK_DIAG_BY_FAMILY = 4, 18, 20
NLM_F_REQUEST, NLM_F_DUMP = 0x1, 0x300
NLMSG_ERROR, NLMSG_DONE = 2, 3
TCP_LISTEN = 10
INET_DIAG_SKV6ONLY = 11
_HEADER = struct.Struct("=IHHII")
_REQUEST = struct.Struct("=BBBxI48x")
"""struct inet_diag_req_v2: family, protocol, extensions, states, an empty socket id."""
_OLD_REQUEST_HEAD, _STATES = struct.Struct("=B3x"), struct.Struct("=II")
_PORT, _ATTRIBUTE = struct.Struct(">H"), struct.Struct("=HH")
_QUEUES, _INODE = struct.Struct("=II"), struct.Struct("=I")
_PORT_OFFSET, _ADDRESS_OFFSET, _QUEUES_OFFSET, _INODE_OFFSET, _MESSAGE_BYTES = 4, 8, 56, 68, 72
"""Within struct inet_diag_msg (include/uapi/linux/inet_diag.h)."""


@dataclass(frozen=True, slots=True)
class Listener:
    """A listening TCP socket. ``depth`` counts complete connections not yet accepted; ``backlog`` is the kernel's."""

    address: str
    port: int
    depth: int
    backlog: int
    inode: int
    """The socket's number, which it has to itself."""
    ipv6_only: bool = False


def listeners() -> list[Listener]:
    """All listening TCP sockets of this network namespace.

    Raises:
        OSError: the kernel has no sock_diag for TCP.
    """
    return [found for family in (socket.AF_INET, socket.AF_INET6) for found in _dump(family)]


def listening_on(port: int) -> list[Listener]:
    """The sockets that listen on ``port``: none, one, or several. Raises: OSError, as :func:`listeners`."""
    return [found for found in listeners() if found.port == port]


def of_processes(pids: Iterable[int]) -> list[Listener]:
    """The listening sockets that these processes hold. Raises: OSError, as :func:`listeners`."""
    held = set().union(*map(sockets_of, pids))
    return [found for found in listeners() if found.inode in held]


def sockets_of(pid: int) -> set[int]:
    """The inodes of the sockets that a process holds; none of one that has ended, or is another user's."""
    held = set()
    with suppress(OSError):
        for file in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                kind, _, number = str(file.readlink()).partition(":")
                if kind == "socket":
                    held.add(int(number.strip("[]")))
    return held


class Queues(NamedTuple):
    """What waits to be accepted by the sockets that a connection can meet."""

    depth: int
    """Of the deepest of them."""
    backlog: int
    """Of the deepest, as it is now: a socket may be told to listen anew."""
    together: int
    """Of all of them."""
    sockets: int
    inodes: int
    """The sum of their inodes: another number, other sockets."""


class Dump:
    """Asks for all listening sockets of this namespace, or those on one port, again and again: 15 µs a time."""

    def __init__(self, port: int = 0) -> None:
        # struct inet_diag_req of the older request, the one that lists both families in one answer; of the socket id
        # only the source port is filled in, and none stands for all.
        query = _OLD_REQUEST_HEAD.pack(socket.AF_UNSPEC) + _PORT.pack(port) + bytes(46)
        query += _STATES.pack(1 << TCP_LISTEN, 0)
        length = _HEADER.size + len(query)
        self._request = _HEADER.pack(length, TCPDIAG_GETSOCK, NLM_F_REQUEST | NLM_F_DUMP, 1, 0) + query
        self._link = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG)

    def read(self) -> list[Listener]:
        self._link.send(self._request)
        return list(_answers(self._link))

    def close(self) -> None:
        self._link.close()


class ListenersWatch:
    """Asks for the sockets that connections to (``address``, ``port``) can meet, again and again."""

    def __init__(self, port: int, address: str) -> None:
        self._address = address
        self._dump = Dump(port)
        self.deepest: dict[int, int] = {}
        """Inode → the deepest its queue was seen."""

    def read(self) -> Queues | None:
        """None while nobody listens there."""
        met = can_be_met(self._dump.read(), self._address)
        if not met:
            return None
        for one in met:
            self.deepest[one.inode] = max(self.deepest.get(one.inode, 0), one.depth)
        fullest = max(met, key=lambda one: one.depth)
        together, inodes = sum(one.depth for one in met), sum(one.inode for one in met)
        return Queues(fullest.depth, fullest.backlog, together, len(met), inodes)


def can_be_met(found: Sequence[Listener], address: str) -> list[Listener]:
    """Of sockets that listen on one port, those that take a connection to ``address``: of the closest kind there is.

    As compute_score() in net/ipv4/inet_hashtables.c has it: a socket of this address before one of any address of its
    family, and that before an IPv6 socket that takes IPv4 too. Of several (SO_REUSEPORT) each has its share.
    """
    ways = (address, "::") if ":" in address else (address, f"::ffff:{address}", "0.0.0.0", "::")
    for way in ways:
        # An IPv6 socket takes IPv4 unless it is told not to (IPV6_V6ONLY).
        met = [one for one in found if one.address == way and not (one.ipv6_only and ":" not in address)]
        if met:
            return met
    return []


def _dump(family: int) -> Iterator[Listener]:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG) as link:
        request = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, 1 << TCP_LISTEN)
        link.send(
            _HEADER.pack(_HEADER.size + len(request), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP, 1, 0) + request
        )
        yield from _answers(link)


def _answers(link: socket.socket) -> Iterator[Listener]:
    """What a dump answers, until it is done."""
    while True:
        data = link.recv(1 << 16)
        offset = 0
        while offset < len(data):
            length, kind, *_ = _HEADER.unpack_from(data, offset)
            if kind == NLMSG_DONE:
                return
            if kind == NLMSG_ERROR:
                (code,) = struct.unpack_from("=i", data, offset + _HEADER.size)
                raise OSError(-code, "sock_diag refused to list TCP sockets")
            yield _parse(data, offset + _HEADER.size, offset + length)
            offset += (length + 3) & ~3


def _parse(data: bytes, start: int, end: int) -> Listener:
    family = data[start]
    (port,) = _PORT.unpack_from(data, start + _PORT_OFFSET)
    size = 16 if family == socket.AF_INET6 else 4
    address = data[start + _ADDRESS_OFFSET :][:size]
    depth, backlog = _QUEUES.unpack_from(data, start + _QUEUES_OFFSET)
    (inode,) = _INODE.unpack_from(data, start + _INODE_OFFSET)
    ipv6_only = family == socket.AF_INET6 and _attribute(data, start + _MESSAGE_BYTES, end, INET_DIAG_SKV6ONLY) == 1
    return Listener(socket.inet_ntop(family, address), port, depth, backlog, inode, ipv6_only)


def _attribute(data: bytes, start: int, end: int, wanted: int) -> int | None:
    """The first byte of an attribute (struct nlattr); None where it is not there."""
    while start + _ATTRIBUTE.size < end:
        length, kind = _ATTRIBUTE.unpack_from(data, start)
        if kind == wanted:
            return data[start + _ATTRIBUTE.size]
        start += (length + 3) & ~3
    return None
