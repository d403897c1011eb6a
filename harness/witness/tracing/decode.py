"""From records to events of this trial, each with the connection and the side it belongs to."""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from harness.witness.tracing.pages import Head, Reader, Record
from harness.witness.tracing.tracepoints import (
    DROP,
    IGNORED_ACK,
    IGNORED_COOKIE,
    INPUT_QUEUE,
    LISTEN,
    RESET,
    RETRANSMIT,
    SET_STATE,
    STATES,
    SYN_RECV,
    SYN_SENT,
    SYNACK,
    TRACEPOINTS,
)

SIDES = ("client", "server")
_NAMES = {name: name.partition("/")[2] for name in TRACEPOINTS}
_CHANGES = {(old, new): f"{STATES[old]}>{STATES[new]}" for old in STATES for new in STATES}
"""Made once: a storm has hundreds of thousands of events, and few words."""
MOST_CLONE_DISTANCE = 512
"""Bytes. A clone handed down lies one ``struct sk_buff`` behind its original, which is 224 to 256 on 64 bits."""
_PORT_AND_ADDRESS_V4, _PORT_AND_ADDRESS_V6 = struct.Struct(">2xH4s20x"), struct.Struct(">2xH4x16s4x")
"""The 28 bytes of a struct sockaddr_in or sockaddr_in6."""
_MAPPED_V4 = bytes(10) + b"\xff\xff"


@dataclass(slots=True)
class Event:
    """One event. ``address`` and ``port`` are the client's, of whichever side it is; port 0 where it is not known."""

    time_ns: int
    event: str
    side: str
    address: str
    port: int
    detail: str


@dataclass(slots=True)
class Decoded:
    """What a trace holds of this trial, in order of time."""

    events: list[Event] = field(default_factory=list)
    unclaimed_drops: int = 0
    """Packets dropped in the input queue that were no retransmissions, and those of listeners of other trials."""


