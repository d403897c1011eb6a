"""Which tracepoints are followed, what passes their filters, and what each of them tells.

Seen on Linux 6.18 over loopback, in storms of up to 50,000 connections:

inet_sock_set_state, client, ``SYN_SENT>ESTABLISHED``
    The SYN-ACK is there: established in the client's kernel.
inet_sock_set_state, server, ``LISTEN>SYN_RECV``
    The last ACK was taken and the server's half, the child, is made. It is put into the accept queue next, and then
    goes on to ``SYN_RECV>ESTABLISHED``, 2 µs later in the median and 100 µs at the most: the two enclose the entry
    (tcp_check_req, tcp_get_cookie_sock). A full listener makes no child. No server accepted before it.
tcp_retransmit_skb
    In ``SYN_SENT`` a SYN sent again, in ``ESTABLISHED`` a request, which is what a ghost does. SYNs and the SYN-ACKs of
    tcp_retransmit_synack together are TCPSynRetrans (37,958 + 757 = 38,715). With a request socket a ghost can be let
    in by the ACK of a SYN-ACK sent again, hundreds of ms before it sends its request once more.
tcp_send_reset
    A reset was sent, and why.
kfree_skb, ``CPU_BACKLOG``
    Dropped in the input queue. It names no socket, but what TCP hands down is a clone that lies right behind the
    original (``struct sk_buff_fclones``), and the original's tcp_retransmit_skb is the next event on that CPU: 1,194 of
    1,194 lay 224 bytes behind, which is ``sizeof(struct sk_buff)``. So the retransmissions lost there are known, for
    each connection, and are those of the ledger, row by row. What is dropped on its first transmission is not.
kfree_skb, ``TCP_LISTEN_OVERFLOW`` and, for the listener, ``NO_SOCKET``
    An ACK was ignored as the accept queue was full; the second where it answered a syncookie (cookie_v4_check). Whose
    it was is not said. A SYN that a full listener drops is not seen: it was sent, not lost before TCP, and sent again.
    With these SYNs the two are ListenOverflows (37,957 + 5,616 + 52,223 = 95,796).

Events carry no namespace, and in softirq the process they name is whichever was interrupted. What tells trials apart is
therefore the server's port, which no other storm has (:data:`tracing.PORTS`), and for drops the listener or the
retransmission that they belong to. A drop that belongs to neither is left out, and counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.errors import MachineError
from harness.witness.tracing.tracefs import Format, read_format

SET_STATE, RETRANSMIT, SYNACK, RESET, DROP = (
    "sock/inet_sock_set_state",
    "tcp/tcp_retransmit_skb",
    "tcp/tcp_retransmit_synack",
    "tcp/tcp_send_reset",
    "skb/kfree_skb",
)
STATES = {
    1: "ESTABLISHED",
    2: "SYN_SENT",
    3: "SYN_RECV",
    4: "FIN_WAIT1",
    5: "FIN_WAIT2",
    6: "TIME_WAIT",
    7: "CLOSE",
    8: "CLOSE_WAIT",
    9: "LAST_ACK",
    10: "LISTEN",
    11: "CLOSING",
    12: "NEW_SYN_RECV",
}
"""include/net/tcp_states.h"""
SYN_SENT, SYN_RECV, CLOSE, LISTEN = 2, 3, 7, 10
INPUT_QUEUE, IGNORED_ACK, IGNORED_COOKIE = "CPU_BACKLOG", "TCP_LISTEN_OVERFLOW", "NO_SOCKET"


@dataclass(frozen=True, slots=True)
class Tracepoint:
    """What is followed of one tracepoint."""

    needed: tuple[str, ...]
    """Fields without which it tells nothing."""
    wanted: tuple[str, ...] = ()
    """Fields that only newer kernels have."""


_PAIR = ("sport", "dport", "family", "saddr", "daddr", "saddr_v6", "daddr_v6")
TRACEPOINTS: Mapping[str, Tracepoint] = {
    SET_STATE: Tracepoint(("skaddr", "oldstate", "newstate", *_PAIR)),
    RETRANSMIT: Tracepoint(("skbaddr", "state", *_PAIR), ("err",)),
    SYNACK: Tracepoint(_PAIR),
    # Until Linux 6.9 a reset has the fields of _PAIR; since then saddr and daddr are a struct sockaddr each.
    RESET: Tracepoint(("saddr", "daddr"), ("sport", "dport", "family", "saddr_v6", "daddr_v6", "reason")),
    DROP: Tracepoint(("skbaddr", "reason"), ("rx_sk",)),  # rx_sk since Linux 6.11
}


def formats() -> dict[str, Format]:
    """The format of each tracepoint on this kernel.

    Raises:
        MachineError: the kernel lacks one of them, or one of their fields.
    """
    found = {}
    for name, tracepoint in TRACEPOINTS.items():
        layout = read_format(name)
        lacking = set(tracepoint.needed) - set(layout.fields if layout is not None else ())
        if layout is None or lacking:
            raise MachineError(
                f"--trace was asked for; this kernel's tracepoint {name} lacks {', '.join(sorted(lacking))}",
                "use a newer kernel, or run without --trace",
            )
        found[name] = layout
    return found


def filters(port: int, layouts: Mapping[str, Format]) -> dict[str, str]:
    """What the kernel is to keep of each tracepoint; a reset's ports cannot be filtered there."""
    of_port = f"(sport == {port} || dport == {port})"
    # How a connection is closed, in five steps of both sides, would be half of all events and tells nothing new.
    telling = f"(newstate < 4 || newstate == {CLOSE} || newstate == {LISTEN})"
    reasons = {word: value for value, word in layouts[DROP].words.get("reason", {}).items()}
    kept = [f"reason == {reasons[word]}" for word in (INPUT_QUEUE, IGNORED_ACK) if word in reasons]
    if "rx_sk" in layouts[DROP].fields and IGNORED_COOKIE in reasons:
        kept.append(f"(reason == {reasons[IGNORED_COOKIE]} && rx_sk != 0)")
    ports_known = "sport" in layouts[RESET].fields
    return {
        SET_STATE: f"{of_port} && {telling}",
        RETRANSMIT: of_port,
        SYNACK: of_port,
        RESET: of_port if ports_known else "0",
        DROP: " || ".join(kept),
    }
