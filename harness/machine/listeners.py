"""The accept queue of a listening socket, asked of the kernel over sock_diag (NETLINK_SOCK_DIAG, sock_diag(7))."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY = 4, 20
NLM_F_REQUEST, NLM_F_DUMP = 0x1, 0x300
NLMSG_ERROR, NLMSG_DONE = 2, 3
TCP_LISTEN = 10
_HEADER = struct.Struct("=IHHII")
_REQUEST_HEAD = struct.Struct("=BBBxI")
_REQUEST = struct.Struct("=BBBxI48x")
"""struct inet_diag_req_v2: family, protocol, extensions, states, an empty socket id."""
_PORT = struct.Struct(">H")
_QUEUES, _INODE = struct.Struct("=II"), struct.Struct("=I")
_STATE_OFFSET, _PORT_OFFSET, _ADDRESS_OFFSET, _QUEUES_OFFSET, _INODE_OFFSET = 1, 4, 8, 56, 68
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


def listeners() -> list[Listener]:
    """All listening TCP sockets of this network namespace.

    Raises:
        OSError: the kernel has no sock_diag for TCP.
    """
    return [found for family in (socket.AF_INET, socket.AF_INET6) for found in _dump(family)]


def listening_on(port: int) -> list[Listener]:
    """The sockets that listen on ``port``: none, one, or several. Raises: OSError, as :func:`listeners`."""
    return [found for found in listeners() if found.port == port]


class Queue(NamedTuple):
    """What waits to be accepted on a port: in the deepest queue there, and in all of them together."""

    depth: int
    backlog: int
    together: int


class ListenersWatch:
    """Asks for all sockets that listen on a port (SO_REUSEPORT), which takes a dump of the listening ones."""

    def __init__(self, port: int, address: str) -> None:
        self._port, self._address = port, address
        self._family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.deepest: dict[int, int] = {}
        """Inode → the deepest its queue was seen."""

    def read(self) -> Queue | None:
        """None while nobody listens."""
        found = [one for one in _dump(self._family) if (one.port, one.address) == (self._port, self._address)]
        for one in found:
            self.deepest[one.inode] = max(self.deepest.get(one.inode, 0), one.depth)
        fullest = max(found, key=lambda one: one.depth, default=None)
        return None if fullest is None else Queue(fullest.depth, fullest.backlog, sum(one.depth for one in found))


class ListenerWatch:
    """Asks for one listening socket again and again, which costs a few microseconds a time: no dump is involved."""

    def __init__(self, port: int, address: str) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        packed = socket.inet_pton(family, address)
        # struct inet_diag_sockid: source and destination port, source and destination address, interface, cookie.
        identity = _PORT.pack(port) + bytes(2) + packed.ljust(16, b"\0") + bytes(16) + bytes(4) + b"\xff" * 8
        request = _REQUEST_HEAD.pack(family, socket.IPPROTO_TCP, 0, 1 << TCP_LISTEN) + identity
        self._request = _HEADER.pack(_HEADER.size + len(request), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, 1, 0) + request
        self._link = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG)

    def read(self) -> Queue | None:
        """None while nobody listens."""
        self._link.send(self._request)
        data = self._link.recv(1 << 13)
        if _HEADER.unpack_from(data)[1] != SOCK_DIAG_BY_FAMILY or data[_HEADER.size + _STATE_OFFSET] != TCP_LISTEN:
            return None
        depth, backlog = _QUEUES.unpack_from(data, _HEADER.size + _QUEUES_OFFSET)
        return Queue(depth, backlog, depth)


def _dump(family: int) -> Iterator[Listener]:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG) as link:
        request = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, 1 << TCP_LISTEN)
        link.send(
            _HEADER.pack(_HEADER.size + len(request), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP, 1, 0) + request
        )
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
                yield _parse(data, offset + _HEADER.size, family)
                offset += (length + 3) & ~3


def _parse(data: bytes, start: int, family: int) -> Listener:
    (port,) = _PORT.unpack_from(data, start + _PORT_OFFSET)
    size = 16 if family == socket.AF_INET6 else 4
    address = data[start + _ADDRESS_OFFSET :][:size]
    depth, backlog = _QUEUES.unpack_from(data, start + _QUEUES_OFFSET)
    (inode,) = _INODE.unpack_from(data, start + _INODE_OFFSET)
    return Listener(socket.inet_ntop(family, address), port, depth, backlog, inode)
