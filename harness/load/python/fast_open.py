"""Clients that use TCP Fast Open (RFC 7413): the request leaves in the SYN, where the server has given a cookie before.

With TCP_FASTOPEN_CONNECT a program changes nothing else: connect() puts the SYN off until there is something to send,
and asks for a cookie where there is none. How often that came about the kernel counts (``TCPFastOpen…``).
"""

from __future__ import annotations

import socket
from time import monotonic_ns

from harness.events.rows import Rows
from harness.load.python.client import Client, State
from harness.load.python.connections import Connections
from harness.load.python.schedule import Schedule
from harness.load.python.tcp_info import RESOLUTION_NS, TcpInfo, tcp_info
from harness.plan.slices import Slice

TCP_FASTOPEN_CONNECT = 30
"""include/uapi/linux/tcp.h; Python has no name for it."""
_SYN_SENT, _CLOSE = 2, 7
"""include/net/tcp_states.h"""
_OPTIONS, _SYN_DATA = 5, 32
"""Offset of tcpi_options in struct tcp_info, and TCPI_OPT_SYN_DATA: the SYN-ACK acknowledged what was in the SYN."""


class FastOpenConnections(Connections):
    """As :class:`Connections`, but the kernel takes a request before a connection is there, so it is asked for that."""

    options = ((socket.IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1),)

    def __init__(self, slice_: Slice, rows: Rows, schedule: Schedule) -> None:
        super().__init__(slice_, rows, schedule)
        self._in_syn: set[int] = set()
        """Rows whose request the kernel has, and whose handshake is not over."""

    def _try_established(self, client: Client) -> None:
        row = client.row
        if row not in self._in_syn:
            before = tcp_info(client.socket)
            try:
                client.socket.send(self.request)
            except BlockingIOError:  # without a cookie: the SYN, which has left, asks for one
                return
            except OSError as error:
                self._fail(client, error)
                return
            if before.state != _SYN_SENT:  # without a cookie: the handshake was over before there was data to send
                self._established(client, before)
                return
            self._in_syn.add(row)
        info = tcp_info(client.socket)
        if info.state == _SYN_SENT:
            return
        self._in_syn.discard(row)
        if info.state == _CLOSE:
            code = client.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            self._fail(client, OSError(code, "it was not established"))
            return
        if info.retransmits and not self._data_arrived(client):
            # A SYN is sent again without its data, which follow once it is answered: they are no SYN.
            info = info._replace(retransmits=info.retransmits - 1)
        self._established(client, info)

    def _established(self, client: Client, info: TcpInfo) -> None:
        late = monotonic_ns() - self.record.issued_ns[client.row] > RESOLUTION_NS
        self.record.established(client.row, info if late else None)
        client.state = State.WAITING

    def _data_arrived(self, client: Client) -> bool:
        head = client.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _OPTIONS + 1)
        return bool(head[_OPTIONS] & _SYN_DATA)