class Decoder:
    """Decodes the records of one file."""

    def __init__(self, head: Head, data: bytes) -> None:
        self._port = head.port
        self._data = data
        self._readers = {
            head.formats[name].number: (name, Reader(head.formats[name], (*tracepoint.needed, *tracepoint.wanted)))
            for name, tracepoint in TRACEPOINTS.items()
        }
        self._reasons = {name: head.formats[name].words.get("reason", {}) for name in (DROP, RESET)}
        self._decode: dict[str, Callable[[Record, Any], Event | None]] = {
            SET_STATE: self._set_state,
            RETRANSMIT: self._retransmit,
            SYNACK: self._synack,
            RESET: self._reset,
            DROP: self._drop,
        }
        self._texts: dict[bytes, str] = {}
        self._dropped: dict[int, tuple[Record, int]] = {}
        """CPU → the drop in its input queue that was its last event, and where the packet lay."""
        self._listeners: set[int] = set()
        self._incomplete: dict[int, list[Event]] = {}
        """Socket → its events that did not have the client's port yet."""
        self._found = Decoded()

    def decode(self, records: Iterable[Record]) -> Decoded:
        """All of the trial's events, from records as :meth:`harness.witness.tracing.pages.Pages.records` gives them."""
        for record in records:
            if record.number not in self._readers:
                continue
            name, read = self._readers[record.number]
            fields = read(self._data, record.offset)
            last = self._dropped.pop(record.cpu, None)
            if last is not None:
                self._claim(last, name, fields)
            event = self._decode[name](record, fields)
            if event is not None:
                self._found.events.append(event)
        self._found.unclaimed_drops += len(self._dropped)
        self._found.events.sort(key=attrgetter("time_ns"))  # a drop is claimed after its time
        return self._found

    def _set_state(self, record: Record, fields: Any) -> Event:
        event = self._of_pair(record, SET_STATE, fields)
        event.detail = _CHANGES[fields.oldstate, fields.newstate]
        if fields.newstate == LISTEN:
            self._listeners.add(fields.skaddr)
        if LISTEN in (fields.oldstate, fields.newstate) and fields.newstate != SYN_RECV:
            return event  # the listener itself, which has no client
        if fields.newstate == SYN_SENT:
            self._incomplete.pop(fields.skaddr, None)  # the kernel uses the memory of a socket again
        if event.port == 0:  # a port that the kernel searches is not found yet when SYN_SENT begins
            self._incomplete.setdefault(fields.skaddr, []).append(event)
        else:
            for earlier in self._incomplete.pop(fields.skaddr, ()):
                earlier.address, earlier.port = event.address, event.port
        return event

    def _retransmit(self, record: Record, fields: Any) -> Event:
        event = self._of_pair(record, RETRANSMIT, fields)
        error = getattr(fields, "err", 0)
        event.detail = STATES.get(fields.state, "") + (" not sent" if error else "")
        return event

    def _synack(self, record: Record, fields: Any) -> Event:
        return self._of_pair(record, SYNACK, fields)

    def _reset(self, record: Record, fields: Any) -> Event | None:
        if hasattr(fields, "sport"):
            event = self._of_pair(record, RESET, fields)
        else:
            (port, address), (other_port, other) = self._sockaddr(fields.saddr), self._sockaddr(fields.daddr)
            if self._port not in (port, other_port):
                return None
            by_server = port == self._port
            client, client_port = (other, other_port) if by_server else (address, port)
            event = Event(record.time_ns, _NAMES[RESET], SIDES[by_server], client, client_port, "")
        event.detail = self._reasons[RESET].get(getattr(fields, "reason", -1), "")
        return event

    def _drop(self, record: Record, fields: Any) -> Event | None:
        reason = self._reasons[DROP].get(fields.reason, "")
        if reason == INPUT_QUEUE:
            self._dropped[record.cpu] = (record, fields.skbaddr)
        elif reason in (IGNORED_ACK, IGNORED_COOKIE) and getattr(fields, "rx_sk", 0) in self._listeners:
            return Event(record.time_ns, _NAMES[DROP], "server", "", 0, reason)
        else:
            self._found.unclaimed_drops += 1
        return None

    def _claim(self, dropped: tuple[Record, int], name: str, fields: Any) -> None:
        """Give a drop to the retransmission whose clone it was, which is the next event on that CPU."""
        record, where = dropped
        if name == RETRANSMIT and 0 < where - fields.skbaddr <= MOST_CLONE_DISTANCE:
            event = self._of_pair(record, DROP, fields)
            event.detail = sys.intern(f"{INPUT_QUEUE} {STATES.get(fields.state, '')}".rstrip())
            self._found.events.append(event)
        else:
            self._found.unclaimed_drops += 1

    def _of_pair(self, record: Record, name: str, fields: Any) -> Event:
        of_server = bool(fields.sport == self._port)
        port = fields.dport if of_server else fields.sport
        short, long = (fields.daddr, fields.daddr_v6) if of_server else (fields.saddr, fields.saddr_v6)
        address = self._text(long if fields.family == socket.AF_INET6 else short)
        return Event(record.time_ns, _NAMES[name], SIDES[of_server], address, port, "")

    def _sockaddr(self, packed: bytes) -> tuple[int, str]:
        family = int.from_bytes(packed[:2], sys.byteorder)
        port, address = (_PORT_AND_ADDRESS_V6 if family == socket.AF_INET6 else _PORT_AND_ADDRESS_V4).unpack(packed)
        return port, self._text(address)

    def _text(self, packed: bytes) -> str:
        """An address as the tables have it: IPv4 also where a dual-stack socket shows it within IPv6."""
        text = self._texts.get(packed)
        if text is None:
            plain = packed.removeprefix(_MAPPED_V4)
            text = socket.inet_ntop(socket.AF_INET if len(plain) == 4 else socket.AF_INET6, plain)
            self._texts[packed] = text
        return text
