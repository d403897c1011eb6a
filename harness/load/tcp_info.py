"""What the kernel tells of a connection: the two fields of struct tcp_info that say what was sent again."""

from __future__ import annotations

import socket
import struct

from harness.load.rows import NOT_READ

TCP_INFO_BYTES = 104
_TCP_INFO = struct.Struct("=24xI72xI")
"""tcpi_unacked and tcpi_total_retrans of struct tcp_info (include/uapi/linux/tcp.h)."""


def tcp_info(connection: socket.SocketType) -> tuple[int, int]:
    """(unacknowledged segments, all retransmitted segments, SYNs included) of a connection."""
    unacked, retransmits = _TCP_INFO.unpack(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_BYTES))
    return min(unacked, NOT_READ - 1), min(retransmits, NOT_READ - 1)
